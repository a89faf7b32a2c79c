//! The whole endpoint, driven by values that the compiler cannot know. Its panic handler calls a function that does not exist, so it links
//! only if no path leads to a panic, whatever the input.

#![no_std]
#![no_main]

use core::hint::black_box;

use bowline::wire::Deframer;
use bowline::{Buffers, Config, Duration, Endpoint, Incarnation, Instant, Message, Refusal, Semantics, frame_len};

unsafe extern "C" {
    /// Nobody defines it: the linker fails when anything reaches it.
    safe fn this_code_can_panic() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    this_code_can_panic()
}

/// A number from outside.
fn any() -> u32 {
    black_box(0)
}

fn now() -> Instant {
    Instant::from_micros(u64::from(any()) << 32 | u64::from(any()))
}

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let config = Config::new(Incarnation::random(u64::from(any())));
    let mut endpoint = Endpoint::new(now(), config, Buffers::<48, 2, 2, 2, 1, 1, 10>::new());
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
        while let Some(len) = endpoint.poll_frame(now(), &mut buf) {
            black_box((len, &mut buf));
            if any() == 0 {
                endpoint.handle_refused();
            }
        }
        black_box(endpoint.poll_transmit(now(), &mut buf));
        match any() {
            0 => {
                let timeout = Duration::from_millis(u64::from(any()));
                if let Ok(call) = endpoint.call(now(), any() as u16, Semantics::Idempotent, timeout, &received) {
                    endpoint.cancel(now(), call);
                }
            }
            1 => drop(endpoint.notify(now(), any() as u16, &received)),
            2 => drop(endpoint.publish(now(), any() as u16, &received)),
            3 => endpoint.close(now()),
            4 => endpoint.connect(now()),
            _ => endpoint.handle_timeout(now()),
        }
        black_box((endpoint.poll_timeout(), endpoint.stats().dropped.sum(), endpoint.free_calls()));
        black_box((endpoint.max_payload(), endpoint.is_idle(), endpoint.is_connected(), endpoint.round_trip()));
    }
}
