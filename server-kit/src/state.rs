//! What handlers, threads and the hot path ask of the process: is it stopping, which tick is it, how many sockets
//! linger. Atomics and the clock, nothing else: all of it is async-signal-safe, and nothing here acts.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

static STOP: Stop = Stop::new();
static DRAIN_TIMEOUT_NS: AtomicU64 = AtomicU64::new(0);
static IS_READY: AtomicBool = AtomicBool::new(false);
static IS_FORKED_CHILD: AtomicBool = AtomicBool::new(false);
static IDLE_TICK: AtomicU32 = AtomicU32::new(0);
static LINGERING: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn set_drain_timeout(timeout: Duration) {
    DRAIN_TIMEOUT_NS.store(nanoseconds(timeout), SeqCst);
}

/// `--drain-timeout`.
pub(crate) fn drain_timeout_ns() -> u64 {
    DRAIN_TIMEOUT_NS.load(SeqCst)
}

/// Whether a stop has begun. One relaxed load: it is asked before every read.
#[inline]
pub(crate) fn is_stopping() -> bool {
    STOP.has_begun()
}

/// Begins a stop whose drain timeout starts now; false when it had begun before.
pub(crate) fn set_stopping() -> bool {
    STOP.begin(monotonic_ns().saturating_add(drain_timeout_ns()).max(1))
}

/// Whether a stop has begun and its drain timeout is over.
pub(crate) fn is_drain_over(now_ns: u64) -> bool {
    STOP.is_over(now_ns)
}

/// A stop and its deadline, which handlers and threads ask for while others begin it.
struct Stop {
    has_begun: AtomicBool,
    /// On the monotonic clock; 0 until the stop begins, and never 0 when `has_begun` is true.
    deadline_ns: AtomicU64,
}

impl Stop {
    const fn new() -> Self {
        Self {
            has_begun: AtomicBool::new(false),
            deadline_ns: AtomicU64::new(0),
        }
    }

    /// Only the first deadline counts; false when there was one.
    fn begin(&self, deadline_ns: u64) -> bool {
        let first = self.deadline_ns.compare_exchange(0, deadline_ns, SeqCst, SeqCst);
        // The deadline first: whoever sees the stop sees its deadline too.
        self.has_begun.store(true, SeqCst);
        first.is_ok()
    }

    #[inline]
    fn has_begun(&self) -> bool {
        self.has_begun.load(Relaxed)
    }

    fn is_over(&self, now_ns: u64) -> bool {
        // In the opposite order of `begin`.
        self.has_begun.load(SeqCst) && now_ns >= self.deadline_ns.load(SeqCst)
    }
}

/// Whether READY was printed.
pub(crate) fn is_ready() -> bool {
    IS_READY.load(SeqCst)
}

pub(crate) fn set_ready() {
    IS_READY.store(true, SeqCst);
}

/// Whether this process was forked by the kit.
pub(crate) fn is_forked_child() -> bool {
    IS_FORKED_CHILD.load(SeqCst)
}

/// A forked child has none of its parent's lingering sockets.
pub(crate) fn become_forked_child() {
    IS_FORKED_CHILD.store(true, SeqCst);
    LINGERING.store(0, SeqCst);
}

/// The number of the idle tick; stays 0 without an idle timeout.
#[inline]
pub(crate) fn idle_tick() -> u32 {
    IDLE_TICK.load(Relaxed)
}

/// The next idle tick.
pub(crate) fn advance_idle_tick() -> u32 {
    IDLE_TICK.fetch_add(1, SeqCst).wrapping_add(1)
}

/// Sockets that were sent a FIN and wait for the client's.
pub(crate) fn lingering() -> usize {
    LINGERING.load(SeqCst)
}

pub(crate) fn one_more_lingers() {
    LINGERING.fetch_add(1, SeqCst);
}

pub(crate) fn one_less_lingers() {
    LINGERING.fetch_sub(1, SeqCst);
}

/// CLOCK_MONOTONIC; clock_gettime is async-signal-safe.
pub(crate) fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live value, and the clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_stop_that_is_seen_is_seen_with_its_deadline() {
        // Read in the other order, one in 400 of these is over before it begins.
        let stops: Vec<Stop> = (0..200_000).map(|_| Stop::new()).collect();
        thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let seen_over = |stop: &Stop| {
                    let mut over = false;
                    while !stop.has_begun() {
                        over |= stop.is_over(1);
                    }
                    over
                };
                stops.iter().filter(|stop| seen_over(stop)).count()
            });
            for stop in &stops {
                assert!(stop.begin(u64::MAX));
            }
            assert_eq!(watcher.join().unwrap(), 0);
        });
    }

    #[test]
    fn the_first_deadline_counts() {
        let stop = Stop::new();
        assert!(!stop.is_over(u64::MAX), "no stop, no end");
        assert!(stop.begin(5));
        assert!(!stop.begin(9));
        assert!(!stop.is_over(4) && stop.is_over(5));
    }
}
