//! What a node does depends on the node and on what happens to it, and on nothing else: so the shipped code need run
//! only once for each such pair, however many states they are part of.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use nohash_hasher::IntMap;
use smallvec::SmallVec;

use crate::canonical::hash_of;
use crate::frame::Frame;
use crate::input::{Input, Outside};
use crate::landmark::Landmarks;
use crate::ledger::{Broken, Fact};
use crate::node::{Memory, Node};
use crate::scope::Scope;

/// What came of it.
pub struct Effect<S> {
    pub node: Rc<Node<S>>,
    pub sent: SmallVec<[Rc<Frame>; 2]>,
    pub facts: SmallVec<[Fact; 1]>,
    pub landmarks: Landmarks,
    pub has_happened: bool,
}

/// As many effects are remembered; then all are forgotten. They take some hundred bytes each.
const MAX_EFFECTS: usize = 4_000_000;

/// The effects seen so far in a scope.
pub struct Memo<S> {
    pub scope: Scope,
    /// All that was passed on the way.
    pub landmarks: Landmarks,
    /// How often the shipped code has run.
    pub runs: u64,
    effects: IntMap<u64, Rc<Effect<S>>>,
    nodes: IntMap<u64, Rc<Node<S>>>,
    frames: IntMap<u64, Rc<Frame>>,
}

impl<S: Memory> Memo<S> {
    pub fn new(scope: Scope) -> Self {
        let (effects, nodes, frames) = (IntMap::default(), IntMap::default(), IntMap::default());
        Self { scope, landmarks: Landmarks::default(), runs: 0, effects, nodes, frames }
    }

    /// What comes of `input` to `node`.
    pub fn effect(&mut self, node: &Node<S>, input: Input<'_>) -> Rc<Effect<S>> {
        let key = hash_of((node.hash(), input));
        let effect = match self.effects.get(&key) {
            Some(effect) => Rc::clone(effect),
            None => self.remember(key, node, input),
        };
        self.landmarks.add(effect.landmarks);
        effect
    }

    fn remember(&mut self, key: u64, node: &Node<S>, input: Input<'_>) -> Rc<Effect<S>> {
        if self.effects.len() >= MAX_EFFECTS {
            self.effects.clear();
            self.nodes.clear();
            self.frames.clear();
        }
        self.runs += 1;
        let (mut next, mut outside) = (node.clone(), Outside::new(&self.scope));
        // An invariant that does not hold is a finding like any other.
        let has_happened = catch_unwind(AssertUnwindSafe(|| next.happen(input, &mut outside))).unwrap_or_else(|_| {
            next = node.clone();
            outside.facts.push(Fact::Breaks(Broken::Invariant));
            true
        });
        let Outside { sent, facts, landmarks, .. } = outside;
        let shared = |frame: Frame| Rc::clone(self.frames.entry(frame.hash).or_insert_with(|| Rc::new(frame)));
        let effect = Rc::new(Effect {
            node: Rc::clone(self.nodes.entry(next.hash()).or_insert_with(|| Rc::new(next))),
            sent: sent.into_iter().map(shared).collect(),
            facts: facts.into(),
            landmarks,
            has_happened,
        });
        self.effects.insert(key, Rc::clone(&effect));
        effect
    }
}
