//! Starts caller and device, kills them on schedule, starts them again, and writes down what became of every call.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use bowline::Executed;

use crate::args::Options;
use crate::crashes::{Crashes, OUTAGE};
use crate::injector::{Faults, Injector, REORDERED};
use crate::ledger::{Effect, Ledger};
use crate::link::Stretch;
use crate::process::{News, Process};
use crate::progress::Progress;
use crate::reports::{Outcome, Report};
use crate::wire_log::{Change, Side, WireLog};

/// Both sides have to be idle for so long at the end. Nothing is longer under way.
const STILL: Duration = Duration::from_millis(100);
/// A run in which nothing happens for so long is given up; the audit then says what is missing.
const PATIENCE: Duration = Duration::from_secs(10).saturating_add(OUTAGE);

/// What is known about one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    pub amount: u16,
    pub end: End,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It has not.
    Open,
    Told {
        micros: u64,
        outcome: Outcome,
    },
    /// Its caller was killed.
    Abandoned,
}

/// How many calls ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub ok: u32,
    pub failed_no: u32,
    pub failed_maybe: u32,
    pub abandoned: u32,
}

impl Tally {
    pub fn count(&mut self, end: &End) {
        *match end {
            End::Open => return,
            End::Told { outcome: Outcome::Ok { .. }, .. } => &mut self.ok,
            End::Told { outcome: Outcome::Failed { executed: Executed::No, .. }, .. } => &mut self.failed_no,
            // `Yes` is for replies that are too large for a frame. This device has none.
            End::Told { outcome: Outcome::Failed { .. }, .. } => &mut self.failed_maybe,
            End::Abandoned => &mut self.abandoned,
        } += 1;
    }

    pub fn sum(&self) -> u32 {
        self.ok + self.failed_no + self.failed_maybe + self.abandoned
    }
}

/// All that the audit and the summary need.
pub struct Run {
    /// The number that the order ids of this run begin with.
    pub id: u32,
    pub calls: Vec<CallRecord>,
    pub tally: Tally,
    pub ledger: Vec<Effect>,
    /// Of the device and of the caller.
    pub crashes: [u32; 2],
    pub retransmits: u64,
    /// Sides that still had something open when the run was ended.
    pub restless: Vec<Side>,
    pub elapsed: Duration,
}

/// Runs the whole thing.
pub fn run(options: &Options, log: &Arc<WireLog>) -> io::Result<Run> {
    let began = Instant::now();
    let [caller, device] = [Stretch::open(options.udp)?, Stretch::open(options.udp)?];
    let (sender, news) = mpsc::channel();
    let crash_caller_every = if options.crash_client { options.crash_every } else { 0 };
    let mut supervisor = Supervisor {
        options,
        id: fastrand::u32(..),
        log,
        ledger: Ledger::create(options.ledger.as_deref())?,
        caller: Attended::new(Side::Caller, caller.process, crash_caller_every, options.seed),
        device: Attended::new(Side::Device, device.process, options.crash_every, options.seed),
        sender,
        calls: Vec::new(),
        tally: Tally::default(),
        last_news: began,
    };
    let faults = Faults {
        loss: options.loss,
        garble: options.garble,
        dup: options.dup,
        reorder: if options.udp { REORDERED } else { 0.0 },
        seed: options.seed,
    };
    let injector = Injector::start([caller.injector, device.injector], !options.udp, faults, Arc::clone(log));
    let watched = supervisor.watch(&news);
    // The injector first: it counts on the other ends of its wires, which the supervisor holds.
    drop(injector);
    watched?;
    supervisor.finish(began)
}

struct Supervisor<'a> {
    options: &'a Options,
    id: u32,
    log: &'a WireLog,
    ledger: Ledger,
    caller: Attended,
    device: Attended,
    sender: Sender<(Side, News)>,
    calls: Vec<CallRecord>,
    tally: Tally,
    last_news: Instant,
}

/// One side, through all its lives.
struct Attended {
    side: Side,
    wire: OwnedFd,
    process: Option<Process>,
    start_at: Instant,
    crashes: Crashes,
    /// In the lives before this one, and in this.
    retransmits: (u64, u32),
    idle_since: Option<Instant>,
}

impl Attended {
    fn new(side: Side, wire: OwnedFd, crash_every: u32, seed: u64) -> Self {
        let crashes = Crashes::new(side, crash_every, seed);
        Self { side, wire, process: None, start_at: Instant::now(), crashes, retransmits: (0, 0), idle_since: None }
    }

    /// When something has to be done about it.
    fn next_wakeup(&self) -> Option<Instant> {
        if self.process.is_none() { Some(self.start_at) } else { self.crashes.at() }
    }
}

impl Supervisor<'_> {
    /// Until every call has ended and both sides have nothing left to do.
    fn watch(&mut self, news: &Receiver<(Side, News)>) -> io::Result<()> {
        let mut progress = Progress::new(self.options);
        loop {
            for side in [Side::Device, Side::Caller] {
                self.start_if_due(side)?;
                self.kill_if_due(side, news)?;
            }
            progress.draw(self.tally, self.device.crashes.count + self.caller.crashes.count);
            let now = Instant::now();
            if self.is_settled(now) || now > self.last_news + PATIENCE {
                return Ok(());
            }
            let wakeups = [self.caller.next_wakeup(), self.device.next_wakeup(), Some(now + STILL)];
            let next = wakeups.into_iter().flatten().min().unwrap_or(now);
            if let Ok(item) = news.recv_timeout(next.saturating_duration_since(now)) {
                self.hear(item)?;
            }
        }
    }

    fn start_if_due(&mut self, side: Side) -> io::Result<()> {
        let now = Instant::now();
        if self.side(side).process.is_some() || self.side(side).start_at > now {
            return Ok(());
        }
        let options = self.options;
        let (args, stdout) = match side {
            Side::Device => (options.device_args(), Stdio::from(self.ledger.try_clone()?)),
            Side::Caller => (options.caller_args(self.id, self.calls.len()), Stdio::null()),
        };
        let wire = self.side(side).wire.try_clone()?;
        self.log.process(side, Change::Starts)?;
        let process = Process::start(side, &args, wire, stdout, self.sender.clone())?;
        self.side(side).process = Some(process);
        Ok(())
    }

    fn kill_if_due(&mut self, side: Side, news: &Receiver<(Side, News)>) -> io::Result<()> {
        let ended = self.tally.sum();
        let all_ended = ended == self.options.calls;
        let attended = self.side(side);
        if all_ended || attended.process.is_none() || !attended.crashes.is_due(Instant::now(), ended) {
            return Ok(());
        }
        if let Some(mut process) = attended.process.take() {
            process.kill();
        }
        self.log.process(side, Change::Killed)?;
        while let Ok(item) = news.try_recv() {
            self.hear(item)?;
        }
        if side == Side::Caller {
            for call in self.calls.iter_mut().filter(|call| call.end == End::Open) {
                call.end = End::Abandoned;
                self.tally.count(&call.end);
            }
        }
        let ended = self.tally.sum();
        let attended = self.side(side);
        attended.retransmits = (attended.retransmits.0 + u64::from(attended.retransmits.1), 0);
        attended.idle_since = None;
        attended.start_at = Instant::now() + attended.crashes.killed(ended);
        Ok(())
    }

    fn hear(&mut self, (side, item): (Side, News)) -> io::Result<()> {
        match item {
            News::Report(report) => self.note(side, report),
            News::Noise(line) => eprintln!("{}: {line}", side.name()),
            // Of a process that was killed, this is no news.
            News::Gone if self.side(side).process.is_none() => {}
            News::Gone => return Err(io::Error::other(format!("the {} ended by itself", side.name()))),
        }
        Ok(())
    }

    fn note(&mut self, side: Side, report: Report) {
        let now = Instant::now();
        match report {
            Report::Issued { call, amount } => {
                assert_eq!(call as usize, self.calls.len(), "calls are made in order");
                self.calls.push(CallRecord { amount, end: End::Open });
                self.last_news = now;
            }
            Report::Ended { call, micros, outcome } => {
                let call = &mut self.calls[call as usize];
                assert_eq!(call.end, End::Open, "a call ends once");
                call.end = End::Told { micros, outcome };
                self.tally.count(&call.end);
                self.last_news = now;
            }
            Report::Status { retransmits, idle } => {
                let attended = self.side(side);
                attended.retransmits.1 = retransmits;
                attended.idle_since = idle.then(|| attended.idle_since.unwrap_or(now));
            }
        }
    }

    fn is_settled(&self, now: Instant) -> bool {
        let still = |attended: &Attended| attended.idle_since.is_some_and(|since| now >= since + STILL);
        self.tally.sum() == self.options.calls && still(&self.caller) && still(&self.device)
    }

    /// Ends both processes and gathers what is known.
    fn finish(mut self, began: Instant) -> io::Result<Run> {
        let elapsed = began.elapsed();
        let sides = [&mut self.device, &mut self.caller];
        let mut run = Run {
            id: self.id,
            calls: self.calls,
            tally: self.tally,
            ledger: Vec::new(),
            crashes: sides.each_ref().map(|attended| attended.crashes.count),
            retransmits: sides.iter().map(|side| side.retransmits.0 + u64::from(side.retransmits.1)).sum(),
            restless: sides.iter().filter(|side| side.idle_since.is_none()).map(|side| side.side).collect(),
            elapsed,
        };
        sides.into_iter().for_each(|attended| attended.process = None);
        run.ledger = self.ledger.read()?;
        Ok(run)
    }

    fn side(&mut self, side: Side) -> &mut Attended {
        match side {
            Side::Caller => &mut self.caller,
            Side::Device => &mut self.device,
        }
    }
}
