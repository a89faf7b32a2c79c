//! One UDP socket serves 20 clients at once, each of which has an account of its own.
//!
//! You will see how many came, how many deposits were made, and that each client was told the balance of its own
//! account after each of them. A stranger who sends garbage meanwhile does not disturb them.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use bowline::drivers::udp_server::{ClientId, UdpServer};
use bowline::drivers::{LinkEvent, host};
use bowline::{Buffers, Config, Event, Executed};

bowline::interface! {
    /// What the server understands.
    pub enum Bank {
        /// Puts coins into the account of the client, and tells what is in it now.
        at_most_once Deposit(u32) -> u64;
    }
}

const CLIENTS: u32 = 20;
const DEPOSITS: u32 = 50;

/// What the server has done.
#[derive(Default)]
struct Ledger {
    accounts: HashMap<ClientId, u64>,
    deposits: u32,
    met: HashSet<SocketAddr>,
}

/// How the calls of one client ended.
#[derive(Default)]
struct Outcomes {
    ok: u32,
    not_executed: u32,
    maybe: u32,
    wrong_balances: u32,
}

fn main() -> Result<(), Box<dyn Error>> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let addr = socket.local_addr()?;
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let shared = Arc::clone(&ledger);
    thread::spawn(move || serve(socket, &shared));

    let clients: Vec<_> = (1..=CLIENTS).map(|coins| thread::spawn(move || deposit(addr, coins))).collect();
    let stranger = UdpSocket::bind("127.0.0.1:0")?;
    for len in 1..100 {
        stranger.send_to(&vec![b'?'; len], addr)?;
    }
    let mut sum = Outcomes::default();
    for client in clients {
        let outcomes = client.join().map_err(|_| "a client panicked")?;
        sum.ok += outcomes.ok;
        sum.not_executed += outcomes.not_executed;
        sum.maybe += outcomes.maybe;
        sum.wrong_balances += outcomes.wrong_balances;
    }

    let ledger = ledger.lock().map_err(|_| "the server panicked")?;
    let Outcomes { ok, not_executed, maybe, wrong_balances } = sum;
    println!("{} clients have met the server.", ledger.met.len());
    println!("{} calls: {ok} ok, {not_executed} not executed, {maybe} that nobody can know of.", CLIENTS * DEPOSITS);
    println!("The server has made {} deposits in {} accounts.", ledger.deposits, ledger.accounts.len());
    println!("{wrong_balances} balances were not what the client had paid in.");
    let is_kept = ledger.met.len() == CLIENTS as usize
        && ok + not_executed + maybe == CLIENTS * DEPOSITS
        && (ok..=ok + maybe).contains(&ledger.deposits)
        && wrong_balances == 0;
    if is_kept { Ok(()) } else { Err("the accounts differ".into()) }
}

/// The server: up to 100 clients, each with a little memory.
fn serve(socket: UdpSocket, ledger: &Mutex<Ledger>) -> std::io::Result<()> {
    UdpServer::new(socket, Config::from_os(), 100, Buffers::<48>::new)?
        .on_event(|client, event| {
            if let (Some(client), LinkEvent::Endpoint(Event::Connected)) = (client, event) {
                ledger.lock().expect("nobody panics").met.insert(client.addr());
            }
        })
        .serve::<Bank>(|client, context, message| match message {
            Bank::Deposit(coins, reply) => {
                let mut ledger = ledger.lock().expect("nobody panics");
                ledger.deposits += 1;
                let balance = ledger.accounts.entry(client).or_default();
                *balance += u64::from(coins);
                context.reply(reply, balance);
            }
        })
        .run()
}

/// A client.
fn deposit(server: SocketAddr, coins: u32) -> Outcomes {
    let mut bank = host::node(host::Udp::connect(server));
    let (mut outcomes, mut least, mut most) = (Outcomes::default(), 0, 0);
    for _ in 0..DEPOSITS {
        most += u64::from(coins);
        match bank.call::<Deposit>(&coins) {
            Ok(balance) => {
                least += u64::from(coins);
                outcomes.ok += 1;
                outcomes.wrong_balances += u32::from(!(least..=most).contains(&balance));
            }
            Err(error) if error.executed == Executed::No => {
                most -= u64::from(coins);
                outcomes.not_executed += 1;
            }
            Err(_) => outcomes.maybe += 1,
        }
    }
    outcomes
}
