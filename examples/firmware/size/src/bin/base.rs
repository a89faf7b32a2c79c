//! The same firmware without the crate: it returns each byte, and the time now and then.

#![no_std]
#![no_main]

use cortex_m_rt::entry;
use embedded_io::{Read, ReadReady, Write};
use size::{Port, micros, random};

#[entry]
fn main() -> ! {
    let mut port = Port::start();
    let mut next = random();
    let mut byte = [0];
    loop {
        if let Ok(true) = port.read_ready() {
            let _ = port.read(&mut byte);
            let _ = port.write(&byte);
        }
        if micros() > next {
            next = next.wrapping_add(1 << 20);
            let _ = port.write(b"!");
        }
    }
}
