//! Embassy's clock: a tick each millisecond.

use core::cell::{Cell, RefCell};
use core::task::Waker;

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;
use critical_section::Mutex;
use embassy_time_driver::{Driver, time_driver_impl};
use embassy_time_queue_utils::Queue;

/// The system clock as it is after a reset, in Hz.
const CLOCK: u32 = 12_500_000;

struct Ticks {
    count: Mutex<Cell<u64>>,
    sleepers: Mutex<RefCell<Queue>>,
}

time_driver_impl!(static TICKS: Ticks = Ticks {
    count: Mutex::new(Cell::new(0)),
    sleepers: Mutex::new(RefCell::new(Queue::new())),
});

impl Driver for Ticks {
    fn now(&self) -> u64 {
        critical_section::with(|section| self.count.borrow(section).get())
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        // Whoever is late already is woken by the next tick.
        critical_section::with(|section| self.sleepers.borrow_ref_mut(section).schedule_wake(at, waker));
    }
}

#[exception]
fn SysTick() {
    critical_section::with(|section| {
        let count = TICKS.count.borrow(section);
        count.set(count.get() + 1);
        TICKS.sleepers.borrow_ref_mut(section).next_expiration(count.get());
    });
}

pub fn start(mut timer: SYST) {
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(CLOCK / 1_000 - 1);
    timer.clear_current();
    timer.enable_interrupt();
    timer.enable_counter();
}
