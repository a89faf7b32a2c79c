//! What is encoded and decoded again is the same, at every layer: frames on a byte stream, values with types, and all that two
//! endpoints say to each other.
//!
//! Input: a byte that says which layer, and what travels.

mod exchange;
mod values;

use arbitrary::{Result, Unstructured};
use bowline::wire::{Deframer, encode_frame};

use super::wire;

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    // Ends when the input ends.
    let _ = match input.arbitrary::<u8>().unwrap_or_default() % 4 {
        0 => frames(&mut input),
        1 => values::carry_all(&mut input),
        _ => exchange::run(&mut input),
    };
}

/// Frames longer than all of these need no further codes.
const LONGEST: usize = 1_100;

/// Any bytes as frames on a byte stream: as §2 has it, as long as was said, and found again.
fn frames(input: &mut Unstructured<'_>) -> Result<()> {
    let mut frames = Vec::new();
    let mut stream = Vec::new();
    while !input.is_empty() && frames.len() < 8 {
        let frame = bytes(input, LONGEST)?;
        let mut buf = vec![0xA5; frame.len() + frame.len().div_ceil(254).max(1) + 1];
        buf[1..=frame.len()].copy_from_slice(&frame);
        let too_short = &mut buf.clone()[..frame.len() + frame.len().div_ceil(254).max(1)];
        let before = too_short.to_vec();
        assert_eq!(encode_frame(too_short, frame.len()), None);
        assert_eq!(too_short, before, "what does not fit is left alone");
        let len = encode_frame(&mut buf, frame.len()).expect("it fits");
        assert_eq!(buf[..len], wire::stuff(&frame));
        stream.extend(&buf[..len]);
        if !frame.is_empty() {
            frames.push(frame);
        }
    }
    let cuts: [u8; 4] = input.arbitrary()?;
    let mut deframer = Deframer::<{ LONGEST + 6 }>::new();
    let mut found = Vec::new();
    each_portion(&stream, &cuts, |mut portion| {
        while let Some(frame) = deframer.next_frame(&mut portion) {
            found.push(frame.to_vec());
        }
    });
    assert_eq!(found, frames);
    Ok(())
}

/// Bytes in few of the input: runs of one byte, or of others than zero. At most so many.
fn bytes(input: &mut Unstructured<'_>, most: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for _ in 0..input.int_in_range(0..=5)? {
        let (len, first): (u8, u8) = input.arbitrary()?;
        match first {
            0..64 => bytes.extend(std::iter::repeat_n(first, len.into())),
            64..192 => bytes.extend((0..len).map(|i| first.wrapping_add(i).max(1))),
            _ => bytes.extend(input.bytes(usize::from(len % 16).min(input.len()))?),
        }
    }
    bytes.truncate(most);
    Ok(bytes)
}

/// The stream in portions of these lengths, which come around again.
fn each_portion(mut stream: &[u8], cuts: &[u8], mut take: impl FnMut(&[u8])) {
    for cut in cuts.iter().cycle() {
        if stream.is_empty() {
            break;
        }
        let (portion, rest) = stream.split_at(usize::from(*cut).clamp(1, stream.len()));
        stream = rest;
        take(portion);
    }
}
