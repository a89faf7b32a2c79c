//! The blocking driver over datagrams.

#![no_std]
#![no_main]

use core::hint::black_box;

use bowline::drivers::blocking::{Frames, Node, Port};
use bowline::{Config, Incarnation, Instant, frame_len};
use embedded_io::ErrorKind;
use no_panic::port::any_len;
use no_panic::{Application, Machine, Memory, PayOut, any, any_order, now};

struct Datagrams;

impl Port for Datagrams {
    type Error = ErrorKind;

    const IS_DATAGRAM: bool = true;

    fn now(&mut self) -> Instant {
        now()
    }

    fn sleep(&mut self, until: Instant) {
        black_box(until);
    }

    fn receive(&mut self, buf: &mut [u8], until: Option<Instant>) -> Result<usize, ErrorKind> {
        black_box((buf, until));
        any_len()
    }

    fn send(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        black_box(bytes);
        any_len()
    }

    fn is_free_at(&mut self) -> Instant {
        now()
    }

    fn reopen(&mut self) -> Result<(), ErrorKind> {
        any_len().map(|_| ())
    }
}

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let config = Config::new(Incarnation::boot_counter(any(), any()));
    let mut application = Application::default();
    let mut node = Node::new(Datagrams, config, Memory::new(), Frames::<{ frame_len(48) }>::new())
        .serve::<Machine>(|context, message| application.handle(context, message));
    loop {
        match any() {
            0 => drop(black_box(node.call::<PayOut>(&any_order()))),
            1 => node.turn(),
            _ => drop(black_box(node.poll())),
        }
    }
}
