//! The caller: makes its calls, a few at a time, and reports each before it begins and when it has ended.

use std::collections::HashMap;
use std::io;

use bowline::{Buffers, Call, Endpoint, Event, Instant, Message, Semantics};

use crate::dispenser::{DEADLINE, DISPENSE, MAX_IN_FLIGHT, Order, OrderId, PAYLOAD, SENT, config};
use crate::port::{Clock, Port};
use crate::reports::{Outcome, Report, Reporter};

/// What the command line of the caller process says.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    pub udp: bool,
    /// The run that the calls belong to.
    pub run: u32,
    /// The calls to make: those before `first` were made by callers that are dead now.
    pub first: u32,
    pub calls: u32,
    pub in_flight: usize,
}

/// Makes the calls, then keeps the link up until the parent ends it.
pub fn run(options: &Options) -> io::Result<()> {
    let clock = Clock::start();
    let mut port = Port::open(options.udp)?;
    let mut reports = Reporter::open()?;
    let storage = Buffers::<PAYLOAD, MAX_IN_FLIGHT, 1, 1, 1, 0, SENT>::new();
    let mut endpoint = Endpoint::new(clock.now(), config()?, storage);
    let mut open = HashMap::<Call, Started>::new();
    let mut next = options.first;
    loop {
        let now = clock.now();
        let mut ended = Vec::new();
        port.receive(|frame| {
            let mut messages = endpoint.handle_frame(now, frame);
            while let Some(message) = messages.next(&mut endpoint) {
                let Message::Response { call, payload } = message else { continue };
                let replied_to = OrderId::decode(payload).filter(|id| id.run == options.run);
                ended.push((call, Outcome::Ok { replied_to: replied_to.map_or(u32::MAX, |id| id.call) }));
            }
        })?;
        endpoint.handle_timeout(now);
        while let Some(event) = endpoint.poll_event() {
            if let Event::CallFailed { call, error } = event {
                ended.push((call, Outcome::Failed { executed: error.executed, reason: error.reason.to_string() }));
            }
        }
        for (call, outcome) in ended {
            let started = open.remove(&call).expect("a call ends once");
            let micros = clock.now().saturating_duration_since(started.at).as_micros();
            reports.send(&Report::Ended { call: started.number, micros, outcome })?;
        }
        while next < options.calls && open.len() < options.in_flight && endpoint.free_calls() > 0 {
            let order = Order { id: OrderId { run: options.run, call: next }, amount: amount(next) };
            reports.send(&Report::Issued { call: next, amount: order.amount })?;
            let at = clock.now();
            let call = endpoint
                .call(at, DISPENSE, Semantics::AtMostOnce, DEADLINE, &order.encode())
                .expect("a free slot takes a call");
            open.insert(call, Started { number: next, at });
            next += 1;
        }
        port.transmit(&mut endpoint, clock.now())?;
        reports.status(endpoint.stats().retransmits, endpoint.is_idle() && open.is_empty())?;
        port.wait(&clock, endpoint.poll_timeout())?;
    }
}

struct Started {
    number: u32,
    at: Instant,
}

/// One to nine coins.
fn amount(call: u32) -> u16 {
    (call % 9 + 1) as u16
}
