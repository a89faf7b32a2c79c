//! The application: a coin dispenser that serves a host. It is the same source on every board; a board brings its port,
//! its clock, and what tells this start from all others ([`Incarnation`](bowline::Incarnation)).

#![no_std]
#![forbid(unsafe_code)]

pub mod interface;
mod ledger;
mod mechanism;

use core::cell::RefCell;

use bowline::drivers::blocking::{Frames, Node, Port};
use bowline::{Buffers, Config, Duration, Incarnation, Instant, frame_len};

pub use interface::Dispenser;
pub use mechanism::{Answers, Mechanism};

/// Bytes of the largest payload.
pub const PAYLOAD: usize = 48;

/// Bytes of the largest frame.
pub const FRAME: usize = frame_len(PAYLOAD);

/// Memory for two requests at a time, and for nothing else: the dispenser only answers.
pub type Memory = Buffers<PAYLOAD, 0, 2, 0, 0, 0, 4>;

/// How the dispenser sets up its end of the link.
pub const fn config(incarnation: Incarnation) -> Config {
    Config { lease: Duration::from_secs(2), ..Config::new(incarnation) }
}

/// Serves the host for ever.
///
/// `idle` waits until the given moment, for ever if that is `None`, or until bytes come. It must see bytes that came
/// just before it was called.
pub fn run(port: impl Port, incarnation: Incarnation, mut idle: impl FnMut(Option<Instant>)) -> ! {
    let mechanism = RefCell::new(Mechanism::new());
    let mut node =
        Node::new(port, config(incarnation), Memory::new(), Frames::<FRAME>::new()).serve::<Dispenser>(
            |context, message| {
                let now = context.now();
                mechanism.borrow_mut().handle(now, context, message);
            },
        );
    loop {
        let mut context = node.context();
        let now = context.now();
        mechanism.borrow_mut().turn(now, &mut context);
        let (node, motors) = (node.poll(), mechanism.borrow().deadline());
        idle(node.into_iter().chain(motors).min());
    }
}
