//! How a server rests that has no room for another client: all its workers, threads or processes together, at one pace.
//!
//! Each for itself, a hundred workers would try a hundred times as often. So each try has a time of its own, and the
//! first that succeeds wakes the next.

use crate::shared::{self, Shareable};
use crate::state;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

/// Short enough to be serving again within 50 ms of a descriptor coming free, long enough to cost nothing.
const SHORTEST_NS: u64 = 20_000_000;
/// Between two tries of a server: fewer than 100 in a second.
const SPACING_NS: u64 = 11_000_000;
/// Where each worker has a listener of its own, nobody else can take its clients: it has to look in time, and more than
/// four workers then try more than 100 times a second.
const LONGEST_WITH_OWN_LISTENER_NS: u64 = 45_000_000;

static SCHEDULE: OnceLock<&'static Schedule> = OnceLock::new();
static HAS_LISTENER_PER_WORKER: AtomicBool = AtomicBool::new(false);

/// Shared with forked workers.
struct Schedule {
    /// The latest try that is planned, on the monotonic clock.
    latest_ns: AtomicU64,
    /// Changes with each wake-up; what sleepers wait on.
    wake_ups: AtomicU32,
    sleepers: AtomicU32,
}

// SAFETY: nothing but atomics of plain integers.
unsafe impl Shareable for Schedule {}

/// To be called once, before any accept.
pub(crate) fn install() -> io::Result<()> {
    let _ = SCHEDULE.set(shared::value()?);
    Ok(())
}

pub(crate) fn set_listener_per_worker() {
    HAS_LISTENER_PER_WORKER.store(true, SeqCst);
}

/// Plans the next try of a worker that has just failed to accept, and returns the time until then.
pub(crate) fn plan_try() -> Duration {
    let longest_ns = if HAS_LISTENER_PER_WORKER.load(Relaxed) {
        LONGEST_WITH_OWN_LISTENER_NS
    } else {
        u64::MAX
    };
    let pause_ns = SCHEDULE.get().map_or(SHORTEST_NS, |schedule| {
        let now_ns = state::monotonic_ns();
        let next = |latest_ns| next_try(latest_ns, now_ns, longest_ns);
        let before_ns = schedule
            .latest_ns
            .fetch_update(SeqCst, SeqCst, |latest_ns| Some(next(latest_ns)));
        next(before_ns.unwrap_or_default()) - now_ns
    });
    Duration::from_nanos(pause_ns)
}

fn next_try(latest_ns: u64, now_ns: u64, longest_ns: u64) -> u64 {
    let next_ns = (latest_ns + SPACING_NS).max(now_ns + SHORTEST_NS);
    next_ns.min(now_ns.saturating_add(longest_ns))
}

/// Blocks until the planned try, or until another worker has found room, or a signal comes.
pub(crate) fn rest(pause: Duration) {
    let Some(schedule) = SCHEDULE.get() else {
        return;
    };
    let wake_ups = schedule.wake_ups.load(SeqCst);
    if state::is_stopping() {
        return;
    }
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(pause.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: pause.subsec_nanos().into(),
    };
    schedule.sleepers.fetch_add(1, SeqCst);
    // SAFETY: the word and the timeout live; futex(2) only reads them. Not FUTEX_PRIVATE: processes wake each other.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            schedule.wake_ups.as_ptr(),
            libc::FUTEX_WAIT,
            wake_ups,
            &raw const timeout,
        )
    };
    schedule.sleepers.fetch_sub(1, SeqCst);
}

/// Tells one resting worker that there is room; it tells the next when it has found some too.
pub(crate) fn wake_one() {
    wake(1);
}

/// Wakes every resting worker. Async-signal-safe.
pub(crate) fn wake_all() {
    wake(libc::c_int::MAX);
}

fn wake(count: libc::c_int) {
    if let Some(schedule) = SCHEDULE.get().filter(|schedule| schedule.sleepers.load(Relaxed) > 0) {
        schedule.wake_ups.fetch_add(1, SeqCst);
        // SAFETY: the word lives; nothing is written.
        unsafe { libc::syscall(libc::SYS_futex, schedule.wake_ups.as_ptr(), libc::FUTEX_WAKE, count) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tries within a second of a server whose workers all fail whenever they try.
    fn tries_in_a_second(workers: usize, longest_ns: u64) -> usize {
        let (mut latest_ns, mut tries) = (0, 0);
        let mut due_ns = vec![0; workers];
        while let Some(due) = due_ns.iter_mut().min().filter(|due| **due < 1_000_000_000) {
            latest_ns = next_try(latest_ns, *due, longest_ns);
            *due = latest_ns;
            tries += 1;
        }
        tries - workers // the first of each, which found out
    }

    #[test]
    fn however_many_workers_fail_they_try_less_than_a_hundred_times_a_second() {
        for workers in [1, 2, 4, 150] {
            let tries = tries_in_a_second(workers, u64::MAX);
            assert!((45..100).contains(&tries), "{workers} workers: {tries}");
        }
    }

    #[test]
    fn four_workers_with_listeners_of_their_own_look_within_50_ms_and_less_than_a_hundred_times_a_second() {
        assert!(tries_in_a_second(4, LONGEST_WITH_OWN_LISTENER_NS) < 100);
        let now_ns = 5_000_000_000;
        assert_eq!(
            next_try(now_ns + 1_000_000_000, now_ns, LONGEST_WITH_OWN_LISTENER_NS) - now_ns,
            LONGEST_WITH_OWN_LISTENER_NS
        );
    }
}
