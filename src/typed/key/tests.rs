use std::string::String;
use std::vec::Vec;

use postcard_schema::Schema;

use super::*;

#[derive(Schema)]
#[expect(dead_code, reason = "only its schema is of interest")]
struct Order {
    coins: u8,
    note: Option<u32>,
}

fn notify(name: &'static str) -> Declaration {
    Declaration::new(Kind::Notify, name, u8::SCHEMA, <()>::SCHEMA)
}

#[test]
fn the_key_is_the_folded_hash_of_the_text_that_the_protocol_specifies() {
    let hash = |bytes: &[u8]| {
        bytes.iter().fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
    };
    let declared = Declaration::new(Kind::AtMostOnce, "PayOut", Order::SCHEMA, <Result<u32, (u8, bool)>>::SCHEMA);
    let text = b"APayOut\0{coins\0Cnote\0?I}<Ok\0IErr\0(Cb)>";
    assert_eq!(declared.hash, hash(text));
    assert_eq!(declared.key(), (hash(text) >> 16) as u16 ^ hash(text) as u16);
    // The published test vector of FNV-1a for "foobar".
    assert_eq!(hash(b"foobar"), 0xBF9C_F968);
}

#[test]
fn whatever_the_peer_must_agree_on_changes_the_key() {
    let base = Declaration::new(Kind::AtMostOnce, "A", u32::SCHEMA, bool::SCHEMA);
    let others = [
        Declaration::new(Kind::Idempotent, "A", u32::SCHEMA, bool::SCHEMA),
        Declaration::new(Kind::AtMostOnce, "B", u32::SCHEMA, bool::SCHEMA),
        Declaration::new(Kind::AtMostOnce, "A", u16::SCHEMA, bool::SCHEMA),
        Declaration::new(Kind::AtMostOnce, "A", u32::SCHEMA, u8::SCHEMA),
        Declaration::new(Kind::AtMostOnce, "A", <[u32; 1]>::SCHEMA, bool::SCHEMA),
        Declaration::new(Kind::AtMostOnce, "A", <Option<u32>>::SCHEMA, bool::SCHEMA),
    ];
    for other in &others {
        assert_ne!(other.hash, base.hash);
        assert_ne!(other.key(), base.key());
    }
    // How a type is called, or whether it borrows, does not.
    let text = Declaration::new(Kind::Notify, "T", <&str>::SCHEMA, <()>::SCHEMA);
    let owned =
        Declaration::new(Kind::Notify, "T", NamedType { name: "Other", ty: <&str>::SCHEMA.ty }.leak(), <()>::SCHEMA);
    assert_eq!(text, owned);
}

trait Leak {
    fn leak(self) -> &'static Self;
}

impl Leak for NamedType {
    fn leak(self) -> &'static Self {
        std::boxed::Box::leak(std::boxed::Box::new(self))
    }
}

#[test]
fn a_collision_is_reported_with_both_names() {
    let mut seen: Vec<Declaration> = Vec::new();
    let pair = (0..).find_map(|number| {
        let name: &'static str = String::leak(std::format!("M{number}"));
        let new = notify(name);
        let same = seen.iter().find(|old| old.key() == new.key()).copied();
        seen.push(new);
        same.map(|old| (old, new))
    });
    let (old, new) = pair.unwrap();
    // The pair in the documentation of `interface!`, whose build has to fail.
    assert_eq!((old.name, new.name), ("M517", "M518"));
    let text = collision(&[notify("Other"), old, new]).unwrap();
    assert_eq!(text.as_str(), "`M517` and `M518` have the same 16-bit key: rename one of them");
    assert!(collision(&[notify("Other"), old]).is_none());
}

#[test]
fn the_digest_does_not_depend_on_the_order() {
    let [a, b] = [notify("A"), notify("B")];
    assert_eq!(digest(&[a, b]), digest(&[b, a]));
    assert_ne!(digest(&[a]), digest(&[a, b]));
    assert_eq!(digest(&[]), 1, "0 stands for no interface at all");
}

#[derive(Schema, serde::Serialize)]
enum Shape {
    Dot,
    Line(u16),
    Circle { at: (i32, i32), radius: u64, name: char, weight: f64 },
}

#[test]
fn the_longest_encoding_is_the_longest_that_postcard_writes() {
    let worst = Shape::Circle { at: (i32::MIN, i32::MIN), radius: u64::MAX, name: '\u{10FFFF}', weight: 1.0 };
    let mut buf = [0; 64];
    let len = postcard::to_slice(&worst, &mut buf).unwrap().len();
    assert_eq!(max_len(Shape::SCHEMA), Some(len));
    assert!(postcard::to_slice(&Shape::Line(u16::MAX), &mut buf).unwrap().len() < len);
    assert_eq!(postcard::to_slice(&Shape::Dot, &mut buf).unwrap().len(), 1);

    let worst = ((Some(u128::MAX), i16::MIN, [true; 3]), (u64::MAX, (), 1_i8, 2.0_f32));
    let schema = <((Option<u128>, i16, [bool; 3]), (u64, (), i8, f32))>::SCHEMA;
    assert_eq!(max_len(schema), Some(postcard::to_slice(&worst, &mut buf).unwrap().len()));

    assert_eq!(max_len(<&str>::SCHEMA), None);
    assert_eq!(max_len(<(u8, &[u8])>::SCHEMA), None);
}

#[test]
fn a_declaration_fits_if_no_message_can_be_too_long() {
    let declared = Declaration::new(Kind::Idempotent, "A", <[u8; 40]>::SCHEMA, <&str>::SCHEMA);
    assert!(declared.fits(40));
    assert!(!declared.fits(39));
    let answered = Declaration::new(Kind::Idempotent, "A", u8::SCHEMA, <[u8; 40]>::SCHEMA);
    assert!(!answered.fits(39));
}

mod vectors {
    //! The golden vectors, whose schemas are written in JSON; here are the types that they are those of.

    use std::collections::BTreeMap;

    use super::*;
    use crate::wire::vectors::{Record, records};

    const KEYS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/keys.txt"));
    const DIGESTS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/digests.txt"));

    #[derive(Schema)]
    #[expect(dead_code, reason = "only its schema is of interest")]
    enum Fault {
        Empty,
        Jammed { at: u8 },
    }

    #[derive(Schema)]
    struct Newtype(#[expect(dead_code, reason = "only its schema is of interest")] u16);

    #[derive(Schema)]
    struct UnitStruct;

    #[derive(Schema)]
    #[expect(dead_code, reason = "only its schema is of interest")]
    struct TupleStruct(u16, bool);

    #[derive(Schema)]
    #[expect(dead_code, reason = "only its schema is of interest")]
    enum Shapes {
        Dot,
        Line(u16),
        Box(u16, u16),
        Circle { at: (i32, i32), radius: u64 },
    }

    #[derive(Schema)]
    struct Size {
        #[expect(dead_code, reason = "only its schema is of interest")]
        länge: u8,
    }

    /// There is none without an allocator.
    const MAP: &NamedType =
        &NamedType { name: "", ty: &DataModelType::Map { key: <&str>::SCHEMA, val: <(i32, i32)>::SCHEMA } };

    fn declaration(record: &Record) -> Declaration {
        let kind = match record.text("kind") {
            "at_most_once" => Kind::AtMostOnce,
            "idempotent" => Kind::Idempotent,
            "notify" => Kind::Notify,
            "publish" => Kind::Publish,
            other => panic!("no kind {other}"),
        };
        let nothing = <()>::SCHEMA;
        let (sent, answered) = match record.name() {
            "PayOut" => (Order::SCHEMA, <Result<u32, Fault>>::SCHEMA),
            "Level" => (<&str>::SCHEMA, u32::SCHEMA),
            "SetClock" => (u32::SCHEMA, nothing),
            "Brightness" => (u8::SCHEMA, nothing),
            "Nothing" => (nothing, nothing),
            "Unsigned" => (<(u8, u16, u32, u64, u128)>::SCHEMA, nothing),
            "Signed" => (<(i8, i16, i32, i64, i128)>::SCHEMA, nothing),
            "Others" => (<(bool, f32, f64, char, &str)>::SCHEMA, nothing),
            "Array" => (<[u16; 3]>::SCHEMA, nothing),
            "OneItem" => (<(u16,)>::SCHEMA, nothing),
            "Newtype" => (Newtype::SCHEMA, nothing),
            "UnitStruct" => (UnitStruct::SCHEMA, nothing),
            "TupleStruct" => (TupleStruct::SCHEMA, nothing),
            "Bytes" => (<&[u8]>::SCHEMA, nothing),
            "Nested" => (<&[Option<&[&str]>]>::SCHEMA, nothing),
            "Map" => (MAP, nothing),
            "Shapes" => (Shapes::SCHEMA, nothing),
            "Größe" => (Size::SCHEMA, nothing),
            "Zero4296" | "Zero339341" => (u8::SCHEMA, nothing),
            other => panic!("no type for {other}"),
        };
        Declaration::new(kind, record.name(), sent, answered)
    }

    #[test]
    fn keys_are_those_that_another_program_made_from_the_specification() {
        for record in records(KEYS) {
            let declared = declaration(&record);
            let hash = record.bytes("hashed").iter().fold(Fnv::new(), |hash, byte| hash.byte(*byte));
            assert_eq!(u64::from(hash.0), record.number("hash"), "{}", record.name());
            assert_eq!(u64::from(declared.hash), record.number("hash"), "{}", record.name());
            assert_eq!(u64::from(declared.key()), record.number("key"), "{}", record.name());
        }
    }

    #[test]
    fn digests_are_those_that_another_program_made_from_the_specification() {
        let declared: BTreeMap<_, _> =
            records(KEYS).iter().map(|record| (record.name(), declaration(record))).collect();
        for record in records(DIGESTS) {
            let interface: Vec<_> = record.all("message").map(|message| declared[message]).collect();
            assert_eq!(u64::from(digest(&interface)), record.number("digest"), "{}", record.name());
        }
    }
}

#[test]
fn types_that_no_vector_has_are_named_by_the_letter_that_the_protocol_gives_them() {
    let types = [
        (&DataModelType::Isize, b'n', Some(10)),
        (&DataModelType::Usize, b'N', Some(10)),
        (&DataModelType::ByteArray, b'B', None),
        (&DataModelType::Schema, b'#', None),
    ];
    for (ty, letter, longest) in types {
        let schema = NamedType { name: "", ty };
        assert_eq!(Fnv::new().schema(&schema).0, Fnv::new().byte(letter).0, "{ty:?}");
        assert_eq!(max_len(&schema), longest, "{ty:?}");
    }
}

#[test]
fn an_enum_of_many_variants_is_as_long_as_the_index_of_its_last_one() {
    let variant = &NamedVariant { name: "", ty: &DataModelVariant::UnitVariant };
    for count in [1, 0x80, 0x81, 0x4000, 0x4001_u32] {
        let variants: &'static [_] = vec![variant; count as usize].leak();
        let schema = NamedType { name: "", ty: std::boxed::Box::leak(DataModelType::Enum(variants).into()) };
        let (mut buf, longest) = ([0; 8], max_len(&schema).unwrap());
        let written = postcard::to_slice(&(count - 1), &mut buf).unwrap().len();
        assert!(longest == written || count > 0x4000 && longest > written, "{count}: {longest} {written}");
    }
}

#[test]
fn an_enum_is_as_long_as_its_longest_variant_wherever_that_stands() {
    assert_eq!(max_len(<Result<u64, u8>>::SCHEMA), max_len(<Result<u8, u64>>::SCHEMA));
    assert_eq!(max_len(<Result<u64, u8>>::SCHEMA), Some(1 + 10));
}

#[test]
fn an_enum_with_a_variant_without_limit_has_none() {
    assert_eq!(max_len(<Result<u8, &str>>::SCHEMA), None);
}

#[test]
fn an_interface_whose_messages_fit_builds() {
    let declared = Declaration::new(Kind::Notify, "Picture", <[u8; 40]>::SCHEMA, <()>::SCHEMA);
    crate::typed::assert_fit(&[notify("Short"), declared], 40);
    assert_unique(&[notify("Short"), declared]);
}

#[test]
#[should_panic(expected = "`Picture` can be too long for the payload of these buffers")]
fn an_interface_with_a_message_that_may_not_fit_does_not_build_and_is_told_which() {
    let declared = Declaration::new(Kind::Notify, "Picture", <[u8; 40]>::SCHEMA, <()>::SCHEMA);
    crate::typed::assert_fit(&[notify("Short"), declared], 39);
}

#[test]
#[should_panic(expected = "`M517` and `M518` have the same 16-bit key: rename one of them")]
fn an_interface_with_two_messages_of_one_key_does_not_build_and_is_told_which() {
    assert_unique(&[notify("M517"), notify("M518")]);
}

#[test]
#[should_panic(expected = "has a name too long to be shown here")]
fn a_text_that_is_cut_off_within_a_letter_says_nothing_wrong() {
    let name: &'static str = String::leak("ö".repeat(200));
    let declared = Declaration::new(Kind::Notify, name, <[u8; 40]>::SCHEMA, <()>::SCHEMA);
    crate::typed::assert_fit(&[declared], 39);
}
