//! Figures, as text and as JSON.

use std::fmt::Write as _;

pub struct Figure {
    pub protocol: String,
    pub what: String,
    pub nanos: f64,
}

impl Figure {
    pub fn new(protocol: &str, what: &str, nanos: f64) -> Self {
        Self { protocol: protocol.to_owned(), what: what.to_owned(), nanos }
    }

    pub fn to_json(&self) -> String {
        let Self { protocol, what, nanos } = self;
        format!(r#"{{"protocol":"{protocol}","what":"{what}","nanos":{nanos:.1}}}"#)
    }

    #[allow(dead_code, reason = "one of the two programs that share this file only writes")]
    pub fn from_json(line: &str) -> Option<Self> {
        let text = |key: &str| {
            let (_, rest) = line.split_once(&format!(r#""{key}":""#))?;
            rest.split_once('"').map(|(value, _)| value)
        };
        let (_, nanos) = line.split_once(r#""nanos":"#)?;
        Some(Self::new(text("protocol")?, text("what")?, nanos.trim_end_matches('}').parse().ok()?))
    }
}

/// One line for each figure; where others do the same, how many times as long the fastest of them takes.
#[allow(dead_code, reason = "one of the two programs that share this file only writes JSON")]
pub fn table(figures: &[Figure]) -> String {
    let mut table = String::new();
    for (index, figure) in figures.iter().enumerate() {
        let Figure { protocol, what, nanos } = figure;
        let is_first = figures.iter().take(index).all(|before| before.what != *what);
        if !is_first {
            continue;
        }
        let _ = writeln!(table, "{what}");
        let _ = writeln!(table, "  {protocol:24} {nanos:8.1} ns");
        let mut others: Vec<_> = figures.iter().skip(index + 1).filter(|other| other.what == *what).collect();
        others.sort_by(|a, b| a.nanos.total_cmp(&b.nanos));
        for other in others {
            let _ =
                writeln!(table, "  {:24} {:8.1} ns  {:5.2} times", other.protocol, other.nanos, other.nanos / nanos);
        }
    }
    table
}
