//! Model checking of the shipped code: both ends of a link, in every order of events, within stated bounds.
//! `README.md` says what a state, an action and a bound is, and what is different from the real thing.
//!
//! `search.rs` walks through all states depth-first and keeps a 64-bit hash of each. Promises are checked in every state
//! (`ledger.rs`, `state.rs`), and that the link heals once faults stop (`healing.rs`). What breaks one is printed as a
//! list of what happened (`trace.rs`). A search that does not come by what its scope is for fails (`landmark.rs`).

mod canonical;
mod frame;
mod healing;
mod input;
mod landmark;
mod ledger;
mod memo;
mod node;
mod report;
mod scope;
mod scopes;
mod search;
mod state;
mod trace;

#[cfg(not(bowline_model))]
compile_error!("build in this directory: its .cargo/config.toml sets what the library has to be built with");

use std::process::ExitCode;
use std::time::Duration;

use bowline::Buffers;
use lexopt::prelude::*;
use scope::Scope;

type OneSlot = Buffers<32, 1, 1, 0, 0, 0, 3>;
type TwoSlots = Buffers<32, 2, 2, 0, 0, 0, 5>;

fn main() -> ExitCode {
    let (scopes, limit) = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}\nusage: model [short | long | all | list | SCOPE ...] [--limit SECONDS]");
            return ExitCode::from(2);
        }
    };
    // An invariant that fails is reported with its trace.
    std::panic::set_hook(Box::new(|_| ()));
    report::head();
    let mut total = report::Total::default();
    for scope in scopes {
        total += match scope.slots {
            1 => report::check::<OneSlot>(scope, limit),
            _ => report::check::<TwoSlots>(scope, limit),
        };
    }
    report::foot(&total);
    if total.broken + total.blind == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The scopes that are asked for, and how long each may take.
fn arguments() -> Result<(Vec<Scope>, Option<Duration>), lexopt::Error> {
    let mut parser = lexopt::Parser::from_env();
    let (mut chosen, mut limit) = (Vec::new(), None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("limit") => limit = Some(Duration::from_secs(parser.value()?.parse()?)),
            Value(name) => match name.string()?.as_str() {
                "short" => chosen.extend(scopes::short()),
                "long" => chosen.extend(scopes::long()),
                "all" => chosen.extend(scopes::short().into_iter().chain(scopes::long())),
                "list" => {
                    for scope in scopes::short().into_iter().chain(scopes::long()) {
                        println!("{:18} {}", scope.name, scope.about);
                    }
                    std::process::exit(0);
                }
                name => {
                    let mut all = scopes::short().into_iter().chain(scopes::long());
                    chosen.push(all.find(|scope| scope.name == name).ok_or(format!("there is no scope {name}"))?);
                }
            },
            other => return Err(other.unexpected()),
        }
    }
    if chosen.is_empty() {
        chosen = scopes::short();
    }
    Ok((chosen, limit))
}
