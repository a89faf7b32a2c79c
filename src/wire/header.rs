//! The header of a session packet: flags, number, ack (`PROTOCOL.md §§5, 6`).

use super::SESSION_BIT;
use super::buffer::{Reader, Writer};
use super::space::truncate;

/// How many numbers before the largest an ack can tell of.
pub(crate) const BITMAP_REACH: u32 = 64;

/// An ack as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AckField {
    /// Low bytes of the largest number received.
    pub(crate) largest: u32,
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
    pub(crate) number: u32,
    /// How many: 1 to 4.
    pub(crate) number_len: usize,
    pub(crate) ack: Option<AckField>,
}

impl AckField {
    /// Whether the packet `behind` the largest has come.
    pub(crate) const fn covers(&self, behind: u32) -> bool {
        let bit = behind.wrapping_sub(1);
        // On small machines two halves are cheaper than a shift of 64 bits.
        let half = if bit < 32 { self.bitmap as u32 } else { (self.bitmap >> 32) as u32 };
        behind == 0 || bit < self.reach && half.wrapping_shr(bit) & 1 != 0
    }
}

impl Header {
    /// Reads a header; the reader then stands at the first message.
    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let flags = reader.u8();
        // The lengths are 1, 2, 3, 4; 0, 1, 2, 4; and 0, 1, 4, 8.
        let number_len = usize::from(flags >> 5 & 3).wrapping_add(1);
        let ack_len = 1 << (flags >> 3 & 3) >> 1;
        let bitmap_len = match flags >> 1 & 3 {
            code @ 0..=1 => usize::from(code),
            code => 1 << code,
        };
        if flags & SESSION_BIT == 0 || ack_len == 0 && flags & 7 != 0 {
            return None;
        }
        let number = reader.uint(number_len);
        let mut ack = None;
        if ack_len > 0 {
            let largest = reader.uint(ack_len);
            let (mut bitmap, mut reach) = (u64::MAX, BITMAP_REACH);
            if bitmap_len > 0 {
                reach = bitmap_len as u32 * 8;
                bitmap = u64::from(reader.uint(bitmap_len.min(4)));
                bitmap |= u64::from(reader.uint(bitmap_len.saturating_sub(4))) << 32;
            }
            ack = Some(AckField { largest, len: ack_len, bitmap, reach, fresh: flags & 1 != 0 });
        }
        reader.is_sound().then_some(Self { number, number_len, ack })
    }

    /// Writes the header. The number is cut to `number_len` bytes, the ack number to its `len`, the bitmap to its
    /// `reach`; a bitmap of 64 ones is left out.
    #[cfg_attr(feature = "speed", inline(always))]
    pub(crate) fn write(&self, writer: &mut Writer<'_>) {
        let mut flags = SESSION_BIT | (self.number_len.wrapping_sub(1) as u8 & 3) << 5;
        let start = writer.len();
        writer.u8(flags);
        writer.uint(truncate(self.number, self.number_len), self.number_len);
        if let Some(ack) = &self.ack {
            flags |= (ack.len.min(3) as u8) << 3 | u8::from(ack.fresh);
            writer.uint(truncate(ack.largest, ack.len), ack.len);
            if ack.bitmap != u64::MAX {
                flags |= (1 + ack.reach as u8 / 32) << 1;
                let len = ack.reach as usize / 8;
                writer.uint(ack.bitmap as u32, len.min(4));
                writer.uint((ack.bitmap >> 32) as u32, len.saturating_sub(4));
            }
            writer.update(start, |_| flags);
        }
    }
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
                header.write(&mut writer);
                let bitmap_len = |ack: AckField| if ack.bitmap == u64::MAX { 0 } else { ack.reach as usize / 8 };
                let expected = 1 + number_len + ack.map_or(0, |ack| ack.len + bitmap_len(ack));
                assert_eq!(writer.len(), expected);
                let mut reader = Reader::new(writer.written());
                assert_eq!(Header::read(&mut reader), Some(header));
                assert!(reader.is_empty());
            }
        }
    }

    #[test]
    fn what_is_no_packet_of_a_session_has_no_header() {
        assert_eq!(Header::read(&mut Reader::new(&[0, 7])), None);
        assert_eq!(Header::read(&mut Reader::new(&[])), None);
    }

    #[test]
    fn a_bitmap_without_an_ack_is_refused() {
        assert_eq!(Header::read(&mut Reader::new(&[0x82, 0, 0])), None);
        assert_eq!(Header::read(&mut Reader::new(&[0x81, 0, 0])), None);
    }
}
