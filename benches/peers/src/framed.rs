//! Protocols that speak in datagrams, on a byte stream: framed by COBS, and checked like bowline's frames unless they
//! check their datagrams themselves.

use crc::{CRC_32_ISCSI, Crc, Table};

use crate::model::Nanos;
use crate::model::node::Node;

static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// One end of a protocol that speaks in datagrams; see [`Node`].
pub trait Peer {
    fn is_connected(&self) -> bool;
    fn send(&mut self, now: Nanos, payload: &[u8]) -> bool;
    fn receive(&mut self, now: Nanos, datagram: &[u8], deliver: &mut dyn FnMut(&[u8]));
    fn handle_timeout(&mut self, now: Nanos);
    fn poll_datagram(&mut self, now: Nanos) -> Option<Vec<u8>>;
    fn poll_timeout(&mut self) -> Option<Nanos>;
    /// Whether its datagrams carry a check of their own.
    fn is_checked(&self) -> bool {
        false
    }
}

pub struct Framed<P>(pub P);

impl<P: Peer> Node for Framed<P> {
    fn is_connected(&self) -> bool {
        self.0.is_connected()
    }

    fn send(&mut self, now: Nanos, payload: &[u8]) -> bool {
        self.0.send(now, payload)
    }

    fn handle(&mut self, now: Nanos, frame: &[u8], deliver: &mut dyn FnMut(&[u8])) {
        for piece in frame.split(|byte| *byte == 0).filter(|piece| !piece.is_empty()) {
            let Ok(mut datagram) = cobs::decode_vec(piece) else { continue };
            if !self.0.is_checked() {
                let Some(check) = datagram.len().checked_sub(4).map(|at| datagram.split_off(at)) else { continue };
                if check != CRC.checksum(&datagram).to_le_bytes() {
                    continue;
                }
            }
            self.0.receive(now, &datagram, deliver);
        }
    }

    fn handle_timeout(&mut self, now: Nanos) {
        self.0.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Nanos, frame: &mut Vec<u8>) -> bool {
        let Some(mut datagram) = self.0.poll_datagram(now) else { return false };
        if !self.0.is_checked() {
            datagram.extend_from_slice(&CRC.checksum(&datagram).to_le_bytes());
        }
        frame.extend(cobs::encode_vec(&datagram));
        frame.push(0);
        true
    }

    fn poll_timeout(&mut self) -> Option<Nanos> {
        self.0.poll_timeout()
    }
}

/// Messages in a stream of bytes: each behind its length in two bytes.
#[derive(Default)]
pub struct Messages {
    bytes: Vec<u8>,
}

impl Messages {
    pub fn prefixed(payload: &[u8]) -> Vec<u8> {
        let mut message = (payload.len() as u16).to_le_bytes().to_vec();
        message.extend_from_slice(payload);
        message
    }

    /// Bytes have come.
    pub fn push(&mut self, bytes: &[u8], deliver: &mut dyn FnMut(&[u8])) {
        self.bytes.extend_from_slice(bytes);
        let mut rest = &self.bytes[..];
        while let Some((len, behind)) = rest.split_first_chunk()
            && let Some((payload, behind)) = behind.split_at_checked(usize::from(u16::from_le_bytes(*len)))
        {
            deliver(payload);
            rest = behind;
        }
        self.bytes.drain(..self.bytes.len() - rest.len());
    }
}
