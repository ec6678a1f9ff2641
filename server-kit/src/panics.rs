//! What becomes of a panic: one line on stderr, and before READY the end of the server.
//!
//! Runtimes panic where they get no thread or no descriptor at their start; some then wait for ever for the threads that
//! they did get. Later, a panic is one client's or one worker's, and the others' server goes on.

use crate::notice::notice;
use crate::state;
use std::panic::{self, PanicHookInfo};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

/// To be called once, with the target's name.
pub(crate) fn install(name: &'static str) {
    panic::set_hook(Box::new(move |info| {
        if state::is_ready() || state::is_forked_child() {
            notice(&format!("{name}: a panic: {}{}", message(info), place(info)));
        } else {
            claim_last_word();
            notice(&format!("{name}: cannot start: {}", message(info)));
            // SAFETY: _exit(2) ends the process at once, whatever its other threads hold or wait for.
            unsafe { libc::_exit(1) };
        }
    }));
}

/// Of several threads that fail at the start, one says why; the others wait here for the end that it brings.
pub(crate) fn claim_last_word() {
    static IS_CLAIMED: AtomicBool = AtomicBool::new(false);
    if IS_CLAIMED.swap(true, SeqCst) {
        loop {
            thread::park();
        }
    }
}

/// On one line.
fn message(info: &PanicHookInfo<'_>) -> String {
    let text = info.payload_as_str().unwrap_or("a panic without a message");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn place(info: &PanicHookInfo<'_>) -> String {
    info.location().map(|place| format!(" ({place})")).unwrap_or_default()
}
