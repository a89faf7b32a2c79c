//! Answers questions about nodes.
//!
//! | question | answer |
//! |---|---|
//! | `hello BYTES` | how many frames a node has dropped that got this one first, and what it sends |
//! | `exchange CALLS` | all frames of two nodes of which one calls the other over a line that loses some, and how many calls were answered rightly |

#![cfg_attr(target_arch = "avr", no_std, no_main)]

#[path = "../exchange.rs"]
mod exchange;

use avr::{End, Port, answer_all};
use bowline::{Config, Endpoint, Incarnation, Instant, frame_len};

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
        b"hello" => answer_hello(port),
        b"exchange" => {
            let calls = port.read_number();
            exchange::run(calls as u16, |frame| port.write_bytes(frame))?;
            port.write(b"\n")
        }
        _ => port.write(b"what?\n"),
    }
}

#[inline(never)]
fn answer_hello(port: &mut Port) -> Result<(), End> {
    let mut bytes = [0; 64];
    let frame = port.read_bytes(&mut bytes);
    let start = Instant::from_micros(0);
    // It says nothing by itself.
    let config = Config { active: false, ..Config::new(Incarnation::random(0x99AA_BBCC_DDEE_FF00)) };
    let mut endpoint = Endpoint::new(start, config, exchange::Memory::new());
    let _ = endpoint.handle_frame(start, frame).next(&mut endpoint);
    port.write_number(endpoint.stats().dropped.sum())?;
    port.write(b" ")?;
    let mut frame = [0; frame_len(48)];
    while let Some(len) = endpoint.poll_transmit(start, &mut frame) {
        port.write_bytes(&frame[..len])?;
    }
    port.write(b"\n")
}
