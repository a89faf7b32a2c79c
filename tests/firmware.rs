//! The firmware of `examples/firmware`, in emulators: each board is driven through its serial port by the host's driver,
//! over a line with faults, while it is reset and its emulator is killed. Then what the host was told is held against the
//! board's ledger.
//!
//! `cargo test --test firmware -- --ignored --nocapture`, with QEMU, and the compiler that `examples/firmware/build.sh`
//! names.

#![cfg(unix)]

#[path = "firmware/audit.rs"]
mod audit;
#[path = "firmware/emulator.rs"]
mod emulator;
#[path = "firmware/injector.rs"]
mod injector;
#[path = "../examples/firmware/app/src/interface.rs"]
mod interface;

use std::future::Future;
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bowline::Config;
use bowline::drivers::tokio::{Client, Link};
use fastrand::Rng;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use audit::{Audit, Ended};
use emulator::{Board, Emulator, LM3S, LM3S_EMBASSY, MICROBIT, RISCV};
use injector::{Faults, Injector};
use interface::{Level, Order, PayOut};

const CALLS: u32 = 200;
const RESETS: u32 = 24;
const SEED: u64 = 4;

/// Bytes of garbage for a board that takes them quickly, and of one kind at a time. The others, whose port has no handler
/// of its own, take some 20 kB/s, and get a quarter.
const BABBLE: usize = 2 << 20;
const PORTION: usize = 4096;

/// How long a call may take. The boards without entropy say nothing for 0.6 s after their start.
const TIMEOUT: Duration = Duration::from_secs(4);
/// A test that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(600);

macro_rules! boards {
    ($($(#[$doc:meta])* $name:ident($scenario:ident, $board:ident);)*) => {
        $(
            $(#[$doc])*
            #[test]
            #[ignore = "needs qemu-system-arm, qemu-system-riscv32 and a cross compiler"]
            fn $name() {
                run($scenario($board));
            }
        )*
    };
}

boards! {
    a_microbit_keeps_the_promise_while_it_is_reset_and_killed(resets, MICROBIT);
    an_lm3s_without_entropy_keeps_the_promise_while_it_is_reset_and_killed(resets, LM3S);
    an_lm3s_with_embassy_keeps_the_promise_while_it_is_reset_and_killed(resets, LM3S_EMBASSY);
    a_riscv_with_a_boot_counter_keeps_the_promise_while_it_is_reset_and_killed(resets, RISCV);

    a_microbit_survives_a_host_that_does_not_read(stall, MICROBIT);
    an_lm3s_survives_a_host_that_does_not_read(stall, LM3S);
    an_lm3s_with_embassy_survives_a_host_that_does_not_read(stall, LM3S_EMBASSY);
    a_riscv_survives_a_host_that_does_not_read(stall, RISCV);

    a_microbit_answers_after_half_a_megabyte_of_garbage(babble, MICROBIT);
    an_lm3s_answers_after_megabytes_of_garbage(babble, LM3S);
    an_lm3s_with_embassy_answers_after_megabytes_of_garbage(babble, LM3S_EMBASSY);
    a_riscv_answers_after_half_a_megabyte_of_garbage(babble, RISCV);
}

/// One test at a time: an emulator that gets no processor is not what is tested.
fn run(scenario: impl Future<Output = ()>) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { timeout(PATIENCE, scenario).await }).expect("nothing hangs");
}

/// A board, the line to it, and a host at the other end.
struct Bench {
    board: Board,
    emulator: Emulator,
    injector: Injector,
    host: Host,
    /// The board's end of the line, past the injector.
    port: UnixStream,
    started: Instant,
}

/// Orders coins, and notes what comes of it.
#[derive(Clone)]
struct Host {
    client: Client,
    begun: Arc<AtomicU32>,
    ended: Arc<Mutex<Vec<Ended>>>,
}

impl Bench {
    fn new(board: Board, faults: Faults) -> Self {
        let (emulator, port) = Emulator::start(board);
        let line = emulator.dir().join("line");
        let copy = port.try_clone().expect("sockets can be shared");
        let injector = Injector::start(&line, port, faults, SEED);
        let config = Config { lease: bowline::Duration::from_secs(2), ..Config::from_os() };
        let client = Link::unix(line).config(config).timeout(TIMEOUT).spawn();
        let host = Host { client, begun: Arc::default(), ended: Arc::default() };
        Self { board, emulator, injector, host, port: copy, started: Instant::now() }
    }

    /// Holds all calls against the ledger: every promise must have been kept.
    fn audit(&self, what: &str) -> Audit {
        let ledger = self.emulator.ledger();
        let audit = Audit::of(&self.host.ended.lock().expect("nobody panics with it"), &ledger);
        println!("{}, {what}: {audit}", self.board.firmware);
        println!(
            "  {} effects, {:?}, {:.1} s",
            ledger.len(),
            self.injector.counts(),
            self.started.elapsed().as_secs_f64()
        );
        assert!(audit.broken.is_empty(), "{audit}");
        audit
    }
}

impl Host {
    async fn call(&self) {
        let number = self.begun.fetch_add(1, Relaxed);
        let order = Order { number, coins: (number % 7 + 1) as u8 };
        let outcome = self.client.call::<PayOut>(&order).await;
        self.ended.lock().expect("nobody panics with it").push(Ended { order, outcome });
    }

    async fn calls(self, count: u32) {
        for _ in 0..count {
            self.call().await;
        }
    }
}

/// Two callers at once, while the board is reset or its emulator killed at random moments.
async fn resets(board: Board) {
    let bench = Bench::new(board, Faults::ROUGH);
    let host = bench.host.clone();
    let callers = [(); 2].map(|()| tokio::spawn(host.clone().calls(CALLS / 2)));
    // QEMU has to be waited for, and the callers must not.
    let crashes = spawn_blocking(move || {
        let Bench { mut emulator, injector, host, .. } = bench;
        let mut rng = Rng::with_seed(SEED);
        let mut kills = 0;
        for crash in 1..=RESETS {
            while host.begun.load(Relaxed) < crash * CALLS / (RESETS + 1) {
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(Duration::from_micros(rng.u64(..40_000)));
            if rng.bool() {
                injector.attach(emulator.kill());
                kills += 1;
            } else {
                emulator.reset();
            }
        }
        (Bench { emulator, injector, host, ..bench }, kills)
    });
    for caller in callers {
        caller.await.expect("a caller ends");
    }
    let (bench, kills) = crashes.await.expect("the crashes end");
    let audit = bench.audit(&format!("{} resets and {kills} kills", RESETS - kills));
    assert_eq!(audit.calls(), CALLS);
    assert!(audit.ok > CALLS / 2, "most calls work");
    assert!(audit.maybe > 0, "some crashes meet a call");
}

/// The host does nothing for 3 s, longer than the board's lease, in the middle of a call. Nobody reads what the board
/// says, while the host's latest frame comes again and again.
async fn stall(board: Board) {
    let bench = Bench::new(board, Faults::NONE);
    bench.host.clone().calls(5).await;
    let call = tokio::spawn(bench.host.clone().calls(1));
    tokio::time::sleep(Duration::from_millis(2)).await;
    bench.injector.stall(true);
    // All tasks of the host are on this thread.
    thread::sleep(Duration::from_secs(3));
    bench.injector.stall(false);
    let refused = bench.injector.counts().refused;
    call.await.expect("the call ends");
    bench.host.clone().calls(20).await;
    let audit = bench.audit("a host that does not read");
    assert!(refused > 0, "the board has stood still, with nobody to take what it says");
    assert_eq!(audit.calls(), 26);
    assert!(audit.ok >= 25, "all calls work before and after");
}

/// Garbage, much of it, in the middle of a session.
async fn babble(board: Board) {
    let bench = Bench::new(board, Faults::NONE);
    bench.host.clone().calls(5).await;
    let mut port = bench.port.try_clone().expect("sockets can be shared");
    let started = Instant::now();
    let len = if board.machine == "lm3s6965evb" { BABBLE } else { BABBLE / 4 };
    let garbage = spawn_blocking(move || {
        let mut rng = Rng::with_seed(SEED);
        for _ in 0..len / PORTION {
            write_all(&mut port, &garbage(&mut rng)).expect("the board takes it");
        }
    });
    garbage.await.expect("the garbage ends");
    // The last of it waits in the socket, and is in the way of all that comes behind it.
    while bench.host.client.call::<Level>(&()).await.is_err() {}
    let seconds = started.elapsed().as_secs_f64();
    bench.host.clone().calls(20).await;
    let audit = bench.audit(&format!("{len} bytes of garbage in {seconds:.1} s"));
    assert_eq!(audit.ok, 25, "all calls work before and after");
}

/// Bytes of one kind: any, without a delimiter, hardly anything else, or a frame's beginning again and again.
fn garbage(rng: &mut Rng) -> [u8; PORTION] {
    let kind = rng.u8(..4);
    std::array::from_fn(|at| match kind {
        0 => rng.u8(..),
        1 => rng.u8(1..),
        2 => rng.u8(..) / 200,
        _ => [0, 9, 0x41, 0x17, 3][at % 5],
    })
}

/// Waits where there is no room. Whoever shares the socket has made it one that does not.
fn write_all(port: &mut UnixStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match port.write(bytes) {
            Ok(len) => bytes = &bytes[len..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(1)),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
