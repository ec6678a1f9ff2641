//! A forked child that cannot outlive its parent and holds nothing of it but what it was given.

use crate::{Server, registry, signal};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

const PANICKED: libc::c_int = 101;

impl Server {
    /// Forks. The child keeps standard input, output and error and the descriptors of `keep`, runs `child`,
    /// and exits without returning. It is killed when the parent ends, however that happens; its first
    /// SIGTERM or SIGINT is a stop, later ones are ignored. It counts into the parent's counters.
    ///
    /// # Errors
    /// When the system has no room for a process, or when this process has more than one thread.
    pub fn fork(&self, keep: &[BorrowedFd<'_>], child: impl FnOnce()) -> io::Result<Pid> {
        self.fork_then(|| Ok(()), keep, child)
    }

    /// As [`Server::fork`], for a child that admits clients itself: signals end its blocking calls with EINTR, and
    /// the parent must [`Server::reclaim`] what it held when it has ended.
    ///
    /// # Errors
    /// As [`Server::fork`].
    pub fn fork_worker(&self, keep: &[BorrowedFd<'_>], child: impl FnOnce()) -> io::Result<Pid> {
        self.fork_then(signal::interrupt_blocking_calls, keep, child)
    }

    fn fork_then(
        &self,
        prepare: fn() -> io::Result<()>,
        keep: &[BorrowedFd<'_>],
        child: impl FnOnce(),
    ) -> io::Result<Pid> {
        if self.inner().closer.is_started() {
            return Err(io::Error::other("a process with several threads cannot fork safely"));
        }
        let parent = getpid();
        let blocked = signal::Blocked::new()?;
        // SAFETY: this process has one thread (fork servers start none; the kit's only one was asked for above),
        // so no lock is held by a thread that the child lacks, and the child may do whatever the parent may.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => {
                drop(blocked);
                Ok(child)
            }
            ForkResult::Child => {
                let code = match prepare().and_then(|()| become_child(parent, keep)) {
                    Ok(()) => catch_unwind(AssertUnwindSafe(child)).map_or(PANICKED, |()| 0),
                    Err(_) => 1,
                };
                // SAFETY: _exit(2) ends the process at once; nothing of the parent's may be dropped or flushed here.
                unsafe { libc::_exit(code) }
            }
        }
    }
}

fn become_child(parent: Pid, keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != parent {
        return Err(io::Error::other("the parent ended meanwhile"));
    }
    registry::forget_all();
    close_all_but(keep);
    signal::become_forked_child()
}

/// Closes every descriptor above standard error that is not in `keep`: listeners, and other clients' sockets,
/// which would stay open through this child after the parent closed them.
fn close_all_but(keep: &[BorrowedFd<'_>]) {
    let mut kept: Vec<RawFd> = keep.iter().map(AsRawFd::as_raw_fd).filter(|&fd| fd > 2).collect();
    kept.sort_unstable();
    let mut first: RawFd = 3;
    for fd in kept {
        close_range(first, fd - 1);
        first = fd + 1;
    }
    close_range(first, RawFd::MAX);
}

fn close_range(first: RawFd, last: RawFd) {
    if first > last {
        return;
    }
    // SAFETY: the numbers are all the call takes. The Rust owners of these descriptors are the parent's; the child
    // leaves by _exit and never drops them, so nothing is closed twice.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == -1 {
        // Before Linux 5.9, or under a strict seccomp profile. Above the descriptors in use there is nothing.
        for fd in first..=last.min(registry::MAX_DESCRIPTOR) {
            // SAFETY: as above; an unused number is an error that changes nothing.
            unsafe { libc::close(fd) };
        }
    }
}
