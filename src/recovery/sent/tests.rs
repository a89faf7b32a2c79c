//! `PROTOCOL.md §9.2`.

use std::vec::Vec;

use super::*;
use crate::time::Duration;

const T0: Instant = Instant::from_micros(1_000);
const PING: MessageId = MessageId::Ping;

/// A log, all of whose messages are needed, and what was said of them.
struct Log {
    entries: Vec<Transmission>,
    acked: Vec<MessageId>,
    repeated: Vec<MessageId>,
    settled: Vec<(u32, bool)>,
}

impl Outbox for Log {
    fn log(&mut self) -> &mut [Transmission] {
        &mut self.entries
    }

    fn needs(&mut self, _message: MessageId, _number: u32) -> bool {
        true
    }

    fn repeat(&mut self, message: MessageId) {
        self.repeated.push(message);
    }

    fn acked(&mut self, message: MessageId) {
        self.acked.push(message);
    }

    fn settled(&mut self, number: u32, is_lost: bool) {
        self.settled.push((number, is_lost));
    }
}

fn after(micros: u64) -> Stamp {
    (T0 + Duration::from_micros(micros)).stamp()
}

fn notify(sequence: u16) -> MessageId {
    MessageId::Notify { sequence: sequence.into() }
}

fn ack(largest: u32, bitmap: u64, reach: u32) -> AckField {
    AckField { largest, len: 4, bitmap, reach, fresh: true }
}

/// A log with one notify a packet, `sequence` = packet number.
fn sent(capacity: usize, count: u16) -> (Sent, Log) {
    let mut log = Log { entries: vec![Transmission::NONE; capacity], acked: vec![], repeated: vec![], settled: vec![] };
    let mut sent = Sent::new();
    for sequence in 0..count {
        sent.push(log.log(), after(sequence.into()), notify(sequence));
        sent.packet_sent(true);
        sent.check_invariants(log.log());
    }
    (sent, log)
}

fn acked(sent: &mut Sent, log: &mut Log, ack: &AckField) -> (Vec<MessageId>, Option<Sample>) {
    let (has_acked, sample) = sent.handle_ack(log, after(100), ack, false);
    sent.check_invariants(log.log());
    let messages = core::mem::take(&mut log.acked);
    assert_eq!(has_acked, !messages.is_empty());
    (messages, sample)
}

#[test]
fn an_ack_reports_what_its_bitmap_covers_and_nothing_else() {
    let (mut sent, mut log) = sent(8, 6);
    assert_eq!(
        acked(&mut sent, &mut log, &ack(4, 0b0101, 8)),
        (vec![notify(1), notify(3), notify(4)], Some(Sample::Exactly(96)))
    );
    assert_eq!(acked(&mut sent, &mut log, &ack(4, 0b0101, 8)), (vec![], None));
    assert_eq!(acked(&mut sent, &mut log, &ack(4, u64::MAX, 2)).0, vec![notify(2)]);
}

#[test]
fn a_bitmap_reaches_64_numbers_back() {
    for behind in 1..=64 {
        let covers = |bitmap, behind| ack(100, bitmap, 64).covers(behind);
        assert!(covers(1 << (behind - 1), behind) && !covers(!(1 << (behind - 1)), behind), "{behind}");
    }
    assert!(ack(100, 0, 64).covers(0));
    assert!(!ack(100, u64::MAX, 64).covers(65) && !ack(100, u64::MAX, 64).covers(97));
}

#[test]
fn a_round_trip_sample_needs_a_fresh_ack_of_an_eliciting_packet() {
    let (mut sent, mut log) = sent(8, 2);
    sent.packet_sent(false);
    assert_eq!(acked(&mut sent, &mut log, &ack(2, 0, 64)).1, None);
    assert_eq!(acked(&mut sent, &mut log, &ack(1, 0, 64)), (vec![notify(1)], None));
    let stale = AckField { fresh: false, ..ack(0, 0, 64) };
    assert_eq!(acked(&mut sent, &mut log, &stale), (vec![notify(0)], None));
}

#[test]
fn the_first_sample_may_be_a_bad_one() {
    let (mut sent, mut log) = sent(8, 2);
    let stale = AckField { fresh: false, ..ack(0, 0, 64) };
    assert_eq!(sent.handle_ack(&mut log, after(70), &stale, true), (true, Some(Sample::Exactly(70))));
    assert_eq!(sent.handle_ack(&mut log, after(70), &stale, true), (false, None));
}

#[test]
fn a_packet_is_lost_when_a_later_one_was_acknowledged_and_it_is_old_enough() {
    let (mut sent, mut log) = sent(8, 5);
    acked(&mut sent, &mut log, &ack(2, 0, 8));
    assert_eq!(sent.oldest_overtaken(log.log()), Some((after(0), Overtaken::ByFew)));
    assert!(!sent.repeat_lost(&mut log, after(49), |_| 50));
    assert!(sent.repeat_lost(&mut log, after(50), |_| 50));
    assert_eq!(log.repeated, [notify(0)]);
    assert!(sent.repeat_lost(&mut log, after(500), |_| 50));
    assert_eq!(log.repeated, [notify(0), notify(1)]);
    assert_eq!(sent.oldest_overtaken(log.log()), None);
}

#[test]
fn a_packet_that_few_have_overtaken_may_be_older_than_one_that_many_have() {
    let age = |overtaken| if overtaken == Overtaken::ByMany { 100 } else { 200 };
    for (largest, overtaken) in [(6, Overtaken::ByFew), (7, Overtaken::ByMany)] {
        let (mut sent, mut log) = sent(16, 8);
        acked(&mut sent, &mut log, &ack(0, 0, 64));
        acked(&mut sent, &mut log, &ack(largest, 0, 64));
        // The first one that is left went out after 1 µs.
        assert_eq!(sent.oldest_overtaken(log.log()), Some((after(1), overtaken)));
        let due = 1 + u64::from(age(overtaken));
        assert!(!sent.repeat_lost(&mut log, after(due - 1), age), "{largest}");
        assert!(sent.repeat_lost(&mut log, after(due), age), "{largest}");
        assert_eq!(log.repeated, [notify(1)], "{largest}");
    }
}

#[test]
fn all_that_is_old_enough_is_sent_again_and_stays_in_the_log() {
    let (mut sent, mut log) = sent(8, 3);
    assert_eq!(sent.oldest_needed(&mut log), Some(after(0)));
    for _ in 0..2 {
        assert!(sent.repeat_older_than(&mut log, after(51), 50));
    }
    assert_eq!(log.repeated, [notify(0), notify(1), notify(0), notify(1)]);
}

#[test]
fn the_fate_of_a_packet_is_told_once_whatever_it_carried() {
    let (mut sent, mut log) = sent(9, 0);
    for _ in 0..3 {
        for message in [PING, notify(1), notify(2)] {
            sent.push(log.log(), after(0), message);
        }
        sent.packet_sent(true);
    }
    for _ in 0..2 {
        acked(&mut sent, &mut log, &ack(2, 0b10, 64));
    }
    sent.repeat_lost(&mut log, after(1_000), |_| 50);
    assert_eq!(log.settled, [(0, false), (2, false), (1, true)]);
}

#[test]
fn a_refused_packet_is_taken_out_of_the_log() {
    let (mut sent, mut log) = sent(4, 1);
    sent.push(log.log(), after(0), PING);
    sent.push(log.log(), after(0), notify(9));
    sent.packet_sent(true);
    assert_eq!(sent.pop_last(log.log()), Some((notify(9), 1)));
    assert_eq!(sent.pop_last(log.log()), Some((PING, 1)));
    assert_eq!(sent.pop_last(log.log()), None);
    assert!(sent.has_room(&mut log));
    assert_eq!(acked(&mut sent, &mut log, &ack(0, 0, 8)).0, [notify(0)]);
}

#[test]
fn the_ring_wraps_and_forgets_the_oldest() {
    let (mut sent, mut log) = sent(3, 3);
    for number in 3..100 {
        assert!(!sent.has_room(&mut log), "all are needed");
        sent.push(log.log(), after(0), notify(number));
        sent.packet_sent(true);
        sent.check_invariants(log.log());
    }
    assert_eq!(acked(&mut sent, &mut log, &ack(99, u64::MAX, 64)).0, [notify(97), notify(98), notify(99)]);
}

#[test]
fn an_older_ack_takes_nothing_back() {
    let (mut sent, mut log) = sent(8, 6);
    acked(&mut sent, &mut log, &ack(4, 0, 8));
    assert_eq!(acked(&mut sent, &mut log, &ack(1, 0, 8)), (vec![notify(1)], None));
    assert_eq!(sent.base(), 5);
}

#[test]
fn h7_numbers_get_longer_before_they_become_ambiguous() {
    let (mut sent, mut log) = sent(0, 0);
    let mut lens = Vec::new();
    for _ in 0..40_000 {
        lens.push(sent.next_len());
        sent.packet_sent(false);
    }
    assert_eq!((lens[127], lens[128], lens[32_767], lens[32_768]), (1, 2, 2, 3));
    assert!(sent.must_elicit());
    sent.handle_ack(&mut log, after(0), &ack(39_999, u64::MAX, 64), false);
    assert_eq!(sent.next_len(), 1);
}

#[test]
fn an_ack_means_the_same_in_a_log_so_long_that_its_place_is_looked_for() {
    for largest in [0, 1, 63, 64, 65, 100, 149] {
        let (mut sent, mut log) = sent(200, 150);
        let covered: Vec<_> = (largest.max(64) - 64..=largest).map(notify).collect();
        assert_eq!(acked(&mut sent, &mut log, &ack(largest.into(), u64::MAX, 64)).0, covered, "{largest}");
    }
}

#[test]
fn of_acks_that_are_not_fresh_only_an_exact_one_that_is_welcome_is_a_sample() {
    for (is_welcome, largest, sample) in [(true, 0, Some(70)), (false, 0, None), (true, 1, None), (false, 1, None)] {
        let (mut sent, mut log) = sent(8, 1);
        // Packet 1 asked for no ack, so the log knows only of the one behind it.
        sent.packet_sent(false);
        sent.push(log.log(), after(0), notify(2));
        sent.packet_sent(true);
        let stale = AckField { fresh: false, ..ack(largest, 0, 64) };
        let (_, found) = sent.handle_ack(&mut log, after(70), &stale, is_welcome);
        assert_eq!(found, sample.map(Sample::Exactly), "{is_welcome} {largest}");
    }
}
