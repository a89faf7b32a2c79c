//! The story of a call that was recovered, as an emulated board tells it while it runs: `src/story.rs`, by way of defmt.
//!
//! The board sends numbers; the words that they stand for are not in its memory but in its ELF file.

#![cfg(unix)]

#[path = "../firmware/emulator.rs"]
#[expect(dead_code, reason = "tests/firmware.rs has more boards, and resets and kills them")]
mod emulator;
#[path = "../../examples/firmware/app/src/interface.rs"]
mod interface;

use std::fs;
use std::time::Duration;

use bowline::Config;
use bowline::drivers::tokio::Link;
use bowline::wire::{Deframer, describe, frame_len};
use defmt_decoder::{DecodeError, Table};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use emulator::{Board, Emulator, LM3S};
use interface::{Order, PayOut, Receipt};

/// The firmware with the feature `defmt`.
const TOLD: Board = Board { firmware: "told/lm3s6965evb", ..LM3S };

/// The board says nothing for 0.6 s after its start.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A test that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs qemu-system-arm and a cross compiler"]
fn a_board_tells_how_a_call_was_recovered_whose_answer_was_lost() {
    let (emulator, port) = Emulator::start(TOLD);
    port.set_nonblocking(true).expect("sockets can be looked at");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let lost = runtime.block_on(async {
        let port = UnixStream::from_std(port).expect("it does not block");
        timeout(PATIENCE, pay_out(&emulator, port)).await.expect("nothing hangs")
    });
    let story = story(&emulator);
    println!("The line has lost {lost:?}. The board tells:\n{}", story.join("\n"));

    assert!(matches!(&lost[..], [frame] if frame.contains("RESPONSE 0.1")), "one frame is lost");
    assert_eq!(emulator.ledger().len(), 1, "the coins drop once");
    let mut lines = story.iter();
    for words in
        ["INFO session ", "DEBUG probe: no ack in time, repetition 1 in a row", "TRACE reply 0.1 sent again in packet "]
    {
        assert!(lines.any(|line| line.contains(words)), "no {words:?}, or not in this order");
    }
    assert!(!story.iter().any(|line| line.contains(" ended")), "one session sees it through");
}

/// One call over a line that loses its answer, once; what the line has lost.
async fn pay_out(emulator: &Emulator, board: UnixStream) -> Vec<String> {
    let path = emulator.dir().join("line");
    let listener = UnixListener::bind(&path).expect("the directory is ours");
    let mut lost = Vec::new();
    let line = async {
        let (host, _) = listener.accept().await.expect("the host connects");
        let ((from_host, to_host), (from_board, to_board)) = (host.into_split(), board.into_split());
        let is_lost = |frame: &str| {
            let is_lost = lost.is_empty() && frame.contains("RESPONSE");
            lost.extend(is_lost.then(|| frame.to_owned()));
            is_lost
        };
        tokio::join!(carry(from_host, to_board, |_| false), carry(from_board, to_host, is_lost))
    };
    let client = Link::unix(path).config(Config::from_os()).timeout(TIMEOUT).spawn();
    tokio::select! {
        receipt = client.call::<PayOut>(&Order { number: 1, coins: 3 }) => {
            assert_eq!(receipt, Ok(Ok(Receipt { number: 1, left: 999_997 })));
        }
        _ = line => panic!("the line has ended before the call"),
    }
    lost
}

/// Hands on the frames that are not to be lost.
async fn carry(from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut is_lost: impl FnMut(&str) -> bool) {
    let mut from = BufReader::new(from);
    let mut bytes = Vec::new();
    while from.read_until(0, &mut bytes).await.is_ok_and(|len| len > 0) {
        let mut deframer = Deframer::<{ frame_len(48) }>::new();
        let text = deframer.next_frame(&mut &bytes[..]).map(|frame| describe(frame).to_string());
        if !text.is_some_and(|text| is_lost(&text)) && to.write_all(&bytes).await.is_err() {
            break;
        }
        bytes.clear();
    }
}

/// What the board has told so far: each line with the seconds since its start, and its level.
fn story(emulator: &Emulator) -> Vec<String> {
    let read = |name| fs::read(emulator.dir().join(name)).expect("the file is there from the start");
    let table = Table::parse(&read("firmware")).expect("an ELF file").expect("with the words of defmt");
    let mut decoder = table.new_stream_decoder();
    decoder.received(&read("console"));
    let mut lines = Vec::new();
    loop {
        match decoder.decode() {
            Ok(frame) => lines.push(frame.display(false).to_string()),
            Err(DecodeError::UnexpectedEof) => return lines,
            Err(DecodeError::Malformed) => panic!("not what defmt sends, after {lines:?}"),
        }
    }
}
