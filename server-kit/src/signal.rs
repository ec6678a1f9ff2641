//! SIGTERM, SIGINT and the one timer, without a thread: handlers that only store atomics and call shutdown(2).
//!
//! First signal: accepting ends at once, and the backends see [`is_stopping`] after their current read. Each
//! [`STOP_TICK`] from then on the connections that are silent get an end of stream; after the drain timeout what is
//! left is shut down in both directions. So no backend has signal code or timers of its own. A second signal
//! ends the first process at once; a forked child ignores it, since Ctrl-C reaches the whole group and the parent
//! forwards what it gets.

use crate::registry;
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask, sigaction};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

/// How often, after a stop, silent clients and the drain timeout are looked at.
const STOP_TICK: Duration = Duration::from_millis(50);
/// A client is silent that sent nothing for so long: more than the pause between two messages of a busy client on a
/// busy machine, and less than anyone waits for.
const SILENCE_MS: u32 = 250;
/// An idle timeout is measured in eighths of itself.
const IDLE_TICKS_PER_TIMEOUT: u32 = 8;
const MIN_IDLE_TICK: Duration = Duration::from_millis(10);

static STOPPING: AtomicBool = AtomicBool::new(false);
/// On the monotonic clock; 0 until a stop begins.
static STOP_DEADLINE_NS: AtomicU64 = AtomicU64::new(0);
static DRAIN_TIMEOUT_NS: AtomicU64 = AtomicU64::new(0);
static IS_FORKED_CHILD: AtomicBool = AtomicBool::new(false);
static IDLE_TICK: AtomicU32 = AtomicU32::new(0);
/// Zero while no idle timeout is set.
static IDLE_LIMIT_TICKS: AtomicU32 = AtomicU32::new(0);
static IDLE_TICK_NS: AtomicU64 = AtomicU64::new(0);

/// Installs the handlers and, with an idle timeout, starts its ticks.
pub(crate) fn install(drain_timeout: Duration, idle_timeout: Option<Duration>) -> io::Result<()> {
    DRAIN_TIMEOUT_NS.store(nanoseconds(drain_timeout), SeqCst);
    if let Some(timeout) = idle_timeout {
        let tick_ns = nanoseconds((timeout / IDLE_TICKS_PER_TIMEOUT).max(MIN_IDLE_TICK));
        let ticks = u32::try_from(nanoseconds(timeout).div_ceil(tick_ns)).unwrap_or(IDLE_TICKS_PER_TIMEOUT);
        IDLE_TICK_NS.store(tick_ns, SeqCst);
        IDLE_LIMIT_TICKS.store(ticks, SeqCst);
    }
    // SA_RESTART keeps blocking reads and writes whole.
    set_handlers(SaFlags::SA_RESTART)?;
    start_ticks();
    Ok(())
}

/// Lets signals end blocking calls with EINTR, for a forked worker that waits for clients by itself: its parent's
/// stop reaches it as a signal. One that comes just before the call is made up for by the next tick.
pub(crate) fn interrupt_blocking_calls() -> io::Result<()> {
    set_handlers(SaFlags::empty())
}

/// Installs the handlers; they exclude each other in a thread.
fn set_handlers(flags: SaFlags) -> io::Result<()> {
    let set_action = |signal, handler| {
        let action = SigAction::new(SigHandler::Handler(handler), flags, handled_signals());
        // SAFETY: the handlers only touch atomics and make system calls that are safe in a handler.
        unsafe { sigaction(signal, &action) }
    };
    set_action(Signal::SIGALRM, on_tick)?;
    set_action(Signal::SIGTERM, on_stop_signal)?;
    set_action(Signal::SIGINT, on_stop_signal)?;
    Ok(())
}

/// Whether a stop has begun. One relaxed load: it is asked before every read.
#[inline]
pub(crate) fn is_stopping() -> bool {
    STOPPING.load(Relaxed)
}

/// How much of the drain timeout is left; none while not stopping.
pub(crate) fn drain_time_left() -> Option<Duration> {
    let deadline_ns = STOP_DEADLINE_NS.load(SeqCst);
    STOPPING
        .load(SeqCst)
        .then(|| Duration::from_nanos(deadline_ns.saturating_sub(monotonic_ns())))
}

/// Begins a stop as the first signal does. Async-signal-safe.
///
/// Returns false when it had begun before.
pub(crate) fn begin_stop() -> bool {
    let deadline_ns = monotonic_ns().saturating_add(DRAIN_TIMEOUT_NS.load(SeqCst));
    if STOP_DEADLINE_NS
        .compare_exchange(0, deadline_ns, SeqCst, SeqCst)
        .is_err()
    {
        return false;
    }
    STOPPING.store(true, SeqCst);
    registry::shut_listeners();
    start_ticks();
    true
}

/// Whether this process was made by [`Server::fork`](crate::Server::fork).
pub(crate) fn is_forked_child() -> bool {
    IS_FORKED_CHILD.load(SeqCst)
}

/// Counts the idle ticks; stays 0 without an idle timeout.
#[inline]
pub(crate) fn idle_tick() -> u32 {
    IDLE_TICK.load(Relaxed)
}

/// Holds the kit's signals back until dropped: between fork and the child's own set-up none may arrive.
pub(crate) struct Blocked {
    before: SigSet,
}

impl Blocked {
    pub(crate) fn new() -> io::Result<Self> {
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&handled_signals()), Some(&mut before))?;
        Ok(Self { before })
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

/// Makes the handlers a forked child's: further stop signals are ignored, no signal is blocked, the timer (which
/// fork does not copy) runs again.
pub(crate) fn become_forked_child() -> io::Result<()> {
    IS_FORKED_CHILD.store(true, SeqCst);
    start_ticks();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    Ok(())
}

extern "C" fn on_stop_signal(number: libc::c_int) {
    let errno = Errno::last();
    if !begin_stop() && !is_forked_child() {
        // SAFETY: _exit(2) is async-signal-safe; nothing is to be flushed, that is what a second signal asks for.
        unsafe { libc::_exit(128 + number) };
    }
    errno.set();
}

extern "C" fn on_tick(_number: libc::c_int) {
    let errno = Errno::last();
    if STOPPING.load(SeqCst) {
        if monotonic_ns() >= STOP_DEADLINE_NS.load(SeqCst) {
            registry::shut_connections();
        } else {
            registry::quiet_silent_connections(SILENCE_MS);
        }
    } else {
        let now_tick = IDLE_TICK.fetch_add(1, SeqCst).wrapping_add(1);
        registry::quiet_idle_connections(now_tick, IDLE_LIMIT_TICKS.load(SeqCst));
    }
    errno.set();
}

/// Runs the interval timer at the pace of what there is to watch: a stop, idle connections, or nothing.
fn start_ticks() {
    let interval_ns = match STOPPING.load(SeqCst) {
        true => nanoseconds(STOP_TICK).min(DRAIN_TIMEOUT_NS.load(SeqCst)).max(1_000_000),
        false => IDLE_TICK_NS.load(SeqCst),
    };
    if interval_ns == 0 {
        return;
    }
    let interval = libc::timeval {
        tv_sec: libc::time_t::try_from(interval_ns / 1_000_000_000).unwrap_or(libc::time_t::MAX),
        tv_usec: libc::suseconds_t::try_from(interval_ns % 1_000_000_000 / 1000).unwrap_or(0),
    };
    let timer = libc::itimerval {
        it_interval: interval,
        it_value: interval,
    };
    // SAFETY: the pointer is to a live value; the old timer is not asked for. On Linux setitimer is a bare
    // system call, so a handler may make it.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
}

fn handled_signals() -> SigSet {
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGALRM].into_iter().collect()
}

/// CLOCK_MONOTONIC; clock_gettime is async-signal-safe.
pub(crate) fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live value, and the clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
