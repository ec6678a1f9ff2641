//! The one clock of the engine: CLOCK_MONOTONIC in nanoseconds.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds since an arbitrary moment in the past; never runs backwards.
#[inline]
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC always exists on Linux");
    // It is never negative.
    now.tv_sec().cast_unsigned() * 1_000_000_000 + now.tv_nsec().cast_unsigned()
}
