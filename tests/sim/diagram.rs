//! A trace drawn as a sequence diagram in plain text: two lifelines, one line per frame or event.
//!
//! The file stands alone, so that anything that has rows can draw them (`#[path = "../tests/sim/diagram.rs"] mod diagram;`):
//!
//! ```ignore
//! let rows = vec![
//!     Row::note(0, Side::Left, "call 1"),
//!     Row::frame(50, Side::Left, "#0 | REQUEST 0.1 key 0102 4 B", Fate::Lost),
//!     Row::across(900, "right crashes"),
//!     Row::frame(2_050, Side::Left, "#1 | REQUEST 0.1 key 0102 4 B", Fate::Arrived { at: 3_050 }),
//!     Row::note(3_060, Side::Right, "effect 1"),
//!     Row::frame(3_070, Side::Right, "#0 ack 1 | RESPONSE 0.1 4 B", Fate::Garbled { at: Some(4_070) }),
//! ];
//! print!("{}", Diagram { left: "client", right: "device", rows: &rows });
//! ```
//!
//! draws
//!
//! ```text
//!         ms                    client                                                                      device
//!      0.000                    call 1 |                                                                  |
//!      0.050                           |---- #0 | REQUEST 0.1 key 0102 4 B ----------------------X        |
//!      0.900  ============================================= right crashes ==============================================
//!      2.050                           |---- #1 | REQUEST 0.1 key 0102 4 B ------------------------------>| +1.000
//!      3.060                           |                                                                  | effect 1
//!      3.070                    +1.000 |<~~~ #0 ack 1 | RESPONSE 0.1 4 B ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~|
//! ```
//!
//! Rows are drawn in the order of their times, whatever order they came in. A time is when a frame left; how long it was under way stands
//! at the head of its arrow. `X` is a frame that was lost, `~` one that was altered on its way, `#` one that the port refused.

use std::fmt;

/// Columns between the two lifelines.
const MIDDLE: usize = 66;
/// Columns for what happens at the left side.
const MARGIN: usize = 24;

/// One of the two lifelines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

/// What became of a row's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A frame that arrived as it was sent, at this time in microseconds.
    Arrived { at: u64 },
    /// A frame that was altered under way; with the time at which it arrived, if anything did.
    Garbled { at: Option<u64> },
    /// A frame of which nothing arrived.
    Lost,
    /// A frame that the sender's port did not take.
    Refused,
    /// No frame: something that happened at this side.
    Note,
    /// No frame: something that concerns both sides (a crash, a new phase).
    Across,
}

/// One line of the diagram.
#[derive(Clone, Debug)]
pub struct Row {
    /// Microseconds from the start of the run.
    pub time: u64,
    pub from: Side,
    pub label: String,
    pub fate: Fate,
}

impl Row {
    pub fn frame(time: u64, from: Side, label: impl Into<String>, fate: Fate) -> Row {
        let label = label.into();
        Row { time, from, label, fate }
    }

    pub fn note(time: u64, at: Side, label: impl Into<String>) -> Row {
        Row::frame(time, at, label, Fate::Note)
    }

    pub fn across(time: u64, label: impl Into<String>) -> Row {
        Row::frame(time, Side::Left, label, Fate::Across)
    }
}

/// The drawing: print it.
pub struct Diagram<'a> {
    /// The names of the two sides.
    pub left: &'a str,
    pub right: &'a str,
    pub rows: &'a [Row],
}

impl fmt::Display for Diagram<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = cut(self.left, MARGIN);
        writeln!(f, "{:>10}  {left:>MARGIN$} {:MIDDLE$}   {}", "ms", "", self.right)?;
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by_key(|row| row.time);
        rows.iter().try_for_each(|row| draw(f, row))
    }
}

fn draw(f: &mut fmt::Formatter<'_>, row: &Row) -> fmt::Result {
    write!(f, "{:>10}  ", Millis(row.time))?;
    let arrived_at = match row.fate {
        Fate::Arrived { at } => Some(at),
        Fate::Garbled { at } => at,
        _ => None,
    };
    let under_way = arrived_at.map_or(String::new(), |at| format!("+{}", Millis(at.saturating_sub(row.time))));
    let (margin, middle, right) = match (row.fate, row.from) {
        (Fate::Across, _) => {
            let label = format!(" {} ", row.label);
            return writeln!(f, "{label:=^width$}", width = MARGIN + MIDDLE + 16);
        }
        (Fate::Note, Side::Left) => (row.label.clone(), String::new(), String::new()),
        (Fate::Note, Side::Right) => (String::new(), String::new(), row.label.clone()),
        (_, Side::Left) => (String::new(), rightward(&row.label, row.fate), under_way),
        (_, Side::Right) => (under_way, leftward(&row.label, row.fate), String::new()),
    };
    // A long note at the left runs into its own column's start, never into the lifeline.
    let line = format!("{:>MARGIN$} |{middle:MIDDLE$}| {right}", cut(&margin, MARGIN));
    writeln!(f, "{}", line.trim_end())
}

/// `---- label ------->`, as wide as the space between the lifelines.
fn rightward(label: &str, fate: Fate) -> String {
    let (line, head, reach) = strokes(fate);
    let label = cut(label, reach.saturating_sub(8));
    let tail = reach.saturating_sub(label.chars().count() + 7);
    format!("{} {label} {}{head}", repeat(line, 4), repeat(line, tail))
}

/// `<------- label ----`, as wide as the space between the lifelines.
fn leftward(label: &str, fate: Fate) -> String {
    let (line, head, reach) = strokes(fate);
    let head = if head == '>' { '<' } else { head };
    let label = cut(label, reach.saturating_sub(8));
    let tail = reach.saturating_sub(label.chars().count() + 6);
    let arrow = format!("{head}{} {label} {}", repeat(line, 3), repeat(line, tail));
    format!("{arrow:>MIDDLE$}")
}

/// What an arrow is drawn with, its head, and how far it reaches.
fn strokes(fate: Fate) -> (char, char, usize) {
    match fate {
        Fate::Lost => ('-', 'X', MIDDLE - 8),
        Fate::Garbled { at: Some(_) } => ('~', '>', MIDDLE),
        Fate::Garbled { at: None } => ('~', 'X', MIDDLE - 8),
        Fate::Refused => ('.', '#', MIDDLE / 2),
        _ => ('-', '>', MIDDLE),
    }
}

fn repeat(stroke: char, count: usize) -> String {
    std::iter::repeat_n(stroke, count).collect()
}

/// `text`, shortened to `len` columns.
fn cut(text: &str, len: usize) -> String {
    if text.chars().count() <= len {
        return text.to_string();
    }
    let kept: String = text.chars().take(len.saturating_sub(1)).collect();
    kept + "…"
}

/// Microseconds, shown as milliseconds.
struct Millis(u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{:03}", self.0 / 1_000, self.0 % 1_000))
    }
}
