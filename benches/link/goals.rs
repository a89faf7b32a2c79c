//! What is to be reached, and where it is not.

use std::fmt::Write as _;

use crate::model::cell::{Cell, Fault, Load};
use crate::model::measure::{Figures, median};

/// A median of one protocol in one cell.
struct Result<'f> {
    protocol: &'f str,
    cell: Cell,
    /// Goodput or p99.9.
    value: f64,
    bytes: f64,
    recovery_ms: Option<f64>,
}

/// Says how many goals are met and lists the others.
pub fn check(figures: &[Figures]) -> String {
    let results = results(figures);
    let (mut met, mut missed) = (0, String::new());
    let mut goal = |result: &Result<'_>, what: &str, value: f64, limit: f64, is_met: bool| {
        if is_met {
            met += 1;
            return;
        }
        let Cell { load, latency_ms, loss_pct, fault, .. } = result.cell;
        let (link, load, fault) = (result.cell.link(), load.name(), fault.name());
        let cell = format!("{load}/{link}/{latency_ms}ms/{loss_pct}%/{fault}");
        let _ = writeln!(missed, "  {cell} {}: {what} {value:.3}, not {limit:.3}", result.protocol);
    };
    for result in results.iter().filter(|result| result.protocol.starts_with("bowline")) {
        if let Some(limit) = goodput(result) {
            goal(result, "goodput", result.value, limit, result.value >= limit);
        }
        if let Some(limit) = bytes(result) {
            goal(result, "bytes", result.bytes, limit, result.bytes <= limit);
        }
        if let Some(recovery_ms) = result.recovery_ms {
            let limit = (2.0 * result.cell.round_trip() as f64 / 1e6) + 500.0;
            goal(result, "ms of recovery", recovery_ms, limit, recovery_ms <= limit);
        }
        for other in results.iter().filter(|other| other.cell == result.cell && other.protocol == "twice") {
            let Cell { latency_ms, loss_pct, fault, .. } = result.cell;
            if (fault, loss_pct) == (Fault::None, 10) && latency_ms >= 20 {
                goal(other, "p99.9 with a second copy", other.value, 2.25, other.value <= 2.25);
                let ratio = other.bytes / result.bytes;
                goal(other, "times the bytes", ratio, 2.1, ratio <= 2.1);
            }
        }
        for other in results.iter().filter(|other| other.cell == result.cell) {
            match (other.protocol, result.cell.load) {
                ("oracle", Load::Rpc1 | Load::Rpc8) if result.cell.fault == Fault::None => {
                    let ratio = result.value / other.value;
                    goal(result, "ratio to the oracle", ratio, 1.1, ratio <= 1.1);
                }
                ("bowline-256" | "bowline-1200" | "twice" | "oracle", _) => {}
                (name, Load::Bulk) if result.protocol == "bowline-1200" => {
                    goal(
                        result,
                        &format!("goodput against {name}"),
                        result.value,
                        other.value,
                        result.value > other.value,
                    );
                }
                (name, Load::Rpc1 | Load::Rpc8) => {
                    // Without loss all wait for the same late frames; a hundredth is chance.
                    let is_met = result.value <= 1.01 * other.value;
                    goal(result, &format!("p99.9 against {name}"), result.value, other.value, is_met);
                }
                _ => {}
            }
        }
    }
    format!("\n{met} goals met{}{missed}", if missed.is_empty() { "\n" } else { "; not met:\n" })
}

fn results(figures: &[Figures]) -> Vec<Result<'_>> {
    let mut results: Vec<Result<'_>> = Vec::new();
    for figure in figures {
        let (protocol, cell) = (figure.protocol.as_str(), figure.cell);
        if results.iter().any(|result| (result.protocol, result.cell) == (protocol, cell)) {
            continue;
        }
        let same: Vec<&Figures> =
            figures.iter().filter(|other| (other.protocol.as_str(), other.cell) == (protocol, cell)).collect();
        let middle = |value: &dyn Fn(&Figures) -> Option<f64>| {
            let values: Vec<f64> = same.iter().filter_map(|figure| value(figure)).collect();
            (!values.is_empty()).then(|| median(&values).0)
        };
        results.push(Result {
            protocol,
            cell,
            value: middle(&|figure| figure.goodput.or(figure.p999)).unwrap_or(f64::NAN),
            bytes: middle(&|figure| Some(figure.wire_bytes_per_message)).unwrap_or(f64::NAN),
            recovery_ms: middle(&|figure| figure.recovery_ms),
        });
    }
    results
}

fn goodput(result: &Result<'_>) -> Option<f64> {
    let Cell { load, loss_pct, fault, rate, .. } = result.cell;
    match (load, fault) {
        (Load::Bulk, Fault::None) => Some(match (result.protocol, loss_pct) {
            ("bowline-256", 0..=10) => 0.90,
            ("bowline-256", _) => 0.89,
            (_, 0..=10) => 0.95,
            _ => 0.94,
        }),
        (Load::Bulk, Fault::BitErrors | Fault::Garble) if loss_pct == 0 => match rate {
            11_520 => Some(0.79),
            125_000 => Some(0.78),
            _ => None,
        },
        _ => None,
    }
}

fn bytes(result: &Result<'_>) -> Option<f64> {
    match (result.cell.load, result.cell.fault, result.cell.loss_pct) {
        // A tenth for the first packets, until acks ride along.
        (Load::Rpc1, Fault::Clean, 0) => Some(40.1),
        (Load::Rpc1, Fault::None, 0) => Some(45.0),
        _ => None,
    }
}
