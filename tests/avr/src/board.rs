//! An ATmega1280.

use crate::End;

const STATUS: *mut u8 = 0xC0 as *mut u8;
const CONTROL: *mut u8 = 0xC1 as *mut u8;
const DATA: *mut u8 = 0xC6 as *mut u8;

/// Bits of the status and control registers.
const RECEIVED: u8 = 0x80;
const READY: u8 = 0x20;
const ENABLED: u8 = 0x18;

fn read(register: *mut u8) -> u8 {
    // SAFETY: a register of the serial port, which only this module uses.
    unsafe { register.read_volatile() }
}

fn write(register: *mut u8, value: u8) {
    // SAFETY: as above.
    unsafe { register.write_volatile(value) }
}

/// Its first serial port.
pub struct Port(());

impl Port {
    pub(crate) fn open() -> Self {
        write(CONTROL, ENABLED);
        Self(())
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> u8 {
        while read(STATUS) & RECEIVED == 0 {}
        read(DATA)
    }

    /// Writes a part of an answer.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        for &byte in bytes {
            while read(STATUS) & READY == 0 {}
            write(DATA, byte);
        }
        Ok(())
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    let _ = Port(()).write(b"panic\n");
    loop {}
}
