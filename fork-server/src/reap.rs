//! The children that live: none stays a zombie, and each gives back what it held when it ends, however it ends.
//!
//! SIGCHLD is never ignored: the kernel would then reap by itself and lose the children's CPU time.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Running children, each with what it holds (a [`server_kit::Slot`] for one that serves a client).
pub(crate) struct Children<T> {
    running: HashMap<Pid, T>,
    ended: SignalFd,
}

impl<T> Children<T> {
    /// Blocks SIGCHLD, which from now on makes a descriptor readable instead. To be called while the process has
    /// one thread.
    pub(crate) fn new() -> io::Result<Self> {
        let mask = SigSet::from(Signal::SIGCHLD);
        mask.thread_block()?;
        let ended = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self {
            running: HashMap::new(),
            ended,
        })
    }

    /// Readable when a child has ended since the last [`Children::reap`].
    pub(crate) fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    pub(crate) fn add(&mut self, child: Pid, held: T) {
        self.running.insert(child, held);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Takes every child that has ended off the process table. Signals coalesce, so one can stand for many.
    pub(crate) fn reap(&mut self) -> io::Result<()> {
        self.reap_each(|_, _| {})
    }

    /// As [`Children::reap`]; tells of each how it ended, and gives what it held.
    pub(crate) fn reap_each(&mut self, mut ended: impl FnMut(WaitStatus, T)) -> io::Result<()> {
        while self.ended.read_signal()?.is_some() {}
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
                Ok(status) => {
                    if let Some(held) = status.pid().and_then(|child| self.running.remove(&child)) {
                        ended(status, held);
                    }
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends a signal to every running child. One that has ended meanwhile is a zombie of ours, so its number
    /// cannot be anyone else's yet.
    pub(crate) fn signal_all(&self, signal: Signal) {
        for &child in self.running.keys() {
            let _ = kill(child, signal);
        }
    }
}
