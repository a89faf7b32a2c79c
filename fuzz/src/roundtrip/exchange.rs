//! Two endpoints of any size on a perfect link: everything that one says is in its frames, by [`wire`], and arrives at the other as it
//! was said, in datagrams and, cut anywhere, on a byte stream.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;

use arbitrary::{Result, Unstructured};
use bowline::{Call, Config, Duration, Event, Incarnation, Instant, Semantics, SendError, frame_len};

use super::super::sim::any::{AnyDeframer, AnyEndpoint};
use super::super::sim::rng::Rng;
use super::super::sim::sizes::{Capacities, Parts, Sizes};
use super::super::subject::Taken;
use super::super::wire::{self, End, Header, Message, Plain};
use super::{bytes, each_portion};

/// Longer than any lease.
const PATIENCE: u32 = 3_000;

pub(super) fn run(input: &mut Unstructured<'_>) -> Result<()> {
    let mut sizes = || Ok(Sizes::draw(&mut Rng::play(&input.arbitrary::<[u8; 16]>()?)));
    let sizes = [sizes()?, sizes()?];
    let cuts = input.arbitrary()?;
    // Digests, and how long a request lives that does not say so, from 1 ms to 35 minutes.
    let mut offer = || Ok((input.arbitrary()?, 1 + input.arbitrary::<u32>()? % (1 << 21)));
    let offers = [offer()?, offer()?];
    let mut pair = Pair::new(sizes, offers, cuts);
    pair.exchange_until(|pair| pair.nodes.iter().all(|node| node.by_datagrams.is_connected()));
    while !input.is_empty() {
        pair.step(input)?;
    }
    pair.exchange_until(|pair| pair.nodes.iter_mut().all(Node::is_done));
    Ok(())
}

struct Pair {
    nodes: [Node; 2],
    now: Instant,
    cuts: [u8; 4],
}

/// One end, twice: one that sends datagrams, and its twin, which is told the same and sends a byte stream.
struct Node {
    by_datagrams: Box<dyn AnyEndpoint>,
    by_stream: Box<dyn AnyEndpoint>,
    deframer: Box<dyn AnyDeframer>,
    capacities: Capacities,
    takes_one_way: bool,
    end: End,
    digest: u32,
    /// The default, in milliseconds.
    time_to_live: u32,
    /// Said to the other end and not arrived yet.
    requests: Vec<(u16, Vec<u8>)>,
    notifies: VecDeque<(u16, Vec<u8>)>,
    /// The latest of each key.
    publishes: BTreeMap<u16, Vec<u8>>,
    /// Calls and what will be answered.
    calls: Vec<(Call, Vec<u8>)>,
}

impl Node {
    fn new(index: u32, sizes: Sizes, (digest, time_to_live): (u32, u32), now: Instant) -> Self {
        let number = 0x1234_5678 + index;
        let entropy = u64::from(number) << 32 | 0x0BAD_CAFE ^ u64::from(index);
        let config = Config {
            schema_digest: digest,
            default_time_to_live: Duration::from_millis(time_to_live.into()),
            ..Config::new(Incarnation::random(entropy))
        };
        let Parts { endpoint, deframer, frame_len: len } = sizes.boot(now, config);
        let capacities = sizes.capacities();
        assert_eq!(len, frame_len(capacities.payload));
        Self {
            by_datagrams: endpoint,
            by_stream: sizes.boot(now, config).endpoint,
            deframer,
            capacities,
            takes_one_way: sizes.takes_one_way(),
            end: End { incarnation: number, challenge: 0 },
            digest,
            time_to_live,
            requests: Vec::new(),
            notifies: VecDeque::new(),
            publishes: BTreeMap::new(),
            calls: Vec::new(),
        }
    }

    /// Does the same to both.
    fn both<T: PartialEq + std::fmt::Debug>(&mut self, mut command: impl FnMut(&mut dyn AnyEndpoint) -> T) -> T {
        let outcome = command(&mut *self.by_datagrams);
        assert_eq!(command(&mut *self.by_stream), outcome, "the twin differs");
        outcome
    }

    fn is_done(&mut self) -> bool {
        self.both(|endpoint| endpoint.is_idle())
            && self.requests.is_empty()
            && self.notifies.is_empty()
            && self.publishes.is_empty()
            && self.calls.is_empty()
    }

    /// The next frame, which is the same on a byte stream but for COBS; it is read and written anew, by the other reading of the
    /// protocol.
    fn poll(&mut self, now: Instant, room: usize) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut buf = vec![0; frame_len(self.capacities.payload)];
        let frame = self.by_datagrams.poll_transmit(now, &mut buf).map(|len| buf[..len].to_vec());
        let stream = self.by_stream.poll_frame(now, &mut buf).map(|len| buf[..len].to_vec());
        assert_eq!(stream, frame.as_ref().map(|frame| wire::stuff(frame)));
        let (frame, stream) = frame.zip(stream)?;
        assert!(stream.len() <= room, "{} bytes for a peer that takes {room}", stream.len());
        self.read(&frame);
        Some((frame, stream))
    }

    fn read(&self, frame: &[u8]) {
        let (packet, _) = frame.split_at(frame.len() - 4);
        if packet[0] & 0x80 != 0 {
            let (header, rest) = Header::decode(packet).expect("a header");
            let messages = Message::decode_all(rest).into_iter().collect::<Option<Vec<_>>>().expect("messages");
            return assert_eq!([header.encode(), Message::encode_all(&messages)].concat(), packet);
        }
        assert_eq!(wire::plain_frame(packet), frame);
        let Plain::Hello(hello) = Plain::decode(packet) else { panic!("{packet:02x?}") };
        assert_eq!(hello.encode(), packet);
        assert_eq!(hello.from.incarnation, self.end.incarnation);
        assert_eq!(usize::from(hello.frame_size), frame_len(self.capacities.payload));
        assert_eq!(usize::from(hello.slots), self.capacities.replies);
        let lifetimes = (0..=u8::MAX).map(wire::time_to_live).filter(|millis| *millis <= u64::from(self.time_to_live));
        assert_eq!(Some(wire::time_to_live(hello.time_to_live)), lifetimes.max(), "rounded down");
        // The first missing one, and those that can be held back until it comes.
        assert_eq!(usize::from(hello.window), self.capacities.notify_in + 1);
        assert_eq!(hello.digest, self.digest);
    }
}

impl Pair {
    fn new(sizes: [Sizes; 2], offers: [(u32, u32); 2], cuts: [u8; 4]) -> Self {
        let now = Instant::from_micros(1_000_000);
        let node = |index: usize| Node::new(index as u32, sizes[index], offers[index], now);
        Self { nodes: [node(0), node(1)], now, cuts }
    }

    /// One side says something, or all that waits travels.
    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let shape = input.arbitrary::<u8>()?;
        let now = self.now;
        let takes_one_way = self.nodes[1 - usize::from(shape & 1)].takes_one_way;
        let node = &mut self.nodes[usize::from(shape & 1)];
        let limit = node.both(|endpoint| endpoint.max_payload());
        let key = u16::from(shape >> 5);
        let mut payload = bytes(input, limit + 1)?;
        if shape & 0x10 != 0 {
            payload.resize(limit, 0x5A);
        }
        let is_too_large = payload.len() > limit;
        let result = match shape >> 1 & 7 {
            0..3 => {
                let semantics = if shape & 2 == 0 { Semantics::AtMostOnce } else { Semantics::Idempotent };
                let minute = Duration::from_secs(60);
                let free = node.both(|endpoint| endpoint.free_calls());
                let result = node.both(|endpoint| endpoint.call(now, key, semantics, minute, &payload));
                assert_eq!(result == Err(SendError::Full), free == 0);
                result.map(|call| {
                    node.calls.push((call, answer(&payload)));
                    node.requests.push((key, payload));
                })
            }
            3 | 4 => node.both(|endpoint| endpoint.notify(now, key, &payload)).map(|()| {
                if takes_one_way {
                    node.notifies.push_back((key, payload));
                }
            }),
            5 => node.both(|endpoint| endpoint.publish(now, key, &payload)).map(|()| {
                if takes_one_way {
                    node.publishes.insert(key, payload);
                }
            }),
            _ => {
                self.exchange();
                return Ok(());
            }
        };
        match result {
            Ok(()) => assert!(!is_too_large),
            Err(SendError::TooLarge { limit: told }) => assert!(is_too_large && usize::from(told) == limit),
            Err(SendError::Full) => {}
            Err(error) => panic!("{error}"),
        }
        Ok(())
    }

    fn exchange_until(&mut self, mut is_over: impl FnMut(&mut Self) -> bool) {
        for _ in 0..PATIENCE {
            self.exchange();
            if is_over(self) {
                return;
            }
            self.now = self.now + Duration::from_millis(1);
            for node in &mut self.nodes {
                node.both(|endpoint| endpoint.handle_timeout(self.now));
            }
        }
        let stats = self.nodes.each_ref().map(|node| *node.by_datagrams.stats());
        panic!("they do not come to rest: {stats:?}");
    }

    /// What both have to say travels until they have nothing to say.
    fn exchange(&mut self) {
        let room = self.nodes.iter().map(|node| frame_len(node.capacities.payload)).min().unwrap_or_default();
        loop {
            let mut is_quiet = true;
            for from in 0..2 {
                let (mut frames, mut stream) = (Vec::new(), Vec::new());
                while let Some((frame, stuffed)) = self.nodes[from].poll(self.now, room) {
                    frames.push(frame);
                    stream.extend(stuffed);
                }
                is_quiet &= frames.is_empty();
                let deframer = &mut self.nodes[1 - from].deframer;
                let mut found = Vec::new();
                each_portion(&stream, &self.cuts, |mut portion| {
                    while let Some(frame) = deframer.next_frame(&mut portion) {
                        found.push(frame.to_vec());
                    }
                });
                assert_eq!(found, frames, "in portions");
                for frame in &frames {
                    self.deliver(1 - from, frame);
                }
            }
            for node in &mut self.nodes {
                while let Some(event) = node.both(|endpoint| endpoint.poll_event()) {
                    assert_eq!(event, Event::Connected);
                }
                assert_eq!(node.both(|endpoint| endpoint.stats().dropped.sum()), 0, "on a perfect link");
            }
            if is_quiet {
                return;
            }
        }
    }

    fn deliver(&mut self, to: usize, frame: &[u8]) {
        let now = self.now;
        let mut messages = self.nodes[to].both(|endpoint| {
            let mut taken = Vec::new();
            endpoint.handle_frame(now, &mut frame.to_vec(), &mut |_, message| {
                taken.push(Taken::from(message));
                ControlFlow::Continue(())
            });
            taken
        });
        while let Some(notify) = self.nodes[to].both(|endpoint| {
            endpoint.poll_notify().map(|notify| Taken::Notify { key: notify.key, payload: notify.payload.to_vec() })
        }) {
            messages.push(notify);
        }
        messages.into_iter().for_each(|message| self.check(to, message));
    }

    /// A message has arrived as it was said.
    fn check(&mut self, to: usize, message: Taken) {
        let now = self.now;
        let from = 1 - to;
        match message {
            Taken::Request { id, key, payload, .. } => {
                let said = &mut self.nodes[from].requests;
                let index = said.iter().position(|said| *said == (key, payload.clone())).expect("it was said");
                said.swap_remove(index);
                let answer = answer(&payload);
                assert_eq!(self.nodes[to].both(|endpoint| endpoint.respond(now, id, &answer)), Ok(()));
            }
            Taken::Response { call, payload } => {
                let calls = &mut self.nodes[to].calls;
                let index = calls.iter().position(|(made, _)| *made == call).expect("a call");
                assert_eq!(calls.swap_remove(index).1, payload);
            }
            Taken::Notify { key, payload } => {
                assert_eq!(self.nodes[from].notifies.pop_front(), Some((key, payload)));
            }
            Taken::Publish { key, payload, .. } => {
                assert_eq!(self.nodes[from].publishes.remove(&key), Some(payload), "the latest");
            }
        }
    }
}

/// What a request is answered.
fn answer(request: &[u8]) -> Vec<u8> {
    request.iter().rev().map(|byte| byte ^ 0xFF).collect()
}
