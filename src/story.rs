//! What happens on a link, told as it happens to whoever reads along: through `defmt`, `log` and `tracing`, each behind
//! the feature of its name. Without any of them nothing of it is left in the program.
//!
//! What the application is told as an event has the level *info*, what goes wrong on the line and is mended *debug*,
//! each message that is sent again *trace*. The target is `bowline`.

use core::fmt;

use crate::event::{CallError, Refusal, SessionEnd};
use crate::recovery::MessageId;

/// One thing that has happened.
#[derive(Clone, Copy)]
pub(crate) enum Story {
    /// A session with the peer of this incarnation.
    SessionBegan {
        session: u32,
        peer: u32,
    },
    SessionEnded {
        session: u32,
        reason: SessionEnd,
    },
    VersionRefused {
        version: u8,
    },
    CallFailed {
        slot: u8,
        key: u16,
        error: CallError,
    },
    /// This node refused, by itself or because the payload could not be decoded.
    RequestRefused {
        slot: u8,
        sequence: u8,
        refusal: Refusal,
    },
    /// A one-way message that the interface does not have, or whose payload could not be decoded.
    #[cfg_attr(not(any(feature = "blocking", feature = "embedded-io-async", feature = "tokio")), expect(dead_code))]
    Undecodable {
        key: u16,
    },
    /// The timer sends again, counted since anything new was acknowledged.
    Probe {
        repetition: u8,
    },
    SentAgain {
        message: MessageId,
        packet: u32,
    },
    /// A frame of `len` bytes, check included, that cannot be read; as far as it has come if it is too long.
    FrameDropped {
        len: usize,
        because: Unreadable,
    },
    HelloDropped(Foreign),
    PacketDropped {
        packet: u32,
        because: Useless,
    },
}

/// Why a frame cannot be read.
#[derive(Clone, Copy)]
pub(crate) enum Unreadable {
    Overlong,
    BadStuffing,
    NotListening,
    TooShort,
    BadCheck,
    UnknownKind,
}

/// Why a HELLO or VERSION is of no use.
#[derive(Clone, Copy)]
pub(crate) enum Foreign {
    Malformed,
    OtherVersion,
    /// A VERSION that answers no HELLO of this node.
    NotAsked,
    OwnEcho,
}

/// Why a packet whose check is right is of no use.
#[derive(Clone, Copy)]
pub(crate) enum Useless {
    Malformed,
    Duplicate,
    TooOld,
}

/// Tells of it.
#[inline]
pub(crate) fn tell(story: Story) {
    match story {
        Story::SessionBegan { .. }
        | Story::SessionEnded { .. }
        | Story::VersionRefused { .. }
        | Story::CallFailed { .. } => info(story),
        Story::SentAgain { .. } => trace(story),
        Story::RequestRefused { .. }
        | Story::Undecodable { .. }
        | Story::Probe { .. }
        | Story::FrameDropped { .. }
        | Story::HelloDropped(_)
        | Story::PacketDropped { .. } => debug(story),
    }
}

// The three want their level as a constant.

#[inline]
fn info(story: Story) {
    #[cfg(feature = "defmt")]
    defmt::info!("{}", story);
    #[cfg(feature = "log")]
    log::info!(target: "bowline", "{story}");
    #[cfg(feature = "tracing")]
    tracing::info!(target: "bowline", "{story}");
    let _ = story;
}

#[inline]
fn debug(story: Story) {
    #[cfg(feature = "defmt")]
    defmt::debug!("{}", story);
    #[cfg(feature = "log")]
    log::debug!(target: "bowline", "{story}");
    #[cfg(feature = "tracing")]
    tracing::debug!(target: "bowline", "{story}");
    let _ = story;
}

#[inline]
fn trace(story: Story) {
    #[cfg(feature = "defmt")]
    defmt::trace!("{}", story);
    #[cfg(feature = "log")]
    log::trace!(target: "bowline", "{story}");
    #[cfg(feature = "tracing")]
    tracing::trace!(target: "bowline", "{story}");
    let _ = story;
}

/// The words, once for `core::write!` and once for `defmt::write!`, which keeps them out of the program's memory.
macro_rules! words {
    ($story:expr, $f:expr, $($write:tt)+) => {
        match $story {
            Story::SessionBegan { session, peer } => $($write)+!($f, "session {:08x} is up; peer {:08x}", session, peer),
            Story::SessionEnded { session, reason } => match reason {
                SessionEnd::PeerRestarted => $($write)+!($f, "peer restarted; session {:08x} ended", session),
                SessionEnd::PeerLost => $($write)+!($f, "peer fell silent; session {:08x} ended", session),
                SessionEnd::Replaced => $($write)+!($f, "peer began anew; session {:08x} ended", session),
                SessionEnd::ClosedByPeer => $($write)+!($f, "peer closed; session {:08x} ended", session),
                SessionEnd::Closed => $($write)+!($f, "this node closed; session {:08x} ended", session),
            },
            Story::VersionRefused { version } => $($write)+!($f, "peer speaks version {} of the protocol", version),
            Story::CallFailed { slot, key, error: CallError { reason, executed } } => {
                let (slot, key) = (slot, key);
                $($write)+!(
                    $f,
                    "call of key {:04x} in slot {} failed because {} (executed: {})",
                    key, slot, reason, executed
                )
            }
            Story::RequestRefused { slot, sequence, refusal } => {
                $($write)+!($f, "REQUEST {}.{} refused: {}", slot, sequence, refusal)
            }
            Story::Undecodable { key } => {
                $($write)+!($f, "one-way message of key {:04x} dropped: unknown or malformed", key)
            }
            Story::Probe { repetition } => {
                $($write)+!($f, "probe: no ack in time, repetition {} in a row", repetition)
            }
            Story::SentAgain { message, packet } => match message {
                MessageId::Ping => $($write)+!($f, "PING sent again in packet {}", packet),
                MessageId::Request { slot, sequence } => {
                    $($write)+!($f, "REQUEST {}.{} sent again in packet {}", slot, sequence, packet)
                }
                MessageId::Cancel { slot, sequence } => {
                    $($write)+!($f, "CANCEL {}.{} sent again in packet {}", slot, sequence, packet)
                }
                MessageId::Reply { slot, sequence } => {
                    $($write)+!($f, "reply {}.{} sent again in packet {}", slot, sequence, packet)
                }
                MessageId::Notify { sequence } => {
                    $($write)+!($f, "NOTIFY {} sent again in packet {}", sequence, packet)
                }
            },
            Story::FrameDropped { len, because } => match because {
                Unreadable::Overlong => $($write)+!($f, "frame of {} bytes or more dropped: too long", len),
                Unreadable::BadStuffing => $($write)+!($f, "frame of {} bytes dropped: its COBS is malformed", len),
                Unreadable::NotListening => {
                    $($write)+!($f, "frame of {} bytes dropped: this node is quiet or closed", len)
                }
                Unreadable::TooShort => $($write)+!($f, "frame of {} bytes dropped: too short", len),
                Unreadable::BadCheck => $($write)+!($f, "frame of {} bytes dropped: its check is wrong", len),
                Unreadable::UnknownKind => $($write)+!($f, "frame of {} bytes dropped: of no known kind", len),
            },
            Story::HelloDropped(because) => match because {
                Foreign::Malformed => $($write)+!($f, "HELLO or VERSION dropped: malformed"),
                Foreign::OtherVersion => $($write)+!($f, "HELLO dropped: of another version"),
                Foreign::NotAsked => $($write)+!($f, "VERSION dropped: it answers no HELLO of this node"),
                Foreign::OwnEcho => $($write)+!($f, "HELLO dropped: an echo of this node's own"),
            },
            Story::PacketDropped { packet, because } => match because {
                Useless::Malformed => $($write)+!($f, "packet {} dropped: malformed", packet),
                Useless::Duplicate => $($write)+!($f, "packet {} dropped: received before", packet),
                Useless::TooOld => $($write)+!($f, "packet {} dropped: too far behind", packet),
            },
        }
    };
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        words!(*self, f, write)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Story {
    fn format(&self, f: defmt::Formatter<'_>) {
        words!(*self, f, defmt::write)
    }
}
