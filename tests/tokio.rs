//! The driver on tokio: many tasks on one link, cancellation, calls both ways, ports that fail.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bowline::drivers::LinkEvent;
use bowline::drivers::tokio::{Client, Link};
use bowline::typed::Reply;
use bowline::{CallError, Event, Executed, Reason, Refusal};
use tokio::time::{Duration, timeout};

bowline::interface! {
    enum Device<'a> {
        at_most_once Count(u32) -> u32;
        idempotent Reverse(&'a str) -> &'a str;
        at_most_once Never(()) -> ();
        at_most_once AskBack(u32) -> u32;
        notify Say(&'a str);
        publish Level(u8);
    }
}

bowline::interface! {
    enum Host {
        at_most_once Double(u32) -> u32;
    }
}

/// What has happened on the device.
#[derive(Default)]
struct World {
    counted: AtomicU32,
    never: Mutex<Vec<Reply<Never>>>,
    said: Mutex<Vec<String>>,
    cancelled: AtomicU32,
}

fn device(link: Link, world: &Arc<World>) -> Client {
    let (world, events) = (Arc::clone(world), Arc::clone(world));
    link.serve::<Device>(move |client, message| match message {
        Device::Count(number, reply) => {
            world.counted.fetch_add(1, Ordering::Relaxed);
            client.reply(reply, &(number + 1));
        }
        Device::Reverse(text, reply) => client.reply(reply, &&*text.chars().rev().collect::<String>()),
        Device::Never((), reply) => world.never.lock().unwrap().push(reply),
        Device::AskBack(number, reply) => {
            let client = client.clone();
            tokio::spawn(async move {
                let doubled = client.call::<Double>(&number).await.unwrap();
                client.reply(reply, &doubled);
            });
        }
        Device::Say(text) => world.said.lock().unwrap().push(text.into()),
        Device::Level(level, _) => world.said.lock().unwrap().push(level.to_string()),
    })
    .on_event(move |event| {
        if matches!(event, LinkEvent::Endpoint(Event::CancelRequested { .. })) {
            events.cancelled.fetch_add(1, Ordering::Relaxed);
        }
    })
    .spawn()
}

fn host(link: Link) -> Client {
    link.serve::<Host>(|client, Host::Double(number, reply)| client.reply(reply, &(number * 2))).spawn()
}

/// A host, a device and a pipe between them that holds `pipe` bytes.
fn pair(pipe: usize) -> (Client, Client, Arc<World>) {
    let world = Arc::new(World::default());
    let (a, b) = tokio::io::duplex(pipe);
    (host(Link::stream(a)), device(Link::stream(b), &world), world)
}

/// Waits until `condition` holds; the clock of these tests stands still while anything is to be done.
async fn until(mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(60), wait).await.expect("it should have happened");
}

#[tokio::test(start_paused = true)]
async fn a_call_is_ten_lines_and_its_response_has_a_type() {
    let (host, _device, world) = pair(64);
    assert_eq!(host.call::<Count>(&41).await, Ok(42));
    assert_eq!(world.counted.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_response_may_borrow() {
    let (host, _device, _world) = pair(64);
    let second = std::time::Duration::from_secs(1).into();
    let reversed = host.call_within_with::<Reverse, _>(second, &"bowline", |text| text.to_owned()).await;
    assert_eq!(reversed.as_deref(), Ok("enilwob"));
}

#[tokio::test(start_paused = true)]
async fn one_way_messages_arrive_in_order() {
    let (host, device, world) = pair(64);
    host.notify::<Say>(&"one").unwrap();
    host.notify::<Say>(&"two").unwrap();
    host.publish::<Level>(&3).unwrap();
    until(|| world.said.lock().unwrap().len() == 3).await;
    assert_eq!(*world.said.lock().unwrap(), ["one", "two", "3"]);
    drop(device);
}

#[tokio::test(start_paused = true)]
async fn the_device_calls_the_host_while_it_is_being_called() {
    let (host, _device, _world) = pair(64);
    let calls = (0..100).map(|number| {
        let host = host.clone();
        tokio::spawn(async move { host.call::<AskBack>(&number).await })
    });
    for (number, call) in (0..).zip(calls.collect::<Vec<_>>()) {
        assert_eq!(call.await.unwrap(), Ok(number * 2));
    }
}

#[test]
fn no_wake_up_is_lost_among_64_tasks() {
    let runs = std::env::var("BOWLINE_RUNS").map_or(1_000, |runs| runs.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let since = std::time::Instant::now();
    runtime.block_on(async {
        for run in 0..runs {
            let (host, _device, world) = pair(1 << (5 + run % 8));
            let calls = (0..64).map(|number| {
                let host = host.clone();
                tokio::spawn(async move { host.call::<Count>(&number).await })
            });
            for (number, call) in (0..).zip(calls.collect::<Vec<_>>()) {
                let outcome = timeout(Duration::from_secs(20), call).await.expect("a wake-up was lost");
                assert_eq!(outcome.unwrap(), Ok(number + 1), "run {run}");
            }
            assert_eq!(world.counted.load(Ordering::Relaxed), 64);
            // A port that is not woken is helped by its timers, much later.
            assert!(since.elapsed() < Duration::from_secs(10) + Duration::from_millis(100) * run, "wake-ups are lost");
        }
    });
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_cancels_it_and_the_server_is_told() {
    let (host, _device, world) = pair(64);
    let call = timeout(Duration::from_millis(500), host.call::<Never>(&())).await;
    assert!(call.is_err());
    until(|| world.cancelled.load(Ordering::Relaxed) == 1).await;
    // The handler gives in, and the slot is free again.
    let reply = world.never.lock().unwrap().pop().unwrap();
    _device.refuse(reply, Refusal::Cancelled);
    assert_eq!(host.call::<Count>(&1).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_never_answers_costs_its_slot_and_nothing_else() {
    let (host, _device, world) = pair(64);
    let error = host.call::<Never>(&()).await.unwrap_err();
    assert_eq!(error, CallError { reason: Reason::DeadlineExceeded, executed: Executed::Maybe });
    for number in 0..100 {
        assert_eq!(host.call::<Count>(&number).await, Ok(number + 1));
    }
    assert_eq!(world.never.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn tasks_that_wait_for_a_slot_time_out_and_were_not_executed() {
    let (host, _device, world) = pair(64);
    let call = |timeout: u64| {
        let host = host.with_timeout(std::time::Duration::from_secs(timeout));
        tokio::spawn(async move { host.call::<Never>(&()).await })
    };
    let hogs: Vec<_> = (0..32).map(|_| call(10)).collect();
    until(|| world.never.lock().unwrap().len() == 32).await;
    let waiting: Vec<_> = (0..8).map(|_| call(2)).collect();
    for call in waiting {
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error, CallError { reason: Reason::DeadlineExceeded, executed: Executed::No });
    }
    for call in hogs {
        assert_eq!(call.await.unwrap().unwrap_err().executed, Executed::Maybe);
    }
    assert_eq!(world.never.lock().unwrap().len(), 32);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_dropped_while_it_waits_for_a_slot_gives_its_turn_to_the_next() {
    let (host, device, world) = pair(64);
    let hogs: Vec<_> = (0..32)
        .map(|_| {
            let host = host.clone();
            tokio::spawn(async move { host.call::<Never>(&()).await })
        })
        .collect();
    until(|| world.never.lock().unwrap().len() == 32).await;
    let waiting: Vec<_> = (0..64)
        .map(|number| {
            let host = host.clone();
            tokio::spawn(async move { host.call::<Count>(&number).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let reply = world.never.lock().unwrap().pop().unwrap();
    device.reply(reply, &());
    for (index, call) in waiting.into_iter().enumerate() {
        if index % 2 == 0 {
            call.abort();
        } else {
            assert!(call.await.unwrap().is_ok());
        }
    }
    hogs.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn calls_end_in_time_when_the_port_is_stuck() {
    // Nobody reads the other end, and it holds less than a frame.
    let (a, _stuck) = tokio::io::duplex(16);
    let host = host(Link::stream(a));
    let error = host.call::<Count>(&1).await.unwrap_err();
    assert_eq!(error, CallError { reason: Reason::Unreachable, executed: Executed::No });
}

#[tokio::test(start_paused = true)]
async fn all_calls_end_when_the_stream_ends() {
    let (a, b) = tokio::io::duplex(64);
    let host = host(Link::stream(a));
    let call = {
        let host = host.clone();
        tokio::spawn(async move { host.call::<Count>(&1).await })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(b);
    assert_eq!(call.await.unwrap(), Err(CallError { reason: Reason::Closed, executed: Executed::No }));
    assert_eq!(host.call::<Count>(&1).await.unwrap_err().reason, Reason::Closed);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_client_ends_the_session_and_tells_the_peer() {
    let (host, device, _world) = pair(64);
    host.call::<Count>(&1).await.unwrap();
    assert!(device.is_connected());
    let clone = host.clone();
    drop(host);
    clone.call::<Count>(&1).await.unwrap();
    drop(clone);
    until(|| !device.is_connected()).await;
}

#[tokio::test(start_paused = true)]
async fn closing_waits_until_the_peer_was_told() {
    let (host, device, _world) = pair(64);
    host.call::<Count>(&1).await.unwrap();
    let clone = host.clone();
    host.close().await;
    assert_eq!(clone.call::<Count>(&1).await.unwrap_err().reason, Reason::Closed);
    // The frame is in the pipe: no time has to pass before the device has it.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!device.is_connected());
    // A link that has ended already, and one whose port is stuck.
    clone.close().await;
    let (a, _stuck) = tokio::io::duplex(16);
    timeout(Duration::from_secs(1), Link::stream(a).spawn().close()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_future_that_is_made_by_start_can_be_dropped() {
    let (a, _b) = tokio::io::duplex(64);
    let (client, running) = Link::stream(a).start();
    let call = tokio::spawn(async move { client.call::<Count>(&1).await });
    tokio::task::yield_now().await;
    drop(running);
    assert_eq!(call.await.unwrap().unwrap_err(), CallError { reason: Reason::Closed, executed: Executed::No });
}

#[tokio::test]
async fn a_server_that_goes_away_and_comes_back_is_met_again() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let world = Arc::new(World::default());
    let events = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&events);
    let host = Link::tcp(address)
        .timeout(std::time::Duration::from_secs(20))
        .on_event(move |event| {
            log.lock().unwrap().push(match event {
                LinkEvent::PortFailed(_) => "failed",
                LinkEvent::PortRestored => "restored",
                LinkEvent::Endpoint(_) => return,
            });
        })
        .spawn();
    for life in 0..3 {
        let (stream, _) = listener.accept().await.unwrap();
        let device = device(Link::stream(stream), &world);
        assert_eq!(host.call::<Count>(&life).await, Ok(life + 1));
        drop(device);
    }
    assert_eq!(world.counted.load(Ordering::Relaxed), 3);
    let events = events.lock().unwrap();
    assert_eq!(events[..4], ["failed", "restored", "failed", "restored"], "{events:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_a_port_that_fails_and_not_one_that_is_waited_for() {
    // A listener with a full backlog says nothing to those who come, as a host that is switched off.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    // In real time.
    let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300));
    let _guests: Vec<_> = std::iter::from_fn(|| connect().ok()).collect();
    let (failed, mut failures) = tokio::sync::mpsc::unbounded_channel();
    let _host = Link::tcp(address)
        .on_event(move |event| {
            if let LinkEvent::PortFailed(error) = event {
                failed.send(error.kind()).unwrap();
            }
        })
        .spawn();
    let failure = timeout(Duration::from_secs(10), failures.recv()).await;
    assert_eq!(failure, Ok(Some(std::io::ErrorKind::TimedOut)));
}

#[tokio::test]
async fn udp_carries_calls() {
    let device_socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let host_socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    device_socket.connect(host_socket.local_addr().unwrap()).await.unwrap();
    host_socket.connect(device_socket.local_addr().unwrap()).await.unwrap();
    let world = Arc::new(World::default());
    let (host, _device) = (host(Link::socket(host_socket)), device(Link::socket(device_socket), &world));
    for number in 0..100 {
        assert_eq!(host.call::<Count>(&number).await, Ok(number + 1));
    }
}

#[tokio::test]
async fn a_link_opens_its_own_datagram_socket() {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let host = Link::udp(socket.local_addr().unwrap()).spawn();
    let (_, from) = socket.peek_from(&mut [0; 64]).await.unwrap();
    socket.connect(from).await.unwrap();
    let world = Arc::new(World::default());
    let _device = device(Link::socket(socket), &world);
    assert_eq!(host.call::<Count>(&1).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_serves_nothing_refuses_what_it_is_asked() {
    let (a, b) = tokio::io::duplex(64);
    let (_silent, asks) = (Link::stream(a).spawn(), Link::stream(b).spawn());
    let unknown = CallError { reason: Reason::Refused(Refusal::UnknownKey), executed: Executed::No };
    assert_eq!(asks.call::<Count>(&1).await, Err(unknown));
}
