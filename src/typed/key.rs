//! Keys, digests and largest encodings out of declarations, at compile time (`PROTOCOL.md §13`).

use postcard_schema::schema::{DataModelType, DataModelVariant, NamedType, NamedValue, NamedVariant};

/// What kind of message a declaration is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Kind {
    /// A call that must not take effect twice.
    AtMostOnce,
    /// A call that may.
    Idempotent,
    /// A notification.
    Notify,
    /// A topic.
    Publish,
}

/// What was declared of one message of an interface. Made by [`interface!`](crate::interface).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Declaration {
    /// Its name.
    pub name: &'static str,
    /// FNV-1a over kind, name and schemas.
    hash: u32,
    /// Bytes of the longest request or one-way payload, and of the longest response; `None` if there is no limit.
    max_lens: (Option<usize>, Option<usize>),
}

impl Declaration {
    /// Declares a message of the given kind, name and schemas: of request and response, or of the payload and `()`.
    pub const fn new(kind: Kind, name: &'static str, sent: &'static NamedType, answered: &'static NamedType) -> Self {
        let tag = match kind {
            Kind::AtMostOnce => b'A',
            Kind::Idempotent => b'I',
            Kind::Notify => b'N',
            Kind::Publish => b'P',
        };
        let hash = Fnv::new().byte(tag).text(name).schema(sent).schema(answered);
        Self { name, hash: hash.0, max_lens: (max_len(sent), max_len(answered)) }
    }

    /// What travels: the hash folded to 16 bits.
    pub const fn key(&self) -> u16 {
        (self.hash >> 16) as u16 ^ self.hash as u16
    }

    /// Whether both the request and the response fit a payload of `payload` bytes, as far as their types tell.
    pub const fn fits(&self, payload: usize) -> bool {
        !matches!(self.max_lens.0, Some(len) if len > payload) && !matches!(self.max_lens.1, Some(len) if len > payload)
    }

    /// Fails the build when a message of this declaration can be longer than `payload` bytes.
    #[expect(clippy::panic, reason = "at compile time")]
    pub const fn assert_fits(&self, payload: usize) {
        if !self.fits(payload) {
            let text = Text::new().push("`").push(self.name).push("` can be too long for the payload of these buffers");
            panic!("{}", text.as_str());
        }
    }
}

/// A digest of the declarations, whatever their order. Never 0, which stands for none.
pub const fn digest(declarations: &[Declaration]) -> u32 {
    let mut sum = 0_u32;
    let mut rest = declarations;
    while let [first, others @ ..] = rest {
        sum = sum.wrapping_add(first.hash);
        rest = others;
    }
    if sum == 0 { 1 } else { sum }
}

/// Fails the build when two declarations have the same key, and names both.
#[expect(clippy::panic, reason = "at compile time")]
pub const fn assert_unique(declarations: &[Declaration]) {
    if let Some(text) = collision(declarations) {
        panic!("{}", text.as_str());
    }
}

const fn collision(declarations: &[Declaration]) -> Option<Text> {
    let mut rest = declarations;
    while let [first, others @ ..] = rest {
        let mut later = others;
        while let [second, beyond @ ..] = later {
            if first.key() == second.key() {
                let text = Text::new().push("`").push(first.name).push("` and `").push(second.name);
                return Some(text.push("` have the same 16-bit key: rename one of them"));
            }
            later = beyond;
        }
        rest = others;
    }
    None
}

/// FNV-1a with 32 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>), which its authors advise to fold for fewer.
#[derive(Clone, Copy)]
struct Fnv(u32);

impl Fnv {
    const fn new() -> Self {
        Self(0x811C_9DC5)
    }

    const fn byte(self, byte: u8) -> Self {
        Self((self.0 ^ byte as u32).wrapping_mul(0x0100_0193))
    }

    /// The bytes of a name and a zero.
    const fn text(self, text: &str) -> Self {
        let mut hash = self;
        let mut rest = text.as_bytes();
        while let [first, others @ ..] = rest {
            hash = hash.byte(*first);
            rest = others;
        }
        hash.byte(0)
    }

    /// A type: a letter, then what it is made of. Names of types do not count, names of fields and variants do.
    const fn schema(self, schema: &NamedType) -> Self {
        match schema.ty {
            DataModelType::Bool => self.byte(b'b'),
            DataModelType::I8 => self.byte(b'c'),
            DataModelType::U8 => self.byte(b'C'),
            DataModelType::I16 => self.byte(b'h'),
            DataModelType::U16 => self.byte(b'H'),
            DataModelType::I32 => self.byte(b'i'),
            DataModelType::U32 => self.byte(b'I'),
            DataModelType::I64 => self.byte(b'q'),
            DataModelType::U64 => self.byte(b'Q'),
            DataModelType::I128 => self.byte(b'o'),
            DataModelType::U128 => self.byte(b'O'),
            DataModelType::Isize => self.byte(b'n'),
            DataModelType::Usize => self.byte(b'N'),
            DataModelType::F32 => self.byte(b'f'),
            DataModelType::F64 => self.byte(b'd'),
            DataModelType::Char => self.byte(b'r'),
            DataModelType::String => self.byte(b's'),
            DataModelType::ByteArray => self.byte(b'B'),
            DataModelType::Unit | DataModelType::UnitStruct => self.byte(b'u'),
            DataModelType::Option(some) => self.byte(b'?').schema(some),
            DataModelType::NewtypeStruct(inner) => self.schema(inner),
            DataModelType::Seq(item) => self.byte(b'*').schema(item),
            DataModelType::Map { key, val } => self.byte(b'm').schema(key).schema(val),
            DataModelType::Tuple(items) | DataModelType::TupleStruct(items) => self.items(items),
            DataModelType::Struct(fields) => self.fields(fields),
            DataModelType::Enum(variants) => self.variants(variants),
            DataModelType::Schema => self.byte(b'#'),
        }
    }

    const fn items(self, items: &[&NamedType]) -> Self {
        let mut hash = self.byte(b'(');
        let mut rest = items;
        while let [first, others @ ..] = rest {
            hash = hash.schema(first);
            rest = others;
        }
        hash.byte(b')')
    }

    const fn fields(self, fields: &[&NamedValue]) -> Self {
        let mut hash = self.byte(b'{');
        let mut rest = fields;
        while let [first, others @ ..] = rest {
            hash = hash.text(first.name).schema(first.ty);
            rest = others;
        }
        hash.byte(b'}')
    }

    const fn variants(self, variants: &[&NamedVariant]) -> Self {
        let mut hash = self.byte(b'<');
        let mut rest = variants;
        while let [first, others @ ..] = rest {
            hash = hash.text(first.name);
            hash = match first.ty {
                DataModelVariant::UnitVariant => hash.byte(b'u'),
                DataModelVariant::NewtypeVariant(inner) | DataModelVariant::TupleVariant([inner]) => hash.schema(inner),
                DataModelVariant::TupleVariant(items) => hash.items(items),
                DataModelVariant::StructVariant(fields) => hash.fields(fields),
            };
            rest = others;
        }
        hash.byte(b'>')
    }
}

/// Bytes of the longest encoding of a type, `None` if it has no limit: the sizes of the postcard wire format
/// (<https://postcard.jamesmunns.com/wire-format>).
const fn max_len(schema: &NamedType) -> Option<usize> {
    Some(match schema.ty {
        DataModelType::Unit | DataModelType::UnitStruct => 0,
        DataModelType::Bool | DataModelType::I8 | DataModelType::U8 => 1,
        DataModelType::I16 | DataModelType::U16 => 3,
        DataModelType::I32 | DataModelType::U32 => 5,
        DataModelType::I64 | DataModelType::U64 | DataModelType::Isize | DataModelType::Usize => 10,
        DataModelType::I128 | DataModelType::U128 => 19,
        DataModelType::F32 => 4,
        DataModelType::F64 => 8,
        // A length and up to four bytes of UTF-8.
        DataModelType::Char => 5,
        DataModelType::Option(some) => return sum(Some(1), max_len(some)),
        DataModelType::NewtypeStruct(inner) => return max_len(inner),
        DataModelType::Tuple(items) | DataModelType::TupleStruct(items) => return items_len(items),
        DataModelType::Struct(fields) => return fields_len(fields),
        DataModelType::Enum(variants) => return variants_len(variants),
        DataModelType::String
        | DataModelType::ByteArray
        | DataModelType::Seq(_)
        | DataModelType::Map { .. }
        | DataModelType::Schema => return None,
    })
}

const fn sum(a: Option<usize>, b: Option<usize>) -> Option<usize> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        _ => None,
    }
}

const fn items_len(items: &[&NamedType]) -> Option<usize> {
    let mut len = Some(0);
    let mut rest = items;
    while let [first, others @ ..] = rest {
        len = sum(len, max_len(first));
        rest = others;
    }
    len
}

const fn fields_len(fields: &[&NamedValue]) -> Option<usize> {
    let mut len = Some(0);
    let mut rest = fields;
    while let [first, others @ ..] = rest {
        len = sum(len, max_len(first.ty));
        rest = others;
    }
    len
}

const fn variants_len(variants: &[&NamedVariant]) -> Option<usize> {
    let mut longest = 0;
    let mut rest = variants;
    while let [first, others @ ..] = rest {
        let len = match first.ty {
            DataModelVariant::UnitVariant => Some(0),
            DataModelVariant::NewtypeVariant(inner) => max_len(inner),
            DataModelVariant::TupleVariant(items) => items_len(items),
            DataModelVariant::StructVariant(fields) => fields_len(fields),
        };
        match len {
            None => return None,
            Some(len) if len > longest => longest = len,
            Some(_) => {}
        }
        rest = others;
    }
    // The discriminant is a varint.
    let discriminant = match variants.len() {
        0..=0x80 => 1,
        0x81..=0x4000 => 2,
        _ => 5,
    };
    Some(discriminant + longest)
}

/// A message that is put together at compile time. What does not fit is cut off.
#[derive(Clone, Copy)]
struct Text {
    bytes: [u8; 256],
    len: usize,
}

impl Text {
    const fn new() -> Self {
        Self { bytes: [0; 256], len: 0 }
    }

    #[expect(clippy::indexing_slicing, reason = "the loop's condition is the bound, at compile time")]
    const fn push(mut self, text: &str) -> Self {
        let mut rest = text.as_bytes();
        while let [first, others @ ..] = rest
            && self.len < self.bytes.len()
        {
            self.bytes[self.len] = *first;
            self.len += 1;
            rest = others;
        }
        self
    }

    const fn as_str(&self) -> &str {
        match core::str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => text,
            // Cut off within a letter.
            Err(_) => "a message of this interface has a name too long to be shown here",
        }
    }
}

#[cfg(test)]
mod tests;
