//! A byte stream in arbitrary portions: the frames and the counters are those that PROTOCOL.md §2 says.
//!
//! Input: the number of cuts, their lengths, which come around again, and the stream.

use bowline::wire::{Deframer, DeframerStats};

use super::wire;

pub fn run(data: &[u8]) {
    let Some((&count, rest)) = data.split_first() else { return };
    let Some((cuts, stream)) = rest.split_at_checked(usize::from(count)) else { return };
    compare::<48>(cuts, stream);
    compare::<300>(cuts, stream);
}

fn compare<const LIMIT: usize>(cuts: &[u8], stream: &[u8]) {
    let (expected, stats) = expected(stream, LIMIT);
    assert_eq!(collected::<LIMIT>(cuts, stream), (expected.clone(), stats), "in portions");
    assert_eq!(collected::<LIMIT>(&[], stream), (expected.clone(), stats), "at once");
    // What was found survives being sent again.
    let again = expected.iter().flat_map(|frame| wire::stuff(frame)).collect::<Vec<_>>();
    let stats = DeframerStats { overlong: 0, malformed: 0 };
    assert_eq!(collected::<LIMIT>(cuts, &again), (expected, stats), "stuffed anew");
}

/// From the whole stream at once.
fn expected(stream: &[u8], limit: usize) -> (Vec<Vec<u8>>, DeframerStats) {
    let mut stats = DeframerStats::default();
    let mut frames = Vec::new();
    let pieces = stream.split(|byte| *byte == 0).collect::<Vec<_>>();
    for (index, piece) in pieces.iter().enumerate() {
        if piece.len() + 1 > limit {
            stats.overlong += 1;
        } else if index + 1 < pieces.len() {
            match wire::unstuff(piece) {
                None => stats.malformed += 1,
                Some(frame) if frame.is_empty() => {}
                Some(frame) => frames.push(frame),
            }
        }
    }
    (frames, stats)
}

fn collected<const LIMIT: usize>(cuts: &[u8], mut stream: &[u8]) -> (Vec<Vec<u8>>, DeframerStats) {
    let mut deframer = Deframer::<LIMIT>::new();
    let mut frames = Vec::new();
    let mut cuts = cuts.iter().cycle();
    while !stream.is_empty() {
        let len = cuts.next().map_or(stream.len(), |cut| usize::from(*cut).clamp(1, stream.len()));
        let (mut portion, rest) = stream.split_at(len);
        stream = rest;
        while let Some(frame) = deframer.next_frame(&mut portion) {
            assert!(frame.len() < LIMIT);
            frames.push(frame.to_vec());
            // Its place belongs to the caller.
            frame.fill(0xA5);
        }
        assert!(portion.is_empty(), "a portion is taken as a whole");
    }
    (frames, deframer.stats())
}
