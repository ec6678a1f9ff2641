//! SIGTERM, SIGINT and the timer's SIGALRM, without a thread: handlers that only store atomics and make system calls.
//!
//! First signal: accepting ends at once, and the backends see [`state::is_stopping`] after their current read. Each
//! tick from then on the connections that are silent get an end of stream; after the drain timeout what is
//! left is shut down in both directions. So no backend has signal code or timers of its own. A second signal
//! ends the first process at once; a forked child ignores it, since Ctrl-C reaches the whole group and the parent
//! forwards what it gets.

use crate::{backoff, linger, registry, state, timer};
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask, sigaction};
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// A client is silent that sent nothing for so long: more than the pause between two messages of a busy client on a
/// busy machine, and less than anyone waits for.
const SILENCE_MS: u32 = 250;

/// Stop signals that this process has received. Not stops: a server that fails begins one by itself.
static STOP_SIGNALS: AtomicU32 = AtomicU32::new(0);
/// When silent clients are looked for again.
static NEXT_LOOK_NS: AtomicU64 = AtomicU64::new(0);

/// Installs the handlers, and undoes what the parent may have left: blocked or ignored signals and running timers
/// survive exec(2). With an idle timeout, starts its ticks.
pub(crate) fn install(drain_timeout: Duration, idle_timeout: Option<Duration>) -> io::Result<()> {
    timer::end_inherited();
    state::set_drain_timeout(drain_timeout);
    if let Some(timeout) = idle_timeout {
        timer::watch_idling(timeout);
    }
    // SA_RESTART keeps blocking reads and writes whole.
    set_handlers(SaFlags::SA_RESTART)?;
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: no code of ours runs for it. Ignored, the kernel would reap children by itself and lose their CPU time.
    unsafe { sigaction(Signal::SIGCHLD, &default) }?;
    let mut needed = handled_signals();
    needed.add(Signal::SIGCHLD);
    // Last: what was pending arrives now.
    pthread_sigmask(SigmaskHow::SIG_UNBLOCK, Some(&needed), None)?;
    timer::adapt();
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

/// Begins a stop as the first signal does, if none has begun. Async-signal-safe.
pub(crate) fn begin_stop() {
    if state::set_stopping() {
        registry::shut_listeners();
        backoff::wake_all();
        timer::adapt();
    }
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
/// fork does not copy) runs again if there is something to watch.
pub(crate) fn become_forked_child() -> io::Result<()> {
    state::become_forked_child();
    timer::become_forked_child();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    Ok(())
}

extern "C" fn on_stop_signal(number: libc::c_int) {
    let errno = Errno::last();
    let is_first = STOP_SIGNALS.fetch_add(1, SeqCst) == 0;
    if !is_first && !state::is_forked_child() {
        // SAFETY: _exit(2) is async-signal-safe; nothing is to be flushed, that is what a second signal asks for.
        unsafe { libc::_exit(128 + number) };
    }
    begin_stop();
    errno.set();
}

extern "C" fn on_tick(_number: libc::c_int) {
    let errno = Errno::last();
    let now_ns = state::monotonic_ns();
    if state::is_stopping() {
        watch_stop(now_ns);
    } else {
        watch_idling(now_ns);
    }
    if state::lingering() > 0 {
        linger::sweep();
    }
    timer::adapt();
    errno.set();
}

fn watch_stop(now_ns: u64) {
    if state::is_drain_over(now_ns) {
        registry::shut_connections();
    } else if now_ns >= NEXT_LOOK_NS.load(SeqCst) {
        // Rounded down by half a tick, which may come a little early.
        NEXT_LOOK_NS.store(now_ns + state::nanoseconds(timer::STOP_TICK / 2), SeqCst);
        registry::quiet_silent_connections(SILENCE_MS);
    }
}

fn watch_idling(now_ns: u64) {
    if let Some(limit_ticks) = timer::count_idle_tick(now_ns) {
        registry::quiet_idle_connections(state::advance_idle_tick(), limit_ticks);
    }
}

fn handled_signals() -> SigSet {
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGALRM].into_iter().collect()
}
