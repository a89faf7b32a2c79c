//! A door asks its host for permission while the host asks it to open: calls both ways, at once, on one link.
//!
//! You will see 60 people at the door, of whom the host lets in every second one; how many calls each side has served,
//! how many people the door has reported by notifications, and the last of its temperatures, which it publishes.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use bowline::drivers::tokio::{Client, Link};
use bowline::typed::Schema;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

const PEOPLE: u32 = 60;

/// How long to wait for one-way messages that are still under way.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the door stays shut.
#[derive(Debug, PartialEq, Serialize, Deserialize, Schema)]
pub enum Denied {
    /// The host does not want it.
    NotWelcome,
    /// The host could not be asked.
    NobodyToAsk,
}

bowline::interface! {
    /// What the door understands.
    pub enum Door<'a> {
        /// Lets somebody in, if the host says so.
        at_most_once Open(&'a str) -> Result<(), Denied>;
    }
}

bowline::interface! {
    /// What the host understands.
    pub enum Host<'a> {
        /// Whether somebody may come in.
        idempotent IsWelcome(&'a str) -> bool;
        /// Somebody is in.
        notify HasEntered(&'a str);
        /// At the door, in degrees Celsius.
        publish Temperature(i8);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (host_end, door_end) = tokio::io::duplex(64);
    let _door = door(Link::stream(door_end));
    let asked = Arc::new(AtomicU32::new(0));
    let (entered, mut has_entered) = mpsc::unbounded_channel();
    let (temperature, mut thermometer) = watch::channel(0);
    let door = host(Link::stream(host_end), Arc::clone(&asked), entered, temperature);

    // Each of these calls waits, at the door, for one of the other direction.
    let call = |number: u32| {
        let door = door.clone();
        tokio::spawn(async move { door.call::<Open>(&&*format!("guest {number}")).await })
    };
    let (mut let_in, mut denied) = (0, 0);
    for task in (0..PEOPLE).map(call).collect::<Vec<_>>() {
        match task.await?? {
            Ok(()) => let_in += 1,
            Err(Denied::NotWelcome) => denied += 1,
            Err(Denied::NobodyToAsk) => return Err("the door could not reach the host".into()),
        }
    }
    println!("The host has asked the door to open {PEOPLE} times: {let_in} were let in, {denied} were not.");
    let asked = asked.load(Relaxed);
    println!("Meanwhile the door has asked the host {asked} times whether somebody is welcome.");
    let (mut reported, mut last) = (0, String::new());
    while reported < let_in {
        last = timeout(PATIENCE, has_entered.recv()).await?.ok_or("the link has ended")?;
        reported += 1;
    }
    println!("It has reported {reported} who have entered; the last was {last}.");
    let degrees = *timeout(PATIENCE, thermometer.wait_for(|degrees| *degrees != 0)).await??;
    println!("It publishes its temperature: {degrees} degrees.");

    let is_kept = (let_in, denied) == (PEOPLE / 2, PEOPLE / 2) && asked >= PEOPLE && has_entered.is_empty();
    if is_kept { Ok(()) } else { Err("the accounts differ".into()) }
}

/// The host. It lets in every second one.
fn host(
    link: Link,
    asked: Arc<AtomicU32>,
    entered: mpsc::UnboundedSender<String>,
    temperature: watch::Sender<i8>,
) -> Client {
    link.serve::<Host>(move |door, message| match message {
        Host::IsWelcome(name, reply) => {
            asked.fetch_add(1, Relaxed);
            door.reply(reply, &name.ends_with(['0', '2', '4', '6', '8']));
        }
        // Who does not listen any more does not want to know.
        Host::HasEntered(name) => _ = entered.send(name.to_owned()),
        Host::Temperature(degrees, _missed) => _ = temperature.send(degrees),
    })
    .spawn()
}

/// The door. Its handler must not wait, so it answers from a task.
fn door(link: Link) -> Client {
    link.serve::<Door>(|host, Door::Open(name, reply)| {
        let (host, name) = (host.clone(), name.to_owned());
        tokio::spawn(async move {
            let answer = match host.call::<IsWelcome>(&&*name).await {
                Ok(true) => host.notify::<HasEntered>(&&*name).map_err(|_| Denied::NobodyToAsk),
                Ok(false) => Err(Denied::NotWelcome),
                Err(_) => Err(Denied::NobodyToAsk),
            };
            let _ = host.publish::<Temperature>(&21);
            host.reply(reply, &answer);
        });
    })
    .spawn()
}
