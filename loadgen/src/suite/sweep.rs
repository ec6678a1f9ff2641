//! A sweep: one target at many rates, until the highest within a response-time limit is known, or at many numbers of
//! clients. Every trial has a fresh server, is kept at once, and what comes next follows from the records alone: an
//! interrupted sweep goes on where it stopped. Pure; `compare::sweep` runs it.

use super::order::shuffled;
use super::search::{Limits, Next, Outcome, Search};
use crate::measurement::store::Stored;
use crate::record::External;
use crate::record::{Incomplete, Measurement};
use crate::recorder::latency::{LatencyHistogram, PARTS};
use crate::text::{count, percent, time_ns};
use crate::units::{round_u64, share};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a sweep measures, and how far it is: `sweep.json` in its folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepFile {
    pub schema_version: String,
    /// Of the machine.
    pub label: String,
    pub started_at: String,
    /// loadgen's command line.
    pub command: Vec<String>,
    pub sweep: Sweep,
    /// Time spent in all sittings, in milliseconds.
    pub spent_ms: u64,
    /// How it ended; none while it runs, and after a crash.
    pub ended: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    pub target: String,
    /// The server of that name, where it is not one of the catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<External>,
    /// Flags that every trial has, as `loadgen --target` takes them.
    pub flags: Vec<String>,
    /// Length of a trial's measured phase, at least, in milliseconds.
    pub duration_ms: u64,
    pub seed: u64,
    pub along: Along,
}

/// What is varied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Along {
    /// Rates of an open loop, searched.
    Rate { slo: Slo, limits: Limits },
    /// Clients of a closed loop, each so often.
    Clients { counts: Vec<u64>, repeats: u32 },
}

/// A limit on the response time: `p99<2ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slo {
    /// In parts of [`PARTS`].
    pub quantile: u64,
    pub limit_ns: u64,
}

impl std::fmt::Display for Slo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} < {}", quantile_name(self.quantile), time_ns(self.limit_ns))
    }
}

/// `p99.9`.
#[must_use]
pub fn quantile_name(parts: u64) -> String {
    let digits = format!("{}.{:06}", parts / 1_000_000, parts % 1_000_000);
    format!("p{}", digits.trim_end_matches('0').trim_end_matches('.'))
}

impl std::str::FromStr for Slo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not a limit like p99<2ms or p99.9<500us");
        let (quantile, limit) = text.split_once('<').ok_or_else(wrong)?;
        let percent = quantile.trim().strip_prefix('p').ok_or_else(wrong)?;
        let (whole, fraction) = percent.split_once('.').unwrap_or((percent, ""));
        let digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
        if whole.is_empty() || fraction.len() > 6 || !digits(whole) || !digits(fraction) {
            return Err(wrong());
        }
        let quantile: u64 = format!("{whole}{fraction:0<6}").parse().map_err(|_| wrong())?;
        if !(1..PARTS).contains(&quantile) {
            return Err(format!(
                "'{text}': a percentile lies between p0 and p100, both excluded"
            ));
        }
        let limit = limit.trim().trim_start_matches('=').trim();
        let limit = humantime::parse_duration(limit).map_err(|_| wrong())?;
        let limit_ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        if limit_ns == 0 {
            return Err(format!("'{text}': no response takes no time"));
        }
        Ok(Self { quantile, limit_ns })
    }
}

/// Longest measured phase that a rate may need for its percentile.
const LONGEST: Duration = Duration::from_secs(60);

impl Slo {
    /// How long a rate must be measured until the percentile can be told, with a fifth to spare.
    fn time_at(&self, rate_per_s: u64) -> Duration {
        let samples = u128::from(100 * PARTS) * 12 / 10 / u128::from(PARTS - self.quantile);
        let ms = (samples * 1000).div_ceil(u128::from(rate_per_s.max(1)));
        Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
    }

    /// The lowest rate at which it can be told within a minute.
    #[must_use]
    pub fn least_per_s(&self) -> u64 {
        let per_s = self.time_at(1).as_secs_f64() / LONGEST.as_secs_f64();
        round_u64(per_s.ceil()).max(10)
    }
}

/// One trial of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Messages per second, or clients.
    pub at: u64,
    /// From 1: how often this has been measured.
    pub run: u32,
    /// From 1; above 1 because the one before was invalid.
    pub attempt: u32,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Measure {
        point: Point,
        /// `bracket`, `bisect`, `confirm`, `curve`, or `again`.
        stage: &'static str,
    },
    /// Nothing is left to measure.
    End(End),
}

/// Tries of one run: the first, and one more where it was invalid.
const ATTEMPTS_MAX: u32 = 2;

impl Sweep {
    /// What the records ask for next.
    #[must_use]
    pub fn next(&self, stored: &[Stored]) -> Step {
        let runs = runs(stored);
        // An invalid run is tried again before anything follows from it.
        if let Some(last) = runs.iter().rfind(|run| !run.trial.valid && run.attempts < ATTEMPTS_MAX) {
            let point = Point {
                at: last.at,
                run: last.run,
                attempt: last.attempts + 1,
            };
            return Step::Measure { point, stage: "again" };
        }
        match &self.along {
            Along::Rate { slo, limits } => {
                let mut search = Search::new(*limits);
                for run in &runs {
                    search.tell(run.at, broken_why(slo, run.trial).is_none());
                }
                match search.next() {
                    Next::Measure { rate_per_s, stage } => Step::Measure {
                        point: point(rate_per_s, &runs),
                        stage: stage.as_str(),
                    },
                    Next::Done(outcome) => Step::End(End::Found(outcome)),
                }
            }
            Along::Clients { counts, repeats } => (1..=*repeats)
                .flat_map(|round| {
                    shuffled(counts.clone(), self.seed, round)
                        .into_iter()
                        .map(move |at| (round, at))
                })
                .find(|&(round, at)| !runs.iter().any(|run| (run.run, run.at) == (round, at)))
                .map_or(Step::End(End::Curve), |(run, at)| Step::Measure {
                    point: Point { at, run, attempt: 1 },
                    stage: "curve",
                }),
        }
    }

    /// Trials that are still to come, at least.
    #[must_use]
    pub fn trials_left(&self, stored: &[Stored]) -> u32 {
        let runs = runs(stored);
        match &self.along {
            Along::Rate { slo, limits } => {
                let mut search = Search::new(*limits);
                for run in &runs {
                    search.tell(run.at, broken_why(slo, run.trial).is_none());
                }
                search.runs_left()
            }
            Along::Clients { counts, repeats } => {
                let all = u32::try_from(counts.len()).unwrap_or(u32::MAX).saturating_mul(*repeats);
                all.saturating_sub(u32::try_from(runs.len()).unwrap_or(u32::MAX))
            }
        }
    }

    /// The command line that repeats one point alone.
    #[must_use]
    pub fn flags_at(&self, at: u64) -> Vec<String> {
        let mut words = vec!["--target".to_string(), self.target.clone()];
        words.extend(self.flags.iter().cloned());
        let (flag, duration) = match &self.along {
            Along::Rate { slo, .. } => ("--rate", self.duration().max(slo.time_at(at))),
            Along::Clients { .. } => ("--clients", self.duration()),
        };
        words.extend([flag.to_string(), at.to_string()]);
        words.extend(["--duration".to_string(), format!("{}ms", duration.as_millis())]);
        words.extend(["--seed".to_string(), self.seed.to_string()]);
        words
    }

    fn duration(&self) -> Duration {
        Duration::from_millis(self.duration_ms)
    }
}

/// The next run of this rate.
fn point(at: u64, runs: &[Run<'_>]) -> Point {
    let before = runs.iter().filter(|run| run.at == at).count();
    Point {
        at,
        run: u32::try_from(before + 1).unwrap_or(u32::MAX),
        attempt: 1,
    }
}

/// One run with the trial that counts for it: the first valid attempt, else the last.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    pub at: u64,
    pub run: u32,
    pub attempts: u32,
    pub trial: &'a Measurement,
}

/// The runs so far, in the order of their first attempts. A trial that the user interrupted is none.
#[must_use]
pub fn runs(stored: &[Stored]) -> Vec<Run<'_>> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    for trial in stored.iter().map(|stored| &stored.measurement) {
        if trial.incomplete_reason == Some(Incomplete::Interrupted) {
            continue;
        }
        let Some(place) = &trial.identity.suite else { continue };
        let at = match trial.plan.workload.open_loop() {
            Some(open) => open.rate_per_s,
            None => u64::from(trial.plan.workload.clients),
        };
        match runs.iter_mut().find(|run| (run.at, run.run) == (at, place.round)) {
            Some(run) => {
                run.attempts = run.attempts.max(place.attempt);
                if !run.trial.valid {
                    run.trial = trial;
                }
            }
            None => runs.push(Run {
                at,
                run: place.round,
                attempts: place.attempt,
                trial,
            }),
        }
    }
    runs
}

/// Share of the plan that must be answered within the measured phase: a server that falls behind has not kept up, whatever its percentile.
const KEPT_UP: f64 = 0.99;

/// Why the trial broke the limit; none when it kept it.
#[must_use]
pub fn broken_why(slo: &Slo, trial: &Measurement) -> Option<String> {
    if !trial.complete {
        let why = trial.incomplete_reason.as_ref();
        return Some(why.map_or("incomplete", Incomplete::as_str).to_string());
    }
    let counts = &trial.counts;
    if counts.errors() > 0 {
        return Some(format!("{} messages failed", count(counts.errors())));
    }
    let kept = share(trial.served(), counts.planned).unwrap_or(1.0);
    if kept < KEPT_UP {
        return Some(format!("only {} of the plan came back in time", percent(kept * 100.0)));
    }
    let histogram = trial.histograms.response.as_deref().map(LatencyHistogram::decode);
    match histogram {
        Some(Ok(histogram)) => match histogram.quantile(slo.quantile) {
            Some(value) if value < slo.limit_ns => None,
            Some(value) => Some(format!("{} was {}", quantile_name(slo.quantile), time_ns(value))),
            None => Some(format!(
                "{} samples cannot carry {}",
                count(histogram.count()),
                quantile_name(slo.quantile)
            )),
        },
        Some(Err(damage)) => Some(damage),
        None => Some("nothing was answered".to_string()),
    }
}

/// How a sweep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Found(Outcome),
    Curve,
    Interrupted,
}

impl End {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Found(_) => "found",
            Self::Curve => "all points measured",
            Self::Interrupted => "interrupted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_percentile_and_a_time() {
        let slo: Slo = "p99<2ms".parse().unwrap();
        assert_eq!((slo.quantile, slo.limit_ns), (99_000_000, 2_000_000));
        assert_eq!(slo.to_string(), "p99 < 2.00 ms");
        let slo: Slo = "p99.9 <= 500us".parse().unwrap();
        assert_eq!((slo.quantile, slo.limit_ns), (99_900_000, 500_000));
        assert_eq!(quantile_name(slo.quantile), "p99.9");
        for wrong in [
            "",
            "p99",
            "99<2ms",
            "p99<2",
            "p99<0s",
            "p100<1ms",
            "p0<1ms",
            "p<1ms",
            "pxx<1ms",
            "p99.1234567<1s",
        ] {
            assert!(wrong.parse::<Slo>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rate_is_measured_until_its_percentile_can_be_told() {
        let slo: Slo = "p99<2ms".parse().unwrap();
        assert_eq!(slo.time_at(4000), Duration::from_secs(3));
        assert_eq!(slo.least_per_s(), 200);
        assert_eq!("p50<2ms".parse::<Slo>().unwrap().least_per_s(), 10);
    }
}
