//! Waiting for events until an absolute time, to the microsecond.
//!
//! The kernel wakes a sleeper late: by the timer slack of its thread (set to 1 ns, see [`super::worker`]), by a
//! thousandth of the time asked for (`select_estimate_accuracy` in fs/select.c), and by the way from the interrupt to the
//! thread, some tens of microseconds. So the last stretch before a planned send is spent looking at the clock.

use crate::record::Waiting;
use nix::errno::Errno;
use nix::libc;
use nix::sys::epoll::{Epoll, EpollEvent, EpollTimeout};
use std::os::fd::AsRawFd;

/// Longest time that `hybrid` looks at the clock before a planned send.
pub(super) const SPIN_NS: u64 = 60_000;
/// Sleeps longer than this are cut in two, so that a thousandth of the second is at most 1 us.
const LONG_NS: u64 = 2_000_000;

/// How long to sleep when a message is planned in `left_ns`; 0 means to look again at once.
#[inline]
pub(super) fn sleep_ns(waiting: Waiting, left_ns: u64) -> u64 {
    match waiting {
        Waiting::Spin => 0,
        Waiting::Hybrid => left_ns.saturating_sub(SPIN_NS),
        Waiting::Sleep if left_ns > LONG_NS => left_ns - LONG_NS / 2,
        Waiting::Sleep => left_ns,
    }
}

/// Waits for events with a limit in nanoseconds; none waits for ever.
///
/// # Errors
/// What the system says, EINTR included.
#[inline]
pub(super) fn wait(epoll: &Epoll, events: &mut [EpollEvent], limit_ns: Option<u64>) -> Result<usize, Errno> {
    let Some(limit_ns) = limit_ns else {
        return epoll.wait(events, EpollTimeout::NONE);
    };
    if limit_ns == 0 {
        return epoll.wait(events, EpollTimeout::ZERO);
    }
    match wait_ns(epoll, events, limit_ns) {
        // A kernel before 5.11, or a container runtime that does not know the call.
        Err(Errno::ENOSYS | Errno::EPERM) => {
            // Rounded down: the rest is spent looking at the clock, which `loadgen_cost.cpu_spin_s` then does not show.
            let ms = u16::try_from(limit_ns / 1_000_000).unwrap_or(u16::MAX);
            epoll.wait(events, EpollTimeout::from(ms))
        }
        waited => waited,
    }
}

/// epoll_pwait2, which nix does not have yet.
fn wait_ns(epoll: &Epoll, events: &mut [EpollEvent], limit_ns: u64) -> Result<usize, Errno> {
    let limit = libc::timespec {
        tv_sec: libc::time_t::try_from(limit_ns / 1_000_000_000).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::try_from(limit_ns % 1_000_000_000).expect("below a second"),
    };
    let room = libc::c_int::try_from(events.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: `events` is writable for `room` entries, and EpollEvent is a transparent epoll_event; `limit` outlives the
    // call; no signal mask is given.
    let count = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll.0.as_raw_fd(),
            events.as_mut_ptr(),
            room,
            &raw const limit,
            std::ptr::null::<libc::sigset_t>(),
            0_usize,
        )
    };
    Errno::result(count).map(|count| usize::try_from(count).expect("not negative"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::epoll::EpollCreateFlags;
    use std::time::{Duration, Instant};

    #[test]
    fn hybrid_sleeps_until_60_us_before_the_time() {
        assert_eq!(sleep_ns(Waiting::Hybrid, 1_000_000), 940_000);
        assert_eq!(sleep_ns(Waiting::Hybrid, 59_000), 0);
        assert_eq!(sleep_ns(Waiting::Spin, 1_000_000), 0);
    }

    #[test]
    fn a_long_sleep_is_cut_in_two() {
        assert_eq!(sleep_ns(Waiting::Sleep, 50_000_000), 49_000_000);
        assert_eq!(sleep_ns(Waiting::Sleep, 1_000_000), 1_000_000);
    }

    #[test]
    fn a_wait_without_events_lasts_as_long_as_asked() {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        let begun = Instant::now();
        let count = wait(&epoll, &mut [EpollEvent::empty()], Some(3_500_000)).unwrap();
        assert!(count == 0 && begun.elapsed() >= Duration::from_micros(3_500));
    }
}
