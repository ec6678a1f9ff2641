//! `-L`: every percentile that the sample carries, with the interval in which that of the next sample of its kind would lie.

use crate::record::Measurement;
use crate::recorder::latency::{LatencyHistogram, PARTS};
use crate::report::hdr;
use crate::text::{count, time_ns};
use crate::units::round_u64;
use std::fmt::Write as _;

/// All distributions of the record, one table each.
#[must_use]
pub fn spectrum(trial: &Measurement) -> String {
    match hdr::recorded(trial) {
        Ok(all) if all.is_empty() => "\nno latencies: nothing was recorded\n".to_string(),
        Ok(all) => all.iter().map(|(name, histogram)| table(name, histogram)).collect(),
        Err(damage) => format!("\nno latencies: {damage}\n"),
    }
}

/// Percentiles with the samples that lie beyond each; in parts of [`PARTS`].
fn table(name: &str, histogram: &LatencyHistogram) -> String {
    let title = format!("{} (samples {})", name.replace('_', " "), count(histogram.count()));
    let mut text = format!(
        "\n{title:<32}{:>12}   {:<24}{:>14}\n",
        "time", "95 % interval", "beyond"
    );
    for parts in levels() {
        let (Some(value), Some((low, high))) = (histogram.quantile(parts), histogram.interval(parts)) else {
            // What lies further out is carried even less.
            break;
        };
        let beyond = histogram.count() - histogram.rank(parts);
        let _ = writeln!(
            text,
            "  {:<30}{:>12}   {:<24}{:>14}",
            label(parts),
            time_ns(value),
            format!("{}..{}", time_ns(low), time_ns(high)),
            count(beyond)
        );
    }
    let summary = histogram.summary();
    if let (Some(min), Some(max), Some(mean)) = (summary.min, summary.max, summary.mean) {
        let _ = writeln!(text, "  {:<30}{:>12}", "min", time_ns(min));
        let _ = writeln!(text, "  {:<30}{:>12}", "mean", time_ns(round_u64(mean)));
        let _ = writeln!(text, "  {:<30}{:>12}", "max", time_ns(max));
    }
    text
}

/// p10, p25, p50, p75, then ever closer to 100 %: each decade of what lies beyond in three steps.
fn levels() -> impl Iterator<Item = u64> {
    let tail = std::iter::successors(Some(PARTS / 10), |beyond| Some(beyond / 10))
        .take_while(|&beyond| beyond >= 100)
        .flat_map(|beyond| [beyond, beyond / 2, beyond / 4]);
    [PARTS / 10, PARTS / 4, PARTS / 2, PARTS / 4 * 3]
        .into_iter()
        .chain(tail.map(|beyond| PARTS - beyond))
}

/// `p99.95`.
fn label(parts: u64) -> String {
    // PARTS are hundredths of a percent times 10^4.
    let digits = format!("{}.{:06}", parts / 1_000_000, parts % 1_000_000);
    format!("p{}", digits.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_close_in_on_the_whole() {
        let labels: Vec<String> = levels().take(13).map(label).collect();
        assert_eq!(
            labels,
            [
                "p10", "p25", "p50", "p75", "p90", "p95", "p97.5", "p99", "p99.5", "p99.75", "p99.9", "p99.95",
                "p99.975"
            ]
        );
    }

    #[test]
    fn only_what_the_sample_carries_is_told() {
        let mut histogram = LatencyHistogram::default();
        (1..=10_000).for_each(|us| histogram.record(us * 1000));
        let text = table("send_lag", &histogram);
        assert!(text.contains("send lag (samples 10,000)"), "{text}");
        let last = text.lines().rfind(|line| line.trim_start().starts_with('p')).unwrap();
        // 100 of 10,000 lie beyond p99; ranks floor(9900 - 19.5) and ceil(9900 + 19.5) + 1, at the ends of bins 8 us wide.
        assert_eq!(
            last.split_whitespace().collect::<Vec<_>>().join(" "),
            "p99 9.90 ms 9.89 ms..9.93 ms 100"
        );
        assert!(text.contains("max"));
    }
}
