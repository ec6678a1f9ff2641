//! The fault matrix: what a server is put through row by row, and the figure that is asked of it. A server that skips a
//! check is faster for the wrong reason, so every row is the same for every target.
//!
//! A row is made of checks of the contract and of checks of its own, in files by what goes wrong. Short and long forms are
//! the same code with other numbers ([`super::Scale`]). What a row needs and cannot get here is [`Outcome::NotChecked`] with
//! the reason, never a pass.

mod accepting;
mod answers;
mod bytes;
mod crowds;
mod holdups;
mod lasting;
mod overload;
mod processes;
mod stopping;

use super::{Check, Finding, Outcome, Profile, RULES, Scale, Subject, every_check, outcome};
use std::time::{Duration, Instant};

/// One row of the matrix.
pub struct Row {
    /// There are gaps where a row is not built or is made elsewhere: [`ABSENT`].
    pub number: u8,
    pub title: &'static str,
    /// What is done to the server, as a clause.
    pub does: &'static str,
    /// What is asked of it, with the figure.
    pub asked: &'static str,
    parts: &'static [Part],
}

/// What came of a row.
#[derive(Clone, Debug)]
pub struct RowFinding {
    pub number: u8,
    pub title: &'static str,
    pub outcome: Outcome,
    /// What was measured, a phrase for each part that has one.
    pub figures: Vec<String>,
    /// Starting the servers included.
    pub took: Duration,
}

/// All rows, by number.
pub const ROWS: &[Row] = &[
    accepting::OUT_OF_DESCRIPTORS,
    accepting::ABORTED_CONNECTIONS,
    processes::NO_PROCESS_TO_BE_HAD,
    processes::A_STOP_AT_THE_LIMIT,
    processes::ZOMBIES,
    bytes::BROKEN_PIPES,
    bytes::PARTIAL_READS_AND_WRITES,
    bytes::HALF_CLOSE,
    bytes::CLOSE_WITH_UNREAD_DATA,
    crowds::SLOW_READERS,
    crowds::SLOW_AND_IDLE,
    crowds::RESETS,
    crowds::SYN_FLOOD,
    accepting::MOST_CONNECTIONS,
    stopping::GRACEFUL_STOP,
    overload::OVERLOAD,
    lasting::DESCRIPTORS,
    lasting::SOAK,
];

/// Numbers that no row of [`ROWS`] has, and why.
pub const ABSENT: &[(&str, &str)] = &[
    ("16", "restart without loss is not built yet"),
    ("20", "fuzzing is not built yet"),
    ("21", "a flag that exposes, and limits by source, are not built yet"),
    ("22", "dropping privileges and the sandbox are not built yet"),
    ("23", "containers are inspected by docker/test/run"),
    ("24", "the supply chain is looked at by .ci/run"),
];

/// Makes the row, and tells the name of each part before it begins.
pub fn make_row(row: &Row, subject: &Subject<'_>, on_part: &mut dyn FnMut(&str)) -> RowFinding {
    let begun = Instant::now();
    let mut findings = Vec::new();
    for part in row.parts {
        for repetition in 0..(part.times)(subject.profile.scale) {
            let profile = Profile {
                repetition,
                ..subject.profile.clone()
            };
            for check in part.checks() {
                on_part(check.name);
                let start = Instant::now();
                let (outcome, figure) = outcome(
                    check,
                    &Subject {
                        profile: profile.clone(),
                        ..subject.clone()
                    },
                );
                findings.push(Finding {
                    rule: row.number,
                    check: check.name,
                    outcome,
                    figure,
                    took: start.elapsed(),
                });
            }
        }
    }
    RowFinding {
        number: row.number,
        title: row.title,
        outcome: together(&findings),
        figures: figures(&findings),
        took: begun.elapsed(),
    }
}

/// Names of the checks that stand in rows only; those of the contract are in [`super::checks`].
pub fn own_checks() -> impl Iterator<Item = &'static str> {
    ROWS.iter()
        .flat_map(|row| row.parts)
        .filter_map(|part| match &part.which {
            Which::Own(check) => Some(check.name),
            Which::Contract(_) | Which::Rule(_) => None,
        })
}

/// What is made of a row, and how often.
struct Part {
    which: Which,
    times: fn(Scale) -> u64,
}

enum Which {
    /// A check of the contract, by its name.
    Contract(&'static str),
    /// All checks of a rule.
    Rule(u8),
    /// A check that is the row's own.
    Own(Check),
}

impl Part {
    const fn contract(name: &'static str) -> Self {
        Self {
            which: Which::Contract(name),
            times: |_| 1,
        }
    }

    const fn rule(number: u8) -> Self {
        Self {
            which: Which::Rule(number),
            times: |_| 1,
        }
    }

    const fn own(check: Check) -> Self {
        Self {
            which: Which::Own(check),
            times: |_| 1,
        }
    }

    /// With a fresh server each time.
    const fn times(self, times: fn(Scale) -> u64) -> Self {
        Self { times, ..self }
    }

    fn checks(&'static self) -> Vec<&'static Check> {
        match &self.which {
            Which::Contract(name) => every_check()
                .map(|(_, check)| check)
                .filter(|check| check.name == *name)
                .collect(),
            Which::Rule(number) => RULES
                .iter()
                .filter(|rule| rule.number == *number)
                .flat_map(|rule| rule.checks)
                .collect(),
            Which::Own(check) => vec![check],
        }
    }
}

/// A row fails where one of its parts does, and is not tested where one of them was not, whatever the others showed.
fn together(findings: &[Finding]) -> Outcome {
    let told = |text: &str, finding: &Finding| {
        if findings.len() == 1 {
            text.to_owned()
        } else {
            format!("{}: {text}", finding.check)
        }
    };
    let rank = |outcome: &Outcome| match outcome {
        Outcome::Passed => 0,
        Outcome::PassedUnexpectedly(_) => 1,
        Outcome::FailedAsExpected(..) => 2,
        Outcome::NotChecked(_) => 3,
        Outcome::Failed(_) => 4,
    };
    // The first of the gravest.
    let gravest = findings.iter().rev().max_by_key(|finding| rank(&finding.outcome));
    let Some(gravest) = gravest else {
        return Outcome::NotChecked("the row has no check".into());
    };
    match &gravest.outcome {
        Outcome::Failed(text) => Outcome::Failed(told(text, gravest)),
        Outcome::NotChecked(text) => {
            let missing = findings
                .iter()
                .filter(|finding| matches!(finding.outcome, Outcome::NotChecked(_)))
                .count();
            let rest = match findings.len() - missing {
                0 => String::new(),
                made => format!(" ({made} of {} parts were made, and none failed)", findings.len()),
            };
            Outcome::NotChecked(told(text, gravest) + &rest)
        }
        other => other.clone(),
    }
}

/// Of a part that was made several times the last figure, with how often.
fn figures(findings: &[Finding]) -> Vec<String> {
    let mut figures: Vec<(&str, u64, &str)> = Vec::new();
    for finding in findings {
        let Some(figure) = finding.figure.as_deref() else {
            continue;
        };
        match figures.iter_mut().find(|(check, ..)| *check == finding.check) {
            Some((_, times, last)) => (*times, *last) = (*times + 1, figure),
            None => figures.push((finding.check, 1, figure)),
        }
    }
    figures
        .into_iter()
        .map(|(_, times, figure)| match times {
            1 => figure.to_owned(),
            times => format!("{times} times; the last: {figure}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_part_names_a_check_that_there_is() {
        for row in ROWS {
            assert!(!row.parts.is_empty(), "row {}", row.number);
            for part in row.parts {
                let expected = match &part.which {
                    Which::Contract(name) => format!("row {}: no check `{name}`", row.number),
                    Which::Rule(number) => format!("row {}: no rule {number}", row.number),
                    Which::Own(_) => String::new(),
                };
                assert!(!part.checks().is_empty(), "{expected}");
                assert!((part.times)(Scale::Short) <= (part.times)(Scale::Long));
            }
        }
    }

    #[test]
    fn rows_are_in_order_and_those_that_are_absent_are_not_there() {
        let numbers: Vec<u8> = ROWS.iter().map(|row| row.number).collect();
        assert!(numbers.is_sorted());
        assert_eq!(numbers.iter().collect::<HashSet<_>>().len(), numbers.len());
        let is_row = |(number, _): &(&str, &str)| numbers.iter().any(|row| row.to_string() == *number);
        assert!(!ABSENT.iter().any(is_row), "a row that is there is told as absent");
    }

    #[test]
    fn a_check_of_a_row_has_a_name_of_its_own() {
        let own: Vec<_> = own_checks().collect();
        let all: HashSet<_> = own
            .iter()
            .copied()
            .chain(super::super::checks().map(|(_, name)| name))
            .collect();
        assert_eq!(all.len(), own.len() + super::super::checks().count());
    }

    #[test]
    fn a_part_that_was_not_made_makes_a_row_not_tested_and_one_that_failed_makes_it_fail() {
        let finding = |check, outcome| Finding {
            rule: 1,
            check,
            outcome,
            figure: None,
            took: Duration::ZERO,
        };
        let passed = finding("a", Outcome::Passed);
        let missing = finding("b", Outcome::NotChecked("no room".into()));
        let failed = finding("c", Outcome::Failed("2 of 3".into()));
        assert_eq!(together(&[passed.clone(), passed.clone()]), Outcome::Passed);
        assert_eq!(
            together(&[passed.clone(), missing.clone()]),
            Outcome::NotChecked("b: no room (1 of 2 parts were made, and none failed)".into())
        );
        assert_eq!(
            together(&[missing, failed.clone(), passed]),
            Outcome::Failed("c: 2 of 3".into())
        );
        assert_eq!(together(&[failed]), Outcome::Failed("2 of 3".into()));
        assert!(matches!(together(&[]), Outcome::NotChecked(_)));
    }
}
