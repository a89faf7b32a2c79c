//! Words, numbers and bytes as questions and answers have them.

use crate::{End, Port};

/// The longest word but for bytes.
pub const WORD: usize = 16;

impl Port {
    /// Up to the next space or end of the line.
    pub(crate) fn read_word<'a>(&mut self, word: &'a mut [u8; WORD]) -> &'a [u8] {
        let mut len = 0;
        loop {
            match self.byte() {
                0 | b' ' | b'\n' => return &word[..len],
                byte if len < WORD => word[len] = byte,
                _ => return b"too long",
            }
            len += 1;
        }
    }

    /// A decimal number.
    pub fn read_number(&mut self) -> usize {
        let mut word = [0; WORD];
        let digits = self.read_word(&mut word);
        digits.iter().fold(0, |number: usize, digit| number.wrapping_mul(10).wrapping_add(usize::from(digit - b'0')))
    }

    /// Bytes, hexadecimal.
    pub fn read_bytes<'a>(&mut self, bytes: &'a mut [u8]) -> &'a mut [u8] {
        let (mut len, mut high) = (0, None);
        loop {
            let digit = match self.byte() {
                digit @ b'0'..=b'9' => digit - b'0',
                digit @ b'a'..=b'f' => digit - b'a' + 10,
                _ => return &mut bytes[..len],
            };
            match high.take() {
                None => high = Some(digit),
                Some(high) => {
                    bytes[len] = high << 4 | digit;
                    len += 1;
                }
            }
        }
    }

    /// Hexadecimal, with a space behind.
    pub fn write_bytes(&mut self, bytes: &[u8]) -> Result<(), End> {
        for byte in bytes {
            self.write(&[byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]))?;
        }
        self.write(b" ")
    }

    /// Decimal. What the core library has for it is large.
    pub fn write_number(&mut self, mut number: u32) -> Result<(), End> {
        let mut digits = [0; 10];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return self.write(&digits[start..]);
            }
        }
    }
}
