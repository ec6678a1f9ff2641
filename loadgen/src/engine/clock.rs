//! The clocks of the engine: CLOCK_MONOTONIC in nanoseconds, and how it stands to the wall clock.

use nix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime};

/// Nanoseconds since an arbitrary moment in the past; never runs backwards.
#[inline]
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC always exists on Linux");
    // It is never negative.
    now.tv_sec().cast_unsigned() * 1_000_000_000 + now.tv_nsec().cast_unsigned()
}

/// One moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct BothClocks {
    pub(super) now_ns: u64,
    pub(super) wall: SystemTime,
}

impl BothClocks {
    /// Both clocks now, as exact as the closest of some readings.
    pub(super) fn read() -> Self {
        const TRIES: usize = 8;
        Self::closest((0..TRIES).map(|_| (now_ns(), SystemTime::now(), now_ns())))
    }

    /// From readings of the wall clock between two of the monotonic one. A thread that loses its CPU between them would take
    /// one moment for another; of the closest pair the error is at most half of its distance.
    fn closest(readings: impl Iterator<Item = (u64, SystemTime, u64)>) -> Self {
        let closest = readings.min_by_key(|(before_ns, _, after_ns)| after_ns - before_ns);
        let (before_ns, wall, after_ns) = closest.expect("read at least once");
        Self {
            now_ns: before_ns.midpoint(after_ns),
            wall,
        }
    }

    /// Wall-clock time of a moment of the monotonic clock.
    pub(super) fn wall_at(self, moment_ns: u64) -> SystemTime {
        if moment_ns >= self.now_ns {
            self.wall + Duration::from_nanos(moment_ns - self.now_ns)
        } else {
            self.wall - Duration::from_nanos(self.now_ns - moment_ns)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_during_which_the_cpu_was_lost_is_not_taken() {
        let wall = |ns: u64| SystemTime::UNIX_EPOCH + Duration::from_nanos(1_000_000_000 + ns);
        // The CPU was lost before the wall clock was read, not at all, and after it.
        let readings = [
            (100, wall(10_000_110), 10_000_120),
            (20_000_000, wall(20_000_050), 20_000_100),
            (30_000_000, wall(30_000_010), 90_000_000),
        ];
        let clocks = BothClocks::closest(readings.into_iter());
        assert_eq!(clocks.now_ns, 20_000_050);
        assert_eq!(clocks.wall_at(50_000_000), wall(50_000_000));
        assert_eq!(clocks.wall_at(7), wall(7));
    }
}
