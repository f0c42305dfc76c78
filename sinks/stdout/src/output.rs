//! Writing without waiting, where the kernel knows how: to pipes, and to files on some file systems.

use std::io::{self, ErrorKind, Write};
#[cfg(unix)]
use std::os::fd::AsFd;

/// What lines are written to.
pub(crate) trait Output: Write + Send {
    /// Writes as much as there is room for and never waits. `Unsupported` where that cannot be promised.
    fn write_at_once(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }
}

/// Anything that may keep anyone who writes to it.
pub(crate) struct ByThread<W>(pub(crate) W);

/// A pipe or a file.
#[cfg(unix)]
pub(crate) struct AtOnce<W>(pub(crate) W);

impl<W: Write + Send> Output for ByThread<W> {}

#[cfg(unix)]
impl<W: Write + AsFd + Send> Output for AtOnce<W> {
    #[cfg(target_os = "linux")]
    fn write_at_once(&mut self, bytes: &[u8]) -> io::Result<usize> {
        use rustix::io::{Errno, ReadWriteFlags, pwritev2};

        /// To where the file stands, as `write` does.
        const HERE: u64 = u64::MAX;
        let slices = [io::IoSlice::new(bytes)];
        match pwritev2(&self.0, &slices, HERE, ReadWriteFlags::NOWAIT) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                Err(ErrorKind::Unsupported.into())
            }
            outcome => Ok(outcome?),
        }
    }
}

impl<W: Write> Write for ByThread<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(unix)]
impl<W: Write> Write for AtOnce<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
