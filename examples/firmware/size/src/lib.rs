//! The board, a BBC micro:bit (nRF51822), and what the programs share.

#![no_std]

pub mod device;

use core::convert::Infallible;

use bowline::Instant;
use embedded_io::{ErrorType, Read, ReadReady, Write};

const UART: usize = 0x4000_2000;
const TIMER: usize = 0x4000_8000;
const RNG: usize = 0x4000_D000;
const GPIO: usize = 0x5000_0000;

fn read(address: usize) -> u32 {
    // SAFETY: a register of a peripheral that nobody else uses.
    unsafe { (address as *const u32).read_volatile() }
}

fn write(address: usize, value: u32) {
    // SAFETY: as above.
    unsafe { (address as *mut u32).write_volatile(value) }
}

/// The serial port, without interrupts.
pub struct Port;

impl Port {
    /// Switches on the port, the timer and the random numbers.
    #[inline(never)]
    pub fn start() -> Self {
        write(UART + 0x500, 4);
        write(UART, 1);
        write(UART + 8, 1);
        write(UART + 0x51C, 0);
        write(TIMER + 0x508, 3);
        write(TIMER + 0x510, 4);
        write(TIMER, 1);
        write(RNG, 1);
        Self
    }
}

impl ErrorType for Port {
    type Error = Infallible;
}

impl ReadReady for Port {
    #[inline(never)]
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(read(UART + 0x108) != 0)
    }
}

impl Read for Port {
    #[inline(never)]
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        let Some(first) = buf.first_mut() else { return Ok(0) };
        while read(UART + 0x108) == 0 {}
        write(UART + 0x108, 0);
        *first = read(UART + 0x518) as u8;
        Ok(1)
    }
}

impl Write for Port {
    #[inline(never)]
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        for &byte in bytes {
            while read(UART + 0x11C) == 0 {}
            write(UART + 0x11C, 0);
            write(UART + 0x51C, u32::from(byte));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Microseconds since the start.
#[inline(never)]
pub fn micros() -> u32 {
    write(TIMER + 0x40, 1);
    read(TIMER + 0x540)
}

/// The time for the node. It wraps after 71 minutes; a program that runs for longer counts the times.
pub fn now() -> Instant {
    Instant::from_micros(u64::from(micros()))
}

/// A lamp on a pin.
pub struct Lamp;

impl Lamp {
    pub fn switch(&mut self, lit: bool) {
        write(GPIO + if lit { 0x508 } else { 0x50C }, 1 << 13);
    }
}

/// Notes the size of `node` in a section that is not loaded, for `size.sh`.
pub fn note_size<T>(_node: &T) {
    // SAFETY: no instruction, only data aside of the program.
    unsafe {
        core::arch::asm!(
            ".pushsection .node_size,\"\",%progbits",
            ".4byte {size}",
            ".popsection",
            size = const size_of::<T>(),
            options(nomem, nostack, preserves_flags)
        );
    }
}

/// Random bits.
#[inline(never)]
pub fn random() -> u32 {
    let mut bits = 0;
    for _ in 0..4 {
        write(RNG + 0x100, 0);
        while read(RNG + 0x100) == 0 {}
        bits = bits << 8 | read(RNG + 0x508);
    }
    bits
}

#[panic_handler]
fn halt(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
