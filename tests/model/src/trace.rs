//! A counterexample as a text to read: what happened, what went out, and where it led.

use std::fmt::Write as _;

use stateright::Path;

use crate::healing::heals;
use crate::node::Memory;
use crate::scope::Side;
use crate::state::{Action, Space, State};

pub fn print<S: Memory>(space: &Space<S>, promise: &str, path: Path<State<S>, Action>) {
    println!("\n  BROKEN: {promise}");
    let steps = path.into_vec();
    let mut shown = [String::new(), String::new()];
    for (number, (state, action)) in steps.iter().enumerate() {
        show(state, &mut shown);
        let Some(action) = action else { continue };
        println!("{:5}  {}", number + 1, describe(state, *action));
        if let Some((after, _)) = steps.get(number + 1) {
            for to in Side::BOTH {
                let network = &after.towards[to as usize];
                network.news(&state.towards[to as usize]).for_each(|frame| println!("            to {to:?}: {frame}"));
            }
        }
    }
    let Some((last, _)) = steps.into_iter().next_back() else { return };
    match last.ledger.broken {
        Some(broken) => println!("       >>> {broken:?}\n"),
        None => {
            let mut healed = last.clone();
            if let Err(ill) = heals(&space.scope, &mut healed) {
                show(&healed, &mut shown);
                println!("       >>> {ill}\n");
            }
        }
    }
}

fn describe<S: Memory>(state: &State<S>, action: Action) -> String {
    let frame = |to: Side, index| match state.towards[to as usize].get(index) {
        Some(frame) => frame.to_string(),
        None => "nothing".into(),
    };
    match action {
        Action::Call => format!("call {} is made", state.ledger.made),
        Action::Cancel(side, index) => format!("{side:?} gives up call {}", state.node(side).waiting[index].id),
        Action::Deliver(to, index) => format!("{to:?} gets {}", frame(to, index)),
        Action::Remember(to, index) => format!("may come to {to:?} for ever: {}", frame(to, index)),
        Action::Tick(side) => format!("{side:?}: a turn of the clock"),
        Action::Sleep(side) => format!("{side:?} wakes up after more than its lease"),
        Action::Crash(side) => format!("{side:?} crashes and boots"),
        Action::Finish(side, index) => {
            format!("{side:?} executes call {} and answers", state.node(side).runs[index].id)
        }
        Action::GiveUp(side, index) => format!("{side:?} does not execute call {}", state.node(side).runs[index].id),
        Action::Transmit(side) => format!("{side:?}: its port takes a frame"),
        Action::Reject(side) => format!("{side:?}: its port refuses a frame"),
        Action::Close(side) => format!("{side:?} closes"),
        Action::Open(side) => format!("{side:?} opens"),
    }
}

/// Prints the nodes that are not as they were `shown` last.
fn show<S: Memory>(state: &State<S>, shown: &mut [String; 2]) {
    for side in Side::BOTH {
        let (node, mut line) = (state.node(side), String::new());
        let _ = write!(line, "{side:?}: life {}, ", node.life);
        let _ = match node.session() {
            Some((id, true)) => write!(line, "in session {id:08x}"),
            Some((id, false)) => write!(line, "in session {id:08x}, not confirmed"),
            None => write!(line, "without a session"),
        };
        node.waiting.iter().for_each(|waiting| _ = write!(line, ", awaits call {}", waiting.id));
        for run in &node.runs {
            let kind = if run.is_orphan { "orphan of call" } else { "handler of call" };
            let _ = write!(line, ", {kind} {} runs", run.id);
        }
        let before = &mut shown[side as usize];
        if *before != line {
            println!("       {line}");
            *before = line;
        }
    }
}
