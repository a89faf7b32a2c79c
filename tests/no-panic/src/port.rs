//! A port of which nothing is known, not even that it keeps the rules.

use core::hint::black_box;

use embedded_hal::delay::DelayNs;
use embedded_hal::digital::{self, OutputPin};
use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write};

use crate::any;

/// Port, pin and delay in one.
pub struct Any;

pub fn any_len() -> Result<usize, ErrorKind> {
    if any() == 0 { Ok(any() as usize) } else { Err(ErrorKind::Other) }
}

impl ErrorType for Any {
    type Error = ErrorKind;
}

impl Read for Any {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        black_box(buf);
        any_len()
    }
}

impl ReadReady for Any {
    fn read_ready(&mut self) -> Result<bool, ErrorKind> {
        any_len().map(|len| len == 0)
    }
}

impl Write for Any {
    fn write(&mut self, buf: &[u8]) -> Result<usize, ErrorKind> {
        black_box(buf);
        any_len()
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        any_len().map(|_| ())
    }
}

impl digital::ErrorType for Any {
    type Error = digital::ErrorKind;
}

impl OutputPin for Any {
    fn set_low(&mut self) -> Result<(), digital::ErrorKind> {
        if any() == 0 { Ok(()) } else { Err(digital::ErrorKind::Other) }
    }

    fn set_high(&mut self) -> Result<(), digital::ErrorKind> {
        self.set_low()
    }
}

impl DelayNs for Any {
    fn delay_ns(&mut self, ns: u32) {
        black_box(ns);
    }
}
