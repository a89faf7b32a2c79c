//! Runs jobs side by side, and prints what came out.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::args::Args;
use crate::model::cell::{Cell, LOSSES, Load};
use crate::model::measure::{Figures, median};

/// Threads at most: more would disturb each other's caches on small machines.
const THREADS: usize = 2;

/// Runs all jobs, and prints what was asked for as soon as it is there.
pub fn in_parallel<J: Sync>(args: &Args, jobs: &[J], run: impl Fn(&J) -> Figures + Sync) -> Vec<Figures> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(at) else { return };
            let figures = run(job);
            if args.json {
                println!("{}", figures.json());
            }
            if args.notes {
                eprintln!("{} {:?} seed {}: {}", figures.protocol, figures.cell, figures.seed, figures.notes);
            }
            done.lock().expect("no job has panicked").push((at, figures));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let mut done = done.into_inner().expect("no job has panicked");
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, figures)| figures).collect()
}

/// One table for each load and fault: a line for each link and protocol, a column for each loss.
pub fn tables(figures: &[Figures]) -> String {
    let mut out = String::new();
    let mut last: Option<Cell> = None;
    let mut lines: Vec<(Cell, &str)> = Vec::new();
    for figure in figures {
        let line = (Cell { loss_pct: 0, ..figure.cell }, figure.protocol.as_str());
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    for (cell, protocol) in lines {
        if last.is_none_or(|last| (last.load, last.fault) != (cell.load, cell.fault)) {
            let what = if cell.load == Load::Bulk { "goodput" } else { "p99.9 in round trips" };
            let _ = writeln!(
                out,
                "\n{}, {}: {what}; then bytes on the wire per message",
                cell.load.name(),
                cell.fault.name()
            );
            let _ = write!(out, "{:30}", "");
            for loss in LOSSES {
                let _ = write!(out, "{:>22}", format!("{loss} %"));
            }
            out.push('\n');
        }
        last = Some(cell);
        let link = format!("{}/{} {protocol}", cell.link(), cell.latency_ms);
        let _ = write!(out, "{link:30}");
        for loss_pct in LOSSES {
            let cell = Cell { loss_pct, ..cell };
            let of_cell = figures.iter().filter(|figure| figure.cell == cell && figure.protocol == protocol);
            let of_cell: Vec<&Figures> = of_cell.collect();
            let _ = write!(out, "{:>22}", entry(&of_cell));
        }
        out.push('\n');
    }
    out
}

/// The median of all seeds, with the smallest and the largest.
fn entry(figures: &[&Figures]) -> String {
    if figures.is_empty() {
        return String::new();
    }
    let values: Vec<f64> = figures.iter().filter_map(|figure| figure.goodput.or(figure.p999)).collect();
    let bytes: Vec<f64> = figures.iter().map(|figure| figure.wire_bytes_per_message).collect();
    let (middle, least, most) = median(&values);
    let mut entry = match figures[0].goodput {
        Some(_) => format!("{middle:.3} ({:.3})", least),
        None => format!("{middle:.2} ({:.2})", most),
    };
    let _ = write!(entry, " {:5.1}", median(&bytes).0);
    let recovered: Vec<f64> = figures.iter().filter_map(|figure| figure.recovery_ms).collect();
    if !recovered.is_empty() {
        let _ = write!(entry, " {:.0}ms", median(&recovered).0);
    }
    entry
}
