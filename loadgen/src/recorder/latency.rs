//! Distributions of times: recorded per worker, merged exactly, never averaged.

use crate::record::{Hiccup, Latency};
use crate::units::{count_f64, floor_u64, round_u64};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};

/// Longest time a histogram tells apart, in nanoseconds: one hour. Longer ones count as this.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// Samples that must lie beyond a percentile before it is told: with fewer, the next run would tell another.
const SAMPLES_BEYOND: u64 = 100;

/// Quantiles are given in parts of this, so that they are exact.
pub const PARTS: u64 = 100_000_000;

/// A distribution of nanoseconds with three significant digits, and its exact maximum. All memory is taken when it is made.
#[derive(Clone, Debug)]
pub struct LatencyHistogram {
    bins: Histogram<u64>,
    /// The largest sample. Of a histogram that was decoded, the upper edge of its highest bin.
    max_ns: u64,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self {
            bins: Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("the bounds are valid"),
            max_ns: 0,
        }
    }
}

impl LatencyHistogram {
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.bins.saturating_record(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// Records the same time `times` times.
    pub fn record_n(&mut self, ns: u64, times: u64) {
        self.bins.saturating_record_n(ns, times);
        if times > 0 {
            self.max_ns = self.max_ns.max(ns);
        }
    }

    /// Adds another histogram, bin for bin.
    pub fn add(&mut self, other: &Self) {
        self.bins.add(&other.bins).expect("both have the same bounds");
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    pub fn clear(&mut self) {
        self.bins.reset();
        self.max_ns = 0;
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.bins.len()
    }

    /// The distribution in figures; what the sample cannot carry is none.
    #[must_use]
    pub fn summary(&self) -> Latency {
        if self.bins.is_empty() {
            return Latency::default();
        }
        Latency {
            count: self.bins.len(),
            min: Some(self.bins.min()),
            mean: Some(self.bins.mean()),
            p50: self.percentile(5000),
            p75: self.percentile(7500),
            p90: self.percentile(9000),
            p99: self.percentile(9900),
            p999: self.percentile(9990),
            p9999: self.percentile(9999),
            max: Some(self.max_ns),
        }
    }

    /// The distribution as the hiccups of a machine, measured by `method`.
    #[must_use]
    pub fn hiccup(&self, method: String) -> Hiccup {
        Hiccup {
            method,
            latency_ns: self.summary(),
            beyond_1ms_percent: self.percent_beyond(Hiccup::LATE_NS, Hiccup::AT_LEAST),
            lost_percent: self.percent_beyond(Hiccup::LATE_NS, 1),
        }
    }

    /// The percentile, given in hundredths of a percent, in nanoseconds; none with fewer than 100 samples beyond it.
    #[must_use]
    pub fn percentile(&self, per_10_000: u64) -> Option<u64> {
        self.quantile(per_10_000 * (PARTS / 10_000))
    }

    /// The same, given in parts of [`PARTS`].
    #[must_use]
    pub fn quantile(&self, parts: u64) -> Option<u64> {
        self.carries(parts)
            .then(|| self.value_at_share(count_f64(parts) / count_f64(PARTS)))
    }

    /// Whether enough samples lie beyond the quantile for it to be told.
    fn carries(&self, parts: u64) -> bool {
        let beyond = u128::from(self.bins.len()) * u128::from(PARTS - parts);
        beyond >= u128::from(SAMPLES_BEYOND) * u128::from(PARTS)
    }

    /// The distribution as a curve: quantiles in parts of [`PARTS`] and their values, the median among them, ever closer to the
    /// whole as far as the sample carries them. One pass over the bins, whatever their number.
    #[must_use]
    pub fn curve(&self) -> Vec<(u64, u64)> {
        let mut levels = curve_levels().filter(|parts| self.carries(*parts)).peekable();
        let (mut points, mut below) = (Vec::new(), 0);
        for bin in self.bins.iter_recorded() {
            below += bin.count_at_value();
            while let Some(parts) = levels.next_if(|parts| self.rank(*parts) <= below) {
                points.push((parts, bin.value_iterated_to().min(self.max_ns)));
            }
        }
        points
    }

    /// Share of the samples above `ns`, in percent, as exact as its bin; none when there are fewer than `at_least`.
    #[must_use]
    pub fn percent_beyond(&self, ns: u64, at_least: u64) -> Option<f64> {
        let within = self.bins.count_between(0, ns);
        (self.bins.len() >= at_least.max(1))
            .then(|| count_f64(self.bins.len() - within) * 100.0 / count_f64(self.bins.len()))
    }

    /// Place of a quantile among the sorted samples, from 1: n q, rounded up.
    #[must_use]
    pub fn rank(&self, parts: u64) -> u64 {
        let rank = (u128::from(self.bins.len()) * u128::from(parts)).div_ceil(u128::from(PARTS));
        u64::try_from(rank).unwrap_or(u64::MAX).max(1)
    }

    /// 95 % interval of a quantile by order statistics: the samples of ranks floor(nq - z s) and ceil(nq + z s) + 1 with
    /// s = sqrt(n q (1 - q)), z = 1.96. Samples are taken as independent; those of one run are not quite, so it is the
    /// least that the quantile may vary. None where the sample does not carry the quantile.
    #[must_use]
    pub fn interval(&self, parts: u64) -> Option<(u64, u64)> {
        self.quantile(parts)?;
        let (n, q) = (count_f64(self.bins.len()), count_f64(parts) / count_f64(PARTS));
        let reach = 1.96 * (n * q * (1.0 - q)).sqrt();
        let low = floor_u64(n * q - reach).max(1);
        let high = (floor_u64((n * q + reach).ceil()) + 1).min(self.bins.len());
        Some((self.sample(low), self.sample(high)))
    }

    /// The sample of this rank, from 1, as exact as its bin.
    fn sample(&self, rank: u64) -> u64 {
        // Half a rank before it: rounding can then not reach into the next bin.
        self.value_at_share((count_f64(rank) - 0.5) / count_f64(self.bins.len()))
    }

    /// The bins, for other formats.
    #[must_use]
    pub fn bins(&self) -> &Histogram<u64> {
        &self.bins
    }

    /// The value that a share `q` of the samples does not exceed, however few they are: for tests whose truth is known,
    /// not for reports. 0 when empty.
    #[must_use]
    pub fn value_at_share(&self, q: f64) -> u64 {
        // A bin's upper edge may lie above the largest sample in it.
        self.bins.value_at_quantile(q).min(self.max_ns)
    }

    /// All samples of several encoded histograms. Adding loses nothing, and its order does not matter.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn merged<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut merged = Self::default();
        for text in texts {
            merged.add(&Self::decode(text)?);
        }
        Ok(merged)
    }

    /// HdrHistogram V2 with DEFLATE, in base64; none when empty.
    #[must_use]
    pub fn encode(&self) -> Option<String> {
        if self.bins.is_empty() {
            return None;
        }
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.bins, &mut bytes)
            .expect("writing to memory does not fail");
        Some(BASE64.encode(bytes))
    }

    /// As [`Self::decode`], with the exact maximum, which stands beside the histogram in a record.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_exact(text: &str, max_ns: Option<u64>) -> Result<Self, String> {
        let histogram = Self::decode(text)?;
        Ok(Self {
            max_ns: max_ns.unwrap_or(histogram.max_ns),
            ..histogram
        })
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn decode(text: &str) -> Result<Self, String> {
        let bytes = BASE64
            .decode(text)
            .map_err(|error| format!("histogram is not base64: {error}"))?;
        let read: Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| format!("histogram is not HdrHistogram V2: {error}"))?;
        let mut histogram = Self::default();
        histogram
            .bins
            .add(&read)
            .map_err(|error| format!("histogram has other bounds: {error}"))?;
        histogram.max_ns = histogram.bins.max();
        Ok(histogram)
    }
}

/// Quantiles of a curve: eight steps for each tenth of what lies beyond, and the median.
fn curve_levels() -> impl Iterator<Item = u64> {
    let beyond = (0..48).map(|step| round_u64(count_f64(PARTS) * 10_f64.powf(f64::from(step) / -8.0)));
    let mut levels: Vec<u64> = beyond.map(|beyond| PARTS - beyond).chain([PARTS / 2]).collect();
    levels.sort_unstable();
    levels.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(values: impl IntoIterator<Item = u64>) -> LatencyHistogram {
        let mut histogram = LatencyHistogram::default();
        values.into_iter().for_each(|value| histogram.record(value));
        histogram
    }

    #[test]
    fn what_a_machine_lost_is_told_of_few_wake_ups_too_and_the_gates_share_is_not() {
        let mut wake_ups = LatencyHistogram::default();
        for _ in 0..199 {
            wake_ups.record(5_000);
        }
        wake_ups.record(2_000_000);
        let hiccup = wake_ups.hiccup("x".to_string());
        assert_eq!((hiccup.lost_percent, hiccup.beyond_1ms_percent), (Some(0.5), None));
        let nothing = LatencyHistogram::default().hiccup("not measured".to_string());
        assert_eq!(nothing.lost_percent, None);
    }

    #[test]
    fn a_percentile_needs_a_hundred_samples_beyond_it() {
        assert_eq!(recorded(1..=9_999).summary().p99, None);
        assert!(recorded(1..=10_000).summary().p99.is_some());
        assert_eq!(recorded(1..=199).summary().p50, None);
        assert_eq!(recorded([]).summary(), Latency::default());
    }

    #[test]
    fn quantiles_are_within_a_thousandth() {
        let summary = recorded(1..=1_000_000).summary();
        for (got, exact) in [(summary.p50, 500_000), (summary.p99, 990_000), (summary.p9999, 999_900)] {
            assert!(got.unwrap().abs_diff(exact) <= exact / 1000, "{got:?} for {exact}");
        }
    }

    #[test]
    fn the_maximum_is_exact_and_no_percentile_is_above_it() {
        let histogram = recorded((0..100_000).map(|_| 5_000_001));
        assert_ne!(histogram.bins.max(), 5_000_001, "a bin of one value shows nothing");
        let summary = histogram.summary();
        assert_eq!((summary.p99, summary.max), (Some(5_000_001), Some(5_000_001)));
        let mut merged = recorded([7]);
        merged.add(&histogram);
        assert_eq!(merged.summary().max, Some(5_000_001));
    }

    #[test]
    fn the_interval_of_a_quantile_are_its_order_statistics() {
        // n = 10,000, q = 0.5: ranks floor(5000 - 98) and ceil(5000 + 98) + 1.
        let (low, high) = recorded(1..=10_000).interval(PARTS / 2).unwrap();
        assert!(low.abs_diff(4902) <= 4 && high.abs_diff(5099) <= 4, "{low} {high}");
        // Below 2048 every value has a bin of its own: q = 0.9 of 2,000: 1800 -+ 26.3.
        assert_eq!(recorded(1..=2000).interval(PARTS / 10 * 9), Some((1773, 1828)));
        assert_eq!(recorded(1..=100).interval(PARTS / 10 * 9), None);
    }

    #[test]
    fn a_curve_climbs_through_the_quantiles_that_the_sample_carries() {
        let histogram = recorded(1..=100_000);
        let curve = histogram.curve();
        assert!(
            curve
                .windows(2)
                .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1)
        );
        for parts in [PARTS / 2, PARTS / 10 * 9, PARTS / 1000 * 999] {
            let at = curve.iter().find(|(level, _)| *level == parts).unwrap();
            assert_eq!(Some(at.1), histogram.quantile(parts));
        }
        assert_eq!(curve.last().unwrap().0, PARTS / 1000 * 999, "100 samples lie beyond it");
        assert!(recorded([]).curve().is_empty());
    }

    #[test]
    fn merged_parts_are_the_whole() {
        let mut merged = recorded((1..1000).step_by(2));
        merged.add(&recorded((2..1000).step_by(2)));
        assert_eq!(merged.bins, recorded(1..1000).bins);
    }

    #[test]
    fn an_encoded_histogram_comes_back_whole() {
        let histogram = recorded([1, 50, 1_000_000, u64::MAX]);
        assert_eq!(
            LatencyHistogram::decode(&histogram.encode().unwrap()).unwrap().bins,
            histogram.bins
        );
        assert!(LatencyHistogram::decode("not base64!").unwrap_err().contains("base64"));
        assert!(LatencyHistogram::decode("AAAA").unwrap_err().contains("HdrHistogram"));
    }

    #[test]
    fn percentiles_come_from_the_merged_sample_and_its_order_does_not_matter() {
        // 890 fast and 110 slow in one, 1000 fast in the other: the p90 of all is fast, the mean of both p90 is not.
        let slow = recorded((0..1000).map(|n| if n < 890 { 1000 } else { 1_000_000 }))
            .encode()
            .unwrap();
        let fast = recorded((0..1000).map(|_| 1000)).encode().unwrap();
        let merged = LatencyHistogram::merged([slow.as_str(), &fast]).unwrap();
        assert_eq!((merged.count(), merged.summary().p90), (2000, Some(1000)));
        assert_eq!(
            merged.bins,
            LatencyHistogram::merged([fast.as_str(), &slow]).unwrap().bins
        );
    }
}
