//! `--series`: lines that come while the run goes on, that a kill leaves whole, and that are the record's windows in the end.

mod support;

use loadgen::record::Measurement;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::{Misdeed, echo_server};

fn loadgen(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(line.split_whitespace());
    command
}

fn output(line: &str) -> Output {
    loadgen(line).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

fn record(path: &Path) -> Measurement {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is whole");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn good_server() -> SocketAddr {
    echo_server(|_| Misdeed::None)
}

/// Now and then a connection is reset, or ends in good order.
fn flaky_server() -> SocketAddr {
    echo_server(|read| match read % 500 {
        100 => Misdeed::Reset,
        300 => Misdeed::EndOfStream,
        _ => Misdeed::None,
    })
}

fn is_window(line: &Value, window: &loadgen::record::Window) {
    assert!(
        (line["from_s"].as_f64().unwrap() - window.from_s).abs() < 1e-9,
        "{line}"
    );
    assert_eq!(line["sent"].as_u64(), window.sent);
    assert_eq!(line["ok"].as_u64(), Some(window.ok));
    assert_eq!(line["errors"].as_u64(), Some(window.errors));
    assert_eq!(line["response_p50_ns"].as_u64(), window.response_p50_ns);
    assert_eq!(line["response_p99_ns"].as_u64(), window.response_p99_ns);
    assert_eq!(line["response_max_ns"].as_u64(), window.response_max_ns);
}

#[test]
fn the_lines_are_the_windows_of_the_record_with_their_failures_by_class() {
    let folder = tempfile::tempdir().unwrap();
    let (series, out) = (folder.path().join("a.ndjson"), folder.path().join("a.json"));
    for more in ["", " --rate 2000 --threads 2"] {
        let ran = output(&format!(
            "--target {} -c 8 -d 1150ms -w 100ms --max-error-rate 50% --series {} --output {}{more}",
            flaky_server(),
            series.display(),
            out.display()
        ));
        assert_eq!(code(&ran), 0, "{ran:?}");
        let (record, lines) = (record(&out), lines(&series));
        assert_eq!(lines.len(), record.windows.len());
        for (line, window) in lines.iter().zip(&record.windows) {
            is_window(line, window);
        }
        let sum = |name: &str| -> u64 { lines.iter().map(|line| line[name].as_u64().unwrap()).sum() };
        let counts = record.counts;
        assert_eq!((sum("ok"), sum("errors")), (counts.ok, counts.errors()));
        assert_eq!((sum("reset"), sum("closed")), (counts.reset, counts.closed));
        assert!(counts.reset > 0 && counts.closed > 0, "{counts:?}");
        // The last window of the phase is half as long as the others.
        let of_phase: Vec<f64> = lines.iter().filter_map(|line| line["length_s"].as_f64()).collect();
        assert_eq!((of_phase.len(), of_phase[0], of_phase[11]), (12, 0.1, 0.05));
        let rate = lines[0]["messages_per_s"].as_f64().unwrap();
        assert!((rate - lines[0]["ok"].as_f64().unwrap() * 10.0).abs() < 1e-6);
    }
}

#[test]
fn a_csv_file_begins_with_its_columns_and_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let series = folder.path().join("a.csv");
    fs::write(&series, "what was there before\n".repeat(1000)).unwrap();
    let ran = output(&format!(
        "--target {} -c 2 -d 300ms -w 0s --series {}",
        good_server(),
        series.display()
    ));
    assert_eq!(code(&ran), 0, "{ran:?}");
    let text = fs::read_to_string(&series).unwrap();
    let mut lines = text.lines();
    assert!(
        lines
            .next()
            .unwrap()
            .starts_with("at,from_s,length_s,sent,ok,messages_per_s,")
    );
    let from: Vec<&str> = lines.filter_map(|line| line.split(',').nth(1)).collect();
    assert_eq!(from[..3], ["0", "0.1", "0.2"]);
}

#[test]
fn lines_come_while_the_run_goes_on_and_a_killed_run_leaves_whole_ones() {
    let folder = tempfile::tempdir().unwrap();
    let series = folder.path().join("a.ndjson");
    let line = format!(
        "--target {} -c 8 -d 10m -w 0s --series {}",
        good_server(),
        series.display()
    );
    let mut child = loadgen(&line)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let seen = || fs::read_to_string(&series).map_or(0, |text| text.lines().count());
    while seen() < 5 {
        assert!(begun.elapsed() < Duration::from_secs(120), "no lines came");
        std::thread::sleep(Duration::from_millis(5));
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    let lines = lines(&series);
    assert!(lines.len() >= 5);
    for (place, line) in (0_u32..).zip(&lines) {
        assert_eq!(line["from_s"].as_f64(), Some(f64::from(place) / 10.0), "{line}");
    }
    let ok: u64 = lines.iter().map(|line| line["ok"].as_u64().unwrap()).sum();
    assert!(ok > 0, "{lines:?}");
}

#[test]
fn a_stopped_run_has_all_its_windows() {
    let folder = tempfile::tempdir().unwrap();
    let (series, out) = (folder.path().join("a.ndjson"), folder.path().join("a.json"));
    let line = format!(
        "--target {} -c 8 -d 10m -w 0s --series {} --output {}",
        good_server(),
        series.display(),
        out.display()
    );
    let mut child = loadgen(&line)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !fs::read_to_string(&series).is_ok_and(|text| text.lines().count() >= 3) {
        assert!(begun.elapsed() < Duration::from_secs(120), "no lines came");
        std::thread::sleep(Duration::from_millis(5));
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let (record, lines) = (record(&out), lines(&series));
    assert_eq!(lines.len(), record.windows.len());
    let ok: u64 = lines.iter().map(|line| line["ok"].as_u64().unwrap()).sum();
    assert_eq!(ok, record.counts.ok);
}

#[test]
fn what_cannot_be_written_is_told_with_the_flag_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("nowhere/a.csv");
    let ran = output(&format!(
        "--target {} -c 2 -d 10m --series {}",
        good_server(),
        place.display()
    ));
    assert_eq!(code(&ran), 6, "{ran:?}");
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(
        told.contains(&format!("error: --series {}: ", place.display())),
        "{told}"
    );
    assert!(!told.contains("measured"), "{told}");
}

#[test]
fn a_disk_that_fills_up_later_is_told_at_the_end_and_the_record_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (full, out) = (folder.path().join("full.ndjson"), folder.path().join("a.json"));
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    let ran = output(&format!(
        "--target {} -c 2 -d 300ms -w 0s --series {} --output {}",
        good_server(),
        full.display(),
        out.display()
    ));
    assert_eq!(code(&ran), 6, "{ran:?}");
    assert!(
        String::from_utf8_lossy(&ran.stderr).contains("error: --series "),
        "{ran:?}"
    );
    assert!(record(&out).complete);
}
