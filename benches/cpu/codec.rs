//! Frames with COBS and CRC-32C, of 64 and 256 bytes: there and back.

use std::hint::black_box;
use std::time::Instant;

use bowline::wire::Deframer;
use crc::{CRC_32_ISCSI, Crc, Table};

use crate::report::Figure;

const RUNS: usize = 200;
const FRAMES: usize = 2_000;

static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// The fastest of many runs, in nanoseconds a frame.
fn best(mut frame: impl FnMut()) -> f64 {
    let run = |_| {
        let started = Instant::now();
        (0..FRAMES).for_each(|_| frame());
        started.elapsed().as_secs_f64() * 1e9 / FRAMES as f64
    };
    (0..RUNS).map(run).fold(f64::INFINITY, f64::min)
}

/// Data with a zero now and then, as headers and small numbers have them.
fn packet(len: usize) -> Vec<u8> {
    (0..len).map(|at| if at % 23 == 7 { 0 } else { (at * 31 + 1) as u8 }).collect()
}

pub fn figures() -> Vec<Figure> {
    let mut figures = Vec::new();
    for len in [64, 256] {
        let packet = packet(len);
        let mut copy = vec![0; len];
        let nanos = best(|| {
            black_box(&mut copy).copy_from_slice(black_box(&packet));
            black_box(crc32c::crc32c(&copy));
        });
        figures.push(Figure::new("copy + hardware CRC", &format!("{len} bytes, the limit"), nanos));
        let mut buf = vec![0; 600];
        let what = format!("frame of {len} bytes, encoded");
        let nanos = best(|| {
            let frame = black_box(&mut buf);
            frame[1..=len].copy_from_slice(black_box(&packet));
            let check = bowline::wire::plain_check(&frame[1..=len]);
            frame[len + 1..len + 5].copy_from_slice(&check.to_le_bytes());
            black_box(bowline::wire::encode_frame(frame, len + 4));
        });
        figures.push(Figure::new("bowline", &what, nanos));
        let mut data = vec![0; 600];
        let nanos = best(|| {
            let data = black_box(&mut data);
            data[..len].copy_from_slice(black_box(&packet));
            let check = CRC.checksum(&data[..len]);
            data[len..len + 4].copy_from_slice(&check.to_le_bytes());
            let frame = black_box(&mut buf);
            black_box(corncobs::encode_buf(&data[..len + 4], frame));
        });
        figures.push(Figure::new("corncobs + crc", &what, nanos));

        let what = format!("frame of {len} bytes, decoded");
        let mut data = packet.clone();
        data.extend(CRC.checksum(&packet).to_le_bytes());
        let len = corncobs::encode_buf(&data, &mut buf);
        let frame = buf[..len].to_vec();
        let mut deframer = Deframer::<600>::new();
        let nanos = best(|| {
            let packet = deframer.next_frame(&mut black_box(&frame[..])).expect("it is whole");
            let (packet, check) = packet.split_last_chunk::<4>().expect("it is long enough");
            assert_eq!(bowline::wire::plain_check(packet).to_le_bytes(), *check);
        });
        figures.push(Figure::new("bowline", &what, nanos));
        let mut room = vec![0; 600];
        let nanos = best(|| {
            // A stream has to be searched for the delimiter, and collected, as well.
            let frame = black_box(&frame[..]);
            let end = frame.iter().position(|byte| *byte == 0).expect("it is whole");
            room[..=end].copy_from_slice(&frame[..=end]);
            let len = corncobs::decode_in_place(&mut room[..=end]).expect("it is right");
            let (packet, check) = room[..len].split_last_chunk::<4>().expect("it is long enough");
            assert_eq!(CRC.checksum(packet).to_le_bytes(), *check);
        });
        figures.push(Figure::new("corncobs + crc", &what, nanos));
    }
    figures
}
