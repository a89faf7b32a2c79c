//! Both ends, the frames under way, the truth, and what may still happen: a state, and its successors.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use stateright::{Model, Property};

use crate::canonical::Canonical;
use crate::frame::{Frame, Network};
use crate::healing::heals;
use crate::ledger::{Broken, Ledger};
use crate::node::{LEASE, Memory, Node, Outside, TICK};
use crate::scope::{Bounds, Scope, Side};

/// Far from the origin, where all that never happened seems long ago.
const START: u64 = 1_000_000_000;

#[derive(Clone)]
pub struct State<S> {
    pub nodes: [Arc<Node<S>>; 2],
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
    pub fn start(scope: &Scope) -> Self {
        let boot = |side| Arc::new(Node::boot(scope, side, 1, START));
        let mut state = Self {
            nodes: [boot(Side::A), boot(Side::B)],
            towards: Default::default(),
            ledger: Ledger::default(),
            left: scope.bounds,
            hash: 0,
        };
        if scope.is_connected {
            if heals(scope, &mut state).is_err() {
                state.ledger.breaks(Broken::NeverConnected);
            }
        } else {
            let eager = Scope { is_lazy: false, ..scope.clone() };
            for side in Side::BOTH {
                state.on(&eager, side, |node, outside| node.wait(0, outside));
            }
        }
        state.rehash();
        state
    }

    pub fn node(&self, side: Side) -> &Node<S> {
        &self.nodes[side as usize]
    }

    pub fn node_mut(&mut self, side: Side) -> &mut Node<S> {
        Arc::make_mut(&mut self.nodes[side as usize])
    }

    /// Lets something happen to the node of `side`, and sends what goes out.
    pub fn on<T>(&mut self, scope: &Scope, side: Side, happen: impl FnOnce(&mut Node<S>, &mut Outside<'_>) -> T) -> T {
        let mut outside = Outside { scope, ledger: &mut self.ledger, sent: Vec::new() };
        let result = happen(Arc::make_mut(&mut self.nodes[side as usize]), &mut outside);
        for frame in outside.sent {
            self.towards[side.other() as usize].send(frame, scope.reach);
        }
        result
    }

    /// A frame comes. A session that both sides hold must outlast it, unless its end is what the frame says.
    pub fn deliver(&mut self, scope: &Scope, to: Side, frame: &Frame) {
        let shared = self.shared(scope);
        self.on(scope, to, |node, outside| node.deliver(frame, outside));
        let is_torn = shared.is_some() && self.node(to).session_id() != shared;
        if is_torn && !(scope.bounds.closes > 0 && frame.session == shared) {
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

    fn apply(&mut self, scope: &Scope, action: Action) -> bool {
        match action {
            Action::Call => {
                let id = self.ledger.made;
                let (side, _) = scope.calls[usize::from(id)];
                self.ledger.made += 1;
                return self.on(scope, side, |node, outside| node.call(id, outside));
            }
            Action::Cancel(side, index) => {
                self.left.cancels -= 1;
                self.on(scope, side, |node, outside| node.cancel(index, outside));
            }
            Action::Deliver(to, index) => {
                let Some(frame) = self.towards[to as usize].get(index).cloned() else { return false };
                self.deliver(scope, to, &frame);
            }
            Action::Remember(to, index) => {
                self.left.memories[to as usize] -= 1;
                self.towards[to as usize].remember(index);
            }
            Action::Tick(side) => {
                self.left.ticks[side as usize] -= 1;
                self.on(scope, side, |node, outside| node.wait(TICK, outside));
            }
            Action::Sleep(side) => {
                self.left.sleeps[side as usize] -= 1;
                self.on(scope, side, |node, outside| node.wait(LEASE + TICK, outside));
            }
            Action::Crash(side) => {
                self.left.crashes[side as usize] -= 1;
                self.crash(scope, side);
            }
            Action::Finish(side, index) => self.on(scope, side, |node, outside| node.finish(index, outside)),
            Action::GiveUp(side, index) => {
                let run = &self.node(side).runs[index];
                if !run.is_orphan && !run.is_cancelled {
                    self.left.refusals -= 1;
                }
                self.on(scope, side, |node, outside| node.give_up(index, outside));
            }
            Action::Transmit(side) => return self.on(scope, side, |node, outside| node.transmit(true, outside)),
            Action::Reject(side) => {
                self.left.rejects -= 1;
                return self.on(scope, side, |node, outside| node.transmit(false, outside));
            }
            Action::Close(side) => {
                self.left.closes -= 1;
                self.on(scope, side, |node, outside| node.close(outside));
            }
            Action::Open(side) => self.on(scope, side, |node, outside| node.open(outside)),
        }
        true
    }

    fn crash(&mut self, scope: &Scope, side: Side) {
        let before = self.node(side);
        let after = Node::boot(scope, side, before.life + 1, before.now());
        for waiting in &self.nodes[side as usize].waiting {
            self.ledger.caller_crashed(waiting.id);
        }
        self.nodes[side as usize] = Arc::new(after);
        if scope.without_entropy == Some(side) {
            self.towards.iter_mut().for_each(Network::clear);
        }
        self.on(scope, side, |node, outside| node.wait(0, outside));
    }

    fn rehash(&mut self) {
        let mut hasher = Canonical::new(0);
        let [a, b] = &self.nodes;
        (a.hash(), b.hash(), &self.towards, &self.ledger, &self.left).hash(&mut hasher);
        self.hash = hasher.finish();
    }

    pub fn fingerprint(&self) -> u64 {
        self.hash
    }
}

impl<S> Hash for State<S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl<S> PartialEq for State<S> {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl<S> fmt::Debug for State<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.hash)
    }
}

/// All states of a scope.
pub struct Space<S> {
    pub scope: Scope,
    memory: PhantomData<fn() -> S>,
}

impl<S> Space<S> {
    pub const fn new(scope: Scope) -> Self {
        Self { scope, memory: PhantomData }
    }
}

impl<S: Memory> Model for Space<S> {
    type State = State<S>;
    type Action = Action;

    fn init_states(&self) -> Vec<State<S>> {
        vec![State::start(&self.scope)]
    }

    fn actions(&self, state: &State<S>, actions: &mut Vec<Action>) {
        if state.ledger.broken.is_some() {
            return;
        }
        let (scope, left) = (&self.scope, &state.left);
        for side in Side::BOTH {
            let (at, node) = (side as usize, state.node(side));
            actions.extend((0..state.towards[at].len()).map(|index| Action::Deliver(side, index)));
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
                actions.extend(state.towards[at].forgettable().map(|index| Action::Remember(side, index)));
            }
            actions.extend((left.ticks[at] > 0).then_some(Action::Tick(side)));
            actions.extend((left.sleeps[at] > 0).then_some(Action::Sleep(side)));
            actions.extend((left.crashes[at] > 0).then_some(Action::Crash(side)));
            actions.extend((left.closes > 0 && !node.is_closed).then_some(Action::Close(side)));
            actions.extend(node.is_closed.then_some(Action::Open(side)));
        }
        actions.extend((usize::from(state.ledger.made) < scope.calls.len()).then_some(Action::Call));
    }

    fn next_state(&self, last: &State<S>, action: Action) -> Option<State<S>> {
        let mut next = last.clone();
        // An invariant that does not hold is a finding like any other.
        let applied = catch_unwind(AssertUnwindSafe(|| next.apply(&self.scope, action)));
        match applied {
            Ok(false) => return None,
            Ok(true) => {}
            Err(_) => next.ledger.breaks(Broken::Invariant),
        }
        next.rehash();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("a request that must not run twice runs at most once", |_, state: &State<S>| {
                state.keeps(Broken::RanTwice)
            }),
            Property::always("a reply reaches its own call, and each call ends once", |_, state: &State<S>| {
                state.keeps(Broken::WrongReply)
            }),
            Property::always("ok: it has taken effect, once", |_, state: &State<S>| {
                state.keeps(Broken::OkWithoutEffect)
            }),
            Property::always("executed: no: it has not taken effect and never will", |_, state: &State<S>| {
                state.keeps(Broken::NoWithEffect)
            }),
            Property::always("executed: maybe: nobody on the caller's side can know", |_, state: &State<S>| {
                state.keeps(Broken::MaybeAlthoughKnown)
            }),
            Property::always("a frame of an earlier life or another session changes nothing", |_, state: &State<S>| {
                state.keeps(Broken::OldFrameHadEffect)
            }),
            Property::always("a session that both hold outlasts every frame", |_, state: &State<S>| {
                state.keeps(Broken::LiveSessionTornDown)
            }),
            Property::always("every call ends by its deadline", |_, state: &State<S>| state.keeps(Broken::EndedLate)),
            Property::always("the invariants of every part hold", |_, state: &State<S>| state.keeps(Broken::Invariant)),
            Property::always(
                "once faults stop, all calls end and new ones succeed",
                |space: &Self, state: &State<S>| {
                    let is_due = state.fingerprint().is_multiple_of(space.scope.heals_each);
                    state.keeps(Broken::NeverConnected) && (!is_due || heals(&space.scope, &mut state.clone()).is_ok())
                },
            ),
        ]
    }
}

impl<S> State<S> {
    fn keeps(&self, promise: Broken) -> bool {
        self.ledger.broken != Some(promise)
    }
}
