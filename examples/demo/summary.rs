//! What the demo prints before and after: values that can be displayed.

use std::collections::BTreeMap;
use std::fmt;

use bowline::Executed;

use crate::args::Options;
use crate::audit::{Audit, is_ok};
use crate::histogram::Histogram;
use crate::injector::REORDERED;
use crate::recovered::Recovered;
use crate::reports::Outcome;
use crate::supervisor::{End, Run};
use crate::text::{green, grouped, heading, plural, red, times};
use crate::wire_log::Counts;

/// What is about to happen.
pub struct Announcement<'a>(pub &'a Options);

impl fmt::Display for Announcement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { loss, garble, dup, seed, crash_every, .. } = self.0;
        let wire = if self.0.udp { "UDP" } else { "a pty" };
        let (calls, in_flight) = (grouped(self.0.calls), self.0.in_flight);
        writeln!(f, "A caller asks a dispenser {calls} times for coins, {in_flight} calls in flight, over {wire}.")?;
        let overtaken = if self.0.udp { format!(", {REORDERED} % overtaken") } else { String::new() };
        writeln!(f, "Of the frames {loss} % are lost, {garble} % garbled, {dup} % doubled{overtaken}.")?;
        let victims = if self.0.crash_client { "Device and caller are each" } else { "The device is" };
        match crash_every {
            0 => writeln!(f, "Nobody is killed.")?,
            n => writeln!(f, "{victims} killed (SIGKILL) and started again, for about every {} calls.", grouped(*n))?,
        }
        writeln!(f, "The same faults again: --seed {seed}\n")
    }
}

/// What came out, as tables.
pub struct Summary<'a> {
    pub options: &'a Options,
    pub run: &'a Run,
    pub audit: &'a Audit,
    pub counts: Counts,
    pub recovered: Option<Recovered>,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.outcomes(f)?;
        self.ledger(f)?;
        self.wire(f)?;
        self.latency(f)?;
        if let Some(Recovered { sentence, diagram }) = &self.recovered {
            writeln!(f, "{}  {sentence}\n\n{diagram}", heading("A recovered call", 0))?;
        }
        self.verdict(f)
    }
}

impl Summary<'_> {
    fn outcomes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (calls, effects) = (self.run.tally, self.audit.effects);
        writeln!(f, "{}{:>8}{:>10}", heading("Outcomes", 36), "calls", "effects")?;
        let mut row = |name: &str, calls: u32, effects: u32, reasons: &[(&str, u32)]| {
            writeln!(f, "  {name:<34}{:>8}{:>10}", grouped(calls), grouped(effects))?;
            reasons.iter().try_for_each(|(reason, count)| writeln!(f, "    {reason:<32}{:>8}", grouped(*count)))
        };
        let no = reasons(self.run, |executed| executed == Executed::No);
        let maybe = reasons(self.run, |executed| executed != Executed::No);
        row("ok", calls.ok, effects.ok, &[])?;
        row("failed, executed: no", calls.failed_no, effects.failed_no, &no)?;
        row("failed, executed: maybe", calls.failed_maybe, effects.failed_maybe, &maybe)?;
        if self.options.crash_client {
            row("abandoned: the caller was killed", calls.abandoned, effects.abandoned, &[])?;
        }
        writeln!(f)
    }

    fn ledger(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lines, calls) = (grouped(self.run.ledger.len()), grouped(self.run.calls.len()));
        writeln!(f, "{}  {lines} lines of the device's ledger against {calls} calls", heading("Audit", 0))?;
        for line in &self.audit.lines {
            match line.broken {
                0 => writeln!(f, "  {} {}", green("✓"), line.promise)?,
                broken => {
                    writeln!(f, "  {} {}: {}", red("✗"), line.promise, red(&format!("broken {}", times(broken))))?
                }
            }
        }
        writeln!(f)
    }

    fn wire(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts;
        let (bytes, frames) = (grouped(counts.bytes), grouped(counts.frames));
        let per_call = counts.bytes as f64 / self.run.calls.len().max(1) as f64;
        writeln!(f, "{}  {per_call:.1} bytes a call: {bytes} in {frames} frames, both directions", heading("Wire", 0))?;
        let faults = [
            (counts.lost, "lost"),
            (counts.garbled, "garbled"),
            (counts.duplicated, "doubled"),
            (counts.overtaken, "overtaken"),
            (counts.overrun, "cut by a full buffer"),
        ];
        let faults = faults.iter().filter(|(count, _)| *count > 0);
        let faults = faults.map(|(count, what)| format!("{} {what}", grouped(*count))).collect::<Vec<_>>();
        if !faults.is_empty() {
            writeln!(f, "  of the frames {}", faults.join(", "))?;
        }
        writeln!(f, "  {} sent again, those to a dead peer included\n", plural(self.run.retransmits, "message"))
    }

    fn latency(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ok = self.run.calls.iter().filter(|call| is_ok(&call.end));
        let histogram = Histogram::of(ok.filter_map(|call| match call.end {
            End::Told { micros, .. } => Some(micros),
            _ => None,
        }));
        let [half, most] = [50, 99].map(|percent| histogram.percentile(percent));
        writeln!(f, "{}  half of the ok calls within {half:.0} ms, 99 % within {most:.0} ms", heading("Latency", 0))?;
        writeln!(f, "{histogram}")
    }

    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kills = match (self.run.crashes, self.options.crash_client) {
            ([0, 0], _) => "nobody was killed".to_owned(),
            ([device, _], false) => format!("the device was killed {}", times(device)),
            ([device, caller], true) => {
                format!("the device was killed {} and the caller {}", times(device), times(caller))
            }
        };
        let verdict = match self.audit.broken_promises() {
            0 => green("Every promise was kept."),
            broken => red(&format!("A promise was broken {}. Please report it, with the seed.", times(broken))),
        };
        writeln!(f, "In {:.1} s {kills}. {verdict}", self.run.elapsed.as_secs_f64())
    }
}

/// Why calls failed, each reason with its count.
fn reasons(run: &Run, wanted: impl Fn(Executed) -> bool) -> Vec<(&str, u32)> {
    let mut counts = BTreeMap::<&str, u32>::new();
    for call in &run.calls {
        if let End::Told { outcome: Outcome::Failed { executed, reason }, .. } = &call.end
            && wanted(*executed)
        {
            *counts.entry(reason).or_default() += 1;
        }
    }
    counts.into_iter().collect()
}

/// The same in figures: one object on one line.
pub struct Json<'a> {
    pub run: &'a Run,
    pub audit: &'a Audit,
    pub counts: Counts,
}

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = self.run.tally;
        let members: [(&str, u64); 12] = [
            ("calls", self.run.calls.len() as u64),
            ("ok", tally.ok.into()),
            ("failed_no", tally.failed_no.into()),
            ("failed_maybe", tally.failed_maybe.into()),
            ("abandoned", tally.abandoned.into()),
            ("effects", self.run.ledger.len() as u64),
            ("duplicate_effects", self.audit.duplicate_effects.into()),
            ("broken_promises", self.audit.broken_promises().into()),
            ("retransmits", self.run.retransmits),
            ("wire_bytes", self.counts.bytes),
            ("crashes", self.run.crashes.iter().sum::<u32>().into()),
            ("elapsed_ms", self.run.elapsed.as_millis() as u64),
        ];
        writeln!(f, "{{{}}}", members.map(|(name, value)| format!("\"{name}\":{value}")).join(","))
    }
}
