//! Arbitrary bytes as payloads and keys of an interface with types, at both ends: what holds one value is handled once, with that
//! value; what does not is refused as PROTOCOL.md §13 says, and no handler sees it; what is sent is in the fewest bytes.
//!
//! Input: the digest that the peer shows, and then steps: a byte that says which message travels how, and its payload behind its
//! length.

use arbitrary::{Result, Unstructured};
use bowline::typed::{Context, Interface as _, Pending, Procedure, Undecodable};
use bowline::{
    CallError, Config, Duration, Event, Executed, Incarnation, Instant, Message, Reason, Refusal, SendError,
};
use serde::Serialize;

use super::decode_packet::HELLO;
use super::everything::*;
use super::peer::{Heard, Peer, Session};
use super::schema::{Declared, canonical, digest};
use super::subject::{Node, Subject, Taken};
use super::wire::{self, Ack, Header};

/// Steps beyond these teach nothing new.
const MAX_STEPS: usize = 16;

pub fn run(data: &[u8]) {
    // Ends when the input ends.
    let _ = all(&mut Unstructured::new(data));
}

fn all(input: &mut Unstructured<'_>) -> Result<()> {
    let keys = Everything::DECLARATIONS.iter().map(|declaration| declaration.key());
    assert!(keys.eq(DECLARED.iter().map(Declared::key)), "the keys are those of §13.2");
    assert_eq!(Everything::DIGEST, digest(&DECLARED));

    let shown = match input.arbitrary::<u8>()? {
        0..64 => 0,
        64..192 => Everything::DIGEST,
        _ => input.arbitrary()?,
    };
    let mut scene = Scene::new(shown);
    for _ in 0..MAX_STEPS {
        if input.is_empty() {
            break;
        }
        scene.step(input)?;
        scene.subject.check();
    }
    Ok(())
}

/// How a message travels to the node.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Request,
    Notify,
    Publish,
}

/// What the application made of a message: its name, its value and what it was answered, both encoded anew.
type Handled = std::result::Result<(&'static str, Vec<u8>, Vec<u8>), Undecodable>;

pub(super) struct Scene {
    subject: Subject,
    peer: Peer,
    /// What the peer shows.
    digest: u32,
    /// The last sequences of its messages.
    request: u8,
    notify: u16,
    publish: u16,
}

impl Scene {
    pub(super) fn new(digest: u32) -> Self {
        let config = Config {
            schema_digest: Everything::DIGEST,
            lease: Duration::from_secs(2_000),
            ..Config::new(Incarnation::random(0x1234_5678_9ABC_DEF0))
        };
        let mut scene =
            Self { subject: Subject::new(config), peer: Peer::default(), digest, request: 0, notify: 0, publish: 0 };
        scene.peer.enter(wire::Hello { digest, ..HELLO }, &mut scene.subject);
        assert_eq!(scene.subject.event(), Some(Event::Connected));
        assert_eq!(scene.subject.both(|node, _| node.peer_schema_digest()), Some(digest));
        scene
    }

    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let shape = input.arbitrary::<u8>()?;
        let which = usize::from(shape % 16);
        let payload = |input: &mut Unstructured<'_>| {
            let len = usize::from(input.arbitrary::<u8>()? % 45).min(input.len());
            Ok(input.bytes(len)?.to_vec())
        };
        match shape / 16 {
            0..9 => {
                let way = match DECLARED.get(which).map(|declared| declared.kind) {
                    _ if shape >= 0x60 => [Way::Request, Way::Notify, Way::Publish][usize::from(shape) / 16 % 3],
                    Some(b'N') => Way::Notify,
                    Some(b'P') => Way::Publish,
                    _ => Way::Request,
                };
                let key = match DECLARED.get(which) {
                    Some(declared) => declared.key(),
                    None => input.arbitrary()?,
                };
                self.say_somehow(way, key, payload(input)?);
            }
            9 => self.say_too_much(which, input.arbitrary()?),
            10 | 11 => self.ask(which, Err(input.arbitrary::<u8>()?)),
            _ => self.ask(which, Ok(payload(input)?)),
        }
        Ok(())
    }

    // The node serves

    /// The peer sends a message as it was declared.
    pub(super) fn dispatch(&mut self, declared: &Declared, payload: Vec<u8>) {
        self.say_somehow(way_of(declared), declared.key(), payload);
    }

    /// The peer sends a message, which is handled once if it can be.
    fn say_somehow(&mut self, way: Way, key: u16, payload: Vec<u8>) {
        let expected = DECLARED.iter().find(|declared| way_of(declared) == way && declared.key() == key);
        let message = match way {
            Way::Request => {
                self.request = self.request.wrapping_add(1);
                wire::Message::Request {
                    slot: 0,
                    sequence: self.request,
                    key,
                    time_to_live: None,
                    payload: payload.clone(),
                }
            }
            Way::Notify => {
                self.notify = self.notify.wrapping_add(1);
                wire::Message::Notify { sequence: self.notify.wrapping_sub(1), key, payload: payload.clone() }
            }
            Way::Publish => {
                self.publish = self.publish.wrapping_add(1);
                wire::Message::Publish { sequence: self.publish.wrapping_sub(1), key, payload: payload.clone() }
            }
        };
        let taken = self.say(&message);
        let [taken] = taken.as_slice() else { panic!("{message:?} arrived as {taken:?}") };
        let handled = self.subject.both(|node, now| handle(node, now, taken.message()));

        let value = expected.map(|declared| canonical(declared.sent, &payload));
        let refusal = match (expected, value, &handled) {
            (Some(declared), Some(Some(value)), Ok((name, handled, answer))) => {
                assert_eq!((declared.name, &value), (*name, handled), "of {payload:02x?}");
                assert_eq!(canonical(declared.answered, answer).as_ref(), Some(answer), "{name} was answered");
                None
            }
            (None, _, Err(Undecodable::Request(_, Refusal::UnknownKey))) => Some(2),
            (Some(_), Some(None), Err(Undecodable::Request(_, Refusal::Malformed))) => Some(3),
            (None, _, Err(Undecodable::OneWay(which))) if *which == key => None,
            (Some(_), Some(None), Err(Undecodable::OneWay(which))) if *which == key => None,
            (declared, value, handled) => panic!("{payload:02x?} as {declared:?} holds {value:02x?}: {handled:02x?}"),
        };
        let (slot, sequence) = (0, self.request);
        let answer = match (way, handled, refusal) {
            (Way::Request, Ok((_, _, payload)), _) => vec![wire::Message::Response { slot, sequence, payload }],
            (Way::Request, _, Some(code)) => vec![wire::Message::Refusal { slot, sequence, code }],
            _ => vec![],
        };
        assert_eq!(self.heard(), answer);
        if way == Way::Request {
            // In a new packet it is known, and not handled again.
            assert_eq!(self.say(&message), []);
            assert_eq!(self.heard(), []);
        }
    }

    // The node asks

    /// A typed call, and what the peer answers: a payload, or a refusal.
    fn ask(&mut self, which: usize, answer: std::result::Result<Vec<u8>, u8>) {
        let order = Order { coins: 3, note: Some(70_000) };
        let numbers = Numbers(-1, 300, -300, 70_000, -70_000, u64::MAX, i64::MIN, -0.0, true);
        let shapes = [Shape::Box(1, -1), Shape::Named { name: "n", marker: Marker, turned: false }];
        match which % 7 {
            0 => self.call::<Pay>(&DECLARED[0], &order, answer),
            1 => self.call::<Read>(&DECLARED[1], &"text", answer),
            2 => self.call::<Add>(&DECLARED[2], &numbers, answer),
            3 => self.call::<Wide>(&DECLARED[3], &(u128::MAX, i128::MIN), answer),
            4 => self.call::<Draw>(&DECLARED[4], &shapes, answer),
            5 => self.call::<Letter>(&DECLARED[5], &('ß', None), answer),
            _ => self.call::<Touch>(&DECLARED[6], &(), answer),
        }
    }

    pub(super) fn call<P: Procedure>(
        &mut self,
        declared: &Declared,
        request: &P::Request<'_>,
        answer: std::result::Result<Vec<u8>, u8>,
    ) {
        let mut pending = None;
        let call = self.subject.attempt(|node, now| {
            let made = Context::new(node, now).call::<P>(Duration::from_secs(1_000), request)?;
            Ok::<_, SendError>(pending.insert(made).call())
        });
        let is_too_large = encoded(request).len() > 48;
        assert_eq!(call.err(), is_too_large.then_some(SendError::TooLarge { limit: 48 }));
        let (Ok(call), Some(pending)): (_, Option<Pending<P>>) = (call, pending) else { return };
        let heard = self.heard();
        let [wire::Message::Request { slot, sequence, key, payload, .. }] = heard.as_slice() else {
            panic!("{heard:?}");
        };
        assert_eq!(*key, declared.key());
        assert_eq!(canonical(declared.sent, payload).as_ref(), Some(payload), "{} is sent", declared.name);
        let (slot, sequence) = (*slot, *sequence);
        match answer {
            Ok(payload) => {
                let taken = self.say(&wire::Message::Response { slot, sequence, payload: payload.clone() });
                assert_eq!(taken, [Taken::Response { call, payload: payload.clone() }]);
                let outcome = pending.outcome(Ok(&payload), Some(self.digest)).map(|value| encoded(&value));
                let malformed = CallError { reason: Reason::MalformedResponse, executed: Executed::Yes };
                assert_eq!(outcome, canonical(declared.answered, &payload).ok_or(malformed), "of {payload:02x?}");
            }
            Err(code) => {
                assert_eq!(self.say(&wire::Message::Refusal { slot, sequence, code }), []);
                let Some(Event::CallFailed { call: failed, error }) = self.subject.event() else {
                    panic!("no outcome")
                };
                assert_eq!(failed, call);
                let is_mismatch = code == 2 && ![0, Everything::DIGEST].contains(&self.digest);
                let reason = if is_mismatch { Reason::SchemaMismatch } else { error.reason };
                let outcome = pending.outcome(Err(error), Some(self.digest)).map(|value| encoded(&value));
                assert_eq!(outcome, Err(CallError { reason, ..error }));
                let executed = if code == 5 { Executed::Yes } else { Executed::No };
                assert_eq!(error.executed, executed, "a mismatch says nothing else of the effect");
            }
        }
        assert_eq!(self.heard(), []);
    }

    /// What does not fit is handed back and leaves everything as it was; what just fits goes out.
    fn say_too_much(&mut self, which: usize, longer: u8) {
        // With its length it is one byte longer.
        let text = "x".repeat(48 + usize::from(longer % 32));
        let fits = &text[..47];
        let mut waiting = None;
        if which % 3 == 2 {
            self.subject.attempt(|node, now| Context::new(node, now).publish::<Label>(&fits)).expect("room");
            waiting = Some(encoded(&fits));
        }
        let result = self.subject.attempt(|node, now| {
            let mut context = Context::new(node, now);
            match which % 3 {
                0 => context.call::<Read>(Duration::from_secs(1_000), &text.as_str()).map(drop),
                1 => context.notify::<Raw>(&text.as_bytes()),
                _ => context.publish::<Label>(&text.as_str()),
            }
        });
        assert_eq!(result, Err(SendError::TooLarge { limit: 48 }));
        let heard = self.heard();
        let payloads = heard.iter().map(|message| match message {
            wire::Message::Publish { payload, .. } => payload,
            other => panic!("{other:?}"),
        });
        assert!(payloads.eq(&waiting), "{heard:?}");
    }

    // The wire

    /// Says a message as a well-behaved peer does, who acknowledges all that it has heard.
    fn say(&mut self, message: &wire::Message) -> Vec<Taken> {
        let session = self.peer.session.as_mut().expect("a session");
        let frame = acking_packet(session, std::slice::from_ref(message));
        let fed = self.subject.feed(&frame);
        assert_eq!((fed.dropped, fed.held), (None, vec![]));
        fed.messages
    }

    /// Everything that the node says now, but for the PING with which it asks for an ack after 64 packets that did not.
    fn heard(&mut self) -> Vec<wire::Message> {
        let mut heard = Vec::new();
        while let Some(frame) = self.subject.transmit() {
            let Heard::Packet(messages) = self.peer.hear(&frame) else { panic!("not of the session") };
            heard.extend(messages.into_iter().filter(|message| *message != wire::Message::Ping));
        }
        heard
    }
}

fn acking_packet(session: &mut Session, messages: &[wire::Message]) -> Vec<u8> {
    let number = session.next;
    let ack = session.received.checked_sub(1);
    let field = |ack: u64| Ack { low: ack as u32, len: 4, bitmap: 0, bitmap_len: 0, is_fresh: false };
    let header = Header { low: number as u32, len: 4, ack: ack.map(field) };
    session.seal(number, ack, &[header.encode(), wire::Message::encode_all(messages)].concat())
}

fn way_of(declared: &Declared) -> Way {
    match declared.kind {
        b'N' => Way::Notify,
        b'P' => Way::Publish,
        _ => Way::Request,
    }
}

/// The application of the node: answers everything at once, with what it was given where that can be.
fn handle(node: &mut Node, now: Instant, message: Message<'_>) -> Handled {
    fn answer<P: Procedure>(
        context: &mut Context<'_, super::subject::Memory>,
        reply: bowline::typed::Reply<P>,
        response: &P::Response<'_>,
    ) -> Vec<u8> {
        context.try_reply(reply, response).expect("it waits");
        encoded(response)
    }
    let request = match Everything::decode(message) {
        Ok(request) => request,
        Err(undecodable) => {
            if let Undecodable::Request(id, refusal) = undecodable {
                node.refuse(now, id, refusal).expect("it waits");
            }
            return Err(undecodable);
        }
    };
    let mut context = Context::new(node, now);
    let context = &mut context;
    Ok(match request {
        Everything::Pay(order, reply) => {
            let paid = if order.coins % 2 == 0 { Ok(order) } else { Err(Fault::Jammed { at: order.coins }) };
            ("Pay", encoded(&order), answer(context, reply, &paid))
        }
        Everything::Read(text, reply) => ("Read", encoded(&text), answer(context, reply, &text.as_bytes())),
        Everything::Add(numbers, reply) => ("Add", encoded(&numbers), answer(context, reply, &numbers)),
        Everything::Wide((high, low), reply) => {
            ("Wide", encoded(&(high, low)), answer(context, reply, &(low, high as u64)))
        }
        Everything::Draw(shapes, reply) => {
            let first = Some(shapes[0]).filter(|shape| *shape != Shape::Point);
            ("Draw", encoded(&shapes), answer(context, reply, &first))
        }
        Everything::Letter((first, second), reply) => {
            let letter = second.unwrap_or(first);
            ("Letter", encoded(&(first, second)), answer(context, reply, &letter))
        }
        Everything::Touch((), reply) => ("Touch", encoded(&()), answer(context, reply, &())),
        Everything::Tick(seconds) => ("Tick", encoded(&seconds), vec![]),
        Everything::Raw(bytes) => ("Raw", encoded(&bytes), vec![]),
        Everything::Level(level, _missed) => ("Level", encoded(&level), vec![]),
        Everything::Label(text, _missed) => ("Label", encoded(&text), vec![]),
    })
}

/// A value as it would be sent.
pub(super) fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    let mut room = [0; 1_024];
    postcard::to_slice(value, &mut room).expect("room").to_vec()
}
