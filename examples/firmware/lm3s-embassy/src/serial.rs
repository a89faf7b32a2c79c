//! UART0, a PL011, with futures. The interrupt handler fills a pipe, and wakes who waits for room to send.

use core::convert::Infallible;
use core::future::poll_fn;
use core::task::Poll;

use cortex_m::peripheral::NVIC;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::pipe::Pipe;
use embassy_sync::waitqueue::AtomicWaker;
use embedded_io_async::{ErrorType, Write};
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
/// The transmitter has room.
const TX_INTERRUPT: u32 = 1 << 5;

/// Bytes that have come. More than there is room for are lost, and so is their frame.
static RECEIVED: Pipe<CriticalSectionRawMutex, 256> = Pipe::new();

/// Who waits for room in the transmitter.
static SENDER: AtomicWaker = AtomicWaker::new();

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
    while read(FR) & RX_EMPTY == 0 {
        let _ = RECEIVED.try_write(&[read(DR) as u8]);
    }
    write(ICR, RX_INTERRUPTS | TX_INTERRUPT);
    if read(FR) & TX_FULL == 0 {
        SENDER.wake();
    }
}

/// Switches the port on: 8 data bits, with its memory of 16 bytes each way. The emulator has no speed; a board would be
/// given its divisors here.
pub fn start() -> (&'static Pipe<CriticalSectionRawMutex, 256>, Transmitter) {
    write(LCRH, 0x70);
    write(IM, RX_INTERRUPTS | TX_INTERRUPT);
    write(CTL, 0x301);
    // SAFETY: no critical section of this program relies on the mask.
    unsafe { NVIC::unmask(Interrupt::UART0) };
    (&RECEIVED, Transmitter)
}

pub struct Transmitter;

impl ErrorType for Transmitter {
    type Error = Infallible;
}

impl Write for Transmitter {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let len = poll_fn(|context| {
            SENDER.register(context.waker());
            let mut len = 0;
            for &byte in bytes {
                if read(FR) & TX_FULL != 0 {
                    break;
                }
                write(DR, byte.into());
                len += 1;
            }
            if len == 0 && !bytes.is_empty() { Poll::Pending } else { Poll::Ready(len) }
        });
        Ok(len.await)
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
