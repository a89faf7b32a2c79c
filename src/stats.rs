//! Counters. They saturate and never wrap.

/// What a node has done and seen since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(bowline_model, derive(Hash))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Stats {
    /// Frames handed out to the port, but for those that it did not take.
    pub frames_sent: u32,
    /// Frames handed in. Each is accepted or counted once in [`Dropped`].
    pub frames_received: u32,
    /// Messages that were sent again, whether the port took the frame or not.
    pub retransmits: u32,
    /// Times that silence made the timer send again.
    pub probes: u32,
    /// Packets that carried only an ack.
    pub acks_sent: u32,
    /// HELLOs sent.
    pub hellos_sent: u32,
    /// Sessions entered.
    pub sessions: u32,
    /// Messages that came again and were not delivered again, and publishes that came late.
    pub duplicates: u32,
    /// Messages that had to be left for a retransmission: no room, or the slot is held by an orphan.
    pub deferred: u32,
    /// Frames dropped, by reason.
    pub dropped: Dropped,
}

/// Frames that were dropped, by reason: one each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(bowline_model, derive(Hash))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Dropped {
    /// Shorter than any packet.
    pub too_short: u32,
    /// The check failed: garbled, of another session, or a truncated number was restored wrongly.
    pub bad_check: u32,
    /// A packet kind that this version does not know.
    pub unknown_kind: u32,
    /// HELLO or VERSION of another protocol version.
    pub other_version: u32,
    /// A HELLO that is too short, or offers limits that no node may offer.
    pub bad_hello: u32,
    /// This node's own HELLO, come back.
    pub own_echo: u32,
    /// The check is right, yet the content breaks the protocol.
    pub malformed: u32,
    /// A packet that had been received before.
    pub duplicate: u32,
    /// A packet too far behind to know whether it had been received.
    pub too_old: u32,
    /// Came while the node was quiet after its boot, or closed.
    pub not_listening: u32,
}

impl Dropped {
    /// All of them.
    pub fn sum(&self) -> u32 {
        [
            self.too_short,
            self.bad_check,
            self.unknown_kind,
            self.other_version,
            self.bad_hello,
            self.own_echo,
            self.malformed,
            self.duplicate,
            self.too_old,
            self.not_listening,
        ]
        .iter()
        .fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// Counts one more.
#[cfg_attr(not(feature = "speed"), inline(never))]
pub(crate) fn count(counter: &mut u32) {
    *counter = counter.saturating_add(1);
}

/// Takes back one that was counted.
pub(crate) fn uncount(counter: &mut u32) {
    *counter = counter.saturating_sub(1);
}
