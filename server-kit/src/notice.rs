//! What a server says on stderr. Nothing here may fail or wait: a stderr that is closed, or a pipe that nobody reads, is no
//! reason to stop serving.

use crate::shared::{self, Shareable};
use crate::state;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

/// What poll(2) promises to have room for when a pipe is writable (PIPE_BUF).
const LONGEST_LINE: usize = 4096;

static LOST: OnceLock<&'static AtomicU64> = OnceLock::new();
/// Whether stderr is a pipe, and the kernel knows how to write to it without waiting.
static CAN_REFUSE: AtomicBool = AtomicBool::new(false);

/// From now on lost lines are counted, those of forked children too.
pub(crate) fn install() -> io::Result<()> {
    let _ = LOST.set(shared::value()?);
    let is_pipe = fstat(io::stderr()).is_ok_and(|stderr| stderr.st_mode & libc::S_IFMT == libc::S_IFIFO);
    CAN_REFUSE.store(is_pipe, SeqCst);
    Ok(())
}

/// One line on stderr, if it can be written at once; else it is counted, and the next line that can be written says so.
pub(crate) fn notice(text: &str) {
    let lost = LOST.get().map_or(0, |lost| lost.swap(0, SeqCst));
    let line = match lost {
        0 => format!("{text}\n"),
        lost => format!("{text} ({lost} lines before this one could not be written)\n"),
    };
    if !write_at_once(line.as_bytes())
        && let Some(counter) = LOST.get()
    {
        counter.fetch_add(lost + 1, SeqCst);
    }
}

/// Lines that could not be written and that no later line has told of.
pub(crate) fn lost() -> u64 {
    LOST.get().map_or(0, |lost| lost.load(SeqCst))
}

fn write_at_once(line: &[u8]) -> bool {
    let line = &line[..line.len().min(LONGEST_LINE)];
    if CAN_REFUSE.load(Relaxed) {
        match write_or_refuse(line) {
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL | Errno::EPERM) => CAN_REFUSE.store(false, Relaxed),
            result => return result.is_ok(),
        }
    }
    // What two processes write at the same moment may still wait for each other's reader here, on a Linux before 6.4.
    let stderr = io::stderr();
    let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    let is_writable = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
    is_writable && nix::unistd::write(stderr, line).is_ok()
}

/// A write that fails rather than wait, without making stderr non-blocking for all who share it.
fn write_or_refuse(line: &[u8]) -> nix::Result<()> {
    let part = libc::iovec {
        iov_base: line.as_ptr().cast_mut().cast(),
        iov_len: line.len(),
    };
    // SAFETY: one part, which lives and is only read. -1 for the offset means the file's own position, as write(2).
    let written = unsafe { libc::pwritev2(libc::STDERR_FILENO, &raw const part, 1, -1, libc::RWF_NOWAIT) };
    Errno::result(written).map(drop)
}

/// At most one line a second for troubles that can come in thousands; the rest are counted, not written. Shared with
/// forked children, so that a thousand workers write one line a second together.
pub(crate) struct Throttle(&'static ThrottleState);

struct ThrottleState {
    /// On the monotonic clock; 0 before the first line.
    last_line_ns: AtomicU64,
    left_out: AtomicU64,
}

// SAFETY: nothing but atomics of plain integers.
unsafe impl Shareable for ThrottleState {}

const INTERVAL_NS: u64 = 1_000_000_000;

impl Throttle {
    pub(crate) fn new_shared() -> io::Result<Self> {
        Ok(Self(shared::value()?))
    }

    /// Writes `text`, or counts it when a line was written less than a second ago.
    pub(crate) fn notice(&self, text: &str) {
        if let Some(line) = self.admit(text, state::monotonic_ns()) {
            notice(&line);
        }
    }

    fn admit(&self, text: &str, now_ns: u64) -> Option<String> {
        let Self(state) = self;
        let last_line_ns = state.last_line_ns.load(SeqCst);
        let is_soon = last_line_ns != 0 && now_ns.saturating_sub(last_line_ns) < INTERVAL_NS;
        // Of several that come at once, one is written.
        let is_written = !is_soon
            && state
                .last_line_ns
                .compare_exchange(last_line_ns, now_ns, SeqCst, Relaxed)
                .is_ok();
        if !is_written {
            state.left_out.fetch_add(1, SeqCst);
            return None;
        }
        match state.left_out.swap(0, SeqCst) {
            0 => Some(text.to_string()),
            left_out => Some(format!("{text} ({left_out} more since the last line)")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_is_written_and_the_rest_are_counted() {
        const MS: u64 = 1_000_000;
        let (throttle, start) = (Throttle::new_shared().unwrap(), 5_000 * MS);
        assert_eq!(throttle.admit("full", start).as_deref(), Some("full"));
        for millis in 1..1000 {
            assert_eq!(throttle.admit("full", start + millis * MS), None);
        }
        let line = throttle.admit("full", start + 1000 * MS);
        assert_eq!(line.as_deref(), Some("full (999 more since the last line)"));
        assert_eq!(throttle.admit("full", start + 2000 * MS).as_deref(), Some("full"));
    }
}
