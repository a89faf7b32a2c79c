//! Counts the instructions of the device's side of calls with payloads of 8 bytes each way, in an emulator in which each
//! instruction takes the same time. Both ends run here, on a perfect line, in simulated time: the figures are the same in
//! every run.
//!
//! Prints them as `name = number`, for count.sh.

#![no_std]
#![no_main]

mod board;
mod device;
mod host;

use bowline::{Duration, Instant};
use semihosting::{println, process};

use board::Counter;
use device::Server;
use host::{Client, FRAME};

#[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
#[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
fn main() -> ! {
    board::start();
    let busy = Line::connected().calls(Duration::ZERO);
    // Long enough for everything that is done after a call.
    let idle = Line::connected().calls(Duration::from_millis(400));
    show("call", busy.answers.for_each_of(CALLS));
    show("turn", busy.waits.for_each_of(CALLS));
    show("call_after_pause", idle.answers.for_each_of(CALLS));
    show("turns_after_pause", idle.waits.for_each_of(CALLS));
    show("request_bytes", busy.request as u32);
    show("response_bytes", busy.response as u32);
    process::exit(0)
}

fn show(name: &str, number: u32) {
    println!("{name} = {number}");
}

/// How many calls are counted, and how many come before.
const CALLS: u32 = 1_000;
const WARM_UP: u32 = 20;

/// How long a frame is under way.
const TRANSIT: Duration = Duration::from_millis(1);

/// Both ends, and what was counted.
struct Line {
    now: Instant,
    host: Client,
    device: Server,
    /// From a frame that has come to the frame that answers it.
    answers: Counter,
    /// What is done while nothing comes.
    waits: Counter,
    /// Bytes of the last request and response on the line.
    request: usize,
    response: usize,
}

impl Line {
    fn connected() -> Self {
        let now = Instant::from_micros(0);
        let mut line = Self {
            now,
            host: Client::new(now),
            device: Server::new(now),
            answers: Counter::default(),
            waits: Counter::default(),
            request: 0,
            response: 0,
        };
        while !line.host.is_connected() {
            line.pass(Duration::from_millis(100));
        }
        line
    }

    /// Calls, with a pause after each answer.
    fn calls(mut self, pause: Duration) -> Self {
        for number in 0..WARM_UP + CALLS {
            if number == WARM_UP {
                (self.answers, self.waits) = (Counter::default(), Counter::default());
            }
            self.host.call(self.now, number);
            self.exchange();
            assert_eq!(self.host.answered, number + 1);
            self.pass(pause);
        }
        self
    }

    /// Gives the device what the host has to send, and the host what it is answered.
    fn exchange(&mut self) {
        let mut frame = [0; FRAME];
        while let Some(len) = self.host.poll(self.now, &mut frame) {
            self.now = self.now + TRANSIT;
            self.request = len;
            let mut answer = [0; FRAME];
            let Self { now, device, answers, .. } = self;
            let answered = answers.count(|| device.answer(*now, &frame[..len], &mut answer));
            self.deliver(answered, &answer);
            let Self { now, device, waits, .. } = self;
            let more = waits.count(|| device.wait(*now, &mut answer));
            self.deliver(more, &answer);
        }
    }

    fn deliver(&mut self, len: Option<usize>, answer: &[u8]) {
        if let Some(len) = len {
            self.response = len;
            self.now = self.now + TRANSIT;
            self.host.handle(self.now, &answer[..len]);
        }
    }

    /// Lets time pass on both sides, deadline by deadline.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let next = [self.host.poll_timeout(), self.device.poll_timeout()].into_iter().flatten().min();
            self.now = next.unwrap_or(end).clamp(self.now, end);
            let mut answer = [0; FRAME];
            let Self { now, device, waits, .. } = self;
            let sent = waits.count(|| device.wait(*now, &mut answer));
            self.deliver(sent, &answer);
            self.exchange();
        }
    }
}
