//! The echo contract, rule by rule, on a binary and the rows of the catalog that it is.

use super::ServerBinary;
use crate::strategies::targets_of;
use echo_contract::catalog::{Capacity, Target};
use echo_contract::conformance::{Finding, Outcome, Profile, Subject, passed, verify};
use std::fmt::Write as _;
use std::thread;

/// Clients at once for a pool, which serves one for each worker; as many as `loadgen verify` gives it.
const POOL_WORKERS: u32 = 64;

/// Every check of the contract on every target that this binary is; on all at once, since the checks mostly wait.
///
/// # Panics
/// When the catalog has no such binary, or a check fails that the row does not expect to fail; all findings are told.
pub fn every_target_of_a_binary_keeps_the_echo_contract(path: &str) {
    let targets: Vec<_> = targets_of(path).collect();
    assert!(!targets.is_empty(), "the catalog has no row for {path}");
    thread::scope(|scope| {
        for target in targets {
            let workers = match target.capacity {
                Capacity::Unbounded => target.workers,
                Capacity::OnePerWorker => POOL_WORKERS,
            };
            scope.spawn(move || keeps_the_echo_contract(path, target, workers));
        }
    });
}

/// Every check of the contract on this target with so many workers.
///
/// # Panics
/// When a check fails that the row does not expect to fail, or passes that the row expects to fail; all findings are told.
pub fn keeps_the_echo_contract(path: &str, target: &Target, workers: u32) {
    let workers_flag = workers.to_string();
    let binary = ServerBinary::new(path, &[target.arguments, &["--workers", &workers_flag]].concat());
    let profile = Profile::of(target, usize::try_from(workers).unwrap_or(usize::MAX));
    let subject = Subject::started(&binary, profile).expecting(target.expected_failures);
    let findings = verify(&subject, &mut |_| {});
    let is_out_of_date = |finding: &Finding| matches!(finding.outcome, Outcome::PassedUnexpectedly(_));
    assert!(
        passed(&findings) && !findings.iter().any(is_out_of_date),
        "{} with {workers} workers:\n{}",
        target.name,
        table(&findings)
    );
}

/// What failed first, then how the rest went.
fn table(findings: &[Finding]) -> String {
    let (failed, rest): (Vec<_>, Vec<_>) = findings
        .iter()
        .partition(|finding| matches!(finding.outcome, Outcome::Failed(_) | Outcome::PassedUnexpectedly(_)));
    failed.iter().chain(&rest).fold(String::new(), |mut text, finding| {
        let Finding {
            rule,
            check,
            outcome,
            figure,
            took,
        } = finding;
        let _ = writeln!(text, "rule {rule}: {check}: {outcome:?} {figure:?} {took:?}");
        text
    })
}
