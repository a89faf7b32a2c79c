//! The driver for `embedded-io-async`, without an allocator or a certain executor: here one in virtual time.

mod executor;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bowline::drivers::LinkEvent;
use bowline::drivers::asynch::Tasks;
use bowline::drivers::embedded_async::Node;
use bowline::typed::{Nothing, Reply};
use bowline::{Buffers, CallError, Config, Event, Executed, Incarnation, Instant, Reason, frame_len};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::pipe::Pipe;
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use executor::{Executor, Sleeper, now, sleep};

bowline::interface! {
    enum Device {
        at_most_once Count(u32) -> u32;
        at_most_once Never(()) -> ();
        at_most_once AskBack(u32) -> u32;
        notify Say(u8);
    }
}

bowline::interface! {
    enum Host {
        at_most_once Double(u32) -> u32;
    }
}

const FRAME: usize = frame_len(48);

type Link = Node<NoopRawMutex, Buffers<48, 4, 4, 2, 1, 0, 16>, Tasks<48, 4, 80>>;
type Line = Pipe<NoopRawMutex, 32>;

fn link(entropy: u64) -> Link {
    Node::new(Config::new(Incarnation::random(entropy)), Buffers::new(), Tasks::new(), now)
}

/// Two nodes, the lines between them, and what has happened on the device.
struct Pair {
    host: Link,
    device: Link,
    to_host: Line,
    to_device: Line,
    counted: Cell<u32>,
    never: RefCell<Vec<Reply<Never>>>,
    said: RefCell<Vec<u8>>,
    asked: RefCell<Vec<(u32, Reply<AskBack>)>>,
    events: RefCell<Vec<LinkEvent<ErrorKind>>>,
}

impl Pair {
    fn new() -> Self {
        Self {
            host: link(0x1111_2222_3333_4444),
            device: link(0x5555_6666_7777_8888),
            to_host: Line::new(),
            to_device: Line::new(),
            counted: Cell::new(0),
            never: RefCell::default(),
            said: RefCell::default(),
            asked: RefCell::default(),
            events: RefCell::default(),
        }
    }

    fn run_host(&self) -> impl Future<Output = Infallible> {
        self.host.run::<Host, FRAME>(
            &self.to_host,
            &self.to_device,
            Sleeper,
            |host, Host::Double(number, reply)| host.reply(reply, &(number * 2)),
            |_| {},
        )
    }

    fn run_device(&self) -> impl Future<Output = Infallible> {
        self.device.run::<Device, FRAME>(
            &self.to_device,
            &self.to_host,
            Sleeper,
            |device, message| match message {
                Device::Count(number, reply) => {
                    self.counted.set(self.counted.get() + 1);
                    device.reply(reply, &(number + 1));
                }
                Device::Never((), reply) => self.never.borrow_mut().push(reply),
                Device::AskBack(number, reply) => self.asked.borrow_mut().push((number, reply)),
                Device::Say(word) => self.said.borrow_mut().push(word),
            },
            |event| self.events.borrow_mut().push(event),
        )
    }

    /// Answers later, from a task of its own, with the help of the host.
    async fn ask_back(&self) {
        for _ in 0..20 {
            while self.asked.borrow().is_empty() {
                sleep(1).await;
            }
            let (number, reply) = self.asked.borrow_mut().remove(0);
            let doubled = self.device.call::<Double>(&number).await.unwrap();
            self.device.reply(reply, &doubled);
        }
    }
}

#[test]
fn no_wake_up_is_lost_among_64_tasks() {
    for run in 0..1_000 {
        let (pair, since) = (Pair::new(), now());
        let mut executor = Executor::default();
        // Who is polled first makes a difference, and is different each time.
        if run % 2 == 0 {
            executor.serve(pair.run_host());
        }
        executor.serve(pair.run_device());
        if run % 2 == 1 {
            executor.serve(pair.run_host());
        }
        for number in 0..64 {
            let pair = &pair;
            executor.spawn(async move {
                sleep(number * run % 7).await;
                let number = number as u32;
                assert_eq!(pair.host.call::<Count>(&number).await, Ok(number + 1));
            });
        }
        executor.run();
        drop(executor);
        assert_eq!(pair.counted.get(), 64);
        // The line takes no time. Only a timer would have come to the help of the port, if that was not woken.
        let taken = now().saturating_duration_since(since).as_millis();
        assert!(taken < 10, "a wake-up came late: run {run} took {taken} ms");
    }
}

/// Lets all others run, `times` times.
async fn give_way(mut times: u32) {
    poll_fn(|poller| {
        if times == 0 {
            return Poll::Ready(());
        }
        times -= 1;
        poller.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn a_slot_that_is_free_again_does_not_cost_the_response_that_came_in_it() {
    // Somewhere among these, a call begins after the responses of four others came and before these were taken.
    for rounds in 0..20 {
        let pair = Pair::new();
        let mut executor = Executor::default();
        executor.serve(pair.run_host());
        executor.serve(pair.run_device());
        executor.spawn(async {
            sleep(100).await;
            give_way(rounds).await;
            assert_eq!(pair.host.call::<Count>(&1).await, Ok(2));
        });
        for _ in 0..4 {
            executor.spawn(async { assert_eq!(pair.host.call::<Never>(&()).await, Ok(())) });
        }
        executor.spawn(async {
            sleep(100).await;
            for reply in pair.never.take() {
                pair.device.reply(reply, &());
            }
        });
        executor.run();
    }
}

#[test]
fn a_task_that_waits_is_not_overtaken_by_those_that_call_all_the_time() {
    let pair = Pair::new();
    let meanwhile = Cell::new(None);
    let mut executor = Executor::default();
    executor.serve(pair.run_host());
    executor.serve(pair.run_device());
    for _ in 0..5 {
        executor.spawn(async {
            for number in 0..100 {
                assert_eq!(pair.host.call::<Count>(&number).await, Ok(number + 1));
            }
        });
    }
    executor.spawn(async {
        give_way(100).await;
        let before = pair.counted.get();
        assert!(pair.host.call::<Count>(&1).await.is_ok());
        meanwhile.set(Some(pair.counted.get() - before));
    });
    executor.run();
    drop(executor);
    let meanwhile = meanwhile.get().unwrap();
    assert!(meanwhile <= 12, "{meanwhile} calls, of five others and four slots");
}

#[test]
fn tasks_get_slots_in_the_order_in_which_they_came() {
    let pair = Pair::new();
    let order = RefCell::new(Vec::new());
    let mut executor = Executor::default();
    executor.serve(pair.run_host());
    executor.serve(pair.run_device());
    // The later a task comes, the earlier it is polled.
    for number in (0..40_u32).rev() {
        let (pair, order) = (&pair, &order);
        executor.spawn(async move {
            sleep(u64::from(number)).await;
            let timeout = bowline::Duration::from_secs(60);
            pair.host.call_within::<Never>(timeout, &()).await.unwrap();
            order.borrow_mut().push(number);
        });
    }
    executor.spawn(async {
        sleep(100).await;
        for _ in 0..40 {
            let reply = pair.never.borrow_mut().remove(0);
            pair.device.reply(reply, &());
            sleep(10).await;
        }
    });
    executor.run();
    drop(executor);
    assert!(order.borrow().iter().copied().eq(0..40), "{order:?}");
}

#[test]
fn calls_end_in_time_whether_they_wait_for_a_slot_or_for_a_peer_that_is_gone() {
    let pair = Pair::new();
    let mut device = Some(Box::pin(pair.run_device()));
    let mut executor = Executor::default();
    executor.serve(pair.run_host());
    executor.spawn(async {
        // The device lives until the first call is answered.
        poll_fn(|poller| {
            if pair.counted.get() == 0 {
                return device.as_mut().unwrap().as_mut().poll(poller).map(drop);
            }
            Poll::Ready(())
        })
        .await;
    });
    executor.spawn(async {
        assert_eq!(pair.host.call::<Count>(&1).await, Ok(2));
    });
    executor.run();
    let start = now();
    for index in 0..12 {
        let pair = &pair;
        executor.spawn(async move {
            sleep(100).await;
            let timeout = bowline::Duration::from_millis(100 + index);
            let error = pair.host.call_within::<Count>(timeout, &1).await.unwrap_err();
            assert_eq!(now().saturating_duration_since(start).as_millis(), 200 + index);
            let executed = if index < 4 { Executed::Maybe } else { Executed::No };
            assert_eq!(error, CallError { reason: Reason::DeadlineExceeded, executed });
        });
    }
    executor.run();
}

#[test]
fn the_device_calls_the_host_while_it_is_being_called() {
    let pair = Pair::new();
    let mut executor = Executor::default();
    executor.serve(pair.run_host());
    executor.serve(pair.run_device());
    executor.spawn(pair.ask_back());
    for number in 0..20 {
        let pair = &pair;
        executor.spawn(async move { assert_eq!(pair.host.call::<AskBack>(&number).await, Ok(number * 2)) });
    }
    executor.run();
}

/// Polls `future` until `millis` have passed, then drops it.
async fn give_up_after<T>(millis: u64, future: impl Future<Output = T>) {
    let (mut future, mut sleep) = (pin!(future), pin!(sleep(millis)));
    poll_fn(|poller| {
        assert!(future.as_mut().poll(poller).is_pending());
        sleep.as_mut().poll(poller)
    })
    .await;
}

#[test]
fn dropping_a_call_cancels_it_and_the_server_is_told() {
    let pair = Pair::new();
    let mut executor = Executor::default();
    executor.serve(pair.run_host());
    executor.serve(pair.run_device());
    executor.spawn(async {
        give_up_after(100, pair.host.call::<Never>(&())).await;
        sleep(100).await;
        let reply = pair.never.borrow_mut().pop().unwrap();
        let cancelled = Event::CancelRequested { request: reply.id() };
        assert!(pair.events.borrow().contains(&LinkEvent::Endpoint(cancelled)));
        pair.device.refuse(reply, bowline::Refusal::Cancelled);
        assert_eq!(pair.host.call::<Count>(&1).await, Ok(2));
    });
    executor.run();
}

#[test]
fn a_task_that_gives_up_while_it_waits_for_a_slot_leaves_its_turn_to_the_next() {
    let pair = Pair::new();
    let mut executor = Executor::default();
    executor.serve(pair.run_host());
    executor.serve(pair.run_device());
    for _ in 0..4 {
        executor.spawn(async { assert!(pair.host.call::<Never>(&()).await.is_ok()) });
    }
    for number in 0..40_u32 {
        let pair = &pair;
        executor.spawn(async move {
            sleep(50).await;
            if number % 2 == 0 {
                give_up_after(u64::from(number), pair.host.call::<Count>(&number)).await;
            } else {
                assert_eq!(pair.host.call::<Count>(&number).await, Ok(number + 1));
            }
        });
    }
    executor.spawn(async {
        sleep(200).await;
        for _ in 0..4 {
            let reply = pair.never.borrow_mut().pop().unwrap();
            pair.device.reply(reply, &());
        }
    });
    executor.run();
    drop(executor);
    assert_eq!(pair.counted.get(), 20);
}

#[test]
fn who_finds_no_place_in_the_queue_is_told_at_once() {
    let pair = Pair::new();
    let full = Cell::new(0);
    let mut executor = Executor::default();
    for _ in 0..90 {
        executor.spawn(async {
            match pair.host.call::<Count>(&1).await {
                Err(CallError { reason: Reason::Full, executed: Executed::No }) => full.set(full.get() + 1),
                outcome => assert_eq!(outcome, Ok(2)),
            }
        });
    }
    executor.serve(pair.run_host());
    executor.serve(pair.run_device());
    executor.run();
    drop(executor);
    assert_eq!((full.get(), pair.counted.get()), (90 - 84, 84));
}

#[test]
fn without_a_peer_calls_end_in_time() {
    let pair = Pair::new();
    let mut executor = Executor::default();
    executor.serve(pair.run_host());
    for _ in 0..10 {
        executor.spawn(async {
            let error = pair.host.call::<Count>(&1).await.unwrap_err();
            // The line holds half a frame, so not even HELLO gets out.
            assert_eq!(error.executed, Executed::No);
        });
    }
    let start = now();
    executor.run();
    assert_eq!(now().saturating_duration_since(start).as_millis(), 5_000);
}

#[test]
fn notifies_are_handed_back_when_there_is_no_room() {
    let pair = Pair::new();
    let mut executor = Executor::default();
    executor.serve(pair.run_host());
    executor.serve(pair.run_device());
    executor.spawn(async {
        for word in 0..50 {
            while pair.host.notify::<Say>(&word).is_err() {
                sleep(1).await;
            }
        }
        while pair.said.borrow().len() < 50 {
            sleep(1).await;
        }
        assert!(pair.said.borrow().iter().copied().eq(0..50));
    });
    executor.run();
}

#[test]
fn an_idle_link_sleeps() {
    let pair = Pair::new();
    let mut executor = Executor::default();
    executor.serve(pair.run_host());
    executor.serve(pair.run_device());
    executor.spawn(async {
        assert_eq!(pair.host.call::<Count>(&1).await, Ok(2));
        sleep(1_000_000).await;
    });
    // A keepalive goes out every 2.5 s and is acknowledged: some 400 of them in 1 000 s.
    let polls = executor.run();
    assert!(polls < 10_000, "{polls} polls in 1 000 s");
}

/// A port that fails each time until the given moment.
struct Faulty<'a, T> {
    inner: &'a T,
    until: Instant,
    failures: &'a Cell<u32>,
}

impl<T> Faulty<'_, T> {
    fn check(&self) -> Result<(), ErrorKind> {
        if now() < self.until {
            self.failures.set(self.failures.get() + 1);
            return Err(ErrorKind::BrokenPipe);
        }
        Ok(())
    }
}

impl<T> ErrorType for Faulty<'_, T> {
    type Error = ErrorKind;
}

impl<'a, T> Read for Faulty<'a, T>
where
    &'a T: Read,
{
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        self.check()?;
        self.inner.read(buf).await.map_err(|_| ErrorKind::Other)
    }
}

impl<'a, T> Write for Faulty<'a, T>
where
    &'a T: Write,
{
    async fn write(&mut self, buf: &[u8]) -> Result<usize, ErrorKind> {
        self.check()?;
        self.inner.write(buf).await.map_err(|_| ErrorKind::Other)
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

#[test]
fn a_port_that_fails_is_reported_once_and_tried_less_and_less_often() {
    let pair = Pair::new();
    let (reads, writes) = (Cell::new(0), Cell::new(0));
    let until = now() + bowline::Duration::from_secs(60);
    let events = RefCell::new(Vec::new());
    let mut executor = Executor::default();
    executor.serve(pair.run_device());
    executor.serve(pair.host.run::<Nothing, FRAME>(
        Faulty { inner: &pair.to_host, until, failures: &reads },
        Faulty { inner: &pair.to_device, until, failures: &writes },
        Sleeper,
        |_, _| {},
        |event| events.borrow_mut().push(event),
    ));
    executor.spawn(async {
        let error = pair.host.call::<Count>(&1).await.unwrap_err();
        assert_eq!(error, CallError { reason: Reason::Unreachable, executed: Executed::No });
        sleep(60_000).await;
        assert_eq!(pair.host.call::<Count>(&1).await, Ok(2));
    });
    let polls = executor.run();
    drop(executor);
    // A read that fails once is noise. Then after 1 + 2 + 4 + … + 512 ms, then one a second.
    assert_eq!(reads.get() + writes.get(), 1 + 10 + 59);
    assert!(polls < 2_000, "{polls} polls");
    let events = events.into_inner();
    let failed = LinkEvent::PortFailed(ErrorKind::BrokenPipe);
    assert_eq!(events, [failed, LinkEvent::PortRestored, LinkEvent::Endpoint(Event::Connected)]);
}

/// A writer that fails for ever after it has taken `room` more bytes.
struct Cut<'a> {
    line: &'a Line,
    room: &'a Cell<usize>,
}

impl ErrorType for Cut<'_> {
    type Error = ErrorKind;
}

impl Write for Cut<'_> {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, ErrorKind> {
        let room = self.room.get();
        if room == 0 {
            return Err(ErrorKind::BrokenPipe);
        }
        let taken = self.line.write(&buf[..room.min(buf.len())]).await;
        self.room.set(room - taken);
        Ok(taken)
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

#[test]
fn a_port_that_has_taken_a_part_of_a_request_may_have_sent_it_and_one_that_took_nothing_has_not() {
    for (left, executed) in [(0, Executed::No), (1, Executed::Maybe), (8, Executed::Maybe)] {
        let (pair, room) = (Pair::new(), Cell::new(usize::MAX));
        let mut executor = Executor::default();
        executor.serve(pair.run_device());
        let writer = Cut { line: &pair.to_device, room: &room };
        executor.serve(pair.host.run::<Nothing, FRAME>(&pair.to_host, writer, Sleeper, |_, _| {}, |_| {}));
        executor.spawn(async {
            assert_eq!(pair.host.call::<Count>(&1).await, Ok(2));
            // No acks are under way any more.
            sleep(1_000).await;
            room.set(left);
            let timeout = bowline::Duration::from_millis(100);
            let error = CallError { reason: Reason::DeadlineExceeded, executed };
            assert_eq!(pair.host.call_within::<Count>(timeout, &1).await, Err(error), "{left} bytes");
            assert_eq!(pair.counted.get(), 1);
        });
        executor.run();
    }
}

#[test]
fn all_calls_end_when_the_port_task_is_dropped() {
    let pair = Pair::new();
    let mut port = Some(Box::pin(pair.run_host()));
    let mut executor = Executor::default();
    for _ in 0..6 {
        executor.spawn(async {
            let error = pair.host.call::<Count>(&1).await.unwrap_err();
            assert_eq!(error, CallError { reason: Reason::Closed, executed: Executed::No });
        });
    }
    executor.spawn(async {
        sleep(10).await;
        drop(port.take());
    });
    executor.run();
}
