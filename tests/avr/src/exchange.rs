//! Two nodes in one program: one calls, the other answers, over a line that loses each fifth frame.

use bowline::typed::{Context, Interface as _, Pending, Undecodable};
use bowline::wire::Deframer;
use bowline::{Buffers, Config, Duration, Endpoint, Event, Incarnation, Instant, Message, frame_len};

use avr::End;

const FRAME: usize = frame_len(48);

bowline::interface! {
    /// Calculates.
    pub enum Adder<'a> {
        at_most_once Add((u32, i64)) -> i64;
        idempotent Count(&'a str) -> u16;
    }
}

/// One call each way. The same for all nodes, so that their code is there once.
pub type Memory = Buffers<48, 1, 1, 1, 1, 0, 5>;

struct Node {
    endpoint: Endpoint<Memory>,
    deframer: Deframer<FRAME>,
}

impl Node {
    fn new(entropy: u64) -> Self {
        let config = Config { schema_digest: Adder::DIGEST, ..Config::new(Incarnation::random(entropy)) };
        Self { endpoint: Endpoint::new(Instant::from_micros(0), config, Memory::new()), deframer: Deframer::new() }
    }

    /// Takes what has come, and gives `take` the payload of a response or that there was none.
    fn handle(&mut self, now: Instant, mut received: &[u8], mut take: impl FnMut(Option<&[u8]>)) {
        while let Some(frame) = self.deframer.next_frame(&mut received) {
            let mut messages = self.endpoint.handle_frame(now, frame);
            while let Some(message) = messages.next(&mut self.endpoint) {
                if let Message::Response { payload, .. } = message {
                    take(Some(payload));
                    continue;
                }
                let decoded = Adder::decode(message);
                let mut context = Context::new(&mut self.endpoint, now);
                match decoded {
                    Ok(Adder::Add((a, b), reply)) => context.reply(reply, &(i64::from(a) + b)),
                    Ok(Adder::Count(text, reply)) => context.reply(reply, &(text.len() as u16)),
                    Err(Undecodable::Request(id, refusal)) => drop(self.endpoint.refuse(now, id, refusal)),
                    Err(_) => {}
                }
            }
        }
        self.endpoint.handle_timeout(now);
        while let Some(event) = self.endpoint.poll_event() {
            if let Event::CallFailed { .. } = event {
                take(None);
            }
        }
    }
}

/// Makes so many calls one after the other, and gives `write` each frame, then the number of those that were answered rightly.
#[inline(never)]
pub fn run(calls: u16, mut write: impl FnMut(&[u8]) -> Result<(), End>) -> Result<(), End> {
    let (mut caller, mut server) = (Node::new(0x0123_4567_89AB_CDEF), Node::new(0xFEDC_BA98_7654_3210));
    let (mut made, mut answered, mut sent) = (0_u16, 0_u16, 0_u8);
    let mut pending: Option<Pending<Add>> = None;
    let mut now = Instant::from_micros(0);
    while made < calls || pending.is_some() {
        if pending.is_none() {
            let request = (u32::MAX - u32::from(made), i64::from(made));
            pending = Context::new(&mut caller.endpoint, now).call(Duration::from_secs(60), &request).ok();
            made += u16::from(pending.is_some());
        }
        let mut frame = [0; FRAME];
        for is_caller in [true, false] {
            let (from, to) = if is_caller { (&mut caller, &mut server) } else { (&mut server, &mut caller) };
            while let Some(len) = from.endpoint.poll_frame(now, &mut frame) {
                write(&frame[..len])?;
                sent = (sent + 1) % 5;
                let arrived = if sent == 0 { &[] } else { &frame[..len] };
                to.handle(now, arrived, |payload| {
                    if let (Some(payload), Some(pending)) = (payload, pending.take()) {
                        answered += u16::from(pending.outcome(Ok(payload), None) == Ok(i64::from(u32::MAX)));
                    }
                });
            }
            from.handle(now, &[], |_| pending = None);
        }
        now = now + Duration::from_millis(1);
    }
    write(&answered.to_be_bytes())
}
