//! The one timer, without a thread: SIGALRM, at the pace of what there is to watch, and not at all when there is nothing.
//!
//! Signals may interrupt a blocking call, so the timer runs only for an idle timeout, during a stop, and while sockets
//! that this server closed itself wait for their clients' FINs.

use crate::state;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// How often, after a stop, silent clients and the drain timeout are looked at.
pub(crate) const STOP_TICK: Duration = Duration::from_millis(50);
/// How late the FIN of a client that was closed by the server may be noticed.
const LINGER_TICK: Duration = Duration::from_millis(20);
/// An idle timeout is measured in eighths of itself.
const IDLE_TICKS_PER_TIMEOUT: u32 = 8;
const MIN_IDLE_TICK: Duration = Duration::from_millis(10);
const SHORTEST_TICK_NS: u64 = 1_000_000;

/// Zero while no idle timeout is set.
static IDLE_TICK_NS: AtomicU64 = AtomicU64::new(0);
static IDLE_LIMIT_TICKS: AtomicU32 = AtomicU32::new(0);
static NEXT_IDLE_TICK_NS: AtomicU64 = AtomicU64::new(0);
/// The interval at which the timer runs; 0 while it does not.
static RUNNING_NS: AtomicU64 = AtomicU64::new(0);
/// Requests to adapt the timer that were not answered yet.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// From now on idle connections are watched.
pub(crate) fn watch_idling(timeout: Duration) {
    let tick_ns = state::nanoseconds((timeout / IDLE_TICKS_PER_TIMEOUT).max(MIN_IDLE_TICK));
    let ticks = u32::try_from(state::nanoseconds(timeout).div_ceil(tick_ns)).unwrap_or(IDLE_TICKS_PER_TIMEOUT);
    IDLE_LIMIT_TICKS.store(ticks, SeqCst);
    IDLE_TICK_NS.store(tick_ns, SeqCst);
}

/// Counts an idle tick if it is time for one; how many of them a client may be silent. Ticks are counted, not computed from
/// the clock: a process that was held up must not take its clients for idle.
pub(crate) fn count_idle_tick(now_ns: u64) -> Option<u32> {
    let (tick_ns, due_ns) = (IDLE_TICK_NS.load(SeqCst), NEXT_IDLE_TICK_NS.load(SeqCst));
    // The timer may come a little early, measured from a tick that was late.
    if tick_ns == 0 || now_ns + tick_ns / 4 < due_ns {
        return None;
    }
    let is_late = now_ns >= due_ns + tick_ns;
    NEXT_IDLE_TICK_NS.store(if is_late { now_ns } else { due_ns } + tick_ns, SeqCst);
    Some(IDLE_LIMIT_TICKS.load(SeqCst))
}

/// Runs the timer at the pace of what there is to watch now, or ends it. Async-signal-safe.
pub(crate) fn adapt() {
    // Whoever comes while another is at it leaves the work to that one, which sees by the count that it has to look again.
    if REQUESTS.fetch_add(1, SeqCst) > 0 {
        return;
    }
    let mut requests = 1;
    loop {
        let wanted_ns = interval_ns();
        if RUNNING_NS.swap(wanted_ns, SeqCst) != wanted_ns {
            set(wanted_ns);
        }
        match REQUESTS.compare_exchange(requests, 0, SeqCst, SeqCst) {
            Ok(_) => return,
            Err(more) => requests = more,
        }
    }
}

/// A forked child has none of its parent's timers.
pub(crate) fn become_forked_child() {
    RUNNING_NS.store(0, SeqCst);
    adapt();
}

/// Ends what was inherited: timers survive exec(2).
pub(crate) fn end_inherited() {
    let never = every(0);
    for which in [libc::ITIMER_REAL, libc::ITIMER_VIRTUAL, libc::ITIMER_PROF] {
        // SAFETY: as in `set`.
        unsafe { libc::setitimer(which, &raw const never, std::ptr::null_mut()) };
    }
}

/// Of what has to be watched, the shortest interval; 0 for nothing.
fn interval_ns() -> u64 {
    let stop_ns = state::is_stopping().then(|| state::nanoseconds(STOP_TICK).min(state::drain_timeout_ns()));
    let linger_ns = (state::lingering() > 0).then(|| state::nanoseconds(LINGER_TICK));
    let idle_ns = Some(IDLE_TICK_NS.load(SeqCst)).filter(|&tick_ns| tick_ns > 0);
    let shortest = [stop_ns, linger_ns, idle_ns].into_iter().flatten().min();
    shortest.map_or(0, |interval_ns| interval_ns.max(SHORTEST_TICK_NS))
}

fn set(interval_ns: u64) {
    let timer = every(interval_ns);
    // SAFETY: the pointer is to a live value; the old timer is not asked for. On Linux setitimer is a bare
    // system call, so a handler may make it.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
}

fn every(interval_ns: u64) -> libc::itimerval {
    let interval = libc::timeval {
        tv_sec: libc::time_t::try_from(interval_ns / 1_000_000_000).unwrap_or(libc::time_t::MAX),
        tv_usec: libc::suseconds_t::try_from(interval_ns % 1_000_000_000 / 1000).unwrap_or(0),
    };
    libc::itimerval {
        it_interval: interval,
        it_value: interval,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, since the ticks are the process's.
    #[test]
    fn idle_ticks_come_at_their_own_pace_however_often_the_timer_runs_and_one_by_one_after_a_hold_up() {
        const MS: u64 = 1_000_000;
        let count = |from: u64, to: u64, step: usize| {
            let times = (from..to).step_by(step);
            times.filter(|&ms| count_idle_tick(ms * MS).is_some()).count()
        };
        watch_idling(Duration::from_secs(1)); // a tick is 125 ms
        assert_eq!(count_idle_tick(1_000 * MS), Some(8));
        assert_eq!(count(1_001, 2_001, 20), 8);
        assert!((79..=80).contains(&count(2_001, 12_001, 125)));
        assert_eq!(count(60_000, 60_100, 20), 1, "though 48 s have passed");
    }
}
