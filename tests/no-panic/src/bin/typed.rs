//! The endpoint with typed messages.

#![no_std]
#![no_main]

use core::hint::black_box;

use bowline::typed::{Context, Interface, Pending, Undecodable};
use bowline::wire::Deframer;
use bowline::{Config, Endpoint, Event, Incarnation, Message, frame_len};
use no_panic::{Application, Level, Machine, Name, PayOut, Position, SetClock, SetMode};
use no_panic::{Memory, any, any_mode, any_order, any_text, command, now, send, timeout};

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let config = Config { schema_digest: Machine::DIGEST, ..Config::new(Incarnation::random(u64::from(any()))) };
    let mut endpoint = Endpoint::new(now(), config, Memory::new());
    let mut deframer = Deframer::<{ frame_len(48) }>::new();
    let mut buf = [0; frame_len(48)];
    let mut application = Application::default();
    let (mut paid, mut named): (Option<Pending<PayOut>>, Option<Pending<Name>>) = (None, None);
    loop {
        let received = [any() as u8, any() as u8];
        let mut input = &received[..];
        while let Some(frame) = deframer.next_frame(&mut input) {
            let mut messages = endpoint.handle_frame(now(), frame);
            while let Some(message) = messages.next(&mut endpoint) {
                let peer = endpoint.peer_schema_digest();
                match message {
                    Message::Response { call, payload } => {
                        if let Some(paid) = paid.take_if(|paid| paid.call() == call) {
                            let _ = black_box(paid.outcome(Ok(payload), peer));
                        } else if let Some(named) = named.take_if(|named| named.call() == call) {
                            let _ = black_box(named.outcome(Ok(payload), peer));
                        }
                    }
                    message => match Machine::decode(message) {
                        Ok(message) => application.handle(&mut Context::new(&mut endpoint, now()), message),
                        Err(Undecodable::Request(id, refusal)) => drop(endpoint.refuse(now(), id, refusal)),
                        Err(Undecodable::OneWay(_) | Undecodable::Response) => {}
                    },
                }
            }
        }
        while let Some(notify) = endpoint.poll_notify() {
            black_box(notify);
        }
        while let Some(event) = endpoint.poll_event() {
            black_box(event);
            if let (Event::CallFailed { error, .. }, Some(paid)) = (event, &paid) {
                let _ = black_box(paid.outcome(Err(error), endpoint.peer_schema_digest()));
            }
        }
        send(&mut endpoint, &mut buf);
        command(&mut endpoint);
        let mut context = Context::new(&mut endpoint, now());
        match any() {
            0 => paid = context.call(timeout(), &any_order()).ok(),
            1 => named = context.call(timeout(), &(any() as u8)).ok(),
            2 => drop(context.call::<SetMode>(timeout(), &any_mode())),
            3 => drop(context.call::<Level>(timeout(), &any_text())),
            4 => drop(context.notify::<SetClock>(&any())),
            5 => drop(context.publish::<Position>(&(any() as i16, any() as i16))),
            _ => application.answer(&mut context),
        }
    }
}
