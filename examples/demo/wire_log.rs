//! What passed on the wire: counts of all of it, and the last frames in full, for the trace and the diagram.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use bowline::wire::{Deframer, describe};

use crate::capture::Capture;
use crate::diagram::{self, Diagram, Row};
use crate::dispenser::FRAME;

/// Entries that are kept: some thousand calls.
const KEPT: usize = 50_000;

/// The two ends of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Caller,
    Device,
}

impl Side {
    pub fn other(self) -> Self {
        match self {
            Self::Caller => Self::Device,
            Self::Device => Self::Caller,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Device => "device",
        }
    }

    pub fn in_diagram(self) -> diagram::Side {
        match self {
            Self::Caller => diagram::Side::Left,
            Self::Device => diagram::Side::Right,
        }
    }
}

/// What the injector did to a frame.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    Passed { arrives: Instant },
    Lost,
    Garbled { arrives: Instant },
    Duplicated { arrives: Instant, again: Instant },
    Overtaken { arrives: Instant },
}

impl Fate {
    /// When copies of it arrive.
    pub fn arrivals(self) -> impl Iterator<Item = Instant> {
        let (first, second) = match self {
            Self::Lost => (None, None),
            Self::Passed { arrives } | Self::Garbled { arrives } | Self::Overtaken { arrives } => (Some(arrives), None),
            Self::Duplicated { arrives, again } => (Some(arrives), Some(again)),
        };
        first.into_iter().chain(second)
    }

    /// When it first arrives unharmed.
    pub fn intact_at(self) -> Option<Instant> {
        match self {
            Self::Garbled { .. } => None,
            _ => self.arrivals().next(),
        }
    }
}

/// Something that happened on the wire or beside it.
#[derive(Clone, Debug)]
pub enum Entry {
    /// `content` is without framing; `None` when it was not a whole frame (a process was killed while it wrote).
    Frame { at: Instant, from: Side, fate: Fate, content: Option<Vec<u8>> },
    /// A process was killed or started.
    Process { at: Instant, what: String },
}

/// How many of what.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub frames: u64,
    /// That the two sides sent, with all framing, before anything was lost or doubled.
    pub bytes: u64,
    pub lost: u64,
    pub garbled: u64,
    pub duplicated: u64,
    pub overtaken: u64,
    /// Frames for which the receiver's buffer had no room.
    pub overrun: u64,
}

/// A process begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Starts,
    Killed,
}

/// Shared by the injector, which writes it, and the supervisor.
pub struct WireLog {
    began: Instant,
    trace: Option<Trace>,
    capture: Option<Capture>,
    inner: Mutex<(Counts, VecDeque<Entry>)>,
}

/// Where `--trace` prints to.
#[derive(Clone, Copy, Debug)]
pub enum Trace {
    Stdout,
    Stderr,
}

impl WireLog {
    pub fn new(began: Instant, trace: Option<Trace>, capture: Option<Capture>) -> Self {
        let log = Self { began, trace, capture, inner: Mutex::default() };
        log.print(Diagram { left: "caller", right: "device", rows: &[] }.to_string().trim_end());
        log
    }

    /// What a side has sent.
    pub fn frame(&self, at: Instant, from: Side, fate: Fate, bytes: &[u8], stream: bool) -> io::Result<()> {
        self.capture(from, "sent", bytes)?;
        let content = if stream { unframed(bytes) } else { Some(bytes.to_vec()) };
        let mut inner = self.lock();
        let counts = &mut inner.0;
        counts.frames += 1;
        counts.bytes += bytes.len() as u64;
        match fate {
            Fate::Passed { .. } => {}
            Fate::Lost => counts.lost += 1,
            Fate::Garbled { .. } => counts.garbled += 1,
            Fate::Duplicated { .. } => counts.duplicated += 1,
            Fate::Overtaken { .. } => counts.overtaken += 1,
        }
        self.keep(inner, Entry::Frame { at, from, fate, content });
        Ok(())
    }

    /// A delimiter without a frame.
    pub fn delimiter(&self, from: Side) -> io::Result<()> {
        self.lock().0.bytes += 1;
        self.capture(from, "sent", &[0])
    }

    /// What came to a side: of a frame of `len` bytes all, or what its buffer had room for.
    pub fn arrival(&self, to: Side, bytes: &[u8], len: usize) -> io::Result<()> {
        if bytes.len() < len {
            self.lock().0.overrun += 1;
        }
        self.capture(to, "got", bytes)
    }

    pub fn process(&self, side: Side, change: Change) -> io::Result<()> {
        let (what, captured) = match change {
            Change::Starts => ("starts", "starts"),
            Change::Killed => ("is killed", "killed"),
        };
        self.keep(self.lock(), Entry::Process { at: Instant::now(), what: format!("{} {what}", side.name()) });
        self.capture(side, captured, &[])
    }

    /// Nothing more will happen.
    pub fn finish(&self) -> io::Result<()> {
        self.capture.as_ref().map_or(Ok(()), Capture::finish)
    }

    fn capture(&self, side: Side, what: &str, bytes: &[u8]) -> io::Result<()> {
        self.capture.as_ref().map_or(Ok(()), |capture| capture.write(side, what, bytes))
    }

    pub fn counts(&self) -> Counts {
        self.lock().0
    }

    /// The last entries, oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().1.iter().cloned().collect()
    }

    fn keep(&self, mut inner: MutexGuard<'_, (Counts, VecDeque<Entry>)>, entry: Entry) {
        if self.trace.is_some() {
            let label = entry.content().map_or("a cut frame".to_owned(), |content| describe(content).to_string());
            let rows = entry.rows(self.began, &label);
            let drawn = Diagram { left: "", right: "", rows: &rows }.to_string();
            drawn.lines().skip(1).for_each(|row| self.print(row));
        }
        if inner.1.len() == KEPT {
            inner.1.pop_front();
        }
        inner.1.push_back(entry);
    }

    fn print(&self, line: &str) {
        match self.trace {
            // Somebody who has stopped reading does not stop the run.
            Some(Trace::Stdout) => _ = writeln!(io::stdout(), "{line}"),
            Some(Trace::Stderr) => _ = writeln!(io::stderr(), "{line}"),
            None => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, (Counts, VecDeque<Entry>)> {
        self.inner.lock().expect("nobody panics with the lock")
    }
}

impl Entry {
    pub fn at(&self) -> Instant {
        match self {
            Self::Frame { at, .. } | Self::Process { at, .. } => *at,
        }
    }

    pub fn content(&self) -> Option<&[u8]> {
        match self {
            Self::Frame { content, .. } => content.as_deref(),
            Self::Process { .. } => None,
        }
    }

    /// How it looks in a diagram that begins at `origin`: a duplicated frame has two arrows.
    pub fn rows(&self, origin: Instant, label: &str) -> Vec<Row> {
        let micros = |at: Instant| at.saturating_duration_since(origin).as_micros() as u64;
        match self {
            Self::Process { at, what } => vec![Row::across(micros(*at), what)],
            Self::Frame { at, from, fate, .. } => {
                let row = |fate| Row::frame(micros(*at), from.in_diagram(), label, fate);
                match *fate {
                    Fate::Lost => vec![row(diagram::Fate::Lost)],
                    Fate::Garbled { arrives } => vec![row(diagram::Fate::Garbled { at: Some(micros(arrives)) })],
                    _ => fate.arrivals().map(|at| row(diagram::Fate::Arrived { at: micros(at) })).collect(),
                }
            }
        }
    }
}

/// The content of a frame of the byte stream.
fn unframed(mut bytes: &[u8]) -> Option<Vec<u8>> {
    Deframer::<FRAME>::new().next_frame(&mut bytes).map(|frame| frame.to_vec())
}
