//! Values of an interface with types, as requests, responses and one-way messages.

use arbitrary::{Arbitrary, Result, Unstructured};
use bowline::typed::{Declaration, Interface as _, Procedure};
use serde::Serialize;

use super::super::everything::*;
use super::super::schema::canonical;
use super::super::typed_dispatch::{Scene, encoded};

pub(super) fn carry_all(input: &mut Unstructured<'_>) -> Result<()> {
    let mut scene = Scene::new(Everything::DIGEST);
    while !input.is_empty() {
        match input.arbitrary::<u8>()? % 11 {
            0 => carry::<Pay>(0, &order(input)?, &result(input)?, &mut scene),
            1 => carry::<Read>(1, &text(input)?, &input.arbitrary()?, &mut scene),
            2 => carry::<Add>(2, &numbers(input)?, &numbers(input)?, &mut scene),
            3 => carry::<Wide>(3, &input.arbitrary()?, &input.arbitrary()?, &mut scene),
            4 => carry::<Draw>(4, &[shape(input)?, shape(input)?], &some(input, shape)?, &mut scene),
            5 => carry::<Letter>(5, &input.arbitrary()?, &input.arbitrary()?, &mut scene),
            6 => carry::<Touch>(6, &(), &(), &mut scene),
            7 => carry_one_way::<u32>(7, &input.arbitrary()?, &mut scene),
            8 => carry_one_way::<&[u8]>(8, &input.arbitrary()?, &mut scene),
            9 => carry_one_way::<(bool, i64)>(9, &input.arbitrary()?, &mut scene),
            _ => carry_one_way::<&str>(10, &text(input)?, &mut scene),
        }
    }
    Ok(())
}

/// A request to the peer and its response, and the same request from the peer.
fn carry<P: Procedure>(which: usize, request: &P::Request<'_>, response: &P::Response<'_>, scene: &mut Scene) {
    let declared = &DECLARED[which];
    let (request_bytes, response_bytes) = (encoded(request), encoded(response));
    assert_eq!(canonical(declared.answered, &response_bytes).as_ref(), Some(&response_bytes));
    assert!(request_bytes.len().max(response_bytes.len()) <= announced(&P::DECLARATION));
    scene.call::<P>(declared, request, Ok(response_bytes));
    carry_one_way(which, request, scene);
}

/// A message from the peer. It is handled with the value that it was made of, since no two values have the same bytes.
fn carry_one_way<T: Serialize>(which: usize, value: &T, scene: &mut Scene) {
    let declared = &DECLARED[which];
    let bytes = encoded(value);
    assert_eq!(canonical(declared.sent, &bytes).as_ref(), Some(&bytes), "{} is as §13.1 has it", declared.name);
    assert!(bytes.len() <= announced(&Everything::DECLARATIONS[which]));
    if bytes.len() <= 48 {
        scene.dispatch(declared, bytes);
    }
}

/// The longest that a message of this declaration can be.
fn announced(declaration: &Declaration) -> usize {
    let longest = (0..=64).find(|len| declaration.fits(*len)).expect("a message of the interface fits 48 bytes");
    // One that has no limit fits as far as its type tells.
    if longest == 0 { usize::MAX } else { longest }
}

// Values

fn some<'a, T>(
    input: &mut Unstructured<'a>,
    value: impl FnOnce(&mut Unstructured<'a>) -> Result<T>,
) -> Result<Option<T>> {
    if input.arbitrary()? { value(input).map(Some) } else { Ok(None) }
}

/// Up to 60 bytes, so that it may be too long.
fn text<'a>(input: &mut Unstructured<'a>) -> Result<&'a str> {
    let text = <&str>::arbitrary(input)?;
    let end = (0..=60.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    Ok(&text[..end.unwrap_or_default()])
}

fn order(input: &mut Unstructured<'_>) -> Result<Order> {
    Ok(Order { coins: input.arbitrary()?, note: input.arbitrary()? })
}

fn result(input: &mut Unstructured<'_>) -> Result<std::result::Result<Order, Fault>> {
    Ok(match input.arbitrary::<u8>()? % 3 {
        0 => Ok(order(input)?),
        1 => Err(Fault::Empty),
        _ => Err(Fault::Jammed { at: input.arbitrary()? }),
    })
}

fn numbers(u: &mut Unstructured<'_>) -> Result<Numbers> {
    let (a, b, c, d, e) = u.arbitrary()?;
    let (f, g, h, i) = u.arbitrary()?;
    Ok(Numbers(a, b, c, d, e, f, g, h, i))
}

fn shape<'a>(input: &mut Unstructured<'a>) -> Result<Shape<'a>> {
    Ok(match input.arbitrary::<u8>()? % 4 {
        0 => Shape::Point,
        1 => Shape::Circle(Metres(input.arbitrary()?)),
        2 => Shape::Box(input.arbitrary()?, input.arbitrary()?),
        _ => Shape::Named { name: text(input)?, marker: Marker, turned: input.arbitrary()? },
    })
}
