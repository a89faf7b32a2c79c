//! A progress bar on standard error, when that is a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::args::Options;
use crate::supervisor::Tally;
use crate::text::grouped;

const WIDTH: u64 = 24;
const EVERY: Duration = Duration::from_millis(80);

/// Clears its line when it is dropped.
pub struct Progress {
    calls: u32,
    began: Instant,
    /// `None` when nobody would see it.
    drawn: Option<Instant>,
}

impl Progress {
    pub fn new(options: &Options) -> Self {
        let visible = io::stderr().is_terminal() && !options.trace;
        let began = Instant::now();
        Self { calls: options.calls, began, drawn: visible.then_some(began) }
    }

    pub fn draw(&mut self, tally: Tally, crashes: u32) {
        let Some(drawn) = &mut self.drawn else { return };
        if drawn.elapsed() < EVERY {
            return;
        }
        *drawn = Instant::now();
        let ended = u64::from(tally.sum());
        let part = |whole: u64| (ended * whole / u64::from(self.calls)) as usize;
        let (full, percent) = (part(WIDTH), part(100));
        let bar = "█".repeat(full) + &"░".repeat(WIDTH as usize - full);
        let mut line = format!("  {bar} {percent:>3} %  ok {}", grouped(tally.ok));
        for (count, what) in [
            (tally.failed_no, "no"),
            (tally.failed_maybe, "maybe"),
            (tally.abandoned, "abandoned"),
            (crashes, "crashes"),
        ] {
            if count > 0 {
                line += &format!("  {what} {}", grouped(count));
            }
        }
        line += &format!("  {:.0} s", self.began.elapsed().as_secs_f64());
        // Nothing is lost with a picture.
        _ = write!(io::stderr(), "\r{line}\x1b[K").and_then(|()| io::stderr().flush());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            _ = write!(io::stderr(), "\r\x1b[K").and_then(|()| io::stderr().flush());
        }
    }
}
