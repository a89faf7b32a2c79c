//! What a call, a message and a frame cost the processor: both ends in one process, without a link. How, and what came
//! out, is told in `docs/performance.md`.
//!
//! `cargo bench --bench cpu -- [--peers] [--json]`

mod codec;
mod exchange;
mod node;
mod report;

use std::process::Command;

use exchange::Load;
use node::{Sizes, pair, pair_lent};
use report::Figure;

/// All is measured so often, and the best counts, whosever it is: while another thread works on the same core, which may be for
/// seconds, everything takes up to twice as long.
const ROUNDS: usize = 3;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let Some(unknown) = args.iter().find(|arg| !["--peers", "--json"].contains(&arg.as_str())) {
        eprintln!("{unknown} is none of --peers and --json");
        std::process::exit(2);
    }
    let with_peers = args.iter().any(|arg| arg == "--peers");
    let mut figures = round(with_peers);
    for _ in 1..ROUNDS {
        for (figure, again) in figures.iter_mut().zip(round(with_peers)) {
            figure.nanos = figure.nanos.min(again.nanos);
        }
    }
    if args.iter().any(|arg| arg == "--json") {
        figures.iter().for_each(|figure| println!("{}", figure.to_json()));
    } else {
        print!("{}", report::table(&figures));
    }
}

fn round(with_peers: bool) -> Vec<Figure> {
    let mut figures = bowline();
    figures.extend(codec::figures());
    if with_peers {
        figures.extend(peers());
    }
    figures
}

/// bowline, configured as a server: the figures of each load, and of windows that grow.
fn bowline() -> Vec<Figure> {
    let mut figures = Vec::new();
    for load in Load::ALL {
        figures.push(Figure::new("bowline", load.name(), exchange::measure(load, || pair(load))));
        let nanos = exchange::measure(load, || pair_lent(Sizes::of(load)));
        figures.push(Figure::new("bowline, memory lent", load.name(), nanos));
    }
    for window in [8, 64, 512, 4_096, 20_000] {
        let sizes = Sizes::window(window);
        let nanos = exchange::measure_window(window, || pair_lent(sizes));
        figures.push(Figure::new("bowline", &format!("message, {window} under way"), nanos));
    }
    figures
}

/// The other protocols, measured in the same way by the package that depends on them.
fn peers() -> Vec<Figure> {
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--release", "--package", "bowline-peers", "--bin", "cpu", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("its output is text");
    text.lines().map(|line| Figure::from_json(line).expect("a figure a line")).collect()
}
