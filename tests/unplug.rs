//! Cables between hosts and devices, pulled and plugged in again 100 times under load. Bytes in flight are lost, every
//! fifth time the device loses its power as well, and the promise holds.
#![cfg(unix)]

#[path = "../examples/shared/pty.rs"]
mod pty;

use std::collections::HashMap;
use std::future::pending;
use std::ops::AddAssign;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::{env, fs, os, process};

use bowline::drivers::LinkEvent;
use bowline::drivers::tokio::{Client, Link, Stream};
use bowline::{CallError, Executed};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Duration, sleep, timeout};

/// At the same time, since a port that has failed often is left alone for up to a second.
const CABLES: u64 = 4;
const PULLS: u32 = 25;
const TASKS: u64 = 8;

/// How long to wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

bowline::interface! {
    enum Dispenser {
        /// Pays out under a number that is never used again.
        at_most_once PayOut(u64) -> u64;
    }
}

/// How often each number was paid out. A device that loses its power keeps it.
type Ledger = Arc<Mutex<HashMap<u64, u32>>>;

/// The number of a payout, and what the host was told.
type Outcome = (u64, Result<u64, CallError>);

#[derive(Debug, Default)]
struct Report {
    ok: u32,
    no: u32,
    maybe: u32,
    maybe_with_effect: u32,
    pulls: u32,
    failed: u32,
    restored: u32,
    bytes_lost: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_promise_is_broken_by_100_pulled_cables() {
    let cables: Vec<_> = (0..CABLES).map(|cable| tokio::spawn(test_cable(cable))).collect();
    let mut sum = Report::default();
    for cable in cables {
        sum += cable.await.unwrap();
    }
    println!("{sum:?}");
    assert_eq!([sum.pulls, sum.failed, sum.restored], [100; 3]);
    assert!(sum.ok > 0 && sum.bytes_lost > 0, "this was no test: {sum:?}");
}

async fn test_cable(cable: u64) -> Report {
    let ledger = Ledger::default();
    let port = Port { path: env::temp_dir().join(format!("unplug-{}-{cable}", process::id())) };
    let mut pty = port.plug_in();
    let (mut line, mut device) = boot(&ledger);
    let (news, mut events) = mpsc::unbounded_channel();
    let host = Link::serial(port.path.to_str().unwrap(), 115_200).on_event(move |event| _ = news.send(event)).spawn();
    let (is_over, numbers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> =
        (0..TASKS).map(|_| tokio::spawn(call(host.clone(), Arc::clone(&is_over), Arc::clone(&numbers)))).collect();
    let mut report = Report::default();

    while report.pulls < PULLS {
        // Up for long enough that the next pause is short again, or not.
        let up = if fastrand::bool() { 1_000..1_050 } else { 20..200 };
        report.bytes_lost += carry(&mut pty, &mut line, sleep(millis(up))).await;
        drop(pty);
        port.pull();
        report.pulls += 1;
        if report.pulls.is_multiple_of(5) {
            device.abort();
            _ = (&mut device).await;
            (line, device) = boot(&ledger);
        }
        // What the device sends now, nobody hears.
        let mut void = tokio::io::sink();
        tokio::select! {
            () = sleep(millis(0..60)) => {}
            _ = tokio::io::copy(&mut line, &mut void) => {}
        }
        pty = port.plug_in();
        let is_restored = async {
            while let Some(event) = events.recv().await {
                match event {
                    LinkEvent::PortFailed(_) => report.failed += 1,
                    LinkEvent::PortRestored => return report.restored += 1,
                    LinkEvent::Endpoint(_) => {}
                }
            }
        };
        let is_restored = async { timeout(PATIENCE, is_restored).await.expect("the port was not opened again") };
        carry(&mut pty, &mut line, is_restored).await;
    }

    is_over.store(true, Relaxed);
    let mut outcomes = Vec::new();
    let end = async {
        for caller in callers {
            outcomes.extend(caller.await.unwrap());
        }
    };
    carry(&mut pty, &mut line, end).await;
    device.abort();
    _ = device.await;
    audit(&outcomes, &ledger.lock().unwrap(), &mut report);
    report
}

/// Calls until it is over.
async fn call(host: Client, is_over: Arc<AtomicBool>, numbers: Arc<AtomicU64>) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    while !is_over.load(Relaxed) {
        let number = numbers.fetch_add(1, Relaxed);
        // Some end before an outage does, some outlive it.
        let deadline = if fastrand::bool() { millis(10..60) } else { millis(200..1_000) };
        let host = host.with_timeout(deadline);
        let outcome = timeout(deadline + PATIENCE, host.call::<PayOut>(&number)).await.expect("a call has no end");
        outcomes.push((number, outcome));
    }
    outcomes
}

/// Holds what the host was told against what the devices did.
fn audit(outcomes: &[Outcome], ledger: &HashMap<u64, u32>, report: &mut Report) {
    for (number, outcome) in outcomes {
        let effects = ledger.get(number).copied().unwrap_or(0);
        let allowed = match outcome.map_err(|error| error.executed) {
            Ok(answer) => {
                assert_eq!(answer, *number, "the answer to another call");
                report.ok += 1;
                1..=1
            }
            Err(Executed::No) => {
                report.no += 1;
                0..=0
            }
            Err(Executed::Maybe) => {
                report.maybe += 1;
                report.maybe_with_effect += effects;
                0..=1
            }
            Err(Executed::Yes) => 1..=1,
        };
        assert!(allowed.contains(&effects), "{effects} effects of call {number}: {outcome:?}");
    }
    assert!(ledger.keys().all(|number| (*number as usize) < outcomes.len()), "a payout that nobody has asked for");
}

/// A device that has just got its power, and its end of the line.
fn boot(ledger: &Ledger) -> (DuplexStream, JoinHandle<()>) {
    let (end, line) = tokio::io::duplex(64);
    let ledger = Arc::clone(ledger);
    let link = Link::stream(end).serve::<Dispenser>(move |client, Dispenser::PayOut(number, reply)| {
        *ledger.lock().unwrap().entry(number).or_default() += 1;
        if fastrand::bool() {
            return client.reply(reply, &number);
        }
        let client = client.clone();
        tokio::spawn(async move {
            sleep(millis(1..20)).await;
            client.reply(reply, &number);
        });
    });
    (line, tokio::spawn(link.run()))
}

/// Moves bytes both ways until `end`. Says how many are lost by that.
async fn carry(a: &mut impl Stream, b: &mut impl Stream, end: impl Future<Output = ()>) -> u64 {
    let ((a_reader, a_writer), (b_reader, b_writer)) = (tokio::io::split(a), tokio::io::split(b));
    let in_flight = AtomicU64::new(0);
    tokio::select! {
        () = end => {}
        () = carry_one_way(a_reader, b_writer, &in_flight) => {}
        () = carry_one_way(b_reader, a_writer, &in_flight) => {}
    }
    in_flight.into_inner()
}

/// For ever, in pieces, so that frames are cut anywhere.
async fn carry_one_way(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, in_flight: &AtomicU64) {
    let mut buf = [0; 256];
    while let Ok(len @ 1..) = from.read(&mut buf).await {
        in_flight.fetch_add(len as u64, Relaxed);
        let mut rest = &buf[..len];
        while !rest.is_empty() {
            sleep(Duration::from_millis(1)).await;
            let (piece, later) = rest.split_at(fastrand::usize(1..=rest.len()));
            if to.write_all(piece).await.is_err() {
                break;
            }
            in_flight.fetch_sub(piece.len() as u64, Relaxed);
            rest = later;
        }
    }
    pending().await
}

/// Where the host finds the cable.
struct Port {
    path: PathBuf,
}

impl Port {
    fn plug_in(&self) -> impl Stream + use<> {
        let (pty, path) = pty::pty().unwrap();
        os::unix::fs::symlink(path, &self.path).unwrap();
        pty
    }

    fn pull(&self) {
        fs::remove_file(&self.path).unwrap();
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.path);
    }
}

fn millis(range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(fastrand::u64(range))
}

impl AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.ok += other.ok;
        self.no += other.no;
        self.maybe += other.maybe;
        self.maybe_with_effect += other.maybe_with_effect;
        self.pulls += other.pulls;
        self.failed += other.failed;
        self.restored += other.restored;
        self.bytes_lost += other.bytes_lost;
    }
}
