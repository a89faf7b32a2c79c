//! What a reader of the log gets to know, line by line.

use std::cell::RefCell;

use bowline::wire::frame_len;
use bowline::{Buffers, Config, Duration, Endpoint, Incarnation, Instant, Message, Semantics};

type Memory = Buffers<48, 2, 2>;

thread_local! {
    /// What was told on this thread through `log`, and through `tracing`.
    static TOLD: RefCell<[Vec<String>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
    /// Who is at work.
    static WHO: RefCell<&'static str> = const { RefCell::new("") };
}

fn tell(through: usize, level: &str, text: &str) {
    let line = WHO.with(|who| format!("{:6} {level:5} {text}", who.borrow()));
    TOLD.with(|told| told.borrow_mut()[through].push(line));
}

/// What was told since the last time, the same through both.
#[track_caller]
fn told() -> Vec<String> {
    let [log, tracing] = TOLD.with(RefCell::take);
    assert_eq!(log, tracing);
    log
}

struct Log;

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        assert_eq!(record.target(), "bowline");
        tell(0, record.level().as_str(), &record.args().to_string());
    }

    fn flush(&self) {}
}

struct Tracing;

impl tracing::Subscriber for Tracing {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &tracing::Event<'_>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                assert_eq!(field.name(), "message");
                self.0 = format!("{value:?}");
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        assert_eq!(event.metadata().target(), "bowline");
        tell(1, event.metadata().level().as_str(), &text.0);
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

fn listen() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Log).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
        tracing::subscriber::set_global_default(Tracing).unwrap();
    });
}

/// Two nodes and a wire on which a frame takes a millisecond.
struct Link {
    now: Instant,
    client: Endpoint<Memory>,
    server: Endpoint<Memory>,
    /// How many frames with messages the wire is to lose, to the server and to the client.
    losses: [usize; 2],
    responses: usize,
}

impl Link {
    const KEY: u16 = 0x0102;

    fn new() -> Self {
        listen();
        let now = Instant::from_micros(0);
        let [client, server] = [Self::node(now, 0xC11E_4701), Self::node(now, 0x5EF7_E401)];
        Self { now, client, server, losses: [0, 0], responses: 0 }
    }

    fn node(now: Instant, incarnation: u32) -> Endpoint<Memory> {
        let entropy = u64::from(incarnation) << 32 | 0x0123_4567;
        Endpoint::new(now, Config::new(Incarnation::random(entropy)), Memory::new())
    }

    fn call(&mut self) {
        WHO.set("client");
        let timeout = Duration::from_secs(1);
        self.client.call(self.now, Self::KEY, Semantics::AtMostOnce, timeout, b"?").unwrap();
    }

    fn run(&mut self, millis: u64) {
        let mut buf = [0; frame_len(48)];
        for _ in 0..millis {
            WHO.set("client");
            let mut to_server = Vec::new();
            self.client.handle_timeout(self.now);
            while let Some(len) = self.client.poll_transmit(self.now, &mut buf) {
                to_server.push(buf[..len].to_vec());
            }
            WHO.set("server");
            let mut to_client = Vec::new();
            self.server.handle_timeout(self.now);
            while let Some(len) = self.server.poll_transmit(self.now, &mut buf) {
                to_client.push(buf[..len].to_vec());
            }
            self.now = self.now + Duration::from_millis(1);
            for frame in &mut to_server {
                if !is_lost(frame, &mut self.losses[0]) {
                    let mut messages = self.server.handle_frame(self.now, frame);
                    while let Some(message) = messages.next(&mut self.server) {
                        let Message::Request { id, payload, .. } = message else { panic!("{message:?}") };
                        self.server.respond(self.now, id, payload).unwrap();
                    }
                }
            }
            WHO.set("client");
            for frame in &mut to_client {
                if !is_lost(frame, &mut self.losses[1]) {
                    let mut messages = self.client.handle_frame(self.now, frame);
                    while let Some(message) = messages.next(&mut self.client) {
                        let Message::Response { payload: b"?", .. } = message else { panic!("{message:?}") };
                        self.responses += 1;
                    }
                }
            }
            while self.client.poll_event().is_some() {}
            while self.server.poll_event().is_some() {}
        }
    }
}

/// Whether the wire loses this frame: only one with a request or response.
fn is_lost(frame: &[u8], losses: &mut usize) -> bool {
    let text = bowline::wire::describe(frame).to_string();
    let is_lost = *losses > 0 && text.contains("RE");
    *losses -= usize::from(is_lost);
    is_lost
}

#[test]
fn a_call_that_was_recovered_and_a_peer_that_restarted_read_as_a_story() {
    let mut link = Link::new();
    link.run(100);
    assert_eq!(told(), ["server INFO  session 0 is up", "client INFO  session 0 is up"]);

    // Each side loses a frame and sends again what it carried.
    link.losses = [1, 1];
    link.call();
    link.run(100);
    assert_eq!(link.responses, 1);
    assert_eq!(told(), [""]);

    // The request is taken by a peer that does not live to answer.
    link.losses = [0, 9];
    link.call();
    link.run(1);
    link.server = Link::node(link.now, 0x5EF7_E402);
    link.losses = [0, 0];
    link.run(100);
    assert_eq!(link.responses, 1);
    assert_eq!(told(), [""]);

    link.client.close(link.now);
    link.run(100);
    assert_eq!(told(), [""]);
}

#[test]
fn what_is_dropped_and_refused_is_told_with_its_reason() {
    let mut link = Link::new();
    link.run(100);
    told();
    WHO.set("server");
}
