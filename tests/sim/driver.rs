//! One life of a node: the endpoint, the application, and the driver's canonical loop around them, checked at every turn.

use std::collections::HashSet;
use std::ops::ControlFlow;

use bowline::{Config, Event, Instant, Message, wire};

use super::any::{AnyDeframer, AnyEndpoint};
use super::client::Client;
use super::clock::Clock;
use super::context::{At, Context, Doom};
use super::diagram::Fate;
use super::frame::{Kind, ack_len, decode_cobs, kind};
use super::ledger::Place;
use super::limits::{MANY_FRAMES, MANY_PACKETS, MANY_WAKES, Rate};
use super::link::{Link, Offer};
use super::rng::Rng;
use super::scenario::{Entropy, Plan};
use super::server::Server;
use super::sizes::Parts;
use super::trace::Sent;
use super::world::Shared;

mod checks;

use checks::Fed;

pub struct Driver {
    pub endpoint: Box<dyn AnyEndpoint>,
    pub client: Client,
    pub server: Server,
    pub doom: Doom,
    deframer: Box<dyn AnyDeframer>,
    buf: Vec<u8>,
    rng: Rng,
    leave: f64,
    /// The latest time that the endpoint was told.
    told: u64,
    /// Frames, since the boot: taken by the port; of these, with messages; bare acks; HELLOs; fed into the endpoint.
    taken: u32,
    frames_taken: u32,
    acks_taken: u32,
    hellos_taken: u32,
    frames_fed: u32,
    /// Those whose messages were all taken.
    accepted: HashSet<Vec<u8>>,
    /// When the last of them was fed.
    fed_at: u64,
    initial_round_trip: u64,
    /// Until when it is deaf and mute, because it has nothing to tell its lives apart, whatever its clock does.
    pub quiet_until: u64,
    /// When the endpoint asked to be driven, in the world's time, and when the port may take a frame again.
    wake_at: Option<u64>,
    retry_at: Option<u64>,
    /// In this second: wake-ups that only the endpoint's timer asked for, and frames sent.
    wakes: Rate,
    sending: Rate,
}

impl Driver {
    pub fn new(at: At, plan: &Plan, config: Config, rng: Rng) -> Driver {
        let Parts { endpoint, deframer, frame_len } = plan.sizes.boot(at.now, config);
        Driver {
            endpoint,
            client: Client::new(plan.work.clone(), at.time, rng.fork(1)),
            server: Server::new(plan.service.clone(), rng.fork(2)),
            doom: Doom::None,
            deframer,
            buf: vec![0; frame_len],
            rng,
            leave: plan.leave,
            told: at.now.as_micros(),
            taken: 0,
            frames_taken: 0,
            acks_taken: 0,
            hellos_taken: 0,
            frames_fed: 0,
            accepted: HashSet::new(),
            fed_at: at.now.as_micros(),
            initial_round_trip: plan.initial_round_trip,
            quiet_until: at.time + if let Entropy::Nothing { quiet } = plan.entropy { quiet * 21 / 20 } else { 0 },
            wake_at: Some(at.time),
            retry_at: None,
            wakes: Rate::at_most(MANY_WAKES),
            // Of a packet with messages there may be a second copy.
            sending: Rate::at_most(if plan.second_copy { 2 * MANY_PACKETS } else { MANY_PACKETS }),
        }
    }

    /// When something happens next.
    pub fn next_time(&self) -> Option<u64> {
        [self.wake_at, self.retry_at, self.server.next_end(), self.client.next_act()].into_iter().flatten().min()
    }

    /// The endpoint, the parts of the application, and what they may see.
    pub fn parts<'a>(
        &'a mut self,
        at: At,
        shared: &'a mut Shared,
    ) -> (&'a mut dyn AnyEndpoint, &'a mut Client, &'a mut Server, Context<'a>) {
        let (ledger, trace) = (&mut shared.ledger, &mut shared.trace);
        let cx = Context::new(at, &mut self.told, self.frames_taken, ledger, trace, &mut self.doom);
        (&mut *self.endpoint, &mut self.client, &mut self.server, cx)
    }

    /// The driver's loop, once.
    pub fn drive(&mut self, at: At, input: Vec<Vec<u8>>, stream: bool, link: &mut Link, shared: &mut Shared) {
        let is_timer_only = input.is_empty()
            && self.wake_at.is_some_and(|wake| wake <= at.time)
            && self.next_time() == self.wake_at
            && self.retry_at.is_none_or(|retry| retry > at.time);
        if is_timer_only {
            self.wakes.count(at, "wake-ups", shared);
        }
        let fed_before = self.frames_fed;
        let owed_before = self.retry_at.is_some() || self.is_due(at);
        self.take_input(at, input, stream, shared);
        self.take_events(at, shared);
        if self.doom == Doom::Struck {
            return;
        }
        if self.is_due(at) || self.rng.chance(0.02) {
            self.tell(at);
            self.endpoint.handle_timeout(at.now);
            self.take_events(at, shared);
        }
        let (endpoint, client, server, mut cx) = self.parts(at, shared);
        server.work(endpoint, &mut cx);
        client.act(endpoint, &mut cx);
        let reflexes = self.transmit(at, stream, link, shared);
        self.take_events(at, shared);
        if self.doom == Doom::Struck {
            return;
        }
        let fed = self.frames_fed - fed_before;
        if fed > 0 {
            self.check_reflexes(fed == 1 && !owed_before, reflexes, shared);
        }
        self.check(at, shared);
    }

    /// Whether the endpoint's timer has something to do.
    fn is_due(&mut self, at: At) -> bool {
        let now = self.told.max(at.now.as_micros());
        self.endpoint.poll_timeout().is_some_and(|due| due.as_micros() <= now)
    }

    fn tell(&mut self, at: At) {
        self.told = self.told.max(at.now.as_micros());
    }

    // Input

    fn take_input(&mut self, at: At, input: Vec<Vec<u8>>, stream: bool, shared: &mut Shared) {
        if !stream {
            return input.into_iter().for_each(|mut frame| self.feed(at, &mut frame, shared));
        }
        let bytes = input.concat();
        let mut rest: &[u8] = &bytes;
        while let Some(frame) = self.deframer.next_frame(&mut rest) {
            let mut frame = frame.to_vec();
            self.feed(at, &mut frame, shared);
        }
    }

    fn feed(&mut self, at: At, frame: &mut [u8], shared: &mut Shared) {
        if self.doom == Doom::Struck {
            return;
        }
        let is_damaged = !shared.known.contains(frame);
        let as_it_came = frame.to_vec();
        let before = *self.endpoint.stats();
        self.frames_fed += 1;
        self.tell(at);
        let leave = self.rng.chance(self.leave).then(|| self.rng.below(4));
        let taken = self.take_messages(at, frame, leave, shared);
        let after = *self.endpoint.stats();
        self.check_acceptance(as_it_came, Fed { before, after, taken, is_whole: leave.is_none() }, shared);
        if after.frames_received != before.frames_received + 1 {
            shared.ledger.broken("a frame was handed in and not counted");
        }
        let drops = after.dropped.sum() - before.dropped.sum();
        if drops > 1 {
            shared.ledger.broken("a frame was counted as dropped more than once");
        }
        if drops > 0 {
            shared.trace.note(at.time, at.node, || {
                let what = wire::describe(frame).to_string();
                format!("drops {what}: {}", changed(&format!("{:?}", before.dropped), &format!("{:?}", after.dropped)))
            });
        }
        shared.ledger.tally.damaged += u32::from(is_damaged);
        if is_damaged && drops == 0 {
            shared.ledger.tally.undetected += 1;
            shared.trace.note(at.time, at.node, || "a damaged frame passed its check".into());
        }
    }

    /// Takes the messages out of a frame, all of them or only the first `leave`. Returns how many it took.
    fn take_messages(&mut self, at: At, frame: &mut [u8], mut leave: Option<u64>, shared: &mut Shared) -> u32 {
        let mut taken = 0;
        let (endpoint, client, server, mut cx) = self.parts(at, shared);
        let cx = &mut cx;
        endpoint.handle_frame(at.now, frame, &mut |endpoint, message| {
            let place = Place { node: at.node, life: at.life, session: endpoint.stats().sessions };
            let limit = endpoint.max_payload();
            taken += 1;
            match message {
                Message::Request { id, key, expires_at, payload } => {
                    let left = expires_at.as_micros().saturating_sub(cx.clamped());
                    server.on_request(endpoint, id, key, left, payload, cx);
                }
                Message::Response { call, payload } => client.on_response(call, payload, cx),
                Message::Notify { key, payload } => {
                    cx.note(|| format!("notified, {} B", payload.len()));
                    cx.ledger.notify_delivered(place, key, payload, limit);
                }
                Message::Publish { key, missed, payload } => {
                    cx.note(|| format!("publish, {} B, {missed} missed", payload.len()));
                    cx.ledger.publish_delivered(place, key, missed, payload);
                }
            }
            let is_enough = leave.as_mut().is_some_and(|left| {
                *left = left.saturating_sub(1);
                *left == 0
            });
            if is_enough || *cx.doom == Doom::Struck { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let place = Place { node: at.node, life: at.life, session: endpoint.stats().sessions };
        let limit = endpoint.max_payload();
        while let Some(notify) = endpoint.poll_notify() {
            cx.note(|| format!("notified late, {} B", notify.payload.len()));
            cx.ledger.notify_delivered(place, notify.key, notify.payload, limit);
        }
        taken
    }

    fn take_events(&mut self, at: At, shared: &mut Shared) {
        if self.doom == Doom::Struck {
            return;
        }
        let (endpoint, client, server, mut cx) = self.parts(at, shared);
        let cx = &mut cx;
        while let Some(event) = endpoint.poll_event() {
            match event {
                Event::Connected => {
                    cx.note(|| "connected".into());
                    client.on_session(cx);
                }
                Event::Disconnected { reason, notifies_unconfirmed } => {
                    cx.note(|| format!("disconnected: {reason:?}, {notifies_unconfirmed} notifies unconfirmed"));
                    client.on_session_end(reason, cx);
                }
                Event::VersionRefused { version } => {
                    cx.ledger.broken(format!("the peer is said to speak version {version}"));
                }
                Event::CallFailed { call, error } => client.on_failure(call, error, endpoint.stats().sessions, cx),
                Event::CancelRequested { request } => server.on_cancel(endpoint, request, cx),
                Event::Orphaned { request } => server.on_orphan(endpoint, request, cx),
            }
        }
    }

    // Output

    /// Sends while the port takes something. Returns how many bare acks and HELLOs went out.
    fn transmit(&mut self, at: At, stream: bool, link: &mut Link, shared: &mut Shared) -> u32 {
        let mut reflexes = 0;
        self.retry_at = None;
        for _ in 0..MANY_FRAMES {
            // Some drivers ask the port first, some are told afterwards.
            let room_at = link.room_at(self.buf.len());
            if room_at > at.time && self.rng.chance(0.5) {
                self.retry_at = Some(room_at);
                return reflexes;
            }
            self.tell(at);
            let polled = if stream {
                self.endpoint.poll_frame(at.now, &mut self.buf)
            } else {
                self.endpoint.poll_transmit(at.now, &mut self.buf)
            };
            let Some(len) = polled else { return reflexes };
            if self.doom.strikes() {
                return reflexes;
            }
            let Some(kind) = self.offer(at, len, stream, link, shared) else { return reflexes };
            reflexes += u32::from(kind.is_reflex());
            if self.doom.strikes() {
                return reflexes;
            }
        }
        shared.ledger.broken("there is no end of frames to send");
        reflexes
    }

    /// Offers the frame in the buffer to the port; `None` if it is refused.
    fn offer(&mut self, at: At, len: usize, stream: bool, link: &mut Link, shared: &mut Shared) -> Option<Kind> {
        let Some(bytes) = self.buf.get(..len) else {
            shared.ledger.broken(format!("a frame of {len} bytes in a buffer of {}", self.buf.len()));
            return None;
        };
        let frame = if stream { decode_cobs(bytes) } else { Some(bytes.to_vec()) };
        let Some(frame) = frame else {
            shared.ledger.broken(format!("not a frame: {bytes:02x?}"));
            return None;
        };
        let label = || wire::describe(&frame).to_string();
        let Offer::Taken { deliveries, altered } = link.offer(at.time, bytes) else {
            shared.trace.frame(at.time, at.node, label, Fate::Refused);
            self.endpoint.handle_refused();
            self.retry_at = Some(link.room_at(len));
            return None;
        };
        shared.known.insert(&frame);
        self.sending.count(at, "frames", shared);
        shared.ledger.tally.frames += 1;
        let arrives = deliveries.iter().filter(|d| !d.is_copy && !d.is_echo).map(|d| d.at).max();
        let fate = match arrives {
            at if altered => Fate::Garbled { at },
            Some(at) => Fate::Arrived { at },
            None => Fate::Lost,
        };
        shared.trace.frame(at.time, at.node, label, fate);
        let kind = kind(&frame);
        let ack_len = ack_len(&frame);
        shared.trace.sent(Sent { time: at.time, from: at.node, kind, len, ack_len });
        for delivery in deliveries {
            shared.send(at.node, delivery);
        }
        shared.ledger.tally.hellos += u32::from(kind == Kind::Hello);
        self.taken += 1;
        self.frames_taken += u32::from(matches!(kind, Kind::Messages(_)));
        self.acks_taken += u32::from(kind == Kind::BareAck);
        self.hellos_taken += u32::from(kind == Kind::Hello);
        Some(kind)
    }

    /// Decides when the endpoint is driven again: when it asks to be, but a driver may be late.
    pub fn wake_up_at(&mut self, time: u64, clock: &Clock, late: u64) {
        let asked = self.endpoint.poll_timeout().map(|at| clock.when(at.as_micros()));
        // While the port takes nothing, a driver looks at its timers every now and then, not all the time.
        let earliest = if self.retry_at.is_some() { time + 500 } else { time + 1 };
        self.wake_at = asked.map(|at| at.max(earliest) + late);
    }

    /// The faults are over: no more random work.
    pub fn calm(&mut self, at: At, shared: &mut Shared) {
        self.leave = 0.0;
        if self.doom != Doom::Struck {
            self.doom = Doom::None;
        }
        let (endpoint, client, server, mut cx) = self.parts(at, shared);
        server.calm();
        client.rest();
        if client.is_closed {
            client.connect(endpoint, &mut cx);
        }
    }

    /// The node crashes.
    pub fn die(&mut self, at: At, shared: &mut Shared) {
        shared.ledger.tally.crashes += 1;
        self.retire(shared);
        let (_, client, _, mut cx) = self.parts(at, shared);
        client.abandon(&mut cx);
    }

    /// Adds what this life has seen to the tally.
    pub fn retire(&self, shared: &mut Shared) {
        shared.ledger.tally.sessions += self.endpoint.stats().sessions;
    }
}

/// The fields of two `Debug` outputs that differ.
fn changed(before: &str, after: &str) -> String {
    let fields = before.split(", ").zip(after.split(", "));
    fields.filter(|(before, after)| before != after).map(|(_, after)| after).collect::<Vec<_>>().join(", ")
}
