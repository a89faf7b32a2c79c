use std::vec::Vec;

use fastrand::Rng;

use super::*;
use crate::wire::cobs::tests::{ONE_ZERO_IN, encode, random_bytes};

/// What comes out of `input` when it arrives at once.
fn frames<const N: usize>(deframer: &mut Deframer<N>, mut input: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = vec![];
    while let Some(frame) = deframer.next_frame(&mut input) {
        frames.push(frame.to_vec());
    }
    assert!(input.is_empty());
    frames
}

fn dropped(overlong: u32, malformed: u32) -> DeframerStats {
    DeframerStats { overlong, malformed }
}

#[test]
fn random_data_of_every_length_come_back() {
    let mut random = Rng::with_seed(3);
    let mut deframer = Deframer::<1200>::new();
    for len in 1..=1100 {
        for one_zero_in in ONE_ZERO_IN {
            let data = random_bytes(&mut random, len, one_zero_in);
            assert_eq!(frames(&mut deframer, &encode(&data)), [data]);
        }
    }
    assert_eq!(deframer.stats(), dropped(0, 0));
}

#[test]
fn what_the_cobs_crate_encodes_is_decoded() {
    let mut random = Rng::with_seed(4);
    let mut deframer = Deframer::<1200>::new();
    for len in 1..=1100 {
        for one_zero_in in ONE_ZERO_IN {
            let data = random_bytes(&mut random, len, one_zero_in);
            let mut frame = vec![0; cobs::max_encoding_length(len) + 2];
            let frame_len = cobs::encode_including_sentinels(&data, &mut frame);
            assert_eq!(frames(&mut deframer, &frame[..frame_len]), [data]);
        }
    }
}

#[test]
fn a_stream_may_be_cut_anywhere() {
    let mut random = Rng::with_seed(5);
    for round in 0..300 {
        let lens = [(); 8].map(|()| random.usize(1..=600));
        let sent = lens.map(|len| random_bytes(&mut random, len, 300));
        let stream = sent.iter().map(|data| encode(data)).collect::<Vec<_>>().concat();
        let mut deframer = Deframer::<700>::new();
        let mut received = vec![];
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let longest = if round % 3 == 0 { 1 } else { 400 };
            let (chunk, behind) = rest.split_at(random.usize(1..=longest).min(rest.len()));
            received.extend(frames(&mut deframer, chunk));
            rest = behind;
        }
        assert_eq!(received, sent);
        assert_eq!(deframer.stats(), dropped(0, 0));
    }
}

#[test]
fn a_frame_is_found_behind_any_garbage_that_a_delimiter_ends() {
    let mut random = Rng::with_seed(6);
    let mut deframer = Deframer::<64>::new();
    for _ in 0..3000 {
        let len = random.usize(..200);
        let mut stream = random_bytes(&mut random, len, 40);
        stream.push(0);
        stream.extend(encode(b"found"));
        assert_eq!(frames(&mut deframer, &stream).last().unwrap(), b"found");
    }
    assert!(deframer.stats().overlong > 0 && deframer.stats().malformed > 0);
}

#[test]
fn the_largest_frame_is_taken_and_of_a_larger_one_nothing() {
    fn check<const N: usize>() {
        for len in 1..=3 * N {
            for one_zero_in in ONE_ZERO_IN {
                let data = random_bytes(&mut Rng::with_seed(len as u64), len, one_zero_in);
                let frame = encode(&data);
                let fits = frame.len() <= N;
                let mut deframer = Deframer::<N>::new();
                let received = frames(&mut deframer, &[&frame[..], &[2, 7, 0]].concat());
                let expected = [data, vec![7]];
                assert_eq!(received, if fits { &expected[..] } else { &expected[1..] });
                assert_eq!(deframer.stats(), dropped((!fits).into(), 0));
            }
        }
    }
    check::<3>();
    check::<48>();
    check::<255>();
    check::<256>();
    check::<257>();
    check::<512>();
}

#[test]
fn the_tail_of_a_frame_that_is_too_large_is_not_taken_for_one_in_whatever_portions_it_comes() {
    let stream = encode(&[7; 100]);
    for portion in 1..=stream.len() {
        let mut deframer = Deframer::<48>::new();
        let received: Vec<_> = stream.chunks(portion).flat_map(|chunk| frames(&mut deframer, chunk)).collect();
        assert!(received.is_empty());
        assert_eq!(deframer.stats(), dropped(1, 0), "{portion}");
    }
}

#[test]
fn small_machines_take_a_stream_apart_in_the_same_way() {
    let mut random = Rng::with_seed(8);
    let (mut deframer, mut small) = (Deframer::<48>::new(), Deframer::<48>::new());
    for round in 0..6000 {
        let len = random.usize(..200);
        // Codes as they come, or so small that most frames are well-formed.
        let mut stream = random_bytes(&mut random, len, 40);
        if round % 2 == 0 {
            stream.iter_mut().for_each(|byte| *byte %= 6);
        }
        let mut received = vec![];
        let mut input = &stream[..];
        while let Some(len) = small.collector.next_frame_bytewise(&mut small.buffer[..47], &mut input) {
            received.push(small.buffer[1..=len].to_vec());
        }
        assert_eq!(received, frames(&mut deframer, &stream));
        assert_eq!(small.stats(), deframer.stats());
    }
    assert!(deframer.stats().overlong > 0 && deframer.stats().malformed > 0);
}

#[test]
fn a_code_that_points_past_the_end_drops_the_frame() {
    let mut deframer = Deframer::<64>::new();
    assert_eq!(frames(&mut deframer, &[0x04, 0x11, 0x22, 0x00, 0x02, 0x33, 0x00]), [[0x33]]);
    assert_eq!(frames(&mut deframer, &[0x02, 0x11, 0x02, 0x00, 0x02, 0x33, 0x00]), [[0x33]]);
    assert_eq!(deframer.stats(), dropped(0, 2));
}

#[test]
fn frames_without_content_are_skipped_and_not_counted() {
    let mut deframer = Deframer::<64>::new();
    assert_eq!(frames(&mut deframer, &[0, 0, 1, 0, 2, 5, 0, 0, 0]), [[5]]);
    assert_eq!(deframer.stats(), dropped(0, 0));
}

#[test]
fn an_empty_piece_behind_a_full_last_one_is_accepted() {
    let data = vec![9; 254];
    let mut stream = vec![0xFF];
    stream.extend(&data);
    let plain = [&stream[..], &[0]].concat();
    let with_empty_piece = [&stream[..], &[1, 0]].concat();
    let mut deframer = Deframer::<257>::new();
    assert_eq!(frames(&mut deframer, &plain), [&data[..]]);
    assert_eq!(frames(&mut deframer, &with_empty_piece), [&data[..]]);
    assert_eq!(deframer.stats(), dropped(0, 0));
}

#[test]
fn a_zero_at_the_end_of_the_data_is_kept() {
    let mut deframer = Deframer::<64>::new();
    assert_eq!(frames(&mut deframer, &[0x02, 0x11, 0x01, 0x00]), [[0x11, 0x00]]);
    assert_eq!(frames(&mut deframer, &[0x01, 0x01, 0x00]), [[0x00]]);
}

#[test]
fn a_corrupt_byte_never_yields_more_than_was_on_the_line_and_spoils_only_its_frame() {
    let mut random = Rng::with_seed(7);
    let frame = encode(&random_bytes(&mut random, 600, 100));
    let sound = [&frame[..], &encode(b"next")].concat();
    for at in 0..sound.len() {
        for value in 0..=255 {
            let mut stream = sound.clone();
            stream[at] = value;
            let received = frames(&mut Deframer::<620>::new(), &stream);
            // Each frame costs a code and a delimiter.
            assert!(received.iter().map(|frame| frame.len() + 2).sum::<usize>() <= stream.len());
            let is_before_delimiter = at < frame.len() - 1;
            assert!(!is_before_delimiter || received.last().unwrap() == b"next");
        }
    }
}

#[test]
fn a_deframer_of_no_size_drops_everything() {
    assert!(frames(&mut Deframer::<0>::new(), &[2, 5, 0, 0]).is_empty());
    assert!(frames(&mut Deframer::<2>::default(), &[2, 5, 0, 0]).is_empty());
}

#[test]
fn counters_do_not_wrap() {
    let mut deframer = Deframer::<8>::new();
    deframer.collector.stats = dropped(u32::MAX, u32::MAX);
    frames(&mut deframer, &[9, 1, 1, 1, 1, 1, 1, 1, 1, 0, 3, 1, 0]);
    assert_eq!(deframer.stats(), dropped(u32::MAX, u32::MAX));
}

#[test]
#[cfg(feature = "blocking")]
fn half_a_frame_can_be_forgotten() {
    let mut deframer = Deframer::<16>::new();
    assert_eq!(frames(&mut deframer, &[5, 1, 2]), [[]; 0]);
    deframer.reset();
    assert_eq!(frames(&mut deframer, &[3, 7, 8, 0]), [[7, 8]]);
    assert_eq!(deframer.stats(), dropped(0, 0));
}
