//! Latencies as text bars.

use std::fmt;

/// Bounds of the bars in milliseconds.
const BOUNDS: [u64; 12] = [15, 20, 25, 30, 40, 60, 100, 200, 400, 800, 1_500, u64::MAX];
const WIDTH: u64 = 40;

/// The histogram of some latencies: print it.
pub struct Histogram {
    sorted: Vec<u64>,
}

impl Histogram {
    pub fn of(micros: impl Iterator<Item = u64>) -> Self {
        let mut sorted = micros.collect::<Vec<_>>();
        sorted.sort_unstable();
        Self { sorted }
    }

    /// The latency in milliseconds that `percent` of all do not exceed.
    pub fn percentile(&self, percent: usize) -> f64 {
        let index = (self.sorted.len() * percent).div_ceil(100).saturating_sub(1);
        self.sorted.get(index).map_or(0.0, |micros| *micros as f64 / 1_000.0)
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = BOUNDS.iter().scan(0, |below, bound| {
            let up_to = self.sorted.partition_point(|micros| micros / 1_000 < *bound);
            let count = up_to - *below;
            *below = up_to;
            Some(count as u64)
        });
        let counts = counts.collect::<Vec<_>>();
        let largest = counts.iter().copied().max().unwrap_or(0).max(1);
        let used = counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        let mut from = 0;
        for (count, to) in counts.iter().zip(BOUNDS).take(used) {
            let range = if to == u64::MAX { format!("over {from}") } else { format!("{from}–{to}") };
            let bar = "█".repeat((count * WIDTH / largest) as usize);
            let sliver = if *count > 0 && bar.is_empty() { "▏" } else { "" };
            let line = format!("  {range:>9} ms  {count:>6}  {bar}{sliver}");
            writeln!(f, "{}", line.trim_end())?;
            from = to;
        }
        Ok(())
    }
}
