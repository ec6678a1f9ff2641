//! All accuracy tests in order; one that the machine disturbed is tried again.

use super::bench::{Bench, Length};
use super::scorecard::{Finding, Verdict};
use super::{faults, histogram, kernel, queue, schedule, stall};
use crate::failure::Failure;
use std::time::Duration;

/// Tries of a test that stays inconclusive; a quick calibration has no time for a second.
fn tries(length: Length) -> u32 {
    length.of(2, 1, 3)
}

/// What goes on, for whoever waits.
pub enum Progress<'a> {
    /// These tests begin; about so much time is left without further tries.
    Begins {
        tests: &'static str,
        attempt: u32,
        left: Duration,
    },
    /// A test has ended, maybe to be tried again.
    Ended(&'a Finding),
}

/// Tests that share their runs.
struct Step {
    tests: &'static str,
    /// About how long they take, short, quick and full, in seconds.
    seconds: (u64, u64, u64),
    run: fn(&Bench<'_>, &[Finding]) -> Result<Vec<Finding>, Failure>,
}

/// Exact ones first: whatever fails there makes the others pointless.
const STEPS: [Step; 8] = [
    Step {
        tests: "AC8",
        seconds: (1, 1, 2),
        run: |bench, _| {
            Ok(vec![histogram::ac8(
                bench.length.of(100_000, 100_000, 1_000_000),
                bench.seed,
            )])
        },
    },
    Step {
        tests: "AC9",
        seconds: (6, 6, 12),
        run: |bench, _| Ok(vec![faults::ac9(bench)?]),
    },
    Step {
        tests: "AC1",
        seconds: (7, 11, 42),
        run: |bench, _| Ok(vec![stall::ac1(bench)?]),
    },
    Step {
        tests: "AC2",
        seconds: (7, 10, 32),
        run: |bench, _| Ok(vec![stall::ac2(bench)?]),
    },
    Step {
        tests: "AC3",
        seconds: (2, 4, 11),
        run: |bench, _| Ok(vec![queue::ac3(bench)?]),
    },
    Step {
        tests: "AC4, AC5",
        seconds: (3, 6, 93),
        run: |bench, before| queue::ac4_and_ac5(bench, before.iter().find(|finding| finding.test == "AC3")),
    },
    Step {
        tests: "AC6",
        seconds: (3, 7, 66),
        run: |bench, _| Ok(vec![schedule::ac6(bench)?]),
    },
    Step {
        tests: "AC7",
        seconds: (1, 1, 2),
        run: |bench, _| Ok(vec![kernel::ac7(bench)?]),
    },
];

/// Runs all. Findings are in the order of their names in the end, and what there is when it ends early.
///
/// # Errors
/// A fault of ours; interrupted when the user stopped it.
pub fn run(
    bench: &Bench<'_>,
    findings: &mut Vec<Finding>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), Failure> {
    for (index, step) in STEPS.iter().enumerate() {
        let left = STEPS[index..]
            .iter()
            .map(|step| {
                let (short, quick, full) = step.seconds;
                bench.length.of(short, quick, full)
            })
            .sum();
        let found = try_step(bench, step, findings, Duration::from_secs(left), progress)?;
        findings.extend(found);
    }
    findings.sort_by_key(|finding| finding.test);
    Ok(())
}

fn try_step(
    bench: &Bench<'_>,
    step: &Step,
    before: &[Finding],
    left: Duration,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<Finding>, Failure> {
    let tries = tries(bench.length);
    let mut attempt = 1;
    loop {
        progress(Progress::Begins {
            tests: step.tests,
            attempt,
            left,
        });
        let mut found = (step.run)(bench, before)?;
        for finding in &mut found {
            finding.attempts = attempt;
            progress(Progress::Ended(finding));
        }
        let is_disturbed = found.iter().any(|finding| finding.verdict == Verdict::Inconclusive);
        if !is_disturbed || attempt == tries {
            return Ok(found);
        }
        attempt += 1;
    }
}
