//! What has really happened to each call, which no node can see, and whether what callers were told agrees with it.

use std::fmt;
use std::hash::{Hash, Hasher};

use bowline::{CallError, Executed, Reason, Semantics};

/// Calls that a scope can have.
pub const MAX_CALLS: usize = 6;
/// The calls that prove that the link has healed come after them, one from each side.
pub const PROOFS: [u8; 2] = [MAX_CALLS as u8, MAX_CALLS as u8 + 1];

/// A promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// Two nodes that have just booted do not find each other.
    NeverConnected,
    RanTwice,
    WrongReply,
    OkWithoutEffect,
    NoWithEffect,
    MaybeAlthoughKnown,
    OldFrameHadEffect,
    LiveSessionTornDown,
    EndedLate,
    Invariant,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NeverConnected => "two nodes that have just booted find each other",
            Self::RanTwice => "a request that must not run twice runs at most once",
            Self::WrongReply => "a reply reaches its own call, and each call ends once",
            Self::OkWithoutEffect => "ok: it has taken effect, once",
            Self::NoWithEffect => "executed: no: it has not taken effect and never will",
            Self::MaybeAlthoughKnown => "executed: maybe: nobody on the caller's side can know",
            Self::OldFrameHadEffect => "a frame of an earlier life or another session changes nothing",
            Self::LiveSessionTornDown => "a session that both hold outlasts every frame",
            Self::EndedLate => "every call ends by its deadline",
            Self::Invariant => "the invariants of every part hold",
        })
    }
}

/// What a caller was told in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Ok,
    Failed(Executed),
    /// The caller has crashed.
    NobodyAsks,
}

/// The truth about one call.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub struct Entry {
    outcome: Option<Outcome>,
    /// The session in which a port was given it last.
    sent_in: Option<u32>,
    /// Whether it was given to a port in another session before.
    was_sent_before: bool,
    /// The session in which it was last handed to the application that is to run it.
    run_in: Option<u32>,
    effects: u8,
}

/// The truth about all calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ledger {
    /// Those of calls that were not made are empty.
    entries: [Entry; MAX_CALLS + 2],
    /// Calls that were made, in the order of the scope.
    pub made: u8,
    pub broken: Option<Broken>,
}

/// What has really happened to a call.
#[derive(Clone, Copy, Debug)]
pub enum Fact {
    /// A port was given a frame with the call.
    Sent {
        id: u8,
        session: u32,
    },
    /// The application is to run it.
    Runs {
        id: u8,
        semantics: Semantics,
        session: u32,
    },
    TakesEffect(u8),
    /// Its caller got a reply, to the call `answered`.
    Succeeded {
        id: u8,
        answered: Option<u8>,
        semantics: Semantics,
    },
    Failed {
        id: u8,
        error: CallError,
        seen: Seen,
    },
    CallerCrashed(u8),
    Breaks(Broken),
}

/// What a caller has seen when a call fails.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub session: Option<u32>,
    /// Whether a frame has just come in the session that still goes on: only then there can be a word of the server.
    pub is_word: bool,
}

impl Hash for Ledger {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.entries[..usize::from(self.made)], self.broken).hash(state);
    }
}

impl Ledger {
    pub fn outcome(&self, id: u8) -> Option<Outcome> {
        self.entries[usize::from(id)].outcome
    }

    pub fn effects(&self, id: u8) -> u8 {
        self.entries[usize::from(id)].effects
    }

    pub fn note(&mut self, fact: Fact) {
        match fact {
            Fact::Sent { id, session } => self.sent(id, session),
            Fact::Runs { id, semantics, session } => self.runs(id, semantics, session),
            Fact::TakesEffect(id) => self.takes_effect(id),
            Fact::Succeeded { id, answered, semantics } => self.succeeded(id, answered, semantics),
            Fact::Failed { id, error, seen } => self.failed(id, error, seen),
            Fact::CallerCrashed(id) => self.ended(id, Outcome::NobodyAsks),
            Fact::Breaks(broken) => self.breaks(broken),
        }
    }

    /// Whether it is the second effect of a call.
    pub fn has_run_again(&self, fact: Fact) -> bool {
        matches!(fact, Fact::TakesEffect(id) if self.effects(id) == 2)
    }

    pub fn breaks(&mut self, broken: Broken) {
        self.broken.get_or_insert(broken);
    }

    fn sent(&mut self, id: u8, session: u32) {
        let entry = &mut self.entries[usize::from(id)];
        entry.was_sent_before |= entry.sent_in.is_some_and(|before| before != session);
        entry.sent_in = Some(session);
    }

    fn runs(&mut self, id: u8, semantics: Semantics, session: u32) {
        let entry = &mut self.entries[usize::from(id)];
        let ran = entry.run_in.replace(session);
        let may_run = match semantics {
            Semantics::AtMostOnce => ran.is_none(),
            Semantics::Idempotent => ran != Some(session),
        };
        if !may_run {
            self.breaks(Broken::RanTwice);
        }
    }

    fn takes_effect(&mut self, id: u8) {
        let entry = &mut self.entries[usize::from(id)];
        entry.effects = entry.effects.saturating_add(1);
        if entry.outcome == Some(Outcome::Failed(Executed::No)) {
            self.breaks(Broken::NoWithEffect);
        }
    }

    fn succeeded(&mut self, id: u8, answered: Option<u8>, semantics: Semantics) {
        if answered != Some(id) {
            self.breaks(Broken::WrongReply);
        }
        let effects = self.effects(id);
        if effects == 0 || semantics == Semantics::AtMostOnce && effects != 1 {
            self.breaks(Broken::OkWithoutEffect);
        }
        self.ended(id, Outcome::Ok);
    }

    fn failed(&mut self, id: u8, error: CallError, seen: Seen) {
        let entry = self.entries[usize::from(id)];
        let was_sent = entry.sent_in.is_some();
        let was_sent_elsewhere = was_sent && (entry.was_sent_before || entry.sent_in != seen.session);
        // Where both sides hold the session, the server's word is the truth, unless an earlier server has it as well.
        let is_known = !was_sent || seen.is_word && !was_sent_elsewhere;
        match error.executed {
            Executed::No if entry.effects > 0 => self.breaks(Broken::NoWithEffect),
            // True perhaps, but nobody could know.
            Executed::No if !is_known => self.breaks(Broken::NoWithEffect),
            Executed::Maybe if is_known => self.breaks(Broken::MaybeAlthoughKnown),
            Executed::Yes if entry.effects == 0 => self.breaks(Broken::OkWithoutEffect),
            _ => {}
        }
        if error.reason == Reason::Full {
            self.breaks(Broken::Invariant);
        }
        self.ended(id, Outcome::Failed(error.executed));
    }

    /// The number may be used again.
    pub fn forget(&mut self, id: u8) {
        self.entries[usize::from(id)] = Entry::default();
    }

    fn ended(&mut self, id: u8, outcome: Outcome) {
        if self.entries[usize::from(id)].outcome.replace(outcome).is_some() {
            self.breaks(Broken::WrongReply);
        }
    }
}
