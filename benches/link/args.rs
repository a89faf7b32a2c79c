//! The command line.

use crate::model::cell::{self, Cell};

pub const HELP: &str = "\
cargo bench --bench link -- [options] [cells…]

Measures bowline, and a selective repeat that knows the round trip, on simulated links in virtual time.

  --peers        other protocols as well (compiled on first use)
  --json         one object a line instead of tables
  --read FILE    no runs: what --json has written before; can be given several times
  --chart FILE   draw goodput and p99.9 over loss on 125 kB/s, 20 ms as SVG
  --seeds A-B    seeds to run, 101-105 by default; tables show their medians
  --quick        one seed, a quarter of the time
  --only NAME    only protocols whose name begins like this
  --notes        print what the nodes have counted

A cell is named by words with slashes between them; all that have these words are run:
  load     bulk rpc1 rpc8
  link     u115 1m 100m (11 520, 125 000, 12 500 000 bytes/s)
  latency  1ms 20ms 100ms
  loss     0% 1% 5% 10% 20% 30%
  fault    clean ber garble bursts asymmetric latency outage
For example: bulk/1m/20ms  rpc1/10%  bulk/ber/0%";

/// What is to be done.
pub struct Args {
    pub peers: bool,
    pub json: bool,
    pub read: Vec<String>,
    pub chart: Option<String>,
    pub seeds: Vec<u64>,
    pub quick: bool,
    pub only: Option<String>,
    pub notes: bool,
    /// What has to be said to choose the same runs.
    pub forwarded: Vec<String>,
    pub cells: Vec<Cell>,
}

impl Args {
    /// `None` if help was asked for.
    pub fn parse(parser: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        use lexopt::prelude::{Long, Short, Value};
        let mut parser = parser;
        let mut args = Self {
            peers: false,
            json: false,
            read: Vec::new(),
            chart: None,
            seeds: Vec::new(),
            quick: false,
            only: None,
            notes: false,
            forwarded: Vec::new(),
            cells: Vec::new(),
        };
        let mut filters = Vec::new();
        let mut range = None;
        while let Some(arg) = parser.next()? {
            match arg {
                Long("peers") => args.peers = true,
                Long("json") => args.json = true,
                Long("read") => args.read.push(text(&mut parser)?),
                Long("chart") => args.chart = Some(text(&mut parser)?),
                Long("seeds") => range = Some(text(&mut parser)?),
                Long("quick") => args.quick = true,
                Long("only") => args.only = Some(text(&mut parser)?),
                Long("notes") => args.notes = true,
                // What cargo says to every bench.
                Long("bench") => {}
                Long("help") | Short('h') => return Ok(None),
                Value(filter) => filters.push(filter.to_string_lossy().into_owned()),
                other => return Err(other.unexpected()),
            }
        }
        let range = range.unwrap_or(if args.quick { "101" } else { "101-105" }.into());
        args.seeds = seeds(&range).ok_or("seeds are given like 1-5")?;
        args.cells = cell::chosen(&filters)?;
        args.forwarded = vec!["--seeds".into(), range];
        args.forwarded.extend(args.quick.then(|| "--quick".into()));
        if let Some(only) = &args.only {
            args.forwarded.extend(["--only".into(), only.clone()]);
        }
        args.forwarded.extend(filters);
        Ok(Some(args))
    }

    /// Whether `protocol` is to be run.
    pub fn wants(&self, protocol: &str) -> bool {
        self.only.as_deref().is_none_or(|only| protocol.starts_with(only))
    }
}

fn text(parser: &mut lexopt::Parser) -> Result<String, lexopt::Error> {
    Ok(parser.value()?.to_string_lossy().into_owned())
}

fn seeds(range: &str) -> Option<Vec<u64>> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    Some((first.parse().ok()?..=last.parse().ok()?).collect())
}
