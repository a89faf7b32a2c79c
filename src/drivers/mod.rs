//! Drivers: what moves the bytes and tells the time. The state machine knows none of them.
//!
//! | module | feature | for |
//! |---|---|---|
//! | [`blocking`] | `blocking` | a loop that waits, over any [`blocking::Port`] |
//! | `uart` | `embedded-io` | such a port over `embedded-io` 0.7, with a clock closure or a delay |
//! | `rs485` | `rs485` | the same, half duplex, with a driver-enable pin |
//! | `host` | `net`, `serial` | such ports on an operating system: serial port, UDP, TCP, Unix socket |
//! | `udp_server` | `net` | one UDP socket that serves many clients |
//! | `embedded_async` | `embedded-io-async`, `embassy-time` | futures without an allocator or a certain executor |
//! | `tokio` | `tokio`, `tokio-serial` | a cloneable client that reconnects by itself |
//!
//! All of them report what happens as a [`LinkEvent`], try a port that fails again with growing pauses, and never spin.

#[cfg(any(feature = "embedded-io-async", feature = "tokio"))]
pub mod asynch;
#[cfg(feature = "blocking")]
pub mod blocking;
#[cfg(feature = "embedded-io-async")]
pub mod embedded_async;
#[cfg(any(feature = "net", feature = "serial"))]
pub mod host;
#[cfg(feature = "rs485")]
pub mod rs485;
#[cfg(feature = "tokio")]
pub mod tokio;
#[cfg(feature = "embedded-io")]
pub mod uart;
#[cfg(feature = "net")]
pub mod udp_server;

use crate::event::{Event, Refusal};
use crate::machine::Message;
use crate::rpc::RequestId;
use crate::story::{Story, tell};
use crate::time::{Duration, Instant};
use crate::typed::{Interface, Undecodable};

/// What a driver reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LinkEvent<E> {
    /// Something that the endpoint reports.
    Endpoint(Event),
    /// The port failed. It is tried again after a pause that grows from 1 ms to 1 s.
    PortFailed(E),
    /// The port works again.
    PortRestored,
}

/// Decodes a message and hands it on, or refuses it: the whole typed dispatch.
pub(crate) fn dispatch<'m, I: Interface>(
    message: Message<'m>,
    refuse: impl FnOnce(RequestId, Refusal),
) -> Option<I::Incoming<'m>> {
    match I::decode(message) {
        Ok(incoming) => return Some(incoming),
        Err(Undecodable::Request(id, refusal)) => refuse(id, refusal),
        Err(Undecodable::OneWay(key)) => tell(Story::Undecodable { key }),
        Err(Undecodable::Response) => {}
    }
    None
}

/// Whether a datagram was lost, and the socket is fine: nobody listened to an earlier one, there is no way or no room for
/// it, or, on Windows, one that came was too long.
#[cfg(any(feature = "net", feature = "tokio"))]
pub(crate) fn is_lost(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable};
    /// ENOBUFS, which macOS says when the way out is busy.
    const MACOS_NO_ROOM: i32 = 55;
    /// WSAEMSGSIZE.
    const WINDOWS_TOO_LONG: i32 = 10_040;
    let code = error.raw_os_error();
    matches!(error.kind(), ConnectionRefused | ConnectionReset | HostUnreachable | NetworkUnreachable)
        || cfg!(target_vendor = "apple") && code == Some(MACOS_NO_ROOM)
        || cfg!(windows) && code == Some(WINDOWS_TOO_LONG)
}

/// Whether a port works, and when to try it again.
///
/// The pause doubles with each failure up to a second, and is short again once the port has worked for as long: a port
/// that fails and works by turns is left alone as well.
#[derive(Debug)]
pub(crate) struct Outage {
    /// Since when it has worked; `None` while it does not.
    up_since: Option<Instant>,
    pause: Duration,
}

impl Outage {
    const MAX_PAUSE: Duration = Duration::from_secs(1);

    pub(crate) const fn new(now: Instant) -> Self {
        Self { up_since: Some(now), pause: Duration::from_millis(1) }
    }

    /// The port failed: until when to leave it alone, and whether that is news.
    pub(crate) fn failed(&mut self, now: Instant) -> (Instant, bool) {
        let since = self.up_since.take();
        if since.is_some_and(|since| now.saturating_duration_since(since) >= Self::MAX_PAUSE) {
            self.pause = Duration::from_millis(1);
        }
        let until = now + self.pause;
        self.pause = Self::MAX_PAUSE.min(Duration::from_micros(self.pause.as_micros().saturating_mul(2)));
        (until, since.is_some())
    }

    /// The port works; whether that is news.
    pub(crate) fn works(&mut self, now: Instant) -> bool {
        let is_news = self.up_since.is_none();
        self.up_since.get_or_insert(now);
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_fails_is_tried_less_and_less_often_and_reported_once() {
        let mut now = Instant::from_micros(0);
        let mut outage = Outage::new(now);
        let mut pauses = std::vec::Vec::new();
        for failure in 0..13 {
            let (until, is_news) = outage.failed(now);
            assert_eq!(is_news, failure == 0);
            pauses.push(until.saturating_duration_since(now).as_millis());
            now = until;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000, 1000]);
        assert!(outage.works(now));
        assert!(!outage.works(now));
    }

    #[test]
    fn a_port_that_works_for_moments_only_is_left_alone_as_well() {
        let mut now = Instant::from_micros(0);
        let mut outage = Outage::new(now);
        for _ in 0..20 {
            let (until, _) = outage.failed(now);
            outage.works(until);
            now = until + Duration::from_millis(10);
        }
        assert_eq!(outage.failed(now).0, now + Duration::from_secs(1));
        outage.works(now);
        now = now + Duration::from_secs(1);
        assert_eq!(outage.failed(now).0, now + Duration::from_millis(1));
    }
}
