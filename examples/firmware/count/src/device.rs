//! The device whose instructions are counted: four procedures, of which one is called.

use core::hint::black_box;

use bowline::typed::{Context, Interface, Schema, Undecodable};
use bowline::wire::Deframer;
use bowline::{Buffers, Config, Endpoint, Incarnation, Instant, frame_len};
use serde::{Deserialize, Serialize};

/// How a motor is to turn: 8 bytes.
#[derive(Clone, Copy, Serialize, Deserialize, Schema)]
pub struct Motion {
    pub motor: u8,
    pub speed: u16,
    pub steps: i32,
}

/// Where it stands then: 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Position {
    pub is_moving: bool,
    pub speed: u16,
    pub steps: i32,
}

bowline::interface! {
    /// What the device understands.
    pub enum Device<'a> {
        /// Turns a motor, and tells where it stands then.
        at_most_once Turn(Motion) -> Position;
        /// Switches a lamp.
        idempotent Switch(bool) -> ();
        /// Milliseconds since the start.
        idempotent Uptime(()) -> u32;
        /// Shows a text, and tells how much of it has room.
        at_most_once Show(&'a str) -> u8;
    }
}

/// What a call asks for. Its numbers take as many bytes as they can.
pub const fn motion(number: u32) -> Motion {
    Motion { motor: 1, speed: 9_000, steps: i32::MIN + number as i32 }
}

/// What it is answered with.
pub const fn position(motion: Motion) -> Position {
    Position { is_moving: true, speed: motion.speed, steps: motion.steps }
}

type Memory = Buffers<48, 0, 2, 0, 0, 0, 4>;

/// A server with two slots and frames of 64 bytes.
pub struct Server {
    endpoint: Endpoint<Memory>,
    deframer: Deframer<{ frame_len(48) }>,
}

impl Server {
    pub fn new(now: Instant) -> Self {
        let config =
            Config { schema_digest: Device::DIGEST, ..Config::new(Incarnation::random(0x1234_5678_9ABC_DEF0)) };
        Self { endpoint: Endpoint::new(now, config, Memory::new()), deframer: Deframer::new() }
    }

    /// From the first byte of what has come to the last byte of the frame that answers it, whose length this is.
    #[inline(never)]
    pub fn answer(&mut self, now: Instant, mut received: &[u8], answer: &mut [u8]) -> Option<usize> {
        let Self { endpoint, deframer } = self;
        while let Some(frame) = deframer.next_frame(&mut received) {
            take(endpoint, now, frame);
        }
        endpoint.poll_frame(now, answer)
    }

    /// What a driver does besides when it waits for the next bytes: lets time pass, asks for events, for another frame and for
    /// the deadline.
    #[inline(never)]
    pub fn wait(&mut self, now: Instant, answer: &mut [u8]) -> Option<usize> {
        let Self { endpoint, .. } = self;
        endpoint.handle_timeout(now);
        while let Some(event) = endpoint.poll_event() {
            black_box(event);
        }
        black_box(endpoint.poll_timeout());
        endpoint.poll_frame(now, answer)
    }

    pub fn poll_timeout(&mut self) -> Option<Instant> {
        self.endpoint.poll_timeout()
    }
}

/// Takes a frame and handles what is in it.
fn take(endpoint: &mut Endpoint<Memory>, now: Instant, frame: &mut [u8]) {
    let mut messages = endpoint.handle_frame(now, frame);
    while let Some(message) = messages.next(endpoint) {
        let decoded = Device::decode(message);
        let mut context = Context::new(endpoint, now);
        match decoded {
            Ok(Device::Turn(motion, reply)) => context.reply(reply, &position(black_box(motion))),
            Ok(Device::Switch(lit, reply)) => {
                black_box(lit);
                context.reply(reply, &());
            }
            Ok(Device::Uptime((), reply)) => context.reply(reply, &black_box(7)),
            Ok(Device::Show(text, reply)) => context.reply(reply, &(text.len() as u8)),
            Err(Undecodable::Request(id, refusal)) => {
                let _ = endpoint.refuse(now, id, refusal);
            }
            Err(_) => {}
        }
    }
}
