//! What a protocol has to offer to be measured.

use super::Nanos;

/// One end of a link. The first of two sends or calls; the second takes what is sent, and answers each call at once
/// with its payload.
pub trait Node {
    /// Whether work can begin.
    fn is_connected(&self) -> bool;

    /// Sends a message, or calls, depending on the load; false if no more are taken now.
    fn send(&mut self, now: Nanos, payload: &[u8]) -> bool;

    /// Bytes of one frame have come. `deliver` takes what was sent, at the second node; responses, at the first.
    fn handle(&mut self, now: Nanos, frame: &[u8], deliver: &mut dyn FnMut(&[u8]));

    /// Time has passed.
    fn handle_timeout(&mut self, now: Nanos);

    /// Appends the next frame, as it stands on the wire, to `frame`, which is empty; false if there is none.
    fn poll_transmit(&mut self, now: Nanos, frame: &mut Vec<u8>) -> bool;

    /// When to call [`Self::handle_timeout`].
    fn poll_timeout(&mut self) -> Option<Nanos>;

    /// Whether messages arrive in the order in which they were sent.
    fn is_ordered(&self) -> bool {
        true
    }

    /// What the node counted, to be printed when someone asks why.
    fn notes(&self) -> String {
        String::new()
    }
}
