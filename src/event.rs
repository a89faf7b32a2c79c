//! What a node tells its application, and how things fail.

use core::fmt;

use crate::rpc::{Call, RequestId};

/// Whether a request took effect, as far as anyone can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Executed {
    /// It did not and never will.
    No,
    /// It may have, or may still; this node cannot know.
    Maybe,
    /// It did, but its response is not to be had.
    Yes,
}

/// Why the peer did not execute a request, or has no response to it (`PROTOCOL.md §7.2`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Refusal {
    /// No room at the moment.
    Busy,
    /// The caller's time was over before the work began.
    Expired,
    /// No such endpoint.
    UnknownKey,
    /// The payload cannot be decoded.
    Malformed,
    /// Cancelled by the caller before it took effect.
    Cancelled,
    /// Executed, but the response is larger than a frame.
    ResponseTooLarge,
}

impl Refusal {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Busy => 0,
            Self::Expired => 1,
            Self::UnknownKey => 2,
            Self::Malformed => 3,
            Self::Cancelled => 4,
            Self::ResponseTooLarge => 5,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Expired,
            2 => Self::UnknownKey,
            3 => Self::Malformed,
            4 => Self::Cancelled,
            5 => Self::ResponseTooLarge,
            _ => Self::Busy,
        }
    }

    /// What the refusal says about the request's effect.
    pub const fn executed(self) -> Executed {
        match self {
            Self::ResponseTooLarge => Executed::Yes,
            _ => Executed::No,
        }
    }
}

/// Why a call has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Reason {
    /// The call's time was over and it was never sent: no peer was found, or no room on the line.
    Unreachable,
    /// The call's time was over.
    DeadlineExceeded,
    /// Cancelled by this node's application.
    Cancelled,
    /// The peer crashed and came back.
    PeerRestarted,
    /// The peer was silent for the whole lease.
    PeerLost,
    /// The peer gave up the session, though it did not restart.
    Replaced,
    /// One of the two sides closed the session.
    Closed,
    /// The peer accepts payloads of at most `limit` bytes.
    TooLarge {
        /// In bytes.
        limit: u16,
    },
    /// The peer refused.
    Refused(Refusal),
    /// The peer does not have the procedure: it was built from another declaration. Named by typed calls.
    SchemaMismatch,
    /// The response cannot be decoded as what was declared. Named by typed calls.
    MalformedResponse,
    /// All slots of this node are taken, and so many tasks wait for one that there is no place for another. Named by
    /// drivers.
    Full,
}

impl From<SendError> for CallError {
    /// What was not sent was not executed.
    fn from(error: SendError) -> Self {
        let reason = match error {
            SendError::Full => Reason::Full,
            SendError::TooLarge { limit } => Reason::TooLarge { limit },
            SendError::Closed => Reason::Closed,
        };
        Self { reason, executed: Executed::No }
    }
}

/// How a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CallError {
    /// Why there is no response.
    pub reason: Reason,
    /// Whether the request took effect.
    pub executed: Executed,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SessionEnd {
    /// The peer crashed and came back.
    PeerRestarted,
    /// The peer was silent for the whole lease.
    PeerLost,
    /// The peer gave up the session, though it did not restart: its lease ran out, or it evicted this node.
    Replaced,
    /// The peer closed it.
    ClosedByPeer,
    /// This node closed it.
    Closed,
}

impl SessionEnd {
    pub(crate) const fn reason(self) -> Reason {
        match self {
            Self::PeerRestarted => Reason::PeerRestarted,
            Self::PeerLost => Reason::PeerLost,
            Self::Replaced => Reason::Replaced,
            Self::ClosedByPeer | Self::Closed => Reason::Closed,
        }
    }
}

/// What `poll_event` reports. Events of the session come before those of its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// A session is up.
    Connected,
    /// The session has ended. A new one may already be up: then `Connected` follows.
    Disconnected {
        /// Why.
        reason: SessionEnd,
        /// Notifies that the peer may or may not have got. They are not sent again.
        notifies_unconfirmed: u32,
    },
    /// The peer speaks another version of the protocol.
    VersionRefused {
        /// Its version.
        version: u8,
    },
    /// A call has ended without a response. Each call ends once: with this, or with a response.
    CallFailed {
        /// The call.
        call: Call,
        /// How it failed.
        error: CallError,
    },
    /// The caller no longer waits. A handler that had no effect yet may stop and refuse with
    /// [`Refusal::Cancelled`]; any other answers as usual.
    CancelRequested {
        /// The request.
        request: RequestId,
    },
    /// The session of this request is over while its handler runs: nobody waits for the response. The slot stays
    /// taken, so that a repetition of the same call waits, until the handler has answered or was abandoned.
    Orphaned {
        /// The request.
        request: RequestId,
    },
}

/// Why a request or one-way message was not accepted. It is handed back by this: the payload was only borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SendError {
    /// Every slot is taken.
    Full,
    /// The payload is longer than `limit` bytes.
    TooLarge {
        /// In bytes.
        limit: u16,
    },
    /// This node was closed.
    Closed,
}

/// Why an answer was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RespondError {
    /// The request was answered before, or its session is over.
    Stale,
    /// The payload is longer than `limit` bytes. The request still waits: answer shorter, or refuse with
    /// [`Refusal::ResponseTooLarge`].
    TooLarge {
        /// In bytes.
        limit: u16,
    },
}

impl fmt::Display for Executed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::No => "no",
            Self::Maybe => "maybe",
            Self::Yes => "yes",
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "it is busy",
            Self::Expired => "the caller's time was over",
            Self::UnknownKey => "it has no such endpoint",
            Self::Malformed => "it cannot decode the payload",
            Self::Cancelled => "it was cancelled",
            Self::ResponseTooLarge => "the response does not fit a frame",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "the peer was not reached in time",
            Self::DeadlineExceeded => "no answer came in time",
            Self::Cancelled => "it was cancelled",
            Self::PeerRestarted => "the peer restarted",
            Self::PeerLost => "the peer fell silent",
            Self::Replaced => "the peer began a new session",
            Self::Closed => "the session was closed",
            Self::TooLarge { limit } => {
                return write!(f, "the peer takes at most {limit} bytes of payload");
            }
            Self::Refused(refusal) => return write!(f, "the peer refused: {refusal}"),
            Self::SchemaMismatch => "the peer was built from another declaration of it",
            Self::MalformedResponse => "the response cannot be decoded",
            Self::Full => "every slot is taken",
        })
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call failed because {} (executed: {})", self.reason, self.executed)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("not sent because every slot is taken"),
            Self::TooLarge { limit } => write!(f, "not sent because at most {limit} bytes of payload fit"),
            Self::Closed => f.write_str("not sent because this node was closed"),
        }
    }
}

impl fmt::Display for RespondError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale => f.write_str("not sent because the request no longer waits for an answer"),
            Self::TooLarge { limit } => write!(f, "not sent because at most {limit} bytes of payload fit"),
        }
    }
}

impl core::error::Error for CallError {}
impl core::error::Error for SendError {}
impl core::error::Error for RespondError {}

#[cfg(test)]
mod tests;
