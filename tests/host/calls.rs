//! What a call can be answered with, over a real port.

use std::cell::RefCell;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::SeqCst;

use bowline::drivers::LinkEvent;
use bowline::drivers::blocking::Port;
use bowline::drivers::host::{self, Unix};
use bowline::typed::Procedure;
use bowline::{CallError, Duration, Event, Executed, Reason, Refusal, Semantics};

use crate::rig::{Add, Hang, IsOdd, serve};

#[test]
fn a_request_that_is_never_answered_costs_its_slot_and_nothing_else() {
    let (here, there) = UnixStream::pair().unwrap();
    let effects = serve(Unix::accepted(there).unwrap());
    let mut node = host::node(Unix::accepted(here).unwrap());
    assert_eq!(node.call::<Add>(&1), Ok(1));
    // Of 8 slots.
    for hanging in 1..=7 {
        node = node.timeout(Duration::from_millis(50));
        let error = node.call::<Hang>(&()).unwrap_err();
        assert_eq!(error, CallError { reason: Reason::DeadlineExceeded, executed: Executed::Maybe });
        node = node.timeout(Duration::from_secs(60));
        assert_eq!(node.call::<Add>(&1), Ok(1 + hanging));
        assert_eq!(effects.hang.load(SeqCst), hanging);
    }
    assert!(node.endpoint().is_connected());
}

#[test]
fn a_payload_that_cannot_be_decoded_is_refused_and_not_executed() {
    let (here, there) = UnixStream::pair().unwrap();
    let effects = serve(Unix::accepted(there).unwrap());
    let failed = RefCell::new(Vec::new());
    let mut node = host::node(Unix::accepted(here).unwrap()).on_event(|event| {
        if let LinkEvent::Endpoint(Event::CallFailed { call, error }) = event {
            failed.borrow_mut().push((call, error));
        }
    });
    assert_eq!(node.call::<IsOdd>(&true), Ok(false));
    // No bool, nothing at all, a bool and more.
    for payload in [&[2][..], &[], &[1, 1]] {
        let (now, key) = (node.port().now(), IsOdd::DECLARATION.key());
        let timeout = Duration::from_secs(60);
        let call = node.endpoint().call(now, key, Semantics::AtMostOnce, timeout, payload).unwrap();
        while failed.borrow().is_empty() {
            node.turn();
        }
        let refused = CallError { reason: Reason::Refused(Refusal::Malformed), executed: Executed::No };
        assert_eq!(failed.take(), [(call, refused)]);
    }
    assert_eq!(node.call::<IsOdd>(&true), Ok(false));
    assert_eq!(effects.is_odd.load(SeqCst), 2);
}

/// What the peer was built from a year ago.
mod old {
    bowline::interface! {
        pub enum Device {
            at_most_once Add(u32) -> u32;
            // Both sides of this one were changed since, and the other is gone.
            at_most_once IsOdd(u8) -> bool;
            idempotent Hang(()) -> ();
            at_most_once Reset(()) -> ();
        }
    }
}

#[test]
fn exactly_the_procedures_that_were_changed_are_a_mismatch() {
    let (here, there) = UnixStream::pair().unwrap();
    let effects = serve(Unix::accepted(there).unwrap());
    let mut node = host::node(Unix::accepted(here).unwrap());
    let mismatch = CallError { reason: Reason::SchemaMismatch, executed: Executed::No };
    for sum in 1..=3 {
        assert_eq!(node.call::<old::Add>(&1), Ok(sum));
        assert_eq!(node.call::<old::IsOdd>(&1), Err(mismatch));
        assert_eq!(node.call::<old::Hang>(&()), Err(mismatch));
        assert_eq!(node.call::<old::Reset>(&()), Err(mismatch));
    }
    assert_eq!((effects.add.load(SeqCst), effects.is_odd.load(SeqCst), effects.hang.load(SeqCst)), (3, 0, 0));
}

#[test]
fn a_node_that_serves_nothing_refuses_what_it_is_asked() {
    let (here, there) = UnixStream::pair().unwrap();
    std::thread::spawn(move || host::node(Unix::accepted(there).unwrap()).run());
    let mut node = host::node(Unix::accepted(here).unwrap());
    let unknown = CallError { reason: Reason::Refused(Refusal::UnknownKey), executed: Executed::No };
    assert_eq!(node.call::<Add>(&1), Err(unknown));
}
