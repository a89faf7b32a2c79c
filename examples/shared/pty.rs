//! A pseudo-terminal: to the program at its other end it is a serial port.

use std::io;
use std::path::PathBuf;

use bowline::drivers::tokio::Stream;
use rustix::io::ioctl_fionbio;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tokio::net::unix::pipe::{Receiver, Sender};

/// Our end of a new one, in raw mode, and the path of the other end. When ours is dropped, the port is unplugged.
pub fn pty() -> io::Result<(impl Stream, PathBuf)> {
    let end = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&end)?;
    unlockpt(&end)?;
    ioctl_fionbio(&end, true)?;
    let mut attributes = tcgetattr(&end)?;
    attributes.make_raw();
    tcsetattr(&end, OptionalActions::Now, &attributes)?;
    let path = ptsname(&end, Vec::new())?.into_string().map_err(io::Error::other)?;
    // Tokio reads and writes any descriptor that can be waited for, if it is called a pipe.
    let (reader, writer) =
        (Receiver::from_owned_fd_unchecked(end.try_clone()?)?, Sender::from_owned_fd_unchecked(end)?);
    Ok((tokio::io::join(reader, writer), path.into()))
}
