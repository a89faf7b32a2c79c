//! Sessions: how two nodes prove to each other that they are alive now (`PROTOCOL.md §8`).

mod limiter;

pub(crate) use limiter::Limiter;

use crate::config::Incarnation;
use crate::event::SessionEnd;
use crate::story::{Story, tell};
use crate::wire::{End, Hello, Offer, Seed, session_id};

/// A node on the other side: who it says it is and what it offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(bowline_model, derive(Hash))]
pub(crate) struct Peer {
    pub(crate) end: End,
    pub(crate) offer: Offer,
}

/// What both sides share that have proven themselves to each other.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(bowline_model, derive(Hash))]
pub(crate) struct Session {
    /// The challenge of ours that made it.
    challenge: u32,
    pub(crate) peer: Peer,
    pub(crate) id: u32,
    pub(crate) send: Seed,
    pub(crate) receive: Seed,
    /// Whether a packet of the peer has come in it: then both hold it.
    pub(crate) is_confirmed: bool,
}

/// What is said without a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(bowline_model, derive(Hash))]
pub(crate) enum Answer {
    /// Repeats what made the session, for a peer that has not entered it yet.
    Session,
    /// Shows the outstanding challenge.
    Challenge,
    /// A VERSION, for a peer that speaks another one.
    Version,
}

/// The answers that are owed, one of each kind at most.
///
/// They are kept apart and take turns: where either kind crowded the other out, a peer that holds an old session
/// would go on holding it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(bowline_model, derive(Hash))]
pub(crate) struct Owed {
    session: bool,
    challenge: bool,
    version: bool,
    /// Whether a session HELLO was the last one sent.
    was_session: bool,
}

impl Owed {
    pub(crate) fn add(&mut self, answer: Answer) {
        *self.flag(answer) = true;
    }

    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn settle(&mut self, answer: Answer) {
        *self.flag(answer) = false;
    }

    /// The answer goes out.
    pub(crate) fn sent(&mut self, answer: Answer) {
        self.settle(answer);
        self.was_session = answer == Answer::Session;
    }

    /// The one to send first.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) const fn next(self) -> Option<Answer> {
        if self.session && !(self.challenge && self.was_session) {
            Some(Answer::Session)
        } else if self.challenge {
            Some(Answer::Challenge)
        } else if self.version {
            Some(Answer::Version)
        } else {
            None
        }
    }

    #[cfg_attr(feature = "speed", inline)]
    fn flag(&mut self, answer: Answer) -> &mut bool {
        match answer {
            Answer::Session => &mut self.session,
            Answer::Challenge => &mut self.challenge,
            Answer::Version => &mut self.version,
        }
    }
}

/// What a HELLO leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The peer holds the session that this node holds.
    Known,
    /// Nothing changed but that an answer is owed.
    Owed(Answer),
    /// The peer has proven itself: a new session.
    Joined { ended: Option<SessionEnd>, owed: Option<Answer> },
}

/// The handshake's state: exactly one outstanding challenge, the latest unproven peer, the session.
#[derive(Debug)]
#[cfg_attr(bowline_model, derive(Clone, Hash))]
pub(crate) struct Handshake {
    incarnation: u32,
    challenge_seed: u32,
    /// Challenges drawn so far.
    drawn: u32,
    /// The outstanding challenge, the same in every HELLO until a join spends it (`PROTOCOL.md §8.2`).
    next: u32,
    unproven: Option<Peer>,
    session: Option<Session>,
}

impl Handshake {
    pub(crate) fn new(incarnation: &Incarnation) -> Self {
        let mut handshake = Self {
            incarnation: incarnation.number,
            challenge_seed: incarnation.challenge_seed,
            drawn: 0,
            next: 0,
            unproven: None,
            session: None,
        };
        handshake.draw();
        handshake
    }

    pub(crate) const fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Handles a HELLO of the peer: the table of `PROTOCOL.md §8.3`, first row that fits.
    pub(crate) fn handle_hello(&mut self, hello: &Hello) -> Verdict {
        if let Some(session) = &self.session {
            if hello.session == Some(session.id) {
                return Verdict::Known;
            }
            // The peer as it was before it entered this session. Without entropy it may as well be a new life of
            // it.
            if hello.from == session.peer.end && hello.from.incarnation != 0 {
                return Verdict::Owed(Answer::Session);
            }
        }
        let peer = Peer { end: hello.from, offer: hello.offer };
        if hello.echo == Some(self.next) {
            let (ended, id) = self.join(peer);
            // A peer without entropy learns of the session from a packet in it.
            let is_owed = hello.session != Some(id) && peer.end.incarnation != 0;
            return Verdict::Joined { ended, owed: is_owed.then_some(Answer::Session) };
        }
        self.unproven = Some(peer);
        Verdict::Owed(Answer::Challenge)
    }

    /// Whether a HELLO is this node's own, come back.
    pub(crate) fn is_own(&self, hello: &Hello) -> bool {
        let is_ours = |challenge: u32| hello.from.challenge == challenge;
        hello.from.incarnation == self.incarnation
            && (is_ours(self.next) || self.session.is_some_and(|session| is_ours(session.challenge)))
    }

    /// Whether `challenge` is the one that this node shows in its HELLOs.
    pub(crate) fn is_outstanding(&self, challenge: u32) -> bool {
        challenge == self.next
            || self.session.is_some_and(|session| !session.is_confirmed && challenge == session.challenge)
    }

    /// The HELLO to say unasked.
    ///
    /// A session HELLO brings a peer into the session that has not entered it. It must not reach a later life of a
    /// peer whose challenges repeat: that would enter the session of its earlier life, and run its calls again.
    pub(crate) fn greeting(&self) -> Answer {
        match &self.session {
            Some(session) if session.peer.end.incarnation != 0 => Answer::Session,
            _ => Answer::Challenge,
        }
    }

    /// The seed of packets from the unproven peer, if it has entered the session of both outstanding challenges.
    pub(crate) fn candidate(&self) -> Option<Seed> {
        self.unproven.map(|peer| Seed::new(peer.end, self.own()))
    }

    /// A packet has come under [`Self::candidate`]: enters that session.
    pub(crate) fn join_candidate(&mut self) -> Option<SessionEnd> {
        let peer = self.unproven?;
        self.join(peer).0
    }

    /// A packet has come in the session. From now on an answer to an earlier HELLO proves nothing any more.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn confirm(&mut self) {
        if let Some(session) = self.session.as_mut().filter(|session| !session.is_confirmed) {
            session.is_confirmed = true;
            self.unproven = None;
            self.draw();
        }
    }

    /// Leaves the session, if there is one.
    pub(crate) fn leave(&mut self) {
        self.session = None;
        self.draw();
    }

    /// The HELLO to send as `answer`.
    pub(crate) fn hello(&self, answer: Answer, offer: Offer) -> Hello {
        let session = self.session.as_ref();
        match (answer, session) {
            (Answer::Session, Some(session)) => {
                let from = End { incarnation: self.incarnation, challenge: session.challenge };
                Hello { from, echo: Some(session.peer.end.challenge), session: Some(session.id), offer }
            }
            _ => Hello {
                from: self.own(),
                echo: self.unproven.map(|peer| peer.end.challenge),
                session: session.map(|session| session.id),
                offer,
            },
        }
    }

    fn own(&self) -> End {
        End { incarnation: self.incarnation, challenge: self.next }
    }

    /// Enters the session with `peer` and spends the challenge; says how the one before ended.
    fn join(&mut self, peer: Peer) -> (Option<SessionEnd>, u32) {
        let own = self.own();
        let ended = self.session.map(|before| {
            let is_same_life = before.peer.end.incarnation == peer.end.incarnation && peer.end.incarnation != 0;
            let reason = if is_same_life { SessionEnd::Replaced } else { SessionEnd::PeerRestarted };
            tell(Story::SessionEnded { session: before.id, reason });
            reason
        });
        let id = session_id(own, peer.end);
        self.session = Some(Session {
            challenge: own.challenge,
            peer,
            id,
            send: Seed::new(own, peer.end),
            receive: Seed::new(peer.end, own),
            is_confirmed: false,
        });
        self.unproven = None;
        self.draw();
        (ended, id)
    }

    /// Invariants: the session is what its two challenges make it, and its own one is spent.
    pub(crate) fn check_invariants(&self) {
        if cfg!(debug_assertions) {
            debug_assert_eq!(self.next, mix(self.challenge_seed.wrapping_add(self.drawn.wrapping_sub(1))));
            if let Some(session) = &self.session {
                let own = End { incarnation: self.incarnation, challenge: session.challenge };
                debug_assert_ne!(session.challenge, self.next);
                debug_assert_eq!(session.id, session_id(own, session.peer.end));
                debug_assert_eq!(session.send, Seed::new(own, session.peer.end));
                debug_assert_eq!(session.receive, Seed::new(session.peer.end, own));
            }
        }
    }

    /// Draws the next challenge. No two of a life are equal: the mixing is a permutation.
    fn draw(&mut self) {
        self.next = mix(self.challenge_seed.wrapping_add(self.drawn));
        self.drawn = self.drawn.wrapping_add(1);
    }
}

/// A permutation of 32-bit numbers that looks random: the finaliser of MurmurHash3 (Appleby, public domain).
pub(crate) const fn mix(number: u32) -> u32 {
    let number = (number ^ (number >> 16)).wrapping_mul(0x85EB_CA6B);
    let number = (number ^ (number >> 13)).wrapping_mul(0xC2B2_AE35);
    number ^ (number >> 16)
}

#[cfg(test)]
mod tests;
