//! The dispenser on lm3s6965evb, with embassy: the link is one future, the motors another.
//!
//! Like the firmware without embassy, it has no source of entropy and stays quiet after its start.

#![no_std]
#![no_main]

mod clock;
mod serial;

use core::cell::RefCell;

use app::{Answers, Dispenser, FRAME, Mechanism, Memory, config};
use bowline::drivers::asynch::Tasks;
use bowline::drivers::embedded_async::{EmbassyTimer, Node};
use bowline::typed::{Procedure, Reply};
use bowline::{Duration, Incarnation, Instant, Refusal};
use embassy_executor::Spawner;
use embassy_futures::join::join;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::signal::Signal;
use embassy_time::Timer;
use panic_halt as _;

/// Longer than a frame can be under way between this board and its host, buffers included.
const QUIET: Duration = Duration::from_millis(600);

type Link = Node<NoopRawMutex, Memory, Tasks<{ app::PAYLOAD }, 0, 0>>;

/// Answers that a task gives.
struct Task<'a>(&'a Link);

impl Answers for Task<'_> {
    fn reply<P: Procedure>(&mut self, reply: Reply<P>, response: &P::Response<'_>) {
        self.0.reply(reply, response);
    }

    fn refuse<P: Procedure>(&mut self, reply: Reply<P>, refusal: Refusal) {
        self.0.refuse(reply, refusal);
    }
}

fn now() -> Instant {
    Instant::from_micros(embassy_time::Instant::now().as_micros())
}

#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    let Some(core) = cortex_m::Peripherals::take() else { unreachable!("nothing ran before") };
    clock::start(core.SYST);
    let (receiver, transmitter) = serial::start();
    // 0x6C65 is any number that the host does not have.
    let link: Link = Node::with_embassy_time(config(Incarnation::none(0x6C65, QUIET)), Memory::new(), Tasks::new());
    let mechanism = RefCell::new(Mechanism::new());
    let started = Signal::<NoopRawMutex, ()>::new();

    let serve = link.run::<Dispenser, FRAME>(
        receiver,
        transmitter,
        EmbassyTimer,
        |link, message| {
            mechanism.borrow_mut().handle(now(), &mut Task(link), message);
            started.signal(());
        },
        |_event| {},
    );
    let motors = async {
        loop {
            let deadline = mechanism.borrow().deadline();
            match deadline {
                // All run for the same time, so one that starts meanwhile does not stop sooner.
                Some(until) => Timer::at(embassy_time::Instant::from_micros(until.as_micros())).await,
                None => started.wait().await,
            }
            mechanism.borrow_mut().turn(now(), &mut Task(&link));
        }
    };
    join(serve, motors).await;
}
