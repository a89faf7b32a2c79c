//! The wire: for each side a pty in raw mode, or a pair of UDP sockets, of which one end goes to the side's process and the
//! other to the fault injector.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::{FdFlags, fcntl_setfd, ioctl_fionbio};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// One side's stretch of wire. None of its calls block.
pub struct Stretch {
    /// The fault injector's end.
    pub injector: File,
    /// The end of the process at this side. We keep it too, so that the wire survives the process.
    pub process: OwnedFd,
}

impl Stretch {
    pub fn open(udp: bool) -> io::Result<Self> {
        if udp { Self::udp() } else { Self::pty() }
    }

    /// A pseudo-terminal: to the process it is a serial port.
    fn pty() -> io::Result<Self> {
        let host = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        fcntl_setfd(&host, FdFlags::CLOEXEC)?;
        ioctl_fionbio(&host, true)?;
        grantpt(&host)?;
        unlockpt(&host)?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let tty = open(ptsname(&host, Vec::new())?, flags, Mode::empty())?;
        let mut attributes = tcgetattr(&tty)?;
        attributes.make_raw();
        tcsetattr(&tty, OptionalActions::Now, &attributes)?;
        Ok(Self { injector: File::from(host), process: tty })
    }

    /// Two sockets on loopback that talk to nobody but each other.
    fn udp() -> io::Result<Self> {
        let ends = [UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?, UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?];
        for (end, other) in [(0, 1), (1, 0)] {
            ends[end].connect(ends[other].local_addr()?)?;
            ends[end].set_nonblocking(true)?;
        }
        let [injector, process] = ends.map(OwnedFd::from);
        Ok(Self { injector: File::from(injector), process })
    }
}
