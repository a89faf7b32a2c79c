//! Goodput and latency on bad links, in virtual time: what is measured and how is told in `docs/performance.md`.
//! `cargo bench --bench link -- --help` tells the options.

mod args;
mod bowline;
mod model;
mod oracle;
mod report;

use args::Args;
use bowline::Bowline;
use model::cell::{Cell, Load};
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
    let mut jobs = Vec::new();
    for cell in &args.cells {
        for protocol in PROTOCOLS {
            if args.wants(protocol.name()) && protocol.is_for(cell) {
                jobs.extend(args.seeds.iter().map(|seed| (protocol, *cell, *seed)));
            }
        }
    }
    let figures = report::in_parallel(&args, &jobs, |(protocol, cell, seed)| {
        protocol.run(cell, Amount::new(cell, args.quick), *seed)
    });
    if !args.json {
        print!("{}", report::tables(&figures));
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Protocol {
    Small,
    Large,
    Oracle,
}

const PROTOCOLS: [Protocol; 3] = [Protocol::Small, Protocol::Large, Protocol::Oracle];

impl Protocol {
    const fn name(self) -> &'static str {
        match self {
            Self::Small => "bowline-256",
            Self::Large => "bowline-1200",
            Self::Oracle => "oracle",
        }
    }

    /// The size of frames matters only to bulk.
    fn is_for(self, cell: &Cell) -> bool {
        !matches!(self, Self::Large) || cell.load == Load::Bulk
    }

    fn run(self, cell: &Cell, amount: Amount, seed: u64) -> Figures {
        let (mut one, mut two): (Box<dyn Node>, Box<dyn Node>) = match self {
            Self::Small => (Box::new(Bowline::<256>::new(cell, seed)), Box::new(Bowline::<256>::new(cell, !seed))),
            Self::Large => (Box::new(Bowline::<1200>::new(cell, seed)), Box::new(Bowline::<1200>::new(cell, !seed))),
            Self::Oracle => (Box::new(Oracle::new(cell, false)), Box::new(Oracle::new(cell, true))),
        };
        run(self.name().into(), cell, amount, seed, [&mut *one, &mut *two])
    }
}
