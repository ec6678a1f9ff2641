//! System calls per message: counted, or the reason told.

use loadgen::record::{Measurement, Origin};
use loadgen::sampler::syscalls;
use loadgen::subject::{self, Request};
use server_testkit::not_tested;
use std::process::{Command, Output};
use std::time::Duration;

/// loadgen where system calls can be counted; none where they cannot.
fn counting(line: &str) -> Option<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(line.split_whitespace());
    syscalls::available().ok().map(|()| command.output().unwrap())
}

fn cannot_count() {
    not_tested(&format!("system calls per message: {:?}", syscalls::available()));
}

fn record_of(output: &Output) -> Measurement {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// A job, since at both of its ends the server is at rest: what was counted and what was answered are the same messages. At the
/// ends of a timed phase they are not, by as much as loadgen's conductor is late in reading the counter.
const HOW: &str = "--count-syscalls --output-format json --quiet";

#[test]
fn each_idiom_makes_its_number_of_system_calls() {
    // Read and write; a readiness call before each. With many clients one readiness call may serve several. What a connection
    // costs beside its messages is at most 60 calls.
    for (target, clients, messages, least, most) in [
        ("thread", 1, 20_000, 2.0, 2.01),
        ("thread", 32, 2_000, 2.0, 2.05),
        ("fork", 32, 2_000, 2.0, 2.05),
        ("event-epoll", 1, 20_000, 3.0, 3.01),
        ("event-epoll", 32, 2_000, 2.0, 3.05),
        ("event-tokio", 1, 20_000, 3.0, 3.01),
    ] {
        let Some(output) = counting(&format!("-T {target} -c {clients} -m {messages} --start always {HOW}")) else {
            cannot_count();
            let trial = target_without_tracing(target);
            assert_eq!(trial.server_cost.syscalls_per_message, None);
            assert!(trial.server_cost.syscalls_method.starts_with("not counted: "));
            return;
        };
        let trial = record_of(&output);
        let calls = trial.server_cost.syscalls_per_message;
        assert!(
            calls.is_some_and(|calls| (least..most).contains(&calls)),
            "{target}, {clients}: {calls:?} {output:?}"
        );
        assert_eq!(trial.server_cost.syscalls_method, syscalls::METHOD);
        assert!(trial.plan.counting && trial.notes.iter().any(|note| note.contains("no timing")));
    }
}

fn target_without_tracing(target: &str) -> Measurement {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(["-T", target, "-c", "1", "-m", "100", "--start", "always"]);
    record_of(&command.args(HOW.split_whitespace()).output().unwrap())
}

#[test]
fn a_server_that_runs_already_is_counted_thread_by_thread() {
    let server = subject::obtain(&Request {
        connect_timeout: Duration::from_secs(30),
        ..Request::start("thread")
    })
    .unwrap();
    if let Some(output) = counting(&format!("-T {} -c 4 -m 10000 {HOW}", server.address())) {
        let trial = record_of(&output);
        assert_eq!(trial.target.origin, Origin::Attached);
        let calls = trial.server_cost.syscalls_per_message;
        assert!(
            calls.is_some_and(|calls| (2.0..2.05).contains(&calls)),
            "{calls:?} {output:?}"
        );
    } else {
        cannot_count();
    }
    let _ = server.stop();
}

#[test]
fn a_timed_trial_counts_none_and_says_why() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    let line = "-T thread -c 1 -w 0 -d 200ms --start always --output-format json --quiet";
    let trial = record_of(&command.args(line.split_whitespace()).output().unwrap());
    assert_eq!(trial.server_cost.syscalls_per_message, None);
    assert_eq!(trial.server_cost.syscalls_method, syscalls::NOT_ASKED);
}
