//! Goodput and latency on bad links, in virtual time: what is measured and how is told in `docs/performance.md`.
//! `cargo bench --bench link -- --help` tells the options.

mod args;
mod bowline;
mod chart;
mod goals;
mod model;
mod oracle;
mod report;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use args::Args;
use bowline::Bowline;
use model::cell::{Cell, Fault, Load};
use model::load::Amount;
use model::measure::Figures;
use model::node::Node;
use model::run::run;
use oracle::Oracle;

fn main() -> Result<(), lexopt::Error> {
    let Some(args) = Args::parse(lexopt::Parser::from_env())? else {
        println!("{}", args::HELP);
        return Ok(());
    };
    let mut figures = if args.read.is_empty() { measure(&args) } else { read(&args.read)? };
    if let Some(file) = &args.chart {
        std::fs::write(file, chart::draw(&figures)).map_err(|error| format!("{file}: {error}"))?;
    }
    if !args.json {
        figures.sort_by_key(|figure| figure.cell.order());
        print!("{}{}", report::tables(&figures), goals::check(&figures));
    }
    Ok(())
}

fn measure(args: &Args) -> Vec<Figures> {
    let mut jobs = Vec::new();
    for cell in &args.cells {
        for protocol in PROTOCOLS {
            if args.wants(protocol.name()) && protocol.is_for(cell) {
                jobs.extend(args.seeds.iter().map(|seed| (protocol, *cell, *seed)));
            }
        }
    }
    let mut figures = report::in_parallel(args, &jobs, |(protocol, cell, seed)| {
        protocol.run(cell, Amount::new(cell, args.quick), *seed)
    });
    if args.peers {
        figures.extend(run_peers(args));
    }
    figures
}

/// What was printed as JSON before.
fn read(files: &[String]) -> Result<Vec<Figures>, String> {
    let mut figures = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        figures.extend(text.lines().filter_map(Figures::from_json));
    }
    Ok(figures)
}

/// The other protocols have a package of their own, so that only who asks for them compiles them. It has the same
/// options.
fn run_peers(args: &Args) -> Vec<Figures> {
    let mut child = Command::new(env!("CARGO"))
        .args([
            "run",
            "--quiet",
            "--release",
            "--package",
            "bowline-peers",
            "--bin",
            "bowline-peers",
            "--manifest-path",
        ])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .args(["--", "--json"])
        .args(&args.forwarded)
        .stdout(Stdio::piped())
        .spawn()
        .expect("cargo runs");
    let output = BufReader::new(child.stdout.take().expect("its output is piped"));
    let mut figures = Vec::new();
    for line in output.lines() {
        let line = line.expect("its output is text");
        if args.json {
            println!("{line}");
        }
        figures.extend(Figures::from_json(&line));
    }
    assert!(child.wait().expect("it ends").success(), "the peers have failed");
    figures
}

#[derive(Clone, Copy)]
enum Protocol {
    Small,
    Large,
    /// With a second copy of everything while nothing else is to be said.
    Twice,
    Oracle,
}

const PROTOCOLS: [Protocol; 4] = [Protocol::Small, Protocol::Large, Protocol::Twice, Protocol::Oracle];

impl Protocol {
    const fn name(self) -> &'static str {
        match self {
            Self::Small => "bowline-256",
            Self::Large => "bowline-1200",
            Self::Twice => "twice",
            Self::Oracle => "oracle",
        }
    }

    /// The size of frames matters only to bulk. What knows the round trip knows nothing of outages, and
    /// has no check.
    fn is_for(self, cell: &Cell) -> bool {
        match self {
            Self::Small => true,
            Self::Large => cell.load == Load::Bulk,
            Self::Twice => cell.load == Load::Rpc1,
            Self::Oracle => !matches!(cell.fault, Fault::Outage | Fault::Garble),
        }
    }

    fn run(self, cell: &Cell, amount: Amount, seed: u64) -> Figures {
        let small = |seed, copy| Box::new(Bowline::<256>::new(cell, copy, seed)) as Box<dyn Node>;
        let (mut one, mut two): (Box<dyn Node>, Box<dyn Node>) = match self {
            Self::Small => (small(seed, false), small(!seed, false)),
            Self::Twice => (small(seed, true), small(!seed, true)),
            Self::Large => {
                (Box::new(Bowline::<1200>::new(cell, false, seed)), Box::new(Bowline::<1200>::new(cell, false, !seed)))
            }
            Self::Oracle => (Box::new(Oracle::new(cell, false)), Box::new(Oracle::new(cell, true))),
        };
        run(self.name().into(), cell, amount, seed, [&mut *one, &mut *two])
    }
}
