//! What the peer says: handshakes, packets with anything in them, what it has said before, garbage.

use arbitrary::{Result, Unstructured};

use super::super::decode_packet::HELLO;
use super::super::model::{Expected, Model};
use super::super::peer::Session;
use super::super::subject::{Fed, Taken, Why};
use super::super::wire::{self, Ack, End, Header, Hello, Message};
use super::{Scene, Sealed};

impl Scene {
    /// A packet in the session, with anything in it.
    pub(super) fn packet(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let Some(session) = &mut self.peer.session else { return self.enter(input) };
        let id = session.id();
        let shape = input.arbitrary::<u8>()?;
        let number = match shape & 7 {
            0..5 => session.next,
            5 => session.next + u64::from(input.arbitrary::<u8>()?),
            6 => session.next.saturating_sub(u64::from(input.arbitrary::<u8>()?)),
            _ => u64::from(input.arbitrary::<u32>()?),
        };
        let len = if shape & 8 == 0 { 4 } else { input.int_in_range(1..=4)? };
        let (ack, field) = draw_ack(input, session.received)?;
        let header = Header { low: number as u32 & u32::MAX >> (32 - 8 * len), len, ack: field };
        let packet = [header.encode(), draw_messages(input)?].concat();
        let frame = session.seal(number, ack, &packet);
        self.send(Sealed { session: id, number, ack, packet, frame });
        Ok(())
    }

    /// One of the packets before, again.
    pub(super) fn again(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let back = usize::from(input.arbitrary::<u8>()?);
        let Some(sealed) = self.history.iter().rev().nth(back % self.history.len().max(1)).cloned() else {
            return Ok(());
        };
        self.send(sealed);
        Ok(())
    }

    fn send(&mut self, sealed: Sealed) {
        let expected = self.expect(&sealed);
        let fed = self.subject.feed(&sealed.frame);
        match (fed.dropped, &expected) {
            (None, Expected::Accepted | Expected::Unknown) => self.accepted(&sealed, &fed),
            (Some(why), _) => {
                assert!(
                    expected == Expected::Dropped(why) || expected == Expected::Unknown,
                    "{why:?}, not {expected:?}"
                );
                if why == Why::Duplicate {
                    self.model.acknowledge(sealed.ack);
                }
            }
            (None, _) => panic!("taken, though {expected:?}"),
        }
        self.history.push(sealed);
    }

    /// What a packet has to lead to. The first one of a session that the latest HELLO has made possible begins it.
    fn expect(&mut self, sealed: &Sealed) -> Expected {
        if self.is_closed {
            return Expected::Dropped(Why::NotListening);
        }
        if let Some(session) = self.peer.session.as_ref().filter(|session| session.id() == sealed.session) {
            return self.model.expect(session, sealed.number, sealed.ack, &sealed.packet);
        }
        let candidate = self.peer.unproven.zip(self.peer.node);
        let candidate = candidate.map(|(hello, node)| (hello, Session::new(&hello, node)));
        match candidate.filter(|(_, session)| session.id() == sealed.session) {
            Some((hello, mut session)) => {
                let expected = Model::default().expect(&session, sealed.number, sealed.ack, &sealed.packet);
                if expected == Expected::Accepted {
                    session.sent.push(sealed.number);
                    session.next = sealed.number + 1;
                    self.began(&hello, session);
                }
                expected
            }
            None => Expected::Dropped(Why::BadCheck),
        }
    }

    fn accepted(&mut self, sealed: &Sealed, fed: &Fed) {
        if !std::mem::replace(&mut self.is_confirmed, true) {
            self.peer.is_confirmed();
        }
        let is_closed = self.model.accept(sealed.number, sealed.ack, &sealed.packet, fed, self.subject.now);
        for taken in &fed.messages {
            match taken {
                Taken::Request { id, .. } => {
                    assert!(!self.handlers.contains(id), "one request, two handlers");
                    self.handlers.push(*id);
                }
                Taken::Response { call, .. } => {
                    let open = self.end_call(*call);
                    assert!(open.was_sent, "a response to what was never asked");
                }
                Taken::Notify { .. } | Taken::Publish { .. } => {}
            }
        }
        if is_closed {
            self.left();
        }
    }

    /// The first packet of the session that the latest HELLO has made possible.
    pub(super) fn packet_of_candidate(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let (Some(unproven), Some(node)) = (self.peer.unproven, self.peer.node) else { return self.enter(input) };
        let mut session = Session::new(&unproven, node);
        let (low, len) = (input.arbitrary::<u8>()?, input.int_in_range(1..=4)?);
        let header = Header { low: u32::from(low), len, ack: None };
        let number = wire::restore(header.low, len, 0);
        let packet = [header.encode(), draw_messages(input)?].concat();
        let frame = session.seal(number, None, &packet);
        self.send(Sealed { session: session.id(), number, ack: None, packet, frame });
        Ok(())
    }

    /// A handshake as it should be, with limits as they come.
    pub(super) fn enter(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        self.challenge += 1;
        let limits = input.arbitrary::<u8>()?;
        let hello = Hello {
            from: End { challenge: self.challenge, ..HELLO.from },
            echo: self.peer.node.map(|node| node.challenge),
            frame_size: [64, 48, 1_000, 57][usize::from(limits & 3)],
            slots: [2, 1, 0, 32][usize::from(limits >> 2 & 3)],
            window: [2, 1, 0, 1_000][usize::from(limits >> 4 & 3)],
            time_to_live: [100, 0, 1, 255][usize::from(limits >> 6)],
            ..HELLO
        };
        self.say(&hello);
        Ok(())
    }

    /// A HELLO with anything in it.
    pub(super) fn hello(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let shape = input.arbitrary::<u8>()?;
        let session = self.peer.session.as_ref();
        self.challenge += u32::from(shape & 1);
        let held = session.map(|session| (session.own, session.node));
        let hello = Hello {
            from: match (shape >> 1 & 7, held) {
                (0..4, _) => End { challenge: self.challenge, ..HELLO.from },
                (4, Some((own, _))) => own,
                (5, Some((_, node))) => node,
                (6, _) => End { incarnation: 0, challenge: self.challenge },
                _ => End { incarnation: input.arbitrary()?, challenge: input.arbitrary()? },
            },
            echo: match shape >> 4 & 3 {
                0 => None,
                1 => Some(input.arbitrary()?),
                _ => self.peer.node.map(|node| node.challenge),
            },
            session: match shape >> 6 {
                0 => None,
                1 => Some(input.arbitrary()?),
                _ => session.map(Session::id),
            },
            frame_size: 48 + u16::from(input.arbitrary::<u8>()?),
            slots: input.int_in_range(0..=32)?,
            window: input.arbitrary()?,
            time_to_live: input.arbitrary()?,
            digest: 0,
        };
        self.say(&hello);
        Ok(())
    }

    fn say(&mut self, hello: &Hello) {
        let before = self.subject.stats().sessions;
        let fed = self.peer.say(hello, &mut self.subject);
        assert_eq!(fed.dropped == Some(Why::NotListening), self.is_closed);
        if self.subject.stats().sessions > before && !self.peer.has_guessed {
            let session = self.peer.session.clone().expect("a session");
            self.began(hello, session);
        }
    }

    pub(super) fn garbage(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let len = usize::from(input.arbitrary::<u8>()? % 80).min(input.len());
        let bytes = input.bytes(len)?;
        let frame = if bytes.first().is_some_and(|first| first & 0xC0 == 0x40) {
            wire::plain_frame(bytes)
        } else {
            bytes.to_vec()
        };
        let fed = self.subject.feed(&frame);
        assert!(fed.dropped.is_some(), "{frame:02x?} was taken");
        Ok(())
    }
}

/// An ack of anything, and how it travels.
fn draw_ack(input: &mut Unstructured<'_>, received: u64) -> Result<(Option<u64>, Option<Ack>)> {
    let shape = input.arbitrary::<u8>()?;
    let largest = match shape & 7 {
        0..3 => return Ok((None, None)),
        3..6 => received.saturating_sub(1),
        6 => received.saturating_sub(u64::from(input.arbitrary::<u8>()?)),
        _ => u64::from(input.arbitrary::<u32>()?),
    };
    let len = [4, 1, 2, 4][usize::from(shape >> 3 & 3)];
    let bitmap_len = [0, 1, 4, 8][usize::from(shape >> 5 & 3)];
    let bitmap = if bitmap_len == 0 { 0 } else { input.arbitrary::<u64>()? & u64::MAX >> (64 - 8 * bitmap_len) };
    let low = largest as u32 & u32::MAX >> (32 - 8 * len);
    Ok((Some(largest), Some(Ack { low, len, bitmap, bitmap_len, is_fresh: shape >> 7 == 1 })))
}

/// What stands behind the header: messages, or any bytes.
fn draw_messages(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let shape = input.arbitrary::<u8>()?;
    if shape >> 4 == 0xF {
        let len = usize::from(shape & 0xF).min(input.len());
        return Ok(input.bytes(len)?.to_vec());
    }
    let messages = (0..shape & 3).map(|_| draw_message(input)).collect::<Result<Vec<_>>>()?;
    Ok(Message::encode_all(&messages))
}

fn draw_message(input: &mut Unstructured<'_>) -> Result<Message> {
    let [kind, slot, sequence] = input.arbitrary::<[u8; 3]>()?;
    let slot = slot & if slot >> 5 == 7 { 0x1F } else { 1 };
    let payload = vec![0xBA; usize::from(kind >> 4)];
    let sequence_16 = u16::from(sequence).wrapping_sub(u16::from(kind >> 7));
    Ok(match kind & 0xF {
        0 => Message::Ping,
        1 if sequence > 0xE0 => Message::Close,
        2 | 3 => Message::Cancel { slot, sequence },
        4..6 => Message::Notify { sequence: sequence_16, key: 5, payload },
        6 => Message::Publish { sequence: sequence_16, key: 6, payload },
        7..10 => Message::Response { slot, sequence, payload },
        10 | 11 => Message::Refusal { slot, sequence, code: kind >> 4 },
        _ => {
            let time_to_live = if kind >> 7 == 1 { Some(sequence) } else { None };
            Message::Request { slot, sequence, key: 9, time_to_live, payload }
        }
    })
}
