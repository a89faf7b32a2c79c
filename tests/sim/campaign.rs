//! Many seeds, on all cores, in an order that does not matter: each run follows from its seed alone.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, thread};

use indicatif::{ProgressBar, ProgressStyle};

use crate::sim::{Failure, Scenario, Tally, run};

/// Seeds that are finished together.
const PIECE: u64 = 500;

/// Runs the scenarios of these seeds; at the end, panics with a list of all that failed and a full report of the first.
pub fn hold_all(seeds: Range<u64>) -> Tally {
    verdict(run_all(&pieces(seeds), |_| {}))
}

/// The same with a progress bar, and a list of finished ranges at `path`: what is on it is left out, so a campaign that was
/// interrupted goes on where it was. The tally is of what was run now.
pub fn hold_all_that_are_left(seeds: Range<u64>, path: &Path) -> Tally {
    let list = Mutex::new(List::open(path).expect("the list of finished seeds can be read and written"));
    let all = seeds.end.saturating_sub(seeds.start);
    let pieces = list.lock().expect("nobody panics with the lock").left_of(&pieces(seeds));
    let left: u64 = pieces.iter().map(|piece| piece.end - piece.start).sum();
    if left < all {
        println!("{} of {all} seeds were finished before, says {}", all - left, path.display());
    }
    let bar = ProgressBar::new(left);
    let style = ProgressStyle::with_template("{wide_bar} {human_pos} of {human_len} seeds, {msg} failed, {eta} left");
    bar.set_style(style.expect("a template"));
    let failed = AtomicUsize::new(0);
    let outcome = run_all(&pieces, |piece| {
        failed.fetch_add(piece.failures.len(), Ordering::Relaxed);
        bar.set_message(failed.load(Ordering::Relaxed).to_string());
        bar.inc(piece.seeds.end - piece.seeds.start);
        if piece.failures.is_empty() {
            let mut list = list.lock().expect("nobody panics with the lock");
            list.add(&piece.seeds).expect("the list of finished seeds can be written");
        }
    });
    bar.finish();
    verdict(outcome)
}

fn verdict((sum, failures): (Tally, BTreeMap<u64, Failure>)) -> Tally {
    if let Some((_, first)) = failures.first_key_value() {
        let list = failures.iter().map(|(seed, failure)| format!("  {seed:>8}  {}", failure.broken));
        let list = list.collect::<Vec<_>>().join("\n");
        panic!("{} seeds failed\n{list}\n\nthe first of them:\n{}", failures.len(), first.explained());
    }
    sum
}

/// A piece that was run.
struct Finished {
    seeds: Range<u64>,
    tally: Tally,
    failures: Vec<Failure>,
}

fn pieces(seeds: Range<u64>) -> Vec<Range<u64>> {
    // As small as is needed to keep all cores busy to the end.
    let piece = (seeds.end.saturating_sub(seeds.start) / 64).clamp(1, PIECE);
    let starts = seeds.clone().step_by(piece as usize);
    starts.map(|start| start..(start + piece).min(seeds.end)).collect()
}

fn run_all(pieces: &[Range<u64>], finished: impl Fn(&Finished) + Sync) -> (Tally, BTreeMap<u64, Failure>) {
    let next = AtomicUsize::new(0);
    let sum = Mutex::new((Tally::default(), BTreeMap::new()));
    let work = || {
        while let Some(seeds) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            let piece = Finished::run(seeds.clone());
            finished(&piece);
            let mut sum = sum.lock().expect("nobody panics with the lock");
            sum.0.add(&piece.tally);
            sum.1.extend(piece.failures.into_iter().map(|failure| (failure.scenario.seed, failure)));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(work);
        }
    });
    sum.into_inner().expect("nobody panics with the lock")
}

impl Finished {
    fn run(seeds: Range<u64>) -> Finished {
        let mut piece = Finished { seeds: seeds.clone(), tally: Tally::default(), failures: Vec::new() };
        for seed in seeds {
            match run(&Scenario::draw(seed)) {
                Ok(tally) => piece.tally.add(&tally),
                Err(failure) => piece.failures.push(failure),
            }
        }
        piece
    }
}

/// The ranges of seeds that have broken no promise, a line `first..last` each. It begins with a number that stands for this
/// program: what another one has done does not count.
struct List {
    file: File,
    finished: Vec<Range<u64>>,
}

impl List {
    fn open(path: &Path) -> io::Result<List> {
        let program = program()?;
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut lines = text.lines();
        if lines.next() == Some(&program) {
            let finished = lines.filter_map(range).collect();
            let mut file = OpenOptions::new().append(true).open(path)?;
            if !text.ends_with('\n') {
                writeln!(file)?;
            }
            return Ok(List { file, finished });
        }
        let mut file = File::create(path)?;
        writeln!(file, "{program}")?;
        Ok(List { file, finished: Vec::new() })
    }

    fn left_of(&self, pieces: &[Range<u64>]) -> Vec<Range<u64>> {
        let left = pieces.iter().flat_map(|piece| {
            let overlaps = |range: &&Range<u64>| range.start < piece.end && piece.start < range.end;
            let finished: Vec<_> = self.finished.iter().filter(overlaps).collect();
            let is_finished = |seed: &u64| finished.iter().any(|range| range.contains(seed));
            let seeds: Vec<u64> = piece.clone().filter(|seed| !is_finished(seed)).collect();
            seeds.chunk_by(|a, b| a + 1 == *b).map(|run| run[0]..run[run.len() - 1] + 1).collect::<Vec<_>>()
        });
        left.collect()
    }

    fn add(&mut self, seeds: &Range<u64>) -> io::Result<()> {
        writeln!(self.file, "{}..{}", seeds.start, seeds.end)
    }
}

/// A hash of the program that is running.
fn program() -> io::Result<String> {
    let mut hasher = DefaultHasher::new();
    fs::read(env::current_exe()?)?.hash(&mut hasher);
    Ok(format!("program {:016x}", hasher.finish()))
}

/// `first..last`. A line that was cut off by a kill is none.
pub fn range(text: &str) -> Option<Range<u64>> {
    let (first, last) = text.split_once("..")?;
    Some(first.parse().ok()?..last.parse().ok()?)
}
