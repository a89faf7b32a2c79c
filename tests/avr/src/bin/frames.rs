//! Answers questions about frames.
//!
//! | question | answer |
//! |---|---|
//! | `stream LIMIT BYTES` | the frames in a byte stream, how many were dropped as overlong, how many as malformed |
//! | `describe BYTES` | what a frame holds |
//! | `frame_len PAYLOAD` | the size of a frame |

#![cfg_attr(target_arch = "avr", no_std, no_main)]

use core::fmt::{self, Write as _};

use avr::{End, Port, answer_all};
use bowline::frame_len;
use bowline::wire::{Deframer, describe};

#[cfg(not(target_arch = "avr"))]
fn main() {
    answer_all(answer);
}

#[cfg(target_arch = "avr")]
#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    answer_all(answer);
    loop {}
}

fn answer(port: &mut Port, question: &[u8]) -> Result<(), End> {
    match question {
        b"stream" => answer_stream(port),
        b"describe" => answer_describe(port),
        b"frame_len" => {
            let payload = port.read_number();
            port.write_number(frame_len(payload) as u32)?;
            port.write(b"\n")
        }
        _ => port.write(b"what?\n"),
    }
}

/// The most bytes in a question.
const BYTES: usize = 1_100;

#[inline(never)]
fn answer_stream(port: &mut Port) -> Result<(), End> {
    let limit = port.read_number();
    let mut bytes = [0; BYTES];
    let bytes = port.read_bytes(&mut bytes);
    match limit {
        48 => frames::<48>(port, bytes),
        64 => frames::<64>(port, bytes),
        254 => frames::<254>(port, bytes),
        255 => frames::<255>(port, bytes),
        256 => frames::<256>(port, bytes),
        257 => frames::<257>(port, bytes),
        512 => frames::<512>(port, bytes),
        1024 => frames::<1024>(port, bytes),
        _ => port.write(b"no deframer\n"),
    }
}

#[inline(never)]
fn frames<const N: usize>(port: &mut Port, bytes: &[u8]) -> Result<(), End> {
    let mut deframer = Deframer::<N>::new();
    for mut portion in bytes.chunks(7) {
        while let Some(frame) = deframer.next_frame(&mut portion) {
            port.write_bytes(frame)?;
        }
    }
    let stats = deframer.stats();
    port.write_number(stats.overlong)?;
    port.write(b" ")?;
    port.write_number(stats.malformed)?;
    port.write(b"\n")
}

struct Text<'a>(&'a mut Port);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes()).map_err(|End| fmt::Error)
    }
}

#[inline(never)]
fn answer_describe(port: &mut Port) -> Result<(), End> {
    let mut bytes = [0; BYTES];
    let frame = port.read_bytes(&mut bytes);
    writeln!(Text(port), "{}", describe(frame)).map_err(|_| End)
}
