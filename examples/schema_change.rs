//! A firmware and a host that were built from different declarations of one interface.
//!
//! You will see each host call each firmware: what is declared the same goes on working; exactly what has changed, is
//! gone or is not there yet fails with *executed: no*. Each firmware is a process of its own, and counts its effects.

use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::{env, io};

use bowline::drivers::tokio::Link;
use bowline::{CallError, Executed, Reason};
use tokio::net::TcpListener;

mod old {
    bowline::interface! {
        /// A heater, as it was.
        pub enum Heater {
            at_most_once Switch(bool) -> ();
            /// In whole degrees.
            at_most_once SetTarget(u8) -> ();
            at_most_once Calibrate(u16) -> ();
            idempotent Effects(()) -> u32;
        }
    }
}

mod new {
    bowline::interface! {
        /// A heater, as it is now.
        pub enum Heater {
            at_most_once Switch(bool) -> ();
            /// In hundredths of a degree: another request under the same name.
            at_most_once SetTarget(u16) -> ();
            /// `Calibrate` is gone, this has come.
            at_most_once Boost(u16) -> ();
            idempotent Effects(()) -> u32;
        }
    }
}

static EFFECTS: AtomicU32 = AtomicU32::new(0);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match env::args().nth(1).as_deref() {
        Some("--old") => old_firmware(accept().await?).run().await,
        Some("--new") => new_firmware(accept().await?).run().await,
        _ => compare().await?,
    }
    Ok(())
}

fn old_firmware(link: Link) -> Link {
    link.serve::<old::Heater>(|client, message| match message {
        old::Heater::Switch(_, reply) => client.reply(reply, &take_effect()),
        old::Heater::SetTarget(_, reply) => client.reply(reply, &take_effect()),
        old::Heater::Calibrate(_, reply) => client.reply(reply, &take_effect()),
        old::Heater::Effects((), reply) => client.reply(reply, &EFFECTS.load(Relaxed)),
    })
}

fn new_firmware(link: Link) -> Link {
    link.serve::<new::Heater>(|client, message| match message {
        new::Heater::Switch(_, reply) => client.reply(reply, &take_effect()),
        new::Heater::SetTarget(_, reply) => client.reply(reply, &take_effect()),
        new::Heater::Boost(_, reply) => client.reply(reply, &take_effect()),
        new::Heater::Effects((), reply) => client.reply(reply, &EFFECTS.load(Relaxed)),
    })
}

fn take_effect() {
    EFFECTS.fetch_add(1, Relaxed);
}

/// Waits for the one host, and says where.
async fn accept() -> io::Result<Link> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    Ok(Link::stream(listener.accept().await?.0))
}

async fn compare() -> Result<(), Box<dyn Error>> {
    let mut is_kept = true;
    for (host, firmware) in [("old", "old"), ("old", "new"), ("new", "old"), ("new", "new")] {
        let (mut process, address) = start(firmware)?;
        let heater = Link::tcp(address).spawn();
        let outcomes = match host {
            "old" => [
                ("Switch", heater.call::<old::Switch>(&true).await),
                ("SetTarget", heater.call::<old::SetTarget>(&21).await),
                ("Calibrate", heater.call::<old::Calibrate>(&1).await),
            ],
            _ => [
                ("Switch", heater.call::<new::Switch>(&true).await),
                ("SetTarget", heater.call::<new::SetTarget>(&2_150).await),
                ("Boost", heater.call::<new::Boost>(&60).await),
            ],
        };
        let effects = heater.call::<new::Effects>(&()).await?;
        drop(heater);
        is_kept &= process.wait()?.success();

        println!("{host} host, {firmware} firmware, effects: {effects}");
        for (name, outcome) in outcomes {
            match outcome {
                Ok(()) => println!("    {name:9} ok"),
                Err(CallError { reason, executed }) => println!("    {name:9} {reason:?}, executed: {executed}"),
            }
            let differs = Err(CallError { reason: Reason::SchemaMismatch, executed: Executed::No });
            is_kept &= outcome == if host == firmware || name == "Switch" { Ok(()) } else { differs };
        }
        is_kept &= effects == if host == firmware { 3 } else { 1 };
    }
    if is_kept { Ok(()) } else { Err("not exactly what has changed has failed".into()) }
}

/// Starts this program as a firmware.
fn start(firmware: &str) -> io::Result<(Child, String)> {
    let mut command = Command::new(env::current_exe()?);
    let mut process = command.arg(format!("--{firmware}")).stdout(Stdio::piped()).spawn()?;
    let mut address = String::new();
    let stdout = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    BufReader::new(stdout).read_line(&mut address)?;
    Ok((process, address.trim().to_owned()))
}
