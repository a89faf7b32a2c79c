//! Two nodes on two wires, in virtual time: each run with a seed is always the same.

#[path = "../examples/shared/line.rs"]
mod line;

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;

use bowline::drivers::LinkEvent;
use bowline::drivers::blocking::{Frames, Node, Port};
use bowline::drivers::{
    rs485::Rs485,
    uart::{Clock as _, Uart},
};
use bowline::{Buffers, CallError, Config, Duration, Executed, Incarnation, Instant, Reason, frame_len};
use embedded_hal::digital::OutputPin;
use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write};
use line::{Io, Pin, Tap, Wiring, line};

bowline::interface! {
    enum Board {
        at_most_once Turn(i32) -> i32;
        notify Sample([u8; 16]);
    }
}

/// 115 200 baud.
const BYTE_TIME: u64 = 87;
const TURNAROUND: Duration = Duration::from_micros(500);

/// What a board has seen.
#[derive(Debug, Default, PartialEq, Eq)]
struct Report {
    ok: i32,
    maybe: i32,
    position: i32,
    samples: u32,
    collisions: u32,
    slowest_millis: u64,
    end_millis: u64,
}

type BoardPort = Rs485<Io, Pin, Tap>;

fn port(tap: Tap, seed: u32) -> BoardPort {
    let (io, pin) = (tap.io(), tap.pin());
    Rs485::new(Uart::with_clock(io, tap), pin, TURNAROUND, seed)
}

fn config(seed: u64) -> Config {
    Config::new(Incarnation::random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

/// Each board calls the other, at moments that are multiples of `pace`, and is there until both are done.
fn run(wiring: Wiring, calls: i32, pace: Duration, has_samples: bool) -> [Report; 2] {
    let [a, b] = line(wiring);
    let at_work = AtomicU32::new(2);
    thread::scope(|scope| {
        let seed = wiring.seed as u32 * 2;
        let boards = [(a, seed + 1), (b, seed + 2)].map(|(tap, seed)| {
            let at_work = &at_work;
            scope.spawn(move || board(tap, seed, calls, pace, has_samples && seed % 2 == 1, at_work))
        });
        boards.map(|board| board.join().expect("a board has panicked"))
    })
}

fn board(tap: Tap, seed: u32, calls: i32, pace: Duration, has_samples: bool, at_work: &AtomicU32) -> Report {
    let mut report = Report::default();
    let (position, samples) = (Cell::new(0), Cell::new(0));
    let mut clock = tap.clone();
    let storage = Buffers::<48, 2, 2, 4, 4>::new();
    let mut node = Node::new(port(tap, seed), config(seed.into()), storage, Frames::<{ frame_len(48) }>::new())
        .serve::<Board>(|context, message| match message {
            Board::Turn(steps, reply) => {
                position.set(position.get() + steps);
                context.reply(reply, &position.get());
            }
            Board::Sample(_) => samples.set(samples.get() + 1),
        });
    for _ in 0..calls {
        let begun = node.port().now();
        match node.call::<Turn>(&1) {
            Ok(_) => report.ok += 1,
            Err(error) if error.executed != Executed::No => report.maybe += 1,
            Err(_) => {}
        }
        let took = node.port().now().saturating_duration_since(begun);
        report.slowest_millis = report.slowest_millis.max(took.as_millis());
        let pace = pace.as_micros().max(1);
        let next = Instant::from_micros((clock.now().as_micros() / pace + 1) * pace);
        while clock.now() < next {
            if has_samples {
                _ = node.notify::<Sample>(&[7; 16]);
            }
            let wake_at = node.poll();
            clock.idle(wake_at.map(|wake_at| wake_at.min(next)).or(Some(next)));
        }
    }
    at_work.fetch_sub(1, SeqCst);
    while at_work.load(SeqCst) > 0 {
        if has_samples {
            _ = node.notify::<Sample>(&[7; 16]);
        }
        node.turn();
    }
    report.end_millis = node.port().now().as_micros() / 1_000;
    report.collisions = node.port().collisions();
    drop((node, clock));
    Report { position: position.get(), samples: samples.get(), ..report }
}

const UNPACED: Duration = Duration::ZERO;

#[test]
fn both_call_each_other_and_every_call_takes_effect_once() {
    for seed in 0..40 {
        for has_echo in [false, true] {
            let wiring = Wiring { byte_time: BYTE_TIME, has_echo, noise: 0, seed };
            let [a, b] = run(wiring, 50, UNPACED, false);
            assert_eq!([a.ok, b.ok, a.position, b.position], [50; 4], "seed {seed}, echo {has_echo}: {a:?} {b:?}");
            assert!(a.end_millis < 1_000, "seed {seed}, echo {has_echo}: {a:?}");
        }
    }
}

#[test]
fn a_line_that_garbles_one_byte_in_fifty_breaks_no_promise() {
    for seed in 0..20 {
        for has_echo in [false, true] {
            let wiring = Wiring { byte_time: BYTE_TIME, has_echo, noise: 50, seed };
            let boards = run(wiring, 50, UNPACED, false);
            for (one, other) in [(&boards[0], &boards[1]), (&boards[1], &boards[0])] {
                assert!((one.ok..=one.ok + one.maybe).contains(&other.position), "seed {seed}: {boards:?}");
                assert!(one.ok >= 45, "seed {seed}: {boards:?}");
            }
        }
    }
}

#[test]
fn two_that_begin_at_the_same_moment_do_not_do_so_for_ever() {
    for has_echo in [false, true] {
        let mut collisions = 0;
        for seed in 0..10 {
            let wiring = Wiring { byte_time: BYTE_TIME, has_echo, noise: 0, seed };
            let [a, b] = run(wiring, 50, Duration::from_millis(50), false);
            assert_eq!([a.ok, b.ok, a.position, b.position], [50; 4], "seed {seed}, echo {has_echo}: {a:?} {b:?}");
            // Within a tenth of its time limit.
            assert!(a.slowest_millis.max(b.slowest_millis) < 500, "seed {seed}, echo {has_echo}: {a:?} {b:?}");
            collisions += a.collisions + b.collisions;
        }
        assert_eq!(collisions > 100, has_echo, "only who hears itself knows of {collisions} collisions");
    }
}

#[test]
fn nobody_talks_the_other_down() {
    for has_echo in [false, true] {
        let wiring = Wiring { byte_time: BYTE_TIME, has_echo, noise: 0, seed: 1 };
        let [a, b] = run(wiring, 100, Duration::from_millis(5), true);
        assert_eq!([a.ok, b.ok, a.position, b.position], [100; 4], "{a:?} {b:?}");
        assert!(b.samples > 100, "{b:?}");
        assert!(b.slowest_millis < 60, "{b:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let wiring = Wiring { byte_time: BYTE_TIME, has_echo: true, noise: 100, seed: 5 };
    assert_eq!(run(wiring, 50, UNPACED, false), run(wiring, 50, UNPACED, false));
}

#[test]
fn a_node_that_hears_itself_takes_nothing_of_it_for_the_other() {
    let [a, b] = line(Wiring { byte_time: BYTE_TIME, has_echo: true, noise: 0, seed: 1 });
    drop(b);
    let mut node =
        Node::new(port(a, 1), config(1), Buffers::<48>::new(), Frames::<{ frame_len(48) }>::new()).timeout(SECOND);
    assert_eq!(node.call::<Turn>(&1), Err(UNREACHABLE));
    let stats = *node.endpoint().stats();
    assert!(stats.hellos_sent > 3);
    assert_eq!(stats.frames_received, 0);
    assert_eq!(node.port().collisions(), 0);
}

const SECOND: Duration = Duration::from_secs(1);
const UNREACHABLE: CallError = CallError { reason: Reason::Unreachable, executed: Executed::No };

#[test]
fn calls_end_in_time_on_a_line_that_is_never_quiet() {
    let [a, mut babbler] = line(Wiring { byte_time: BYTE_TIME, has_echo: true, noise: 0, seed: 1 });
    let is_done = AtomicU32::new(0);
    thread::scope(|scope| {
        let is_done = &is_done;
        scope.spawn(move || {
            let mut random = fastrand::Rng::with_seed(1);
            babbler.pin().set_high().unwrap();
            while is_done.load(SeqCst) == 0 {
                babbler.io().write_all(&[random.u8(..), random.u8(..)]).unwrap();
                babbler.io().flush().unwrap();
                _ = babbler.now();
            }
        });
        let frames = Frames::<{ frame_len(48) }>::new();
        let mut node = Node::new(port(a, 1), config(1), Buffers::<48>::new(), frames).timeout(SECOND);
        for _ in 0..3 {
            let begun = node.port().now();
            assert_eq!(node.call::<Turn>(&1), Err(UNREACHABLE));
            assert!(node.port().now().saturating_duration_since(begun + SECOND) <= TURNAROUND);
        }
        // It did not even try, but for the time at which it could not yet know.
        assert!(node.port().collisions() <= 1);
        is_done.store(1, SeqCst);
    });
}

/// A port that takes some bytes and fails then.
struct Failing {
    takes: usize,
}

impl ErrorType for Failing {
    type Error = ErrorKind;
}

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> Result<usize, ErrorKind> {
        Err(ErrorKind::Other)
    }
}

impl ReadReady for Failing {
    fn read_ready(&mut self) -> Result<bool, ErrorKind> {
        Ok(false)
    }
}

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        if self.takes == 0 {
            return Err(ErrorKind::BrokenPipe);
        }
        let taken = bytes.len().min(self.takes);
        self.takes -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

#[derive(Clone, Default)]
struct Probe(Rc<Cell<(bool, u32)>>);

impl embedded_hal::digital::ErrorType for Probe {
    type Error = Infallible;
}

impl OutputPin for Probe {
    fn set_high(&mut self) -> Result<(), Infallible> {
        self.0.set((true, self.0.get().1 + 1));
        Ok(())
    }

    fn set_low(&mut self) -> Result<(), Infallible> {
        self.0.set((false, self.0.get().1));
        Ok(())
    }
}

#[test]
fn a_port_that_fails_in_the_middle_of_a_frame_does_not_hold_the_line() {
    let (now, failures, pin) = (Cell::new(0), Cell::new(0), Probe::default());
    let uart = Uart::new(Failing { takes: 13 }, || Instant::from_micros(now.get()))
        .with_idle(|until| now.set(until.map_or(now.get() + 1_000, |until| until.as_micros())));
    let port = Rs485::new(uart, pin.clone(), TURNAROUND, 1);
    let mut node = Node::new(port, config(1), Buffers::<48>::new(), Frames::<{ frame_len(48) }>::new())
        .timeout(SECOND)
        .on_event(|event| match event {
            LinkEvent::PortFailed(error) => {
                assert_eq!(error, ErrorKind::BrokenPipe);
                failures.set(failures.get() + 1);
            }
            event => assert!(matches!(event, LinkEvent::PortRestored), "{event:?}"),
        });
    assert_eq!(node.call::<Turn>(&1), Err(UNREACHABLE));
    let (is_high, raised) = pin.0.get();
    assert!(!is_high && raised > 1, "{raised}");
    assert!(failures.get() >= 1);
}

#[test]
fn who_comes_late_looks_whether_the_other_speaks() {
    let [a, b] = line(Wiring { byte_time: BYTE_TIME, has_echo: false, noise: 0, seed: 1 });
    b.pin().set_high().unwrap();
    b.io().write_all(b"hello").unwrap();
    drop(b);
    let late = Instant::from_micros(10_000);
    a.sleep(late);
    // However its coin falls.
    for seed in 1..9 {
        assert_eq!(port(a.clone(), seed).is_free_at(), late + TURNAROUND);
    }
}

/// A receiver that shows what it has heard only when the whole frame is out.
#[derive(Default)]
struct Slow {
    heard: Vec<u8>,
    shows: Rc<Cell<bool>>,
}

impl ErrorType for Slow {
    type Error = ErrorKind;
}

impl Read for Slow {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        let len = self.heard.len().min(buf.len());
        buf[..len].copy_from_slice(&self.heard[..len]);
        self.heard.drain(..len);
        Ok(len)
    }
}

impl ReadReady for Slow {
    fn read_ready(&mut self) -> Result<bool, ErrorKind> {
        Ok(self.shows.get() && !self.heard.is_empty())
    }
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.heard.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

#[test]
fn an_echo_that_comes_late_is_dropped_while_the_other_may_not_speak() {
    let (now, shows) = (Cell::new(1_000), Rc::new(Cell::new(false)));
    let io = Slow { shows: Rc::clone(&shows), ..Slow::default() };
    let uart = Uart::new(io, || Instant::from_micros(now.get()));
    let mut port = Rs485::new(uart, Probe::default(), TURNAROUND, 1);
    assert_eq!(port.send(b"a frame"), Ok(7));
    shows.set(true);
    let mut buf = [0; 4];
    assert_eq!(port.receive(&mut buf, None), Ok(0));
    assert_eq!(port.is_free_at(), Instant::from_micros(2_000));
    now.set(1_500);
    // Now it would be the other one.
    assert_eq!(port.receive(&mut buf, None), Ok(3));
    assert_eq!(&buf[..3], b"ame");
    assert_eq!(port.is_free_at(), Instant::from_micros(2_000));
}
