//! The dispenser's ledger: each effect is a record in it.
//!
//! The record is what a coin that drops is to a real dispenser: the effect itself. So it has to be where neither a reset
//! of the board nor the end of its power can touch it, and where an audit can read it without the link that is audited. On
//! an emulated board, and on a real one under a debugger, that is a file of the host, by semihosting: one call to append
//! a record, which the host has done or has not done, whatever happens to the board.

use semihosting::fs::{File, OpenOptions};
use semihosting::io::{Seek as _, SeekFrom, Write as _};

use crate::interface::Order;

/// The file `ledger` in the directory of the emulator or debugger.
pub struct Ledger(Option<File>);

impl Ledger {
    /// Opens it, at each start of the board.
    pub fn open() -> Self {
        // Of the modes that semihosting knows, the one that appends is named by all three. QEMU 7.2 takes it for one that
        // writes from the beginning, hence the seek.
        let file = OpenOptions::new().write(true).append(true).create(true).open(c"ledger");
        Self(file.and_then(|mut file| file.seek(SeekFrom::End(0)).map(|_| file)).ok())
    }

    /// The effect. Says whether it has happened.
    pub fn append(&mut self, order: &Order) -> bool {
        let mut record = [0; 8];
        record[..4].copy_from_slice(&order.number.to_be_bytes());
        record[4..].copy_from_slice(&u32::from(order.coins).to_be_bytes());
        self.0.as_mut().is_some_and(|file| file.write_all(&record).is_ok())
    }
}
