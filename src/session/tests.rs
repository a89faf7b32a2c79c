//! Holes H1 to H6 of the handshake, and the plain ways through it.

use super::*;

const OFFER: Offer = Offer { frame: 64, slots: 2, notify_window: 1, time_to_live: 0, schema_digest: 0 };

fn node(incarnation: u32) -> Handshake {
    Handshake::new(&Incarnation::random(u64::from(incarnation) << 32 | u64::from(mix(incarnation))))
}

/// Carries HELLOs between both until nobody owes one; returns how many it took.
fn settle(a: &mut Handshake, b: &mut Handshake, first_from_a: Answer) -> usize {
    let mut owed = Some(first_from_a);
    let mut from_a = true;
    let mut count = 0;
    while let Some(answer) = owed {
        count += 1;
        assert!(count < 20, "the handshake does not end");
        let (sender, receiver) = if from_a { (&mut *a, &mut *b) } else { (&mut *b, &mut *a) };
        owed = match receiver.handle_hello(&sender.hello(answer, OFFER)) {
            Verdict::Known => None,
            Verdict::Owed(answer) => Some(answer),
            Verdict::Joined { owed, .. } => owed,
        };
        from_a = !from_a;
    }
    count
}

fn share_a_session(a: &Handshake, b: &Handshake) -> bool {
    match (a.session(), b.session()) {
        (Some(x), Some(y)) => x.id == y.id && x.send == y.receive && x.receive == y.send,
        _ => false,
    }
}

fn pair() -> (Handshake, Handshake) {
    let (mut a, mut b) = (node(1), node(2));
    settle(&mut a, &mut b, Answer::Challenge);
    assert!(share_a_session(&a, &b));
    (a, b)
}

fn confirmed_pair() -> (Handshake, Handshake) {
    let (mut a, mut b) = pair();
    a.confirm();
    b.confirm();
    (a, b)
}

#[test]
fn three_hellos_make_a_session() {
    let (mut a, mut b) = (node(1), node(2));
    assert_eq!(settle(&mut a, &mut b, Answer::Challenge), 3);
    assert!(share_a_session(&a, &b));
}

#[test]
fn a_packet_in_the_new_session_stands_for_the_third_hello() {
    let (mut a, mut b) = (node(1), node(2));
    b.handle_hello(&a.hello(Answer::Challenge, OFFER));
    a.handle_hello(&b.hello(Answer::Challenge, OFFER));
    assert_eq!(b.candidate(), Some(a.session().unwrap().send));
    assert_eq!(b.join_candidate(), None);
    assert!(share_a_session(&a, &b));
}

#[test]
fn h1_an_old_frame_cannot_tear_a_live_session_down() {
    let (mut a, mut b) = confirmed_pair();
    let id = a.session().unwrap().id;
    let old = node(9).hello(Answer::Challenge, OFFER);
    assert_eq!(a.handle_hello(&old), Verdict::Owed(Answer::Challenge));
    // The peer is alive and in the session: it sees its own session in the challenge and has nothing to answer.
    assert_eq!(b.handle_hello(&a.hello(Answer::Challenge, OFFER)), Verdict::Known);
    assert_eq!(a.session().unwrap().id, id);
}

#[test]
fn h2_a_late_answer_from_before_the_join_does_not_end_a_session_that_both_hold() {
    let (mut a, mut b) = (node(1), node(2));
    b.handle_hello(&a.hello(Answer::Challenge, OFFER));
    // B challenges, A answers an old challenge of B's while it is still without a session.
    let from_b = b.hello(Answer::Challenge, OFFER);
    let late = Hello { echo: Some(b.next), session: None, ..a.hello(Answer::Challenge, OFFER) };
    a.handle_hello(&from_b);
    b.handle_hello(&a.hello(Answer::Session, OFFER));
    assert!(share_a_session(&a, &b));
    let late = Hello { echo: Some(b.next), ..late };
    assert_eq!(b.handle_hello(&late), Verdict::Owed(Answer::Session));
    assert!(share_a_session(&a, &b));
}

#[test]
fn h3_two_sides_in_different_sessions_of_the_same_lives_heal() {
    let (mut a, mut b) = confirmed_pair();
    // A enters a further session with B, and B never hears the HELLO that completes it.
    a.leave();
    b.handle_hello(&a.hello(Answer::Challenge, OFFER));
    a.handle_hello(&b.hello(Answer::Challenge, OFFER));
    b.draw();
    assert!(!share_a_session(&a, &b));
    assert!(settle(&mut a, &mut b, Answer::Session) <= 4);
    assert!(share_a_session(&a, &b));
}

#[test]
fn h4_the_challenge_is_the_same_in_every_hello_until_a_join_spends_it() {
    let mut a = node(1);
    let first = a.hello(Answer::Challenge, OFFER).from;
    a.handle_hello(&node(2).hello(Answer::Challenge, OFFER));
    assert_eq!(a.hello(Answer::Challenge, OFFER).from, first);
    let (mut a, mut b) = (node(1), node(2));
    // Both boot at once: the HELLOs cross, and so do the answers.
    let (from_a, from_b) = (a.hello(Answer::Challenge, OFFER), b.hello(Answer::Challenge, OFFER));
    a.handle_hello(&from_b);
    b.handle_hello(&from_a);
    let (from_a, from_b) = (a.hello(Answer::Challenge, OFFER), b.hello(Answer::Challenge, OFFER));
    a.handle_hello(&from_b);
    b.handle_hello(&from_a);
    assert!(share_a_session(&a, &b));
}

#[test]
fn h5_a_hello_without_proof_makes_no_session() {
    let mut a = node(1);
    let stranger = node(2).hello(Answer::Challenge, OFFER);
    assert_eq!(a.handle_hello(&stranger), Verdict::Owed(Answer::Challenge));
    assert_eq!(a.handle_hello(&Hello { echo: Some(a.next ^ 1), ..stranger }), Verdict::Owed(Answer::Challenge));
    assert!(a.session().is_none());
}

#[test]
fn h6_a_challenge_from_within_a_session_heals_two_sides_that_hold_different_ones() {
    let (_, mut b) = confirmed_pair();
    // A crashes, comes back and enters a new session; the HELLO that tells B is lost.
    let mut a = node(3);
    b.handle_hello(&a.hello(Answer::Challenge, OFFER));
    a.handle_hello(&b.hello(Answer::Challenge, OFFER));
    assert!(a.session().is_some() && !share_a_session(&a, &b));
    // A packet of the old session fails at A, which challenges from within its session.
    settle(&mut a, &mut b, Answer::Challenge);
    assert!(share_a_session(&a, &b));
}

#[test]
fn an_answer_from_before_the_first_packet_proves_nothing_any_more() {
    let (mut a, b) = pair();
    let other = node(9);
    a.handle_hello(&other.hello(Answer::Challenge, OFFER));
    let late = Hello { echo: Some(a.next), ..other.hello(Answer::Challenge, OFFER) };
    assert!(a.candidate().is_some());
    a.confirm();
    assert_eq!(a.candidate(), None);
    assert_eq!(a.handle_hello(&late), Verdict::Owed(Answer::Challenge));
    assert!(share_a_session(&a, &b));
}

#[test]
fn a_join_spends_the_challenge_and_so_does_the_end_of_a_session() {
    let mut a = node(1);
    let mut shown = vec![a.next];
    settle(&mut a, &mut node(2), Answer::Challenge);
    shown.push(a.next);
    a.leave();
    shown.push(a.next);
    assert!(shown[0] != shown[1] && shown[1] != shown[2] && shown[0] != shown[2]);
}

#[test]
fn answers_of_both_kinds_take_turns() {
    let mut owed = Owed::default();
    let sent: std::vec::Vec<_> = (0..4)
        .map(|_| {
            owed.add(Answer::Session);
            owed.add(Answer::Challenge);
            let next = owed.next().unwrap();
            owed.sent(next);
            next
        })
        .collect();
    assert_eq!(sent, [Answer::Session, Answer::Challenge, Answer::Session, Answer::Challenge]);
}

#[test]
fn a_restart_is_told_from_a_lost_session() {
    let (mut a, _) = confirmed_pair();
    let mut reborn = node(3);
    a.handle_hello(&reborn.hello(Answer::Challenge, OFFER));
    reborn.handle_hello(&a.hello(Answer::Challenge, OFFER));
    let verdict = a.handle_hello(&reborn.hello(Answer::Session, OFFER));
    assert_eq!(verdict, Verdict::Joined { ended: Some(SessionEnd::PeerRestarted), owed: None });
    let (mut a, mut b) = confirmed_pair();
    b.leave();
    let verdict = a.handle_hello(&b.hello(Answer::Challenge, OFFER));
    assert_eq!(verdict, Verdict::Owed(Answer::Challenge));
    b.handle_hello(&a.hello(Answer::Challenge, OFFER));
    let verdict = a.handle_hello(&b.hello(Answer::Session, OFFER));
    assert_eq!(verdict, Verdict::Joined { ended: Some(SessionEnd::Replaced), owed: None });
}

#[test]
fn a_node_recognises_its_own_hello() {
    let (a, b) = confirmed_pair();
    assert!(a.is_own(&a.hello(Answer::Challenge, OFFER)));
    assert!(a.is_own(&a.hello(Answer::Session, OFFER)));
    assert!(!a.is_own(&b.hello(Answer::Challenge, OFFER)));
    let none = |node| Handshake::new(&Incarnation::none(node, crate::Duration::ZERO));
    assert!(none(1).is_own(&none(1).hello(Answer::Challenge, OFFER)));
    assert!(!none(1).is_own(&none(2).hello(Answer::Challenge, OFFER)));
}

#[test]
fn challenges_of_a_life_never_repeat() {
    let mut a = node(1);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100_000 {
        assert!(seen.insert(a.next));
        a.draw();
    }
}

#[test]
fn h17_a_later_life_without_entropy_is_not_led_into_the_session_of_the_earlier_one() {
    let mut a = node(1);
    let none = || Handshake::new(&Incarnation::none(2, crate::Duration::ZERO));
    let mut b = none();
    b.handle_hello(&a.hello(Answer::Challenge, OFFER));
    assert!(matches!(a.handle_hello(&b.hello(Answer::Challenge, OFFER)), Verdict::Joined { owed: None, .. }));
    b.join_candidate();
    assert!(share_a_session(&a, &b));
    // B boots again with the same challenge, while A still waits for its first packet.
    let (old, mut b) = (b.session().unwrap().id, none());
    assert_eq!(a.greeting(), Answer::Challenge);
    let mut from_a = true;
    for _ in 0..4 {
        let (sender, receiver) = if from_a { (&a, &mut b) } else { (&b, &mut a) };
        receiver.handle_hello(&sender.hello(Answer::Challenge, OFFER));
        from_a = !from_a;
    }
    b.join_candidate();
    assert!(share_a_session(&a, &b));
    assert_ne!(b.session().unwrap().id, old);
}

#[test]
fn h8_a_session_entered_again_in_the_same_life_has_nothing_of_the_one_before() {
    let (mut a, mut b) = confirmed_pair();
    let (before, old_hello) = (*a.session().unwrap(), a.hello(Answer::Session, OFFER));
    a.leave();
    b.leave();
    settle(&mut a, &mut b, Answer::Challenge);
    let after = *b.session().unwrap();
    assert_ne!((before.id, before.send), (after.id, after.receive));
    // And nothing of it leads back.
    assert_eq!(b.handle_hello(&old_hello), Verdict::Owed(Answer::Challenge));
    assert_eq!(b.session().unwrap().id, after.id);
}

#[test]
fn a_challenge_is_outstanding_until_it_is_spent_and_that_of_a_session_until_it_is_confirmed() {
    let (mut a, _) = pair();
    let held = a.session().unwrap().challenge;
    let shown = a.hello(Answer::Challenge, OFFER).from.challenge;
    assert!(a.is_outstanding(held) && a.is_outstanding(shown) && !a.is_outstanding(1));
    a.confirm();
    assert!(!a.is_outstanding(held) && !a.is_outstanding(shown));
    assert!(a.is_outstanding(a.hello(Answer::Challenge, OFFER).from.challenge));
}

#[test]
fn the_session_is_said_unasked_but_to_a_peer_without_entropy() {
    assert_eq!(node(1).greeting(), Answer::Challenge);
    assert_eq!(pair().0.greeting(), Answer::Session);
    let (mut a, mut b) = (node(1), Handshake::new(&Incarnation::none(2, crate::Duration::ZERO)));
    settle(&mut a, &mut b, Answer::Challenge);
    assert_eq!(a.session().unwrap().peer.end.incarnation, 0);
    assert_eq!(a.greeting(), Answer::Challenge);
}
