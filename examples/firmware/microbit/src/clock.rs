//! Microseconds since the start, from a timer of 32 bits.

use core::cell::Cell;

use bowline::Instant;
use cortex_m::peripheral::NVIC;
use nrf51_hal::pac::{Interrupt, TIMER0};

/// An alarm that is to ring sooner than this after it was set, in microseconds, may have been set too late.
const SHORT: u64 = 3;

/// How long to sleep at most, in microseconds. On a board the interrupt of the port ends the sleep; QEMU 7.2 does not
/// always raise it, and the port's 6 bytes are full after 520 µs at 115 200 baud.
const LONG: u64 = 250;

pub struct Clock {
    timer: TIMER0,
    latest: Cell<u64>,
}

impl Clock {
    pub fn start(timer: TIMER0) -> Self {
        timer.bitmode.write(|w| w.bitmode()._32bit());
        // 16 MHz, divided by 2 to the power of this.
        timer.prescaler.write(|w| unsafe { w.bits(4) });
        timer.intenset.write(|w| w.compare0().set());
        timer.tasks_start.write(|w| unsafe { w.bits(1) });
        Self { timer, latest: Cell::new(0) }
    }

    pub fn now(&self) -> Instant {
        self.timer.tasks_capture[1].write(|w| unsafe { w.bits(1) });
        let passed = self.timer.cc[1].read().bits().wrapping_sub(self.latest.get() as u32);
        self.latest.set(self.latest.get() + u64::from(passed));
        Instant::from_micros(self.latest.get())
    }

    /// Sleeps until then, or until an interrupt is pending.
    pub fn idle(&self, until: Option<Instant>) {
        let longest = self.now().as_micros() + LONG;
        let until = until.map_or(longest, |until| until.as_micros().min(longest));
        self.timer.events_compare[0].reset();
        NVIC::unpend(Interrupt::TIMER0);
        self.timer.cc[0].write(|w| unsafe { w.bits(until as u32) });
        if until > self.now().as_micros() + SHORT {
            cortex_m::asm::wfi();
        }
    }
}
