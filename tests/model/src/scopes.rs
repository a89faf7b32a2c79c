//! The bounded spaces that are searched. The short ones are searched to their end at each change of the code; the long
//! ones by command.

use bowline::Semantics::{self, AtMostOnce, Idempotent};

use crate::landmark::Landmark::{self, *};
use crate::scope::{Bounds, Scope, Side};

/// A caller that relies on each of the two semantics, and needs a slot again.
const THREE: &[(Side, Semantics)] = &[(Side::A, AtMostOnce), (Side::A, Idempotent), (Side::A, AtMostOnce)];
const TWO: &[(Side, Semantics)] = &[(Side::A, Idempotent), (Side::A, AtMostOnce)];
const ONE: &[(Side, Semantics)] = &[(Side::A, AtMostOnce)];
const REPEATABLE: &[(Side, Semantics)] = &[(Side::A, Idempotent)];
/// More calls than there are sequences.
const SIX: &[(Side, Semantics)] = &[(Side::A, AtMostOnce); 6];
const BOTH_WAYS: &[(Side, Semantics)] = &[(Side::A, AtMostOnce), (Side::B, AtMostOnce)];

// What a search must come by.
const HANDSHAKE: &[Landmark] = &[PeerRestarted, OldFrame, Challenged];
const BOTH_CRASH: &[Landmark] = &[PeerRestarted, OldFrame, Challenged, PacketNumberWrapped];
const WRAPPED: &[Landmark] = &[Succeeded, PacketNumberWrapped, SequenceWrapped];
const DEADLINES: &[Landmark] = &[Succeeded, FailedNo, FailedMaybe, DeadlinePassed, CancelCame, CancelCrossedReply];
const REFUSALS: &[Landmark] = &[Succeeded, FailedNo, Refused, CancelCame, CancelCrossedReply];
const SERVER_CRASH: &[Landmark] =
    &[Succeeded, FailedMaybe, PeerRestarted, RanAgain, CrashedWithReply, OldFrame, Challenged];
const CLIENT_CRASH: &[Landmark] = &[Succeeded, PeerRestarted, Orphaned, OldFrame, Challenged];
const TWICE_SENT: &[Landmark] = &[Succeeded, FailedMaybe, DeadlinePassed, PeerRestarted, RanAgain, CrashedWithReply];
const LOST_PEER: &[Landmark] = &[Succeeded, FailedMaybe, PeerLost, RanAgain, OldFrame, Challenged];
const EACH_WAY: &[Landmark] = &[Succeeded, FailedNo, Refused];
const SLOW_PORT: &[Landmark] = &[Succeeded, FailedNo, CancelCame, CancelCrossedReply, PortRefused];
const CLOSE: &[Landmark] = &[Succeeded, FailedMaybe, PeerClosed, Orphaned];
const POOR_SERVER: &[Landmark] = &[Succeeded, FailedMaybe, PeerRestarted, CrashedWithReply, OldFrame, Challenged];
const ALL: &[Landmark] = &[
    Succeeded,
    FailedMaybe,
    PeerRestarted,
    Orphaned,
    RanAgain,
    CrashedWithReply,
    OldFrame,
    Challenged,
    PacketNumberWrapped,
    SequenceWrapped,
];

const NONE: Bounds = Bounds {
    crashes: [0, 0],
    ticks: [0, 0],
    sleeps: [0, 0],
    cancels: 0,
    refusals: 0,
    memories: [0, 0],
    rejects: 0,
    closes: 0,
};

/// One slot, in a session; the two latest frames each way may come at any time; handlers take their time.
const BASE: Scope = Scope {
    name: "",
    about: "",
    slots: 1,
    calls: ONE,
    bounds: NONE,
    reach: 2,
    calls_before: 1,
    is_prompt: false,
    is_lazy: false,
    acks_at_once: true,
    without_entropy: None,
    must_reach: &[],
};

const BOOT: Scope = Scope { calls_before: 0, calls: &[], ..BASE };

/// What CI searches, each to its end.
pub fn short() -> Vec<Scope> {
    vec![
        Scope {
            name: "handshake",
            about: "from boot, A crashes, the three latest frames may come",
            reach: 3,
            bounds: Bounds { crashes: [1, 0], ticks: [0, 1], ..NONE },
            must_reach: HANDSHAKE,
            ..BOOT
        },
        Scope {
            name: "both-crash",
            about: "from boot, both crash, the latest frames may come",
            reach: 1,
            bounds: Bounds { crashes: [1, 1], ticks: [1, 1], ..NONE },
            must_reach: BOTH_CRASH,
            ..BOOT
        },
        Scope {
            name: "slots",
            about: "2 slots, 3 calls, a server that answers late or never",
            slots: 2,
            calls: THREE,
            acks_at_once: false,
            bounds: Bounds { ticks: [1, 0], ..NONE },
            must_reach: WRAPPED,
            ..BASE
        },
        Scope {
            name: "deadlines",
            about: "a call that passes its deadline or is given up",
            calls: ONE,
            reach: 1,
            bounds: Bounds { ticks: [4, 0], cancels: 1, ..NONE },
            must_reach: DEADLINES,
            ..BASE
        },
        Scope {
            name: "refusals",
            about: "2 calls, one is given up, one refused",
            calls: TWO,
            bounds: Bounds { ticks: [1, 0], cancels: 1, refusals: 1, ..NONE },
            must_reach: REFUSALS,
            ..BASE
        },
        Scope {
            name: "server-crash",
            about: "2 calls, the server crashes",
            calls: TWO,
            bounds: Bounds { crashes: [0, 1], ticks: [1, 1], ..NONE },
            must_reach: SERVER_CRASH,
            ..BASE
        },
        Scope {
            name: "client-crash",
            about: "2 calls, the client crashes",
            calls: TWO,
            bounds: Bounds { crashes: [1, 0], ticks: [0, 1], ..NONE },
            must_reach: CLIENT_CRASH,
            ..BASE
        },
        Scope {
            name: "twice-sent",
            about: "a repeatable call that outlives a session and passes its deadline in the next",
            calls: REPEATABLE,
            reach: 1,
            bounds: Bounds { crashes: [0, 1], ticks: [3, 0], ..NONE },
            must_reach: TWICE_SENT,
            ..BASE
        },
        Scope {
            name: "lost-peer",
            about: "2 calls, both sides lose the other for longer than the lease",
            calls: TWO,
            reach: 1,
            is_prompt: true,
            bounds: Bounds { ticks: [1, 1], sleeps: [1, 1], ..NONE },
            must_reach: LOST_PEER,
            ..BASE
        },
        Scope {
            name: "wrapped",
            about: "6 calls with 4 sequences; one old frame to the server may come for ever",
            calls: SIX,
            is_prompt: true,
            bounds: Bounds { ticks: [1, 0], memories: [0, 1], ..NONE },
            must_reach: WRAPPED,
            ..BASE
        },
        Scope {
            name: "each-way",
            about: "both call each other at once, one call is refused",
            calls: BOTH_WAYS,
            bounds: Bounds { ticks: [1, 0], refusals: 1, ..NONE },
            must_reach: EACH_WAY,
            ..BASE
        },
        Scope {
            name: "slow-port",
            about: "ports take frames when they like, and refuse one",
            is_lazy: true,
            acks_at_once: false,
            bounds: Bounds { ticks: [1, 1], cancels: 1, rejects: 1, ..NONE },
            must_reach: SLOW_PORT,
            ..BASE
        },
        Scope {
            name: "close",
            about: "a side closes and opens again",
            calls: TWO,
            bounds: Bounds { ticks: [1, 0], closes: 1, ..NONE },
            must_reach: CLOSE,
            ..BASE
        },
        Scope {
            name: "poor-client",
            about: "a client without entropy crashes; nothing survives its boot",
            calls: ONE,
            without_entropy: Some(Side::A),
            bounds: Bounds { crashes: [1, 0], ticks: [1, 0], ..NONE },
            must_reach: CLIENT_CRASH,
            ..BASE
        },
        Scope {
            name: "poor-server",
            about: "a server without entropy crashes; nothing survives its boot",
            calls: ONE,
            without_entropy: Some(Side::B),
            bounds: Bounds { crashes: [0, 1], ticks: [1, 0], ..NONE },
            must_reach: POOR_SERVER,
            ..BASE
        },
    ]
}

/// Larger ones, the last of them larger than anybody has counted: to be run with `--limit`.
pub fn long() -> Vec<Scope> {
    vec![
        Scope {
            name: "long-handshake",
            about: "from boot, A crashes, the three latest frames may come",
            reach: 3,
            bounds: Bounds { crashes: [1, 0], ticks: [1, 1], ..NONE },
            must_reach: HANDSHAKE,
            ..BOOT
        },
        Scope {
            name: "long-both-crash",
            about: "from boot, both crash",
            bounds: Bounds { crashes: [1, 1], ticks: [1, 1], ..NONE },
            must_reach: BOTH_CRASH,
            ..BOOT
        },
        Scope {
            name: "long-slots",
            about: "2 slots, 3 calls, a server that answers late or never",
            slots: 2,
            calls: THREE,
            acks_at_once: false,
            bounds: Bounds { ticks: [1, 1], ..NONE },
            must_reach: WRAPPED,
            ..BASE
        },
        Scope {
            name: "long-client-crash",
            about: "2 calls, the client crashes",
            calls: TWO,
            bounds: Bounds { crashes: [1, 0], ticks: [1, 1], ..NONE },
            must_reach: CLIENT_CRASH,
            ..BASE
        },
        Scope {
            name: "long-each-way",
            about: "both call each other at once, one call is refused",
            calls: BOTH_WAYS,
            bounds: Bounds { ticks: [1, 1], refusals: 1, ..NONE },
            must_reach: EACH_WAY,
            ..BASE
        },
        Scope {
            name: "long-deadlines",
            about: "2 calls that pass their deadlines, one is given up",
            calls: TWO,
            bounds: Bounds { ticks: [4, 0], cancels: 1, ..NONE },
            must_reach: DEADLINES,
            ..BASE
        },
        Scope {
            name: "long-refusals",
            about: "2 calls, one is given up, one refused",
            calls: TWO,
            bounds: Bounds { ticks: [1, 1], cancels: 1, refusals: 1, ..NONE },
            must_reach: REFUSALS,
            ..BASE
        },
        Scope {
            name: "long-twice-sent",
            about: "a repeatable call that outlives a session and passes its deadline in the next",
            calls: REPEATABLE,
            bounds: Bounds { crashes: [0, 1], ticks: [3, 1], refusals: 1, cancels: 1, ..NONE },
            must_reach: TWICE_SENT,
            ..BASE
        },
        Scope {
            name: "long-lost-peer",
            about: "2 calls, both sides lose the other for longer than the lease",
            calls: TWO,
            is_prompt: true,
            bounds: Bounds { ticks: [1, 1], sleeps: [1, 1], ..NONE },
            must_reach: LOST_PEER,
            ..BASE
        },
        Scope {
            name: "long-wrapped",
            about: "6 calls with 4 sequences; one old frame each way may come for ever",
            calls: SIX,
            is_prompt: true,
            bounds: Bounds { ticks: [1, 0], memories: [1, 1], ..NONE },
            must_reach: WRAPPED,
            ..BASE
        },
        Scope {
            name: "long-poor-client",
            about: "a client without entropy crashes; nothing survives its boot",
            calls: TWO,
            without_entropy: Some(Side::A),
            bounds: Bounds { crashes: [1, 0], ticks: [1, 1], ..NONE },
            must_reach: CLIENT_CRASH,
            ..BASE
        },
        Scope {
            name: "long-poor-server",
            about: "a server without entropy crashes; nothing survives its boot",
            calls: TWO,
            without_entropy: Some(Side::B),
            bounds: Bounds { crashes: [0, 1], ticks: [1, 1], ..NONE },
            must_reach: POOR_SERVER,
            ..BASE
        },
        Scope {
            name: "long-all",
            about: "2 slots, 3 calls, both crash, sequences begin anew",
            slots: 2,
            calls: THREE,
            bounds: Bounds { crashes: [1, 1], ticks: [1, 1], ..NONE },
            must_reach: ALL,
            ..BASE
        },
    ]
}
