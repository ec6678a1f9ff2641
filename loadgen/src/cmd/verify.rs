//! `loadgen verify`: the echo contract, rule by rule.

pub mod faults;
mod servers;

use super::leftovers;
use crate::cmd::arguments::VerifyArgs;
use crate::cmd::output::print;
use crate::failure::{Exit, Failure};
use crate::interrupt;
use crate::notice::notice;
use crate::subject;
use comfy_table::{ContentArrangement, Table, presets};
use echo_contract::catalog::{self, Capacity, TARGETS, Target};
use echo_contract::conformance::{self, Finding, Outcome, Profile, Subject};
use servers::{Served, WORKERS_OF_A_POOL, attached};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Checks one target or all, prints a table each.
///
/// # Errors
/// When a target cannot be had, or breaks a rule.
pub fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let named: Vec<&'static Target> = match args.target.trim() {
        "all" => TARGETS.iter().collect(),
        name => catalog::find(name).into_iter().collect(),
    };
    let mut broken = Vec::new();
    if named.is_empty() {
        broken.extend(other(args)?);
    } else {
        leftovers::remove(|| 0);
    }
    for target in named {
        let workers = args.workers.or(match target.capacity {
            Capacity::Unbounded => None,
            Capacity::OnePerWorker => Some(WORKERS_OF_A_POOL),
        });
        let launcher = subject::Launcher::new(target, workers, args.no_build)?;
        let profile = Profile::of(target, workers.unwrap_or(1) as usize);
        let findings = check(target.name, move |tell| {
            conformance::verify(
                &Subject::started(&launcher, profile).expecting(target.expected_failures),
                tell,
            )
        })?;
        if !conformance::passed(&findings) {
            broken.push(target.name.to_string());
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Fault,
        format!("the echo contract is broken by: {}", broken.join(", ")),
    ))
}

/// Checks a server that is not of the catalog: one of the user's own, or whoever is at an address. Its name, where it breaks a rule.
fn other(args: &VerifyArgs) -> Result<Option<String>, Failure> {
    let Served {
        name,
        server,
        profile,
        expected_failures,
    } = attached(args)?;
    let address = server.address();
    let findings = check(&name, move |tell| {
        conformance::verify(&Subject::attached(address, profile).expecting(expected_failures), tell)
    })?;
    Ok((!conformance::passed(&findings)).then_some(name))
}

/// Makes the checks on a thread of their own, which may wait for a server when the user wants to stop; the table then says
/// how far it came.
fn check(
    name: &str,
    make: impl FnOnce(&mut dyn FnMut(&Finding)) -> Vec<Finding> + Send + 'static,
) -> Result<Vec<Finding>, Failure> {
    let total = conformance::checks().count();
    let findings = Arc::new(Mutex::new(Vec::new()));
    let (told, of) = (Arc::clone(&findings), name.to_owned());
    let made = interrupt::unless_asked(move || {
        make(&mut |finding| {
            let mut findings = told.lock().unwrap_or_else(PoisonError::into_inner);
            // A server that was killed because the user wants to stop has broken no rule.
            if !interrupt::asked() {
                findings.push(finding.clone());
                notice(format_args!("{of} {}/{total}: {}", findings.len(), finding.check));
            }
        })
    });
    let is_whole = made.is_some() && !interrupt::asked();
    let so_far = || findings.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let findings = made.filter(|_| is_whole).unwrap_or_else(so_far);
    print(&format!("{}\n", table(name, &findings)))?;
    if !is_whole {
        subject::end_servers();
        return Err(Failure::interrupted());
    }
    Ok(findings)
}

fn table(name: &str, findings: &[Finding]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["rule", &format!("{name}: what was checked"), "result", "time"]);
    for finding in findings {
        table.add_row([
            finding.rule.to_string(),
            finding.check.to_string(),
            result(&finding.outcome),
            time(finding.took),
        ]);
    }
    table
}

fn result(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Passed => "passed".to_string(),
        Outcome::Failed(why) => format!("FAILED: {why}"),
        Outcome::FailedAsExpected(seen, expected) => format!("expected to fail: {}; {seen}", expected.why),
        Outcome::PassedUnexpectedly(expected) => {
            format!("passed each time, though expected to fail: {}", expected.why)
        }
        Outcome::NotChecked(why) => format!("not checked: {why}"),
    }
}

fn time(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_contract::catalog::{ExpectedFailure, Frequency};

    #[test]
    fn an_expected_failure_is_told_with_its_reason_whether_it_comes_or_not() {
        let expected = ExpectedFailure {
            check: "one byte comes back",
            frequency: Frequency::Always,
            why: "the runtime keeps it",
        };
        let seen = "0 of 1 B came back".to_string();
        assert_eq!(result(&Outcome::Failed(seen.clone())), "FAILED: 0 of 1 B came back");
        assert_eq!(
            result(&Outcome::FailedAsExpected(seen, expected)),
            "expected to fail: the runtime keeps it; 0 of 1 B came back"
        );
        assert_eq!(
            result(&Outcome::PassedUnexpectedly(expected)),
            "passed each time, though expected to fail: the runtime keeps it"
        );
    }
}
