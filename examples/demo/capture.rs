//! `--capture`: all that passed on the wire, in a file that other programs can read (`tests/interop/` does).
//!
//! The first line is `bowline capture 1 stream`, or `… datagrams`. Each other line is the time in microseconds, a side
//! (`caller` or `device`), and what happened there; in the order in which it happened:
//!
//! ```text
//! 10293 device starts            its process was started
//! 11520 device sent 01 01 …      these bytes have left it; on a byte stream up to a delimiter, else a datagram
//! 15601 caller got 01 01 …       these have come to it
//! 98112 device killed
//! ```
//!
//! with the bytes as hexadecimal digits without spaces.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use crate::wire_log::Side;

pub struct Capture {
    began: Instant,
    file: Mutex<BufWriter<File>>,
}

impl Capture {
    pub fn create(path: &Path, began: Instant, stream: bool) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        writeln!(file, "bowline capture 1 {}", if stream { "stream" } else { "datagrams" })?;
        Ok(Self { began, file: Mutex::new(file) })
    }

    /// One line. Only of "sent" and "got" there are bytes.
    pub fn write(&self, side: Side, what: &str, bytes: &[u8]) -> io::Result<()> {
        // The time is read under the lock, so the lines are in order.
        let mut file = self.file.lock().expect("nobody panics with the lock");
        let mut line = format!("{} {} {what}", self.began.elapsed().as_micros(), side.name());
        if !bytes.is_empty() {
            line.push(' ');
        }
        for byte in bytes {
            write!(line, "{byte:02x}").expect("a string takes all");
        }
        writeln!(file, "{line}")
    }

    /// All of it is in the file.
    pub fn finish(&self) -> io::Result<()> {
        self.file.lock().expect("nobody panics with the lock").flush()
    }
}
