//! The blocking driver over a half-duplex line without a clock, with frames that need more than one piece of COBS.

#![no_std]
#![no_main]

use core::hint::black_box;

use bowline::drivers::blocking::{Frames, Node};
use bowline::drivers::rs485::Rs485;
use bowline::drivers::uart::Uart;
use bowline::typed::Context;
use bowline::{Buffers, Config, Incarnation, Message, frame_len};
use no_panic::port::Any;
use no_panic::{Name, PayOut, any, any_order, timeout};

type Memory = Buffers<600, 2, 2, 2, 1, 1, 10>;

fn handle(context: &mut Context<'_, Memory>, message: Message<'_>) {
    if let Message::Request { payload, .. } = message {
        black_box((context.now(), payload));
    }
}

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let config = Config::new(Incarnation::none(any(), timeout()));
    let line = Rs485::new(Uart::with_delay(Any, Any), Any, timeout(), any());
    let frames = Frames::<{ frame_len(600) }>::new();
    let mut node = Node::new(line, config, Memory::new(), frames).serve_raw(handle);
    loop {
        match any() {
            0 => drop(black_box(node.call::<PayOut>(&any_order()))),
            1 => drop(black_box(node.call_with::<Name, _>(&(any() as u8), |name| name.len()))),
            2 => node.turn(),
            3 => drop(black_box(node.port().collisions())),
            _ => drop(black_box(node.poll())),
        }
    }
}
