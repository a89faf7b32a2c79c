//! The dispenser on a board without a source of entropy: it stays quiet after its start instead.
//!
//! The port receives by interrupt. A tick each millisecond tells the time.

#![no_std]
#![no_main]

mod serial;

use core::cell::Cell;

use app::run;
use bowline::drivers::uart::Uart;
use bowline::{Duration, Incarnation, Instant};
use cortex_m::Peripherals;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::{entry, exception};
use critical_section::Mutex;
#[cfg(feature = "defmt")]
use defmt_semihosting as _;
use panic_halt as _;

use serial::Serial;

/// Longer than a frame can be under way between this board and its host, buffers included. What comes meanwhile is
/// dropped, what is to be sent waits, and so nothing from an earlier life is left when this one begins.
const QUIET: Duration = Duration::from_millis(600);

/// The system clock as it is after a reset, in Hz.
const CLOCK: u32 = 12_500_000;

static MILLIS: Mutex<Cell<u64>> = Mutex::new(Cell::new(0));

#[exception]
fn SysTick() {
    critical_section::with(|section| {
        let millis = MILLIS.borrow(section);
        millis.set(millis.get() + 1);
    });
}

fn now() -> Instant {
    Instant::from_micros(0) + Duration::from_millis(critical_section::with(|section| MILLIS.borrow(section).get()))
}

#[cfg(feature = "defmt")]
defmt::timestamp!("{=u64:ms}", now().saturating_duration_since(Instant::from_micros(0)).as_millis());

#[entry]
fn main() -> ! {
    let Some(mut core) = Peripherals::take() else { unreachable!("nothing ran before") };
    core.SYST.set_clock_source(SystClkSource::Core);
    core.SYST.set_reload(CLOCK / 1_000 - 1);
    core.SYST.clear_current();
    core.SYST.enable_interrupt();
    core.SYST.enable_counter();
    // 0x6C6D is any number that the host does not have.
    run(Uart::new(Serial::start(), now), Incarnation::none(0x6C6D, QUIET), |until| {
        // An interrupt that comes after the look at the receiver ends `wfi`, and is handled after the section.
        critical_section::with(|section| {
            if !serial::has_received(section) && until.is_none_or(|until| until > now()) {
                cortex_m::asm::wfi();
            }
        });
    })
}
