//! Links on tokio that have nothing to do, do next to nothing: how often their tasks run is counted.

#[cfg(unix)]
#[path = "../examples/shared/pty.rs"]
mod pty;

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bowline::drivers::tokio::{Client, Io, Link};
#[cfg(unix)]
use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Duration, sleep};

bowline::interface! {
    enum Lamp {
        at_most_once Toggle(bool) -> bool;
    }
}

/// A link in a task of its own, of which the runs are counted.
fn spawn(link: Link) -> (Client, Arc<AtomicU32>) {
    let (client, running) = link.start();
    let polls = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&polls);
    tokio::spawn(async move {
        let mut running = pin!(running);
        poll_fn(|poller| {
            // One that spins would not let the paused clock go on.
            assert!(counter.fetch_add(1, Relaxed) < 100_000, "the link spins");
            running.as_mut().poll(poller)
        })
        .await;
    });
    (client, polls)
}

fn lamp(link: Link) -> Link {
    link.serve::<Lamp>(|client, Lamp::Toggle(lit, reply)| client.reply(reply, &!lit))
}

/// What is added to the counters in `seconds`.
async fn count<const N: usize>(counters: [&AtomicU32; N], seconds: u64) -> [u32; N] {
    let before = counters.map(|counter| counter.load(Relaxed));
    sleep(Duration::from_secs(seconds)).await;
    let after = counters.map(|counter| counter.load(Relaxed));
    std::array::from_fn(|index| after[index] - before[index])
}

#[tokio::test(start_paused = true)]
async fn a_client_and_a_device_that_have_nothing_to_do_sleep() {
    let (host_end, device_end) = tokio::io::duplex(64);
    let (host, host_polls) = spawn(Link::stream(host_end));
    let (_device, device_polls) = spawn(lamp(Link::stream(device_end)));
    assert_eq!(host.call::<Toggle>(&false).await, Ok(true));
    let polls = count([&host_polls, &device_polls], 100).await;
    println!("polls in 100 idle seconds: {polls:?}");
    assert!(host.is_connected());
    assert!(polls.iter().all(|polls| (1..2_000).contains(polls)), "{polls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_port_that_nobody_answers_on_costs_little() {
    let (host_end, mut silent_end) = tokio::io::duplex(64);
    let (_host, polls) = spawn(Link::stream(host_end));
    tokio::spawn(async move { tokio::io::copy(&mut silent_end, &mut tokio::io::sink()).await });
    let polls = count([&polls], 100).await;
    println!("polls in 100 seconds with nobody there: {polls:?}");
    assert!((1..2_000).contains(&polls[0]), "{polls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_port_that_cannot_be_opened_is_left_alone_for_longer_and_longer() {
    let attempts = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&attempts);
    let link = Link::opening(move || {
        counter.fetch_add(1, Relaxed);
        async { Err::<Io, _>(io::ErrorKind::NotFound.into()) }
    });
    let (_host, polls) = spawn(link);
    let [attempts, polls] = count([&attempts, &polls], 100).await;
    println!("attempts and polls in 100 seconds without a port: {attempts}, {polls}");
    // Ten in the first second, and then one each second.
    assert!((100..=110).contains(&attempts), "{attempts}");
    assert!(polls < 2_000, "{polls}");
}

#[tokio::test(start_paused = true)]
async fn a_port_that_fails_as_soon_as_it_is_open_is_left_alone_as_well() {
    let attempts = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&attempts);
    let link = Link::opening(move || {
        counter.fetch_add(1, Relaxed);
        // Whoever reads it is at its end.
        let (end, _) = tokio::io::duplex(64);
        async { Ok(Io::Stream(Box::new(end))) }
    });
    let (_host, polls) = spawn(link);
    let [attempts, polls] = count([&attempts, &polls], 100).await;
    println!("attempts and polls in 100 seconds with a port that fails: {attempts}, {polls}");
    assert!((100..=110).contains(&attempts), "{attempts}");
    assert!(polls < 2_000, "{polls}");
}

#[cfg(unix)]
const SECONDS: u64 = 5;

/// The only one in real time, since a serial port knows no other.
#[cfg(unix)]
#[tokio::test]
async fn an_idle_serial_port_takes_next_to_no_processor_time() {
    // All tasks of this test run on its own thread.
    let cpu_time = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let (device_end, path) = pty::pty().unwrap();
    let (_device, device_polls) = spawn(lamp(Link::stream(device_end)));
    let (host, host_polls) = spawn(Link::serial(path.to_str().unwrap(), 115_200));
    assert_eq!(host.call::<Toggle>(&false).await, Ok(true));
    let before = cpu_time();
    let polls = count([&host_polls, &device_polls], SECONDS).await;
    let taken = cpu_time() - before;
    let share = taken.as_secs_f64() / SECONDS as f64 * 100.0;
    println!("polls in {SECONDS} idle seconds: {polls:?}; processor time: {taken:?}, {share:.3} % of a core");
    assert!(share < 1.0, "{share} % of a core");
    assert!(host.is_connected());
    assert!(polls.iter().all(|polls| *polls < 20 * SECONDS as u32), "{polls:?}");
}
