//! The table of `PROTOCOL.md §10.2`.

use super::*;
use crate::storage::store;

const START: Instant = Instant::from_micros(1_000);
const DEADLINE: Instant = Instant::from_micros(9_000);
const NO: Executed = Executed::No;
const MAYBE: Executed = Executed::Maybe;

struct Fixture {
    state: CallsState,
    slots: [CallSlot; 2],
    payloads: [u8; 16],
    packets: u32,
}

impl Fixture {
    fn new() -> Self {
        Self { state: CallsState::new(), slots: [CallSlot::FREE; 2], payloads: [0; 16], packets: 0 }
    }

    fn calls(&mut self) -> Calls<'_> {
        Calls { state: &mut self.state, slots: &mut self.slots, payloads: &mut self.payloads, payload: 8 }
    }

    fn next_deadline(&mut self) -> Option<Instant> {
        let mut soonest = Soonest::NONE;
        self.calls().next_deadline(START, &mut soonest);
        soonest.at(START)
    }

    fn call(&mut self, semantics: Semantics, bytes: &[u8]) -> Result<Call, SendError> {
        let mut calls = self.calls();
        let slot = calls.vacant(2)?;
        let len = store(calls.payloads, 8, usize::from(slot), bytes).unwrap();
        calls.call(slot, 7, semantics, DEADLINE, len)
    }

    fn queued(&mut self, semantics: Semantics) -> Call {
        self.call(semantics, b"abc").unwrap()
    }

    /// Everything that waits goes out; the names of what went.
    fn send(&mut self) -> std::vec::Vec<MessageId> {
        let mut sent = std::vec::Vec::new();
        loop {
            let number = self.packets;
            let calls = self.calls();
            let next = calls.state.next_to_send(true).or_else(|| calls.state.next_to_send(false));
            let Some(index) = next else { break };
            assert!(calls.into_message(index, START, 0).is_some());
            let mut calls = self.calls();
            sent.push(calls.sent(index, number).unwrap().0);
            calls.check_invariants();
            self.packets += 1;
        }
        sent
    }

    fn sent(semantics: Semantics) -> (Self, Call) {
        let mut fixture = Self::new();
        fixture.calls().begin_session(2, 8);
        let call = fixture.queued(semantics);
        assert_eq!(fixture.send(), [request(1)]);
        (fixture, call)
    }

    fn reply(&mut self, sequence: u8, reply: Reply) -> (Option<Call>, bool) {
        let result = self.calls().handle_reply(0, sequence, reply);
        self.calls().check_invariants();
        result
    }

    fn ended(&mut self) -> Option<(Reason, Executed)> {
        let ended = self.calls().poll_ended().map(|(_, error)| (error.reason, error.executed));
        self.calls().check_invariants();
        ended
    }

    fn is_free(&self) -> bool {
        self.state.used() == 0
    }
}

fn request(sequence: u8) -> MessageId {
    MessageId::Request { slot: 0, sequence }
}

fn cancel(sequence: u8) -> MessageId {
    MessageId::Cancel { slot: 0, sequence }
}

const REFUSED: Reply = Reply::Refused(Refusal::Busy);

#[test]
fn a_response_completes_its_call_and_no_other() {
    let (mut fixture, call) = Fixture::sent(Semantics::AtMostOnce);
    assert_eq!(fixture.reply(2, Reply::Response), (None, false));
    assert_eq!(fixture.reply(0, Reply::Response), (None, false));
    assert_eq!(fixture.reply(1, Reply::Response), (Some(call), true));
    assert_eq!(fixture.reply(1, Reply::Response), (None, false));
    assert!(fixture.is_free() && fixture.ended().is_none());
}

#[test]
fn a_refusal_means_not_executed() {
    let (mut fixture, _) = Fixture::sent(Semantics::AtMostOnce);
    fixture.reply(1, REFUSED);
    assert_eq!(fixture.ended(), Some((Reason::Refused(Refusal::Busy), NO)));
    assert!(fixture.is_free());
}

#[test]
fn a_response_that_does_not_fit_means_executed() {
    let (mut fixture, _) = Fixture::sent(Semantics::AtMostOnce);
    fixture.reply(1, Reply::Refused(Refusal::ResponseTooLarge));
    assert_eq!(fixture.ended(), Some((Reason::Refused(Refusal::ResponseTooLarge), Executed::Yes)));
}

#[test]
fn a_call_cancelled_before_it_was_sent_was_not_executed() {
    let mut fixture = Fixture::new();
    let call = fixture.queued(Semantics::AtMostOnce);
    fixture.calls().cancel(call);
    assert_eq!(fixture.ended(), Some((Reason::Cancelled, NO)));
    assert!(fixture.is_free() && fixture.send().is_empty());
}

#[test]
fn a_call_cancelled_under_way_ends_with_the_word_of_the_server() {
    for (reply, executed) in [(Reply::Response, Executed::Yes), (Reply::Refused(Refusal::Cancelled), NO)] {
        let (mut fixture, call) = Fixture::sent(Semantics::AtMostOnce);
        fixture.calls().cancel(call);
        fixture.calls().cancel(call);
        assert_eq!(fixture.send(), [cancel(1)]);
        assert_eq!(fixture.ended(), None);
        assert_eq!(fixture.reply(1, reply), (None, true));
        assert_eq!(fixture.ended(), Some((Reason::Cancelled, executed)));
        assert!(fixture.is_free());
    }
}

#[test]
fn h12_a_deadline_of_a_sent_call_means_maybe() {
    let (mut fixture, _) = Fixture::sent(Semantics::AtMostOnce);
    fixture.calls().expire(Instant::from_micros(8_999), true);
    assert_eq!(fixture.ended(), None);
    fixture.calls().expire(DEADLINE, true);
    assert_eq!(fixture.ended(), Some((Reason::DeadlineExceeded, MAYBE)));
}

#[test]
fn a_deadline_of_a_call_that_was_never_sent_means_no() {
    let mut fixture = Fixture::new();
    fixture.queued(Semantics::AtMostOnce);
    assert_eq!(fixture.next_deadline(), Some(DEADLINE));
    fixture.calls().expire(DEADLINE, false);
    assert_eq!(fixture.ended(), Some((Reason::Unreachable, NO)));
    assert_eq!(fixture.next_deadline(), None);
}

#[test]
fn h14_a_slot_drains_until_the_server_has_spoken() {
    let (mut fixture, first) = Fixture::sent(Semantics::AtMostOnce);
    fixture.calls().expire(DEADLINE, true);
    fixture.ended();
    assert_eq!(fixture.send(), [cancel(1)]);
    let second = fixture.queued(Semantics::AtMostOnce);
    assert_ne!(first.slot, second.slot, "the draining slot was used again");
    assert_eq!(fixture.call(Semantics::AtMostOnce, b""), Err(SendError::Full));
    assert_eq!(fixture.reply(1, Reply::Response), (None, true));
    assert_eq!(fixture.ended(), None, "the call ended twice");
    let third = fixture.queued(Semantics::AtMostOnce);
    assert_eq!(third.slot, first.slot);
    assert_eq!(fixture.send(), [request(2), MessageId::Request { slot: 1, sequence: 1 }]);
}

#[test]
fn a_cancelled_call_still_ends_at_its_deadline() {
    let (mut fixture, call) = Fixture::sent(Semantics::AtMostOnce);
    fixture.calls().cancel(call);
    fixture.calls().expire(DEADLINE, true);
    assert_eq!(fixture.ended(), Some((Reason::Cancelled, MAYBE)));
    assert!(!fixture.is_free());
}

#[test]
fn the_end_of_a_session_leaves_calls_that_were_not_sent() {
    let mut fixture = Fixture::new();
    fixture.calls().begin_session(2, 8);
    fixture.queued(Semantics::AtMostOnce);
    fixture.calls().end_session(Reason::PeerRestarted);
    assert_eq!(fixture.ended(), None);
    fixture.calls().begin_session(2, 8);
    assert_eq!(fixture.send(), [request(1)]);
}

#[test]
fn h16_a_call_that_must_not_run_twice_is_not_sent_in_a_second_session() {
    let (mut fixture, _) = Fixture::sent(Semantics::AtMostOnce);
    fixture.calls().end_session(Reason::PeerLost);
    assert_eq!(fixture.ended(), Some((Reason::PeerLost, MAYBE)));
    fixture.calls().begin_session(2, 8);
    assert!(fixture.is_free() && fixture.send().is_empty());
}

#[test]
fn h13_an_idempotent_call_sent_in_an_earlier_session_can_no_longer_be_called_not_executed() {
    let again = || {
        let (mut fixture, call) = Fixture::sent(Semantics::Idempotent);
        fixture.calls().end_session(Reason::PeerRestarted);
        assert_eq!(fixture.ended(), None);
        fixture.calls().begin_session(2, 8);
        (fixture, call)
    };
    let (mut fixture, _) = again();
    fixture.calls().expire(DEADLINE, true);
    assert_eq!(fixture.ended(), Some((Reason::DeadlineExceeded, MAYBE)));
    let (mut fixture, call) = again();
    fixture.calls().cancel(call);
    assert_eq!(fixture.ended(), Some((Reason::Cancelled, MAYBE)));
    let (mut fixture, _) = again();
    assert_eq!(fixture.send(), [request(1)]);
    fixture.reply(1, REFUSED);
    assert_eq!(fixture.ended(), Some((Reason::Refused(Refusal::Busy), MAYBE)));
    let (mut fixture, call) = again();
    fixture.send();
    assert_eq!(fixture.reply(1, Reply::Response), (Some(call), true));
}

#[test]
fn a_cancelled_idempotent_call_is_not_sent_again() {
    let (mut fixture, call) = Fixture::sent(Semantics::Idempotent);
    fixture.calls().cancel(call);
    fixture.calls().end_session(Reason::PeerLost);
    assert_eq!(fixture.ended(), Some((Reason::PeerLost, MAYBE)));
    assert!(fixture.is_free());
}

#[test]
fn a_new_session_with_smaller_limits_ends_what_does_not_fit() {
    let mut fixture = Fixture::new();
    fixture.queued(Semantics::AtMostOnce);
    fixture.queued(Semantics::AtMostOnce);
    fixture.calls().begin_session(1, 3);
    assert_eq!(fixture.ended(), Some((Reason::Refused(Refusal::Busy), NO)));
    assert_eq!(fixture.send(), [request(1)]);
    let mut fixture = Fixture::new();
    fixture.queued(Semantics::AtMostOnce);
    fixture.calls().begin_session(2, 2);
    assert_eq!(fixture.ended(), Some((Reason::TooLarge { limit: 2 }, NO)));
}

#[test]
fn closing_ends_every_call() {
    let (mut fixture, _) = Fixture::sent(Semantics::Idempotent);
    fixture.queued(Semantics::AtMostOnce);
    fixture.calls().end_session(Reason::Closed);
    fixture.calls().close();
    assert_eq!(fixture.ended(), Some((Reason::Closed, MAYBE)));
    assert_eq!(fixture.ended(), Some((Reason::Closed, NO)));
    assert!(fixture.is_free());
}

#[test]
fn only_the_last_transmission_of_what_is_not_acknowledged_is_repeated() {
    let (mut fixture, _) = Fixture::sent(Semantics::AtMostOnce);
    assert!(fixture.calls().needs(request(1), 0));
    fixture.calls().repeat(request(1));
    assert!(!fixture.calls().needs(request(1), 0), "it waits to be sent already");
    assert_eq!(fixture.send(), [request(1)]);
    assert!(!fixture.calls().needs(request(1), 0), "it was sent later");
    assert!(fixture.calls().needs(request(1), 1));
    fixture.calls().acked(request(1));
    assert!(!fixture.calls().needs(request(1), 1), "the peer has it");
    fixture.calls().repeat(cancel(1));
    fixture.calls().repeat(request(2));
    assert!(fixture.send().is_empty());
}

#[test]
fn a_handle_of_an_earlier_call_cannot_cancel_a_later_one() {
    let (mut fixture, first) = Fixture::sent(Semantics::AtMostOnce);
    fixture.reply(1, Reply::Response);
    let second = fixture.queued(Semantics::AtMostOnce);
    assert_eq!(second.slot, first.slot);
    fixture.calls().cancel(first);
    assert_eq!(fixture.ended(), None);
    assert_eq!(fixture.send(), [request(2)]);
}

#[test]
fn a_slot_is_not_used_again_before_its_ending_was_reported() {
    let mut fixture = Fixture::new();
    let call = fixture.queued(Semantics::AtMostOnce);
    fixture.calls().cancel(call);
    assert_ne!(fixture.queued(Semantics::AtMostOnce).slot, call.slot);
    assert_eq!(fixture.call(Semantics::AtMostOnce, b""), Err(SendError::Full));
    assert_eq!(fixture.calls().poll_ended().unwrap().0, call);
    assert_eq!(fixture.queued(Semantics::AtMostOnce).slot, call.slot);
}

#[test]
fn a_request_that_the_port_refused_was_not_sent() {
    let (mut fixture, call) = Fixture::sent(Semantics::AtMostOnce);
    fixture.calls().refused(request(1));
    fixture.calls().check_invariants();
    fixture.calls().cancel(call);
    assert_eq!(fixture.ended(), Some((Reason::Cancelled, NO)));
    // But one that had been sent before was.
    let (mut fixture, _) = Fixture::sent(Semantics::AtMostOnce);
    fixture.calls().repeat(request(1));
    assert_eq!(fixture.send(), [request(1)]);
    fixture.calls().refused(request(1));
    fixture.calls().expire(DEADLINE, true);
    assert_eq!(fixture.ended(), Some((Reason::DeadlineExceeded, MAYBE)));
}

#[test]
fn a_slot_whose_ending_nobody_has_heard_of_is_not_given_to_another_call() {
    let (mut fixture, _) = Fixture::sent(Semantics::AtMostOnce);
    fixture.calls().expire(DEADLINE, true);
    assert_eq!((fixture.state.used(), fixture.calls().vacant(2)), (1, Ok(1)), "it drains");
    fixture.send();
    fixture.reply(1, REFUSED);
    assert_eq!((fixture.state.used(), fixture.calls().vacant(2)), (1, Ok(1)), "it is still to be told of");
    assert_eq!(fixture.ended(), Some((Reason::DeadlineExceeded, MAYBE)));
    assert_eq!((fixture.state.used(), fixture.calls().vacant(2)), (0, Ok(0)));
}

#[test]
fn a_call_that_was_never_sent_is_late_with_a_peer_and_unreachable_without() {
    let expired = |is_dirty: bool, is_reachable: bool| {
        let mut fixture = Fixture::new();
        fixture.calls().begin_session(2, 8);
        fixture.queued(Semantics::Idempotent);
        if is_dirty {
            fixture.send();
            fixture.calls().end_session(Reason::PeerLost);
        }
        fixture.calls().expire(DEADLINE, is_reachable);
        fixture.ended().unwrap()
    };
    assert_eq!(expired(false, false), (Reason::Unreachable, NO));
    assert_eq!(expired(false, true), (Reason::DeadlineExceeded, NO));
    assert_eq!(expired(true, false), (Reason::DeadlineExceeded, MAYBE), "it was sent in an earlier session");
    assert_eq!(expired(true, true), (Reason::DeadlineExceeded, MAYBE));
}

#[test]
fn a_call_is_cancelled_if_its_caller_and_its_server_say_so() {
    let refused = |is_cancelled: bool, refusal: Refusal| {
        let (mut fixture, call) = Fixture::sent(Semantics::AtMostOnce);
        if is_cancelled {
            fixture.calls().cancel(call);
        }
        fixture.reply(1, Reply::Refused(refusal));
        fixture.ended().unwrap()
    };
    assert_eq!(refused(true, Refusal::Cancelled), (Reason::Cancelled, NO));
    assert_eq!(refused(false, Refusal::Cancelled), (Reason::Refused(Refusal::Cancelled), NO));
    assert_eq!(refused(true, Refusal::Busy), (Reason::Refused(Refusal::Busy), NO));
}

#[test]
fn a_call_that_is_settled_leaves_what_is_known_of_others() {
    let (mut fixture, first) = Fixture::sent(Semantics::AtMostOnce);
    let second = fixture.queued(Semantics::AtMostOnce);
    let name = fixture.send().remove(0);
    fixture.calls().acked(name);
    fixture.calls().acked(request(1));
    assert!(!fixture.calls().needs(request(1), 0) && !fixture.calls().needs(name, 1), "both have arrived");
    fixture.calls().cancel(first);
    assert_eq!(fixture.send(), [cancel(1)]);
    assert!(fixture.calls().needs(cancel(1), 2), "the peer does not have the cancel");
    assert!(!fixture.calls().needs(name, 1), "and still has {second:?}");
}

#[test]
fn a_repetition_is_one_whichever_session_was_the_first() {
    let (mut fixture, call) = Fixture::sent(Semantics::Idempotent);
    fixture.calls().repeat(request(1));
    assert_eq!(fixture.calls().sent(0, 1), Some((request(1), true)));
    fixture.calls().end_session(Reason::PeerLost);
    fixture.calls().begin_session(2, 8);
    assert_eq!(fixture.calls().sent(0, 0), Some((request(1), true)));
    fixture.calls().cancel(call);
    assert_eq!(fixture.calls().sent(0, 1), Some((cancel(1), false)), "it was never cancelled before");
}
