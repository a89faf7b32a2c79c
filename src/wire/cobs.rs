//! Consistent Overhead Byte Stuffing, in place (`PROTOCOL.md §2`).
//!
//! Codes stand where zeros were, so both directions leave nearly all bytes where they are. Only a
//! full piece, whose code stands for no zero, moves what follows it by one.

use core::cell::Cell;
use core::iter;
use core::num::NonZeroU8;

use super::buffer::move_up;

/// The most data bytes in one piece. Its code is 0xFF, and it stands for no zero.
const MAX_PIECE: usize = 254;

/// Zeros are looked for a word at a time; byte by byte where code is dear and frames are short.
type Word = u64;

pub(super) const WORD_LEN: usize = size_of::<Word>();
const BLOCK_LEN: usize = 32;
pub(super) const IS_WORDWISE: bool = cfg!(target_pointer_width = "64");

/// The most bytes that COBS adds to `len` bytes of data, without the delimiter: ⌈`len` / 254⌉, but
/// 1 for no data.
pub const fn overhead(len: usize) -> usize {
    if len == 0 { 1 } else { len.div_ceil(MAX_PIECE) }
}

/// Encodes a frame for a byte stream in place: `buf[1..=len]` becomes `buf[..n]`, COBS and delimiter included, and `n` is
/// returned. The counterpart of [`Deframer`](super::Deframer).
///
/// `None`, and an unchanged `buf`, when that is too short: it must hold ⌈`len` / 254⌉ + 1 bytes more than the data, or
/// two more if there are none.
///
/// ```
/// let mut buf = [0, 0x11, 0x22, 0x00, 0x33, 0, 0];
/// assert_eq!(bowline::wire::encode_frame(&mut buf, 4), Some(6));
/// assert_eq!(buf[..6], [0x03, 0x11, 0x22, 0x02, 0x33, 0x00]);
/// ```
pub fn encode_frame(buf: &mut [u8], len: usize) -> Option<usize> {
    encode_in_place::<true>(buf, len)
}

/// Encodes `buf[1..=len]` and returns `n`, such that `buf[..n]` is the frame with its delimiter.
///
/// `None`, and an unchanged `buf`, when that is shorter than `len + overhead(len) + 1`: the most
/// that data of this length can need, whether or not these do. `None` also for 254 bytes or more without a zero, if not
/// `HAS_LONG_RUNS`: then a part of `buf` has changed.
pub(crate) fn encode_in_place<const HAS_LONG_RUNS: bool>(buf: &mut [u8], len: usize) -> Option<usize> {
    let max = len.checked_add(if HAS_LONG_RUNS { overhead(len) } else { 1 })?.checked_add(1)?;
    let frame = buf.get_mut(..max)?;
    let inserted = match encode_short_runs(frame.get_mut(..=len)?) {
        Ok(()) => 0,
        Err(code) if HAS_LONG_RUNS => encode_long_runs(frame.get_mut(code..)?, len.checked_sub(code)?)?,
        Err(_) => return None,
    };
    let end = len.checked_add(inserted)?.checked_add(1)?;
    *frame.get_mut(end)? = 0;
    end.checked_add(1)
}

/// Turns `frame[0]` and each zero behind it into the code of the piece that follows.
///
/// Stops at the first run that needs a further code and returns where its first code belongs; what
/// stands before that is done.
fn encode_short_runs(frame: &mut [u8]) -> Result<(), usize> {
    let mut code = 0;
    let mut base = 1_usize;
    while IS_WORDWISE && let Some(word) = frame.get(base..).and_then(<[u8]>::first_chunk) {
        let mut zeros = Zeros::of_word(*word);
        while let Some(offset) = zeros.first() {
            let zero = base.wrapping_add(offset);
            set_code(frame, code, zero, MAX_PIECE)?;
            code = zero;
            zeros.forget_first();
        }
        base = base.wrapping_add(WORD_LEN);
    }
    while let Some(byte) = frame.get(base) {
        if *byte == 0 {
            set_code(frame, code, base, MAX_PIECE)?;
            code = base;
        }
        base = base.wrapping_add(1);
    }
    // A full piece at the very end needs no code behind it: the zero that it would stand for is
    // not data.
    set_code(frame, code, frame.len(), MAX_PIECE.wrapping_add(1))
}

/// Writes the code of a piece, which is its distance to the next; `Err(code)` if it is above `max`.
#[inline(always)]
fn set_code(frame: &mut [u8], code: usize, next: usize, max: usize) -> Result<(), usize> {
    let distance = next.wrapping_sub(code);
    match frame.get_mut(code) {
        Some(byte) if distance <= max => *byte = distance as u8,
        _ => return Err(code),
    }
    Ok(())
}

/// Encodes `frame[1..=len]` with runs of any length and returns how many codes were inserted.
///
/// It begins with the last piece, so that each byte moves once, straight to its place.
fn encode_long_runs(frame: &mut [u8], len: usize) -> Option<usize> {
    let (first, data) = frame.get_mut(..=len)?.split_first_mut()?;
    // Here the search for the last zero ends.
    *first = 0;
    let inserted = inserted_codes(data)?;
    let mut from = len.checked_add(1)?;
    let mut to = from.checked_add(inserted)?;
    // A run that ends with a zero ends with a piece that stands for it, so with one that is not
    // full. At the end of the data it may be full.
    let mut full_at_end = 1;
    while let Some(zero) = last_zero(frame.get(..from)?) {
        let run = from.checked_sub(zero)?.checked_sub(1)?;
        let full = run.saturating_sub(full_at_end) / MAX_PIECE;
        full_at_end = 0;
        let rest = run.checked_sub(full.checked_mul(MAX_PIECE)?)?;
        for piece in iter::once(rest).chain(iter::repeat_n(MAX_PIECE, full)) {
            let shift = to.checked_sub(from)?;
            from = from.checked_sub(piece)?;
            to = to.checked_sub(piece)?.checked_sub(1)?;
            move_up(frame.get_mut(from..)?, piece, shift);
            *frame.get_mut(to)? = piece.wrapping_add(1) as u8;
        }
        from = zero;
    }
    Some(inserted)
}

/// How many codes `data` needs besides the first and those that take the place of a zero.
fn inserted_codes(mut data: &[u8]) -> Option<usize> {
    let mut inserted = 0_usize;
    while let Some(run) = first_zero(data) {
        inserted = inserted.checked_add(run / MAX_PIECE)?;
        data = data.get(run.checked_add(1)?..)?;
    }
    inserted.checked_add(data.len().saturating_sub(1) / MAX_PIECE)
}

/// Decodes the frame at the front of `input` on its way into `room`, a word at a time, and returns `end`: the data are
/// `room[1..end]`, the delimiter is `input[end]`.
///
/// `None` for what takes more than that: a frame that is not there as a whole, is malformed, has a full piece, or fills
/// `room` to its last word. Then what is in `room` has changed.
pub(super) fn decode_whole(input: &[u8], room: &mut [u8]) -> Option<usize> {
    let (words, rest) = input.as_chunks();
    let (places, _) = room.as_chunks_mut();
    // Where the next code is, in bits behind the beginning of the word.
    let mut code_at = 0;
    for (index, (word, place)) in words.iter().zip(&mut *places).enumerate() {
        let end = decode_word(Word::from_le_bytes(*word), place, &mut code_at)?;
        if end < Word::BITS {
            return (code_at == end).then_some(index.wrapping_mul(WORD_LEN).wrapping_add(end as usize / 8));
        }
        code_at = code_at.wrapping_sub(Word::BITS);
    }
    // The rest, filled up with what is not zero.
    let missing = 8 * WORD_LEN.wrapping_sub(rest.len()) as u32;
    let word = !(!Word::from_le_bytes(*input.last_chunk()?)).checked_shr(missing).unwrap_or(0);
    let end = decode_word(word, places.get_mut(words.len())?, &mut code_at)?;
    (code_at == end && end < Word::BITS).then_some(words.len().wrapping_mul(WORD_LEN).wrapping_add(end as usize / 8))
}

/// Puts `word` into its place with zeros for codes, of which the first is `code_at` bits behind its beginning, and
/// returns how far the delimiter is, or all bits of a word if there is none. `None` for a full piece.
#[inline(always)]
fn decode_word(word: Word, place: &mut [u8; WORD_LEN], code_at: &mut u32) -> Option<u32> {
    let end = first_zero_bit(word);
    let mut decoded = word;
    while *code_at < end {
        let code = (word >> *code_at) as u8;
        if code == u8::MAX {
            return None;
        }
        decoded ^= Word::from(code) << *code_at;
        *code_at = code_at.wrapping_add(8 * u32::from(code));
    }
    *place = decoded.to_le_bytes();
    Some(end)
}

/// Decodes `frame`, given without its delimiter, and returns `len`: the data are `frame[1..=len]`.
///
/// `None` when a code points past the end.
pub(super) fn decode_in_place(frame: &mut [u8]) -> Option<usize> {
    let mut at = 0_usize;
    // The full pieces so far, and so the distance by which data have to move.
    let mut removed = 0_usize;
    let mut code = NonZeroU8::new(*frame.first()?)?;
    loop {
        let next = at.checked_add(usize::from(code.get()))?;
        if removed > 0 {
            let start = at.checked_add(1)?.checked_sub(removed)?;
            move_down(frame.get_mut(start..next.min(frame.len()))?, removed);
        }
        let end = next.checked_sub(removed)?;
        if next == frame.len() {
            return end.checked_sub(1);
        }
        let next_code = NonZeroU8::new(*frame.get(next)?)?;
        if code == NonZeroU8::MAX {
            removed = removed.checked_add(1)?;
        } else {
            *frame.get_mut(end)? = 0;
        }
        (at, code) = (next, next_code);
    }
}

/// Moves all bytes but the first `distance` ones to the beginning.
fn move_down(bytes: &mut [u8], distance: usize) {
    let cells = Cell::from_mut(bytes).as_slice_of_cells();
    for (to, from) in cells.iter().zip(cells.get(distance..).unwrap_or_default()) {
        to.set(from.get());
    }
}

/// Where the first zero of `data` is.
pub(super) fn first_zero(data: &[u8]) -> Option<usize> {
    if !IS_WORDWISE {
        return data.iter().position(|byte| *byte == 0);
    }
    // Blocks first: the least of their bytes is found by vector instructions.
    let (blocks, _) = data.as_chunks::<BLOCK_LEN>();
    let has_no_zero = |block: &&[u8; BLOCK_LEN]| block.iter().fold(u8::MAX, |least, byte| least.min(*byte)) > 0;
    let clean = blocks.iter().take_while(has_no_zero).count().wrapping_mul(BLOCK_LEN);
    let (words, _) = data.get(clean..)?.as_chunks();
    let words = words.iter().take_while(|word| Zeros::of_word(**word).is_empty()).count();
    let start = words.wrapping_mul(WORD_LEN).wrapping_add(clean);
    Zeros::of(data.get(start..)?).first()?.checked_add(start)
}

/// Where the last zero of `data` is.
fn last_zero(data: &[u8]) -> Option<usize> {
    if !IS_WORDWISE {
        return data.iter().rposition(|byte| *byte == 0);
    }
    let (_, words) = data.as_rchunks();
    let clean = words.iter().rev().take_while(|word| Zeros::of_word(**word).is_empty()).count();
    let end = data.len().wrapping_sub(clean.wrapping_mul(WORD_LEN));
    let start = end.saturating_sub(WORD_LEN);
    Zeros::of(data.get(start..end)?).last()?.checked_add(start)
}

/// Where the first byte of a word begins that is zero, in bits; all bits of a word if there is none.
#[inline(always)]
fn first_zero_bit(word: Word) -> u32 {
    const ONES: Word = Word::MAX / 255;
    // Behind the first one, ones may be taken for zeros; that takes an instruction less than to find them all.
    (word.wrapping_sub(ONES) & !word & (ONES << 7)).trailing_zeros() & !7
}

/// The zeros among the first [`WORD_LEN`] bytes of a slice: of each the highest bit, the first byte
/// being the lowest.
struct Zeros(Word);

impl Zeros {
    #[inline(always)]
    fn of(bytes: &[u8]) -> Self {
        Self::of_word(match bytes.first_chunk() {
            Some(word) => *word,
            None => padded(bytes),
        })
    }

    #[inline(always)]
    fn of_word(word: [u8; WORD_LEN]) -> Self {
        const LOW_BITS: Word = Word::MAX / 255 * 0x7F;
        let word = Word::from_le_bytes(word);
        // The sum does not carry from one byte into the next, so no zero hides or feigns another.
        Self(!((word & LOW_BITS).wrapping_add(LOW_BITS) | word | LOW_BITS))
    }

    #[inline(always)]
    fn is_empty(&self) -> bool {
        self.0 == 0
    }

    #[inline(always)]
    fn first(&self) -> Option<usize> {
        (!self.is_empty()).then(|| self.0.trailing_zeros() as usize / 8)
    }

    #[inline(always)]
    fn forget_first(&mut self) {
        self.0 &= self.0.wrapping_sub(1);
    }

    #[inline(always)]
    fn last(&self) -> Option<usize> {
        self.0.checked_ilog2().map(|bit| bit as usize / 8)
    }
}

/// Less than a word, filled up with what is not zero.
#[cfg_attr(not(feature = "speed"), inline(never))]
fn padded(bytes: &[u8]) -> [u8; WORD_LEN] {
    let mut word = [0xFF; WORD_LEN];
    for (to, from) in word.iter_mut().zip(bytes) {
        *to = *from;
    }
    word
}

#[cfg(test)]
pub(super) mod tests;
