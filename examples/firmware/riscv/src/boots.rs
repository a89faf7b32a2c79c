//! Counts the starts of the board, in flash.
//!
//! Each start takes the first word of a block that is still erased: its place is the count. So nothing is ever erased, a
//! start that is cut short takes a word or does not, and a count that was used once is never used again.

use crate::machine::{read, write};

/// The second of the machine's two flash chips, which are two of 16 bits side by side: each command is said to both.
const FLASH: usize = 0x2200_0000;
/// Words in its first block.
const WORDS: u32 = 65_536;

const ERASED: u32 = 0xFFFF_FFFF;
const TAKEN: u32 = 0;

const PROGRAM: u32 = 0x0040_0040;
const READ_ARRAY: u32 = 0x00FF_00FF;
const READY: u32 = 0x0080_0080;

/// Counts this start, from 1.
///
/// # Panics
///
/// When the block is full or does not take the word: it is better not to start than to be taken for an earlier life.
pub fn count() -> u32 {
    let Some(free) = (0..WORDS).find(|word| read(address(*word)) == ERASED) else {
        panic!("the board has started as often as it can be counted")
    };
    write(address(free), PROGRAM);
    write(address(free), TAKEN);
    while read(address(free)) & READY != READY {}
    write(address(free), READ_ARRAY);
    assert_eq!(read(address(free)), TAKEN, "the flash has not kept the count");
    free + 1
}

fn address(word: u32) -> usize {
    FLASH + word as usize * 4
}
