//! A forked child that cannot outlive its parent and holds nothing of it but what it was given.

use crate::admission::{ChildSeat, Slot};
use crate::{Server, linger, registry, signal};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

const PANICKED: libc::c_int = 101;

/// A child that was forked for one client.
pub struct ClientChild {
    pub pid: Pid,
    /// What the parent reclaims when the child has ended.
    pub seat: Option<ChildSeat>,
}

impl Server {
    /// Forks a child for the client that `slot` was reserved for. The child keeps standard input, output and error and the
    /// descriptors of `keep`, runs `serve` with the slot, and exits without returning once no socket of it lingers. It is
    /// killed when the parent ends, however that happens; its first SIGTERM or SIGINT is a stop, later ones are ignored. It
    /// counts into the parent's counters, and gives the slot back itself; the parent only reclaims what a killed child
    /// left ([`Server::reclaim_seat`]).
    ///
    /// # Errors
    /// When the system has no room for a process; the slot is free again.
    pub fn fork_for_client(
        &self,
        slot: Slot,
        keep: &[BorrowedFd<'_>],
        serve: impl FnOnce(Slot),
    ) -> io::Result<ClientChild> {
        let mut slot = Some(slot);
        let child = || {
            if let Some(slot) = slot.take() {
                serve(slot.take_over());
            }
        };
        let pid = fork_then(|| Ok(()), keep, child)?;
        Ok(ClientChild {
            pid,
            seat: slot.take().and_then(|slot| slot.hand_on(pid)),
        })
    }

    /// As [`Server::fork_for_client`], for a child that admits clients itself: signals end its blocking calls with EINTR, and
    /// the parent must [`Server::reclaim`] what it held when it has ended.
    ///
    /// # Errors
    /// When the system has no room for a process.
    pub fn fork_worker(&self, keep: &[BorrowedFd<'_>], child: impl FnOnce()) -> io::Result<Pid> {
        fork_then(signal::interrupt_blocking_calls, keep, child)
    }
}

/// Must only be called while the process has one thread, which holds for every server that forks: neither it nor the kit
/// starts any.
fn fork_then(prepare: fn() -> io::Result<()>, keep: &[BorrowedFd<'_>], child: impl FnOnce()) -> io::Result<Pid> {
    let parent = getpid();
    let blocked = signal::Blocked::new()?;
    // SAFETY: this process has one thread, so no lock is held by a thread that the child lacks, and the child may do
    // whatever the parent may.
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
            linger::wait_finished();
            // SAFETY: _exit(2) ends the process at once; nothing of the parent's may be dropped or flushed here.
            unsafe { libc::_exit(code) }
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
    linger::become_forked_child();
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
