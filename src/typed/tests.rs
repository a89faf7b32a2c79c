use std::string::String;
use std::vec::Vec;

use serde::{Deserialize, Serialize};

use super::*;
use crate::{
    Buffers, CallError, Config, Duration, Endpoint, Event, Executed, Incarnation, Instant, Reason, RespondError,
    SendError,
};

#[derive(Debug, PartialEq, Serialize, Deserialize, Schema)]
struct Order {
    coins: u8,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Schema)]
enum Fault {
    Empty,
    Jammed { at: u8 },
}

crate::interface! {
    /// All that an interface can have.
    #[derive(Debug)]
    enum Dispenser<'a> {
        /// Not twice.
        at_most_once PayOut(Order) -> Result<u32, Fault>;
        idempotent Level(&'a str) -> &'a [u8];
        notify SetClock(u32);
        publish Label(&'a str);
    }
}

crate::interface! {
    enum Empty {}
}

crate::interface! {
    #[expect(dead_code, reason = "an interface may be met by its sender alone")]
    enum Newer {
        at_most_once PayOut2(Order) -> u32;
        idempotent Level2(u8) -> u8;
    }
}

type Memory = Buffers<48, 2, 2, 2, 1, 1, 10>;

/// Two endpoints and a wire between them, on which nothing is lost.
struct Link {
    now: Instant,
    client: Endpoint<Memory>,
    server: Endpoint<Memory>,
    kept: Option<Reply<PayOut>>,
    told: Vec<String>,
    events: Vec<Event>,
    responses: Vec<(crate::Call, Vec<u8>)>,
}

impl Link {
    fn new() -> Self {
        let now = Instant::from_micros(0);
        let server =
            Config { schema_digest: Dispenser::DIGEST, ..Config::new(Incarnation::random(0x1111_2222_3333_4444)) };
        Self {
            now,
            client: Endpoint::new(now, Config::new(Incarnation::random(0x5555_6666_7777_8888)), Memory::new()),
            server: Endpoint::new(now, server, Memory::new()),
            kept: None,
            told: Vec::new(),
            events: Vec::new(),
            responses: Vec::new(),
        }
    }

    fn client(&mut self) -> Context<'_, Memory> {
        Context::new(&mut self.client, self.now)
    }

    fn server(&mut self) -> Context<'_, Memory> {
        Context::new(&mut self.server, self.now)
    }

    fn run(&mut self) {
        for _ in 0..200 {
            self.now = self.now + Duration::from_millis(1);
            let mut buf = [0; 64];
            while let Some(len) = self.client.poll_transmit(self.now, &mut buf) {
                let mut messages = self.server.handle_frame(self.now, &mut buf[..len]);
                while let Some(message) = messages.next(&mut self.server) {
                    let mut context = Context::new(&mut self.server, self.now);
                    match Dispenser::decode(message) {
                        Ok(Dispenser::PayOut(order, reply)) if order.coins == 255 => self.kept = Some(reply),
                        Ok(Dispenser::PayOut(order, reply)) => {
                            let fault = Err(if order.coins == 0 { Fault::Empty } else { Fault::Jammed { at: 7 } });
                            context.reply(reply, &if order.coins < 100 { Ok(u32::from(order.coins)) } else { fault });
                        }
                        Ok(Dispenser::Level(kind, reply)) => match kind.len() {
                            9 => assert_eq!(
                                context.try_reply(reply, &&[0; 60][..]),
                                Err(RespondError::TooLarge { limit: 48 })
                            ),
                            8 => context.refuse(reply, Refusal::Busy),
                            _ => context.reply(reply, &kind.as_bytes()),
                        },
                        Ok(Dispenser::SetClock(seconds)) => self.told.push(std::format!("clock {seconds}")),
                        Ok(Dispenser::Label(text, missed)) => self.told.push(std::format!("{text} {missed}")),
                        Err(Undecodable::Request(id, refusal)) => context.refuse_request(id, refusal),
                        Err(other) => self.told.push(std::format!("{other:?}")),
                    }
                }
            }
            while let Some(len) = self.server.poll_transmit(self.now, &mut buf) {
                let mut messages = self.client.handle_frame(self.now, &mut buf[..len]);
                while let Some(message) = messages.next(&mut self.client) {
                    let Message::Response { call, payload } = message else { panic!() };
                    self.responses.push((call, payload.to_vec()));
                }
            }
            self.client.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
            while let Some(event) = self.client.poll_event() {
                self.events.push(event);
            }
        }
    }

    /// The outcome of a call, as its client sees it.
    fn outcome<'a, P: Procedure>(&'a self, pending: &Pending<P>) -> Option<Result<P::Response<'a>, CallError>> {
        let peer = self.client.peer_schema_digest();
        let failed = |event: &Event| match event {
            Event::CallFailed { call, error } if *call == pending.call() => Some(*error),
            _ => None,
        };
        let response = self.responses.iter().find(|(call, _)| *call == pending.call());
        let outcome = response.map(|(_, payload)| Ok(payload.as_slice()));
        let outcome = outcome.or_else(|| self.events.iter().find_map(failed).map(Err))?;
        Some(pending.outcome(outcome, peer))
    }

    fn call<P: Procedure>(&mut self, request: &P::Request<'_>) -> Pending<P> {
        let pending = self.client().call::<P>(Duration::from_secs(1), request).unwrap();
        self.run();
        pending
    }
}

const NO: Executed = Executed::No;

#[test]
fn a_response_is_the_applications_result() {
    let mut link = Link::new();
    let paid = link.call::<PayOut>(&Order { coins: 3 });
    assert_eq!(link.outcome(&paid), Some(Ok(Ok(3))));
    let jammed = link.call::<PayOut>(&Order { coins: 101 });
    assert_eq!(link.outcome(&jammed), Some(Ok(Err(Fault::Jammed { at: 7 }))));
}

#[test]
fn requests_and_responses_may_borrow() {
    let mut link = Link::new();
    let level = link.call::<Level>(&"nickels");
    assert_eq!(link.outcome(&level), Some(Ok(&b"nickels"[..])));
}

#[test]
fn a_reply_may_be_given_later() {
    let mut link = Link::new();
    let later = link.call::<PayOut>(&Order { coins: 255 });
    assert_eq!(link.outcome(&later), None);
    let reply = link.kept.take().unwrap();
    link.server().reply(reply, &Ok(9));
    link.run();
    assert_eq!(link.outcome(&later), Some(Ok(Ok(9))));
}

#[test]
fn one_way_messages_have_types() {
    let mut link = Link::new();
    link.client().notify::<SetClock>(&1_000_000).unwrap();
    link.client().publish::<Label>(&"open").unwrap();
    link.run();
    assert_eq!(link.told, ["clock 1000000", "open 0"]);
}

#[test]
fn the_application_can_refuse() {
    let mut link = Link::new();
    let busy = link.call::<Level>(&"quarters");
    assert_eq!(link.outcome(&busy), Some(Err(CallError { reason: Reason::Refused(Refusal::Busy), executed: NO })));
}

#[test]
fn a_response_that_does_not_fit_tells_the_caller_that_it_was_executed() {
    let mut link = Link::new();
    let level = link.call::<Level>(&"too large");
    let reason = Reason::Refused(Refusal::ResponseTooLarge);
    assert_eq!(link.outcome(&level), Some(Err(CallError { reason, executed: Executed::Yes })));
}

#[test]
fn a_message_that_does_not_fit_is_handed_back_and_nothing_else_is_lost() {
    let mut link = Link::new();
    let text = "x".repeat(48);
    let error = SendError::TooLarge { limit: 48 };
    link.client().publish::<Label>(&"waits").unwrap();
    assert_eq!(link.client().publish::<Label>(&text.as_str()), Err(error));
    assert_eq!(link.client().call::<Level>(Duration::from_secs(1), &text.as_str()).unwrap_err(), error);
    assert_eq!(link.client.free_calls(), 2);
    link.run();
    assert_eq!(link.told, ["waits 0"]);
}

#[test]
fn what_cannot_be_decoded_is_refused_and_was_not_executed() {
    let mut link = Link::new();
    let key = <Level as Procedure>::DECLARATION.key();
    let semantics = crate::Semantics::AtMostOnce;
    // A length that lies, text that is no text, and something behind the end.
    for payload in [&[9, b'a'][..], &[1, 0xFF], &[1, b'a', 0], &[]] {
        let call = link.client.call(link.now, key, semantics, Duration::from_secs(1), payload).unwrap();
        link.run();
        let error = CallError { reason: Reason::Refused(Refusal::Malformed), executed: NO };
        assert_eq!(link.events.last(), Some(&Event::CallFailed { call, error }));
    }
    link.client.notify(link.now, <SetClock as Notification>::DECLARATION.key(), &[0xFF]).unwrap();
    link.client.notify(link.now, 1, &[]).unwrap();
    link.run();
    let key = <SetClock as Notification>::DECLARATION.key();
    assert_eq!(link.told, [std::format!("OneWay({key})"), "OneWay(1)".into()]);
}

#[test]
fn a_procedure_that_the_peer_was_not_built_with_is_a_schema_mismatch() {
    let mut link = Link::new();
    let call = link.call::<PayOut2>(&Order { coins: 1 });
    assert_eq!(link.outcome(&call), Some(Err(CallError { reason: Reason::SchemaMismatch, executed: NO })));
    let paid = link.call::<PayOut>(&Order { coins: 3 });
    assert_eq!(link.outcome(&paid), Some(Ok(Ok(3))), "the others go on working");
}

#[test]
fn a_procedure_that_the_peer_should_have_is_unknown() {
    let error = CallError { reason: Reason::Refused(Refusal::UnknownKey), executed: NO };
    let outcome = |peer| super::context::decode_outcome::<Level2>(Err(error), peer).unwrap_err().reason;
    assert_eq!(outcome(Some(Newer::DIGEST)), error.reason);
    assert_eq!(outcome(None), error.reason);
    assert_eq!(outcome(Some(0)), error.reason, "a peer without an interface has no other declaration");
    assert_eq!(outcome(Some(1)), Reason::SchemaMismatch);
}

#[test]
fn a_response_that_cannot_be_decoded_was_executed_all_the_same() {
    let outcome = super::context::decode_outcome::<PayOut>(Ok(&[2]), None);
    assert_eq!(outcome, Err(CallError { reason: Reason::MalformedResponse, executed: Executed::Yes }));
}

#[test]
fn an_interface_without_messages_refuses_all() {
    let mut link = Link::new();
    let call = link.call::<PayOut>(&Order { coins: 255 });
    assert_eq!(link.outcome(&call), None);
    let id = link.kept.take().unwrap().id();
    let request = Message::Request { id, key: 1, expires_at: link.now, payload: &[] };
    assert!(matches!(Empty::decode(request), Err(Undecodable::Request(_, Refusal::UnknownKey))));
}

#[test]
fn types_cost_no_bytes_on_the_wire() {
    let frames = |call: &dyn Fn(&mut Link)| {
        let mut link = Link::new();
        link.call::<PayOut>(&Order { coins: 1 });
        link.run();
        call(&mut link);
        let mut buf = [0; 64];
        let request = link.client.poll_transmit(link.now, &mut buf).unwrap();
        let mut messages = link.server.handle_frame(link.now, &mut buf[..request]);
        let Some(Message::Request { id, .. }) = messages.next(&mut link.server) else { panic!() };
        link.server.respond(link.now, id, &[0, 3]).unwrap();
        (request, link.server.poll_transmit(link.now, &mut buf).unwrap())
    };
    let key = <PayOut as Procedure>::DECLARATION.key();
    let second = Duration::from_secs(1);
    let raw = frames(&|link| {
        let semantics = crate::Semantics::AtMostOnce;
        link.client.call(link.now, key, semantics, second, &[3]).unwrap();
    });
    let typed = frames(&|link| {
        link.client().call::<PayOut>(second, &Order { coins: 3 }).unwrap();
    });
    assert_eq!(typed, raw);
}

#[test]
fn a_call_that_is_cancelled_before_it_was_sent_was_not_executed() {
    let mut link = Link::new();
    let pending = link.client().call::<PayOut>(Duration::from_secs(1), &Order { coins: 255 }).unwrap();
    link.client().cancel(&pending);
    link.run();
    assert_eq!(link.outcome(&pending), Some(Err(CallError { reason: Reason::Cancelled, executed: NO })));
    assert!(link.kept.is_none());
}

#[test]
fn an_orphan_that_is_abandoned_makes_room_for_the_call_that_waits_for_its_slot() {
    let mut link = Link::new();
    link.call::<PayOut>(&Order { coins: 255 });
    let orphan = link.kept.take().unwrap();
    link.client = Endpoint::new(link.now, Config::new(Incarnation::random(0x9999_AAAA_BBBB_CCCC)), Memory::new());
    let waits = link.call::<PayOut>(&Order { coins: 3 });
    assert_eq!(link.outcome(&waits), None);
    link.server().abandon(orphan);
    link.run();
    assert_eq!(link.outcome(&waits), Some(Ok(Ok(3))));
}

#[test]
fn a_handler_can_see_what_its_peer_understands() {
    let mut link = Link::new();
    assert_eq!(link.client().peer_schema_digest(), None, "nobody is there yet");
    link.run();
    assert_eq!(link.client().peer_schema_digest(), Some(Dispenser::DIGEST));
    assert_eq!(link.server().peer_schema_digest(), Some(0), "the client understands nothing");
}

#[test]
fn a_token_shows_what_it_stands_for() {
    let mut link = Link::new();
    let pending = link.call::<PayOut>(&Order { coins: 255 });
    let reply = link.kept.take().unwrap();
    assert_eq!(std::format!("{reply:?}"), std::format!("Reply({:?})", reply.id()));
    assert_eq!(std::format!("{pending:?}"), std::format!("Pending({:?})", pending.call()));
}

#[test]
fn a_response_is_no_message_of_an_interface() {
    let mut link = Link::new();
    let call = link.call::<Level>(&"nickels").call();
    let response = Message::Response { call, payload: b"nickels" };
    assert_eq!(Dispenser::decode(response).unwrap_err(), Undecodable::Response);
}
