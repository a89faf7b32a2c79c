//! Serves four procedures.

#![no_std]
#![no_main]

use bowline::drivers::blocking::{Frames, Node};
use bowline::drivers::uart::Uart;
use bowline::{Buffers, Config, Incarnation, frame_len};
use cortex_m_rt::entry;
use size::device::Device;
use size::{Port, now, random};

#[entry]
fn main() -> ! {
    let port = Port::start();
    let config = Config::new(Incarnation::random(u64::from(random()) << 32 | u64::from(random())));
    let mut position = 0_i32;
    let mut is_lit = false;
    let mut node = Node::new(Uart::new(port, now), config, Buffers::<48, 0, 2, 0, 0, 0, 4>::new(), Frames::<{ frame_len(48) }>::new())
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
    node.run()
}
