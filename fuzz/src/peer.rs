//! A peer of the harness's own: it enters sessions, seals packets, and reads what the endpoint under test sends, by
//! [`wire`](super::wire) alone.

use super::subject::{FRAME, REPLIES, Subject};
use super::wire::{self, End, Header, Hello, Message, Plain};

/// One session, seen from the peer.
#[derive(Clone, Debug)]
pub struct Session {
    pub own: End,
    pub node: End,
    /// The smaller frame size of both sides.
    pub frame_size: usize,
    /// For calls of the node.
    pub slots: u8,
    /// The number that the peer sends next.
    pub next: u64,
    /// Numbers that the peer has sent.
    pub sent: Vec<u64>,
    /// One more than the largest number of the node.
    pub received: u64,
}

/// What the endpoint has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Hello(Hello),
    Version { challenge: u32 },
    Packet(Vec<Message>),
}

#[derive(Default)]
pub struct Peer {
    /// The latest HELLO that was said to the node and proved nothing.
    pub unproven: Option<Hello>,
    pub session: Option<Session>,
    /// The node's incarnation and the challenge that it has outstanding, as far as it has shown them.
    pub node: Option<End>,
    /// Challenges that the node has shown.
    shown: Vec<u32>,
    /// A session has begun with a challenge that was never shown. A fuzzer reads it out of the comparison that refuses the
    /// wrong one; a peer has one chance in 2³². There is nothing to be learnt from what follows.
    pub has_guessed: bool,
}

impl Session {
    pub fn new(hello: &Hello, node: End) -> Self {
        Self {
            own: hello.from,
            node,
            frame_size: usize::from(hello.frame_size).min(FRAME),
            slots: hello.slots,
            next: 0,
            sent: Vec::new(),
            received: 0,
        }
    }

    pub fn id(&self) -> u32 {
        wire::session_id(self.own, self.node)
    }

    /// A frame with the right check.
    pub fn seal(&mut self, number: u64, ack: Option<u64>, packet: &[u8]) -> Vec<u8> {
        self.sent.push(number);
        self.next = self.next.max(number.saturating_add(1));
        wire::session_frame(self.own, self.node, number, ack, packet)
    }

    /// A frame with the next number, as a well-behaved peer sends it.
    pub fn packet(&mut self, messages: &[Message]) -> Vec<u8> {
        let number = self.next;
        let header = Header { low: number as u32, len: 4, ack: None };
        self.seal(number, None, &[header.encode(), Message::encode_all(messages)].concat())
    }

    /// Reads a packet of the node and holds it against PROTOCOL.md.
    fn open(&mut self, frame: &[u8]) -> Vec<Message> {
        assert!(wire::stuff(frame).len() <= self.frame_size, "longer than the peer takes");
        let (packet, check) = frame.split_at(frame.len() - 4);
        let (header, rest) = Header::decode(packet).expect("a header");
        // In this harness every frame arrives, so numbers are restored as the rule of §5.1 says.
        let number = wire::restore(header.low, header.len, self.received);
        assert!(number >= self.received, "number {number} was used before");
        self.received = number + 1;
        let mask = header.ack.map_or(0, |ack| u32::MAX >> (32 - 8 * ack.len));
        let acks = match header.ack {
            None => vec![None],
            // A peer that breaks the rule of §5.1 gets acks that are ambiguous, and knows better.
            Some(ack) => {
                self.sent.iter().filter(|sent| **sent as u32 & mask == ack.low).map(|sent| Some(*sent)).collect()
            }
        };
        let is_right =
            |ack: &Option<u64>| wire::check(self.node, self.own, number, *ack, packet).to_le_bytes() == *check;
        assert!(acks.iter().any(is_right), "the check of packet {number} is wrong: {frame:02x?}");
        let messages = Message::decode_all(rest);
        let messages = messages.into_iter().map(|message| message.expect("a message")).collect::<Vec<_>>();
        assert_eq!([header.encode(), Message::encode_all(&messages)].concat(), packet, "not in the fewest bytes");
        for message in &messages {
            match message {
                Message::Request { slot, .. } | Message::Cancel { slot, .. } => assert!(*slot < self.slots),
                Message::Response { slot, .. } | Message::Refusal { slot, .. } => assert!(usize::from(*slot) < REPLIES),
                _ => {}
            }
        }
        messages
    }
}

impl Peer {
    /// Reads a frame of the node.
    pub fn hear(&mut self, frame: &[u8]) -> Heard {
        if frame[0] & 0x80 != 0 {
            return Heard::Packet(self.session.as_mut().expect("a session").open(frame));
        }
        let packet = &frame[..frame.len() - 4];
        assert_eq!(wire::plain_frame(packet), frame, "the check is wrong");
        match Plain::decode(packet) {
            Plain::Hello(hello) => {
                assert_eq!(hello.encode(), packet);
                self.shown.push(hello.from.challenge);
                let session = self.session.as_ref().filter(|session| session.node == hello.from);
                match session {
                    Some(session) => {
                        assert_eq!((hello.echo, hello.session), (Some(session.own.challenge), Some(session.id())));
                    }
                    None => {
                        self.node = Some(hello.from);
                        assert_eq!(hello.echo, self.unproven.map(|hello| hello.from.challenge));
                    }
                }
                Heard::Hello(hello)
            }
            Plain::Version { version: 1, challenge } => Heard::Version { challenge },
            other => panic!("{other:?} was sent"),
        }
    }

    /// Says a HELLO. Tells the sessions of both sides by what the node does with it.
    pub fn say(&mut self, hello: &Hello, subject: &mut Subject) -> super::subject::Fed {
        let before = subject.stats().sessions;
        let fed = subject.feed(&hello.frame());
        if fed.dropped.is_some() {
            return fed;
        }
        let has_joined = subject.stats().sessions > before;
        let held = self.session.as_ref();
        let is_known = held.is_some_and(|session| {
            hello.session == Some(session.id()) || hello.from == session.own && hello.from.incarnation != 0
        });
        let proof = self.node.filter(|node| hello.echo == Some(node.challenge) && !is_known);
        if has_joined && hello.echo.is_some_and(|echo| !self.shown.contains(&echo)) {
            self.has_guessed = true;
            // Whether it was the right one, the HELLO of the session tells.
            while let Some(frame) = subject.transmit() {
                if let Plain::Hello(answer) = Plain::decode(&frame[..frame.len() - 4]) {
                    assert_eq!(Some(answer.from.challenge), hello.echo, "a session begins with a proof");
                }
            }
            return fed;
        }
        assert_eq!(has_joined, proof.is_some(), "a session begins with a proof and with nothing else");
        if let Some(node) = proof {
            self.session = Some(Session::new(hello, node));
            self.unproven = None;
            self.node = None;
        } else if !is_known {
            self.unproven = Some(*hello);
        }
        fed
    }

    /// The first packet in a session has come: both hold it.
    pub fn is_confirmed(&mut self) {
        self.unproven = None;
        self.node = None;
    }

    /// The session is over. The node draws a challenge that it has not shown yet.
    pub fn is_left(&mut self) {
        self.session = None;
        self.node = None;
    }

    /// Enters a session with an active node as a well-behaved peer.
    pub fn enter(&mut self, hello: Hello, subject: &mut Subject) {
        while let Some(frame) = subject.transmit() {
            self.hear(&frame);
        }
        let echo = self.node.map(|node| node.challenge);
        self.say(&Hello { echo, ..hello }, subject);
        while let Some(frame) = subject.transmit() {
            self.hear(&frame);
        }
        let ping = self.session.as_mut().expect("a session").packet(&[Message::Ping]);
        assert_eq!(subject.feed(&ping).dropped, None);
        self.is_confirmed();
        while let Some(frame) = subject.transmit() {
            self.hear(&frame);
        }
    }
}
