//! `PROTOCOL.md §§5.2 and 6`.

use std::vec::Vec;

use super::*;
use crate::time::Duration;

const NOW: Instant = Instant::from_micros(5_000_000);

fn round_trip() -> RoundTrip {
    let mut round_trip = RoundTrip::new(Duration::from_millis(10), Duration::ZERO);
    round_trip.learn(crate::recovery::Sample::Exactly(16_000));
    round_trip
}

fn received(numbers: &[u64]) -> Received {
    let mut received = Received::new();
    for number in numbers {
        received.arrive(*number as u32, || true);
        received.note(NOW.stamp(), PacketNumber::new(*number), 1, Asks::Ack);
        received.check_invariants();
    }
    received
}

fn bitmap(received: &Received) -> u64 {
    received.ack(NOW.stamp(), &round_trip()).unwrap().bitmap
}

#[test]
fn nothing_missing_is_a_bitmap_of_ones() {
    assert_eq!(bitmap(&received(&[0])), u64::MAX);
    assert_eq!(bitmap(&received(&[0, 1, 2])), u64::MAX);
    assert_eq!(bitmap(&received(&(0..200).collect::<Vec<_>>())), u64::MAX);
}

#[test]
fn holes_show_as_zeros_and_close() {
    assert_eq!(bitmap(&received(&[0, 3])), !0b11);
    assert_eq!(bitmap(&received(&[2])), !0b11);
    assert_eq!(bitmap(&received(&[0, 3, 2])), !0b10);
    assert_eq!(bitmap(&received(&[0, 3, 2, 1])), u64::MAX);
    assert_eq!(bitmap(&received(&[0, 64])), 1 << 63);
    assert_eq!(bitmap(&received(&[0, 65])), 0);
    assert_eq!(bitmap(&received(&[0, 1_000])), 0);
    assert_eq!(bitmap(&received(&[1_000])), 0);
}

const LATE: Arrival = Arrival::New { is_newest: false };
const NEWEST: Arrival = Arrival::New { is_newest: true };

#[test]
fn arrivals_are_told_apart() {
    for (number, arrival) in [
        (101, NEWEST),
        (100, Arrival::Duplicate),
        (99, LATE),
        (98, Arrival::Duplicate),
        (36, LATE),
        (35, Arrival::Straggler),
        (1, Arrival::TooOld),
        (0, Arrival::TooOld),
        (500, NEWEST),
    ] {
        let mut received = received(&[0, 1, 100, 98]);
        assert_eq!(received.arrive(number, || true), arrival, "{number}");
    }
}

#[test]
fn the_replay_window_moves_with_packets_that_are_not_taken() {
    let mut received = received(&[0]);
    for number in 1..=66 {
        assert_eq!(received.arrive(number, || true), NEWEST);
    }
    assert_eq!(received.arrive(66, || true), LATE);
    assert_eq!(received.arrive(1, || true), Arrival::TooOld);
    assert_eq!(received.arrive(2, || true), LATE);
    assert_eq!(bitmap(&received), u64::MAX);
}

#[test]
fn an_ack_waits_for_company_unless_something_is_wrong() {
    let round_trip = round_trip();
    let in_order = received(&[0, 1]);
    assert!(!in_order.is_ack_due(NOW.stamp(), &round_trip));
    assert_eq!(in_order.ack_awaits_company_since(NOW.stamp(), &round_trip), Some(NOW.stamp()));
    let due = (NOW + Duration::from_millis(1)).stamp();
    assert!(in_order.is_ack_due(due, &round_trip));
    assert_eq!(in_order.ack_awaits_company_since(due, &round_trip), None);
    assert!(received(&[0, 2]).is_ack_due(NOW.stamp(), &round_trip));
    assert!(received(&[0, 1, 2, 3, 4, 5, 6, 7]).is_ack_due(NOW.stamp(), &round_trip));
    let mut nothing_new = received(&[0]);
    nothing_new.note(NOW.stamp(), PacketNumber::new(1), 1, Asks::Again);
    assert!(nothing_new.is_ack_due(NOW.stamp(), &round_trip));
    let mut bare = Received::new();
    bare.note(NOW.stamp(), PacketNumber::new(5), 1, Asks::Nothing);
    assert!(!bare.is_ack_due(NOW.stamp(), &round_trip) && bare.ack(NOW.stamp(), &round_trip).is_none());
}

#[test]
fn an_ack_is_repeated_until_the_peer_has_it() {
    let mut received = received(&[0]);
    received.ack_sent(7);
    received.ack_sent(8);
    received.peer_has(6);
    assert!(received.ack(NOW.stamp(), &round_trip()).is_some());
    received.peer_has(7);
    assert!(received.ack(NOW.stamp(), &round_trip()).is_none());
    received.note(NOW.stamp(), PacketNumber::new(1), 1, Asks::Ack);
    received.peer_has(8);
    assert!(received.ack(NOW.stamp(), &round_trip()).is_some());
}

#[test]
fn an_ack_for_pings_alone_is_sent_once() {
    let ping =
        |received: &mut Received, number| received.note(NOW.stamp(), PacketNumber::new(number), 1, Asks::SignOfLife);
    let has_ack = |received: &Received| received.ack(NOW.stamp(), &round_trip()).is_some();
    let mut received = Received::new();
    ping(&mut received, 0);
    ping(&mut received, 1);
    assert!(received.is_ack_due(NOW.stamp(), &round_trip()) && has_ack(&received));
    let was_owed = received.ack_sent(7);
    assert!(!has_ack(&received));
    received.ack_refused(7, was_owed);
    assert!(received.is_ack_due(NOW.stamp(), &round_trip()) && has_ack(&received), "it was not sent");
    received.ack_sent(8);
    received.note(NOW.stamp(), PacketNumber::new(2), 1, Asks::Ack);
    received.ack_sent(9);
    ping(&mut received, 3);
    received.ack_sent(10);
    received.peer_has(9);
    assert!(has_ack(&received), "there is one for more than a PING");
    received.peer_has(10);
    assert!(!has_ack(&received));
    ping(&mut received, 4);
    received.ack_sent(11);
    assert!(!has_ack(&received));
}

#[test]
fn an_ack_is_repeated_after_a_packet_that_had_no_room_for_it() {
    let mut received = received(&[0]);
    received.ack_sent(7);
    received.ack_left_out();
    received.peer_has(8);
    assert!(received.ack(NOW.stamp(), &round_trip()).is_some(), "the peer has packet 8, but perhaps not 7");
    received.ack_sent(9);
    received.peer_has(9);
    assert!(received.ack(NOW.stamp(), &round_trip()).is_none());
}

#[test]
fn only_one_packet_behind_another_is_its_copy() {
    let mut received = received(&[0]);
    assert!(received.is_copy(NOW.stamp(), &round_trip()));
    received.note(NOW.stamp(), PacketNumber::new(1), 1, Asks::Nothing);
    assert!(!received.is_copy(NOW.stamp(), &round_trip()));
    received.note(NOW.stamp(), PacketNumber::new(2), 1, Asks::Again);
    assert!(received.is_copy(NOW.stamp(), &round_trip()));
    received.note(NOW.stamp(), PacketNumber::new(3), 1, Asks::Again);
    assert!(!received.is_copy((NOW + Duration::from_micros(2_001)).stamp(), &round_trip()), "too late");
}

#[test]
fn an_ack_that_was_refused_still_reaches_as_far_back() {
    let mut received = received(&(0..20).collect::<Vec<_>>());
    let was_owed = received.ack_sent(7);
    received.ack_refused(7, was_owed);
    assert_eq!(received.ack(NOW.stamp(), &round_trip()).unwrap().reach, 64);
}

#[test]
fn only_an_ack_of_what_came_just_now_is_fresh() {
    let received = received(&[0]);
    assert!(received.ack((NOW + Duration::from_millis(2)).stamp(), &round_trip()).unwrap().fresh);
    assert!(!received.ack((NOW + Duration::from_micros(2_001)).stamp(), &round_trip()).unwrap().fresh);
}

#[test]
fn a_packet_that_fills_a_far_hole_shows_in_its_own_bit() {
    for late in 1..64 {
        assert_eq!(bitmap(&received(&[0, 65, late])), 1 << (64 - late), "{late}");
    }
}

#[test]
fn what_was_left_lying_is_known_as_far_back_as_the_replay_window_reaches() {
    let mut received = received(&[0]);
    received.arrive(100, || true);
    for (number, is_known) in [(100, true), (99, true), (36, true), (35, false), (0, false)] {
        assert_eq!(received.is_in_window(number, HostFlag::new(false)), is_known, "{number}");
        assert_eq!(received.arrive(number, || true) != Arrival::TooOld, is_known, "{number}");
    }
}

#[test]
fn an_ack_waits_since_the_first_packet_that_asked_for_it() {
    let (round_trip, later) = (round_trip(), (NOW + Duration::from_micros(300)).stamp());
    let mut received = received(&[0]);
    received.note(later, PacketNumber::new(1), 1, Asks::Ack);
    assert_eq!(received.ack_awaits_company_since(later, &round_trip), Some(NOW.stamp()));
    received.ack_sent(0);
    received.note(later, PacketNumber::new(2), 1, Asks::Ack);
    assert_eq!(received.ack_awaits_company_since(later, &round_trip), Some(later));
}

#[test]
fn an_ack_reaches_as_far_back_as_packets_have_come_since_the_last_one() {
    for (count, reach) in [(1, 8), (2, 8), (3, 32), (8, 32), (9, 64)] {
        let mut received = received(&[0]);
        assert!(received.ack_sent(0), "it was owed");
        assert!(!received.ack_sent(1), "it no longer was");
        for number in 1..=count {
            received.note(NOW.stamp(), PacketNumber::new(number), 1, Asks::Ack);
        }
        assert_eq!(received.ack(NOW.stamp(), &round_trip()).unwrap().reach, reach, "{count}");
    }
}

#[test]
fn an_ack_that_a_port_refused_is_owed_again_if_it_was_before() {
    let mut received = received(&[0]);
    received.ack_sent(7);
    let was_owed = received.ack_sent(8);
    received.ack_refused(8, was_owed);
    assert!(!received.is_ack_due(NOW.stamp(), &round_trip()), "packet 7 carries it");
    received.peer_has(7);
    assert!(received.ack(NOW.stamp(), &round_trip()).is_none());
    let mut received = self::received(&[0]);
    let was_owed = received.ack_sent(7);
    received.ack_refused(7, was_owed);
    assert!(received.is_ack_due(NOW.stamp(), &round_trip()));
    received.peer_has(7);
    assert!(received.ack(NOW.stamp(), &round_trip()).is_some(), "packet 7 was never sent");
}

#[test]
fn an_ack_number_takes_as_many_bytes_as_the_packet_gave_its_own() {
    for (bytes, len) in [(1, 1), (2, 2), (3, 4), (4, 4)] {
        let mut received = Received::new();
        received.note(NOW.stamp(), PacketNumber::new(0), bytes, Asks::Ack);
        assert_eq!(received.ack(NOW.stamp(), &round_trip()).unwrap().len, len, "{bytes}");
    }
}

#[test]
fn stragglers_are_those_that_did_not_come_as_far_back_as_they_are_remembered() {
    let mut received = received(&(0..6_000).filter(|number| number % 2 == 0).collect::<Vec<_>>());
    let late = HostFlag::new(true);
    let arrivals = [
        (5_935, LATE),
        (5_934, Arrival::Duplicate),
        (5_933, Arrival::Straggler),
        (5_932, Arrival::TooOld),
        (1_903, Arrival::Straggler),
        (1_902, Arrival::TooOld),
        (1_901, Arrival::TooOld),
        (877, Arrival::TooOld),
    ];
    for (number, arrival) in arrivals {
        assert_eq!(received.arrive(number, || true), arrival, "{number}");
        let without = if arrival == Arrival::Straggler { Arrival::TooOld } else { arrival };
        assert_eq!(received.arrive(number, || false), without, "{number} with calls");
    }
    assert!(received.is_in_window(1_903, late) && !received.is_in_window(1_902, late));
    received.note_straggler(1_903, 2);
    assert_eq!(received.arrive(1_903, || true), Arrival::TooOld, "it has come");
    // Packets that are not taken move the window for stragglers as well.
    assert_eq!(received.arrive(6_010, || true), NEWEST);
    assert_eq!(received.arrive(1_913, || true), Arrival::TooOld);
    assert_eq!(received.arrive(1_915, || true), Arrival::Straggler);
    assert_eq!(received.notify_reach(5_025, late), 3_264);
    assert_eq!(received.notify_reach(1_915, late), 0);
    // Not only stragglers: 64 packets late is 2 080 sequences behind what a sender knew of.
    assert_eq!(received.notify_reach(5_946, HostFlag::new(false)), 65_536 - 30_720 - 32 * 65);
}

#[test]
fn a_straggler_is_acknowledged_once_and_by_itself() {
    let mut received = received(&[0, 200]);
    received.ack_sent(7);
    assert!(!received.is_ack_due(NOW.stamp(), &round_trip()));
    assert_eq!(received.arrive(100, || true), Arrival::Straggler);
    received.note_straggler(100, 1);
    assert!(received.owes_straggler() && !received.is_ack_due(NOW.stamp(), &round_trip()));
    let ack = received.take_straggler_ack().unwrap();
    // Two bytes, since the peer may know by now that 200 has come, from where one does not reach 100.
    assert_eq!(ack, AckField { largest: 100, len: 2, bitmap: 0, reach: 8, fresh: false });
    assert!(!received.owes_straggler());
    assert_eq!(received.ack(NOW.stamp(), &round_trip()).unwrap().largest, 200);
    received.peer_has(8);
    assert!(
        received.ack(NOW.stamp(), &round_trip()).is_some(),
        "packet 8 did not carry it, so 7 is not known to have come"
    );
}
