//! What the programs share: a panic handler that calls a function that does not exist, values that the compiler cannot know, and the
//! interface that the node speaks.

#![no_std]

pub mod port;

use core::hint::black_box;

use bowline::typed::{Context, Interface, Reply, Schema};
use bowline::{Buffers, Duration, Endpoint, Instant, Semantics};
use serde::{Deserialize, Serialize};

unsafe extern "C" {
    /// Nobody defines it: the linker fails when anything reaches it.
    safe fn this_code_can_panic() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    this_code_can_panic()
}

/// A number from outside.
pub fn any() -> u32 {
    black_box(0)
}

pub fn now() -> Instant {
    Instant::from_micros(u64::from(any()) << 32 | u64::from(any()))
}

pub fn timeout() -> Duration {
    Duration::from_millis(u64::from(any()))
}

pub type Memory = Buffers<48, 2, 2, 2, 1, 1, 10>;

/// One of the things that can be done with an endpoint, and all questions.
pub fn command(endpoint: &mut Endpoint<Memory>) {
    let payload = &[any() as u8, any() as u8];
    match any() {
        0 => {
            if let Ok(call) = endpoint.call(now(), any() as u16, Semantics::Idempotent, timeout(), payload) {
                endpoint.cancel(now(), call);
            }
        }
        1 => drop(endpoint.notify(now(), any() as u16, payload)),
        2 => drop(endpoint.publish(now(), any() as u16, payload)),
        3 => endpoint.close(now()),
        4 => endpoint.connect(now()),
        _ => endpoint.handle_timeout(now()),
    }
    black_box((
        endpoint.poll_timeout(),
        endpoint.stats().dropped.sum(),
        endpoint.free_calls(),
        endpoint.peer_schema_digest(),
    ));
    black_box((endpoint.max_payload(), endpoint.is_idle(), endpoint.is_connected(), endpoint.round_trip()));
}

/// All that waits for a port, which may refuse it.
pub fn send(endpoint: &mut Endpoint<Memory>, buf: &mut [u8]) {
    while let Some(len) = endpoint.poll_frame(now(), buf) {
        black_box((len, &mut *buf));
        if any() == 0 {
            endpoint.handle_refused();
        }
    }
    black_box(endpoint.poll_transmit(now(), buf));
}

/// Text from outside.
pub fn any_text() -> &'static str {
    black_box("text")
}

#[derive(Clone, Copy, Serialize, Deserialize, Schema)]
#[postcard(crate = bowline::typed::postcard_schema)]
pub struct Order {
    pub coins: u8,
    pub at: i32,
    pub until: u64,
}

#[derive(Clone, Copy, Serialize, Deserialize, Schema)]
#[postcard(crate = bowline::typed::postcard_schema)]
pub enum Mode {
    Off,
    Blinking { period: u16 },
    Level(u8, bool),
}

#[derive(Clone, Copy, Serialize, Deserialize, Schema)]
#[postcard(crate = bowline::typed::postcard_schema)]
pub enum Fault {
    Empty,
    Jammed { at: u8 },
}

bowline::interface! {
    /// What either side understands: integers, an enum, text, and a result as the response.
    pub enum Machine<'a> {
        at_most_once PayOut(Order) -> Result<u32, Fault>;
        at_most_once SetMode(Mode) -> Mode;
        idempotent Level(&'a str) -> i64;
        idempotent Name(u8) -> &'a str;
        notify SetClock(u32);
        publish Position((i16, i16));
    }
}

/// What the application keeps.
#[derive(Default)]
pub struct Application {
    /// A request that is answered later.
    pub later: Option<Reply<SetMode>>,
}

impl Application {
    pub fn handle(
        &mut self,
        context: &mut Context<'_, Memory>,
        message: <Machine<'static> as Interface>::Incoming<'_>,
    ) {
        match message {
            Machine::PayOut(order, reply) => {
                let left =
                    if order.coins > 9 { Err(Fault::Jammed { at: order.at as u8 }) } else { Ok(order.until as u32) };
                context.reply(reply, &left);
            }
            Machine::SetMode(mode, reply) => {
                black_box(mode);
                self.later = Some(reply);
            }
            Machine::Level(kind, reply) => drop(context.try_reply(reply, &(kind.chars().count() as i64))),
            Machine::Name(number, reply) if number == 0 => context.refuse(reply, bowline::Refusal::Busy),
            Machine::Name(_, reply) => context.reply(reply, &any_text()),
            Machine::SetClock(seconds) => drop(black_box(seconds)),
            Machine::Position(position, missed) => drop(black_box((position, missed))),
        }
    }

    pub fn answer(&mut self, context: &mut Context<'_, Memory>) {
        match self.later.take() {
            Some(reply) if any() == 0 => context.abandon(reply),
            Some(reply) => context.reply(reply, &any_mode()),
            None => {}
        }
    }
}

pub fn any_order() -> Order {
    Order { coins: any() as u8, at: any() as i32, until: u64::from(any()) << 32 | u64::from(any()) }
}

pub fn any_mode() -> Mode {
    match any() {
        0 => Mode::Off,
        1 => Mode::Blinking { period: any() as u16 },
        _ => Mode::Level(any() as u8, any() == 0),
    }
}
