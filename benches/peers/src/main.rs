//! What else there is, measured like bowline. Started by `cargo bench --bench link -- --peers`.

mod enet;
mod framed;
mod kcp;
mod quic;
mod tcp;

#[path = "../../link/args.rs"]
mod args;
#[path = "../../link/model/mod.rs"]
mod model;
#[path = "../../link/report.rs"]
mod report;

use args::Args;
use framed::Framed;
use model::cell::Cell;
use model::load::Amount;
use model::measure::Figures;
use model::node::Node;
use model::run::run;

fn main() -> Result<(), lexopt::Error> {
    let Some(args) = Args::parse(lexopt::Parser::from_env())? else {
        println!("{}", args::HELP);
        return Ok(());
    };
    let protocols: Vec<Protocol> = kcp::TUNINGS
        .map(Protocol::Kcp)
        .into_iter()
        .chain(tcp::TUNINGS.map(Protocol::Tcp))
        .chain(quic::TUNINGS.map(Protocol::Quic))
        .chain([Protocol::Enet])
        .filter(|protocol| args.wants(protocol.name()))
        .collect();
    let mut jobs = Vec::new();
    for cell in &args.cells {
        for protocol in &protocols {
            jobs.extend(args.seeds.iter().map(|seed| (*protocol, *cell, *seed)));
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
    Kcp(kcp::Tuning),
    Tcp(tcp::Tuning),
    Quic(quic::Tuning),
    Enet,
}

impl Protocol {
    const fn name(&self) -> &'static str {
        match self {
            Self::Kcp(tuning) => tuning.name,
            Self::Tcp(tuning) => tuning.name,
            Self::Quic(tuning) => tuning.name,
            Self::Enet => "enet",
        }
    }

    fn run(self, cell: &Cell, amount: Amount, seed: u64) -> Figures {
        let [mut one, mut two]: [Box<dyn Node>; 2] = match self {
            Self::Kcp(tuning) => {
                [false, true].map(|second| Box::new(Framed(kcp::KcpPeer::new(tuning, cell, second))) as Box<dyn Node>)
            }
            Self::Tcp(tuning) => [false, true]
                .map(|second| Box::new(Framed(tcp::TcpPeer::new(tuning, cell, second, seed))) as Box<dyn Node>),
            Self::Quic(tuning) => quic::pair(tuning, cell, seed).map(|peer| Box::new(Framed(peer)) as Box<dyn Node>),
            Self::Enet => enet::pair(cell).map(|peer| Box::new(Framed(peer)) as Box<dyn Node>),
        };
        run(self.name().into(), cell, amount, seed, [&mut *one, &mut *two])
    }
}
