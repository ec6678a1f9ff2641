//! Two comparisons against each other: `loadgen reproduce` and `loadgen diff` as typed.

use crate::command::{compare, compare_at, here, in_private_network, only_folder};
use crate::dimension::with_two_server_cpus;
use crate::synthetic::{ORIGINALS, Running, Synthetic};
use clap::Parser;
use loadgen::cmd::diff::{self, DiffArgs};
use loadgen::cmd::reproduce::{self, ReproduceArgs};
use loadgen::failure::{Exit, Failure};
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Parser)]
struct Reproduce {
    #[command(flatten)]
    args: ReproduceArgs,
}

#[derive(Parser)]
struct Diff {
    #[command(flatten)]
    args: DiffArgs,
}

fn reproduce(words: &[&str], trials: &mut Synthetic) -> (String, Result<(), Failure>) {
    let args = Reproduce::parse_from(["reproduce"].iter().chain(words)).args;
    let mut out = Vec::new();
    let ended = match &args.against {
        Some(against) => reproduce::hold_against(&args, against, &mut out),
        None => {
            let mut running = Running(trials, &Cell::new(Duration::ZERO));
            reproduce::run(&args, &mut running, &here(), &mut out)
        }
    };
    (String::from_utf8(out).unwrap(), ended)
}

fn diff_of(words: &[&str]) -> (String, Result<(), Failure>) {
    let args = Diff::parse_from(["diff"].iter().chain(words)).args;
    let mut out = Vec::new();
    let ended = diff::run(&args, &mut out);
    (String::from_utf8(out).unwrap(), ended)
}

/// A finished comparison of the three originals; `extra` words are typed behind.
fn finished(folder: &Path, extra: &[&str]) -> PathBuf {
    let words = ["--rounds", "6", "--targets", ORIGINALS, "--workloads", "light,steady"];
    compare(folder, &[&words[..], extra].concat(), &mut Synthetic::new())
        .1
        .unwrap();
    only_folder(folder)
}

/// Changes every record of a folder.
fn changed(folder: &Path, change: impl Fn(&mut serde_json::Value)) {
    for entry in fs::read_dir(folder.join("records")).unwrap() {
        let path = entry.unwrap().path();
        let mut record = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        change(&mut record);
        fs::write(&path, record.to_string()).unwrap();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_plan_runs_again_into_a_folder_of_its_own_and_its_claims_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let first = finished(folder.path(), &[]);
    let results = tempfile::tempdir().unwrap();
    let mut trials = Synthetic::new();
    let words = ["--quiet", "--results", text(results.path()), text(&first)];
    let (out, ended) = reproduce(&words, &mut trials);
    ended.unwrap();
    // Three targets and the control in each of two blocks.
    let timed = trials.ran.iter().filter(|(name, _)| !name.contains("counting"));
    assert_eq!(timed.count(), 6 * 2 * 4, "{:?}", trials.told());
    assert!(out.contains("(100.0 %)") && out.contains("steady, capacity"), "{out}");
    let made = fs::read_dir(results.path()).unwrap().next().unwrap().unwrap().path();
    assert!(made.join("findings.json").is_file());
    let (again, ended) = reproduce(&[text(&first), "--against", text(&made)], &mut Synthetic::new());
    ended.unwrap();
    assert!(again.contains("(100.0 %)"), "{again}");
    let (json, ended) = reproduce(
        &[text(&first), "--against", text(&made), "--output-format", "json"],
        &mut Synthetic::new(),
    );
    ended.unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["tally"]["hold"], json["tally"]["claims"]);
    assert!(json["tally"]["hold"].as_u64().unwrap() >= 4, "{json}");
}

#[test]
fn a_claim_that_does_not_hold_is_named_and_the_exit_code_stays_0() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = finished(folder.path(), &[]);
    let second = finished(other.path(), &[]);
    // Here a message of fork's costs next to nothing.
    changed(&second, |record| {
        if record["plan"]["target"] == "fork" {
            let cost = record["server_cost"]["cpu_us_per_message"].as_f64().unwrap();
            record["server_cost"]["cpu_us_per_message"] = (cost / 100.0).into();
        }
    });
    fs::remove_file(second.join("findings.json")).unwrap();
    let (out, ended) = reproduce(&[text(&first), "--against", text(&second)], &mut Synthetic::new());
    ended.unwrap();
    assert!(
        out.contains("does not hold") && out.contains("another sign") && !out.contains("(100.0 %)"),
        "{out}"
    );
    let (csv, _) = reproduce(
        &[text(&first), "--against", text(&second), "--output-format", "csv"],
        &mut Synthetic::new(),
    );
    assert!(
        csv.starts_with("workload,quantity,left,right,") && csv.contains(",another sign,"),
        "{csv}"
    );
}

#[test]
fn what_was_measured_elsewhere_is_refused_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let first = finished(folder.path(), &[]);
    changed(&first, |record| {
        record["environment"]["network"] = serde_json::json!({ "kind": "private", "note": null });
    });
    let mut trials = Synthetic::new();
    let (_, ended) = reproduce(&["--quiet", text(&first)], &mut trials);
    let failure = ended.unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.text.contains("on the host's: not in tests"), "{failure}");
    assert!(trials.ran.is_empty());
}

#[test]
fn a_slower_build_is_found_among_targets_that_are_the_same_and_exits_8() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let before = finished(folder.path(), &[]);
    let now = finished(other.path(), &["--seed", "7"]);
    changed(&now, |record| {
        let cost = record["server_cost"]["cpu_us_per_message"].as_f64().unwrap_or(1.0);
        // Everything costs a tenth more here, and the new build of event-tokio a fifth on top.
        let is_tokio = record["plan"]["target"] == "event-tokio";
        let factor = if is_tokio { 1.1 * 1.2 } else { 1.1 };
        record["server_cost"]["cpu_us_per_message"] = (cost * factor).into();
        if is_tokio {
            record["target"]["binary_sha256"] = "22".repeat(32).into();
        }
    });
    let (out, ended) = diff_of(&[text(&before), text(&now), "--fail-on-regression", "3%"]);
    let failure = ended.unwrap_err();
    assert_eq!(failure.exit, Exit::Slower, "{failure}\n{out}");
    assert!(
        failure.text.contains("event-tokio under steady") && !failure.text.contains("fork"),
        "{failure}"
    );
    assert!(
        out.contains("whose binary is the same in both: fork, thread") && out.contains("steady, capacity"),
        "{out}"
    );
    // Without a limit it is told, and that is all.
    diff_of(&[text(&before), text(&now)]).1.unwrap();
    let (json, _) = diff_of(&[text(&before), text(&now), "--output-format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["changed"], serde_json::json!(["event-tokio"]));
}

#[test]
fn without_a_target_of_the_same_binary_there_are_ratios_and_no_verdict() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (before, now) = (finished(folder.path(), &[]), finished(other.path(), &["--seed", "7"]));
    changed(&now, |record| {
        record["target"]["binary_sha256"] = "22".repeat(32).into()
    });
    let (out, ended) = diff_of(&[text(&before), text(&now)]);
    ended.unwrap();
    assert!(
        out.contains("no target has the same binary in both") && out.contains("no reference"),
        "{out}"
    );
    let failure = diff_of(&[text(&before), text(&now), "--fail-on-regression", "3%"])
        .1
        .unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(
        failure
            .text
            .contains("nothing can be judged: no target has the same binary"),
        "{failure}"
    );
}

#[test]
fn other_networks_and_machines_are_refused_by_name() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (before, now) = (finished(folder.path(), &[]), finished(other.path(), &[]));
    let refused = || diff_of(&[text(&before), text(&now)]).1.unwrap_err();
    changed(&now, |record| record["environment"]["cpu_model"] = "Intel Xeon".into());
    let failure = refused();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(
        failure.text.contains("the CPU is AMD EPYC in the first and Intel Xeon"),
        "{failure}"
    );
    for entry in fs::read_dir(now.join("records")).unwrap() {
        in_private_network(&entry.unwrap().path());
    }
    let failure = refused();
    assert!(
        failure.text.contains("the network is the host's in the first"),
        "{failure}"
    );
}

/// A folder of several values, and its plan run again: each claim names its values, and all of them hold where nothing is different.
#[test]
fn a_comparison_at_several_values_is_reproduced_and_held_against_another_value_by_value() {
    for (flag, values, named) in [
        ("--workers", "1,2", "event-tokio (2 workers)"),
        ("--work", "0,20us", "event-tokio (work 20us)"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let words = [
            flag,
            values,
            "--rounds",
            "5",
            "--targets",
            "event-tokio,event-epoll",
            "--workloads",
            "steady",
        ];
        let here = with_two_server_cpus();
        compare_at(folder.path(), &words, &mut Synthetic::new(), &here)
            .1
            .unwrap();
        let first = only_folder(folder.path());
        let other = tempfile::tempdir().unwrap();
        let results = other.path().join("results");
        let mut trials = Synthetic::new();
        let words = [
            "--quiet",
            "--output-format",
            "csv",
            "--results",
            text(&results),
            text(&first),
        ];
        let args = Reproduce::parse_from(["reproduce"].iter().chain(&words)).args;
        let mut out = Vec::new();
        let mut running = Running(&mut trials, &Cell::new(Duration::ZERO));
        reproduce::run(&args, &mut running, &here, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains(named), "{named}: {out}");
        assert!(out.lines().skip(1).all(|line| line.contains(",holds,")), "{out}");
        // Each target at both values and the control once more, in five rounds.
        let timed = trials.ran.iter().filter(|(name, _)| !name.contains("counting"));
        assert_eq!(timed.count(), 5 * (2 * 2 + 1), "{:?}", trials.told());
        let second = only_folder(other.path());
        let (told, ended) = diff_of(&[text(&first), text(&second)]);
        ended.unwrap();
        assert!(told.contains(named) && told.contains("not shown to differ"), "{told}");
    }
}
