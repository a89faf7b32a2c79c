//! The machine's port, a 16550. Its interrupt only ends the processor's sleep.

use core::convert::Infallible;

use embedded_io::{ErrorType, Read, ReadReady, Write};

/// Data.
const DATA: usize = 0x1000_0000;
/// Which interrupts are wanted.
const INTERRUPTS: usize = 0x1000_0001;
/// Control of the memory of 16 bytes each way.
const FIFO: usize = 0x1000_0002;
/// Line control.
const LINE: usize = 0x1000_0003;
/// Line status.
const STATUS: usize = 0x1000_0005;

const HAS_RECEIVED: u8 = 1;
const TX_EMPTY: u8 = 1 << 5;

fn read(register: usize) -> u8 {
    // SAFETY: a register of a peripheral that only this module uses.
    unsafe { (register as *const u8).read_volatile() }
}

fn write(register: usize, value: u8) {
    // SAFETY: as above.
    unsafe { (register as *mut u8).write_volatile(value) }
}

pub struct Serial;

impl Serial {
    /// Switches the port on: 8 data bits. The emulator has no speed; a board would be given its divisor here.
    pub fn start() -> Self {
        write(LINE, 3);
        // On, and empty.
        write(FIFO, 7);
        // There are bytes.
        write(INTERRUPTS, 1);
        Self
    }
}

impl ErrorType for Serial {
    type Error = Infallible;
}

impl ReadReady for Serial {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(read(STATUS) & HAS_RECEIVED != 0)
    }
}

impl Read for Serial {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        let mut len = 0;
        for room in buf {
            // The first byte is waited for.
            while read(STATUS) & HAS_RECEIVED == 0 {
                if len > 0 {
                    return Ok(len);
                }
            }
            *room = read(DATA);
            len += 1;
        }
        Ok(len)
    }
}

impl Write for Serial {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let Some(&first) = bytes.first() else { return Ok(0) };
        while read(STATUS) & TX_EMPTY == 0 {}
        write(DATA, first);
        Ok(1)
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
