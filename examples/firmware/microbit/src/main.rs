//! The dispenser on a BBC micro:bit: no interrupt handlers, random numbers for the incarnation.

#![no_std]
#![no_main]

mod clock;

use app::run;
use bowline::Incarnation;
use bowline::drivers::uart::Uart;
use cortex_m::peripheral::NVIC;
use cortex_m_rt::entry;
use nrf51_hal::gpio::{Level, p0};
use nrf51_hal::pac::{Interrupt, Peripherals, UART0};
use nrf51_hal::uart::{Baudrate, Parity, Pins};
use nrf51_hal::{Rng, Uart as Serial};
use panic_halt as _;

use clock::Clock;

#[entry]
fn main() -> ! {
    // Interrupts stay masked: all that they do is to end a `wfi`.
    cortex_m::interrupt::disable();
    let Some(board) = Peripherals::take() else { unreachable!("nothing ran before") };
    let gpio = p0::Parts::new(board.GPIO);
    let pins = Pins {
        txd: gpio.p0_24.into_push_pull_output(Level::High).degrade(),
        rxd: gpio.p0_25.into_floating_input().degrade(),
        cts: None,
        rts: None,
    };
    board.UART0.intenset.write(|w| w.rxdrdy().set());
    let serial = Serial::new(board.UART0, pins, Parity::EXCLUDED, Baudrate::BAUD115200);
    // The HAL sends a byte before it enables the port, and waits for its end before it sends the next. The emulator drops
    // that byte, so here is another: a delimiter, which harms nobody.
    // SAFETY: there are no handlers, and nobody else uses the port yet.
    unsafe {
        (*UART0::ptr()).txd.write(|w| w.bits(0));
        NVIC::unmask(Interrupt::UART0);
        NVIC::unmask(Interrupt::TIMER0);
    }
    let clock = Clock::start(board.TIMER0);
    let incarnation = Incarnation::random(Rng::new(board.RNG).random_u64());
    run(Uart::new(serial, || clock.now()), incarnation, |until| {
        // What came before this is seen by the look behind it, what comes later ends the sleep.
        NVIC::unpend(Interrupt::UART0);
        // SAFETY: a look changes nothing.
        let has_received = unsafe { (*UART0::ptr()).events_rxdrdy.read().bits() != 0 };
        if !has_received {
            clock.idle(until);
        }
    })
}
