//! Time and sleep.

use bowline::{Duration, Instant};
use riscv::register::mie;

/// Ticks of 0.1 µs since the start.
const MTIME: usize = 0x0200_BFF8;
/// When the timer's interrupt is pending.
const MTIMECMP: usize = 0x0200_4000;

/// The interrupt controller: the priority of the port's interrupt, which is number 10, and what reaches the processor.
const PORT_PRIORITY: usize = 0x0C00_0000 + 4 * 10;
const ENABLED: usize = 0x0C00_2000;

/// How long to sleep at most, so that the alarm never overflows.
const LONGEST: Duration = Duration::from_secs(60);

pub fn read(address: usize) -> u32 {
    // SAFETY: a register of a peripheral, or a word of flash, that only the caller uses.
    unsafe { (address as *const u32).read_volatile() }
}

pub fn write(address: usize, value: u32) {
    // SAFETY: as above.
    unsafe { (address as *mut u32).write_volatile(value) }
}

fn ticks() -> u64 {
    loop {
        let (high, low) = (read(MTIME + 4), read(MTIME));
        if read(MTIME + 4) == high {
            return u64::from(high) << 32 | u64::from(low);
        }
    }
}

pub fn now() -> Instant {
    Instant::from_micros(ticks() / 10)
}

/// Lets the timer and the port end a `wfi`. Interrupts stay masked: there are no handlers.
pub fn start() {
    write(PORT_PRIORITY, 1);
    write(ENABLED, 1 << 10);
    // SAFETY: as long as they are masked they do nothing but to be pending.
    unsafe {
        mie::set_mtimer();
        mie::set_mext();
    }
}

/// Sleeps until then. Bytes in the port are an interrupt that stays pending until they are read.
pub fn idle(until: Option<Instant>) {
    let latest = now() + LONGEST;
    let alarm = until.map_or(latest, |until| until.min(latest)).as_micros() * 10;
    // It may have come already: then it is pending at once.
    write(MTIMECMP + 4, u32::MAX);
    write(MTIMECMP, alarm as u32);
    write(MTIMECMP + 4, (alarm >> 32) as u32);
    riscv::asm::wfi();
}
