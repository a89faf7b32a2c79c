//! What must hold after every turn of the driver's loop.

use bowline::{Instant, Stats, wire};

use super::super::context::At;
use super::super::frame::is_of_session;
use super::super::world::Shared;
use super::Driver;

/// What came of a frame that was fed in.
pub(super) struct Fed {
    pub before: Stats,
    pub after: Stats,
    /// Messages that the application has got.
    pub taken: u32,
    /// The application has taken all that it was offered.
    pub is_whole: bool,
}

impl Driver {
    /// The replay window (`PROTOCOL.md §5.2`): a packet that was accepted once is dropped when it comes again, and says nothing
    /// to the application.
    pub(super) fn check_acceptance(&mut self, frame: Vec<u8>, fed: Fed, shared: &mut Shared) {
        let drops = fed.after.dropped.sum() - fed.before.dropped.sum();
        let deferred = fed.after.deferred - fed.before.deferred;
        shared.ledger.tally.deferred += deferred;
        if self.accepted.contains(&frame) {
            shared.ledger.tally.again += 1;
            if drops == 0 || fed.taken > 0 {
                let what = wire::describe(&frame);
                shared
                    .ledger
                    .broken(format!("{what} was accepted twice, {} of its messages were delivered again", fed.taken));
            }
        } else if is_of_session(&frame) && drops == 0 && deferred == 0 && fed.is_whole {
            self.accepted.insert(frame);
        }
    }

    /// A frame that comes alone, to a node that owes nothing for earlier ones, draws one answer at most.
    pub(super) fn check_reflexes(&mut self, is_alone: bool, reflexes: u32, shared: &mut Shared) {
        let round_trip = self.endpoint.round_trip().map_or(0, |time| time.as_micros()).max(self.initial_round_trip);
        // Its HELLOs may be held back by 10 ms each.
        // By its own clock, which may have stood still since.
        let is_quiet = self.told - self.fed_at > 4 * round_trip + 100_000 && self.retry_at.is_none();
        self.fed_at = self.told;
        if is_alone && is_quiet && reflexes > 1 {
            shared.ledger.broken(format!("one frame drew {reflexes} bare acks and HELLOs at once"));
        }
    }

    pub(super) fn check(&mut self, at: At, shared: &mut Shared) {
        let due = self.endpoint.poll_timeout().map(Instant::as_micros);
        if self.retry_at.is_none() && due.is_some_and(|due| due <= self.told) {
            shared.ledger.broken(format!("the node has nothing to do and asks to be driven again at once, at {due:?}"));
        }
        let Stats { frames_sent, acks_sent, hellos_sent, .. } = *self.endpoint.stats();
        let (taken, counted) =
            ([self.taken, self.acks_taken, self.hellos_taken], [frames_sent, acks_sent, hellos_sent]);
        if counted != taken {
            shared
                .ledger
                .broken(format!("{taken:?} frames, acks and HELLOs were taken, {counted:?} are counted as sent"));
        }
        if self.acks_taken > self.frames_fed {
            shared.ledger.broken(format!("{} frames drew {} bare acks", self.frames_fed, self.acks_taken));
        }
        let (endpoint, client, _, mut cx) = self.parts(at, shared);
        if endpoint.is_connected() != client.is_connected {
            cx.ledger.broken(format!("connected: {}, but the events say otherwise", endpoint.is_connected()));
        }
        client.check_deadlines(due, &mut cx);
    }

    /// Nothing is left to do, in the eyes of the endpoint and of the application.
    pub fn is_settled(&mut self, slots: usize) -> bool {
        self.endpoint.is_connected()
            && self.endpoint.is_idle()
            && self.endpoint.free_calls() == slots
            && self.client.is_idle()
            && self.server.is_idle()
    }

    /// For the report of a run that does not settle.
    pub fn state(&mut self) -> String {
        let (connected, idle, free) =
            (self.endpoint.is_connected(), self.endpoint.is_idle(), self.endpoint.free_calls());
        let (calls, handlers) = (!self.client.is_idle(), !self.server.is_idle());
        format!("connected: {connected}, idle: {idle}, {free} free, open calls: {calls}, running handlers: {handlers}")
    }
}
