//! Cursors over lent bytes. Neither can panic; both go on after their end and tell in the end whether it was enough.

use core::cell::Cell;

use super::cobs::{IS_WORDWISE, WORD_LEN};

/// Takes values off the front of a packet. Behind the end there are zeros, and [`Self::is_sound`] says no.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    is_sound: bool,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, is_sound: true }
    }

    /// Whether nothing is left.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Whether all that was taken was there.
    pub(crate) const fn is_sound(&self) -> bool {
        self.is_sound
    }

    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn bytes(&mut self, len: usize) -> &'a [u8] {
        if let Some((head, tail)) = self.rest.split_at_checked(len) {
            self.rest = tail;
            head
        } else {
            self.is_sound = false;
            &[]
        }
    }

    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    #[cfg_attr(not(feature = "speed"), inline(never))]
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn u8(&mut self) -> u8 {
        if let Some((first, tail)) = self.rest.split_first() {
            self.rest = tail;
            *first
        } else {
            self.is_sound = false;
            0
        }
    }

    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.u8(), self.u8()])
    }

    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn u32(&mut self) -> u32 {
        self.uint(4)
    }

    /// A little-endian number of `len` bytes, at most 4.
    #[cfg_attr(not(feature = "speed"), inline(never))]
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn uint(&mut self, len: usize) -> u32 {
        if IS_WORDWISE && let Some(word) = self.rest.first_chunk() {
            self.rest = self.rest.get(len..).unwrap_or_default();
            return u32::from_le_bytes(*word) & low_bytes(len);
        }
        let mut value = 0;
        for place in 0..len as u32 {
            value |= u32::from(self.u8()).wrapping_shl(8 * place);
        }
        value
    }

    /// A LEB128 varint of at most 3 bytes and 16 bits.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn length(&mut self) -> usize {
        let mut value = 0;
        for shift in [0, 7, 14] {
            let byte = u32::from(self.u8());
            value |= (byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                break;
            }
            self.is_sound &= shift < 14;
        }
        self.is_sound &= value <= u32::from(u16::MAX);
        value as usize
    }
}

/// Appends values to a lent buffer. What is behind its end is lost, and [`Self::fits`] says no.
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

    /// Whether there was room for everything.
    pub(crate) const fn fits(&self) -> bool {
        self.len <= self.buf.len()
    }

    /// Starts over.
    pub(crate) const fn clear(&mut self) {
        self.len = 0;
    }

    /// Bytes that still fit.
    pub(crate) const fn room(&self) -> usize {
        self.buf.len().saturating_sub(self.len)
    }

    pub(crate) fn written(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }

    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let end = self.len.wrapping_add(bytes.len());
        if let Some(room) = self.buf.get_mut(self.len..end) {
            copy(room, bytes);
        }
        self.len = end;
    }

    /// The first `len` of these bytes.
    pub(crate) fn head<const N: usize>(&mut self, bytes: &[u8; N], len: usize) {
        if IS_WORDWISE && let Some(room) = self.buf.get_mut(self.len..).and_then(<[u8]>::first_chunk_mut) {
            // All of them, which takes a single store. What stands behind is written later, or not at all.
            *room = *bytes;
            self.len = self.len.wrapping_add(len);
        } else {
            self.bytes(bytes.get(..len).unwrap_or_default());
        }
    }

    #[cfg_attr(not(feature = "speed"), inline(never))]
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn u8(&mut self, value: u8) {
        if let Some(room) = self.buf.get_mut(self.len) {
            *room = value;
        }
        self.len = self.len.wrapping_add(1);
    }

    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn u16(&mut self, value: u16) {
        self.uint(value.into(), 2);
    }

    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn u32(&mut self, value: u32) {
        self.uint(value, 4);
    }

    /// The low `len` bytes of `value`.
    #[cfg_attr(not(feature = "speed"), inline(never))]
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn uint(&mut self, mut value: u32, len: usize) {
        if IS_WORDWISE && let Some(word) = self.buf.get_mut(self.len..).and_then(<[u8]>::first_chunk_mut) {
            // What stands behind is written later, or not at all.
            *word = value.to_le_bytes();
            self.len = self.len.wrapping_add(len);
            return;
        }
        for _ in 0..len {
            self.u8(value as u8);
            value >>= 8;
        }
    }

    /// Makes room at `at` and puts the length of what stands behind there as a varint.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn insert_length(&mut self, at: usize) {
        let len = self.len.wrapping_sub(at);
        let distance = length_len(len);
        if let Some(room) = self.buf.get_mut(at..self.len.wrapping_add(distance)) {
            move_up(room, len, distance);
        }
        let end = self.len.wrapping_add(distance);
        self.len = at;
        let mut rest = len;
        while rest >= 0x80 {
            self.u8(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.u8(rest as u8);
        self.len = end;
    }

    /// Changes the byte at `at`.
    #[cfg_attr(feature = "speed", inline)]
    pub(crate) fn update(&mut self, at: usize, change: impl FnOnce(u8) -> u8) {
        if let Some(byte) = self.buf.get_mut(at) {
            *byte = change(*byte);
        }
    }
}

/// A mask for the low `len` bytes, at most 4.
const fn low_bytes(len: usize) -> u32 {
    (1_u64 << (8 * (len as u32 & 7))).wrapping_sub(1) as u32
}

/// Bytes of the varint for a length.
pub(crate) const fn length_len(len: usize) -> usize {
    match len {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        _ => 3,
    }
}

/// Copies `from` to `to`, which is as long.
#[cfg_attr(feature = "speed", inline(always))]
pub(crate) fn copy(to: &mut [u8], from: &[u8]) {
    // Most payloads are short, and copied in fewer instructions than it takes to call a function that copies any.
    if IS_WORDWISE
        && from.len() <= 2 * WORD_LEN
        && let Some((head, tail)) = ends(from)
    {
        put_ends(to, head, tail);
    } else {
        to.copy_from_slice(from);
    }
}

/// The first and the last word, if there is one.
#[cfg_attr(feature = "speed", inline(always))]
fn ends(bytes: &[u8]) -> Option<([u8; WORD_LEN], [u8; WORD_LEN])> {
    Some((*bytes.first_chunk()?, *bytes.last_chunk()?))
}

/// Writes one to two words that overlap.
#[cfg_attr(feature = "speed", inline(always))]
fn put_ends(to: &mut [u8], head: [u8; WORD_LEN], tail: [u8; WORD_LEN]) {
    if let Some(room) = to.first_chunk_mut() {
        *room = head;
    }
    if let Some(room) = to.last_chunk_mut() {
        *room = tail;
    }
}

/// Moves the first `len` bytes of `bytes` by `distance` towards its end, or none if there is no room.
#[cfg_attr(feature = "speed", inline)]
pub(super) fn move_up(bytes: &mut [u8], len: usize, distance: usize) {
    if IS_WORDWISE && let Some(moved) = bytes.get_mut(..len.saturating_add(distance)) {
        if len <= 2 * WORD_LEN
            && let Some((head, tail)) = moved.get(..len).and_then(ends)
            && let Some(to) = moved.get_mut(distance..)
        {
            return put_ends(to, head, tail);
        }
        return moved.copy_within(..len, distance);
    }
    // It would panic if that did not fit, and when optimizing for size the compiler keeps the code for it.
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
        for len in [0, 1, 127, 128, 16_383, 16_384, 65_535] {
            let mut buf = [7; 65_538];
            let mut writer = Writer::new(&mut buf);
            writer.len = len;
            writer.insert_length(0);
            let mut reader = Reader::new(writer.written());
            assert_eq!((reader.length(), reader.rest()), (len, &[7; 65_535][..len]));
            assert!(reader.is_sound());
        }
    }

    #[test]
    fn numbers_reach_to_the_last_byte() {
        let mut buf = [7; 3];
        let mut writer = Writer::new(&mut buf);
        writer.uint(0x0003_0201, 3);
        assert!(writer.fits());
        assert_eq!(writer.written(), [1, 2, 3]);
        assert_eq!(Reader::new(&buf).uint(3), 0x0003_0201);
    }

    #[test]
    fn what_has_no_room_does_not_move() {
        let mut bytes = [1, 2, 3, 4];
        move_up(&mut bytes, 3, 2);
        assert_eq!(bytes, [1, 2, 3, 4]);
        move_up(&mut bytes, 3, 1);
        assert_eq!(bytes, [1, 1, 2, 3]);
    }

    #[test]
    fn short_and_long_bytes_are_copied_and_moved_alike() {
        let source: [u8; 40] = core::array::from_fn(|at| at as u8 + 1);
        for len in 0..=source.len() {
            let mut copied = [0; 40];
            copy(&mut copied[..len], &source[..len]);
            assert_eq!(copied[..len], source[..len]);
            assert_eq!(copied[len..], [0; 40][len..]);
            for distance in 0..=source.len() - len {
                let mut moved = source;
                move_up(&mut moved, len, distance);
                let mut expected = source;
                expected[distance..][..len].copy_from_slice(&source[..len]);
                assert_eq!(moved, expected, "{len} bytes by {distance}");
            }
        }
    }

    #[test]
    fn a_length_beyond_16_bits_is_unsound() {
        for bytes in [&[0xFF, 0xFF, 0x04][..], &[0xFF, 0xFF, 0x83, 0x00], &[0x80]] {
            let mut reader = Reader::new(bytes);
            reader.length();
            assert!(!reader.is_sound(), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_told() {
        let mut reader = Reader::new(&[1, 2]);
        assert_eq!((reader.u16(), reader.is_sound()), (0x0201, true));
        assert_eq!((reader.u32(), reader.is_sound()), (0, false));
        assert_eq!((reader.bytes(0), reader.is_sound()), (&[][..], false));
        let mut buf = [0; 3];
        let mut writer = Writer::new(&mut buf);
        writer.u16(7);
        assert!(writer.fits());
        writer.bytes(&[1, 2]);
        assert!(!writer.fits() && writer.written().is_empty() && writer.room() == 0);
    }
}
