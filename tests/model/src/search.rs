//! Walks through all states of a scope, depth-first. Of a state that was seen a hash of 64 bits is kept, and no more.

use std::time::{Duration, Instant};

use nohash_hasher::IntSet;

use crate::healing::{Healing, Ill};
use crate::ledger::Broken;
use crate::memo::Memo;
use crate::node::Memory;
use crate::scope::Scope;
use crate::state::{Action, State};

/// How a search ended.
pub enum End<S> {
    /// All states were seen, and none breaks a promise.
    Complete,
    /// Its time was over, or its memory full.
    Cut,
    Found(Finding<S>),
}

/// How a promise was broken.
pub struct Finding<S> {
    /// States, and what led to each; nothing led to the first.
    pub path: Vec<(Option<Action>, State<S>)>,
    pub why: Why,
}

#[derive(Clone, Copy, Debug)]
pub enum Why {
    Broken(Broken),
    /// The last state does not heal.
    Ill(Ill),
}

/// A state on the way to the present one.
struct Level<S> {
    state: State<S>,
    /// What led to it.
    by: Option<Action>,
    /// How many of the actions that are still to be tried are those of states before it.
    below: usize,
}

pub struct Search<S> {
    pub memo: Memo<S>,
    pub healing: Healing<S>,
    seen: IntSet<u64>,
    path: Vec<Level<S>>,
    /// What is still to be tried in the states on the path.
    actions: Vec<Action>,
    pub steps: u64,
    pub depth: usize,
}

/// Steps between looks at the clock.
const STRIDE: u64 = 1 << 16;

/// With so many states the set of their hashes is full, and would double next: 8 GB should be enough up to here, with
/// all that is remembered besides.
const MAX_STATES: usize = (1 << 28) / 8 * 7 - STRIDE as usize;

impl<S: Memory> Search<S> {
    pub fn new(scope: Scope) -> Self {
        Self {
            healing: Healing::new(&scope),
            memo: Memo::new(scope),
            seen: IntSet::default(),
            path: Vec::new(),
            actions: Vec::new(),
            steps: 0,
            depth: 0,
        }
    }

    pub fn states(&self) -> usize {
        self.seen.len()
    }

    /// Searches all, or as much as `limit` allows. `tell` is called now and then.
    pub fn run(&mut self, limit: Option<Duration>, mut tell: impl FnMut(&Self)) -> End<S> {
        let begin = Instant::now();
        let start = State::start(&mut self.healing);
        let mut found = self.visit(start, None);
        loop {
            if let Some(why) = found {
                let path = self.path.drain(..).map(|level| (level.by, level.state)).collect();
                return End::Found(Finding { path, why });
            }
            let Some(last) = self.path.last() else { return End::Complete };
            let Some(action) = (self.actions.len() > last.below).then(|| self.actions.pop()).flatten() else {
                self.path.pop();
                continue;
            };
            let Some(next) = last.state.after(&mut self.memo, action) else { continue };
            found = self.visit(next, Some(action));
            if self.steps.is_multiple_of(STRIDE) {
                tell(self);
                if self.states() > MAX_STATES || limit.is_some_and(|limit| begin.elapsed() >= limit) {
                    return End::Cut;
                }
            }
        }
    }

    /// A step has led to `state`. It is on the path afterwards if it is new.
    fn visit(&mut self, state: State<S>, by: Option<Action>) -> Option<Why> {
        self.steps += 1;
        if !self.seen.insert(state.fingerprint()) {
            return None;
        }
        let why = self.judge(&state);
        let below = self.actions.len();
        state.actions(&self.memo.scope, &mut self.actions);
        self.path.push(Level { state, by, below });
        self.depth = self.depth.max(self.path.len());
        why
    }

    fn judge(&mut self, state: &State<S>) -> Option<Why> {
        if let Some(broken) = state.ledger.broken {
            return Some(Why::Broken(broken));
        }
        self.healing.check(state).err().map(Why::Ill)
    }
}
