//! What an endpoint takes of memory: all that it ever takes, from its first moment on.

use bowline::{
    Buffers, Call, Config, Duration, Endpoint, Event, Incarnation, Instant, Message, Semantics, SendError, frame_len,
};

const FRAME: usize = 1_200;
const PAYLOAD: usize = 1_180;
const _: () = assert!(frame_len(PAYLOAD) == FRAME);

/// A server's: 32 calls each way, 32 notifies out and 16 held, 8 publishes, 144 transmissions remembered.
type Server = Endpoint<Buffers<PAYLOAD, 32, 32, 32, 16, 8, 144>>;

fn server(seed: u64, now: Instant) -> Server {
    Endpoint::new(now, Config::new(Incarnation::random(seed << 32 | seed)), Buffers::new())
}

/// 120 payloads, and what is kept of each.
#[test]
#[cfg(target_pointer_width = "64")]
fn a_server_with_frames_of_1200_bytes_and_32_slots_takes_less_than_144_kib() {
    let size = size_of::<Server>();
    println!("{size} bytes");
    assert!(size.div_ceil(1_024) <= 144 && size - 120 * PAYLOAD < 8 * 1_024, "{size}");
}

/// Two servers, each of which calls the other, over a wire that loses every `period`th frame.
struct Pair {
    nodes: [Box<Server>; 2],
    now: Instant,
    frames: u32,
    period: u32,
    answered: u32,
    failed: u32,
    told: u32,
}

impl Pair {
    fn new(period: u32) -> Self {
        let now = Instant::from_micros(0);
        let nodes = [1, 2].map(|seed| Box::new(server(seed, now)));
        Self { nodes, now, frames: 0, period, answered: 0, failed: 0, told: 0 }
    }

    /// One side does what it can: fills its slots, sends, and the other side answers.
    fn turn(&mut self, from: usize, payload: &[u8]) {
        self.now = self.now + Duration::from_millis(1);
        let now = self.now;
        let (near, far) = self.nodes.split_at_mut(1);
        let (near, far) = if from == 0 { (&mut near[0], &mut far[0]) } else { (&mut far[0], &mut near[0]) };
        while near.call(now, 7, Semantics::AtMostOnce, Duration::from_secs(2), payload).is_ok() {}
        while near.notify(now, 8, payload).is_ok() {}
        assert_eq!(near.notify(now, 8, payload), Err(SendError::Full));
        near.publish(now, 9, payload).expect("the latest replaces the one before");
        let mut buf = [0; FRAME];
        while let Some(len) = near.poll_transmit(now, &mut buf) {
            self.frames += 1;
            if self.frames.is_multiple_of(self.period) {
                continue;
            }
            let mut messages = far.handle_frame(now, &mut buf[..len]);
            while let Some(message) = messages.next(far) {
                match message {
                    Message::Request { id, payload, .. } => far.respond(now, id, payload).expect("it fits"),
                    Message::Response { .. } => self.answered += 1,
                    Message::Notify { .. } | Message::Publish { .. } => self.told += 1,
                }
            }
            while far.poll_notify().is_some() {
                self.told += 1;
            }
        }
        while let Some(event) = near.poll_event() {
            self.failed += u32::from(matches!(event, Event::CallFailed { .. }));
        }
    }

    /// A side loses all it knew; its memory stays where it is.
    fn restart(&mut self, side: usize, seed: u64) {
        *self.nodes[side] = server(seed, self.now);
    }

    fn cancel(&mut self, side: usize, payload: &[u8]) -> Option<Call> {
        let now = self.now;
        let call = self.nodes[side].call(now, 7, Semantics::Idempotent, Duration::from_secs(2), payload).ok()?;
        self.nodes[side].cancel(now, call);
        Some(call)
    }
}

#[test]
fn nothing_is_allocated_after_the_start_whatever_happens_on_the_wire() {
    let mut pair = Pair::new(7);
    let payload = [0xA5; PAYLOAD];
    let mut cancelled = 0;
    let info = allocation_counter::measure(|| {
        for round in 0..3_000 {
            let len = [8, 300, PAYLOAD][round % 3];
            pair.turn(round % 2, &payload[..len]);
            if round % 500 == 499 {
                pair.restart(round / 500 % 2, round as u64);
                cancelled += u32::from(pair.cancel(round / 500 % 2, &payload[..8]).is_some());
            }
        }
    });
    println!("{} answered, {} failed, {} told, {} frames", pair.answered, pair.failed, pair.told, pair.frames);
    assert_eq!((info.count_total, info.bytes_total), (0, 0));
    assert!(pair.answered > 3_000 && pair.told > 3_000 && pair.failed > 0 && cancelled == 6);
    let stats = pair.nodes[0].stats();
    assert!(stats.retransmits > 0 && stats.duplicates > 0, "the other one has just begun anew");
}
