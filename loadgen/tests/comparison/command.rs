//! `loadgen compare` as typed: what it prints, where it writes, how it exits.

use crate::synthetic::{Fault, ORIGINALS, Running, Synthetic, file};
use clap::Parser;
use loadgen::cmd::compare::{CompareArgs, Here, run};
use loadgen::cmd::report::ReportArgs;
use loadgen::failure::{Exit, Failure};
use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::time::Duration;

#[derive(Parser)]
struct Typed {
    #[command(flatten)]
    args: CompareArgs,
}

fn parse(words: &[&str]) -> Result<CompareArgs, clap::Error> {
    Typed::try_parse_from(["compare"].iter().chain(words)).map(|typed| typed.args)
}

/// Runs the verb on synthetic trials with results in `folder/results`; gives what it printed and how it ended.
fn compare(folder: &Path, words: &[&str], trials: &mut Synthetic) -> (String, Result<(), Failure>) {
    let results = folder.join("results").display().to_string();
    let resumes = words.contains(&"--resume");
    let mut all = vec!["--quiet"];
    if !resumes {
        all.extend(["--results", &results]);
    }
    all.extend(words);
    let here = Here {
        label: "2cpu-linux-6.18".into(),
        base: file(ORIGINALS, "default", 1, 1).suite.base,
        command: vec!["/somewhere/target/release/loadgen".into(), "compare".into()],
    };
    let mut out = Vec::new();
    let ended = run(
        &parse(&all).unwrap(),
        &mut Running(trials, &Cell::new(Duration::ZERO)),
        &here,
        &mut out,
    );
    (String::from_utf8(out).unwrap(), ended)
}

fn only_folder(folder: &Path) -> std::path::PathBuf {
    let mut entries = fs::read_dir(folder.join("results")).unwrap();
    let entry = entries.next().unwrap().unwrap().path();
    assert!(entries.next().is_none());
    entry
}

#[test]
fn a_comparison_prints_its_tables_and_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let (out, ended) = compare(folder.path(), &["--rounds", "1"], &mut Synthetic::new());
    ended.unwrap();
    assert!(
        out.contains("capacity") && out.contains("open loop, 10,000 messages/s"),
        "{out}"
    );
    let made = only_folder(folder.path());
    let last = out.lines().last().unwrap();
    assert!(
        last.starts_with("all tables: ") && last.contains(made.file_name().unwrap().to_str().unwrap()),
        "{out}"
    );
    for name in [
        "README.md",
        "summary.csv",
        "suite.json",
        "records/round-01-fork-light.json",
    ] {
        assert!(made.join(name).is_file(), "{name}");
        assert!(
            !fs::read_to_string(made.join(name)).unwrap().contains("/somewhere/"),
            "{name}"
        );
    }
}

#[test]
fn a_dry_run_tells_the_order_of_round_1_and_measures_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut trials = Synthetic::new();
    let (out, ended) = compare(
        folder.path(),
        &["--dry-run", "--seed", "7", "--workloads", "light"],
        &mut trials,
    );
    ended.unwrap();
    assert!(
        out.contains("order of round 1") && out.contains("thread (again)"),
        "{out}"
    );
    assert!(trials.ran.is_empty() && !folder.path().join("results").exists());
    compare(
        folder.path(),
        &["--seed", "7", "--workloads", "light", "--rounds", "1"],
        &mut trials,
    )
    .1
    .unwrap();
    let told: Vec<_> = out.lines().filter_map(|line| line.trim().split_once("  ")).collect();
    let timed = trials.ran.iter().filter(|(name, _)| !name.contains("counting"));
    for (place, (name, _)) in (1..).zip(timed) {
        let line = told.iter().find(|(number, _)| *number == format!("{place}")).unwrap();
        let words: Vec<_> = line.1.split_whitespace().collect();
        assert_eq!(words.join(" "), *name, "{out}");
    }
}

#[test]
fn an_interruption_prints_what_there_is_exits_130_and_can_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let mut trials = Synthetic::new();
    trials.interrupt_in = Some(5);
    let (out, ended) = compare(
        folder.path(),
        &["--rounds", "1", "--targets", ORIGINALS, "--workloads", "light,churn"],
        &mut trials,
    );
    let failure = ended.unwrap_err();
    assert_eq!(failure.exit, Exit::Interrupted);
    assert!(
        failure.text.contains("--resume") && out.contains("capacity"),
        "{failure} {out}"
    );
    let made = only_folder(folder.path());
    let mut rest = Synthetic::new();
    let (_, ended) = compare(folder.path(), &["--resume", made.to_str().unwrap()], &mut rest);
    ended.unwrap();
    let counting = rest.ran.iter().filter(|(name, _)| name.contains("counting")).count();
    assert_eq!((rest.ran.len() - counting, counting), (4, 6), "{:?}", rest.told());
    let (_, ended) = compare(folder.path(), &["--resume", made.to_str().unwrap()], &mut rest);
    ended.unwrap();
    assert_eq!(rest.ran.len(), 10, "there was nothing left to do");
}

#[test]
fn wrong_echoes_exit_4_and_a_suite_without_a_whole_trial_exits_3() {
    for (fault, exit) in [
        (Fault::Corrupted, Exit::Corrupted),
        (Fault::ServerDied, Exit::Unreachable),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let words = ["--rounds", "1", "--workloads", "light"];
        let (out, ended) = compare(folder.path(), &words, &mut Synthetic::with(move |_, _| fault));
        assert_eq!(ended.unwrap_err().exit, exit);
        assert!(out.contains("capacity"), "{out}");
    }
}

#[test]
fn a_place_that_cannot_be_written_exits_6_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("results"), "a file in the way").unwrap();
    let mut trials = Synthetic::new();
    let (_, ended) = compare(folder.path(), &[], &mut trials);
    assert_eq!(ended.unwrap_err().exit, Exit::Unwritable);
    assert!(trials.ran.is_empty());
}

#[test]
fn unknown_names_exit_2_before_anything_is_made() {
    for (words, told) in [
        (["--targets", "fork,forc"], "--targets does not know `forc`"),
        (["--workloads", "heavy"], "--workloads does not know `heavy`"),
        (["--targets", "fork,fork"], "--targets names `fork` twice"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let failure = compare(folder.path(), &words, &mut Synthetic::new()).1.unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.text.contains(told), "{failure}");
        assert!(!folder.path().join("results").exists());
    }
}

#[test]
fn flags_that_make_no_sense_are_refused_with_the_flag_and_the_value() {
    for (words, told) in [
        (&["--rounds", "0"][..], "'--rounds <NUMBER>'"),
        (&["--budget", "soon"], "write it like 7m or 90s"),
        (&["--budget", "0s"], "needs some time"),
        (&["--label", "my machine"], "cannot be part of a folder's name"),
        (&["--label", "../up"], "cannot be part of a folder's name"),
        (&["--resume", "x", "--seed", "1"], "cannot be used with"),
    ] {
        let error = parse(words).unwrap_err().to_string();
        assert!(error.contains(told), "{words:?}: {error}");
    }
}

#[test]
fn a_table_of_open_and_closed_loops_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (_, ended) = compare(
        folder.path(),
        &["--rounds", "1", "--workloads", "steady"],
        &mut Synthetic::new(),
    );
    ended.unwrap();
    let made = only_folder(folder.path());
    let report = || {
        let args = ReportArgs {
            folder: made.clone(),
            full: true,
        };
        loadgen::cmd::report::run(&args, &mut Vec::new())
    };
    report().unwrap();
    let path = made.join("records/round-01-thread-steady.json");
    let mut record: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    record["plan"]["workload"]["pacing"] = serde_json::json!({
        "open_loop": { "rate_per_s": 1000, "arrivals": "constant", "ramp_ms": 0, "waiting": "hybrid" }
    });
    fs::write(&path, record.to_string()).unwrap();
    let refused = report().unwrap_err();
    assert_eq!(refused.exit, Exit::Usage);
    assert!(refused.text.contains("may not share a table"), "{refused}");
    let resumed = compare(
        folder.path(),
        &["--resume", &made.display().to_string()],
        &mut Synthetic::new(),
    );
    assert_eq!(resumed.1.unwrap_err().exit, Exit::Usage);
}
