//! A child process: the device or the caller. It has the wire as standard input and reports through standard error.

use std::env;
use std::io::{self, BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};

use crate::reports::Report;
use crate::wire_log::Side;

/// What comes from a child.
#[derive(Debug)]
pub enum News {
    Report(Report),
    /// A line that is no report: a panic message, say.
    Noise(String),
    /// The pipe is closed: the child has ended.
    Gone,
}

/// A running child. It is killed when this is dropped.
pub struct Process {
    child: Child,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts this very program again, in the role that `args` say.
    pub fn start(
        side: Side,
        args: &[String],
        wire: OwnedFd,
        stdout: Stdio,
        news: Sender<(Side, News)>,
    ) -> io::Result<Self> {
        let mut child =
            Command::new(env::current_exe()?).args(args).stdin(wire).stdout(stdout).stderr(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let reader = thread::spawn(move || {
            let spoken = lines.map_while(Result::ok).map(|line| match line.parse() {
                Ok(report) => News::Report(report),
                Err(_) => News::Noise(line),
            });
            for news_item in spoken.chain([News::Gone]) {
                // Without a supervisor nobody needs to know.
                _ = news.send((side, news_item));
            }
        });
        Ok(Self { child, reader: Some(reader) })
    }

    /// SIGKILL: it gets no chance to tidy up. What it has said until then is in the channel when this returns.
    pub fn kill(&mut self) {
        // It may have ended by itself; that is told in other ways.
        _ = self.child.kill();
        _ = self.child.wait();
        _ = self.reader.take().map(JoinHandle::join);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
