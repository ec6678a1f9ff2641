//! Several generators with a common start, and their records added up.

mod support;

use loadgen::record::Measurement;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime};
use support::{Misdeed, echo_server};

fn loadgen(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(line.split_whitespace());
    command
}

fn output(line: &str) -> Output {
    loadgen(line).output().unwrap()
}

fn record(path: &Path) -> Measurement {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Unix time a while ahead: enough to start on a busy machine.
fn ahead() -> u64 {
    let soon = SystemTime::now() + Duration::from_secs(8);
    soon.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn two_generators_against_two_servers_start_together_and_add_up_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let at = ahead();
    let file = |nth: u64| folder.path().join(format!("replica-{nth}.json"));
    let begin = |nth: u64| -> Child {
        let server = echo_server(|_| Misdeed::None);
        let file = file(nth);
        let line = format!(
            "--target {server} -c 300 -w 200ms -d 600ms --pin off --seed {nth} --start-at {at} --output {}",
            file.display()
        );
        loadgen(&line).stdout(Stdio::null()).spawn().unwrap()
    };
    let children: Vec<Child> = (1..=2).map(begin).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let (one, two) = (record(&file(1)), record(&file(2)));
    for record in [&one, &two] {
        let began: jiff::Timestamp = record.identity.measured_from.as_deref().unwrap().parse().unwrap();
        let asked: jiff::Timestamp = record.plan.start_at.as_deref().unwrap().parse().unwrap();
        assert_eq!(asked.as_second(), i64::try_from(at).unwrap());
        assert!(
            began.duration_since(asked).as_secs_f64().abs() < 0.05,
            "{began} {asked}"
        );
        assert!(record.complete, "{:?}", record.incomplete_reason);
    }
    let merged = folder.path().join("all.json");
    let line = format!(
        "merge --expect 2 {} {} --output {}",
        file(2).display(),
        file(1).display(),
        merged.display()
    );
    let ran = output(&line);
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    let text = String::from_utf8(ran.stdout).unwrap();
    assert!(
        text.contains("clients 600 of 600") && text.contains("2 generators"),
        "{text}"
    );
    assert!(text.contains("replica-1.json: clients 300 of 300"), "{text}");
    let all = record(&merged);
    assert_eq!(all.counts.ok, one.counts.ok + two.counts.ok);
    assert_eq!(
        all.latency_ns.response.count,
        all.counts.planned - all.counts.in_flight_at_stop
    );
    assert_eq!(all.totals.bytes_sent, one.totals.bytes_sent + two.totals.bytes_sent);
    assert_eq!(all.windows.iter().map(|window| window.ok).sum::<u64>(), all.counts.ok);

    // One of three is lost.
    let line = format!("merge --expect 3 {} {}", file(1).display(), file(2).display());
    let ran = output(&(line + " --require-valid"));
    assert_eq!(ran.status.code(), Some(7), "{ran:?}");
    let text = String::from_utf8(ran.stdout).unwrap();
    assert!(text.contains("clients 600 of 900"), "{text}");
    let unwrapped = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        unwrapped.contains("1 of 3 generators left no record: replica-3.json"),
        "{text}"
    );
}

#[test]
fn a_job_connects_at_the_common_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.json");
    let at = ahead();
    let server = echo_server(|_| Misdeed::None);
    let ran = output(&format!(
        "--target {server} -c 10 -m 10 --pin off --start-at {at} --output {}",
        file.display()
    ));
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    let record = record(&file);
    let began: jiff::Timestamp = record.identity.measured_from.as_deref().unwrap().parse().unwrap();
    let asked = jiff::Timestamp::from_second(i64::try_from(at).unwrap()).unwrap();
    // The wall clock may be adjusted in the last tenth of a second.
    assert!(began.duration_since(asked).as_secs_f64() > -0.001, "{began}");
    assert_eq!(record.counts.ok, 100);
}
