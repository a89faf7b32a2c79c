//! The device's ledger: every effect is a line. It exists for the audit; the protocol itself keeps nothing on disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek};
use std::path::Path;
use std::{env, process};

use crate::dispenser::{Order, OrderId};

/// `run call amount`.
pub fn line(order: Order) -> String {
    format!("{:08x} {} {}\n", order.id.run, order.id.call, order.amount)
}

/// An effect in the ledger; `None` for a line that no device of ours has written.
pub type Effect = Option<Order>;

/// The file. Every device of the run appends to it through a duplicate of this one descriptor.
pub struct Ledger(File);

impl Ledger {
    /// At `path`, to be kept; or a temporary file that has lost its name before the first line is written, so that nothing
    /// stays behind, however the demo ends.
    pub fn create(path: Option<&Path>) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true);
        if let Some(path) = path {
            File::create(path)?;
            return Ok(Self(options.open(path)?));
        }
        let path = env::temp_dir().join(format!("bowline-demo-{}.ledger", process::id()));
        let file = options.create_new(true).open(&path)?;
        fs::remove_file(&path)?;
        Ok(Self(file))
    }

    /// For a device to append to.
    pub fn try_clone(&self) -> io::Result<File> {
        self.0.try_clone()
    }

    /// Every effect since the beginning.
    pub fn read(&mut self) -> io::Result<Vec<Effect>> {
        let mut text = String::new();
        self.0.rewind()?;
        self.0.read_to_string(&mut text)?;
        Ok(text.split_inclusive('\n').map(parse).collect())
    }
}

fn parse(line: &str) -> Effect {
    let mut words = line.strip_suffix('\n')?.split(' ');
    let run = u32::from_str_radix(words.next()?, 16).ok()?;
    let call = words.next()?.parse().ok()?;
    let amount = words.next()?.parse().ok()?;
    words.next().is_none().then_some(Order { id: OrderId { run, call }, amount })
}
