//! What the tests share: a device, cables, a server.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, remove_file};
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;

use bowline::drivers::blocking::{Node, Port};
use bowline::drivers::host::{self, HostBuffers, HostNode};
use bowline::drivers::udp_server::{ClientId, UdpServer};
use bowline::typed::Context;
use bowline::{Config, Message, Storage, frame_len};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

bowline::interface! {
    /// What the other side of each link understands.
    pub enum Device {
        /// Adds to a sum, and tells it.
        at_most_once Add(u32) -> u32;
        /// Whether the sum is odd, or not.
        at_most_once IsOdd(bool) -> bool;
        /// Is never answered.
        at_most_once Hang(()) -> ();
    }
}

/// How often each procedure took effect.
#[derive(Default)]
pub struct Effects {
    pub add: AtomicU32,
    pub is_odd: AtomicU32,
    pub hang: AtomicU32,
}

/// A node that understands [`Device`].
pub fn device<P: Port>(
    port: P,
    effects: Arc<Effects>,
) -> Node<P, HostBuffers, { frame_len(1024) }, impl FnMut(&mut Context<'_, HostBuffers>, Message<'_>)> {
    let mut sum = 0;
    host::node(port).serve::<Device>(move |context, message| match message {
        Device::Add(number, reply) => {
            effects.add.fetch_add(1, SeqCst);
            sum += number;
            context.reply(reply, &sum);
        }
        Device::IsOdd(is_odd, reply) => {
            effects.is_odd.fetch_add(1, SeqCst);
            context.reply(reply, &((sum % 2 == 1) == is_odd));
        }
        Device::Hang((), _reply) => {
            effects.hang.fetch_add(1, SeqCst);
        }
    })
}

/// Serves for as long as the test runs.
pub fn serve<P>(port: P) -> Arc<Effects>
where
    P: Port<Error = io::Error> + Send + 'static,
{
    let effects = Arc::new(Effects::default());
    let counted = Arc::clone(&effects);
    thread::spawn(move || device(port, counted).run());
    effects
}

/// Calls, and checks what is answered and what was done.
pub fn add_up(node: &mut HostNode<impl Port>, effects: &Effects) {
    for number in 1..=100 {
        assert_eq!(node.call::<Add>(&number), Ok(number * (number + 1) / 2));
    }
    assert_eq!(node.call::<IsOdd>(&false), Ok(true));
    assert_eq!(effects.add.load(SeqCst), 100);
}

/// A pseudo-terminal in raw mode: one end, and the name of the other.
pub fn pty() -> (File, String) {
    let end = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&end).unwrap();
    unlockpt(&end).unwrap();
    let mut attributes = tcgetattr(&end).unwrap();
    attributes.make_raw();
    tcsetattr(&end, OptionalActions::Now, &attributes).unwrap();
    let path = ptsname(&end, Vec::new()).unwrap().into_string().unwrap();
    (File::from(end), path)
}

/// A serial cable between two ports: their names.
pub fn cable() -> (String, String) {
    let ((one, one_path), (other, other_path)) = (pty(), pty());
    for (mut from, mut to) in [(one.try_clone().unwrap(), other.try_clone().unwrap()), (other, one)] {
        thread::spawn(move || io::copy(&mut from, &mut to));
    }
    // A terminal that nobody has open fails. Somebody always has these.
    for path in [&one_path, &other_path] {
        std::mem::forget(OpenOptions::new().read(true).write(true).open(path).unwrap());
    }
    (one_path, other_path)
}

/// Two UDP sockets that are connected to each other.
pub fn sockets() -> [UdpSocket; 2] {
    let sockets = [(); 2].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    for (one, other) in [(0, 1), (1, 0)] {
        sockets[one].connect(sockets[other].local_addr().unwrap()).unwrap();
    }
    sockets
}

/// A name for a file of this test.
pub fn temporary(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("bowline-{}-{name}", std::process::id()));
    let _ = remove_file(&path);
    path
}

/// A server that adds up the numbers of each client.
pub fn server<S: Storage + 'static>(
    max_clients: usize,
    storage: fn() -> S,
) -> UdpServer<S, impl FnMut(ClientId, &mut Context<'_, S>, Message<'_>) + Send> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut sums = HashMap::new();
    UdpServer::new(socket, Config::from_os(), max_clients, storage).unwrap().serve::<Device>(
        move |client, context, message| {
            let sum = sums.entry(client).or_insert(0);
            match message {
                Device::Add(number, reply) => {
                    *sum += number;
                    context.reply(reply, sum);
                }
                Device::IsOdd(is_odd, reply) => context.reply(reply, &((*sum % 2 == 1) == is_odd)),
                Device::Hang((), _reply) => {}
            }
        },
    )
}
