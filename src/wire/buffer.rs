//! Cursors over lent bytes: neither can panic, and a failed step leaves the cursor where it was.

use core::cell::Cell;

/// Takes values off the front of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A little-endian number of `len` bytes, at most 8.
    pub(crate) fn uint(&mut self, len: usize) -> Option<u64> {
        let bytes = self.bytes(len)?;
        Some(bytes.iter().rev().fold(0, |value, byte| (value << 8) | u64::from(*byte)))
    }

    /// A LEB128 varint of at most 3 bytes and 16 bits.
    pub(crate) fn length(&mut self) -> Option<usize> {
        let mut value = 0;
        for shift in [0, 7, 14] {
            let byte = u32::from(self.u8()?);
            value |= (byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return u16::try_from(value).ok().map(usize::from);
            }
        }
        None
    }
}

/// Appends values to a lent buffer.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    pub(crate) const fn new(buf: &'a mut [u8]) -> Self {
        Self { buf, len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Starts over.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Bytes that still fit.
    pub(crate) const fn room(&self) -> usize {
        self.buf.len().saturating_sub(self.len)
    }

    pub(crate) fn written(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len.checked_add(bytes.len())?;
        self.buf.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    pub(crate) fn u8(&mut self, value: u8) -> Option<()> {
        *self.buf.get_mut(self.len)? = value;
        self.len = self.len.saturating_add(1);
        Some(())
    }

    pub(crate) fn u16(&mut self, value: u16) -> Option<()> {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> Option<()> {
        self.bytes(&value.to_le_bytes())
    }

    /// The low `len` bytes of `value`, at most 8.
    pub(crate) fn uint(&mut self, value: u64, len: usize) -> Option<()> {
        self.bytes(value.to_le_bytes().get(..len)?)
    }

    /// Makes room at `at` and puts the length there as a varint.
    pub(crate) fn insert_length(&mut self, at: usize, len: u16) -> Option<()> {
        let mut varint = [0; 3];
        let mut varint = Writer::new(&mut varint);
        varint.length(len)?;
        let tail = at.checked_add(varint.len())?;
        let end = self.len.checked_add(varint.len())?;
        move_up(self.buf.get_mut(at..end)?, self.len.checked_sub(at)?, varint.len());
        self.buf.get_mut(at..tail)?.copy_from_slice(varint.written());
        self.len = end;
        Some(())
    }

    /// Changes the byte at `at`.
    pub(crate) fn update(&mut self, at: usize, change: impl FnOnce(u8) -> u8) -> Option<()> {
        let byte = self.buf.get_mut(at)?;
        *byte = change(*byte);
        Some(())
    }

    /// A LEB128 varint.
    pub(crate) fn length(&mut self, mut value: u16) -> Option<()> {
        while value >= 0x80 {
            self.u8(value as u8 | 0x80)?;
            value >>= 7;
        }
        self.u8(value as u8)
    }
}

/// Moves the first `len` bytes of `bytes` by `distance` towards its end, as far as there is room.
pub(super) fn move_up(bytes: &mut [u8], len: usize, distance: usize) {
    // `copy_within` can panic, and when optimizing for size the compiler keeps the code for it.
    let cells = Cell::from_mut(bytes).as_slice_of_cells();
    let from = cells.get(..len).unwrap_or_default();
    let to = cells.get(distance..).unwrap_or_default().get(..len).unwrap_or_default();
    for (to, from) in to.iter().zip(from).rev() {
        to.set(from.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_round_trip() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u16::MAX] {
            let mut buf = [0; 3];
            let mut writer = Writer::new(&mut buf);
            writer.length(value).unwrap();
            assert_eq!(Reader::new(writer.written()).length(), Some(usize::from(value)));
        }
    }

    #[test]
    fn a_length_beyond_16_bits_is_refused() {
        assert_eq!(Reader::new(&[0xFF, 0xFF, 0x04]).length(), None);
        assert_eq!(Reader::new(&[0xFF, 0xFF, 0x83, 0x00]).length(), None);
        assert_eq!(Reader::new(&[0x80]).length(), None);
    }

    #[test]
    fn a_step_that_does_not_fit_changes_nothing() {
        let mut reader = Reader::new(&[1, 2]);
        assert_eq!(reader.u32(), None);
        assert_eq!(reader.u16(), Some(0x0201));
        let mut buf = [0; 3];
        let mut writer = Writer::new(&mut buf);
        assert_eq!(writer.u32(7), None);
        assert_eq!(writer.len(), 0);
        assert_eq!(writer.room(), 3);
    }
}
