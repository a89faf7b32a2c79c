//! What a reader of the log gets to know, line by line.

use std::cell::RefCell;

use bowline::wire::{Deframer, frame_len};
use bowline::{Buffers, Config, Duration, Endpoint, Incarnation, Instant, Message, Refusal, Semantics};

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
    /// Whether the server is to refuse.
    refuses: bool,
}

impl Link {
    const KEY: u16 = 0x0102;

    fn new() -> Self {
        listen();
        let now = Instant::from_micros(0);
        let [client, server] = [Self::node(now, 0xC11E_4701), Self::node(now, 0x5EF7_E401)];
        Self { now, client, server, losses: [0, 0], responses: 0, refuses: false }
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
                        if self.refuses {
                            self.server.refuse(self.now, id, Refusal::Malformed).unwrap();
                        } else {
                            self.server.respond(self.now, id, payload).unwrap();
                        }
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
    assert_eq!(
        told(),
        ["server INFO  session bcb12f16 is up; peer c11e4701", "client INFO  session bcb12f16 is up; peer 5ef7e401"]
    );

    // Each side loses a frame and sends again what it carried.
    link.losses = [1, 1];
    link.call();
    link.run(100);
    assert_eq!(link.responses, 1);
    assert_eq!(
        told(),
        [
            "client DEBUG probe: no ack in time, repetition 1 in a row",
            "client TRACE REQUEST 0.1 sent again in packet 3",
            "client DEBUG probe: no ack in time, repetition 2 in a row",
            "client TRACE REQUEST 0.1 sent again in packet 4",
            "server TRACE reply 0.1 sent again in packet 3",
        ]
    );

    // The request is taken by a peer that does not live to answer.
    link.losses = [0, 9];
    link.call();
    link.run(1);
    link.server = Link::node(link.now, 0x5EF7_E402);
    link.losses = [0, 0];
    link.run(100);
    assert_eq!(link.responses, 1);
    assert_eq!(
        told(),
        [
            "server INFO  session dcf32420 is up; peer c11e4701",
            "client DEBUG probe: no ack in time, repetition 1 in a row",
            "client TRACE REQUEST 0.2 sent again in packet 7",
            "server DEBUG frame of 14 bytes dropped: its check is wrong",
            "client INFO  peer restarted; session bcb12f16 ended",
            "client INFO  call of key 0102 in slot 0 failed because the peer restarted (executed: maybe)",
            "client INFO  session dcf32420 is up; peer 5ef7e402",
        ]
    );

    link.client.close(link.now);
    link.run(100);
    assert_eq!(
        told(),
        ["client INFO  this node closed; session dcf32420 ended", "server INFO  peer closed; session dcf32420 ended"]
    );
}

/// A packet without a session, with the right check.
fn checked(packet: &[u8]) -> Vec<u8> {
    let check = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(packet);
    [packet, &check.to_le_bytes()].concat()
}

#[test]
fn what_is_dropped_is_told_with_its_reason() {
    let mut link = Link::new();
    let mut buf = [0; frame_len(48)];
    let mut hello = Vec::new();
    while let Some(len) = link.client.poll_transmit(link.now, &mut buf) {
        hello = buf[..len].to_vec();
    }
    link.run(100);
    link.call();
    let len = link.client.poll_transmit(link.now, &mut buf).unwrap();
    let mut request = buf[..len].to_vec();
    told();

    WHO.set("server");
    let mut deframer = Deframer::<{ frame_len(48) }>::new();
    assert_eq!(deframer.next_frame(&mut &[&[1; 70][..], &[0, 7, 1, 1, 0]].concat()[..]), None);
    let mut hear = |frame: &[u8]| {
        let mut frame = frame.to_vec();
        let mut messages = link.server.handle_frame(link.now, &mut frame);
        while messages.next(&mut link.server).is_some() {}
    };
    hear(b"");
    hear(b"abcd");
    hear(b"no packet at all");
    hear(&[0x80; 20]);
    hear(&checked(&[0x77; 6]));
    hear(&checked(&hello[..20]));
    hear(&checked(&[0x01, 9, 1, 2, 3, 4, 5, 6, 7, 8]));
    hear(&checked(&[0x02, 1]));
    hear(&checked(&[0x02, 9, 1, 2, 3, 4]));
    hear(&request);
    hear(&request);
    *request.last_mut().unwrap() ^= 1;
    hear(&request);
    assert_eq!(
        told(),
        [
            "server DEBUG frame of 70 bytes or more dropped: too long",
            "server DEBUG frame of 3 bytes dropped: its COBS is malformed",
            "server DEBUG frame of 0 bytes dropped: too short",
            "server DEBUG frame of 4 bytes dropped: too short",
            "server DEBUG frame of 16 bytes dropped: its check is wrong",
            "server DEBUG frame of 20 bytes dropped: its check is wrong",
            "server DEBUG frame of 10 bytes dropped: of no known kind",
            "server DEBUG HELLO or VERSION dropped: malformed",
            "server DEBUG HELLO dropped: of another version",
            "server DEBUG HELLO or VERSION dropped: malformed",
            "server DEBUG VERSION dropped: it answers no HELLO of this node",
            "server DEBUG packet 1 dropped: received before",
            "server DEBUG frame of 12 bytes dropped: its check is wrong",
        ]
    );

    link.server.close(link.now);
    while link.server.poll_transmit(link.now, &mut buf).is_some() {}
    let _nothing = link.server.handle_frame(link.now, &mut hello);
    assert_eq!(
        told(),
        [
            "server INFO  this node closed; session bcb12f16 ended",
            "server DEBUG frame of 33 bytes dropped: this node is quiet or closed",
        ]
    );

    WHO.set("client");
    link.client.close(link.now);
    while link.client.poll_transmit(link.now, &mut buf).is_some() {}
    link.client.connect(link.now);
    let len = link.client.poll_transmit(link.now, &mut buf).unwrap();
    let _nothing = link.client.handle_frame(link.now, &mut buf[..len]);
    assert_eq!(
        told(),
        [
            "client INFO  this node closed; session bcb12f16 ended",
            "client INFO  call of key 0102 in slot 0 failed because the session was closed (executed: maybe)",
            "client DEBUG HELLO dropped: an echo of this node's own",
        ]
    );
}

#[test]
fn a_refusal_is_told_on_both_sides() {
    let mut link = Link::new();
    link.run(100);
    told();
    link.refuses = true;
    link.call();
    link.run(100);
    assert_eq!(
        told(),
        [
            "server DEBUG REQUEST 0.1 refused: it cannot decode the payload",
            "client INFO  call of key 0102 in slot 0 failed because the peer refused: it cannot decode the payload (executed: no)",
        ]
    );
}
