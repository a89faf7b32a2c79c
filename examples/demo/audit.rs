//! Holds what the callers were told against what the device's ledger says.

use bowline::Executed;

use crate::dispenser::DEADLINE;
use crate::reports::Outcome;
use crate::supervisor::{End, Run, Tally};

/// How late a process may notice that a call has ended: the machine has others to run.
const SLACK_MICROS: u64 = 250_000;

/// One promise, and how often it was broken.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    pub promise: String,
    pub broken: u32,
}

/// What came out.
#[derive(Debug)]
pub struct Audit {
    pub lines: Vec<Line>,
    /// Effects of calls that ended in each way.
    pub effects: Tally,
    /// Lines in the ledger that should not be there: effects of a call beyond its first.
    pub duplicate_effects: u32,
}

impl Audit {
    pub fn of(run: &Run) -> Self {
        let mut per_call = vec![0_u32; run.calls.len()];
        let mut unasked = 0;
        for effect in &run.ledger {
            let order = effect.filter(|order| order.id.run == run.id);
            let call = order.and_then(|order| Some((order, run.calls.get(order.id.call as usize)?)));
            match call {
                Some((order, call)) if order.amount == call.amount => per_call[order.id.call as usize] += 1,
                _ => unasked += 1,
            }
        }
        let mut effects = Tally::default();
        for (call, count) in run.calls.iter().zip(&per_call) {
            (0..*count).for_each(|_| effects.count(&call.end));
        }
        let broken = |is_broken: &dyn Fn(u32, &End, u32) -> bool| {
            let calls = run.calls.iter().zip(&per_call).zip(0..);
            calls.filter(|((call, effects), number)| is_broken(*number, &call.end, **effects)).count() as u32
        };
        let line = |promise: &str, broken: u32| Line { promise: promise.to_owned(), broken };
        let in_time = format!(
            "every call ended within its deadline of {} ms (slowest: {} ms; slack for the scheduler: {} ms)",
            DEADLINE.as_millis(),
            slowest_micros(run) / 1_000,
            SLACK_MICROS / 1_000,
        );
        let lines = vec![
            line("no effect happened twice", broken(&|_, _, effects| effects > 1)),
            line("every ok has exactly one effect", broken(&|_, end, effects| is_ok(end) && effects != 1)),
            line("every \"executed: no\" has none", broken(&|_, end, effects| is_no(end) && effects != 0)),
            line("every effect was asked for, with the amount asked for", unasked),
            line("every reply reached the call that it answers", broken(&|number, end, _| !is_own_reply(number, end))),
            line(&in_time, broken(&|_, end, _| is_late(end))),
            line(
                "nothing is left in flight, at either side",
                broken(&|_, end, _| *end == End::Open) + run.restless.len() as u32,
            ),
        ];
        let duplicate_effects = per_call.iter().map(|effects| effects.saturating_sub(1)).sum();
        Self { lines, effects, duplicate_effects }
    }

    pub fn broken_promises(&self) -> u32 {
        self.lines.iter().map(|line| line.broken).sum()
    }
}

fn slowest_micros(run: &Run) -> u64 {
    run.calls.iter().map(|call| if let End::Told { micros, .. } = call.end { micros } else { 0 }).max().unwrap_or(0)
}

pub fn is_ok(end: &End) -> bool {
    matches!(end, End::Told { outcome: Outcome::Ok { .. }, .. })
}

fn is_no(end: &End) -> bool {
    matches!(end, End::Told { outcome: Outcome::Failed { executed: Executed::No, .. }, .. })
}

fn is_own_reply(number: u32, end: &End) -> bool {
    !matches!(end, End::Told { outcome: Outcome::Ok { replied_to }, .. } if *replied_to != number)
}

fn is_late(end: &End) -> bool {
    matches!(end, End::Told { micros, .. } if *micros > DEADLINE.as_micros() + SLACK_MICROS)
}
