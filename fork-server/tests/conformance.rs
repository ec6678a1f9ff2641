//! The echo contract, rule by rule, on the real binary.

use echo_contract::conformance::{Finding, Outcome, Profile, Subject, verify};
use server_testkit::ServerBinary;

#[test]
fn a_process_per_connection_keeps_the_echo_contract() {
    let server = ServerBinary::new(env!("CARGO_BIN_EXE_fork-server"), &["--strategy", "per-connection"]);
    let findings = verify(&Subject::started(&server, Profile::unbounded()), &mut tell);
    let failed: Vec<_> = findings
        .iter()
        .filter(|finding| matches!(finding.outcome, Outcome::Failed(_)))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

fn tell(finding: &Finding) {
    println!(
        "rule {}: {}: {:?} {:?} {:?}",
        finding.rule, finding.check, finding.outcome, finding.figure, finding.took
    );
}
