//! SIGINT, SIGTERM and SIGHUP: the first asks for an orderly end, the second ends at once.
//!
//! Signals are sent to the whole process, so the answer is one for the whole process: whatever waits, however deep, asks here.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// What the shell reports for a program that Ctrl-C ended.
const EXIT_CODE: i32 = 130;
/// From the signal to the end of the process.
const LIMIT: Duration = Duration::from_secs(3);
/// How often a wait looks whether the user wants to stop.
const LOOK: Duration = Duration::from_millis(20);

static ASKED: AtomicBool = AtomicBool::new(false);
static ENDS_AT_ONCE: AtomicBool = AtomicBool::new(false);

/// Listens from now on. `hang_up_is_ignored` is how this process was started: `nohup` means that it shall outlive its terminal.
///
/// # Errors
/// When the system does not let us handle the signals.
pub fn listen(hang_up_is_ignored: bool) -> io::Result<()> {
    let signals = [SIGINT, SIGTERM, SIGHUP];
    for &signal in signals
        .iter()
        .filter(|&&signal| signal != SIGHUP || !hang_up_is_ignored)
    {
        // In this order: the shutdowns look at the flags before this signal sets one.
        flag::register_conditional_shutdown(signal, EXIT_CODE, &ENDS_AT_ONCE)?;
        flag::register_conditional_shutdown(signal, EXIT_CODE, &ASKED)?;
        flag::register(signal, &ASKED)?;
    }
    Ok(())
}

/// From now on already the first signal ends at once: nothing is measured, and there is nothing to put in order.
pub fn end_at_once() {
    ENDS_AT_ONCE.store(true, Ordering::Relaxed);
}

/// Whether the user wants to stop.
#[must_use]
pub fn asked() -> bool {
    time_left().is_some()
}

/// Until this process should have ended, counted from when the request was first seen; none while nobody wants it to stop.
#[must_use]
pub fn time_left() -> Option<Duration> {
    static SEEN: OnceLock<Instant> = OnceLock::new();
    ASKED
        .load(Ordering::Relaxed)
        .then(|| LIMIT.saturating_sub(SEEN.get_or_init(Instant::now).elapsed()))
}

/// Does what may block for long on a thread of its own; none once the user wants to stop. The thread is then left behind:
/// the process ends soon.
pub fn unless_asked<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let _ = sender.send(work()); // Nobody waits any more: the user wants to stop.
    });
    loop {
        match receiver.recv_timeout(LOOK) {
            Ok(done) => return Some(done),
            Err(RecvTimeoutError::Timeout) if asked() => return None,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => panic!("the work itself panicked"),
        }
    }
}

/// Waits; less when the user wants to stop.
pub fn sleep(duration: Duration) {
    let deadline = Instant::now() + duration;
    while !asked() && Instant::now() < deadline {
        thread::sleep(LOOK.min(deadline.saturating_duration_since(Instant::now())));
    }
}
