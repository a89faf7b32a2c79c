//! An interface with a type of each kind that needs no allocator, and what PROTOCOL.md §13 makes of it by hand.

use bowline::typed::Schema;
use serde::{Deserialize, Serialize};

use super::schema::Declared;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, Schema)]
pub struct Order {
    pub coins: u8,
    pub note: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, Schema)]
pub enum Fault {
    Empty,
    Jammed { at: u8 },
}

/// 43 bytes at most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, Schema)]
pub struct Numbers(pub i8, pub u16, pub i16, pub u32, pub i32, pub u64, pub i64, pub f32, pub bool);

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, Schema)]
pub struct Metres(pub f64);

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, Schema)]
pub struct Marker;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, Schema)]
pub enum Shape<'a> {
    Point,
    Circle(Metres),
    Box(u16, i16),
    Named { name: &'a str, marker: Marker, turned: bool },
}

bowline::interface! {
    #[derive(Debug)]
    pub enum Everything<'a> {
        at_most_once Pay(Order) -> Result<Order, Fault>;
        idempotent Read(&'a str) -> &'a [u8];
        at_most_once Add(Numbers) -> Numbers;
        idempotent Wide((u128, i128)) -> (i128, u64);
        at_most_once Draw([Shape<'a>; 2]) -> Option<Shape<'a>>;
        idempotent Letter((char, Option<char>)) -> char;
        at_most_once Touch(()) -> ();
        notify Tick(u32);
        notify Raw(&'a [u8]);
        publish Level((bool, i64));
        publish Label(&'a str);
    }
}

const fn declared(kind: u8, name: &'static str, sent: &'static str, answered: &'static str) -> Declared {
    Declared { kind, name, sent, answered }
}

const SHAPES: &str = "(<Point\0uCircle\0dBox\0(Hh)Named\0{name\0smarker\0uturned\0b}><Point\0uCircle\0dBox\0(Hh)Named\0{name\0smarker\0uturned\0b}>)";

/// In the order of the declaration above.
pub const DECLARED: [Declared; 11] = [
    declared(b'A', "Pay", "{coins\0Cnote\0?I}", "<Ok\0{coins\0Cnote\0?I}Err\0<Empty\0uJammed\0{at\0C}>>"),
    declared(b'I', "Read", "s", "*C"),
    declared(b'A', "Add", "(cHhIiQqfb)", "(cHhIiQqfb)"),
    declared(b'I', "Wide", "(Oo)", "(oQ)"),
    declared(b'A', "Draw", SHAPES, "?<Point\0uCircle\0dBox\0(Hh)Named\0{name\0smarker\0uturned\0b}>"),
    declared(b'I', "Letter", "(r?r)", "r"),
    declared(b'A', "Touch", "u", "u"),
    declared(b'N', "Tick", "I", "u"),
    declared(b'N', "Raw", "*C", "u"),
    declared(b'P', "Level", "(bq)", "u"),
    declared(b'P', "Label", "s", "u"),
];
