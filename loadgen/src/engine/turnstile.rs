//! How many connections may be under way at the same time, and how fast they may be opened: over all workers, so that a server
//! with a short accept queue sees the same whatever the threads are.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How long a worker waits for room that others have to make.
const LOOK_NS: u64 = 1_000_000;
/// What a late look may catch up of `--connect-rate`.
const MOST_BEHIND_NS: u64 = 10_000_000;

/// A connection is under way from its connect() to its first echo: an accept queue may hold it until then.
pub(super) struct Turnstile {
    most: u32,
    under_way: AtomicU32,
    /// From one connect() to the next; 0 sets no limit.
    every_ns: u64,
    next_ns: AtomicU64,
}

impl Turnstile {
    pub(super) fn new(most: u32, rate_per_s: Option<u64>) -> Self {
        Self {
            most: most.max(1),
            under_way: AtomicU32::new(0),
            every_ns: rate_per_s.map_or(0, |rate| (1_000_000_000 / rate.max(1)).max(1)),
            next_ns: AtomicU64::new(0),
        }
    }

    /// Lets a connection be opened now.
    ///
    /// # Errors
    /// When to ask again.
    #[inline]
    pub(super) fn enter(&self, now_ns: u64) -> Result<(), u64> {
        let one_more = |under_way: u32| (under_way < self.most).then_some(under_way + 1);
        self.under_way
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .map_err(|_| now_ns + LOOK_NS)?;
        self.in_time(now_ns).inspect_err(|_| self.leave())
    }

    /// The connection is no longer under way, or was not opened after all.
    #[inline]
    pub(super) fn leave(&self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    fn in_time(&self, now_ns: u64) -> Result<(), u64> {
        if self.every_ns == 0 {
            return Ok(());
        }
        let after = |next_ns: u64| {
            let begins_ns = next_ns.max(now_ns.saturating_sub(MOST_BEHIND_NS));
            (next_ns <= now_ns).then_some(begins_ns + self.every_ns)
        };
        let entered = self.next_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after);
        entered.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn no_more_are_under_way_than_the_window_has_room_for() {
        let turnstile = Turnstile::new(2, None);
        assert_eq!([turnstile.enter(0), turnstile.enter(0)], [Ok(()), Ok(())]);
        assert_eq!(turnstile.enter(5 * MS), Err(6 * MS));
        turnstile.leave();
        assert_eq!(turnstile.enter(7 * MS), Ok(()));
    }

    #[test]
    fn a_rate_is_kept_whoever_asks_and_a_long_pause_is_not_caught_up() {
        let turnstile = Turnstile::new(1_000_000, Some(1_000));
        let entered = |from_ms: u64, to_ms: u64| {
            let moments = (from_ms * 10..to_ms * 10).map(|tenth| tenth * MS / 10);
            moments.filter(|now| turnstile.enter(*now).is_ok()).count()
        };
        assert_eq!(entered(1_000, 1_100), 110, "100, and the 10 ms before");
        assert_eq!(entered(1_100, 1_200), 100);
        assert_eq!(entered(60_000, 60_100), 110);
        assert_eq!(turnstile.enter(60_100 * MS - 1), Err(60_100 * MS));
        assert_eq!(
            turnstile.under_way.load(Ordering::Relaxed),
            320,
            "a refused one is not under way"
        );
    }
}
