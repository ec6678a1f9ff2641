//! Servers that are not quite an echo, measured as a user measures them: each kind is told in one sentence and with a fitting exit
//! code, and those that can be measured are, with the flag that the sentence names.

#[path = "support/odd.rs"]
mod odd;

use loadgen::environment::network;
use loadgen::record::Measurement;
use odd::Odd;
use server_testkit::not_tested;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Two seconds on a machine that has time; what is told after the ten that a busy one gets would not help anybody.
const SOON: Duration = Duration::from_secs(10);
const SHORT: &str = "-c 5 -w 100ms -d 300ms";

/// What loadgen said of a server.
#[derive(Debug)]
struct Told {
    code: i32,
    text: String,
    record: Option<Measurement>,
    took: Duration,
}

fn measure(target: &str, flags: &str) -> Told {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("record.json");
    let begun = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["--target", target, "--no-build", "--pin", "off", "--output"])
        .arg(&file)
        .args(flags.split_whitespace())
        .output()
        .unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    Told {
        code: output.status.code().unwrap(),
        // On one line, wherever it was broken to fit the screen.
        text: text.split_whitespace().collect::<Vec<_>>().join(" "),
        record: fs::read(file).ok().and_then(|json| serde_json::from_slice(&json).ok()),
        took: begun.elapsed(),
    }
}

fn told(odd: Odd, flags: &str) -> Told {
    measure(&odd.serve().to_string(), flags)
}

impl Told {
    #[track_caller]
    fn is(&self, code: i32, sentence: &str) {
        assert_eq!(self.code, code, "{}", self.text);
        assert!(self.text.contains(sentence), "{sentence}: {}", self.text);
        assert!(self.took < SOON, "{:?}: {}", self.took, self.text);
    }

    #[track_caller]
    fn is_measured(&self) -> &Measurement {
        assert_eq!(self.code, 0, "{}", self.text);
        let record = self.record.as_ref().expect("a record");
        assert!(record.counts.ok > 0 && record.counts.errors() == 0, "{}", self.text);
        assert_eq!(record.connections.reached, record.connections.asked);
        record
    }
}

#[test]
fn an_echo_is_an_echo_over_either_protocol() {
    told(Odd::Nothing, SHORT).is_measured();
    let port = Odd::BothProtocols.serve().port();
    let over_both = measure(&format!("localhost:{port}"), SHORT);
    assert_eq!(over_both.is_measured().target.address, format!("[::1]:{port}"));
    let from_some = measure(
        &format!("localhost:{port}"),
        &format!("{SHORT} --source-addresses 127.0.0.2-127.0.0.9"),
    );
    assert_eq!(from_some.is_measured().target.address, format!("127.0.0.1:{port}"));
    let impossible = measure(&format!("[::1]:{port}"), "--source-addresses 127.0.0.2");
    impossible.is(2, "--source-addresses");
}

#[test]
fn who_answers_more_or_speaks_first_or_changes_bytes_is_no_echo_server() {
    told(Odd::AnswersAtLeast(2_048), SHORT).is(4, "answers more bytes than it got");
    told(Odd::Greets("welcome\r\n"), SHORT).is(4, "speaks first (\"welcome\\r\\n\")");
    let long: &str =
        "a greeting that is much longer than the message that loadgen sends, so that nothing of the echo is seen\n";
    told(Odd::Greets(long), SHORT).is(4, "speaks first (\"a greeting that is much");
    told(Odd::CrLf, SHORT).is(4, "changes bytes: at offset 31 came \"\\r\\n");
    told(Odd::CrLf, &format!("{SHORT} --payload lines")).is(4, "changes bytes: at offset 63");
}

#[test]
fn who_closes_after_an_answer_is_measured_with_a_connection_per_message() {
    told(Odd::ClosesAfter(1), SHORT).is(2, "closes each connection after one answer: use --churn");
    for flags in ["--churn", "--churn -R 500", "--messages-per-connection 1"] {
        let told = told(Odd::ClosesAfter(1), &format!("{SHORT} {flags}"));
        let record = told.is_measured();
        let connections = record.connections;
        assert_eq!(
            (connections.reopened, connections.ended_after_min),
            (0, None),
            "{flags}"
        );
        assert!(!told.text.contains("otherwise than by a FIN"), "{}", told.text);
    }
    // Where there is one message for each client, nothing has to be said.
    told(Odd::ClosesAfter(1), "-c 5 -m 1").is(0, "errors 0");
}

#[test]
fn who_closes_after_some_answers_is_measured_with_so_many_messages_per_connection() {
    told(Odd::ClosesAfter(100), SHORT).is(
        0,
        "closes each connection after 100 answers: use --messages-per-connection 100",
    );
    for flags in ["", "-R 5000", "--close rst"] {
        let told = told(
            Odd::ClosesAfter(20),
            &format!("{SHORT} --messages-per-connection 20 {flags}"),
        );
        let connections = told.is_measured().connections;
        assert!(
            connections.renewed > 0 && connections.reopened == 0,
            "{flags}: {connections:?}"
        );
    }
}

#[test]
fn who_echoes_by_line_is_measured_with_lines() {
    told(Odd::ByLine, SHORT).is(2, "answers whole lines only: use --payload lines");
    let with_lines = told(Odd::ByLine, &format!("{SHORT} --payload lines -P 3 -s 10..200"));
    with_lines.is(0, "10 B..200 B lines");
    with_lines.is_measured();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("request.txt");
    fs::write(&file, "one\ntwo\n").unwrap();
    let with_file = told(Odd::ByLine, &format!("{SHORT} --payload {}", file.display()));
    with_file.is(0, "8 B of request.txt");
    with_file.is_measured();
}

#[test]
fn who_answers_several_messages_at_once_is_measured_with_a_pipeline() {
    told(Odd::Gathers(192), SHORT).is(2, "answers only every 3 messages, all at once: use --pipeline 3");
    told(Odd::Gathers(192), &format!("{SHORT} -P 3")).is_measured();
    told(Odd::GathersReads(3), SHORT).is(3, "what one read takes is chance");
}

#[test]
fn who_comes_up_late_is_waited_for_and_who_never_answers_is_told_while_the_wait_lasts() {
    told(Odd::UpAfter(Duration::from_millis(600)), SHORT).is_measured();
    told(Odd::Silent, "--connect-timeout 1500ms").is(3, "takes connections and does not answer: waiting for it");
    told(Odd::Silent, "--connect-timeout 200ms").is(3, "0 of 64 bytes came back within 0.2 s");
    let always_reset = told(Odd::ResetsEach(1), "--connect-timeout 1500ms");
    always_reset.is(3, "takes connections and ends them without an answer: waiting for it");
    always_reset.is(3, "reset by peer");
}

#[test]
fn who_resets_connections_now_and_then_is_measured_and_the_share_is_told() {
    let flaky = told(Odd::ResetsEach(20), &format!("{SHORT} --require-valid"));
    flaky.is(7, "messages failed");
    let counts = flaky.record.unwrap().counts;
    assert!(
        counts.reset > 0 && counts.corrupted + counts.truncated == 0,
        "{counts:?}"
    );
}

#[test]
fn who_falls_silent_or_dies_ends_the_run_after_the_timeout() {
    for odd in [Odd::FallsSilentAfter(200), Odd::DiesAfter(200)] {
        let told = told(odd, "-c 5 -m 100000 --timeout 400ms");
        told.is(5, "no echo for ");
        assert!(!told.record.unwrap().complete);
    }
}

#[test]
fn a_short_accept_queue_is_told_with_the_flag_that_helps() {
    let told = told(Odd::ShortQueue(2), SHORT);
    told.is(0, "the accept queue of the server is short: ");
    told.is(0, "lower --connect-window (it was 100)");
}

#[test]
fn nagle_and_a_delayed_acknowledgement_are_told_and_a_server_that_is_only_slow_is_not() {
    let flags = "-c 8 -w 500ms -d 800ms";
    told(Odd::TwoWrites, flags).is(0, "delayed acknowledgement meets Nagle");
    let slow = told(Odd::Slow(Duration::from_millis(40)), flags);
    assert!(!slow.text.contains("Nagle"), "{}", slow.text);
    assert_eq!(slow.is_measured().halted_replies, Some(0));
}

#[test]
fn when_no_source_port_is_left_the_setting_is_named_and_other_sources_help() {
    if !network::may_enter() {
        return not_tested("a narrow range of source ports: this user may enter no network namespace");
    }
    thread::spawn(|| {
        network::enter_private().unwrap();
        let set = |name: &str, value: &str| fs::write(format!("/proc/sys/net/ipv4/{name}"), value).unwrap();
        set("ip_local_port_range", "40000 40150");
        set("tcp_tw_reuse", "0");
        let server: SocketAddr = Odd::Nothing.serve();
        let target = server.to_string();
        // A run that spends all ports of one address in its warm-up.
        let spent = measure(&target, "--churn -c 10 -w 500ms -d 300ms --source-addresses 127.0.0.1");
        spent.is(
            0,
            "found no source port: net.ipv4.ip_local_port_range is 40000-40150, and net.ipv4.tcp_tw_reuse = 0",
        );
        let record = spent.record.unwrap();
        assert_eq!(record.counts.ok, 0, "{}", spent.text);
        assert_eq!(record.throughput.connections_per_s, Some(0.0));
        // The next finds none for its first echo.
        measure(&target, &format!("{SHORT} --connect-timeout 200ms")).is(3, "net.ipv4.tcp_tw_reuse=1");
        measure(&target, &format!("{SHORT} --source-addresses 127.0.0.2-127.0.0.9")).is_measured();
        let reset = measure(
            &target,
            "--churn -c 10 -w 100ms -d 300ms --close rst --source-addresses 127.0.0.10",
        );
        assert!(reset.is_measured().connections.renewed > 300, "{}", reset.text);
    })
    .join()
    .unwrap();
}
