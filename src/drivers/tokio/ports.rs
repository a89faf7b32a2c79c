//! Ports that are open: streams of bytes, and datagram sockets.

use std::boxed::Box;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UdpSocket;

use super::super::asynch::{ReadHalf, WriteHalf};
use super::super::is_lost;

/// A byte stream of any kind.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// A port that is open.
pub enum Io {
    /// A byte stream.
    Stream(Box<dyn Stream>),
    /// A connected datagram socket.
    Datagrams(UdpSocket),
}

pub(super) enum Reader {
    Stream(tokio::io::ReadHalf<Box<dyn Stream>>),
    Datagrams(Arc<UdpSocket>),
}

pub(super) enum Writer {
    Stream(tokio::io::WriteHalf<Box<dyn Stream>>),
    Datagrams(Arc<UdpSocket>),
}

impl Io {
    pub(super) fn split(self) -> (Reader, Writer) {
        match self {
            Self::Stream(stream) => {
                let (reader, writer) = tokio::io::split(stream);
                (Reader::Stream(reader), Writer::Stream(writer))
            }
            Self::Datagrams(socket) => {
                let socket = Arc::new(socket);
                (Reader::Datagrams(Arc::clone(&socket)), Writer::Datagrams(socket))
            }
        }
    }
}

impl ReadHalf for Reader {
    type Error = io::Error;

    fn is_datagram(&self) -> bool {
        matches!(self, Self::Datagrams(_))
    }

    async fn receive(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self {
                Self::Stream(stream) => match stream.read(buf).await? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    len => return Ok(len),
                },
                Self::Datagrams(socket) => match socket.recv(buf).await {
                    Err(error) if is_lost(&error) => {}
                    Ok(0) => {}
                    result => return result,
                },
            }
        }
    }
}

impl WriteHalf for Writer {
    type Error = io::Error;

    async fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stream(stream) => match stream.write(bytes).await? {
                0 => Err(io::ErrorKind::WriteZero.into()),
                len => Ok(len),
            },
            Self::Datagrams(socket) => match socket.send(bytes).await {
                Err(error) if is_lost(&error) => Ok(bytes.len()),
                result => result,
            },
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.flush().await,
            Self::Datagrams(_) => Ok(()),
        }
    }
}
