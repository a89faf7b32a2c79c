//! Tasks that share a link to a coin dispenser, and a cable that is pulled.
//!
//! You will see an answer that is an error of the dispenser and not of the link, eight tasks that call at once, what a
//! call says while the cable is out, that the link comes back by itself, and that the accounts of host and dispenser
//! agree. The dispenser runs in a task of its own, behind a pseudo-terminal. `tokio_client ADDRESS` calls the one that
//! `tokio_device ADDRESS` runs instead, and pulls no cable.

#[path = "shared/pty.rs"]
mod pty;
#[allow(dead_code, reason = "it is a program as well")]
#[path = "tokio_device.rs"]
mod tokio_device;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::{env, fs, io, os, process, time::Duration};

use bowline::drivers::tokio::Link;
use bowline::{CallError, Executed};
use tokio::task::JoinHandle;

use tokio_device::dispenser::{Fault, Level, PayOut};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match env::args().nth(1) {
        Some(address) if address.starts_with("unix:") => tour(Link::unix(&address[5..]), None).await,
        Some(address) if address.contains(':') => tour(Link::tcp(address), None).await,
        Some(address) => tour(Link::serial(address, 115_200), None).await,
        None => {
            let mut cable = Cable::new();
            cable.plug_in()?;
            tour(Link::serial(cable.port.to_str().ok_or("an odd path")?, 115_200), Some(&mut cable)).await
        }
    }
}

async fn tour(link: Link, cable: Option<&mut Cable>) -> Result<(), Box<dyn Error>> {
    let dispenser = link.on_event(|event| println!("    {event:?}")).timeout(Duration::from_secs(5)).spawn();
    match dispenser.call::<PayOut>(&200).await {
        Ok(Ok(left)) => println!("Here are 200 coins; {left} are left."),
        Ok(Err(fault)) => println!("The dispenser has answered: {fault:?}"),
        Err(error) if error.executed == Executed::No => println!("Nothing was paid out: {error}"),
        Err(error) => println!("There may be coins in the tray: {error}"),
    }

    let before = dispenser.call::<Level>(&()).await?;
    println!("It has {before} coins.");
    let mut accounts = Accounts::default();
    let tasks = [1, 2, 3, 4, 5, 6, 7, 8].map(|coins| {
        let dispenser = dispenser.clone();
        tokio::spawn(async move { (coins, dispenser.call::<PayOut>(&coins).await) })
    });
    for task in tasks {
        let (coins, outcome) = task.await?;
        accounts.note(coins, outcome);
    }
    println!("Eight tasks have called at once: {} coins of 36 are paid out.", accounts.paid);

    if let Some(cable) = cable {
        println!("The cable is pulled.");
        cable.pull().await?;
        let outcome = dispenser.with_timeout(Duration::from_millis(300)).call::<PayOut>(&10).await;
        println!("A payout meanwhile: {}", outcome.as_ref().err().ok_or("nobody can have answered")?);
        accounts.note(10, outcome);
        println!("It is plugged in again.");
        cable.plug_in()?;
        for _ in 0..5 {
            accounts.note(2, dispenser.call::<PayOut>(&2).await);
        }
    }

    let paid = before.wrapping_sub(dispenser.call::<Level>(&()).await?);
    println!("The host was told that {} coins were paid out, and may have been of {}.", accounts.paid, accounts.maybe);
    println!("{paid} coins are missing in the dispenser.");
    dispenser.close().await;
    let is_kept = accounts.paid >= 36 && (accounts.paid..=accounts.paid + accounts.maybe).contains(&paid);
    if is_kept { Ok(()) } else { Err("the accounts differ".into()) }
}

/// What the host knows of its coins.
#[derive(Default)]
struct Accounts {
    paid: u32,
    maybe: u32,
}

impl Accounts {
    fn note(&mut self, coins: u8, outcome: Result<Result<u32, Fault>, CallError>) {
        match outcome {
            Ok(Ok(_left)) => self.paid += u32::from(coins),
            Err(error) if error.executed != Executed::No => self.maybe += u32::from(coins),
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

/// A cable to a dispenser, which it supplies with power. It leads to a port that always has the same name.
struct Cable {
    port: PathBuf,
    coins: Arc<AtomicU32>,
    dispenser: Option<JoinHandle<()>>,
}

impl Cable {
    fn new() -> Self {
        let port = env::temp_dir().join(format!("dispenser-{}", process::id()));
        Self { port, coins: Arc::new(AtomicU32::new(100)), dispenser: None }
    }

    fn plug_in(&mut self) -> io::Result<()> {
        let (end, path) = pty::pty()?;
        os::unix::fs::symlink(path, &self.port)?;
        self.dispenser = Some(tokio::spawn(tokio_device::serve(Link::stream(end), Arc::clone(&self.coins)).run()));
        Ok(())
    }

    async fn pull(&mut self) -> io::Result<()> {
        fs::remove_file(&self.port)?;
        if let Some(dispenser) = self.dispenser.take() {
            dispenser.abort();
            // It ends at once, and has no time to say goodbye.
            let _ = dispenser.await;
        }
        Ok(())
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.port);
    }
}
