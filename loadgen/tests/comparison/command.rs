//! `loadgen compare` as typed: what it prints, where it writes, how it exits.

use crate::synthetic::{Fault, ORIGINALS, Running, Synthetic, environment, file};
use clap::Parser;
use loadgen::cmd::compare::{CompareArgs, Here, run};
use loadgen::cmd::publish::PublishArgs;
use loadgen::cmd::report::ReportArgs;
use loadgen::failure::{Exit, Failure};
use loadgen::measurement::store::Store;
use loadgen::record::Machine;
use loadgen::sampler::network::Tracking;
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

/// The machine that synthetic trials tell of, without private networks.
pub(crate) fn here() -> Here {
    Here {
        label: "2cpu-linux-6.18".into(),
        base: file(ORIGINALS, "default", 1, 1).suite.base,
        command: vec!["/somewhere/target/release/loadgen".into(), "compare".into()],
        environment: environment(),
        cpus: vec![0, 1],
        machine: Machine {
            cores: vec![vec![0], vec![1]],
            nofile_hard: 20_000,
            ports_per_source: 28_232,
        },
        no_private_network: Some("not in tests".into()),
        tracking: None,
    }
}

pub(crate) fn compare(folder: &Path, words: &[&str], trials: &mut Synthetic) -> (String, Result<(), Failure>) {
    compare_at(folder, words, trials, &here())
}

/// Runs the verb on synthetic trials with results in `folder/results`; gives what it printed and how it ended.
pub(crate) fn compare_at(
    folder: &Path,
    words: &[&str],
    trials: &mut Synthetic,
    here: &Here,
) -> (String, Result<(), Failure>) {
    let results = folder.join("results").display().to_string();
    let goes_on = words.contains(&"--resume") || words.contains(&"--add");
    let mut all = vec!["--quiet"];
    if !goes_on {
        all.extend(["--results", &results]);
    }
    all.extend(words);
    let mut out = Vec::new();
    let ended = run(
        &parse(&all).unwrap(),
        &mut Running(trials, &Cell::new(Duration::ZERO)),
        here,
        &mut out,
    );
    (String::from_utf8(out).unwrap(), ended)
}

pub(crate) fn only_folder(folder: &Path) -> std::path::PathBuf {
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
        (&["--precision", "3x"], "write it like 3%"),
        (&["--precision", "0.1%"], "not within 0.5% and 50%"),
        (&["--add", "fork"], "2 values required"),
        (&["--add", "fork", "x", "--pin", "off"], "cannot be used with"),
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

#[test]
fn more_time_or_a_precision_lifts_the_limit_on_rounds_unless_one_is_given() {
    for (words, rounds) in [
        (&[][..], 10),
        (&["--budget", "30m"], 1000),
        (&["--precision", "3%"], 1000),
        (&["--precision", "3", "--rounds", "20"], 20),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<&str> = [&["--dry-run", "--workloads", "light"], words].concat();
        let (out, ended) = compare(folder.path(), &all, &mut Synthetic::new());
        ended.unwrap();
        let limit = format!("at most {} rounds", loadgen::text::count(rounds));
        assert!(out.contains(&limit), "{words:?}: {out}");
    }
}

#[test]
fn a_target_is_added_to_a_folder_and_its_results_join_it() {
    let folder = tempfile::tempdir().unwrap();
    let words = [
        "--rounds",
        "5",
        "--targets",
        "fork,thread,event-epoll",
        "--workloads",
        "light",
    ];
    compare(folder.path(), &words, &mut Synthetic::new()).1.unwrap();
    let made = only_folder(folder.path());
    let made = made.to_str().unwrap();
    let mut trials = Synthetic::new();
    let (out, ended) = compare(folder.path(), &["--add", "event-tokio", made], &mut trials);
    ended.unwrap();
    // Wherever its lines are broken.
    let words: Vec<&str> = out.split_whitespace().collect();
    assert!(
        words.join(" ").contains("5 rounds and at most 5 more for event-tokio"),
        "{out}"
    );
    let timed = trials.ran.iter().filter(|(name, _)| name.ends_with(" light"));
    assert_eq!(timed.clone().count(), 15, "{:?}", trials.told());
    assert!(timed.clone().all(|(_, place)| place.round > 5));
    assert_eq!(timed.filter(|(name, _)| name == "event-tokio light").count(), 5);
    for (target, told) in [
        ("event-tokio", "it is in this comparison already"),
        ("event-tokyo", "does not know `event-tokyo`"),
        ("all", "one target at a time"),
    ] {
        let failure = compare(folder.path(), &["--add", target, made], &mut Synthetic::new())
            .1
            .unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.text.contains(told), "{failure}");
    }
}

#[test]
fn a_comparison_goes_on_only_on_the_machine_the_cpus_and_the_network_it_was_begun_on() {
    type Change = fn(&mut Here);
    let folder = tempfile::tempdir().unwrap();
    let words = ["--rounds", "1", "--targets", "fork,thread", "--workloads", "light"];
    compare(folder.path(), &words, &mut Synthetic::new()).1.unwrap();
    let made = only_folder(folder.path());
    let made = made.to_str().unwrap();
    let other_cpu = |here: &mut Here| here.environment.cpu_model = Some("Intel Xeon".into());
    let other_kernel = |here: &mut Here| here.environment.kernel = Some("6.19.0".into());
    let fewer_cpus = |here: &mut Here| here.cpus = vec![0];
    let private = |here: &mut Here| here.no_private_network = None;
    let changes: [(Change, &str); 4] = [
        (other_cpu, "the CPU there is AMD EPYC, here it is Intel Xeon"),
        (other_kernel, "the kernel there is 6.18.0, here it is 6.19.0"),
        (fewer_cpus, "used CPU 1"),
        (private, "here each would have a private one"),
    ];
    for (change, told) in changes {
        for words in [&["--resume", made][..], &["--add", "event-tokio", made]] {
            let mut here = here();
            change(&mut here);
            let mut trials = Synthetic::new();
            let failure = compare_at(folder.path(), words, &mut trials, &here).1.unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.text.contains(told), "{words:?}: {failure}");
            assert!(trials.ran.is_empty());
        }
    }
    // And the other way round: a folder of private networks where only the host's is to be had.
    for entry in fs::read_dir(Path::new(made).join("records")).unwrap() {
        in_private_network(&entry.unwrap().path());
    }
    let (_, ended) = compare(folder.path(), &["--resume", made], &mut Synthetic::new());
    let failure = ended.unwrap_err();
    assert!(failure.text.contains("on the host's: not in tests"), "{failure}");
}

pub(crate) fn in_private_network(record: &Path) {
    let mut json: serde_json::Value = serde_json::from_str(&fs::read_to_string(record).unwrap()).unwrap();
    json["environment"]["network"] = serde_json::json!({ "kind": "private", "note": null });
    fs::write(record, json.to_string()).unwrap();
}

#[test]
fn records_of_two_networks_are_refused_in_one_table() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["--rounds", "1", "--targets", "fork,thread", "--workloads", "light"];
    compare(folder.path(), &words, &mut Synthetic::new()).1.unwrap();
    let made = only_folder(folder.path());
    in_private_network(&made.join("records/round-01-thread-light.json"));
    let report = ReportArgs {
        folder: made.clone(),
        full: false,
    };
    let publish = PublishArgs { folder: made.clone() };
    let resume = ["--resume", made.to_str().unwrap()];
    for failure in [
        loadgen::cmd::report::run(&report, &mut Vec::new()).unwrap_err(),
        loadgen::cmd::publish::run(&publish, &mut Vec::new()).unwrap_err(),
        compare(folder.path(), &resume, &mut Synthetic::new()).1.unwrap_err(),
    ] {
        assert_eq!(failure.exit, Exit::Usage);
        assert!(
            failure
                .text
                .contains("records/round-01-thread-light.json was measured in a private network")
                && failure.text.contains("-light.json on the host's"),
            "{failure}"
        );
    }
}

#[test]
fn a_private_network_that_cannot_be_had_is_refused_before_anything_is_made() {
    for (words, told) in [
        (&["--network", "private"][..], "--network private: not in tests"),
        (
            &["--network", "private", "--targets", "running"],
            "--targets running are not",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let failure = compare(folder.path(), words, &mut Synthetic::new()).1.unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.text.contains(told), "{failure}");
        assert!(!folder.path().join("results").exists());
    }
}

#[test]
fn where_connections_are_tracked_churn_opens_the_same_number_for_all_targets() {
    let opened = |tracking, no_private_network: Option<&str>| -> Vec<Option<u64>> {
        let folder = tempfile::tempdir().unwrap();
        let here = Here {
            tracking,
            no_private_network: no_private_network.map(str::to_owned),
            ..here()
        };
        let words = [
            "--rounds",
            "1",
            "--targets",
            "fork,thread",
            "--workloads",
            "light,churn",
        ];
        compare_at(folder.path(), &words, &mut Synthetic::new(), &here)
            .1
            .unwrap();
        let store = Store::open(&only_folder(folder.path())).unwrap();
        let churn = store
            .records()
            .iter()
            .filter(|stored| stored.measurement.workload == "churn");
        churn
            .map(|stored| stored.measurement.plan.workload.messages_planned())
            .collect()
    };
    let tracking = |max| Some(Tracking { count: 27, max });
    let fixed = opened(tracking(262_144), Some("not permitted"));
    assert!(
        fixed.len() == 3 && fixed[0].is_some() && fixed.iter().all(|number| *number == fixed[0]),
        "{fixed:?}"
    );
    assert!(opened(tracking(65_536), Some("not permitted"))[0] < fixed[0]);
    assert_eq!(opened(None, Some("not permitted")), [None; 3]);
    assert_eq!(
        opened(tracking(262_144), None),
        [None; 3],
        "a private network tracks nothing"
    );
}

#[test]
fn where_every_cell_has_a_figure_that_stands_require_valid_asks_for_no_more() {
    let folder = tempfile::tempdir().unwrap();
    // Each trial of the first round is spoilt for rates and times, none of the second.
    let mut trials = Synthetic::with(|_, place| {
        if place.round == 1 {
            Fault::ForeignLoad
        } else {
            Fault::None
        }
    });
    let words = ["--rounds", "2", "--workloads", "light", "--require-valid"];
    compare(folder.path(), &words, &mut trials).1.unwrap();
}

#[test]
fn cells_without_a_figure_that_stands_are_named_and_exit_7() {
    let folder = tempfile::tempdir().unwrap();
    let mut trials = Synthetic::with(|plan, _| match plan.target.as_str() {
        "fork" => Fault::ForeignLoad,
        "thread" => Fault::ServerDied,
        _ => Fault::None,
    });
    let words = ["--targets", ORIGINALS, "--rounds", "1", "--workloads", "light"];
    compare(folder.path(), &words, &mut trials).1.unwrap();
    let ended = compare(folder.path(), &[&words[..], &["--require-valid"]].concat(), &mut trials).1;
    let failure = ended.unwrap_err();
    assert_eq!(failure.exit, Exit::Invalid);
    let all = "capacity, rates, percentiles, memory";
    let told = format!(
        "3 rows have cells without any figure that stands: fork under light (rates, percentiles), thread under light ({all}), \
         thread (again) under light ({all}). The reasons are in "
    );
    assert!(failure.text.contains(&told), "{}", failure.text);
}

#[test]
fn a_machine_with_one_cpu_is_asked_for_what_it_can_give() {
    let folder = tempfile::tempdir().unwrap();
    let mut trials = Synthetic::with(|_, _| Fault::OneCpu);
    let words = ["--rounds", "1", "--workloads", "light", "--require-valid"];
    compare(folder.path(), &words, &mut trials).1.unwrap();
}
