//! Numbers, words and colours.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::{env, fmt, iter};

/// Prints to standard output. That nobody reads it is no error.
pub fn show(text: impl fmt::Display) -> io::Result<()> {
    match write!(io::stdout(), "{text}").and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// `1 000` for 1000.
pub fn grouped(number: impl TryInto<u64>) -> String {
    let mut number = number.try_into().unwrap_or(u64::MAX);
    let groups = iter::from_fn(|| {
        let group = (number > 0).then_some(number % 1_000);
        number /= 1_000;
        group
    });
    let groups = groups.collect::<Vec<_>>();
    let Some((first, rest)) = groups.split_last() else { return "0".to_owned() };
    rest.iter().rev().fold(first.to_string(), |text, group| format!("{text} {group:03}"))
}

/// `once`, `2 times`.
pub fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{} times", grouped(count)) }
}

/// `1 coin`, `2 coins`.
pub fn plural(count: impl TryInto<u64>, thing: &str) -> String {
    match grouped(count) {
        one if one == "1" => format!("1 {thing}"),
        more => format!("{more} {thing}s"),
    }
}

/// In capitals, and filled up to `width`.
pub fn heading(text: &str, width: usize) -> String {
    paint("1", &format!("{:<width$}", text.to_uppercase()))
}

pub fn green(text: &str) -> String {
    paint("32", text)
}

pub fn red(text: &str) -> String {
    paint("1;31", text)
}

/// Colour, where somebody looks.
fn paint(code: &str, text: &str) -> String {
    if io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}
