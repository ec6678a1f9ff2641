//! `loadgen verify`: the echo contract, rule by rule.

use crate::cmd::arguments::VerifyArgs;
use crate::cmd::output::print;
use crate::failure::{Exit, Failure};
use crate::notice::notice;
use crate::subject;
use comfy_table::{ContentArrangement, Table, presets};
use echo_contract::catalog::{self, Capacity, TARGETS, Target};
use echo_contract::conformance::{self, Finding, Outcome, Profile, Subject};
use std::time::Duration;

/// Enough that a check can have many clients at once.
const WORKERS_OF_A_POOL: u32 = 64;

/// Checks one target or all, prints a table each.
///
/// # Errors
/// When a target cannot be had, or breaks a rule.
pub fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let named: Vec<&'static Target> = match args.target.as_str() {
        "all" => TARGETS.iter().collect(),
        name => catalog::find(name).into_iter().collect(),
    };
    let mut broken = Vec::new();
    if named.is_empty() {
        let server = subject::obtain(&subject::Request::attach(&args.target))?;
        // One of ours, also in a container: a pool is asked for no more than it has workers.
        let workers = args.workers.or(server.description().workers).unwrap_or(1);
        let profile = server
            .row()
            .map_or(Profile::unbounded(), |row| Profile::of(row, workers as usize));
        let expected_failures = server.row().map_or(&[][..], |row| row.expected_failures);
        let subject = Subject::attached(server.address(), profile).expecting(expected_failures);
        let findings = check(&args.target, &subject)?;
        if !conformance::passed(&findings) {
            broken.push(args.target.clone());
        }
    }
    for target in named {
        let workers = args.workers.or(match target.capacity {
            Capacity::Unbounded => None,
            Capacity::OnePerWorker => Some(WORKERS_OF_A_POOL),
        });
        let launcher = subject::Launcher::new(target, workers, args.no_build)?;
        let profile = Profile::of(target, workers.unwrap_or(1) as usize);
        let subject = Subject::started(&launcher, profile).expecting(target.expected_failures);
        let findings = check(target.name, &subject)?;
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

fn check(name: &str, subject: &Subject<'_>) -> Result<Vec<Finding>, Failure> {
    let total = conformance::checks().count();
    let mut done = 0;
    let findings = conformance::verify(subject, &mut |finding| {
        done += 1;
        notice(format_args!("{name} {done}/{total}: {}", finding.check));
    });
    print(&format!("{}\n", table(name, &findings)))?;
    Ok(findings)
}

fn table(name: &str, findings: &[Finding]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["rule", &format!("{name}: what was checked"), "result", "time"]);
    for finding in findings {
        let result = match &finding.outcome {
            Outcome::Passed => "passed".to_string(),
            Outcome::Failed(why) => format!("FAILED: {why}"),
            Outcome::FailedAsExpected(seen, expected) => format!("expected to fail: {}; {seen}", expected.why),
            Outcome::PassedUnexpectedly(expected) => {
                format!("passed each time, though expected to fail: {}", expected.why)
            }
            Outcome::NotChecked(why) => format!("not checked: {why}"),
        };
        table.add_row([
            finding.rule.to_string(),
            finding.check.to_string(),
            result,
            time(finding.took),
        ]);
    }
    table
}

fn time(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}
