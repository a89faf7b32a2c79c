//! Selective repeat that knows the round trip: the yardstick. It needs no session, no check and no order, a message has
//! a frame of its own, and each ack is sent once.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::model::Nanos;
use crate::model::cell::{Cell, Load};
use crate::model::direction::time_of;
use crate::model::node::Node;

/// Bytes before the acks; what they hold is not told apart.
const HEADER: usize = 10;
/// Acks in a frame at most.
const MAX_ACKS: usize = 100;

pub struct Oracle {
    load: Load,
    is_second: bool,
    /// How long an ack is waited for.
    timeout: Nanos,
    window: usize,
    next: u32,
    /// Messages that are not acknowledged; `None` waits to be sent.
    open: HashMap<u32, (Option<Nanos>, Vec<u8>)>,
    /// Those under way, in the order of their last transmission; some have been acknowledged since.
    under_way: VecDeque<(u32, Nanos)>,
    waiting: VecDeque<u32>,
    acks: VecDeque<u32>,
    seen: HashSet<u32>,
}

impl Oracle {
    pub fn new(cell: &Cell, is_second: bool) -> Self {
        let slack = match cell.load {
            Load::Rpc1 => 60,
            Load::Rpc8 => 300,
            Load::Bulk => 1_032,
        };
        Self {
            load: cell.load,
            is_second,
            timeout: cell.round_trip() + time_of(slack, cell.rate),
            window: (6 * cell.bandwidth_delay()).div_ceil(142) as usize + 16,
            next: 0,
            open: HashMap::new(),
            under_way: VecDeque::new(),
            waiting: VecDeque::new(),
            acks: VecDeque::new(),
            seen: HashSet::new(),
        }
    }

    fn push(&mut self, payload: &[u8]) {
        self.open.insert(self.next, (None, payload.to_vec()));
        self.waiting.push_back(self.next);
        self.next += 1;
    }
}

impl Node for Oracle {
    fn is_connected(&self) -> bool {
        true
    }

    fn is_ordered(&self) -> bool {
        false
    }

    fn send(&mut self, _now: Nanos, payload: &[u8]) -> bool {
        let has_room = self.open.len() < self.window;
        if has_room {
            self.push(payload);
        }
        has_room
    }

    fn handle(&mut self, _now: Nanos, frame: &[u8], deliver: &mut dyn FnMut(&[u8])) {
        let (acks, has_message) = (usize::from(frame[0]), frame[1] != 0);
        let (ack_field, payload) = frame[HEADER..].split_at(2 * acks);
        let number_at = |at: usize| u32::from_le_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
        let first_ack = number_at(6);
        for ack in ack_field.chunks_exact(2) {
            let offset = i16::from_le_bytes([ack[0], ack[1]]);
            self.open.remove(&first_ack.wrapping_add_signed(offset.into()));
        }
        if !has_message {
            return;
        }
        let number = number_at(2);
        self.acks.push_back(number);
        if !self.seen.insert(number) {
            return;
        }
        if self.is_second && self.load != Load::Bulk {
            self.push(payload);
        } else {
            deliver(payload);
        }
    }

    fn handle_timeout(&mut self, now: Nanos) {
        while let Some((number, at)) = self.under_way.front().copied() {
            let is_open = self.open.get(&number).is_some_and(|(sent_at, _)| *sent_at == Some(at));
            if is_open && at + self.timeout > now {
                return;
            }
            self.under_way.pop_front();
            if is_open && let Some((sent_at, _)) = self.open.get_mut(&number) {
                *sent_at = None;
                // Before what was never sent, after what has waited for longer.
                let place = self.waiting.iter().take_while(|other| **other < number).count();
                self.waiting.insert(place, number);
            }
        }
    }

    fn poll_transmit(&mut self, now: Nanos, frame: &mut Vec<u8>) -> bool {
        let message = loop {
            match self.waiting.pop_front() {
                // Acknowledged late.
                Some(number) if !self.open.contains_key(&number) => {}
                other => break other,
            }
        };
        let first_ack = self.acks.front().copied().unwrap_or(0);
        // Two bytes each: how far from the first.
        let offset = |ack: &u32| i16::try_from(ack.wrapping_sub(first_ack).cast_signed());
        let offsets: Vec<i16> = self.acks.iter().take(MAX_ACKS).map_while(|ack| offset(ack).ok()).collect();
        let acks = offsets.len();
        if message.is_none() && acks == 0 {
            return false;
        }
        frame.resize(HEADER, 0);
        frame[0] = acks as u8;
        frame[1] = u8::from(message.is_some());
        frame[2..6].copy_from_slice(&message.unwrap_or(0).to_le_bytes());
        frame[6..10].copy_from_slice(&first_ack.to_le_bytes());
        frame.extend(offsets.into_iter().flat_map(i16::to_le_bytes));
        self.acks.drain(..acks);
        if let Some(number) = message
            && let Some((sent_at, payload)) = self.open.get_mut(&number)
        {
            *sent_at = Some(now);
            frame.extend_from_slice(payload);
            self.under_way.push_back((number, now));
        }
        true
    }

    fn poll_timeout(&mut self) -> Option<Nanos> {
        self.under_way.front().map(|(_, at)| at + self.timeout)
    }
}
