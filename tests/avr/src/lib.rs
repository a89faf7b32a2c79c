//! What the programs share: where questions come from and answers go to, on an ATmega1280 its serial port, on the host the standard
//! input and output.

#![cfg_attr(target_arch = "avr", no_std)]

#[cfg_attr(target_arch = "avr", path = "board.rs")]
#[cfg_attr(not(target_arch = "avr"), path = "host.rs")]
mod port;
mod words;

pub use port::Port;

/// There are no more questions.
#[derive(Debug)]
pub struct End;

/// Answers each question, which begins with a word, until there are no more.
pub fn answer_all(mut answer: impl FnMut(&mut Port, &[u8]) -> Result<(), End>) {
    let mut port = Port::open();
    loop {
        let mut word = [0; words::WORD];
        let question = port.read_word(&mut word);
        if question.is_empty() || answer(&mut port, question).is_err() {
            return;
        }
    }
}
