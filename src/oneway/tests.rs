//! `PROTOCOL.md §11`.

use std::vec::Vec;

use super::*;
use crate::event::SendError;
use crate::recovery::MessageId;
use crate::storage::store;
use crate::wire::{LowBits, OneWay, said};

const PAYLOAD: usize = 4;

struct Receiver<const N: usize> {
    state: HeldState,
    slots: [HeldSlot; N],
    payloads: Vec<u8>,
    delivered: Vec<u16>,
}

impl<const N: usize> Receiver<N> {
    fn new() -> Self {
        Self { state: HeldState::new(), slots: [HeldSlot::FREE; N], payloads: vec![0; N * PAYLOAD], delivered: vec![] }
    }

    fn held(&mut self) -> Held<'_> {
        Held { state: &mut self.state, slots: &mut self.slots, payloads: &mut self.payloads, payload: PAYLOAD }
    }

    fn take(&mut self, sequence: u16) -> Taken {
        self.take_within(sequence, 1 << 15)
    }

    fn take_within(&mut self, sequence: u16, reach: u32) -> Taken {
        let payload = sequence.to_le_bytes();
        let low_bits = LowBits::new(sequence.into(), false);
        let taken = self.held().take(&OneWay { sequence: low_bits, key: sequence, payload: &payload }, reach);
        if taken == Taken::Deliver {
            self.delivered.push(sequence);
        }
        taken
    }

    fn poll(&mut self) {
        while let Some((key, payload)) = self.held().poll() {
            assert_eq!(payload, key.to_le_bytes());
            self.delivered.push(key);
        }
    }
}

#[test]
fn notifies_are_delivered_in_order_once() {
    let mut receiver = Receiver::<3>::new();
    for (sequence, taken) in [
        (1, Taken::Held),
        (1, Taken::Old),
        (3, Taken::Held),
        (4, Taken::Wait),
        (0, Taken::Deliver),
        (0, Taken::Old),
        (1, Taken::Old),
    ] {
        assert_eq!(receiver.take(sequence), taken, "{sequence}");
    }
    receiver.poll();
    assert_eq!(receiver.delivered, [0, 1]);
    assert_eq!(receiver.take(2), Taken::Deliver);
    receiver.poll();
    assert_eq!(receiver.delivered, [0, 1, 2, 3]);
}

#[test]
fn one_that_is_ready_is_delivered_before_a_later_one() {
    let mut receiver = Receiver::<2>::new();
    receiver.take(1);
    receiver.take(0);
    assert_eq!(receiver.take(2), Taken::Held);
    assert_eq!(receiver.take(3), Taken::Wait);
    receiver.poll();
    assert_eq!(receiver.take(3), Taken::Deliver);
    assert_eq!(receiver.delivered, [0, 1, 2, 3]);
}

#[test]
fn a_receiver_without_slots_takes_one_at_a_time() {
    let mut receiver = Receiver::<0>::new();
    assert_eq!(receiver.take(1), Taken::Wait);
    for sequence in 0..200 {
        assert_eq!(receiver.take(sequence), Taken::Deliver);
        assert_eq!(receiver.take(sequence), Taken::Old);
    }
}

#[test]
fn half_of_all_sequences_lie_behind() {
    let mut receiver = Receiver::<3>::new();
    assert_eq!(receiver.take(0x7FFF), Taken::Wait);
    assert_eq!(receiver.take(0x8000), Taken::Old);
}

#[test]
fn sequences_wrap_in_any_order_within_the_window() {
    let mut receiver = Receiver::<3>::new();
    for start in (0..=u16::MAX - 3).step_by(4) {
        for offset in [2, 1, 3, 0] {
            assert_ne!(receiver.take(start + offset), Taken::Wait);
        }
        receiver.poll();
    }
    assert_eq!(receiver.delivered.len(), 1 << 16);
    assert_eq!(receiver.take(0), Taken::Deliver);
}

#[test]
fn what_was_complete_is_delivered_after_the_session_and_before_anything_new() {
    let mut receiver = Receiver::<3>::new();
    for sequence in [1, 3, 0] {
        receiver.take(sequence);
    }
    receiver.held().end_session();
    assert_eq!(receiver.take(0), Taken::Wait);
    receiver.poll();
    assert_eq!(receiver.delivered, [0, 1]);
    assert_eq!(receiver.take(3), Taken::Held, "what was incomplete is gone");
    assert_eq!(receiver.take(0), Taken::Deliver);
}

struct Sender {
    state: NotifiesState,
    slots: [NotifySlot; 3],
    payloads: [u8; 3 * PAYLOAD],
}

impl Sender {
    fn new() -> Self {
        Self { state: NotifiesState::new(), slots: [NotifySlot::FREE; 3], payloads: [0; 3 * PAYLOAD] }
    }

    fn notifies(&mut self) -> Notifies<'_> {
        Notifies { state: &mut self.state, slots: &mut self.slots, payloads: &mut self.payloads, payload: PAYLOAD }
    }

    fn push(&mut self, key: u16) -> Result<(), SendError> {
        self.push_bytes(key, &key.to_le_bytes())
    }

    fn push_bytes(&mut self, key: u16, bytes: &[u8]) -> Result<(), SendError> {
        let mut notifies = self.notifies();
        let slot = notifies.vacant()?;
        let len = store(notifies.payloads, PAYLOAD, slot, bytes).unwrap();
        notifies.push(key, len)
    }

    /// Sends all that waits in packet `number`; the sequences.
    fn send(&mut self, window: u32, number: u32) -> Vec<u32> {
        let mut sent = Vec::new();
        loop {
            let mut notifies = self.notifies();
            let next = notifies.next_to_send(true, window).or_else(|| notifies.next_to_send(false, window));
            let Some(sequence) = next else { return sent };
            notifies.sent(sequence, number).unwrap();
            notifies.check_invariants();
            sent.push(sequence);
        }
    }

    fn acked(&mut self, sequence: u32) {
        self.notifies().acked(MessageId::Notify { sequence });
        self.notifies().check_invariants();
    }
}

#[test]
fn no_more_notifies_are_under_way_than_the_receiver_takes() {
    let mut sender = Sender::new();
    for key in 0..3 {
        sender.push(key).unwrap();
    }
    assert_eq!(sender.push(3), Err(SendError::Full));
    assert_eq!(sender.send(2, 0), [0, 1]);
    sender.acked(1);
    assert_eq!(sender.send(2, 1), [], "the window counts from the lowest that is not acknowledged");
    sender.acked(0);
    assert_eq!(sender.send(2, 2), [2]);
    sender.push(3).unwrap();
    sender.push(4).unwrap();
    assert_eq!(sender.send(2, 3), [3]);
}

#[test]
fn a_lost_notify_is_sent_again_before_fresh_ones() {
    let mut sender = Sender::new();
    sender.push(0).unwrap();
    sender.push(1).unwrap();
    sender.send(3, 0);
    let first = MessageId::Notify { sequence: 0 };
    assert!(sender.notifies().needs(first, 0));
    sender.notifies().repeat(first);
    sender.notifies().repeat(first);
    assert!(!sender.notifies().needs(first, 0));
    sender.push(2).unwrap();
    assert_eq!(sender.send(3, 1), [0, 2]);
    assert!(sender.notifies().needs(first, 1));
    sender.acked(0);
    sender.acked(0);
    assert!(!sender.notifies().needs(first, 1));
}

#[test]
fn lost_notifies_are_sent_again_in_the_order_of_their_losses_but_for_those_that_have_arrived() {
    let mut sender = Sender::new();
    (0..3).for_each(|key| sender.push(key).unwrap());
    sender.send(3, 0);
    for (lost, acked, sent) in [([2, 0, 1], 0, [2, 1]), ([1, 2, 1], 1, [2, 2])] {
        lost.into_iter().for_each(|sequence| sender.notifies().repeat(MessageId::Notify { sequence }));
        sender.notifies().check_invariants();
        sender.acked(acked);
        let mut sent = Vec::from(sent);
        sent.dedup();
        assert_eq!(sender.send(3, 1), sent);
    }
    (3..5).for_each(|key| sender.push(key).unwrap());
    assert_eq!(sender.send(3, 2), [3, 4]);
    [4, 2, 3].into_iter().for_each(|sequence| sender.notifies().repeat(MessageId::Notify { sequence }));
    assert_eq!(sender.send(3, 3), [4, 2, 3], "places in the ring wrap");
}

/// A fuzzer found them behind the next one, and that one behind them in turn.
#[test]
fn notifies_that_the_port_refused_go_out_next_in_their_order() {
    let mut sender = Sender::new();
    (0..3).for_each(|key| sender.push(key).unwrap());
    sender.send(2, 0);
    [1, 0].into_iter().for_each(|sequence| sender.notifies().refused(MessageId::Notify { sequence }));
    sender.notifies().check_invariants();
    assert_eq!(sender.send(3, 1), [0, 1, 2]);
    sender.notifies().repeat(MessageId::Notify { sequence: 0 });
    [2, 1].into_iter().for_each(|sequence| sender.notifies().refused(MessageId::Notify { sequence }));
    assert_eq!(sender.send(3, 2), [1, 2, 0], "before what was lost");
}

#[test]
fn at_the_end_of_a_session_what_was_sent_is_reported_and_what_waits_is_kept() {
    let mut sender = Sender::new();
    for key in 0..3 {
        sender.push(key).unwrap();
    }
    sender.send(2, 0);
    sender.acked(1);
    assert_eq!(sender.notifies().end_session(), 2, "one behind a gap is not confirmed");
    assert_eq!(sender.notifies().begin_session(PAYLOAD), 0);
    assert_eq!(sender.send(2, 0), [0]);
    assert!(said(&sender.notifies().into_message(0).unwrap()).contains("key: 2"));
}

#[test]
fn what_the_next_peer_cannot_take_is_given_up_and_the_rest_keeps_its_order() {
    let mut sender = Sender::new();
    sender.push(9).unwrap();
    sender.send(3, 0);
    sender.acked(0);
    for (key, len) in [(0, 1), (1, 4), (2, 3)] {
        sender.push_bytes(key, &[7; 4][..len]).unwrap();
    }
    sender.notifies().end_session();
    assert_eq!(sender.notifies().begin_session(3), 1);
    assert_eq!(sender.send(3, 0), [0, 1]);
    let text = |sender: &mut Sender, sequence| said(&sender.notifies().into_message(sequence).unwrap());
    assert!(text(&mut sender, 0).contains("key: 0, payload: [7]"));
    assert!(text(&mut sender, 1).contains("key: 2, payload: [7, 7, 7]"));
}

fn push(publishes: &mut Publishes<'_>, key: u16, bytes: &[u8]) -> Result<(), SendError> {
    let slot = publishes.vacant(key)?;
    let len = store(publishes.payloads, PAYLOAD, slot, bytes).unwrap();
    publishes.push(slot, key, len)
}

#[test]
fn the_latest_publish_of_a_key_replaces_one_that_waits() {
    let mut state = PublishesState::new();
    let mut slots = [PublishSlot::FREE; 2];
    let mut payloads = [0; 2 * PAYLOAD];
    let mut publishes = Publishes { state: &mut state, slots: &mut slots, payloads: &mut payloads, payload: PAYLOAD };
    push(&mut publishes, 1, b"old").unwrap();
    push(&mut publishes, 1, b"new").unwrap();
    push(&mut publishes, 2, b"two").unwrap();
    assert_eq!(push(&mut publishes, 3, b""), Err(SendError::Full));
    let text = |publishes: &mut Publishes<'_>| {
        let next = publishes.next_to_send().unwrap();
        let Publishes { state, slots, payloads, payload } = publishes;
        said(&Publishes { state, slots, payloads, payload: *payload }.into_message(next).unwrap())
    };
    assert!(text(&mut publishes).contains("sequence: 0, key: 1, payload: [110, 101, 119]"));
    publishes.sent(0);
    publishes.last_was_refused();
    assert!(text(&mut publishes).contains("sequence: 0, key: 1"));
    publishes.sent(0);
    publishes.sent(1);
    publishes.last_was_taken();
    assert!(publishes.next_to_send().is_none() && !publishes.state.has_waiting());
    push(&mut publishes, 3, b"").unwrap();
    assert!(text(&mut publishes).contains("sequence: 2, key: 3"));
}

#[test]
fn a_publish_that_comes_late_is_dropped_and_gaps_are_counted() {
    let mut state = PublishesState::new();
    let publishes = [(1, 0), (4, 3), (3, 2), (4, 3), (4, 4), (5, 5), (80_000, 5), (80_000 + (1 << 31), 6)];
    let taken: Vec<_> = publishes.into_iter().map(|(number, sequence)| state.take(number, sequence)).collect();
    assert_eq!(taken, [Some(0), Some(2), None, None, Some(0), Some(0), Some(u16::MAX), Some(0)]);
}

#[test]
fn what_an_earlier_session_has_left_outlives_the_next_one() {
    let mut receiver = Receiver::<3>::new();
    [1, 2, 0].into_iter().for_each(|sequence| _ = receiver.take(sequence));
    receiver.held().end_session();
    assert_eq!(receiver.take(0), Taken::Wait);
    receiver.held().end_session();
    receiver.held().check_invariants();
    receiver.poll();
    assert_eq!(receiver.delivered, [0, 1, 2]);
    assert_eq!(receiver.take(0), Taken::Deliver);
}

#[test]
fn a_notify_waits_until_it_is_sent_and_again_when_it_is_lost_and_is_there_until_it_is_acknowledged() {
    let mut sender = Sender::new();
    let state = |sender: &Sender| (sender.state.is_idle(), sender.state.has_waiting(3));
    assert_eq!(state(&sender), (true, false));
    sender.push(0).unwrap();
    assert_eq!(state(&sender), (false, true));
    sender.send(3, 0);
    assert_eq!(state(&sender), (false, false));
    sender.notifies().repeat(MessageId::Notify { sequence: 0 });
    assert_eq!(state(&sender), (false, true));
    sender.send(3, 1);
    assert_eq!(state(&sender), (false, false));
    sender.acked(0);
    assert_eq!(state(&sender), (true, false));
}

#[test]
fn a_notify_that_is_sent_again_is_told_from_one_that_is_sent_first() {
    let mut sender = Sender::new();
    (0..2).for_each(|key| sender.push(key).unwrap());
    let is_again = |sequence| sender.notifies().sent(sequence, 0).unwrap().1;
    assert_eq!([0, 0, 1, 0, 1].map(is_again), [false, true, false, true, true]);
}

#[test]
fn a_publish_is_late_as_far_back_as_the_replay_window_reaches_and_in_its_packet_by_half_of_the_sequences() {
    for (number, sequence, missed) in [
        (999, 6, None),
        (1_000 - 65, 6, None),
        (1_000 - 66, 6, Some(0)),
        (1_001, 6, Some(0)),
        (1_000, 6, Some(0)),
        (1_000, 6 + 0x7FFF, Some(0x7FFF)),
        (1_000, 6 + 0x8000, None),
        (1_000, 5, None),
    ] {
        let mut state = PublishesState::new();
        state.take(1_000, 5);
        assert_eq!(state.take(number, sequence), missed, "{number} {sequence}");
    }
}

#[test]
fn a_publish_that_waits_goes_to_the_next_session_if_the_peer_of_that_can_take_it() {
    let mut state = PublishesState::new();
    let mut slots = [PublishSlot::FREE; 3];
    let mut payloads = [0; 3 * PAYLOAD];
    let mut publishes = Publishes { state: &mut state, slots: &mut slots, payloads: &mut payloads, payload: PAYLOAD };
    push(&mut publishes, 1, b"sent").unwrap();
    publishes.sent(0);
    publishes.state.take(7, 7);
    push(&mut publishes, 2, b"fits").unwrap();
    publishes.end_session();
    publishes.check_invariants();
    assert_eq!(publishes.state.take(0, 0), Some(0), "sequences of both directions begin anew");
    push(&mut publishes, 3, b"123").unwrap();
    publishes.begin_session(3);
    publishes.check_invariants();
    let next = publishes.next_to_send().unwrap();
    let Publishes { state, slots, payloads, payload } = &mut publishes;
    let text = said(&Publishes { state, slots, payloads, payload: *payload }.into_message(next).unwrap());
    assert!(text.contains("sequence: 0, key: 3, payload: [49, 50, 51]"), "{text}");
    publishes.sent(next);
    assert!(!publishes.state.has_waiting(), "the longer one is given up");
}

#[test]
fn what_was_not_sent_is_neither_lost_nor_there_to_be_read() {
    let mut sender = Sender::new();
    sender.push(0).unwrap();
    sender.notifies().repeat(MessageId::Notify { sequence: 0 });
    sender.notifies().check_invariants();
    assert!(sender.notifies().next_to_send(true, 3).is_none());
    assert!(sender.notifies().into_message(0).is_some() && sender.notifies().into_message(1).is_none());
}

#[test]
fn of_a_straggler_only_what_cannot_be_an_old_one_is_taken() {
    let mut receiver = Receiver::<9>::new();
    for (sequence, taken) in [
        (4, Taken::Wait),
        (3, Taken::Held),
        (0x7FFF, Taken::Wait),
        (0x8000, Taken::Old),
        (0, Taken::Deliver),
        (4, Taken::Held),
    ] {
        assert_eq!(receiver.take_within(sequence, 4), taken, "{sequence}");
    }
}
