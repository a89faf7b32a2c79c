//! Calls four procedures.

#![no_std]
#![no_main]

use bowline::drivers::blocking::{self, Frames, Node};
use bowline::drivers::uart::Uart;
use bowline::{Buffers, Config, Incarnation, frame_len};
use cortex_m_rt::entry;
use embedded_io::ErrorKind;
use size::device::{Motion, Show, Switch, Turn, Uptime};
use size::{Port, note_size, now, random};

type Memory = Buffers<48, 2, 0, 0, 0, 0, 4>;

#[entry]
fn main() -> ! {
    let mut node = start();
    note_size(&node);
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

/// A function of its own, so that what is needed to put the node together is not on the stack for ever.
#[inline(never)]
fn start() -> Node<impl blocking::Port<Error = ErrorKind>, Memory, { frame_len(48) }> {
    let port = Uart::new(Port::start(), now);
    let config = Config::new(Incarnation::random(u64::from(random()) << 32 | u64::from(random())));
    Node::new(port, config, Memory::new(), Frames::new())
}
