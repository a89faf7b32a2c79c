//! A second reading of PROTOCOL.md §13: payloads are read by the text of their schema alone, and keys are made of it.

/// A message as the table of §13 has it: what is sent, and what is answered (nothing if it is one-way).
#[derive(Clone, Copy, Debug)]
pub struct Declared {
    pub kind: u8,
    pub name: &'static str,
    pub sent: &'static str,
    pub answered: &'static str,
}

impl Declared {
    /// §13.2
    pub fn hash(&self) -> u32 {
        let parts = [&[self.kind], self.name.as_bytes(), &[0], self.sent.as_bytes(), self.answered.as_bytes()];
        parts.concat().iter().fold(0x811C_9DC5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
    }

    pub fn key(&self) -> u16 {
        (self.hash() >> 16) as u16 ^ self.hash() as u16
    }
}

/// §13.3
pub fn digest(declared: &[Declared]) -> u32 {
    declared.iter().fold(0, |sum: u32, message| sum.wrapping_add(message.hash())).max(1)
}

/// The payload in the fewest bytes, which stand for its value; `None` if it does not hold exactly one value.
pub fn canonical(schema: &str, payload: &[u8]) -> Option<Vec<u8>> {
    let mut reading = Reading { schema: schema.as_bytes(), payload, written: Vec::new() };
    reading.value()?;
    assert!(reading.schema.is_empty(), "a schema is one type: {schema}");
    reading.payload.is_empty().then_some(reading.written)
}

/// Reads a payload along its schema.
struct Reading<'a> {
    schema: &'a [u8],
    payload: &'a [u8],
    written: Vec<u8>,
}

impl Reading<'_> {
    fn value(&mut self) -> Option<()> {
        match self.letter() {
            b'b' => {
                let byte = self.byte()?;
                (byte <= 1).then(|| self.written.push(byte))
            }
            b'C' | b'c' => self.bytes(1),
            b'H' | b'h' => self.varint(16).map(drop),
            b'I' | b'i' => self.varint(32).map(drop),
            b'Q' | b'q' => self.varint(64).map(drop),
            b'O' | b'o' => self.varint(128).map(drop),
            b'N' | b'n' => self.varint(usize::BITS).map(drop),
            b'f' => self.bytes(4),
            b'd' => self.bytes(8),
            b'r' => {
                let text = self.text()?;
                (text.chars().count() == 1).then_some(())
            }
            b's' => self.text().map(drop),
            b'u' => Some(()),
            b'?' => {
                let byte = self.byte()?;
                self.written.push(byte);
                match byte {
                    0 => self.skip(),
                    1 => self.value()?,
                    _ => return None,
                }
                Some(())
            }
            b'*' => {
                let item = self.schema;
                for _ in 0..self.varint(usize::BITS)? {
                    self.schema = item;
                    self.value()?;
                }
                self.schema = item;
                self.skip();
                Some(())
            }
            b'(' => {
                while !self.ends_with(b')') {
                    self.value()?;
                }
                Some(())
            }
            b'{' => {
                while !self.ends_with(b'}') {
                    self.name();
                    self.value()?;
                }
                Some(())
            }
            b'<' => {
                let index = self.varint(32)?;
                let mut is_known = false;
                for variant in 0.. {
                    if self.ends_with(b'>') {
                        break;
                    }
                    self.name();
                    if variant == index {
                        is_known = true;
                        self.value()?;
                    } else {
                        self.skip();
                    }
                }
                is_known.then_some(())
            }
            other => panic!("{:?} in a schema", char::from(other)),
        }
    }

    /// A varint for so many bits, in up to as many bytes as they need; written in the fewest.
    fn varint(&mut self, bits: u32) -> Option<u128> {
        let mut number = 0;
        for place in 0..bits.div_ceil(7) {
            let byte = self.byte()?;
            let part = u128::from(byte & 0x7F);
            if part >> (bits - 7 * place).min(7) != 0 {
                return None;
            }
            number |= part << (7 * place);
            if byte & 0x80 == 0 {
                self.write_varint(number);
                return Some(number);
            }
        }
        None
    }

    fn write_varint(&mut self, mut number: u128) {
        while number >= 0x80 {
            self.written.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.written.push(number as u8);
    }

    fn text(&mut self) -> Option<&str> {
        let len = self.varint(usize::BITS)?;
        let start = self.written.len();
        self.bytes(usize::try_from(len).ok()?)?;
        str::from_utf8(&self.written[start..]).ok()
    }

    fn bytes(&mut self, len: usize) -> Option<()> {
        let bytes = self.payload.split_off(..len)?;
        self.written.extend(bytes);
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        self.payload.split_off_first().copied()
    }

    // The schema

    fn letter(&mut self) -> u8 {
        *self.schema.split_off_first().expect("a type")
    }

    /// Goes past a type.
    fn skip(&mut self) {
        match self.letter() {
            b'?' | b'*' => self.skip(),
            b'(' => {
                while !self.ends_with(b')') {
                    self.skip();
                }
            }
            open @ (b'{' | b'<') => {
                while !self.ends_with(open + 2) {
                    self.name();
                    self.skip();
                }
            }
            _ => {}
        }
    }

    fn name(&mut self) {
        while self.letter() != 0 {}
    }

    /// Goes past the sign if it stands here.
    fn ends_with(&mut self, sign: u8) -> bool {
        let is_there = self.schema.first() == Some(&sign);
        if is_there {
            self.letter();
        }
        is_there
    }
}
