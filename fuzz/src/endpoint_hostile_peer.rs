//! A peer that holds the session, knows its seed and says anything at all, while the application of the endpoint goes
//! on working: calls, handlers, one-way messages, a port that refuses.
//!
//! Every frame must lead to what [`Model`] says and to nothing else; what the application is told must be possible;
//! and when the peer has fallen silent and the application has answered, every slot is free again: an honest peer is
//! served as if nothing had been.
//!
//! Input: one step after the other, each a byte that says which and bytes for its fields.

mod application;
mod sayings;

use std::collections::BTreeMap;

use arbitrary::{Result, Unstructured};
use bowline::{Call, CallError, Config, Duration, Event, Executed, Incarnation, Instant, Reason, RequestId};

use super::decode_packet::HELLO;
use super::honest;
use super::model::Model;
use super::peer::{Heard, Peer, Session};
use super::subject::Subject;
use super::wire::{Hello, Message};

/// Steps beyond these teach nothing new.
const MAX_STEPS: usize = 200;

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let incarnation = match input.arbitrary() {
        Ok(0_u8..200) => Incarnation::random(0x1234_5678_9ABC_DEF0),
        _ => Incarnation::none(1, Duration::ZERO),
    };
    let mut scene = Scene::new(Config::new(incarnation));
    for _ in 0..MAX_STEPS {
        if input.is_empty() || scene.step(&mut input).is_err() {
            break;
        }
        if scene.peer.has_guessed {
            return;
        }
        scene.settle();
    }
    scene.end();
}

/// A call that has not ended.
struct Open {
    call: Call,
    deadline: Instant,
    /// A frame with it was given to a port that took it, ever.
    was_sent: bool,
}

/// A packet of the peer, and what it knows of it.
#[derive(Clone)]
struct Sealed {
    session: u32,
    number: u64,
    ack: Option<u64>,
    packet: Vec<u8>,
    frame: Vec<u8>,
}

struct Scene {
    subject: Subject,
    peer: Peer,
    model: Model,
    /// The challenge that the peer drew last.
    challenge: u32,
    /// By the id in their payload, which counts.
    calls: BTreeMap<u32, Open>,
    ended: Vec<Call>,
    next_id: u32,
    handlers: Vec<RequestId>,
    /// What the peer has sent, to be sent again.
    history: Vec<Sealed>,
    /// Payloads of the notifies of this session, by sequence.
    notifies: Vec<Vec<u8>>,
    publishes: u16,
    is_closed: bool,
    is_connected: bool,
    is_confirmed: bool,
    /// The port takes nothing.
    is_blocked: bool,
}

impl Scene {
    fn new(config: Config) -> Self {
        let mut scene = Self {
            subject: Subject::new(config),
            peer: Peer::default(),
            model: Model::default(),
            challenge: HELLO.from.challenge,
            calls: BTreeMap::new(),
            ended: Vec::new(),
            next_id: 0,
            handlers: Vec::new(),
            history: Vec::new(),
            notifies: Vec::new(),
            publishes: 0,
            is_closed: false,
            is_connected: false,
            is_confirmed: false,
            is_blocked: false,
        };
        scene.settle();
        scene
    }

    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        match input.arbitrary::<u8>()? % 32 {
            0..10 => self.packet(input)?,
            10 => self.packet_of_candidate(input)?,
            11 | 12 => self.again(input)?,
            13 | 14 => self.enter(input)?,
            15 | 16 => self.hello(input)?,
            17 => self.garbage(input)?,
            18..21 => self.call(input)?,
            21..24 => self.answer(input)?,
            24 => self.one_way(input)?,
            25 => self.cancel(input)?,
            26 => self.close_or_connect(),
            27 => self.is_blocked = !self.is_blocked,
            28 => self.refuse(),
            _ => self.sleep(input)?,
        }
        Ok(())
    }

    // What must hold.

    fn began(&mut self, hello: &Hello, session: Session) {
        self.peer.is_confirmed();
        self.peer.session = Some(session);
        self.is_confirmed = false;
        self.model.begin(hello.time_to_live);
        self.notifies.clear();
        self.publishes = 0;
    }

    fn left(&mut self) {
        self.peer.is_left();
        self.model.end();
    }

    /// Everything is polled, and read.
    fn settle(&mut self) {
        self.subject.sleep(Duration::ZERO);
        if !self.is_closed && self.peer.session.is_some() && !self.subject.both(|node, _| node.is_connected()) {
            // The lease is over.
            self.left();
        }
        while !self.is_blocked
            && let Some(frame) = self.subject.transmit()
        {
            let heard = self.peer.hear(&frame);
            if let Heard::Packet(messages) = heard {
                messages.iter().for_each(|message| self.heard(message));
            }
        }
        while let Some(event) = self.subject.event() {
            self.told(event);
        }
        assert_eq!(self.subject.both(|node, _| node.is_connected()), self.is_connected);
        assert!(self.calls.values().all(|open| open.deadline > self.subject.now), "a call has outlived its deadline");
        if !self.is_blocked {
            self.subject.check();
        }
    }

    /// What the endpoint sends is right.
    fn heard(&mut self, message: &Message) {
        match message {
            Message::Request { slot, sequence, payload, .. } => {
                let id = u32::from_le_bytes(payload[..4].try_into().expect("an id"));
                let open = self.calls.get_mut(&id).expect("a call that has not ended");
                open.was_sent = true;
                let sent = Some((open.call, *sequence));
                let slot = &mut self.model.calls[usize::from(*slot)];
                assert!(slot.is_none() || *slot == sent, "one call at a time, under one sequence");
                *slot = sent;
            }
            Message::Response { .. } | Message::Refusal { .. } => {
                assert!(self.model.is_reply(message), "{message:?} is not what was answered");
            }
            Message::Notify { sequence, payload, .. } => match self.notifies.get(usize::from(*sequence)) {
                Some(sent) => assert_eq!(payload, sent),
                None => {
                    assert_eq!(usize::from(*sequence), self.notifies.len(), "a gap");
                    self.notifies.push(payload.clone());
                }
            },
            Message::LongNotify { .. } => panic!("{message:?} to a peer with so small a window"),
            Message::Publish { sequence, .. } => {
                assert_eq!(*sequence, self.publishes);
                self.publishes += 1;
            }
            Message::Close => assert!(self.is_closed),
            Message::Ping | Message::Cancel { .. } => {}
        }
    }

    /// What the application is told is possible.
    fn told(&mut self, event: Event) {
        match event {
            Event::Connected => assert!(!std::mem::replace(&mut self.is_connected, true)),
            Event::Disconnected { .. } => assert!(std::mem::replace(&mut self.is_connected, false)),
            Event::VersionRefused { .. } => panic!("no VERSION was sent"),
            Event::CallFailed { call, error } => self.failed(call, error),
            Event::CancelRequested { request } => assert!(self.handlers.contains(&request)),
            Event::Orphaned { request } => {
                assert!(self.handlers.contains(&request) && self.model.is_orphan(request));
            }
        }
    }

    fn failed(&mut self, call: Call, error: CallError) {
        let open = self.end_call(call);
        let is_refused = matches!(error.reason, Reason::Refused(_) | Reason::Cancelled);
        let is_possible = match error.executed {
            Executed::No => !open.was_sent || is_refused,
            Executed::Maybe => open.was_sent,
            Executed::Yes => open.was_sent && is_refused,
        };
        assert!(is_possible, "{error:?}, was sent: {}", open.was_sent);
        let is_late = matches!(error.reason, Reason::DeadlineExceeded | Reason::Unreachable);
        assert!(!is_late || self.subject.now >= open.deadline);
    }

    fn end_call(&mut self, call: Call) -> Open {
        let id = self.calls.iter().find(|(_, open)| open.call == call).map(|(id, _)| *id);
        let open = self.calls.remove(&id.expect("a call ends once")).expect("it is there");
        self.model.forget(call);
        self.ended.push(call);
        open
    }

    /// The peer falls silent, the application answers, and all is as on the first day.
    fn end(mut self) {
        for _ in 0..4 {
            self.subject.sleep(Duration::from_secs(6));
            self.settle();
        }
        assert!(self.calls.is_empty(), "each call ends");
        for request in std::mem::take(&mut self.handlers) {
            self.subject.both(|node, _| node.abandon(request));
        }
        honest::serve(&mut self.subject);
    }
}
