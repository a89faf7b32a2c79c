//! A peer that holds the session, knows its seed and says anything at all, while the application of the endpoint goes
//! on working: calls, handlers, one-way messages, a port that refuses.
//!
//! Every frame must lead to what [`Model`] says and to nothing else; what the application is told must be possible;
//! and when the peer has fallen silent and the application has answered, every slot is free again: an honest peer is
//! served as if nothing had been.
//!
//! Input: one step after the other, each a byte that says which and bytes for its fields.

use std::collections::BTreeMap;

use arbitrary::{Result, Unstructured};
use bowline::{
    Call, CallError, Config, Duration, Event, Executed, Incarnation, Instant, Reason, Refusal, RequestId, RespondError,
    Semantics, SendError,
};

use super::decode_packet::HELLO;
use super::honest;
use super::model::{Expected, Model};
use super::peer::{Heard, Peer, Session};
use super::subject::{Fed, Subject, Taken, Why};
use super::wire::{self, Ack, End, Header, Hello, Message};

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

    // What the peer does.

    /// A packet in the session, with anything in it.
    fn packet(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let Some(session) = &mut self.peer.session else { return self.enter(input) };
        let id = session.id();
        let shape = input.arbitrary::<u8>()?;
        let number = match shape & 7 {
            0..5 => session.next,
            5 => session.next + u64::from(input.arbitrary::<u8>()?),
            6 => session.next.saturating_sub(u64::from(input.arbitrary::<u8>()?)),
            _ => u64::from(input.arbitrary::<u32>()?),
        };
        let len = if shape & 8 == 0 { 4 } else { input.int_in_range(1..=4)? };
        let (ack, field) = draw_ack(input, session.received)?;
        let header = Header { low: number as u32 & u32::MAX >> (32 - 8 * len), len, ack: field };
        let packet = [header.encode(), draw_messages(input)?].concat();
        let frame = session.seal(number, ack, &packet);
        self.send(Sealed { session: id, number, ack, packet, frame });
        Ok(())
    }

    /// One of the packets before, again.
    fn again(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let back = usize::from(input.arbitrary::<u8>()?);
        let Some(sealed) = self.history.iter().rev().nth(back % self.history.len().max(1)).cloned() else {
            return Ok(());
        };
        self.send(sealed);
        Ok(())
    }

    fn send(&mut self, sealed: Sealed) {
        let expected = self.expect(&sealed);
        let fed = self.subject.feed(&sealed.frame);
        match (fed.dropped, &expected) {
            (None, Expected::Accepted | Expected::Unknown) => self.accepted(&sealed, &fed),
            (Some(why), _) => {
                assert!(
                    expected == Expected::Dropped(why) || expected == Expected::Unknown,
                    "{why:?}, not {expected:?}"
                );
                if why == Why::Duplicate {
                    self.model.acknowledge(sealed.ack);
                }
            }
            (None, _) => panic!("taken, though {expected:?}"),
        }
        self.history.push(sealed);
    }

    /// What a packet has to lead to. The first one of a session that the latest HELLO has made possible begins it.
    fn expect(&mut self, sealed: &Sealed) -> Expected {
        if self.is_closed {
            return Expected::Dropped(Why::NotListening);
        }
        if let Some(session) = self.peer.session.as_ref().filter(|session| session.id() == sealed.session) {
            return self.model.expect(session, sealed.number, sealed.ack, &sealed.packet);
        }
        let candidate = self.peer.unproven.zip(self.peer.node);
        let candidate = candidate.map(|(hello, node)| (hello, Session::new(&hello, node)));
        match candidate.filter(|(_, session)| session.id() == sealed.session) {
            Some((hello, mut session)) => {
                let expected = Model::default().expect(&session, sealed.number, sealed.ack, &sealed.packet);
                if expected == Expected::Accepted {
                    session.sent.push(sealed.number);
                    session.next = sealed.number + 1;
                    self.began(&hello, session);
                }
                expected
            }
            None => Expected::Dropped(Why::BadCheck),
        }
    }

    fn accepted(&mut self, sealed: &Sealed, fed: &Fed) {
        if !std::mem::replace(&mut self.is_confirmed, true) {
            self.peer.is_confirmed();
        }
        let is_closed = self.model.accept(sealed.number, sealed.ack, &sealed.packet, fed, self.subject.now);
        for taken in &fed.messages {
            match taken {
                Taken::Request { id, .. } => {
                    assert!(!self.handlers.contains(id), "one request, two handlers");
                    self.handlers.push(*id);
                }
                Taken::Response { call, .. } => {
                    let open = self.end_call(*call);
                    assert!(open.was_sent, "a response to what was never asked");
                }
                Taken::Notify { .. } | Taken::Publish { .. } => {}
            }
        }
        if is_closed {
            self.left();
        }
    }

    /// The first packet of the session that the latest HELLO has made possible.
    fn packet_of_candidate(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let (Some(unproven), Some(node)) = (self.peer.unproven, self.peer.node) else { return self.enter(input) };
        let mut session = Session::new(&unproven, node);
        let (low, len) = (input.arbitrary::<u8>()?, input.int_in_range(1..=4)?);
        let header = Header { low: u32::from(low), len, ack: None };
        let number = wire::restore(header.low, len, 0);
        let packet = [header.encode(), draw_messages(input)?].concat();
        let frame = session.seal(number, None, &packet);
        self.send(Sealed { session: session.id(), number, ack: None, packet, frame });
        Ok(())
    }

    /// A handshake as it should be, with limits as they come.
    fn enter(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        self.challenge += 1;
        let limits = input.arbitrary::<u8>()?;
        let hello = Hello {
            from: End { challenge: self.challenge, ..HELLO.from },
            echo: self.peer.node.map(|node| node.challenge),
            frame_size: [64, 48, 1_000, 57][usize::from(limits & 3)],
            slots: [2, 1, 0, 32][usize::from(limits >> 2 & 3)],
            window: [2, 1, 0, 1_000][usize::from(limits >> 4 & 3)],
            time_to_live: [100, 0, 1, 255][usize::from(limits >> 6)],
            ..HELLO
        };
        self.say(&hello);
        Ok(())
    }

    /// A HELLO with anything in it.
    fn hello(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let shape = input.arbitrary::<u8>()?;
        let session = self.peer.session.as_ref();
        self.challenge += u32::from(shape & 1);
        let held = session.map(|session| (session.own, session.node));
        let hello = Hello {
            from: match (shape >> 1 & 7, held) {
                (0..4, _) => End { challenge: self.challenge, ..HELLO.from },
                (4, Some((own, _))) => own,
                (5, Some((_, node))) => node,
                (6, _) => End { incarnation: 0, challenge: self.challenge },
                _ => End { incarnation: input.arbitrary()?, challenge: input.arbitrary()? },
            },
            echo: match shape >> 4 & 3 {
                0 => None,
                1 => Some(input.arbitrary()?),
                _ => self.peer.node.map(|node| node.challenge),
            },
            session: match shape >> 6 {
                0 => None,
                1 => Some(input.arbitrary()?),
                _ => session.map(Session::id),
            },
            frame_size: 48 + u16::from(input.arbitrary::<u8>()?),
            slots: input.int_in_range(0..=32)?,
            window: input.arbitrary()?,
            time_to_live: input.arbitrary()?,
            digest: 0,
        };
        self.say(&hello);
        Ok(())
    }

    fn say(&mut self, hello: &Hello) {
        let before = self.subject.stats().sessions;
        let fed = self.peer.say(hello, &mut self.subject);
        assert_eq!(fed.dropped == Some(Why::NotListening), self.is_closed);
        if self.subject.stats().sessions > before {
            let session = self.peer.session.clone().expect("a session");
            self.began(hello, session);
        }
    }

    fn garbage(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let len = usize::from(input.arbitrary::<u8>()? % 80).min(input.len());
        let bytes = input.bytes(len)?;
        let frame = if bytes.first().is_some_and(|first| first & 0xC0 == 0x40) {
            wire::plain_frame(bytes)
        } else {
            bytes.to_vec()
        };
        let fed = self.subject.feed(&frame);
        assert!(fed.dropped.is_some(), "{frame:02x?} was taken");
        Ok(())
    }

    // What the application does.

    fn call(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let shape = input.arbitrary::<u8>()?;
        let semantics = if shape & 1 == 0 { Semantics::AtMostOnce } else { Semantics::Idempotent };
        let timeout = Duration::from_millis([0, 5, 300, 20_000][usize::from(shape >> 1 & 3)]);
        let mut payload = self.next_id.to_le_bytes().to_vec();
        payload.resize(4 + usize::from(shape >> 3) * 2, 0xCA);
        let (free, limit) = self.subject.both(|node, _| (node.free_calls(), node.max_payload()));
        let outcome = self.subject.attempt(|node, now| node.call(now, 7, semantics, timeout, &payload));
        self.check_accepted(outcome.is_ok(), outcome.err(), payload.len(), limit, free == 0);
        if let Ok(call) = outcome {
            assert!(self.calls.values().all(|open| open.call != call));
            let open = Open { call, deadline: self.subject.now + timeout, was_sent: false };
            self.calls.insert(self.next_id, open);
            self.next_id += 1;
        }
        Ok(())
    }

    fn check_accepted(&self, is_ok: bool, error: Option<SendError>, len: usize, limit: usize, is_full: bool) {
        let is_right = match error {
            None => is_ok && !self.is_closed && len <= limit && !is_full,
            Some(SendError::Closed) => self.is_closed,
            Some(SendError::TooLarge { limit: told }) => len > limit && usize::from(told) == limit,
            Some(SendError::Full) => is_full,
        };
        assert!(is_right, "{error:?}");
    }

    fn one_way(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let shape = input.arbitrary::<u8>()?;
        let mut payload = self.next_id.to_le_bytes().to_vec();
        self.next_id += 1;
        payload.resize(4 + usize::from(shape >> 2), 0xDA);
        let key = u16::from(shape & 2);
        let outcome = self.subject.attempt(|node, now| match shape & 1 {
            0 => node.notify(now, key, &payload),
            _ => node.publish(now, key, &payload),
        });
        let is_full = outcome == Err(SendError::Full);
        let limit = self.subject.both(|node, _| node.max_payload());
        self.check_accepted(outcome.is_ok(), outcome.err(), payload.len(), limit, is_full);
        Ok(())
    }

    fn answer(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let shape = input.arbitrary::<u8>()?;
        if self.handlers.is_empty() {
            return Ok(());
        }
        let index = usize::from(shape & 1) % self.handlers.len();
        let request = self.handlers[index];
        let is_orphan = self.model.is_orphan(request);
        if shape >> 1 & 3 == 3 {
            let refusal = [Refusal::Busy, Refusal::Expired, Refusal::UnknownKey, Refusal::ResponseTooLarge];
            let (refusal, code) = (refusal[usize::from(shape >> 3 & 3)], [0, 1, 2, 5][usize::from(shape >> 3 & 3)]);
            // An orphan's answer fails, and ends it: the twin is told as well.
            let outcome = self.subject.both(|node, now| node.refuse(now, request, refusal));
            assert_eq!(outcome.is_err(), is_orphan);
            self.model.answered(request, Err(code));
        } else {
            let payload = vec![0xEA; usize::from(shape >> 3) * 2];
            let outcome = self.subject.both(|node, now| node.respond(now, request, &payload));
            match outcome {
                Err(RespondError::TooLarge { limit }) => {
                    assert!(payload.len() > usize::from(limit) && !is_orphan);
                    return Ok(());
                }
                Err(RespondError::Stale) => assert!(is_orphan),
                Ok(()) => assert!(!is_orphan),
            }
            self.model.answered(request, Ok(payload));
        }
        self.handlers.remove(index);
        let again = self.subject.attempt(|node, now| node.respond(now, request, b"again"));
        assert_eq!(again, Err(RespondError::Stale), "a request is answered once");
        Ok(())
    }

    fn cancel(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let index = usize::from(input.arbitrary::<u8>()?);
        let calls = self.calls.values().map(|open| open.call).chain(self.ended.iter().rev().take(2).copied());
        let calls = calls.collect::<Vec<_>>();
        let Some(call) = calls.get(index % calls.len().max(1)) else { return Ok(()) };
        self.subject.both(|node, now| node.cancel(now, *call));
        // Its response is news no longer.
        self.model.forget(*call);
        Ok(())
    }

    fn close_or_connect(&mut self) {
        if self.is_closed {
            self.subject.both(|node, now| node.connect(now));
            self.left();
        } else {
            self.subject.both(|node, now| node.close(now));
            self.model.end();
        }
        self.is_closed = !self.is_closed;
    }

    /// The port does not take the next frame.
    fn refuse(&mut self) {
        if let Some(frame) = self.subject.refuse() {
            self.model.refused += u64::from(frame[0] & 0x80 != 0);
        }
    }

    fn sleep(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let millis = [0, 1, 7, 30, 100, 500, 3_000, 11_000][usize::from(input.arbitrary::<u8>()? % 8)];
        self.subject.sleep(Duration::from_millis(millis));
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

/// An ack of anything, and how it travels.
fn draw_ack(input: &mut Unstructured<'_>, received: u64) -> Result<(Option<u64>, Option<Ack>)> {
    let shape = input.arbitrary::<u8>()?;
    let largest = match shape & 7 {
        0..3 => return Ok((None, None)),
        3..6 => received.saturating_sub(1),
        6 => received.saturating_sub(u64::from(input.arbitrary::<u8>()?)),
        _ => u64::from(input.arbitrary::<u32>()?),
    };
    let len = [4, 1, 2, 4][usize::from(shape >> 3 & 3)];
    let bitmap_len = [0, 1, 4, 8][usize::from(shape >> 5 & 3)];
    let bitmap = if bitmap_len == 0 { 0 } else { input.arbitrary::<u64>()? & u64::MAX >> (64 - 8 * bitmap_len) };
    let low = largest as u32 & u32::MAX >> (32 - 8 * len);
    Ok((Some(largest), Some(Ack { low, len, bitmap, bitmap_len, is_fresh: shape >> 7 == 1 })))
}

/// What stands behind the header: messages, or any bytes.
fn draw_messages(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let shape = input.arbitrary::<u8>()?;
    if shape >> 4 == 0xF {
        let len = usize::from(shape & 0xF).min(input.len());
        return Ok(input.bytes(len)?.to_vec());
    }
    let messages = (0..shape & 3).map(|_| draw_message(input)).collect::<Result<Vec<_>>>()?;
    Ok(Message::encode_all(&messages))
}

fn draw_message(input: &mut Unstructured<'_>) -> Result<Message> {
    let [kind, slot, sequence] = input.arbitrary::<[u8; 3]>()?;
    let slot = slot & if slot >> 5 == 7 { 0x1F } else { 1 };
    let payload = vec![0xBA; usize::from(kind >> 4)];
    let sequence_16 = u16::from(sequence).wrapping_sub(u16::from(kind >> 7));
    Ok(match kind & 0xF {
        0 => Message::Ping,
        1 if sequence > 0xE0 => Message::Close,
        2 | 3 => Message::Cancel { slot, sequence },
        4..6 => Message::Notify { sequence: sequence_16, key: 5, payload },
        6 => Message::Publish { sequence: sequence_16, key: 6, payload },
        7..10 => Message::Response { slot, sequence, payload },
        10 | 11 => Message::Refusal { slot, sequence, code: kind >> 4 },
        _ => {
            let time_to_live = if kind >> 7 == 1 { Some(sequence) } else { None };
            Message::Request { slot, sequence, key: 9, time_to_live, payload }
        }
    })
}
