//! The blocking driver over `embedded-io`, with typed messages.

#![no_std]
#![no_main]

use core::hint::black_box;

use bowline::drivers::blocking::{Frames, Node};
use bowline::drivers::uart::Uart;
use bowline::{Config, Incarnation, frame_len};
use no_panic::port::Any;
use no_panic::{Application, Level, Machine, Name, PayOut, Position, SetClock, SetMode};
use no_panic::{Memory, any, any_mode, any_order, any_text, command, now, timeout};

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let config = Config::new(Incarnation::random(u64::from(any())));
    let mut application = Application::default();
    let port = Uart::new(Any, now).with_idle(|until| {
        black_box(until);
    });
    let mut node = Node::new(port, config, Memory::new(), Frames::<{ frame_len(48) }>::new())
        .timeout(timeout())
        .on_event(|event| {
            black_box(event);
        })
        .serve::<Machine>(|context, message| {
            application.handle(context, message);
            if any() == 0 {
                application.answer(context);
            }
        });
    loop {
        match any() {
            0 => drop(black_box(node.call::<PayOut>(&any_order()))),
            1 => drop(black_box(node.call_with::<Name, _>(&(any() as u8), |name| name.len()))),
            2 => drop(black_box(node.call::<SetMode>(&any_mode()))),
            3 => drop(black_box(node.call::<Level>(&any_text()))),
            4 => drop(node.notify::<SetClock>(&any())),
            5 => drop(node.publish::<Position>(&(any() as i16, any() as i16))),
            6 => node.turn(),
            7 => command(node.endpoint()),
            _ => drop(black_box(node.poll())),
        }
    }
}
