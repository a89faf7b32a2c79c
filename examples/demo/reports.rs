//! What caller and device tell their supervisor, one line each through a pipe. The kernel holds a line as soon as it is
//! written, so a process that is killed right after has still said it.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::str::FromStr;

use bowline::Executed;

use crate::port::unbuffered;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The caller is about to make this call.
    Issued { call: u32, amount: u16 },
    /// This call has ended.
    Ended { call: u32, micros: u64, outcome: Outcome },
    /// The state of the process has changed: retransmits since its start, and whether nothing at all is open.
    Status { retransmits: u32, idle: bool },
}

/// How a call ended, as the caller was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a reply, that names a call: the right one, it is to be hoped.
    Ok { replied_to: u32 },
    /// Without.
    Failed { executed: Executed, reason: String },
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issued { call, amount } => write!(f, "issued {call} {amount}"),
            Self::Ended { call, micros, outcome: Outcome::Ok { replied_to } } => {
                write!(f, "ok {call} {micros} {replied_to}")
            }
            Self::Ended { call, micros, outcome: Outcome::Failed { executed, reason } } => {
                write!(f, "failed {call} {micros} {executed} {reason}")
            }
            Self::Status { retransmits, idle } => write!(f, "status {retransmits} {idle}"),
        }
    }
}

/// The line is none of ours: a panic message, for instance.
pub struct NotAReport;

impl FromStr for Report {
    type Err = NotAReport;

    fn from_str(line: &str) -> Result<Self, NotAReport> {
        parse(line).ok_or(NotAReport)
    }
}

fn parse(line: &str) -> Option<Report> {
    let (kind, rest) = line.split_once(' ')?;
    let mut words = rest.splitn(4, ' ');
    let mut word = || words.next();
    Some(match kind {
        "issued" => Report::Issued { call: word()?.parse().ok()?, amount: word()?.parse().ok()? },
        "status" => Report::Status { retransmits: word()?.parse().ok()?, idle: word()?.parse().ok()? },
        "ok" | "failed" => {
            let (call, micros) = (word()?.parse().ok()?, word()?.parse().ok()?);
            let outcome = if kind == "ok" {
                Outcome::Ok { replied_to: word()?.parse().ok()? }
            } else {
                let executed = match word()? {
                    "no" => Executed::No,
                    "maybe" => Executed::Maybe,
                    "yes" => Executed::Yes,
                    _ => return None,
                };
                Outcome::Failed { executed, reason: word()?.to_owned() }
            };
            Report::Ended { call, micros, outcome }
        }
        _ => return None,
    })
}

/// The child's end of the pipe: its standard error.
pub struct Reporter {
    pipe: File,
    status: Option<Report>,
}

impl Reporter {
    pub fn open() -> io::Result<Self> {
        Ok(Self { pipe: unbuffered(io::stderr().as_fd())?, status: None })
    }

    pub fn send(&mut self, report: &Report) -> io::Result<()> {
        self.pipe.write_all(format!("{report}\n").as_bytes())
    }

    /// Sends the status when it is another than before.
    pub fn status(&mut self, retransmits: u32, idle: bool) -> io::Result<()> {
        let status = Report::Status { retransmits, idle };
        if self.status.as_ref() != Some(&status) {
            self.send(&status)?;
            self.status = Some(status);
        }
        Ok(())
    }
}
