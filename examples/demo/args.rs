//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;

use crate::dispenser::MAX_IN_FLIGHT;
use crate::{caller, device};

pub const HELP: &str = "\
Shows what bowline promises. A caller asks a dispenser for coins over a wire that loses, garbles and doubles frames, while the
dispenser's process is killed again and again. The dispenser writes each effect to a ledger before it answers; at the end the
ledger is held against what the caller was told. Exit status 1 when a promise was broken.

Usage: cargo run --release --example demo -- [options]

  --calls N        calls to make (1000)
  --in-flight N    calls open at a time, 1 to 32 (8)
  --loss P         frames lost, in percent (10)
  --garble P       frames with one to three bits flipped, in percent (2)
  --dup P          frames that arrive twice, in percent (1)
  --crash-every N  SIGKILL the device once for N/2 to 3N/2 calls that end, so about every N; 0 never (50). It starts again after
                   50 to 350 ms, every fifth time after 3 s
  --crash-client   kill and restart the caller too, by a schedule of the same kind; calls that it had open count as abandoned
  --udp            two UDP sockets on loopback instead of a pty; there 3 % of the frames are overtaken by later ones as well
  --seed N         repeat the choices of another run: which frame of each direction (the first, the second ...) meets which
                   fault, and after how many calls who is killed. What the frames hold is not repeated: it depends on the
                   operating system's scheduling, and each start of a process draws a new incarnation at random
  --ledger FILE    keep the ledger there, one line for each effect: run, call, coins
  --capture FILE   write every byte that passes there, with the time and the side; examples/demo/capture.rs says how
  --trace          print every frame as it passes
  --json           print only one line of JSON: how many calls ended how, and what it took
  --help           print this

A frame is under way for 4 ms, a motor runs for 5 ms, a call has 1.5 s. Bytes are counted as both sides send them, with all
framing (with --udp without the headers of UDP and IP).
";

/// What is asked of this process.
#[derive(Debug)]
pub enum Command {
    Help,
    Demo(Options),
    /// The hidden roles, for the demo's own children.
    Device(device::Options),
    Caller(caller::Options),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub calls: u32,
    pub in_flight: usize,
    pub loss: f64,
    pub garble: f64,
    pub dup: f64,
    pub crash_every: u32,
    pub crash_client: bool,
    pub udp: bool,
    pub seed: u64,
    pub ledger: Option<PathBuf>,
    pub capture: Option<PathBuf>,
    pub trace: bool,
    pub json: bool,
    /// Hidden: the device breaks its promise now and then, to show that the audit finds it.
    pub break_promise: bool,
}

impl Options {
    /// How the device is started.
    pub fn device_args(&self) -> Vec<String> {
        [("device", true), ("--udp", self.udp), ("--break-promise", self.break_promise)]
            .into_iter()
            .filter(|(_, given)| *given)
            .map(|(arg, _)| arg.to_owned())
            .collect()
    }

    /// How the caller is started, to make all calls from the one numbered `first`.
    pub fn caller_args(&self, run: u32, first: usize) -> Vec<String> {
        let udp = if self.udp { " --udp" } else { "" };
        format!("caller --run {run} --first {first} --calls {} --in-flight {}{udp}", self.calls, self.in_flight)
            .split(' ')
            .map(str::to_owned)
            .collect()
    }
}

/// Reads the command line, without the name of the program.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, lexopt::Error> {
    let mut parser = lexopt::Parser::from_args(args);
    let mut role = None;
    let (mut run, mut first) = (0, 0);
    let mut options = Options {
        calls: 1_000,
        in_flight: 8,
        loss: 10.0,
        garble: 2.0,
        dup: 1.0,
        crash_every: 50,
        crash_client: false,
        udp: false,
        seed: fastrand::u64(..1_000_000),
        ledger: None,
        capture: None,
        trace: false,
        json: false,
        break_promise: false,
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Long("help") | Short('h') => return Ok(Command::Help),
            Long("calls") => options.calls = number(&mut parser, "--calls", 1, 10_000_000)? as u32,
            Long("in-flight") => {
                options.in_flight = number(&mut parser, "--in-flight", 1, MAX_IN_FLIGHT as u64)? as usize;
            }
            Long("loss") => options.loss = percentage(&mut parser, "--loss")?,
            Long("garble") => options.garble = percentage(&mut parser, "--garble")?,
            Long("dup") => options.dup = percentage(&mut parser, "--dup")?,
            Long("crash-every") => options.crash_every = number(&mut parser, "--crash-every", 0, 1_000_000_000)? as u32,
            Long("crash-client") => options.crash_client = true,
            Long("udp") => options.udp = true,
            Long("seed") => options.seed = number(&mut parser, "--seed", 0, u64::MAX)?,
            Long("ledger") => options.ledger = Some(parser.value()?.into()),
            Long("capture") => options.capture = Some(parser.value()?.into()),
            Long("trace") => options.trace = true,
            Long("json") => options.json = true,
            Long("break-promise") => options.break_promise = true,
            Long("run") => run = number(&mut parser, "--run", 0, u32::MAX.into())? as u32,
            Long("first") => first = number(&mut parser, "--first", 0, u32::MAX.into())? as u32,
            Value(value) if role.is_none() && (value == "device" || value == "caller") => role = Some(value),
            _ => return Err(arg.unexpected()),
        }
    }
    let faults = options.loss + options.garble + options.dup;
    if faults > 100.0 {
        return Err(format!(
            "--loss, --garble and --dup together are {faults} %: at most 100 % of the frames can meet one"
        )
        .into());
    }
    let Options { udp, calls, in_flight, break_promise, .. } = options;
    Ok(match role {
        None => Command::Demo(options),
        Some(role) if role == "device" => Command::Device(device::Options { udp, break_promise }),
        Some(_) => Command::Caller(caller::Options { udp, run, first, calls, in_flight }),
    })
}

fn number(parser: &mut lexopt::Parser, name: &str, least: u64, most: u64) -> Result<u64, lexopt::Error> {
    let text = parser.value()?.string()?;
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("{name} takes a whole number from {least} to {most}, not {text:?}").into())
}

fn percentage(parser: &mut lexopt::Parser, name: &str) -> Result<f64, lexopt::Error> {
    let text = parser.value()?.string()?;
    let number = text.parse().ok().filter(|number| (0.0..=100.0).contains(number));
    number.ok_or_else(|| format!("{name} takes a percentage from 0 to 100, not {text:?}").into())
}
