//! A host calls a device over a serial line that loses bytes.
//!
//! You will see how many calls out of 300 ended how, how many requests and responses had to be sent again, and that the
//! device has paid out as many coins as the host was told. The line is made of two pseudo-terminals and a relay between
//! them that drops one byte in 200. The device runs as firmware does, over `embedded-io` and a clock closure.

#[path = "shared/dispenser.rs"]
mod dispenser;

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::{error::Error, ffi::CString, io, thread, time};

use bowline::drivers::blocking::{Frames, Node};
use bowline::drivers::{host, uart::Uart};
use bowline::{Buffers, CallError, Config, Executed, Incarnation, Instant, frame_len};
use dispenser::{Dispenser, Fault, Level, PayOut};
use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

static PAID: AtomicU32 = AtomicU32::new(0);
static DROPPED: AtomicU32 = AtomicU32::new(0);

fn main() -> Result<(), Box<dyn Error>> {
    let ((host_end, host_path), (device_end, device_path)) = (pty()?, pty()?);
    let (host_copy, device_copy) = (host_end.try_clone()?, device_end.try_clone()?);
    thread::spawn(|| relay(host_end, device_end, 1));
    thread::spawn(|| relay(device_copy, host_copy, 2));
    let tty = OpenOptions::new().read(true).write(true).open(device_path.to_str()?)?;
    thread::spawn(|| device(tty));

    let path = host_path.to_str()?;
    // The host side: one line to open the port, one for each call.
    let mut dispenser = host::node(host::Serial::new(path, 115_200));
    let before = dispenser.call::<Level>(&())?;

    let (mut ok, mut not_executed, mut maybe) = (0, 0, 0);
    for _ in 0..300 {
        match dispenser.call::<PayOut>(&1) {
            Ok(left) => ok += u32::from(left.is_ok()),
            Err(CallError { executed: Executed::No, .. }) => not_executed += 1,
            Err(_) => maybe += 1,
        }
    }

    let (paid, dropped) = (PAID.load(Relaxed), DROPPED.load(Relaxed));
    println!("The device had {before} coins.");
    println!("The line dropped {dropped} bytes.");
    println!("300 calls: {ok} ok, {not_executed} not executed, {maybe} that nobody can know of.");
    println!("The host sent {} messages again.", dispenser.endpoint().stats().retransmits);
    println!("The device has paid out {paid} coins.");
    let is_kept = dropped > 0 && ok + not_executed + maybe == 300 && (ok..=ok + maybe).contains(&paid);
    if is_kept { Ok(()) } else { Err("the accounts differ".into()) }
}

/// The firmware.
fn device(tty: File) {
    let boot = time::Instant::now();
    let now = move || Instant::from_micros(0) + boot.elapsed().into();
    let wake = tty.try_clone().expect("the port can be waited for");
    let idle = move |until: Option<Instant>| {
        has_bytes(&wake, until.map(|until| until.saturating_duration_since(now()).into()));
    };
    let (uart, random, mut coins) = (Tty(tty), 0x9E37_79B9_7F4A_7C15, 1_000);

    let port = Uart::new(uart, now).with_idle(idle);
    let config = Config::new(Incarnation::random(random)); // 64 random bits, drawn at boot.
    let frames = Frames::<{ frame_len(48) }>::new(); // Payloads of up to 48 bytes.
    Node::new(port, config, Buffers::<48>::new(), frames)
        .serve::<Dispenser>(|context, message| match message {
            Dispenser::PayOut(wanted, reply) => context.reply(reply, &pay_out(&mut coins, wanted)),
            Dispenser::Level((), reply) => context.reply(reply, &coins),
        })
        .run()
}

fn pay_out(coins: &mut u32, wanted: u8) -> Result<u32, Fault> {
    *coins = coins.checked_sub(wanted.into()).ok_or(Fault::Empty)?;
    PAID.fetch_add(wanted.into(), Relaxed);
    Ok(*coins)
}

/// The device's port, as a HAL would provide it.
struct Tty(File);

impl ErrorType for Tty {
    type Error = ErrorKind;
}

impl Read for Tty {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        self.0.read(buf).map_err(|_| ErrorKind::Other)
    }
}

impl ReadReady for Tty {
    fn read_ready(&mut self) -> Result<bool, ErrorKind> {
        Ok(has_bytes(&self.0, Some(time::Duration::ZERO)))
    }
}

impl Write for Tty {
    fn write(&mut self, buf: &[u8]) -> Result<usize, ErrorKind> {
        self.0.write(buf).map_err(|_| ErrorKind::Other)
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

/// Waits for bytes, for ever if `wait` is `None`.
fn has_bytes(tty: &File, wait: Option<time::Duration>) -> bool {
    let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
    poll(&mut [PollFd::new(tty, PollFlags::IN)], wait.as_ref()).is_ok_and(|ready| ready > 0)
}

/// A pseudo-terminal in raw mode: the end of the relay, and the name of the other one.
fn pty() -> io::Result<(File, CString)> {
    let end = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&end)?;
    unlockpt(&end)?;
    let mut attributes = tcgetattr(&end)?;
    attributes.make_raw();
    tcsetattr(&end, OptionalActions::Now, &attributes)?;
    let path = ptsname(&end, Vec::new())?;
    Ok((File::from(end), path))
}

/// One direction of the cable.
fn relay(mut from: File, mut to: File, seed: u64) -> io::Result<()> {
    let (mut random, mut buf) = (fastrand::Rng::with_seed(seed), [0; 256]);
    loop {
        let len = from.read(&mut buf)?;
        let kept: Vec<u8> = buf[..len].iter().copied().filter(|_| random.u8(..200) > 0).collect();
        DROPPED.fetch_add((len - kept.len()) as u32, Relaxed);
        to.write_all(&kept)?;
    }
}
