//! Time and sleep.

use bowline::{Duration, Instant};
use riscv::register::mie;

/// Ticks of 0.1 µs since the start.
const MTIME: usize = 0x0200_BFF8;
/// When the timer's interrupt is pending.
const MTIMECMP: usize = 0x0200_4000;

/// How long to sleep at most: the port's 16 bytes are full after 1.4 ms at 115 200 baud.
const TICK: Duration = Duration::from_millis(1);

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

/// Sleeps until then, for a tick at most.
pub fn idle(until: Option<Instant>) {
    let now = now();
    let latest = now + TICK;
    let until = until.map_or(latest, |until| until.min(latest));
    if until > now {
        let alarm = until.as_micros() * 10;
        write(MTIMECMP + 4, u32::MAX);
        write(MTIMECMP, alarm as u32);
        write(MTIMECMP + 4, (alarm >> 32) as u32);
        // SAFETY: interrupts are masked and stay so; one that is pending ends `wfi`.
        unsafe { mie::set_mtimer() };
        riscv::asm::wfi();
    }
}
