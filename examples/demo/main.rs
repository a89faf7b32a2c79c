//! A dispenser that pays out no coin twice, though its wire is bad and its process is killed again and again.
//!
//! `cargo run --release --example demo -- --help` tells more. The cast:
//!
//! ```text
//!   caller process ── pty or UDP ── fault injector ── pty or UDP ── device process ── ledger
//!   (caller.rs)                     (injector.rs)                   (device.rs)
//!              └── reports ──────── supervisor ─────── reports ──┘
//!                                  (supervisor.rs, audit.rs)
//! ```

mod args;
mod audit;
mod caller;
mod capture;
mod crashes;
mod device;
#[allow(dead_code)]
#[path = "../../tests/sim/diagram.rs"]
mod diagram;
mod dispenser;
mod histogram;
mod injector;
mod ledger;
mod link;
mod port;
mod process;
mod progress;
mod recovered;
mod reports;
mod summary;
mod supervisor;
mod text;
mod wire_log;

use std::env;
use std::io::{self, ErrorKind};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use args::{Command, Options};
use audit::Audit;
use capture::Capture;
use summary::{Announcement, Json, Summary};
use wire_log::{Trace, WireLog};

fn main() -> ExitCode {
    let command = match args::parse(env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("demo: {error}\nTry --help.");
            return ExitCode::from(2);
        }
    };
    let result = match command {
        Command::Help => text::show(args::HELP).map(|()| true),
        Command::Demo(options) => demo(&options),
        Command::Device(options) => until_the_parent_is_gone(device::run(&options)),
        Command::Caller(options) => until_the_parent_is_gone(caller::run(&options)),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every promise was kept.
fn demo(options: &Options) -> io::Result<bool> {
    let trace = options.trace.then_some(if options.json { Trace::Stderr } else { Trace::Stdout });
    if !options.json {
        text::show(Announcement(options))?;
    }
    let began = Instant::now();
    let capture = options.capture.as_deref().map(|path| Capture::create(path, began, !options.udp)).transpose()?;
    let log = Arc::new(WireLog::new(began, trace, capture));
    let run = supervisor::run(options, &log)?;
    log.finish()?;
    let audit = Audit::of(&run);
    let counts = log.counts();
    if options.json {
        text::show(Json { run: &run, audit: &audit, counts })?;
    } else {
        let recovered = recovered::find(&run, &log.entries());
        text::show(Summary { options, run: &run, audit: &audit, counts, recovered })?;
    }
    Ok(audit.broken_promises() == 0)
}

/// A child that has lost its parent, or its wire with it, ends in silence.
fn until_the_parent_is_gone(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Err(error) if error.kind() != ErrorKind::BrokenPipe && error.kind() != ErrorKind::UnexpectedEof => Err(error),
        _ => Ok(true),
    }
}
