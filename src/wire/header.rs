//! The header of a session packet: flags, number, ack (`PROTOCOL.md §§5, 6`).

use super::SESSION_BIT;
use super::buffer::{Reader, Writer};

/// How many numbers before the largest an ack can tell of.
pub(crate) const BITMAP_REACH: u32 = 64;

const ACK_LENS: [usize; 4] = [0, 1, 2, 4];
const BITMAP_LENS: [usize; 4] = [0, 1, 4, 8];

/// An ack as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AckField {
    /// Low bytes of the largest number received.
    pub(crate) largest: u64,
    /// How many: 1, 2 or 4.
    pub(crate) len: usize,
    /// Bit i: largest − 1 − i has come.
    pub(crate) bitmap: u64,
    /// How many numbers before the largest the bitmap speaks of: 8, 32 or 64.
    pub(crate) reach: u32,
    /// Whether the largest came just now.
    pub(crate) fresh: bool,
}

/// The header of a session packet, its numbers still truncated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Low bytes of the packet number.
    pub(crate) number: u64,
    /// How many: 1 to 4.
    pub(crate) number_len: usize,
    pub(crate) ack: Option<AckField>,
}

impl Header {
    /// Reads a header; the reader then stands at the first message.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let flags = reader.u8()?;
        if flags & SESSION_BIT == 0 {
            return None;
        }
        let number_len = usize::from((flags >> 5) & 3).saturating_add(1);
        let ack_len = *ACK_LENS.get(usize::from((flags >> 3) & 3))?;
        let bitmap_len = *BITMAP_LENS.get(usize::from((flags >> 1) & 3))?;
        let fresh = flags & 1 != 0;
        if ack_len == 0 && (bitmap_len != 0 || fresh) {
            return None;
        }
        let number = reader.uint(number_len)?;
        let ack = match ack_len {
            0 => None,
            len => {
                let largest = reader.uint(len)?;
                let bitmap = if bitmap_len == 0 { u64::MAX } else { reader.uint(bitmap_len)? };
                let reach = if bitmap_len == 0 { BITMAP_REACH } else { (bitmap_len as u32).saturating_mul(8) };
                Some(AckField { largest, len, bitmap, reach, fresh })
            }
        };
        Some(Self { number, number_len, ack })
    }

    /// Writes the header. The number is cut to `number_len` bytes, the ack number to its `len`, the bitmap to its
    /// `reach`; a bitmap of 64 ones is left out.
    pub(crate) fn write(&self, writer: &mut Writer<'_>) -> Option<()> {
        let mut flags = SESSION_BIT | ((self.number_len.saturating_sub(1) as u8 & 3) << 5);
        if let Some(ack) = &self.ack {
            flags |= code(&ACK_LENS, ack.len) << 3 | code(&BITMAP_LENS, ack.bitmap_len()) << 1 | u8::from(ack.fresh);
        }
        writer.u8(flags)?;
        writer.uint(self.number, self.number_len)?;
        if let Some(ack) = &self.ack {
            writer.uint(ack.largest, ack.len)?;
            writer.uint(ack.bitmap, ack.bitmap_len())?;
        }
        Some(())
    }
}

impl AckField {
    /// Bytes of the bitmap on the wire.
    const fn bitmap_len(&self) -> usize {
        if self.bitmap == u64::MAX { 0 } else { (self.reach / 8) as usize }
    }
}

/// The place of `len` in a table of lengths.
fn code(lens: &[usize; 4], len: usize) -> u8 {
    lens.iter().zip(0..).find_map(|(known, code)| (*known == len).then_some(code)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_round_trip() {
        let acks = [1, 2, 4].into_iter().flat_map(|len| {
            [(u64::MAX, 64), (0xFE, 8), (0x1234_5678, 32), (1 << 63, 64)]
                .map(|(bitmap, reach)| Some(AckField { largest: 7, len, bitmap, reach, fresh: len == 2 }))
        });
        for ack in acks.chain([None]) {
            for number_len in 1..=4 {
                let header = Header { number: 9, number_len, ack };
                let mut buf = [0; 17];
                let mut writer = Writer::new(&mut buf);
                header.write(&mut writer).unwrap();
                let expected = 1 + number_len + ack.map_or(0, |ack| ack.len + ack.bitmap_len());
                assert_eq!(writer.len(), expected);
                let mut reader = Reader::new(writer.written());
                assert_eq!(Header::read(&mut reader), Some(header));
                assert!(reader.is_empty());
            }
        }
    }

    #[test]
    fn a_bitmap_without_an_ack_is_refused() {
        assert_eq!(Header::read(&mut Reader::new(&[0x82, 0, 0])), None);
        assert_eq!(Header::read(&mut Reader::new(&[0x81, 0, 0])), None);
    }
}
