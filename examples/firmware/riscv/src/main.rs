//! The dispenser on QEMU's RISC-V machine `virt`: no interrupt handlers, a boot counter in flash for the incarnation.

#![no_std]
#![no_main]

mod boots;
mod machine;
mod serial;

use app::run;
use bowline::Incarnation;
use bowline::drivers::uart::Uart;
use panic_halt as _;
use riscv_rt::entry;

use serial::Serial;

#[entry]
fn main() -> ! {
    machine::start();
    // 0x7276 is any number that the host does not have.
    let incarnation = Incarnation::boot_counter(0x7276, boots::count());
    run(Uart::new(Serial::start(), machine::now), incarnation, machine::idle)
}
