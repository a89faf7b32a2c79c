//! The table of `PROTOCOL.md §10.3`.

use std::vec::Vec;

use super::*;
use crate::storage::store;
use crate::wire::said;

struct Fixture {
    state: RepliesState,
    slots: [ReplySlot; 2],
    payloads: [u8; 16],
}

impl Fixture {
    fn new() -> Self {
        Self { state: RepliesState::new(), slots: [ReplySlot::IDLE; 2], payloads: [0; 16] }
    }

    fn replies(&mut self) -> Replies<'_> {
        Replies { state: &mut self.state, slots: &mut self.slots, payloads: &mut self.payloads, payload: 8 }
    }

    fn request(&mut self, sequence: u8) -> Incoming {
        let incoming = self.replies().handle_request(0, sequence);
        self.replies().check_invariants();
        incoming
    }

    fn cancel(&mut self, sequence: u8) -> Incoming {
        let incoming = self.replies().handle_cancel(0, sequence);
        self.replies().check_invariants();
        incoming
    }

    fn respond(&mut self, request: RequestId, bytes: &[u8]) -> Result<(), RespondError> {
        let mut replies = self.replies();
        let slot = replies.awaiting(request)?;
        let len = store(replies.payloads, 8, usize::from(slot), bytes).unwrap();
        replies.respond(request, len)
    }

    fn executing(sequence: u8) -> (Self, RequestId) {
        let mut fixture = Self::new();
        for before in 1..sequence {
            let Incoming::Execute(id) = fixture.request(before) else { panic!() };
            fixture.respond(id, b"").unwrap();
        }
        let Incoming::Execute(id) = fixture.request(sequence) else { panic!() };
        (fixture, id)
    }

    fn responded() -> Self {
        let (mut fixture, id) = Self::executing(1);
        fixture.respond(id, b"xyz").unwrap();
        fixture
    }

    /// The reply that waits to be sent.
    fn send(&mut self) -> Option<(MessageId, std::string::String)> {
        let replies = self.replies();
        let index = replies.state.next_to_send(true).or_else(|| replies.state.next_to_send(false))?;
        let text = said(&replies.into_message(index)?);
        let (message, _) = self.replies().sent(index, 5)?;
        self.replies().check_invariants();
        Some((message, text))
    }

    fn next_session(&mut self) {
        self.replies().end_session();
        self.replies().check_invariants();
    }
}

const REPLY: MessageId = MessageId::Reply { slot: 0, sequence: 1 };

#[test]
fn a_request_runs_once_however_often_it_comes() {
    let (mut fixture, id) = Fixture::executing(1);
    assert_eq!(fixture.request(1), Incoming::Old);
    fixture.respond(id, b"xyz").unwrap();
    assert_eq!(fixture.request(1), Incoming::Old);
    let (message, text) = fixture.send().unwrap();
    assert_eq!(message, REPLY);
    assert!(text.contains("120, 121, 122"), "{text}");
    assert_eq!(fixture.request(1), Incoming::Old);
}

#[test]
fn h9_a_sequence_stays_taken_when_its_reply_is_acknowledged_and_freed() {
    let mut fixture = Fixture::responded();
    fixture.send();
    fixture.replies().acked(REPLY);
    assert!(fixture.state.is_idle());
    assert_eq!(fixture.request(1), Incoming::Old);
    assert_eq!(fixture.cancel(1), Incoming::Old);
    assert!(fixture.state.is_idle());
    assert!(matches!(fixture.request(2), Incoming::Execute(_)));
}

#[test]
fn h10_a_cancel_that_overtakes_its_request_keeps_it_from_running() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.cancel(1), Incoming::News);
    assert!(fixture.send().unwrap().1.contains("code: 4"));
    assert_eq!(fixture.request(1), Incoming::Old);
    fixture.replies().acked(REPLY);
    assert_eq!(fixture.request(1), Incoming::Old);
}

#[test]
fn h11_a_refused_request_cannot_run_later() {
    let (mut fixture, id) = Fixture::executing(1);
    fixture.replies().refuse(id, Refusal::Busy).unwrap();
    assert_eq!(fixture.request(1), Incoming::Old);
    assert!(fixture.send().unwrap().1.contains("code: 0"));
    fixture.replies().acked(REPLY);
    assert_eq!(fixture.request(1), Incoming::Old);
}

#[test]
fn a_newer_request_says_that_the_reply_before_it_has_arrived() {
    let mut fixture = Fixture::responded();
    assert!(matches!(fixture.request(2), Incoming::Execute(_)));
    assert_eq!(fixture.send(), None);
    assert_eq!(fixture.request(1), Incoming::Old);
}

#[test]
fn sequences_out_of_order_are_dropped() {
    let (mut fixture, _) = Fixture::executing(3);
    for sequence in [0, 1, 2, 4, 5, 130, 255] {
        assert_eq!(fixture.request(sequence), Incoming::Old, "{sequence}");
    }
}

#[test]
fn sequences_wrap() {
    let (mut fixture, id) = Fixture::executing(255);
    fixture.respond(id, b"").unwrap();
    assert!(matches!(fixture.request(0), Incoming::Execute(_)));
}

#[test]
fn a_handler_is_told_once_that_its_caller_cancelled_and_may_still_answer() {
    let (mut fixture, id) = Fixture::executing(1);
    assert_eq!(fixture.cancel(1), Incoming::News);
    assert_eq!(fixture.replies().poll_cancelled(), Some(id));
    assert_eq!(fixture.cancel(1), Incoming::Old);
    assert_eq!(fixture.replies().poll_cancelled(), None);
    fixture.respond(id, b"xyz").unwrap();
    assert_eq!(fixture.cancel(1), Incoming::Old);
    assert!(fixture.send().unwrap().1.contains("Response"));
}

#[test]
fn an_answer_that_does_not_fit_leaves_the_request_waiting() {
    let (mut fixture, id) = Fixture::executing(1);
    fixture.replies().awaiting(id).unwrap(); // What does not fit gets no further than this.
    fixture.replies().refuse(id, Refusal::ResponseTooLarge).unwrap();
    assert_eq!(fixture.respond(id, b"xyz"), Err(RespondError::Stale));
    assert!(fixture.send().unwrap().1.contains("code: 5"));
}

#[test]
fn an_orphan_holds_its_slot_until_it_ends() {
    for ends in [
        |replies: &mut Replies<'_>, id| assert_eq!(replies.awaiting(id), Err(RespondError::Stale)),
        |replies: &mut Replies<'_>, id| assert_eq!(replies.refuse(id, Refusal::Busy), Err(RespondError::Stale)),
        |replies: &mut Replies<'_>, id| replies.abandon(id),
    ] {
        let (mut fixture, id) = Fixture::executing(1);
        fixture.next_session();
        assert_eq!(fixture.replies().poll_orphaned(), Some(id));
        assert_eq!(fixture.replies().poll_orphaned(), None);
        assert_eq!(fixture.request(1), Incoming::Wait);
        assert_eq!(fixture.cancel(1), Incoming::Wait);
        fixture.next_session();
        assert_eq!(fixture.request(1), Incoming::Wait);
        assert!(matches!(fixture.replies().handle_request(1, 1), Incoming::Execute(_)), "other slots go on");
        ends(&mut fixture.replies(), id);
        fixture.replies().check_invariants();
        let Incoming::Execute(fresh) = fixture.request(1) else { panic!() };
        assert_ne!(fresh, id);
        assert_eq!(fixture.respond(id, b"old"), Err(RespondError::Stale));
        fixture.respond(fresh, b"new").unwrap();
    }
}

#[test]
fn abandoning_a_request_whose_caller_waits_changes_nothing() {
    let (mut fixture, id) = Fixture::executing(1);
    fixture.replies().abandon(id);
    fixture.respond(id, b"").unwrap();
}

#[test]
fn replies_of_an_earlier_session_are_gone() {
    let mut fixture = Fixture::responded();
    fixture.next_session();
    assert!(fixture.state.is_idle());
    assert_eq!(fixture.send(), None);
    assert!(matches!(fixture.request(1), Incoming::Execute(_)));
}

#[test]
fn an_id_that_was_answered_never_names_a_later_request() {
    let (mut fixture, first) = Fixture::executing(1);
    fixture.respond(first, b"").unwrap();
    for sequence in (2..=255).chain(0..=1) {
        let Incoming::Execute(id) = fixture.request(sequence) else { panic!() };
        assert_eq!(fixture.respond(first, b"late"), Err(RespondError::Stale));
        fixture.respond(id, b"").unwrap();
    }
}

#[test]
fn each_handler_is_told_once_that_nobody_waits_unless_it_has_answered() {
    let mut fixture = Fixture::new();
    let mut start = |slot| match fixture.replies().handle_request(slot, 1) {
        Incoming::Execute(request) => request,
        _ => panic!(),
    };
    let requests = [start(0), start(1)];
    let told = |fixture: &mut Fixture| core::iter::from_fn(|| fixture.replies().poll_cancelled()).collect::<Vec<_>>();
    for slot in [0, 1] {
        assert_eq!(fixture.replies().handle_cancel(slot, 1), Incoming::News);
    }
    fixture.respond(requests[0], b"").unwrap();
    assert_eq!(told(&mut fixture), [requests[1]]);
    assert_eq!(told(&mut fixture), []);

    let mut fixture = Fixture::new();
    for slot in [0, 1] {
        fixture.replies().handle_request(slot, 1);
        fixture.replies().handle_cancel(slot, 1);
    }
    assert_eq!(told(&mut fixture).len(), 2);
    fixture.replies().end_session();
    let orphans: Vec<_> = core::iter::from_fn(|| fixture.replies().poll_orphaned()).collect();
    assert_eq!((orphans.len(), fixture.replies().poll_orphaned()), (2, None));
}

#[test]
fn a_reply_is_a_repetition_when_it_has_gone_out_before() {
    let mut fixture = Fixture::new();
    for slot in [0, 1] {
        let Incoming::Execute(request) = fixture.replies().handle_request(slot, 1) else { panic!() };
        fixture.replies().respond(request, 0).unwrap();
    }
    let reply = |slot| MessageId::Reply { slot, sequence: 1 };
    assert_eq!(fixture.replies().sent(0, 5), Some((reply(0), false)));
    assert_eq!(fixture.replies().sent(1, 5), Some((reply(1), false)));
    fixture.replies().repeat(reply(0));
    assert!(!fixture.replies().needs(reply(0), 5), "it waits to be sent again");
    assert_eq!(fixture.replies().sent(0, 6), Some((reply(0), true)));
    assert!(!fixture.replies().needs(reply(0), 5) && fixture.replies().needs(reply(0), 6));
    fixture.replies().acked(reply(0));
    assert!(!fixture.replies().needs(reply(0), 6));
}
