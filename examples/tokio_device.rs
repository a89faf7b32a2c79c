//! A coin dispenser on tokio, for `tokio_client` to call.
//!
//! `tokio_device [ADDRESS]` serves one client, on a serial port (`/dev/ttyUSB0`), a TCP address to listen on
//! (`127.0.0.1:7000`; the default is any free port) or a Unix socket (`unix:dispenser.socket`). You will see where it
//! waits, what happens to the link, and, when the client has said goodbye, how many coins are left.

#[path = "shared/dispenser.rs"]
pub mod dispenser;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::{env, fs, io};

use bowline::drivers::LinkEvent;
use bowline::drivers::tokio::Link;
use bowline::{Event, SessionEnd};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Notify;

use dispenser::{Dispenser, Fault};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:0".into());
    let link = if let Some(path) = address.strip_prefix("unix:") {
        let listener = UnixListener::bind(path)?;
        println!("Waiting for: tokio_client {address}");
        let stream = listener.accept().await?.0;
        fs::remove_file(path)?;
        Link::stream(stream)
    } else if address.contains(':') {
        let listener = TcpListener::bind(&address).await?;
        println!("Waiting for: tokio_client {}", listener.local_addr()?);
        Link::stream(listener.accept().await?.0)
    } else {
        println!("Waiting for a tokio_client at the other end of {address}");
        Link::serial(address, 115_200)
    };
    let coins = Arc::new(AtomicU32::new(100));
    let goodbye = Arc::new(Notify::new());
    let said = Arc::clone(&goodbye);
    let link = serve(link, Arc::clone(&coins)).on_event(move |event| {
        println!("    {event:?}");
        if let LinkEvent::Endpoint(Event::Disconnected { reason: SessionEnd::ClosedByPeer, .. }) = event {
            said.notify_one();
        }
    });
    tokio::select! {
        () = link.run() => {}
        () = goodbye.notified() => {}
    }
    println!("The client is gone. {} coins are left.", coins.load(Relaxed));
    Ok(())
}

/// The dispenser with so many coins.
pub fn serve(link: Link, coins: Arc<AtomicU32>) -> Link {
    link.serve::<Dispenser>(move |client, message| match message {
        Dispenser::PayOut(wanted, reply) => {
            let paid = coins.fetch_update(Relaxed, Relaxed, |coins| coins.checked_sub(wanted.into()));
            client.reply(reply, &paid.map(|before| before - u32::from(wanted)).map_err(|_| Fault::Empty));
        }
        Dispenser::Level((), reply) => client.reply(reply, &coins.load(Relaxed)),
    })
}
