//! Histograms in the formats of the HdrHistogram tools: `.hgrm`, the percentile distribution as text that their plotter
//! draws, and `.hlog`, the interval log that keeps every bin.

use crate::quantity::Clock;
use crate::record::Measurement;
use crate::recorder::latency::LatencyHistogram;
use crate::units::ns_to_ms;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

/// What the file's name asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The response time's distribution.
    Hgrm,
    /// All distributions, each under its tag: `response`, `service`, `send_lag`, `connect`, `hiccup`.
    Hlog,
}

impl Format {
    /// None for another ending.
    #[must_use]
    pub fn of(file: &std::path::Path) -> Option<Self> {
        match file.extension()?.to_str()? {
            "hgrm" => Some(Self::Hgrm),
            "hlog" => Some(Self::Hlog),
            _ => None,
        }
    }
}

/// The file's text.
///
/// # Errors
/// When a histogram of the record is damaged.
pub fn text(format: Format, trial: &Measurement) -> Result<String, String> {
    match format {
        Format::Hgrm => Ok(hgrm(&response(trial)?)),
        Format::Hlog => hlog(trial),
    }
}

/// Distributions of the record by name; those that were not recorded are left out.
///
/// # Errors
/// When one is damaged.
pub fn recorded(trial: &Measurement) -> Result<Vec<(&'static str, LatencyHistogram)>, String> {
    let clocks = Clock::ALL.map(|clock| (clock.name(), clock.histogram(&trial.histograms)));
    clocks
        .into_iter()
        .chain([("hiccup", trial.histograms.hiccup.as_ref())])
        .filter_map(|(name, text)| Some((name, text?)))
        .map(|(name, text)| {
            let histogram = LatencyHistogram::decode(text).map_err(|error| format!("the record's {name} {error}"))?;
            Ok((name, histogram))
        })
        .collect()
}

fn response(trial: &Measurement) -> Result<LatencyHistogram, String> {
    let text = trial.histograms.response.as_ref();
    text.map_or_else(
        || Ok(LatencyHistogram::default()),
        |text| LatencyHistogram::decode(text),
    )
}

/// Steps between two halvings of the distance to 100 %, as the tools take by default.
const TICKS_PER_HALF_DISTANCE: u32 = 5;
/// Nanoseconds of the printed unit, the millisecond; six decimals keep every nanosecond.
const UNIT_NS: f64 = 1e6;
/// Of a histogram with three significant digits: the power of two from 2 x 10^3 on.
const SUB_BUCKETS: u32 = 2048;

/// In milliseconds.
fn hgrm(histogram: &LatencyHistogram) -> String {
    let histogram = histogram.bins();
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut count = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        count += step.count_since_last_iteration();
        let (value, quantile) = (ns_to_ms(step.value_iterated_to()), step.quantile_iterated_to());
        // Plotters split at blanks from the second field on: one stands in front also of 10 s and more, which fill the field.
        let _ = write!(text, " {value:11.6} {quantile:2.12} {count:10}");
        // The last step is 100 %, and 1/(1-1) no number.
        let _ = if quantile < 1.0 {
            writeln!(text, " {:14.2}", 1.0 / (1.0 - quantile))
        } else {
            writeln!(text)
        };
    }
    let _ = write!(
        text,
        "#[Mean    = {:12.6}, StdDeviation   = {:12.6}]\n#[Max     = {:12.6}, Total count    = {:12}]\n#[Buckets = {:12}, SubBuckets     = {SUB_BUCKETS:12}]\n",
        histogram.mean() / UNIT_NS,
        histogram.stdev() / UNIT_NS,
        ns_to_ms(histogram.max()),
        histogram.len(),
        histogram.buckets(),
    );
    text
}

/// One line per distribution, over the whole measured phase. Values are nanoseconds; the column of maxima is in
/// milliseconds, as in the tools' own logs.
fn hlog(trial: &Measurement) -> Result<String, String> {
    let mut log = Vec::new();
    let began = trial
        .identity
        .measured_from
        .as_deref()
        .unwrap_or(&trial.identity.started_at);
    let began: jiff::Timestamp = began
        .parse()
        .map_err(|error| format!("the record's time `{began}`: {error}"))?;
    let began = SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(began.as_nanosecond()).unwrap_or(0));
    let length = Duration::try_from_secs_f64(trial.throughput.duration_s).unwrap_or_default();
    let mut serializer = V2DeflateSerializer::new();
    let mut writer = IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment(&format!(
            "[loadgen {}: nanoseconds, {} {}]",
            trial.identity.loadgen_version, trial.target.name, trial.workload
        ))
        .with_start_time(began)
        .with_base_time(began)
        .with_max_value_divisor(UNIT_NS)
        .begin_log_with(&mut log, &mut serializer)
        .expect("writing to memory does not fail");
    for (name, histogram) in recorded(trial)? {
        writer
            .write_histogram(histogram.bins(), Duration::ZERO, length, Tag::new(name))
            .expect("writing to memory does not fail");
    }
    Ok(String::from_utf8(log).expect("the log is ASCII"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_ending_of_the_file_decides() {
        assert_eq!(Format::of(Path::new("a/b.hgrm")), Some(Format::Hgrm));
        assert_eq!(Format::of(Path::new("b.hlog")), Some(Format::Hlog));
        assert_eq!(Format::of(Path::new("hlog")), None);
    }

    #[test]
    fn the_distribution_ends_with_all_samples_and_its_largest_value() {
        let mut histogram = LatencyHistogram::default();
        (1..=1000).for_each(|ms| histogram.record(ms * 1_000_000));
        let text = hgrm(&histogram);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
        assert_eq!(lines[2], "    1.000447 0.000000000000          1           1.00");
        let last = lines.iter().rev().find(|line| !line.starts_with('#')).unwrap();
        assert_eq!(*last, " 1000.341503 1.000000000000       1000");
        assert!(text.contains("Total count    =         1000]"), "{text}");
    }

    #[test]
    fn every_line_of_the_distribution_begins_with_a_blank_however_long_the_response() {
        let mut histogram = LatencyHistogram::default();
        for ms in [1, 9_000, 12_000, 3_000_000] {
            histogram.record(ms * 1_000_000);
        }
        let text = hgrm(&histogram);
        let values: Vec<&str> = text.lines().skip(2).filter(|line| !line.starts_with('#')).collect();
        assert!(values.iter().all(|line| line.starts_with(' ')), "{text}");
        assert!(values.iter().any(|line| line.starts_with(" 12004.")), "{text}");
    }

    #[test]
    fn nothing_recorded_is_a_distribution_of_nothing() {
        assert!(hgrm(&LatencyHistogram::default()).contains("Total count    =            0]"));
    }
}
