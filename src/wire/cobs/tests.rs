use std::vec::Vec;

use fastrand::Rng;

use super::*;

/// `len` bytes of which one in `one_zero_in` is zero.
pub(in crate::wire) fn random_bytes(random: &mut Rng, len: usize, one_zero_in: usize) -> Vec<u8> {
    (0..len).map(|_| if random.usize(..one_zero_in) == 0 { 0 } else { random.u8(1..) }).collect()
}

/// From nothing but zeros to hardly any.
pub(in crate::wire) const ONE_ZERO_IN: [usize; 6] = [1, 2, 8, 100, 500, 1 << 30];

/// The frame of `data` with its delimiter.
pub(in crate::wire) fn encode(data: &[u8]) -> Vec<u8> {
    // Just large enough, and full of what must not show.
    let mut buf = vec![0xEE; data.len() + overhead(data.len()) + 1];
    buf[1..=data.len()].copy_from_slice(data);
    let len = encode_in_place::<true>(&mut buf, data.len()).unwrap();
    buf.truncate(len);
    buf
}

/// Cheshire and Baker's algorithm in the order of their paper: a piece ends at a zero, at 254 bytes, or with the
/// data.
fn encode_by_the_book(data: &[u8]) -> Vec<u8> {
    let mut frame = vec![];
    let mut rest = data;
    loop {
        let max = &rest[..rest.len().min(MAX_PIECE)];
        let piece = max.split(|byte| *byte == 0).next().unwrap();
        frame.push(piece.len() as u8 + 1);
        frame.extend_from_slice(piece);
        rest = &rest[piece.len()..];
        match rest.split_first() {
            None => break,
            Some((0, behind)) if piece.len() < MAX_PIECE => rest = behind,
            Some(_) => {}
        }
    }
    frame.push(0);
    frame
}

fn assert_encoding(data: &[u8]) {
    let frame = encode(data);
    assert_eq!(frame, encode_by_the_book(data), "{data:02x?}");
    assert!(frame.len() <= data.len() + overhead(data.len()) + 1, "{data:02x?}");
    let (content, delimiter) = frame.split_at(frame.len() - 1);
    assert_eq!(delimiter, [0]);
    assert!(!content.contains(&0), "{data:02x?}");
    let mut decoded = vec![0; content.len()];
    let report = cobs::decode(&frame, &mut decoded).unwrap();
    assert_eq!(decoded[..report.frame_size()], *data, "{data:02x?}");
}

#[test]
fn random_data_of_every_length_are_encoded_as_by_the_book_and_decoded_by_the_cobs_crate() {
    let mut random = Rng::with_seed(1);
    for len in 0..=1100 {
        for one_zero_in in ONE_ZERO_IN {
            assert_encoding(&random_bytes(&mut random, len, one_zero_in));
        }
    }
}

#[test]
fn runs_around_each_multiple_of_254_are_encoded_right_wherever_they_stand() {
    let lens = [0, 1, 7, 8, 9, 253, 254, 255, 256, 507, 508, 509, 762, 763];
    for before in lens {
        for run in lens {
            for behind in [0, 1, 253, 254, 255, 508] {
                let runs = [vec![0xAA; before], vec![0xBB; run], vec![0xCC; behind]];
                assert_encoding(&runs.join(&0));
            }
        }
    }
}

#[test]
fn data_without_a_full_run_do_not_move() {
    let mut random = Rng::with_seed(2);
    for len in 0..MAX_PIECE {
        let data = random_bytes(&mut random, len, 8);
        let frame = encode(&data);
        assert_eq!(frame.len(), len + 2);
        for (encoded, plain) in frame[1..].iter().zip(&data) {
            assert!(encoded == plain || *plain == 0);
        }
    }
}

#[test]
fn a_buffer_without_room_for_the_worst_case_is_refused_and_left_alone() {
    for len in [0, 1, 253, 254, 255, 508, 509] {
        for room in 0..=len + overhead(len) {
            let mut buf: Vec<u8> = (0..room).map(|i| i as u8).collect();
            let before = buf.clone();
            assert_eq!(encode_in_place::<true>(&mut buf, len), None);
            assert_eq!(buf, before);
        }
    }
    assert_eq!(encode_in_place::<true>(&mut [0; 64], usize::MAX), None);
}

#[test]
fn bytes_behind_the_frame_are_left_alone() {
    let mut buf = [0xEE; 600];
    assert_eq!(encode_in_place::<true>(&mut buf, 509), Some(513));
    assert_eq!(buf[513..], [0xEE; 600 - 513]);
}

#[test]
fn zeros_are_found_at_every_place() {
    for len in 0..40 {
        let mut data = vec![1; len];
        assert_eq!((first_zero(&data), last_zero(&data)), (None, None));
        for i in 0..len {
            // Ones, since a careless search takes a one behind a zero for another zero.
            data.fill(1);
            data[i] = 0;
            assert_eq!((first_zero(&data), last_zero(&data)), (Some(i), Some(i)));
            data[i / 2] = 0;
            assert_eq!((first_zero(&data), last_zero(&data)), (Some(i / 2), Some(i)));
        }
    }
}

#[test]
fn the_public_encoder_needs_the_room_that_it_says_and_no_more() {
    for (len, room) in [(0, 2), (1, 3), (253, 255), (254, 256), (255, 258), (508, 511)] {
        let mut buf: Vec<u8> = (0..room).map(|at| at as u8).collect();
        let expected = encode(&buf[1..=len]);
        let before = buf.clone();
        assert_eq!(encode_frame(&mut buf[..room - 1], len), None, "{len}");
        assert_eq!(buf, before, "{len}");
        let written = encode_frame(&mut buf, len).unwrap();
        assert_eq!(buf[..written], expected, "{len}");
    }
}

#[test]
fn a_long_run_is_refused_where_there_is_no_code_for_it() {
    let mut buf = [0xEE; 300];
    assert_eq!(encode_in_place::<false>(&mut buf, MAX_PIECE), Some(MAX_PIECE + 2));
    let mut buf = [0xEE; 300];
    assert_eq!(encode_in_place::<false>(&mut buf, MAX_PIECE + 1), None);
}
