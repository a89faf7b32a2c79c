//! Packets without a session, one after the other, to an endpoint that is passive: each leads to what the table of
//! PROTOCOL.md §8.3 says, and draws one answer at most.
//!
//! Input: first how the endpoint is made; then for each packet a byte of flags, which say what is filled in of what a
//! peer would know; a length; and the bytes.

use arbitrary::{Result, Unstructured};
use bowline::{Config, Duration, Event, Incarnation};

use super::decode_packet::HELLO;
use super::peer::{Heard, Peer, Session};
use super::subject::{Subject, Why};
use super::wire::{self, End, Message, Plain};

pub fn run(data: &[u8]) {
    // Ends when the input ends.
    let _ = all(&mut Unstructured::new(data));
}

fn all(input: &mut Unstructured<'_>) -> Result<()> {
    let incarnation = match input.arbitrary::<u8>()? % 3 {
        0 => Incarnation::random(0x1234_5678_9ABC_DEF0),
        1 => Incarnation::boot_counter(1, 7),
        _ => Incarnation::none(1, Duration::ZERO),
    };
    // A token comes back each heartbeat, and no timer of a session runs before the input ends.
    let config = Config {
        active: false,
        heartbeat: Duration::from_millis(100),
        initial_round_trip: Duration::from_secs(2_000),
        lease: Duration::from_secs(4_000),
        ..Config::new(incarnation)
    };
    let mut subject = Subject::new(config);
    let mut table = Table::default();
    while !input.is_empty() {
        // Time for a token.
        subject.now = subject.now + Duration::from_millis(100);
        let flags = input.arbitrary::<u8>()?;
        let packet = table.packet(flags, input)?;
        table.hold(&packet, &mut subject);
        if table.peer.has_guessed {
            break;
        }
        let mut events = Vec::new();
        while let Some(event) = subject.event() {
            events.push(event);
        }
        table.check_events(&events);
    }
    Ok(())
}

/// What both sides know, for the table of §8.3.
#[derive(Default)]
struct Table {
    peer: Peer,
    /// The node's challenges so far, the outstanding one last if it was shown.
    shown: Vec<End>,
    is_new: bool,
    version: Option<u8>,
}

impl Table {
    /// A packet as the input has it, with what the flags say in place of some of its bytes.
    fn packet(&self, flags: u8, input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
        let len = usize::from(input.arbitrary::<u8>()? % 64).min(input.len());
        let mut packet = input.bytes(len)?.to_vec();
        if flags & 0x80 != 0 {
            // A HELLO that is well-formed all over.
            let mut template = HELLO.encode();
            template.iter_mut().zip(&packet).for_each(|(to, from)| *to ^= from);
            packet = template;
        }
        if let Some(kind) = packet.first_mut() {
            *kind &= 0x7F;
        }
        let mut put = |at: usize, value: u32| {
            if let Some(place) = packet.get_mut(at..at + 4) {
                place.copy_from_slice(&value.to_le_bytes());
            }
        };
        let challenge = self.shown.iter().nth_back(usize::from(flags >> 4 & 1)).copied().unwrap_or_default();
        if flags & 1 != 0 {
            put(11, challenge.challenge);
        }
        if flags & 2 != 0 {
            put(15, self.peer.session.as_ref().map_or(0, Session::id));
        }
        if flags & 4 != 0 {
            let own = self.peer.session.as_ref().map_or(HELLO.from, |session| session.own);
            put(2, own.incarnation);
            put(6, own.challenge);
        }
        if flags & 8 != 0 {
            // Its own words.
            put(2, challenge.incarnation);
            put(6, challenge.challenge);
        }
        if flags & 0x20 != 0 {
            // Of a VERSION.
            put(2, challenge.challenge);
        }
        Ok(packet)
    }

    fn hold(&mut self, packet: &[u8], subject: &mut Subject) {
        let (drops, answer) = match Plain::decode(packet) {
            _ if packet.is_empty() => (Some(Why::TooShort), Answer::Nothing),
            Plain::Unknown => (Some(Why::UnknownKind), Answer::Nothing),
            Plain::Bad => (Some(Why::BadHello), Answer::Nothing),
            Plain::OtherVersion { challenge } => (Some(Why::OtherVersion), Answer::Version { challenge }),
            Plain::Version { version, challenge } => {
                let session = self.peer.session.as_ref().map(|session| session.node);
                // That of a session that is not confirmed is shown as well.
                if [self.peer.node, session].iter().flatten().any(|node| node.challenge == challenge) {
                    self.version = Some(version);
                    (None, Answer::Nothing)
                } else {
                    let dropped = subject.feed(&wire::plain_frame(packet)).dropped;
                    // A fuzzer guesses the outstanding challenge even if it was never shown.
                    assert!(dropped.is_none_or(|why| why == Why::OtherVersion));
                    self.version = self.version.or(dropped.is_none().then_some(version));
                    return self.check_answer(Answer::Nothing, subject);
                }
            }
            Plain::Hello(hello) => {
                let (drops, answer) = self.answer(&hello);
                let before = subject.stats().sessions;
                let fed = self.peer.say(&hello, subject);
                self.is_new |= subject.stats().sessions > before;
                assert_eq!(fed.dropped, drops);
                if self.peer.has_guessed {
                    return;
                }
                return self.check_answer(answer, subject);
            }
        };
        assert_eq!(subject.feed(&wire::plain_frame(packet)).dropped, drops);
        self.check_answer(answer, subject);
    }

    /// The first row that fits.
    fn answer(&self, hello: &wire::Hello) -> (Option<Why>, Answer) {
        let outstanding = self.peer.node;
        let session = self.peer.session.as_ref();
        if outstanding == Some(hello.from) || session.is_some_and(|session| session.node == hello.from) {
            return (Some(Why::OwnEcho), Answer::Nothing);
        }
        let answer = match session {
            Some(session) if hello.session == Some(session.id()) => Answer::Nothing,
            Some(session) if hello.from == session.own && hello.from.incarnation != 0 => Answer::Session,
            _ => match outstanding.filter(|node| hello.echo == Some(node.challenge)) {
                Some(node) => {
                    let is_in = hello.session == Some(wire::session_id(hello.from, node));
                    if is_in || hello.from.incarnation == 0 { Answer::Ping } else { Answer::SessionAndPing }
                }
                None => Answer::Challenge,
            },
        };
        (None, answer)
    }

    /// Everything that the endpoint says now is this answer.
    fn check_answer(&mut self, answer: Answer, subject: &mut Subject) {
        let mut heard = Vec::new();
        while let Some(frame) = subject.transmit() {
            heard.push(self.peer.hear(&frame));
            if let Some(node) = self.peer.node.filter(|node| self.shown.last() != Some(node)) {
                self.shown.push(node);
            }
        }
        let ping = || Heard::Packet(vec![Message::Ping]);
        match (answer, heard.as_slice()) {
            (Answer::Nothing, []) => {}
            (Answer::Version { challenge }, [heard]) => assert_eq!(*heard, Heard::Version { challenge }),
            (Answer::Challenge, [Heard::Hello(hello)]) => {
                assert_eq!(Some(hello.from), self.peer.node);
                assert_eq!(hello.session, self.peer.session.as_ref().map(Session::id));
            }
            (Answer::Session, [Heard::Hello(hello)]) => {
                assert_eq!(Some(hello.from), self.peer.session.as_ref().map(|session| session.node));
            }
            (Answer::SessionAndPing, [Heard::Hello(hello), last]) => {
                assert_eq!(Some(hello.from), self.peer.session.as_ref().map(|session| session.node));
                assert_eq!(*last, ping());
            }
            (Answer::Ping, [heard]) => assert_eq!(*heard, ping()),
            (answer, heard) => panic!("{answer:?} was expected, not {heard:?}"),
        }
    }

    fn check_events(&mut self, events: &[Event]) {
        let connected = events.iter().filter(|event| **event == Event::Connected).count();
        assert_eq!(connected, usize::from(std::mem::take(&mut self.is_new)), "{events:?}");
        let version = events.iter().find_map(|event| match event {
            Event::VersionRefused { version } => Some(*version),
            _ => None,
        });
        assert_eq!(version, self.version.take());
    }
}

#[derive(Debug)]
enum Answer {
    Nothing,
    Version { challenge: u32 },
    Challenge,
    Session,
    Ping,
    SessionAndPing,
}
