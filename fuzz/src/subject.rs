//! The endpoint under test, with what must hold for every frame and every call whoever the peer is.
//!
//! It has a twin, which is told everything but the frames that were dropped and the commands that failed. Both must
//! say and do the same for ever: that is what "leaves the state as it was" means.

use std::fmt::Debug;

use bowline::{Buffers, Call, Config, Dropped, Duration, Endpoint, Event, Instant, Message, RequestId, Stats};

/// Two calls each way in frames of 64 bytes.
pub type Memory = Buffers<48, CALLS, REPLIES, 2, 1, 1, 10>;
pub type Node = Endpoint<Memory>;

pub const CALLS: usize = 2;
pub const REPLIES: usize = 2;
pub const FRAME: usize = 64;

pub struct Subject {
    node: Node,
    twin: Node,
    pub now: Instant,
    /// Frames that the port took.
    taken: u32,
}

/// A message that was taken out of its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    Request { id: RequestId, key: u16, expires_at: Instant, payload: Vec<u8> },
    Response { call: Call, payload: Vec<u8> },
    Notify { key: u16, payload: Vec<u8> },
    Publish { key: u16, missed: u16, payload: Vec<u8> },
}

/// Why a frame was dropped: the counters of [`Dropped`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    TooShort,
    BadCheck,
    UnknownKind,
    OtherVersion,
    BadHello,
    OwnEcho,
    Malformed,
    Duplicate,
    TooOld,
    NotListening,
}

/// What became of a frame.
pub struct Fed {
    pub dropped: Option<Why>,
    pub messages: Vec<Taken>,
    /// Notifies that were held back until now.
    pub held: Vec<Taken>,
}

impl Subject {
    pub fn new(config: Config) -> Self {
        let now = Instant::from_micros(1_000_000);
        let node = || Endpoint::new(now, config, Memory::new());
        Self { node: node(), twin: node(), now, taken: 0 }
    }

    /// Does the same to both.
    pub fn both<T: PartialEq + Debug>(&mut self, mut command: impl FnMut(&mut Node, Instant) -> T) -> T {
        let outcome = command(&mut self.node, self.now);
        assert_eq!(command(&mut self.twin, self.now), outcome, "the twin differs");
        outcome
    }

    /// A command that may fail. One that does leaves the state as it was: the twin is not told.
    pub fn attempt<T: PartialEq + Debug, E: PartialEq + Debug>(
        &mut self,
        mut command: impl FnMut(&mut Node, Instant) -> Result<T, E>,
    ) -> Result<T, E> {
        let outcome = command(&mut self.node, self.now)?;
        assert_eq!(command(&mut self.twin, self.now).as_ref(), Ok(&outcome), "the twin differs");
        Ok(outcome)
    }

    /// Hands a frame in. It counts once: as accepted, or in one counter of what was dropped.
    pub fn feed(&mut self, frame: &[u8]) -> Fed {
        let before = *self.node.stats();
        let messages = take_messages(&mut self.node, self.now, frame);
        let after = *self.node.stats();
        assert_eq!(after.frames_received, before.frames_received + 1);
        let dropped = reason(&before.dropped, &after.dropped);
        if let Some(why) = dropped {
            assert_eq!(messages, [], "a frame that was dropped has no messages");
            let unchanged = Stats { frames_received: after.frames_received, dropped: after.dropped, ..before };
            // The ack of a duplicate counts, nothing else.
            assert!(after == unchanged || why == Why::Duplicate, "{before:?} {after:?}");
        }
        match dropped {
            // It may draw an answer, or its ack counts.
            None | Some(Why::BadCheck | Why::OtherVersion | Why::Duplicate) => {
                assert_eq!(take_messages(&mut self.twin, self.now, frame), messages, "the twin differs");
            }
            Some(_) => {}
        }
        let mut held = Vec::new();
        while let Some(notify) = self.both(|node, _| {
            node.poll_notify().map(|notify| Taken::Notify { key: notify.key, payload: notify.payload.to_vec() })
        }) {
            held.push(notify);
        }
        Fed { dropped, messages, held }
    }

    /// The next frame, which the port takes.
    pub fn transmit(&mut self) -> Option<Vec<u8>> {
        let frame = self.poll()?;
        self.taken += 1;
        Some(frame)
    }

    /// The next frame, which the port does not take.
    pub fn refuse(&mut self) -> Option<Vec<u8>> {
        let frame = self.poll()?;
        self.both(|node, _| node.handle_refused());
        Some(frame)
    }

    fn poll(&mut self) -> Option<Vec<u8>> {
        self.both(|node, now| {
            let mut buf = [0; FRAME];
            let len = node.poll_transmit(now, &mut buf)?;
            Some(buf[..len].to_vec())
        })
    }

    pub fn event(&mut self) -> Option<Event> {
        self.both(|node, _| node.poll_event())
    }

    pub fn sleep(&mut self, time: Duration) {
        self.now = self.now + time;
        self.both(|node, now| node.handle_timeout(now));
    }

    pub fn timeout(&mut self) -> Option<Instant> {
        self.both(|node, _| node.poll_timeout())
    }

    pub fn stats(&self) -> Stats {
        *self.node.stats()
    }

    /// To be called when all is polled.
    pub fn check(&mut self) {
        self.both(|node, _| {
            (node.is_connected(), node.is_idle(), node.free_calls(), node.max_payload(), node.round_trip())
        });
        let (stats, twin) = (self.stats(), *self.twin.stats());
        let of_twin = Stats { frames_received: twin.frames_received, dropped: twin.dropped, ..stats };
        assert_eq!(twin, of_twin, "the twin differs");
        assert_eq!(stats.frames_sent, self.taken);
        assert!(stats.acks_sent + stats.hellos_sent <= self.taken);
        assert!(stats.acks_sent <= stats.frames_received, "each ack was drawn by a frame");
        assert!(stats.dropped.sum() <= stats.frames_received);
        let timeout = self.timeout();
        assert!(timeout.is_none_or(|at| at > self.now), "nothing to do, and it asks to be driven again at once");
    }
}

/// Hands a frame to a node and takes all its messages.
pub fn take_messages(node: &mut Node, now: Instant, frame: &[u8]) -> Vec<Taken> {
    let mut frame = frame.to_vec();
    let mut messages = node.handle_frame(now, &mut frame);
    std::iter::from_fn(|| messages.next(node).map(Taken::from)).collect()
}

impl From<Message<'_>> for Taken {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Request { id, key, expires_at, payload } => {
                Self::Request { id, key, expires_at, payload: payload.to_vec() }
            }
            Message::Response { call, payload } => Self::Response { call, payload: payload.to_vec() },
            Message::Notify { key, payload } => Self::Notify { key, payload: payload.to_vec() },
            Message::Publish { key, missed, payload } => Self::Publish { key, missed, payload: payload.to_vec() },
        }
    }
}

/// Which counter has grown, by one.
fn reason(before: &Dropped, after: &Dropped) -> Option<Why> {
    let counts = |dropped: &Dropped| {
        [
            (Why::TooShort, dropped.too_short),
            (Why::BadCheck, dropped.bad_check),
            (Why::UnknownKind, dropped.unknown_kind),
            (Why::OtherVersion, dropped.other_version),
            (Why::BadHello, dropped.bad_hello),
            (Why::OwnEcho, dropped.own_echo),
            (Why::Malformed, dropped.malformed),
            (Why::Duplicate, dropped.duplicate),
            (Why::TooOld, dropped.too_old),
            (Why::NotListening, dropped.not_listening),
        ]
    };
    let grown = counts(before).into_iter().zip(counts(after)).filter(|(before, after)| before != after);
    let grown = grown.collect::<Vec<_>>();
    assert!(after.sum() - before.sum() == grown.len() as u32 && grown.len() <= 1, "{before:?} {after:?}");
    grown.first().map(|((why, _), _)| *why)
}
