//! System calls per message: counted, or the reason told.

use loadgen::record::{Measurement, Origin};
use loadgen::sampler::syscalls;
use loadgen::subject::{self, Request};
use std::process::{Command, Output};
use std::time::Duration;

/// Mounts tracefs in a mount namespace of its own, so that the machine stays as it is.
const WITH_TRACEFS: &str = "mount -t tracefs tracefs /sys/kernel/tracing && exec \"$0\" \"$@\"";

/// loadgen where system calls can be counted: here, else with tracefs mounted for it alone; none where neither is
/// permitted.
fn counting(line: &str) -> Option<Output> {
    let mut plain = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    plain.args(line.split_whitespace());
    if syscalls::available().is_ok() {
        return Some(plain.output().unwrap());
    }
    let in_namespace = |program: &Command| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", WITH_TRACEFS]);
        command.arg(program.get_program()).args(program.get_args()).output()
    };
    let possible = in_namespace(&Command::new("true")).is_ok_and(|output| output.status.success());
    possible.then(|| in_namespace(&plain).unwrap())
}

fn record_of(output: &Output) -> Measurement {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

const HOW: &str = "-w 100ms -d 500ms --count-syscalls --output-format json --quiet";

#[test]
fn each_idiom_makes_its_number_of_system_calls() {
    // Read and write; a readiness call before each. With many clients one readiness call may serve several.
    for (target, clients, least, most) in [
        ("thread", 1, 1.9, 2.1),
        ("thread", 32, 1.9, 2.1),
        ("fork", 32, 1.9, 2.1),
        ("event-epoll", 1, 2.85, 3.15),
        ("event-epoll", 32, 1.9, 3.15),
        ("event-tokio", 1, 2.85, 3.15),
    ] {
        let Some(output) = counting(&format!("-T {target} -c {clients} --start always {HOW}")) else {
            eprintln!("not checked: neither tracefs nor a mount namespace with it is permitted here");
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
    command.args(["-T", target, "-c", "1", "--start", "always"]);
    record_of(&command.args(HOW.split_whitespace()).output().unwrap())
}

#[test]
fn a_server_that_runs_already_is_counted_thread_by_thread() {
    let server = subject::obtain(&Request {
        connect_timeout: Duration::from_secs(30),
        ..Request::start("thread")
    })
    .unwrap();
    if let Some(output) = counting(&format!("-T {} -c 4 {HOW}", server.address())) {
        let trial = record_of(&output);
        assert_eq!(trial.target.origin, Origin::Attached);
        let calls = trial.server_cost.syscalls_per_message;
        assert!(
            calls.is_some_and(|calls| (1.99..2.05).contains(&calls)),
            "{calls:?} {output:?}"
        );
    } else {
        eprintln!("not checked: neither tracefs nor a mount namespace with it is permitted here");
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
