//! What a test expected, what it measured, and whether that may be believed. Pure.

use crate::record::Environment;
use crate::record::Placement;
use crate::units::count_f64;
use serde::Serialize;

/// How one accuracy test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every figure is within its tolerance, and the machine was quiet where that matters.
    Pass,
    /// A figure is outside its tolerance, and the machine is no excuse.
    Fail,
    /// The machine was not quiet enough for this test to say anything.
    Inconclusive,
}

/// What decides over a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It holds on any machine at any load.
    Exact,
    /// It holds on a quiet machine.
    Timing,
    /// Told, not judged.
    Told,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    pub quantity: String,
    pub unit: &'static str,
    /// From the formula; null for a figure that is only told.
    pub expected: Option<f64>,
    pub measured: f64,
    /// What may be measured; null where one side is open.
    pub at_least: Option<f64>,
    pub at_most: Option<f64>,
    pub kind: Kind,
}

impl Check {
    /// A figure that must lie so far below and above the expected one.
    #[must_use]
    pub fn timing(
        quantity: impl Into<String>,
        unit: &'static str,
        expected: f64,
        measured: f64,
        below: f64,
        above: f64,
    ) -> Self {
        Self {
            quantity: quantity.into(),
            unit,
            expected: Some(expected),
            measured,
            at_least: Some(expected - below),
            at_most: Some(expected + above),
            kind: Kind::Timing,
        }
    }

    /// A figure that is at most the expected one plus so much.
    #[must_use]
    pub fn at_most(quantity: impl Into<String>, unit: &'static str, expected: f64, measured: f64, limit: f64) -> Self {
        Self {
            at_least: None,
            at_most: Some(limit),
            ..Self::timing(quantity, unit, expected, measured, 0.0, 0.0)
        }
    }

    /// A figure that is at least so much.
    #[must_use]
    pub fn at_least(quantity: impl Into<String>, unit: &'static str, expected: f64, measured: f64, limit: f64) -> Self {
        Self {
            at_least: Some(limit),
            at_most: None,
            ..Self::timing(quantity, unit, expected, measured, 0.0, 0.0)
        }
    }

    /// A count that must be this one.
    #[must_use]
    pub fn count(quantity: impl Into<String>, expected: u64, measured: u64) -> Self {
        Self::timing(quantity, "", count_f64(expected), count_f64(measured), 0.0, 0.0).exact()
    }

    /// A figure to read.
    #[must_use]
    pub fn told(quantity: impl Into<String>, unit: &'static str, measured: f64) -> Self {
        Self {
            quantity: quantity.into(),
            unit,
            expected: None,
            measured,
            at_least: None,
            at_most: None,
            kind: Kind::Told,
        }
    }

    /// The same, to hold on a busy machine too.
    #[must_use]
    pub fn exact(self) -> Self {
        Self {
            kind: Kind::Exact,
            ..self
        }
    }

    #[must_use]
    pub fn holds(&self) -> bool {
        self.measured.is_finite()
            && self.at_least.is_none_or(|limit| self.measured >= limit)
            && self.at_most.is_none_or(|limit| self.measured <= limit)
    }
}

/// How quiet the machine was, over all runs of a test the worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quiet {
    /// CPU time of other programs, percent of one CPU; null where it cannot be read.
    pub foreign_cpu_percent: Option<f64>,
    /// The longest that loadgen's worker or the truth server waited for a CPU, percent of the time.
    pub run_queue_delay_percent: Option<f64>,
}

/// Limits of [`Quiet`], percent.
pub const FOREIGN_CPU_LIMIT: f64 = crate::validity::gates::FOREIGN_CPU_PERCENT;
pub const RUN_QUEUE_DELAY_LIMIT: f64 = 2.0;

impl Quiet {
    /// Why timings of this run say nothing; none when the machine was quiet.
    #[must_use]
    pub fn disturbed_by(&self) -> Option<String> {
        match (self.foreign_cpu_percent, self.run_queue_delay_percent) {
            (None, _) => Some("the CPU time of other programs cannot be read here".into()),
            (_, None) => Some("the kernel does not count how long threads wait for a CPU".into()),
            (Some(foreign), _) if foreign > FOREIGN_CPU_LIMIT => Some(format!(
                "other programs used {foreign:.1} % of a CPU (limit {FOREIGN_CPU_LIMIT} %)"
            )),
            (_, Some(delay)) if delay > RUN_QUEUE_DELAY_LIMIT => Some(format!(
                "a thread waited {delay:.1} % of the time for a CPU (limit {RUN_QUEUE_DELAY_LIMIT} %)"
            )),
            _ => None,
        }
    }

    /// The worse of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let worse = |one: Option<f64>, other: Option<f64>| one.zip(other).map(|(one, other)| one.max(other));
        Self {
            foreign_cpu_percent: worse(self.foreign_cpu_percent, other.foreign_cpu_percent),
            run_queue_delay_percent: worse(self.run_queue_delay_percent, other.run_queue_delay_percent),
        }
    }
}

/// One test.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// `AC1` to `AC9`.
    pub test: &'static str,
    /// One line: what was done.
    pub title: String,
    pub checks: Vec<Check>,
    /// Null where no time is judged.
    pub quiet: Option<Quiet>,
    pub verdict: Verdict,
    /// Why it is inconclusive or has failed; null when it has passed.
    pub why: Option<String>,
    /// How often it was run; all but the last were inconclusive.
    pub attempts: u32,
}

impl Finding {
    /// Judges. A figure that holds on any machine decides first; timings only when the machine was quiet.
    #[must_use]
    pub fn new(test: &'static str, title: impl Into<String>, checks: Vec<Check>, quiet: Option<Quiet>) -> Self {
        let first_wrong = |kind| {
            checks
                .iter()
                .find(|check| check.kind == kind && !check.holds())
                .map(|check| format!("{} is outside its tolerance", check.quantity))
        };
        let (verdict, why) = if let Some(why) = first_wrong(Kind::Exact) {
            (Verdict::Fail, Some(why))
        } else if let Some(why) = quiet.and_then(|quiet| quiet.disturbed_by()) {
            (Verdict::Inconclusive, Some(why))
        } else if let Some(why) = first_wrong(Kind::Timing) {
            (Verdict::Fail, Some(why))
        } else {
            (Verdict::Pass, None)
        };
        Self {
            test,
            title: title.into(),
            checks,
            quiet,
            verdict,
            why,
            attempts: 1,
        }
    }

    /// The same, of which this machine allows no judgement.
    #[must_use]
    pub fn inconclusive(self, why: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Inconclusive,
            why: Some(why.into()),
            ..self
        }
    }
}

/// All tests on one machine.
#[derive(Clone, Debug, Serialize)]
pub struct Scorecard {
    /// Of this object.
    pub schema_version: &'static str,
    /// Whether all tests were run.
    pub complete: bool,
    /// The worst of the findings; a failure is worse than an inconclusive or missing test.
    pub verdict: Verdict,
    #[serde(flatten)]
    pub setting: Setting,
    pub findings: Vec<Finding>,
}

/// Where and how the tests ran.
#[derive(Clone, Debug, Serialize)]
pub struct Setting {
    /// RFC 3339.
    pub started_at: String,
    /// `quick` or `full`.
    pub length: &'static str,
    pub seed: u64,
    pub placement: Placement,
    pub loadgen_version: &'static str,
    pub environment: Environment,
}

impl Scorecard {
    #[must_use]
    pub fn new(setting: Setting, findings: Vec<Finding>, complete: bool) -> Self {
        Self {
            schema_version: "1.0.0",
            complete,
            verdict: worst(&findings, complete),
            setting,
            findings,
        }
    }
}

fn worst(findings: &[Finding], complete: bool) -> Verdict {
    let any = |verdict| findings.iter().any(|finding| finding.verdict == verdict);
    if any(Verdict::Fail) {
        Verdict::Fail
    } else if any(Verdict::Inconclusive) || !complete {
        Verdict::Inconclusive
    } else {
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(foreign: f64, delay: f64) -> Option<Quiet> {
        Some(Quiet {
            foreign_cpu_percent: Some(foreign),
            run_queue_delay_percent: Some(delay),
        })
    }

    fn verdict(checks: Vec<Check>, quiet: Option<Quiet>) -> Verdict {
        Finding::new("AC0", "test", checks, quiet).verdict
    }

    #[test]
    fn a_timing_is_judged_only_on_a_quiet_machine() {
        let (good, bad) = (
            Check::timing("p99", "ms", 90.0, 91.0, 0.0, 2.5),
            Check::timing("p99", "ms", 90.0, 95.0, 0.0, 2.5),
        );
        assert_eq!(verdict(vec![good.clone()], quiet(0.5, 0.1)), Verdict::Pass);
        assert_eq!(verdict(vec![bad.clone()], quiet(0.5, 0.1)), Verdict::Fail);
        assert_eq!(verdict(vec![bad], quiet(30.0, 0.1)), Verdict::Inconclusive);
        // Never green by default: good figures of a busy machine prove nothing.
        assert_eq!(verdict(vec![good.clone()], quiet(0.5, 12.0)), Verdict::Inconclusive);
        assert_eq!(verdict(vec![good], Some(Quiet::default())), Verdict::Inconclusive);
    }

    #[test]
    fn a_wrong_count_is_a_failure_on_any_machine() {
        assert_eq!(
            verdict(vec![Check::count("resets", 5, 4)], quiet(90.0, 90.0)),
            Verdict::Fail
        );
        assert_eq!(verdict(vec![Check::count("resets", 5, 5)], None), Verdict::Pass);
        assert!(!Check::told("x", "", f64::NAN).holds());
    }

    #[test]
    fn a_scorecard_is_as_good_as_its_worst_finding() {
        let of = |measured, foreign| {
            Finding::new(
                "AC0",
                "",
                vec![Check::timing("x", "", 1.0, measured, 0.0, 0.0)],
                quiet(foreign, 0.0),
            )
        };
        let card = |findings: Vec<Finding>| worst(&findings, true);
        assert_eq!(card(vec![of(1.0, 0.0)]), Verdict::Pass);
        assert_eq!(card(vec![of(1.0, 0.0), of(1.0, 50.0)]), Verdict::Inconclusive);
        assert_eq!(card(vec![of(2.0, 0.0), of(1.0, 50.0)]), Verdict::Fail);
        assert_eq!(worst(&[of(1.0, 0.0)], false), Verdict::Inconclusive);
    }
}
