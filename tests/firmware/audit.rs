//! Holds what the host was told against the board's ledger.

use std::fmt;

use bowline::{CallError, Executed};

use super::emulator::Effect;
use super::interface::{Fault, Order, Receipt};

/// A call that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    pub order: Order,
    pub outcome: Result<Result<Receipt, Fault>, CallError>,
}

/// What came out.
#[derive(Debug, Default)]
pub struct Audit {
    pub ok: u32,
    pub no: u32,
    pub maybe: u32,
    pub maybe_with_effect: u32,
    /// Promises that were not kept, in words.
    pub broken: Vec<String>,
}

impl Audit {
    pub fn of(calls: &[Ended], ledger: &[Effect]) -> Self {
        let mut audit = Self::default();
        let is_asked_for = |effect: &Effect| {
            calls
                .iter()
                .any(|Ended { order, .. }| (order.number, u32::from(order.coins)) == (effect.number, effect.coins))
        };
        audit.check(ledger.iter().all(is_asked_for), || "there is an effect that nobody asked for".to_owned());
        for Ended { order, outcome } in calls {
            let number = order.number;
            let effects = ledger.iter().filter(|effect| effect.number == number).count();
            audit.check(effects <= 1, || format!("call {number} took effect {effects} times"));
            match outcome {
                Ok(Ok(receipt)) => {
                    audit.ok += 1;
                    audit.check(effects == 1, || format!("call {number} is ok and has {effects} effects"));
                    audit.check(receipt.number == number, || format!("call {number} was told: {receipt:?}"));
                }
                Ok(Err(fault)) => audit.check(false, || format!("call {number} was told: {fault:?}")),
                Err(CallError { executed: Executed::No, .. }) => {
                    audit.no += 1;
                    audit.check(effects == 0, || format!("call {number} was not executed and has {effects} effects"));
                }
                Err(CallError { executed: Executed::Maybe, .. }) => {
                    audit.maybe += 1;
                    audit.maybe_with_effect += u32::from(effects == 1);
                }
                Err(error) => audit.check(false, || format!("call {number}: {error}")),
            }
        }
        audit
    }

    pub fn calls(&self) -> u32 {
        self.ok + self.no + self.maybe
    }

    fn check(&mut self, is_kept: bool, broken: impl FnOnce() -> String) {
        if !is_kept {
            self.broken.push(broken());
        }
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ok, no, maybe, maybe_with_effect, broken } = self;
        let calls = self.calls();
        write!(
            f,
            "{calls} calls: {ok} ok, {no} not executed, {maybe} maybe ({maybe_with_effect} with an effect); {} broken promises",
            broken.len()
        )?;
        broken.iter().try_for_each(|broken| write!(f, "\n  {broken}"))
    }
}
