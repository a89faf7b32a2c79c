//! The host.

use std::io::{Read as _, Write as _, stdin, stdout};

use crate::End;

/// The standard input and output.
pub struct Port(());

impl Port {
    pub(crate) fn open() -> Self {
        Self(())
    }

    /// The next byte; 0 for none any more.
    pub(crate) fn byte(&mut self) -> u8 {
        let mut byte = [0];
        stdin().read_exact(&mut byte).map_or(0, |()| byte[0])
    }

    /// Writes a part of an answer.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        stdout().write_all(bytes).map_err(|_| End)
    }
}
