//! What a server says on stderr. Nothing here may fail: a closed stderr is no reason to stop serving.

use crate::{shared, signal};
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

/// One line on stderr.
pub(crate) fn notice(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// At most one line a second for troubles that can come in thousands; the rest are counted, not told. Shared with
/// forked children, so that a thousand workers tell one line a second together.
pub(crate) struct Throttle {
    /// On the monotonic clock; 0 before the first line.
    told_at_ns: &'static AtomicU64,
    untold: &'static AtomicU64,
}

const INTERVAL_NS: u64 = 1_000_000_000;

impl Throttle {
    pub(crate) fn new_shared() -> io::Result<Self> {
        let words = shared::words(2)?;
        Ok(Self {
            told_at_ns: &words[0],
            untold: &words[1],
        })
    }

    /// Tells `text`, or counts it when a line was told less than a second ago.
    pub(crate) fn notice(&self, text: &str) {
        if let Some(line) = self.admit(text, signal::monotonic_ns()) {
            notice(&line);
        }
    }

    fn admit(&self, text: &str, now_ns: u64) -> Option<String> {
        let told_at_ns = self.told_at_ns.load(SeqCst);
        let is_soon = told_at_ns != 0 && now_ns.saturating_sub(told_at_ns) < INTERVAL_NS;
        // Of several that come at once, one is told.
        let is_told = !is_soon
            && self
                .told_at_ns
                .compare_exchange(told_at_ns, now_ns, SeqCst, Relaxed)
                .is_ok();
        if !is_told {
            self.untold.fetch_add(1, SeqCst);
            return None;
        }
        match self.untold.swap(0, SeqCst) {
            0 => Some(text.to_string()),
            untold => Some(format!("{text} ({untold} more since the last line)")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_is_told_and_the_rest_are_counted() {
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
