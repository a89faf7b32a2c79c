//! Both ends, the frames under way, the truth, and what may still happen: a state, and its successors.

use std::rc::Rc;

use crate::canonical::hash_of;
use crate::frame::{Frame, Network};
use crate::healing::Healing;
use crate::input::Input;
use crate::landmark::Landmark;
use crate::ledger::{Broken, Ledger};
use crate::memo::Memo;
use crate::node::{LEASE, Memory, Node, TICK};
use crate::scope::{Bounds, Scope, Side};

/// Far from the origin, where all that never happened seems long ago.
const START: u64 = 1_000_000_000;

pub struct State<S> {
    pub nodes: [Rc<Node<S>>; 2],
    pub towards: [Network; 2],
    pub ledger: Ledger,
    pub left: Bounds,
    hash: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Call,
    Cancel(Side, usize),
    Deliver(Side, usize),
    Remember(Side, usize),
    Tick(Side),
    Sleep(Side),
    Crash(Side),
    Finish(Side, usize),
    GiveUp(Side, usize),
    Transmit(Side),
    Reject(Side),
    Close(Side),
    Open(Side),
}

impl<S: Memory> State<S> {
    /// What the search begins with; nothing goes wrong before.
    pub fn start(healing: &mut Healing<S>) -> Self {
        let scope = healing.calm.scope.clone();
        let boot = |side| Rc::new(Node::boot(&scope, side, 1, START));
        let mut state = Self {
            nodes: [boot(Side::A), boot(Side::B)],
            towards: Default::default(),
            ledger: Ledger::default(),
            left: scope.bounds,
            hash: 0,
        };
        for _ in 0..scope.calls_before {
            if healing.heal(&mut state).is_err() {
                state.ledger.breaks(Broken::NeverConnected);
            }
        }
        if scope.calls_before == 0 {
            for side in Side::BOTH {
                state.on(&mut healing.calm, side, Input::Wait(0));
            }
        }
        state.rehash();
        state
    }

    pub fn node(&self, side: Side) -> &Node<S> {
        &self.nodes[side as usize]
    }

    /// Lets something happen to the node of `side`, and sends what goes out; `false` if it cannot happen.
    pub fn on(&mut self, memo: &mut Memo<S>, side: Side, input: Input<'_>) -> bool {
        let effect = memo.effect(self.node(side), input);
        self.nodes[side as usize] = Rc::clone(&effect.node);
        for frame in &effect.sent {
            self.towards[side.other() as usize].send(Rc::clone(frame), memo.scope.reach);
        }
        for fact in &effect.facts {
            self.ledger.note(*fact);
            if self.ledger.has_run_again(*fact) {
                memo.landmarks.insert(Landmark::RanAgain);
            }
        }
        effect.has_happened
    }

    /// A frame comes. A session that both sides hold must outlast it, unless its end is what the frame says.
    pub fn deliver(&mut self, memo: &mut Memo<S>, to: Side, frame: &Frame) {
        let shared = self.shared(&memo.scope);
        self.on(memo, to, Input::Deliver(frame));
        let is_torn = shared.is_some() && self.node(to).session_id() != shared;
        if is_torn && !(memo.scope.bounds.closes > 0 && frame.session == shared) {
            self.ledger.breaks(Broken::LiveSessionTornDown);
        }
    }

    /// The session that both sides hold. One with a node without entropy may be lost to an answer from before the join
    /// as long as a side does not know that the other holds it: that costs a new session, and no promise.
    fn shared(&self, scope: &Scope) -> Option<u32> {
        let [a, b] = Side::BOTH.map(|side| self.node(side).session());
        let ((id, a_knows), (other, b_knows)) = (a?, b?);
        let is_certain = scope.without_entropy.is_none() || a_knows && b_knows;
        (id == other && is_certain).then_some(id)
    }

    /// What may happen next.
    pub fn actions(&self, scope: &Scope, actions: &mut Vec<Action>) {
        if self.ledger.broken.is_some() {
            return;
        }
        let left = &self.left;
        for side in Side::BOTH {
            let (at, node) = (side as usize, self.node(side));
            actions.extend((0..self.towards[at].len()).map(|index| Action::Deliver(side, index)));
            if scope.is_lazy {
                actions.push(Action::Transmit(side));
                actions.extend((left.rejects > 0).then_some(Action::Reject(side)));
            }
            for (index, run) in node.runs.iter().enumerate() {
                actions.push(Action::Finish(side, index));
                if run.is_orphan || run.is_cancelled || left.refusals > 0 {
                    actions.push(Action::GiveUp(side, index));
                }
            }
            if left.cancels > 0 {
                actions.extend((0..node.waiting.len()).map(|index| Action::Cancel(side, index)));
            }
            if left.memories[at] > 0 {
                actions.extend(self.towards[at].forgettable().map(|index| Action::Remember(side, index)));
            }
            actions.extend((left.ticks[at] > 0).then_some(Action::Tick(side)));
            actions.extend((left.sleeps[at] > 0).then_some(Action::Sleep(side)));
            actions.extend((left.crashes[at] > 0).then_some(Action::Crash(side)));
            actions.extend((left.closes > 0 && !node.is_closed).then_some(Action::Close(side)));
            actions.extend(node.is_closed.then_some(Action::Open(side)));
        }
        actions.extend((usize::from(self.ledger.made) < scope.calls.len()).then_some(Action::Call));
    }

    /// The state that `action` leads to, if it can happen.
    pub fn after(&self, memo: &mut Memo<S>, action: Action) -> Option<Self> {
        let mut next = self.clone();
        next.apply(memo, action).then(|| {
            next.rehash();
            next
        })
    }

    fn apply(&mut self, memo: &mut Memo<S>, action: Action) -> bool {
        match action {
            Action::Call => {
                let id = self.ledger.made;
                let (side, _) = memo.scope.calls[usize::from(id)];
                self.ledger.made += 1;
                self.on(memo, side, Input::Call(id))
            }
            Action::Cancel(side, index) => {
                self.left.cancels -= 1;
                if self.ledger.effects(self.node(side).waiting[index].id) > 0 {
                    memo.landmarks.insert(Landmark::CancelCrossedReply);
                }
                self.on(memo, side, Input::Cancel(index))
            }
            Action::Deliver(to, index) => {
                let Some(frame) = self.towards[to as usize].get(index).cloned() else { return false };
                self.deliver(memo, to, &frame);
                true
            }
            Action::Remember(to, index) => {
                self.left.memories[to as usize] -= 1;
                self.towards[to as usize].remember(index);
                true
            }
            Action::Tick(side) => {
                self.left.ticks[side as usize] -= 1;
                self.on(memo, side, Input::Wait(TICK))
            }
            Action::Sleep(side) => {
                self.left.sleeps[side as usize] -= 1;
                self.on(memo, side, Input::Wait(LEASE + TICK))
            }
            Action::Crash(side) => {
                self.left.crashes[side as usize] -= 1;
                self.crash(memo, side)
            }
            Action::Finish(side, index) => self.on(memo, side, Input::Finish(index)),
            Action::GiveUp(side, index) => {
                let run = &self.node(side).runs[index];
                if !run.is_orphan && !run.is_cancelled {
                    self.left.refusals -= 1;
                }
                self.on(memo, side, Input::GiveUp(index))
            }
            Action::Transmit(side) => self.on(memo, side, Input::Transmit { is_taken: true }),
            Action::Reject(side) => {
                self.left.rejects -= 1;
                self.on(memo, side, Input::Transmit { is_taken: false })
            }
            Action::Close(side) => {
                self.left.closes -= 1;
                self.on(memo, side, Input::Close)
            }
            Action::Open(side) => self.on(memo, side, Input::Open),
        }
    }

    fn crash(&mut self, memo: &mut Memo<S>, side: Side) -> bool {
        let callers = self.node(side.other()).waiting.iter();
        if callers.filter(|waiting| self.ledger.effects(waiting.id) > 0).count() > 0 {
            memo.landmarks.insert(Landmark::CrashedWithReply);
        }
        if memo.scope.without_entropy == Some(side) {
            self.towards.iter_mut().for_each(Network::clear);
        }
        self.on(memo, side, Input::Crash)
    }

    fn rehash(&mut self) {
        self.hash = hash_of((self.nodes_and_ledger(), &self.towards, &self.left));
    }

    pub fn fingerprint(&self) -> u64 {
        self.hash
    }

    /// A hash of all but the frames under way and what may still go wrong.
    pub fn nodes_and_ledger(&self) -> u64 {
        hash_of((self.nodes(), &self.ledger))
    }

    /// A hash of the nodes alone.
    pub fn nodes(&self) -> u64 {
        let [a, b] = &self.nodes;
        hash_of((a.hash(), b.hash()))
    }
}

impl<S> Clone for State<S> {
    fn clone(&self) -> Self {
        let Self { nodes: [a, b], towards, ledger, left, hash } = self;
        let nodes = [Rc::clone(a), Rc::clone(b)];
        Self { nodes, towards: towards.clone(), ledger: *ledger, left: *left, hash: *hash }
    }
}
