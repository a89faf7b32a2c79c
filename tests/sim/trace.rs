//! What is seen of a run, when somebody looks: a failing seed is simply run again with its eyes open.

use super::diagram::{Diagram, Fate, Row, Side};
use super::frame::Kind;

/// A frame that a port has taken.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub time: u64,
    pub from: usize,
    pub kind: Kind,
    /// Bytes on the wire, and those of them that are an ack.
    pub len: usize,
    pub ack_len: usize,
}

/// Rows of the diagram and the frames among them, or nothing at all.
#[derive(Default)]
pub struct Trace {
    rows: Option<Vec<Row>>,
    pub frames: Vec<Sent>,
}

pub fn side(node: usize) -> Side {
    if node == 0 { Side::Left } else { Side::Right }
}

impl Trace {
    /// One that keeps its rows.
    pub fn open() -> Trace {
        Trace { rows: Some(Vec::new()), frames: Vec::new() }
    }

    pub fn is_open(&self) -> bool {
        self.rows.is_some()
    }

    pub fn frame(&mut self, time: u64, from: usize, label: impl FnOnce() -> String, fate: Fate) {
        if let Some(rows) = &mut self.rows {
            rows.push(Row::frame(time, side(from), label(), fate));
        }
    }

    pub fn sent(&mut self, frame: Sent) {
        if self.is_open() {
            self.frames.push(frame);
        }
    }

    pub fn note(&mut self, time: u64, node: usize, label: impl FnOnce() -> String) {
        if let Some(rows) = &mut self.rows {
            rows.push(Row::note(time, side(node), label()));
        }
    }

    pub fn across(&mut self, time: u64, label: impl FnOnce() -> String) {
        if let Some(rows) = &mut self.rows {
            rows.push(Row::across(time, label()));
        }
    }

    /// The last `count` rows before and at `time`, drawn.
    pub fn tail(&self, time: u64, count: usize) -> String {
        let mut rows = self.rows.clone().unwrap_or_default();
        rows.retain(|row| row.time <= time);
        rows.sort_by_key(|row| row.time);
        let skipped = rows.len().saturating_sub(count);
        Diagram { left: "A", right: "B", rows: &rows[skipped..] }.to_string()
    }
}
