//! UART0, a PL011. The bytes that come wait in memory, where an interrupt handler puts them.

use core::cell::RefCell;
use core::convert::Infallible;

use cortex_m::peripheral::NVIC;
use critical_section::{CriticalSection, Mutex};
use embedded_io::{ErrorType, Read, ReadReady, Write};
use heapless::Deque;
use lm3s6965::{Interrupt, interrupt};

/// Data.
const DR: usize = 0x4000_C000;
/// Flags.
const FR: usize = 0x4000_C018;
/// Line control.
const LCRH: usize = 0x4000_C02C;
/// Control.
const CTL: usize = 0x4000_C030;
/// Which interrupts are wanted.
const IM: usize = 0x4000_C038;
/// Clears interrupts.
const ICR: usize = 0x4000_C044;

const RX_EMPTY: u32 = 1 << 4;
const TX_FULL: u32 = 1 << 5;
/// The receiver is half full, or has had bytes for a while.
const RX_INTERRUPTS: u32 = 1 << 4 | 1 << 6;

/// Bytes that have come. More than there is room for are lost, and so is their frame.
static RECEIVED: Mutex<RefCell<Deque<u8, 256>>> = Mutex::new(RefCell::new(Deque::new()));

fn read(register: usize) -> u32 {
    // SAFETY: a register of a peripheral that only this module uses.
    unsafe { (register as *const u32).read_volatile() }
}

fn write(register: usize, value: u32) {
    // SAFETY: as above.
    unsafe { (register as *mut u32).write_volatile(value) }
}

#[interrupt]
fn UART0() {
    critical_section::with(|section| {
        let mut received = RECEIVED.borrow_ref_mut(section);
        while read(FR) & RX_EMPTY == 0 {
            let _ = received.push_back(read(DR) as u8);
        }
    });
    write(ICR, RX_INTERRUPTS);
}

/// Whether there are bytes to be read.
pub fn has_received(section: CriticalSection<'_>) -> bool {
    !RECEIVED.borrow_ref(section).is_empty()
}

pub struct Serial;

impl Serial {
    /// Switches the port on: 8 data bits, with its memory of 16 bytes each way. The emulator has no speed; a board would be
    /// given its divisors here.
    pub fn start() -> Self {
        write(LCRH, 0x70);
        write(IM, RX_INTERRUPTS);
        write(CTL, 0x301);
        // SAFETY: no critical section of this program relies on the mask.
        unsafe { NVIC::unmask(Interrupt::UART0) };
        Self
    }
}

impl ErrorType for Serial {
    type Error = Infallible;
}

impl ReadReady for Serial {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(critical_section::with(has_received))
    }
}

impl Read for Serial {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        let mut len = 0;
        while len == 0 && !buf.is_empty() {
            critical_section::with(|section| {
                let mut received = RECEIVED.borrow_ref_mut(section);
                for (room, byte) in buf.iter_mut().zip(core::iter::from_fn(|| received.pop_front())) {
                    *room = byte;
                    len += 1;
                }
            });
        }
        Ok(len)
    }
}

impl Write for Serial {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let Some(&first) = bytes.first() else { return Ok(0) };
        while read(FR) & TX_FULL != 0 {}
        write(DR, first.into());
        Ok(1)
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
