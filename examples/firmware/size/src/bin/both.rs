//! Calls and serves four procedures.

#![no_std]
#![no_main]

use bowline::drivers::blocking::{Frames, Node};
use bowline::drivers::uart::Uart;
use bowline::{Buffers, Config, Incarnation, frame_len};
use cortex_m_rt::entry;
use size::device::{Device, Motion, Show, Switch, Turn, Uptime};
use size::{Port, now, random};

#[entry]
fn main() -> ! {
    let port = Port::start();
    let config = Config::new(Incarnation::random(u64::from(random()) << 32 | u64::from(random())));
    let mut position = 0_i32;
    let mut is_lit = false;
    let mut node = Node::new(Uart::new(port, now), config, Buffers::<48, 2, 2, 0, 0, 0, 6>::new(), Frames::<{ frame_len(48) }>::new())
        .serve::<Device>(|context, message| match message {
            Device::Turn(motion, reply) => {
                position = position.wrapping_add(motion.steps);
                context.reply(reply, &position);
            }
            Device::Switch(lit, reply) => {
                is_lit = lit;
                context.reply(reply, &());
            }
            Device::Uptime((), reply) => context.reply(reply, &size::micros()),
            Device::Show(text, reply) => context.reply(reply, &(text.len() as u8)),
        });
    loop {
        let motion = Motion { motor: 1, steps: 100 };
        if let Ok(position) = node.call::<Turn>(&motion)
            && let Ok(()) = node.call::<Switch>(&(position > 0))
            && let Ok(uptime) = node.call::<Uptime>(&())
        {
            let _ = node.call::<Show>(if uptime > 60_000 { &"long" } else { &"short" });
        }
    }
}
