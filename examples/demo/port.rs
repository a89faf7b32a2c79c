//! A child process's end of the wire: its standard input, whether a pty or a UDP socket, read and written.
//!
//! The wire is made by the parent and outlives the process, like a cable: what was in it when a process was killed is
//! read by the next one.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time;

use bowline::wire::Deframer;
use bowline::{Endpoint, Instant, Storage};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::dispenser::FRAME;

/// One end of the wire.
pub enum Port {
    /// A byte stream: frames come in any pieces, and go out in as many as the kernel likes.
    Serial { tty: File, deframer: Box<Deframer<FRAME>>, unsent: Vec<u8> },
    /// Datagrams: one frame each. (A connected socket is read and written like a file.)
    Udp { socket: File },
}

impl Port {
    /// Takes the wire from standard input.
    pub fn open(udp: bool) -> io::Result<Self> {
        let wire = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        Ok(if udp {
            Self::Udp { socket: wire }
        } else {
            // A delimiter first ends whatever half frame the process before left in the wire.
            Self::Serial { tty: wire, deframer: Box::new(Deframer::new()), unsent: vec![0] }
        })
    }

    /// Hands each frame that has come to `handle`.
    pub fn receive(&mut self, mut handle: impl FnMut(&mut [u8])) -> io::Result<()> {
        let mut buf = [0; 1024];
        match self {
            Self::Serial { tty, deframer, .. } => {
                while let Some(len) = ready(tty.read(&mut buf))? {
                    let mut input = &buf[..len];
                    while let Some(frame) = deframer.next_frame(&mut input) {
                        handle(frame);
                    }
                }
            }
            Self::Udp { socket } => {
                while let Some(len) = ready(socket.read(&mut buf))? {
                    handle(&mut buf[..len]);
                }
            }
        }
        Ok(())
    }

    /// Sends what the endpoint has to send, as long as the port takes it.
    pub fn transmit<S: Storage>(&mut self, endpoint: &mut Endpoint<S>, now: Instant) -> io::Result<()> {
        let mut buf = [0; FRAME];
        match self {
            Self::Serial { tty, unsent, .. } => loop {
                while !unsent.is_empty() {
                    let Some(len) = ready(tty.write(unsent))? else { return Ok(()) };
                    unsent.drain(..len);
                }
                let Some(len) = endpoint.poll_frame(now, &mut buf) else { return Ok(()) };
                unsent.extend_from_slice(&buf[..len]);
            },
            Self::Udp { socket } => {
                while let Some(len) = endpoint.poll_transmit(now, &mut buf) {
                    if ready(socket.write(&buf[..len]))?.is_none() {
                        endpoint.handle_refused();
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    /// Sleeps until a frame comes, the port has room again, or `deadline`. Fails when the parent is gone.
    pub fn wait(&self, clock: &Clock, deadline: Option<Instant>) -> io::Result<()> {
        let (wire, events) = match self {
            Self::Serial { tty, unsent, .. } if unsent.is_empty() => (tty.as_fd(), PollFlags::IN),
            Self::Serial { tty, .. } => (tty.as_fd(), PollFlags::IN | PollFlags::OUT),
            Self::Udp { socket } => (socket.as_fd(), PollFlags::IN),
        };
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(clock.now()).into());
        // Standard error is a pipe to the parent: it says so when nobody is left to read it.
        let parent = io::stderr();
        let mut fds = [PollFd::new(&wire, events), PollFd::new(&parent, PollFlags::empty())];
        sleep(&mut fds, timeout)?;
        if fds.iter().any(|fd| fd.revents().intersects(PollFlags::HUP | PollFlags::NVAL))
            || fds[1].revents().contains(PollFlags::ERR)
        {
            return Err(ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }
}

/// `poll(2)`: until one of `fds` is ready or the time is over.
pub fn sleep(fds: &mut [PollFd<'_>], timeout: Option<time::Duration>) -> io::Result<()> {
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(fds, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The bytes moved, or `None` when there was nothing to read or no room to write.
pub fn ready(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(len) => Ok(Some(len)),
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(None),
        // A datagram socket reports here that nobody listened to the last datagram: it is simply lost.
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Microseconds since this process began: each side has a clock of its own.
pub struct Clock(time::Instant);

impl Clock {
    pub fn start() -> Self {
        Self(time::Instant::now())
    }

    pub fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

/// A duplicate of one of this process's standard streams that does not buffer: one write is one system call.
pub fn unbuffered(stream: BorrowedFd<'_>) -> io::Result<File> {
    let fd: OwnedFd = stream.try_clone_to_owned()?;
    Ok(File::from(fd))
}
