//! The device: a dispenser that writes every effect to its ledger and may be killed at any moment.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use bowline::{Buffers, Endpoint, Event, Instant, Message, Refusal, RequestId};

use crate::dispenser::{DISPENSE, MAX_IN_FLIGHT, MOTOR, Order, OrderId, PAYLOAD, SENT, config};
use crate::ledger;
use crate::port::{Clock, Port, unbuffered};
use crate::reports::Reporter;

/// What the command line of the device process says.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    pub udp: bool,
    /// Dispense some orders twice: to see that the audit finds it.
    pub break_promise: bool,
}

/// Serves until the parent is gone (or, more often, until it kills us).
pub fn run(options: &Options) -> io::Result<()> {
    let clock = Clock::start();
    let mut port = Port::open(options.udp)?;
    let mut reports = Reporter::open()?;
    let mut dispenser = Dispenser::open(options.break_promise)?;
    let storage = Buffers::<PAYLOAD, 1, MAX_IN_FLIGHT, 1, 1, 0, SENT>::new();
    let mut endpoint = Endpoint::new(clock.now(), config()?, storage);
    loop {
        let now = clock.now();
        port.receive(|frame| {
            let mut messages = endpoint.handle_frame(now, frame);
            while let Some(message) = messages.next(&mut endpoint) {
                let Message::Request { id, key, payload, .. } = message else { continue };
                match Order::decode(payload) {
                    Some(order) if key == DISPENSE => dispenser.dispense(now, id, order),
                    Some(_) => _ = endpoint.refuse(now, id, Refusal::UnknownKey),
                    None => _ = endpoint.refuse(now, id, Refusal::Malformed),
                }
            }
        })?;
        while let Some(event) = endpoint.poll_event() {
            if let Event::Orphaned { request } = event {
                dispenser.forget(request);
                endpoint.abandon(request);
            }
        }
        while let Some((request, order)) = dispenser.finished(now) {
            // Stale at worst: then the caller is gone, and has been told "maybe".
            _ = endpoint.respond(now, request, &order.encode());
        }
        endpoint.handle_timeout(now);
        port.transmit(&mut endpoint, now)?;
        reports.status(endpoint.stats().retransmits, endpoint.is_idle() && dispenser.is_idle())?;
        port.wait(&clock, [endpoint.poll_timeout(), dispenser.next_stop()].into_iter().flatten().min())?;
    }
}

/// The machine behind the endpoint.
struct Dispenser {
    ledger: File,
    /// Motors that run, the first to stop in front.
    running: VecDeque<(Instant, RequestId, OrderId)>,
    break_promise: bool,
    dispensed: u32,
}

impl Dispenser {
    /// Standard output is the ledger, opened for appending.
    fn open(break_promise: bool) -> io::Result<Self> {
        let ledger = unbuffered(io::stdout().as_fd())?;
        Ok(Self { ledger, running: VecDeque::new(), break_promise, dispensed: 0 })
    }

    /// The effect, and its line in the ledger: one write, which a kill can neither lose nor tear. The answer comes later.
    fn dispense(&mut self, now: Instant, request: RequestId, order: Order) {
        self.dispensed += 1;
        let times = if self.break_promise && self.dispensed.is_multiple_of(10) { 2 } else { 1 };
        for _ in 0..times {
            self.ledger.write_all(ledger::line(order).as_bytes()).expect("the ledger takes a line");
        }
        self.running.push_back((now + MOTOR, request, order.id));
    }

    /// The next order whose motor has stopped.
    fn finished(&mut self, now: Instant) -> Option<(RequestId, OrderId)> {
        let &(stop, request, order) = self.running.front()?;
        (stop <= now).then(|| {
            self.running.pop_front();
            (request, order)
        })
    }

    fn next_stop(&self) -> Option<Instant> {
        self.running.front().map(|&(stop, ..)| stop)
    }

    fn forget(&mut self, request: RequestId) {
        self.running.retain(|&(_, running, _)| running != request);
    }

    fn is_idle(&self) -> bool {
        self.running.is_empty()
    }
}
