//! What a search must have come by for its end to mean something.

use std::fmt;

use bowline::{CallError, Executed, Reason, SessionEnd};

/// Something that happens to somebody on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landmark {
    Succeeded,
    FailedNo,
    FailedMaybe,
    DeadlinePassed,
    Refused,
    PeerRestarted,
    PeerLost,
    PeerClosed,
    Orphaned,
    RanAgain,
    CancelCame,
    CancelCrossedReply,
    CrashedWithReply,
    OldFrame,
    Challenged,
    PacketNumberWrapped,
    SequenceWrapped,
    PortRefused,
}

impl Landmark {
    /// How a session ended for a node.
    pub const fn of_end(reason: SessionEnd) -> Option<Self> {
        match reason {
            SessionEnd::PeerRestarted => Some(Self::PeerRestarted),
            SessionEnd::PeerLost => Some(Self::PeerLost),
            SessionEnd::ClosedByPeer => Some(Self::PeerClosed),
            SessionEnd::Replaced | SessionEnd::Closed => None,
        }
    }

    /// How a call failed.
    pub fn of_failure(error: CallError) -> impl Iterator<Item = Self> {
        let told = match error.executed {
            Executed::No => Some(Self::FailedNo),
            Executed::Maybe => Some(Self::FailedMaybe),
            Executed::Yes => None,
        };
        let why = match error.reason {
            Reason::DeadlineExceeded => Some(Self::DeadlinePassed),
            Reason::Refused(_) => Some(Self::Refused),
            _ => None,
        };
        told.into_iter().chain(why)
    }
}

impl fmt::Display for Landmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Succeeded => "a call succeeds",
            Self::FailedNo => "a call ends with executed: no",
            Self::FailedMaybe => "a call ends with executed: maybe",
            Self::DeadlinePassed => "a call passes its deadline",
            Self::Refused => "a call is refused by the server",
            Self::PeerRestarted => "a node hears that its peer has restarted",
            Self::PeerLost => "a node loses its peer for longer than the lease",
            Self::PeerClosed => "a node hears that its peer has closed",
            Self::Orphaned => "a handler outlives its session",
            Self::RanAgain => "a repeatable call takes effect twice",
            Self::CancelCame => "a handler hears that its caller has given up",
            Self::CancelCrossedReply => "a call is given up that has taken effect",
            Self::CrashedWithReply => "a server crashes before its caller has the reply",
            Self::OldFrame => "a frame of another session comes to a node in a session",
            Self::Challenged => "a node in a session answers a HELLO with its own, and stays in the session",
            Self::PacketNumberWrapped => "the packet numbers that fit a byte begin anew within a session",
            Self::SequenceWrapped => "the sequences of a slot begin anew within a session",
            Self::PortRefused => "a port refuses a frame",
        })
    }
}

/// A set of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Landmarks(u32);

impl Landmarks {
    pub fn insert(&mut self, landmark: Landmark) {
        self.0 |= 1 << landmark as u32;
    }

    pub fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub fn contains(self, landmark: Landmark) -> bool {
        self.0 & 1 << landmark as u32 != 0
    }
}

impl Extend<Landmark> for Landmarks {
    fn extend<I: IntoIterator<Item = Landmark>>(&mut self, landmarks: I) {
        landmarks.into_iter().for_each(|landmark| self.insert(landmark));
    }
}
