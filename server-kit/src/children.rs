//! The children that live: none stays a zombie, each gives back what it held when it ends, however it ends, and none
//! outlives a stop.
//!
//! SIGCHLD is never ignored: the kernel would then reap by itself and lose the children's CPU time.

use crate::{Server, state};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::array;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// How much longer than the drain timeout a child may take before it is killed.
const KILL_GRACE: Duration = Duration::from_secs(2);

/// Running children, each with what its parent keeps for it.
pub struct Children<T> {
    running: HashMap<Pid, T>,
    signals: SignalFd,
}

/// A child that has ended and been reaped.
pub struct Ended<T> {
    pub child: Pid,
    pub status: WaitStatus,
    pub kept: T,
}

impl<T> Children<T> {
    /// Blocks SIGCHLD, which from now on makes a descriptor readable instead. To be called while the process has
    /// one thread.
    ///
    /// # Errors
    /// When there is no room for a descriptor.
    pub fn new() -> io::Result<Self> {
        let mask = SigSet::from(Signal::SIGCHLD);
        mask.thread_block()?;
        Ok(Self {
            running: HashMap::new(),
            signals: SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?,
        })
    }

    pub fn add(&mut self, child: Pid, kept: T) {
        self.running.insert(child, kept);
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.running.len()
    }

    /// Waits until one of `watched` is readable, a child has ended, a signal has come or `timeout` is over; reaps, and says
    /// which of `watched` are readable.
    ///
    /// # Errors
    /// When poll(2) or waitpid(2) fails, which only a lack of kernel memory can cause.
    pub fn wait<const N: usize>(
        &mut self,
        watched: [Option<BorrowedFd<'_>>; N],
        timeout: Option<Duration>,
        on_end: impl FnMut(Ended<T>),
    ) -> io::Result<[bool; N]> {
        let present = watched.iter().flatten().copied();
        let mut fds: Vec<_> = [self.signals.as_fd()]
            .into_iter()
            .chain(present)
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        // A stop that comes just before this call is made up for by the kit's ticks, which interrupt it.
        match poll(&mut fds, poll_timeout(timeout)) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok([false; N]),
            Err(error) => return Err(error.into()),
        }
        let mut readable = fds.iter().map(|fd| fd.any().unwrap_or(true));
        let has_ended = readable.next().unwrap_or(false);
        let readable = array::from_fn(|index| watched[index].is_some() && readable.next().unwrap_or(false));
        if has_ended {
            self.reap(on_end)?;
        }
        Ok(readable)
    }

    /// Hands the stop on to every child and waits for all; one that outlives the drain timeout is killed.
    ///
    /// # Errors
    /// As [`Children::wait`].
    pub fn stop(&mut self, server: Server, mut on_end: impl FnMut(Ended<T>)) -> io::Result<()> {
        debug_assert!(state::is_stopping(), "children must end before their server does");
        self.signal_all(Signal::SIGTERM);
        let until = Instant::now() + server.drain_timeout() + KILL_GRACE;
        while self.count() > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.signal_all(Signal::SIGKILL);
            }
            let timeout = if left.is_zero() { KILL_GRACE } else { left };
            self.wait([], Some(timeout), &mut on_end)?;
        }
        Ok(())
    }

    /// Takes every child that has ended off the process table. Signals coalesce, so one can stand for many.
    fn reap(&mut self, mut on_end: impl FnMut(Ended<T>)) -> io::Result<()> {
        while self.signals.read_signal()?.is_some() {}
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
                Ok(status) => {
                    let child = status.pid();
                    if let Some((child, kept)) = child.and_then(|child| self.running.remove_entry(&child)) {
                        on_end(Ended { child, status, kept });
                    }
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// One that has ended meanwhile is a zombie of ours, so its number cannot be anyone else's yet.
    fn signal_all(&self, signal: Signal) {
        for &child in self.running.keys() {
            let _ = kill(child, signal);
        }
    }
}

fn poll_timeout(timeout: Option<Duration>) -> PollTimeout {
    // Rounded up: else a loop would spin through its last millisecond.
    timeout.map_or(PollTimeout::NONE, |time| {
        PollTimeout::try_from(time.saturating_add(Duration::from_micros(999))).unwrap_or(PollTimeout::MAX)
    })
}
