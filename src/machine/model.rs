//! What the model checker (`tests/model/`) needs to see of a node, and what it need not tell apart.

use super::{LastFrame, Machine};
use crate::recovery::{Received, Sent};
use crate::rpc::{CallSlot, ReplySlot};
use crate::session::Owed;
use crate::stats::Stats;
use crate::storage::Storage;

impl Machine {
    pub(crate) fn session(&self) -> Option<(u32, bool)> {
        self.handshake.session().map(|session| (session.id, session.is_confirmed))
    }

    pub(crate) fn packets_sent(&self) -> u32 {
        self.sent.next().low
    }

    /// Counters go, and so does what lies in memory that is not in use. To be called when the port has taken the last
    /// frame.
    pub(crate) fn normalise<S: Storage>(&mut self, storage: &mut S) {
        self.stats = Stats::default();
        self.last = LastFrame::None;
        self.is_clamped = false;
        self.wake();
        // It slows repetitions down to the heartbeat; the model's probes are no faster.
        self.unanswered = 0;
        if self.handshake.session().is_none() {
            // A join begins with new ones.
            self.sent = Sent::new();
            self.received = Received::new();
        }
        let parts = storage.lent();
        self.sent.normalise(parts.sent);
        self.received.normalise();
        parts.calls.iter_mut().for_each(CallSlot::normalise);
        parts.replies.iter_mut().for_each(ReplySlot::normalise);
    }

    /// Takes away what a frame may leave behind that fails its check: the suspicion that the peer holds another
    /// session, and the HELLO that asks for it.
    pub(crate) fn forget_suspicion<S: Storage>(&mut self, storage: &mut S) {
        self.normalise(storage);
        self.suspect_since = None;
        self.credit = 0;
        self.owed = Owed::default();
    }
}
