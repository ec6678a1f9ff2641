//! A lock that processes take in turns: a record lock (fcntl) on a file without a name.
//!
//! It belongs to the process, not to the open file, so forked workers share one descriptor; and who dies loses it.

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub struct AcceptLock(OwnedFd);

impl AcceptLock {
    /// Nothing is left behind, and a read-only file system is no obstacle.
    ///
    /// # Errors
    /// When there is no room for a descriptor.
    pub fn new() -> io::Result<Self> {
        Ok(Self(memfd_create("accept-lock", MFdFlags::MFD_CLOEXEC)?))
    }

    /// Does `work` while no other process holds the lock.
    ///
    /// # Errors
    /// EINTR when a signal came while waiting for the lock, else those of `work`.
    pub fn hold<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.set(libc::F_WRLCK)?;
        let outcome = work();
        self.set(libc::F_UNLCK)?;
        outcome
    }

    fn set(&self, kind: libc::c_int) -> io::Result<()> {
        let whole_file = libc::flock {
            l_type: libc::c_short::try_from(kind).expect("lock kinds are small numbers"),
            l_whence: libc::c_short::try_from(libc::SEEK_SET).expect("a small number"),
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        fcntl(&self.0, FcntlArg::F_SETLKW(&whole_file))?;
        Ok(())
    }
}

impl AsFd for AcceptLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
