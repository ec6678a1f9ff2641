//! The server's own close: FIN first, then discard what the client still sends until its FIN, then close.
//!
//! A plain close with unread bytes sends a reset (RFC 1122, 4.2.2.13), and a reset can destroy the tail of the
//! echo on its way. So the kit keeps a duplicate of the descriptor, and the timer looks after it. The backend's own
//! stream goes at once: no thread, no worker, no seat and no code of a backend waits for a client that does not end, and a
//! stop needs nothing that it has not got.

use crate::counters::Counters;
use crate::{registry, state, timer};
use nix::sys::socket::{Shutdown, shutdown};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

/// The times of lingering sockets are counted in these; see `registry`.
const UNIT_NS: u64 = 10_000_000;
/// Below the half of what the registry's words can tell apart.
const LONGEST_UNITS: u64 = 1 << 25;
/// Reads of one socket per pass, so that one fast client does not keep the others waiting.
const READS_PER_PASS: usize = 16;
const READ_BYTES: usize = 1 << 20;

static COUNTERS: OnceLock<&'static Counters> = OnceLock::new();
/// Sockets that may linger at a time while the server is not stopping.
static MOST_LINGERING: AtomicUsize = AtomicUsize::new(0);
/// A descriptor to give up when there is no other for a duplicate: the stream that was duplicated is closed right after,
/// so one is enough. 0 for none, as at the start of every process: standard input is no spare.
static SPARE: AtomicI32 = AtomicI32::new(0);

/// To be called once, before anything lingers.
pub(crate) fn install(counters: &'static Counters, nofile: u64) {
    let _ = COUNTERS.set(counters);
    // Refused clients must not use up the descriptors of those to be served; at a stop nobody else comes.
    MOST_LINGERING.store(usize::try_from(nofile / 4).unwrap_or(usize::MAX), SeqCst);
    keep_spare();
}

/// The parent's spare was closed in the child, with all its descriptors.
pub(crate) fn become_forked_child() {
    SPARE.store(0, SeqCst);
}

/// Takes over the rest of a connection that the server ends; the FIN is still to be sent. From now on the process does not
/// end before the client's FIN or the drain timeout.
pub(crate) fn keep(stream: BorrowedFd<'_>) -> Kept<'_> {
    if state::lingering() >= MOST_LINGERING.load(SeqCst) && !state::is_stopping() {
        registry::close_oldest_lingering(now_units());
    }
    let until = now_units().wrapping_add(u32::try_from(drain_units()).unwrap_or(0));
    let registered = duplicate(stream).and_then(|fd| registry::register_lingering(fd, until));
    Kept {
        stream,
        is_registered: registered.is_ok(),
    }
}

/// The right to send the FIN.
#[must_use]
pub(crate) struct Kept<'a> {
    stream: BorrowedFd<'a>,
    is_registered: bool,
}

impl Kept<'_> {
    pub(crate) fn send_fin(self) {
        // An error means that the client is gone, which the next look at the socket finds.
        let _ = shutdown(self.stream.as_raw_fd(), Shutdown::Write);
        if self.is_registered {
            timer::adapt();
        } else {
            discard_queued(self.stream.as_raw_fd()); // no descriptor left: a byte still under way now makes a reset
        }
    }
}

/// Looks at every lingering socket. Async-signal-safe.
pub(crate) fn sweep() {
    let is_drain_over = state::is_drain_over(state::monotonic_ns());
    registry::sweep_lingering(now_units(), |fd| {
        let is_at_end = discard_queued(fd) && !awaits_fin(fd);
        is_at_end || is_drain_over
    });
}

/// Blocks until nothing lingers.
pub(crate) fn wait_finished() {
    const FIRST_PAUSE: Duration = Duration::from_micros(100);
    const LONGEST_PAUSE: Duration = Duration::from_millis(10);
    let mut pause = FIRST_PAUSE;
    while state::lingering() > 0 {
        sweep();
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Drops what is queued. Returns whether there is no more to read: the client has ended too, or the kit had ended the
/// reading. Async-signal-safe.
fn discard_queued(fd: RawFd) -> bool {
    for _ in 0..READS_PER_PASS {
        let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
        // SAFETY: with MSG_TRUNC, TCP discards the bytes instead of copying them (tcp(7)): nothing is written.
        let bytes = unsafe { libc::recv(fd, std::ptr::null_mut(), READ_BYTES, flags) };
        match u64::try_from(bytes) {
            Ok(0) => return true,
            Ok(bytes) => count_discarded(bytes),
            Err(_) => match io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN) => return false,
                _ => return true,
            },
        }
    }
    false
}

fn count_discarded(bytes: u64) {
    if let Some(counters) = COUNTERS.get() {
        counters.bytes_discarded.fetch_add(bytes, Relaxed);
    }
}

/// Whether the client has not sent its FIN yet. Where the kit had ended the reading, a read cannot tell.
fn awaits_fin(fd: RawFd) -> bool {
    const FIN_WAIT_1: u8 = 4;
    const FIN_WAIT_2: u8 = 5;
    registry::tcp_info(fd).is_some_and(|info| matches!(info.tcpi_state, FIN_WAIT_1 | FIN_WAIT_2))
}

/// At a stop without a descriptor left, threads that close at the same time have the spare in turn.
fn duplicate(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const TURN: Duration = Duration::from_millis(1);
    const TURNS_AT_STOP: u32 = 200;
    let mut turns = if state::is_stopping() { TURNS_AT_STOP } else { 1 };
    loop {
        let duplicate = fd.try_clone_to_owned().or_else(|_| {
            drop(take_spare());
            fd.try_clone_to_owned()
        });
        turns -= 1;
        if duplicate.is_ok() || turns == 0 {
            keep_spare();
            return duplicate;
        }
        thread::sleep(TURN);
    }
}

fn keep_spare() {
    if SPARE.load(SeqCst) == 0
        && let Ok(spare) = io::stderr().as_fd().try_clone_to_owned()
    {
        let spare = spare.into_raw_fd();
        if SPARE.compare_exchange(0, spare, SeqCst, SeqCst).is_err() {
            // SAFETY: opened above, and nobody else has heard of it.
            drop(unsafe { OwnedFd::from_raw_fd(spare) });
        }
    }
}

fn take_spare() -> Option<OwnedFd> {
    let spare = SPARE.swap(0, SeqCst);
    // SAFETY: who takes the number out of the one place where it stands owns the descriptor.
    (spare != 0).then(|| unsafe { OwnedFd::from_raw_fd(spare) })
}

fn now_units() -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the registry compares them wrapping")]
    let units = (state::monotonic_ns() / UNIT_NS) as u32;
    units
}

fn drain_units() -> u64 {
    state::drain_timeout_ns().div_ceil(UNIT_NS).min(LONGEST_UNITS)
}
