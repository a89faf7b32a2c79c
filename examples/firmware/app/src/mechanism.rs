//! The dispenser without its link.

use bowline::typed::{Context, Procedure, Reply};
use bowline::{Duration, Instant, Refusal, Storage};

use crate::interface::{Dispenser, Fault, Order, PayOut, Receipt};
use crate::ledger::Ledger;

/// How long the motor runs: the coins drop at once, the answer waits for the motor to stop. A reset in between leaves an
/// effect without an answer.
const MOTOR: Duration = Duration::from_millis(5);

/// Where answers go.
pub trait Answers {
    fn reply<P: Procedure>(&mut self, reply: Reply<P>, response: &P::Response<'_>);
    fn refuse<P: Procedure>(&mut self, reply: Reply<P>, refusal: Refusal);
}

impl<S: Storage> Answers for Context<'_, S> {
    fn reply<P: Procedure>(&mut self, reply: Reply<P>, response: &P::Response<'_>) {
        Context::reply(self, reply, response);
    }

    fn refuse<P: Procedure>(&mut self, reply: Reply<P>, refusal: Refusal) {
        Context::refuse(self, reply, refusal);
    }
}

/// Coins, ledger and motors.
pub struct Mechanism {
    ledger: Ledger,
    coins: u32,
    /// As many as there can be requests at a time.
    motors: [Option<Run>; 2],
}

/// A motor runs, and somebody waits for the answer.
struct Run {
    until: Instant,
    reply: Reply<PayOut>,
    receipt: Receipt,
}

impl Mechanism {
    /// As it is when the board starts: filled up.
    pub fn new() -> Self {
        Self { ledger: Ledger::open(), coins: 1_000_000, motors: [None, None] }
    }

    /// A message of the host.
    pub fn handle(&mut self, now: Instant, answers: &mut impl Answers, message: Dispenser) {
        match message {
            Dispenser::Level((), reply) => answers.reply(reply, &self.coins),
            Dispenser::PayOut(order, reply) => {
                let Some(motor) = self.motors.iter().position(Option::is_none) else {
                    return answers.refuse(reply, Refusal::Busy);
                };
                match self.pay_out(&order) {
                    Ok(receipt) => self.motors[motor] = Some(Run { until: now + MOTOR, reply, receipt }),
                    Err(fault) => answers.reply(reply, &Err(fault)),
                }
            }
        }
    }

    /// When to call [`Self::turn`].
    pub fn deadline(&self) -> Option<Instant> {
        self.motors.iter().flatten().map(|run| run.until).min()
    }

    /// Stops the motors that have run for long enough, and answers.
    pub fn turn(&mut self, now: Instant, answers: &mut impl Answers) {
        for motor in &mut self.motors {
            if let Some(Run { reply, receipt, .. }) = motor.take_if(|run| run.until <= now) {
                answers.reply(reply, &Ok(receipt));
            }
        }
    }

    fn pay_out(&mut self, order: &Order) -> Result<Receipt, Fault> {
        let left = self.coins.checked_sub(order.coins.into()).ok_or(Fault::Empty)?;
        if !self.ledger.append(order) {
            return Err(Fault::NoLedger);
        }
        self.coins = left;
        Ok(Receipt { number: order.number, left })
    }
}

impl Default for Mechanism {
    fn default() -> Self {
        Self::new()
    }
}
