//! What comes out of a run.

use super::cell::{Cell, Fault, LOADS, Load};

/// Figures of one run.
#[derive(Clone, Debug)]
pub struct Figures {
    pub protocol: String,
    pub cell: Cell,
    pub seed: u64,
    /// Payload bytes, as a part of what the link could carry; bulk only.
    pub goodput: Option<f64>,
    /// Latencies of calls in round trips; infinite if calls stalled.
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    pub p999: Option<f64>,
    /// Bytes on the wire, both ways.
    pub wire_bytes_per_message: f64,
    /// After an outage: milliseconds until goodput was what it had been.
    pub recovery_ms: Option<f64>,
    pub notes: String,
}

impl Figures {
    /// One line of JSON.
    pub fn json(&self) -> String {
        let number = |value: Option<f64>| match value {
            Some(value) if value.is_finite() => format!("{value:.4}"),
            _ => "null".into(),
        };
        format!(
            "{{\"protocol\":\"{}\",\"load\":\"{}\",\"rate\":{},\"latency_ms\":{},\"loss_pct\":{},\"fault\":\"{}\",\
             \"seed\":{},\"goodput\":{},\"p50\":{},\"p99\":{},\"p999\":{},\"wire_bytes_per_message\":{},\
             \"recovery_ms\":{}}}",
            self.protocol,
            self.cell.load.name(),
            self.cell.rate,
            self.cell.latency_ms,
            self.cell.loss_pct,
            self.cell.fault.name(),
            self.seed,
            number(self.goodput),
            number(self.p50),
            number(self.p99),
            number(self.p999),
            number(Some(self.wire_bytes_per_message)),
            number(self.recovery_ms),
        )
    }
}

impl Figures {
    /// Reads what [`Self::json`] has written.
    pub fn from_json(line: &str) -> Option<Self> {
        let text = |key: &str| {
            let rest = line.split_once(&format!("\"{key}\":"))?.1;
            Some(rest.split([',', '}']).next()?.trim_matches('"'))
        };
        let number = |key: &str| text(key).and_then(|text| text.parse::<f64>().ok());
        let whole = |key: &str| text(key).and_then(|text| text.parse::<u64>().ok());
        let load = LOADS.into_iter().find(|load| Some(load.name()) == text("load"))?;
        let is_bulk = load == Load::Bulk;
        // Calls that stalled have no latency.
        let latency = |key| (!is_bulk).then(|| number(key).unwrap_or(f64::INFINITY));
        Some(Self {
            protocol: text("protocol")?.into(),
            cell: Cell {
                load,
                rate: whole("rate")?,
                latency_ms: whole("latency_ms")?,
                loss_pct: whole("loss_pct")? as u32,
                fault: Fault::named(text("fault")?)?,
            },
            seed: whole("seed")?,
            goodput: number("goodput"),
            p50: latency("p50"),
            p99: latency("p99"),
            p999: latency("p999"),
            wire_bytes_per_message: number("wire_bytes_per_message")?,
            recovery_ms: number("recovery_ms"),
            notes: String::new(),
        })
    }
}

/// The smallest value that at least `part` of all are not above. `sorted` ascends.
pub fn quantile(sorted: &[u64], part: f64) -> u64 {
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(u64::MAX)
}

/// The middle of `values`, and the smallest and largest.
pub fn median(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted[..] {
        [] => (f64::NAN, f64::NAN, f64::NAN),
        _ => (sorted[sorted.len() / 2], sorted[0], sorted[sorted.len() - 1]),
    }
}
