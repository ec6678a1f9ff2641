//! Comparisons at several values (`--workers 1,2`, `--work 0,10us`) and of workloads as they were typed.

use crate::command::{compare, compare_at, here, only_folder};
use crate::synthetic::Synthetic;
use loadgen::cmd::compare::Here;
use loadgen::cmd::publish::{self, PublishArgs};
use loadgen::cmd::report::{self, ReportArgs};
use loadgen::failure::Exit;
use loadgen::measurement::store::Store;
use loadgen::record::Stop;
use loadgen::suite::findings::Findings;
use loadgen::suite::matrix::SuiteFile;
use std::fs;
use std::path::Path;

/// A machine on which the server has two CPUs.
pub(crate) fn with_two_server_cpus() -> Here {
    let mut here = here();
    here.base.placement.server_cpus = vec![0, 2];
    here.cpus = vec![0, 1, 2];
    here
}

const WORKERS: [&str; 6] = ["--workers", "1,2", "--targets", "fork,event-tokio", "--rounds", "6"];

fn findings(folder: &Path) -> Findings {
    Store::open(folder).unwrap().read_json("findings.json").unwrap()
}

fn pairs(findings: &Findings) -> Vec<String> {
    let pairs = findings.tables.iter().flat_map(|table| &table.pairs);
    pairs.map(|pair| format!("{} / {}", pair.left, pair.right)).collect()
}

#[test]
fn where_each_worker_has_a_cpu_scaling_is_claimed() {
    let folder = tempfile::tempdir().unwrap();
    let (out, ended) = compare_at(folder.path(), &WORKERS, &mut Synthetic::new(), &with_two_server_cpus());
    ended.unwrap();
    for told in [
        "steady: event-tokio with 2 workers answers ",
        "as many messages a second as with 1 worker",
        "--workers changes nothing for fork (a process for each client)",
        "steady, capacity",
        "steady, messages/s",
        "as it is",
    ] {
        assert!(out.replace("\n  ", " ").contains(told), "{told}: {out}");
    }
    assert!(!out.contains("oversubscribed"), "{out}");
    let made = only_folder(folder.path());
    assert!(
        pairs(&findings(&made))
            .iter()
            .any(|pair| pair.contains("(1 worker)") && pair.contains("(2 workers)"))
    );
    // Each value has a record and a row of its own, and what is read back says the same.
    assert!(
        made.join("records/round-01-event-tokio-2-workers-steady.json")
            .is_file()
    );
    let summary = fs::read_to_string(made.join("summary.csv")).unwrap();
    assert!(
        summary.contains("event-tokio (2 workers)") && summary.contains("work_ns"),
        "{summary}"
    );
    let readme = fs::read_to_string(made.join("README.md")).unwrap();
    assert!(
        readme.contains("| target | as it is | 1 worker | 2 workers |")
            && readme.contains("| compared at | 1 worker, 2 workers |"),
        "{readme}"
    );
    let args = ReportArgs {
        folder: made.clone(),
        full: false,
    };
    let mut again = Vec::new();
    report::run(&args, &mut again).unwrap();
    assert!(out.starts_with(&String::from_utf8(again).unwrap().lines().next().unwrap().to_string()));
    assert_eq!(fs::read_to_string(made.join("README.md")).unwrap(), readme);
}

#[test]
fn more_workers_than_cpus_are_marked_and_nothing_is_claimed_about_them() {
    let folder = tempfile::tempdir().unwrap();
    let words = [
        "--workers",
        "1,2,4",
        "--targets",
        "event-tokio,event-epoll",
        "--rounds",
        "6",
    ];
    let (out, ended) = compare(folder.path(), &words, &mut Synthetic::new());
    ended.unwrap();
    let out = out.replace("\n  ", " ");
    assert!(
        out.contains("k oversubscribed")
            && out.contains("oversubscribed: 2 workers, 4 workers (more than the server's 1 CPU)"),
        "{out}"
    );
    let found = findings(&only_folder(folder.path()));
    assert_eq!(
        pairs(&found).len(),
        2,
        "one pair at one worker, for each of two quantities"
    );
    let marked = found.tables[0].targets.iter().filter(|target| target.oversubscribed);
    assert!(
        marked.clone().count() == 4
            && marked
                .clone()
                .all(|target| target.level.is_some() && target.letters.is_empty())
    );
}

#[test]
fn at_each_amount_of_work_the_best_is_held_against_the_worst() {
    let folder = tempfile::tempdir().unwrap();
    let words = [
        "--work",
        "0,10us,1ms",
        "--targets",
        "fork,thread,event-tokio",
        "--rounds",
        "6",
    ];
    let mut trials = Synthetic::new();
    let (out, ended) = compare(folder.path(), &words, &mut trials);
    ended.unwrap();
    assert!(
        out.contains("steady: event-tokio (work 0) answers ") && out.contains("work 10us"),
        "{out}"
    );
    // Where work is a thousand times what a message costs, targets are as good as each other.
    assert!(
        out.replace("\n  ", " ").contains("(work 1ms) are not shown to differ"),
        "{out}"
    );
    assert_eq!(trials.ran.len(), 6 * (3 * 3 + 1));
    assert!(
        trials
            .ran
            .iter()
            .any(|(name, _)| name == "thread (work 0) (again) steady")
    );
}

#[test]
fn a_comparison_at_several_values_is_resumed_and_added_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut trials = Synthetic::new();
    trials.interrupt_in = Some(3);
    let (_, ended) = compare_at(folder.path(), &WORKERS, &mut trials, &with_two_server_cpus());
    assert_eq!(ended.unwrap_err().exit, Exit::Interrupted);
    let made = only_folder(folder.path());
    let made = made.to_str().unwrap();
    let mut rest = Synthetic::new();
    compare_at(folder.path(), &["--resume", made], &mut rest, &with_two_server_cpus())
        .1
        .unwrap();
    // Four trials a round; two were kept, the one that was cut short runs again.
    assert_eq!(rest.ran.len(), 6 * 4 - 2, "{:?}", rest.told());
    let mut added = Synthetic::new();
    let words = ["--add", "event-epoll", made];
    compare_at(folder.path(), &words, &mut added, &with_two_server_cpus())
        .1
        .unwrap();
    for label in ["event-epoll (1 worker) steady", "event-epoll (2 workers) steady"] {
        assert_eq!(
            added.ran.iter().filter(|(name, _)| name == label).count(),
            6,
            "{:?}",
            added.told()
        );
    }
    let file: SuiteFile = Store::open(Path::new(made)).unwrap().read_json("suite.json").unwrap();
    assert!(file.suite.dimension.is_some());
    let found = pairs(&findings(Path::new(made)));
    assert!(
        found
            .iter()
            .any(|pair| pair.contains("event-epoll (2 workers)") && pair.contains("event-tokio (2 workers)"))
    );
}

#[test]
fn one_value_is_no_dimension() {
    let folder = tempfile::tempdir().unwrap();
    let words = [
        "--workers",
        "2",
        "--work",
        "10us",
        "--targets",
        "fork,event-tokio",
        "--workloads",
        "light",
        "--rounds",
        "1",
    ];
    let mut trials = Synthetic::new();
    compare(folder.path(), &words, &mut trials).1.unwrap();
    let store = Store::open(&only_folder(folder.path())).unwrap();
    for stored in store.records() {
        let plan = &stored.measurement.plan;
        let workers = (plan.target != "fork").then_some(2);
        assert_eq!((plan.workers, plan.work_ns), (workers, Some(10_000)), "{}", stored.file);
        assert_eq!(stored.measurement.identity.suite.as_ref().unwrap().at, None);
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_the_flag_before_anything_is_made() {
    for (words, told) in [
        (
            &["--workers", "1,2", "--work", "0,10us"][..],
            "a comparison has one dimension",
        ),
        (&["--workers", "1,1"], "--workers has a value twice"),
        (
            &["--workers", "1,2", "--targets", "fork,thread"],
            "would change nothing for any target: fork (a process for each client)",
        ),
        (
            &["--workers", "2", "--targets", "thread-pool"],
            "its workers are as many as the clients",
        ),
        (
            &[
                "--work",
                "0,1ms",
                "--targets",
                "fork,thread",
                "--fail-on-regression",
                "3%",
            ],
            "--fail-on-regression judges two targets at one value",
        ),
        (&["--workload", "nosuch"], "--workload nosuch is neither a preset"),
        (
            &["--workload", "light", "--workloads", "light"],
            "two workloads are named `light`",
        ),
        (
            &["--rate", "5k"],
            "workload `light`: --rate 5000 and --messages 10 exclude each other",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let failure = compare(folder.path(), words, &mut Synthetic::new()).1.unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "{words:?}");
        assert!(failure.text.contains(told), "{words:?}: {failure}");
        assert!(!folder.path().join("results").exists());
    }
}

#[test]
fn a_comparison_at_several_values_has_no_place_in_the_tracked_tables() {
    let folder = tempfile::tempdir().unwrap();
    compare_at(folder.path(), &WORKERS, &mut Synthetic::new(), &with_two_server_cpus())
        .1
        .unwrap();
    let args = PublishArgs {
        folder: only_folder(folder.path()),
    };
    let failure = publish::run(&args, &mut Vec::new()).unwrap_err();
    assert!(failure.text.contains("at several values of --workers"), "{failure}");
}

#[test]
fn workloads_of_files_and_flags_run_as_typed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chatty.toml");
    fs::write(
        &file,
        "clients = 30\nduration = \"500ms\"\nwarmup = \"100ms\"\nsize = 128\n",
    )
    .unwrap();
    let words = [
        "--workload",
        file.to_str().unwrap(),
        "--workload",
        "light",
        "--size",
        "1KiB",
        "--targets",
        "fork,thread",
        "--rounds",
        "1",
    ];
    let (out, ended) = compare(folder.path(), &words, &mut Synthetic::new());
    ended.unwrap();
    assert!(
        out.contains("chatty (changed)") && out.contains("light (changed)"),
        "{out}"
    );
    let made = fs::read_dir(folder.path().join("results"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    assert!(made.to_str().unwrap().ends_with("-custom"));
    let file: SuiteFile = Store::open(&made).unwrap().read_json("suite.json").unwrap();
    let [chatty, light] = &file.suite.workloads[..] else {
        panic!("{:?}", file.suite.workloads);
    };
    assert_eq!(
        (chatty.clients, chatty.size_max_bytes, chatty.stop),
        (30, 1024, Stop::AfterMs(500))
    );
    assert_eq!(
        (light.clients, light.size_min_bytes, light.stop),
        (100, 1024, Stop::MessagesPerClient(10))
    );
    // A rate makes an open loop of a closed one: a workload of its own, with tables of its own.
    let folder = tempfile::tempdir().unwrap();
    let words = [
        "--workloads",
        "steady",
        "--rate",
        "5k",
        "--targets",
        "fork,thread",
        "--rounds",
        "1",
    ];
    let (out, ended) = compare(folder.path(), &words, &mut Synthetic::new());
    ended.unwrap();
    assert!(
        out.contains("open loop, 5,000 messages/s for every target") && !out.contains("messages per CPU second"),
        "{out}"
    );
}
