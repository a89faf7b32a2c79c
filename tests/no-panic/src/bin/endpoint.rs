//! The endpoint alone, with raw messages.

#![no_std]
#![no_main]

use core::hint::black_box;

use bowline::wire::Deframer;
use bowline::{Config, Endpoint, Incarnation, Message, Refusal, frame_len};
use no_panic::{Memory, any, command, now, send};

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let config = Config::new(Incarnation::random(u64::from(any())));
    let mut endpoint = Endpoint::new(now(), config, Memory::new());
    let mut deframer = Deframer::<{ frame_len(48) }>::new();
    let mut buf = [0; frame_len(48)];
    loop {
        let received = [any() as u8, any() as u8];
        let mut input = &received[..];
        while let Some(frame) = deframer.next_frame(&mut input) {
            let mut messages = endpoint.handle_frame(now(), frame);
            while let Some(message) = messages.next(&mut endpoint) {
                match message {
                    Message::Request { id, key: 0, payload, .. } => drop(endpoint.respond(now(), id, payload)),
                    Message::Request { id, key: 1, .. } => drop(endpoint.refuse(now(), id, Refusal::Busy)),
                    Message::Request { id, .. } => endpoint.abandon(id),
                    message => drop(black_box(message)),
                }
            }
        }
        while let Some(notify) = endpoint.poll_notify() {
            black_box(notify);
        }
        while let Some(event) = endpoint.poll_event() {
            black_box(event);
        }
        send(&mut endpoint, &mut buf);
        command(&mut endpoint);
    }
}
