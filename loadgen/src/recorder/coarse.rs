//! Bins for times where a few per cent are enough: 16 for every doubling, 432 in all. Percentiles are within 5 %.

/// Bins for every doubling of the time.
const BINS_PER_DOUBLING: usize = 16;
/// Times below this share the first bin: 256 ns.
const SHORTEST_LOG2: u32 = 8;
/// Times from here on share the last bin: 34 s.
const LONGEST_LOG2: u32 = 35;
pub const BINS: usize = (LONGEST_LOG2 - SHORTEST_LOG2) as usize * BINS_PER_DOUBLING;
/// Samples that must lie beyond a percentile. Such figures are looked at in a row, so a tenth of what a percentile of the
/// whole run needs is enough.
const SAMPLES_BEYOND: u64 = 10;

/// The bin of a time.
#[must_use]
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "at most 5 bits are left, on a path of every message"
)]
pub fn bin(ns: u64) -> usize {
    let doubling = ns.max(1).ilog2();
    if doubling < SHORTEST_LOG2 {
        return 0;
    }
    if doubling >= LONGEST_LOG2 {
        return BINS - 1;
    }
    let within = (ns >> (doubling - 4)) as usize - BINS_PER_DOUBLING;
    (doubling - SHORTEST_LOG2) as usize * BINS_PER_DOUBLING + within
}

/// The percentile, in hundredths of a percent, of the times counted in `bins`, in nanoseconds; none with fewer than ten
/// samples beyond it.
#[must_use]
pub fn percentile(bins: impl Iterator<Item = u64> + Clone, per_10_000: u64) -> Option<u64> {
    let count: u64 = bins.clone().sum();
    if count * (10_000 - per_10_000) < SAMPLES_BEYOND * 10_000 {
        return None;
    }
    let rank = (count * per_10_000).div_ceil(10_000).max(1);
    let mut below = 0;
    for (bin, count) in bins.enumerate() {
        if below + count >= rank {
            // Evenly within the bin.
            let (from, width) = bounds(bin);
            return Some(from + width * (rank - below) / count);
        }
        below += count;
    }
    None
}

/// Where a bin begins, and how wide it is. The first one reaches down to 0.
fn bounds(bin: usize) -> (u64, u64) {
    let (doubling, within) = (bin / BINS_PER_DOUBLING, bin % BINS_PER_DOUBLING);
    let width = (1 << (SHORTEST_LOG2 as usize + doubling)) / BINS_PER_DOUBLING as u64;
    if bin == 0 {
        return (0, (1 << SHORTEST_LOG2) + width);
    }
    ((BINS_PER_DOUBLING + within) as u64 * width, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_join_without_a_seam() {
        for place in 1..BINS {
            let (from, width) = bounds(place);
            assert_eq!((bin(from), bin(from + width - 1)), (place, place), "{from} + {width}");
        }
        assert_eq!((bin(0), bin(u64::MAX)), (0, BINS - 1));
    }
}
