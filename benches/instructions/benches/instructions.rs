//! Each path is run twice, the second time twice as long: what it takes more is what it costs, without all that is done once.
//! `count.py` subtracts.

use std::hint::black_box;

use bowline::wire::{Deframer, encode_frame, plain_check};
use bowline_instructions::exchange::Load;
use bowline_instructions::{exchanges, exchanges_lent, messages};
use gungraun::{library_benchmark, library_benchmark_group, main};

#[library_benchmark]
#[bench::call_1000(Load::Call, 1_000)]
#[bench::call_2000(Load::Call, 2_000)]
#[bench::calls_1000(Load::Calls, 1_000)]
#[bench::calls_2000(Load::Calls, 2_000)]
#[bench::bulk_1000(Load::Bulk, 1_000)]
#[bench::bulk_2000(Load::Bulk, 2_000)]
fn exchange(load: Load, count: usize) {
    exchanges(load, count);
}

#[library_benchmark]
#[bench::call_1000(Load::Call, 1_000)]
#[bench::call_2000(Load::Call, 2_000)]
#[bench::calls_1000(Load::Calls, 1_000)]
#[bench::calls_2000(Load::Calls, 2_000)]
#[bench::bulk_1000(Load::Bulk, 1_000)]
#[bench::bulk_2000(Load::Bulk, 2_000)]
fn lent(load: Load, count: usize) {
    exchanges_lent(load, count);
}

#[library_benchmark]
#[bench::window_8_2000(8, 2_000)]
#[bench::window_8_4000(8, 4_000)]
#[bench::window_64_2000(64, 2_000)]
#[bench::window_64_4000(64, 4_000)]
#[bench::window_512_2000(512, 2_000)]
#[bench::window_512_4000(512, 4_000)]
#[bench::window_4096_16000(4_096, 16_000)]
#[bench::window_4096_32000(4_096, 32_000)]
#[bench::window_20000_80000(20_000, 80_000)]
#[bench::window_20000_160000(20_000, 160_000)]
fn message(window: usize, count: usize) {
    messages(window, count);
}

/// Data with a zero now and then, as headers and small numbers have them.
fn packet(len: usize) -> Vec<u8> {
    (0..len).map(|at| if at % 23 == 7 { 0 } else { (at * 31 + 1) as u8 }).collect()
}

#[library_benchmark]
#[bench::encode_64_100(64, 100)]
#[bench::encode_64_200(64, 200)]
#[bench::encode_256_100(256, 100)]
#[bench::encode_256_200(256, 200)]
fn encode(len: usize, count: usize) {
    let (packet, mut buf) = (packet(len), vec![0; 600]);
    for _ in 0..count {
        let frame = black_box(&mut buf);
        frame[1..=len].copy_from_slice(black_box(&packet));
        let check = plain_check(&frame[1..=len]);
        frame[len + 1..len + 5].copy_from_slice(&check.to_le_bytes());
        black_box(encode_frame(frame, len + 4));
    }
}

#[library_benchmark]
#[bench::decode_64_100(64, 100)]
#[bench::decode_64_200(64, 200)]
#[bench::decode_256_100(256, 100)]
#[bench::decode_256_200(256, 200)]
fn decode(len: usize, count: usize) {
    let mut buf = vec![0; 600];
    buf[1..=len].copy_from_slice(&packet(len));
    let check = plain_check(&buf[1..=len]);
    buf[len + 1..len + 5].copy_from_slice(&check.to_le_bytes());
    let end = encode_frame(&mut buf, len + 4).expect("it fits");
    let mut frames = Deframer::<600>::new();
    for _ in 0..count {
        let mut bytes = black_box(&buf[..end]);
        let frame = frames.next_frame(&mut bytes).expect("a frame");
        black_box(plain_check(&frame[..len]));
    }
}

library_benchmark_group!(name = paths, benchmarks = [exchange, lent, message, encode, decode]);
main!(library_benchmark_groups = paths);
