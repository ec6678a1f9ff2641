//! Whole numbers as figures and back: the one place that casts between them. No printing; that is `text`'s.
//!
//! A whole number of up to 2^53 is exact as a figure: that is 104 days in nanoseconds, 8 PiB, and more messages than any
//! run sends. Above it the last digits are lost, never the size.

use std::time::Duration;

const NS_PER_US: f64 = 1e3;
const NS_PER_MS: f64 = 1e6;
const NS_PER_S: f64 = 1e9;

/// So many numbers have the upper 53 bits of a random one; all of them are exact as figures.
pub const TWO_TO_THE_53: f64 = 9_007_199_254_740_992.0;

/// A count, a number of bytes or of nanoseconds.
#[must_use]
#[inline]
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, see above")]
pub const fn count_f64(count: u64) -> f64 {
    count as f64
}

/// The length of a list.
#[must_use]
pub const fn len_f64(length: usize) -> f64 {
    // A usize has 64 bits at most.
    count_f64(length as u64)
}

#[must_use]
pub const fn ns_to_us(ns: u64) -> f64 {
    count_f64(ns) / NS_PER_US
}

#[must_use]
pub const fn ns_to_ms(ns: u64) -> f64 {
    count_f64(ns) / NS_PER_MS
}

#[must_use]
pub const fn ns_to_s(ns: u64) -> f64 {
    count_f64(ns) / NS_PER_S
}

/// Rounded to whole nanoseconds; 0 for a negative time or none.
#[must_use]
pub const fn s_to_ns(seconds: f64) -> u64 {
    round_u64(seconds * NS_PER_S)
}

/// A length of time in whole nanoseconds; `u64::MAX` for more than 584 years.
#[must_use]
pub fn duration_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// How many per second; 0 for no time.
#[must_use]
pub const fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count_f64(count) / seconds } else { 0.0 }
}

/// Part over whole; None where there is no whole.
#[must_use]
pub const fn share(part: u64, whole: u64) -> Option<f64> {
    match whole {
        0 => None,
        _ => Some(count_f64(part) / count_f64(whole)),
    }
}

/// Part over whole in percent; None where there is no whole.
#[must_use]
pub const fn percent(part: u64, whole: u64) -> Option<f64> {
    match whole {
        0 => None,
        _ => Some(count_f64(part) * 100.0 / count_f64(whole)),
    }
}

/// The nearest whole number; 0 for a negative figure or none, `u64::MAX` for one that is too large.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float saturates, and NaN becomes 0"
)]
pub const fn round_u64(figure: f64) -> u64 {
    figure.round() as u64
}

/// The whole part; 0 for a negative figure or none, `u64::MAX` for one that is too large.
#[must_use]
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float saturates, and NaN becomes 0"
)]
pub const fn floor_u64(figure: f64) -> u64 {
    figure as u64
}

/// As [`round_u64`], for places in a list.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float saturates, and NaN becomes 0"
)]
pub const fn round_usize(figure: f64) -> usize {
    figure.round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_exact_up_to_two_to_the_fifty_third() {
        let most = 1_u64 << 53;
        assert_eq!(round_u64(count_f64(most - 1)), most - 1);
        assert_eq!(count_f64(most), TWO_TO_THE_53);
    }

    #[test]
    fn what_is_no_whole_number_becomes_the_nearest_one() {
        assert_eq!([0.5, 2.4, -3.0, f64::NAN].map(round_u64), [1, 2, 0, 0]);
        assert_eq!([0.5, 2.9, -3.0, f64::NAN].map(floor_u64), [0, 2, 0, 0]);
        assert_eq!([round_u64(f64::INFINITY), floor_u64(f64::INFINITY)], [u64::MAX; 2]);
        assert_eq!(s_to_ns(1.5), 1_500_000_000);
    }

    #[test]
    fn times_rates_and_shares_have_their_units() {
        assert_eq!(
            (ns_to_us(1500), ns_to_ms(1_500_000), ns_to_s(1_500_000_000)),
            (1.5, 1.5, 1.5)
        );
        assert_eq!((per_second(30, 1.5), per_second(30, 0.0)), (20.0, 0.0));
        assert_eq!(
            (share(1, 4), percent(1, 4), share(1, 0)),
            (Some(0.25), Some(25.0), None)
        );
    }
}
