//! A counterexample as a text to read: what happened, what went out, and where it led.

use std::fmt::Write as _;

use crate::healing::{Healing, Ill};
use crate::node::Memory;
use crate::scope::Side;
use crate::search::{Finding, Why};
use crate::state::{Action, State};

pub fn print<S: Memory>(healing: &mut Healing<S>, finding: &Finding<S>) {
    match finding.why {
        Why::Broken(broken) => println!("\n  BROKEN: {broken}"),
        Why::Ill(Ill::Broken(broken)) => println!("\n  BROKEN, when nothing goes wrong any more: {broken}"),
        Why::Ill(_) => println!("\n  BROKEN: once faults stop, all calls end and new ones succeed"),
    }
    let mut shown = [String::new(), String::new()];
    for (number, (by, state)) in finding.path.iter().enumerate() {
        if let (Some(action), Some((_, before))) = (by, number.checked_sub(1).and_then(|last| finding.path.get(last))) {
            println!("{number:5}  {}", describe(before, *action));
            for to in Side::BOTH {
                let network = &state.towards[to as usize];
                network.news(&before.towards[to as usize]).for_each(|frame| println!("            to {to:?}: {frame}"));
            }
        }
        show(state, &mut shown);
    }
    match finding.why {
        Why::Broken(broken) => println!("       >>> {broken:?}\n"),
        Why::Ill(ill) => {
            let Some((_, last)) = finding.path.last() else { return };
            let mut healed = last.clone();
            let _ = healing.heal(&mut healed);
            show(&healed, &mut shown);
            println!("       >>> {ill}\n");
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
