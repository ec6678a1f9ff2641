//! The echo contract, rule by rule, on every binary, with one worker and with two.

use echo_contract::conformance::{Outcome, Profile, Subject, verify};
use server_testkit::ServerBinary;
use std::thread;

/// One line for each server: its feature, a name for its tests, its binary, and what makes it a target.
macro_rules! keeps_the_echo_contract {
    ($feature:literal, $server:ident, $binary:literal, $arguments:expr) => {
        #[cfg(feature = $feature)]
        mod $server {
            const PATH: &str = env!(concat!("CARGO_BIN_EXE_", $binary));

            #[test]
            fn keeps_the_echo_contract() {
                super::verify_with_one_and_two_workers(PATH, $arguments);
            }
        }
    };
}

keeps_the_echo_contract!("async-std", event_async_std, "event-async-std", &[]);
keeps_the_echo_contract!("compio", event_compio, "event-compio", &[]);
keeps_the_echo_contract!("epoll", event_epoll, "event-epoll", &[]);
keeps_the_echo_contract!("glommio", event_glommio, "event-glommio", &[]);
keeps_the_echo_contract!("io-uring", event_io_uring, "event-io-uring", &[]);
keeps_the_echo_contract!("may", event_may, "event-may", &[]);
keeps_the_echo_contract!("mio", event_mio, "event-mio", &[]);
keeps_the_echo_contract!("monoio", event_monoio, "event-monoio", &[]);
keeps_the_echo_contract!("poll", event_poll, "event-poll", &[]);
keeps_the_echo_contract!("smol", event_smol, "event-smol", &[]);
keeps_the_echo_contract!("tokio", event_tokio, "event-tokio", &[]);
keeps_the_echo_contract!(
    "tokio",
    event_tokio_multi,
    "event-tokio",
    &["--strategy", "multi-thread"]
);
keeps_the_echo_contract!("tokio", event_tokio_percore, "event-tokio", &["--strategy", "per-core"]);

/// Both at once: the checks mostly wait.
fn verify_with_one_and_two_workers(path: &str, arguments: &[&str]) {
    thread::scope(|scope| {
        for workers in ["1", "2"] {
            scope.spawn(move || verify_with_workers(path, arguments, workers));
        }
    });
}

fn verify_with_workers(path: &str, arguments: &[&str], workers: &str) {
    let arguments: Vec<_> = arguments.iter().copied().chain(["--workers", workers]).collect();
    let server = ServerBinary::new(path, &arguments);
    let findings = verify(&Subject::started(&server, Profile::unbounded()), &mut |_| {});
    for finding in &findings {
        println!(
            "workers {workers}, rule {}: {}: {:?} {:?} {:?}",
            finding.rule, finding.check, finding.outcome, finding.figure, finding.took
        );
    }
    let failed: Vec<_> = findings
        .iter()
        .filter(|finding| matches!(finding.outcome, Outcome::Failed(_)))
        .collect();
    assert!(failed.is_empty(), "with {workers} workers: {failed:#?}");
}
