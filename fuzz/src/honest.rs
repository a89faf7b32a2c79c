//! What comes after all harm: an endpoint is joined with an honest peer, and all of its slots must work as on the
//! first day.

use bowline::{Config, Duration, Endpoint, Event, Incarnation, Instant, Semantics};

use super::subject::{CALLS, FRAME, Memory, Node, Subject, Taken, take_messages};

/// Longer than any lease, timeout and heartbeat in the harness.
const PATIENCE: u32 = 3_000;
const STEP: Duration = Duration::from_millis(10);

/// The two of them exchange calls in all slots at once, a notify and a publish each way, and then rest.
pub fn serve(subject: &mut Subject) {
    subject.both(|node, now| node.connect(now));
    let mut other = Endpoint::new(subject.now, Config::new(Incarnation::random(0xB0B0_B0B0_0000_0001)), Memory::new());
    let mut tally = Tally::default();
    run_until(subject, &mut other, &mut tally, |subject, other| {
        let is_idle = subject.both(|node, _| node.is_connected() && node.is_idle());
        is_idle && other.is_connected() && other.is_idle()
    });
    let timeout = Duration::from_secs(5);
    assert_eq!(subject.both(|node, _| node.free_calls()), CALLS, "slots have leaked");
    tally = Tally::default();
    let now = subject.now;
    for _ in 0..CALLS {
        subject.attempt(|node, now| node.call(now, 1, Semantics::AtMostOnce, timeout, b"to other")).expect("a slot");
        other.call(now, 2, Semantics::AtMostOnce, timeout, b"from other").expect("a slot");
    }
    subject.attempt(|node, now| node.notify(now, 3, b"notify")).expect("a slot");
    subject.attempt(|node, now| node.publish(now, 4, b"publish")).expect("a slot");
    other.notify(now, 3, b"notify").expect("a slot");
    other.publish(now, 4, b"publish").expect("a slot");
    run_until(subject, &mut other, &mut tally, |subject, other| {
        subject.both(|node, _| node.is_idle()) && other.is_idle()
    });
    let wanted = Side { responses: CALLS, executed: CALLS, one_way: 2 };
    assert_eq!((tally.subject, tally.other), (wanted, wanted));
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Side {
    responses: usize,
    executed: usize,
    one_way: usize,
}

#[derive(Default)]
struct Tally {
    subject: Side,
    other: Side,
}

fn run_until(
    subject: &mut Subject,
    other: &mut Node,
    tally: &mut Tally,
    mut is_over: impl FnMut(&mut Subject, &mut Node) -> bool,
) {
    for _ in 0..PATIENCE {
        while let Some(frame) = subject.transmit() {
            let now = subject.now;
            let messages = take_messages(other, now, &frame);
            for taken in &messages {
                if let Taken::Request { id, payload, .. } = taken {
                    other.respond(now, *id, payload).expect("it waits");
                }
            }
            tally.other.count(&messages);
        }
        while let Some(frame) = transmit(other, subject.now) {
            let fed = subject.feed(&frame);
            for taken in &fed.messages {
                if let Taken::Request { id, payload, .. } = taken {
                    subject.attempt(|node, now| node.respond(now, *id, payload)).expect("it waits");
                }
            }
            tally.subject.count(&fed.messages);
            tally.subject.count(&fed.held);
        }
        while other.poll_notify().is_some() {
            tally.other.one_way += 1;
        }
        while subject.event().is_some() {}
        while let Some(event) = other.poll_event() {
            assert!(!matches!(event, Event::CallFailed { .. }), "{event:?}");
        }
        if is_over(subject, other) {
            return;
        }
        subject.sleep(STEP);
        other.handle_timeout(subject.now);
    }
    panic!("it does not come to rest with an honest peer: {:?}, {:?}", subject.stats(), other.stats());
}

fn transmit(node: &mut Node, now: Instant) -> Option<Vec<u8>> {
    let mut buf = [0; FRAME];
    let len = node.poll_transmit(now, &mut buf)?;
    Some(buf[..len].to_vec())
}

impl Side {
    fn count(&mut self, messages: &[Taken]) {
        for message in messages {
            match message {
                Taken::Request { .. } => self.executed += 1,
                Taken::Response { .. } => self.responses += 1,
                Taken::Notify { .. } | Taken::Publish { .. } => self.one_way += 1,
            }
        }
    }
}
