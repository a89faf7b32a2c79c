//! Two boards share two wires, on which only one may speak at a time. Both call each other.
//!
//! You will see that all calls of both end well although there is no master, how often both have begun to speak at the
//! same moment, and how long it took. The line has 115 200 baud and garbles one byte in 500. It is simulated, and so is
//! the time: each run is the same.

#[path = "shared/line.rs"]
mod line;

use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;

use bowline::drivers::blocking::{Frames, Node, Port};
use bowline::drivers::{rs485::Rs485, uart::Uart};
use bowline::{Buffers, Config, Duration, Incarnation, frame_len};

bowline::interface! {
    /// What both boards understand.
    pub enum Board {
        /// Turns a motor by so many steps, and tells where it stands then.
        at_most_once Turn(i32) -> i32;
    }
}

const CALLS: i32 = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let [a, b] = line::line(line::Wiring { byte_time: 87, has_echo: true, noise: 500, seed: 1 });
    let at_work = AtomicU32::new(2);
    let (a, b) = thread::scope(|scope| {
        let a = scope.spawn(|| board(a, 1, &at_work));
        let b = scope.spawn(|| board(b, 2, &at_work));
        (a.join(), b.join())
    });
    let (a, b) = (a.map_err(|_| "a has panicked")?, b.map_err(|_| "b has panicked")?);

    println!("Each board has called the other {CALLS} times: {} and {} calls are ok.", a.ok, b.ok);
    println!("Their motors stand at {} and {}.", a.position, b.position);
    println!("{} frames have collided or were garbled, as their senders have heard.", a.collisions + b.collisions);
    println!("{} messages were sent again, in {} ms.", a.sent_again + b.sent_again, a.millis.max(b.millis));
    // Without crashes, and with time enough, there is nothing that nobody can know.
    let is_kept = [(&a, &b), (&b, &a)].iter().all(|(one, other)| one.ok == CALLS && one.position == other.ok);
    if is_kept { Ok(()) } else { Err("a motor does not stand where it was told to".into()) }
}

/// What a board has to tell in the end.
struct Report {
    ok: i32,
    position: i32,
    collisions: u32,
    sent_again: u32,
    millis: u64,
}

fn board(tap: line::Tap, seed: u32, at_work: &AtomicU32) -> Report {
    let mut position = 0;
    let config = Config::new(Incarnation::random(u64::from(seed) << 32 | 0x9E37_79B9)); // Random bits, on a real board.
    let (io, pin) = (tap.io(), tap.pin());
    let port = Rs485::new(Uart::with_clock(io, tap), pin, Duration::from_micros(500), seed);
    let mut node = Node::new(port, config, Buffers::<48>::new(), Frames::<{ frame_len(48) }>::new()).serve::<Board>(
        |context, message| match message {
            Board::Turn(steps, reply) => {
                position += steps;
                context.reply(reply, &position);
            }
        },
    );
    let ok = (0..CALLS).filter(|_| node.call::<Turn>(&1).is_ok()).count() as i32;
    at_work.fetch_sub(1, SeqCst);
    while at_work.load(SeqCst) > 0 {
        node.turn();
    }
    let millis = node.port().now().as_micros() / 1000;
    let (collisions, sent_again) = (node.port().collisions(), node.endpoint().stats().retransmits);
    drop(node);
    Report { ok, position, collisions, sent_again, millis }
}
