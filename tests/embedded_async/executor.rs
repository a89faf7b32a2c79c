//! An executor in virtual time. A task is polled only when it was woken, and time moves only when none is: a wake-up
//! that is lost shows as a task that never ends.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bowline::Instant;
use bowline::drivers::asynch::Timer;

thread_local! {
    static CLOCK: RefCell<Clock> = const { RefCell::new(Clock { now: Instant::from_micros(0), sleepers: Vec::new() }) };
}

struct Clock {
    now: Instant,
    sleepers: Vec<(Instant, Waker)>,
}

pub fn now() -> Instant {
    CLOCK.with_borrow(|clock| clock.now)
}

pub struct Sleeper;

impl Timer for Sleeper {
    async fn sleep_until(&mut self, until: Instant) {
        poll_fn(|poller| {
            if now() >= until {
                return Poll::Ready(());
            }
            CLOCK.with_borrow_mut(|clock| clock.sleepers.push((until, poller.waker().clone())));
            Poll::Pending
        })
        .await;
    }
}

pub async fn sleep(millis: u64) {
    Sleeper.sleep_until(now() + bowline::Duration::from_millis(millis)).await;
}

#[derive(Default)]
struct Woken {
    is_woken: AtomicBool,
    polls: AtomicU64,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::Relaxed);
    }
}

type Task<'a> = (Pin<Box<dyn Future<Output = ()> + 'a>>, Arc<Woken>);

#[derive(Default)]
pub struct Executor<'a> {
    /// Run as long as others do.
    servants: Vec<Task<'a>>,
    tasks: Vec<Task<'a>>,
}

impl<'a> Executor<'a> {
    pub fn serve<T>(&mut self, task: impl Future<Output = T> + 'a) {
        self.servants.push(Self::task(async move {
            task.await;
        }));
    }

    pub fn spawn(&mut self, task: impl Future<Output = ()> + 'a) {
        self.tasks.push(Self::task(task));
    }

    fn task(task: impl Future<Output = ()> + 'a) -> Task<'a> {
        (Box::pin(task), Arc::new(Woken { is_woken: AtomicBool::new(true), polls: AtomicU64::new(0) }))
    }

    /// Runs until all that were spawned have ended. Returns how often the servants were polled.
    pub fn run(&mut self) -> u64 {
        CLOCK.with_borrow_mut(|clock| clock.sleepers.clear());
        while !self.tasks.is_empty() {
            let mut has_polled = false;
            for (task, woken) in &mut self.servants {
                has_polled |= Self::poll(task, woken).is_some();
            }
            self.tasks.retain_mut(|(task, woken)| {
                let polled = Self::poll(task, woken);
                has_polled |= polled.is_some();
                polled != Some(true)
            });
            if !has_polled {
                Self::advance();
            }
        }
        self.servants.iter().map(|(_, woken)| woken.polls.load(Ordering::Relaxed)).sum()
    }

    /// Polls a task that was woken; whether it has ended.
    fn poll(task: &mut Pin<Box<dyn Future<Output = ()> + 'a>>, woken: &Arc<Woken>) -> Option<bool> {
        if !woken.is_woken.swap(false, Ordering::Relaxed) {
            return None;
        }
        woken.polls.fetch_add(1, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(woken));
        Some(task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready())
    }

    /// Everyone waits: until the first sleeper's time.
    fn advance() {
        CLOCK.with_borrow_mut(|clock| {
            let next = clock.sleepers.iter().map(|(until, _)| *until).min();
            clock.now = clock.now.max(next.expect("a wake-up was lost: nobody is awake and nobody sleeps"));
            for (until, waker) in std::mem::take(&mut clock.sleepers) {
                if until <= clock.now {
                    waker.wake();
                } else {
                    clock.sleepers.push((until, waker));
                }
            }
        });
    }
}
