//! Every report format against a file: one format, one golden file. `UPDATE_GOLDEN=1 cargo test -p loadgen` writes them
//! anew; read the difference before committing it.

use crate::synthetic::{Fault, ORIGINALS, Synthetic, file, run, store, trial};
use loadgen::compare::runner::{Block, Now, TrialProgress, View};
use loadgen::measurement::store::{Store, Stored};
use loadgen::record::{Arrivals, OpenLoop, Pacing, Plan, Waiting};
use loadgen::record::{Latency, Measurement, Origin, SuitePlace};
use loadgen::report::{csv, folder, screen, terminal};
use loadgen::suite::matrix::{Pair, SuiteFile};
use loadgen::suite::preset;
use loadgen::suite::results::Results;
use loadgen::validity::omission;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Compares with the file, or writes it when `UPDATE_GOLDEN` is set.
pub(crate) fn expect(path: &Path, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert!(
        expected == text,
        "{} differs; look at it with UPDATE_GOLDEN=1 and git diff. It should read:\n{text}",
        path.display()
    );
}

pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/comparison/golden")
        .join(name)
}

struct Blind;

impl View for Blind {
    fn trial_begins(&mut self, _now: &Now) {}
    fn trial_moves(&mut self, _now: &Now, _progress: TrialProgress) {}
    fn trial_ends(&mut self, _now: &Now, _measurement: &Measurement) {}
    fn block_ends(&mut self, _block: &Block, _file: &SuiteFile, _results: &Results) {}
}

/// Nine rounds in which now and then something is wrong.
fn troubled(plan: &Plan, place: &SuitePlace) -> Fault {
    match (
        plan.target.as_str(),
        plan.workload.name.as_str(),
        place.round,
        place.attempt,
    ) {
        ("thread", "medium", 3, 1) => Fault::ForeignLoad,
        ("event-tokio", "churn", _, _) => Fault::NoCost,
        ("fork", "churn", 1..=4, _) => Fault::ServerDied,
        ("fork", "churn", _, _) => Fault::ForeignLoad,
        ("fork", "steady", 5, 1) => Fault::Corrupted,
        _ => Fault::None,
    }
}

fn suite_of(rounds: u32, fault: fn(&Plan, &SuitePlace) -> Fault) -> (SuiteFile, Store, tempfile::TempDir) {
    let results = tempfile::tempdir().unwrap();
    let (mut file, mut store) = (file(ORIGINALS, "default", rounds, 3600), store(results.path()));
    file.suite.counting = preset::counting();
    run(&mut file, &mut Synthetic::with(fault), &mut store, &mut Blind).unwrap();
    (file, store, results)
}

/// The nine rounds, made once for all tests.
pub(crate) fn nine_rounds() -> &'static (SuiteFile, Store, tempfile::TempDir) {
    static MADE: OnceLock<(SuiteFile, Store, tempfile::TempDir)> = OnceLock::new();
    MADE.get_or_init(|| suite_of(9, troubled))
}

pub(crate) fn single(target: &str, workload: &str, fault: Fault) -> Measurement {
    let suite = file(ORIGINALS, "default", 1, 600).suite;
    let pair = Pair {
        target: target.into(),
        workload: workload.into(),
        control: false,
        at: None,
    };
    let place = SuitePlace {
        suite: "default".into(),
        round: 1,
        position: 1,
        seed: 1,
        attempt: 1,
        control: false,
        plan_hash: None,
        at: None,
    };
    trial(&suite.plan(&pair, 1), &place, fault)
}

/// The trial as if it had been an open loop in which messages had to wait.
fn by_plan(mut trial: Measurement) -> Measurement {
    trial.plan.workload.pacing = Pacing::OpenLoop(OpenLoop {
        rate_per_s: 120_000,
        arrivals: Arrivals::Poisson,
        ramp_ms: 500,
        waiting: Waiting::Hybrid,
    });
    trial.counts.planned += 1_234;
    trial.counts.dropped = 1_234;
    let faster = |ns: Option<u64>| ns.map(|ns| ns / 40);
    let response = trial.latency_ns.response;
    trial.latency_ns.service = Latency {
        p50: faster(response.p50),
        p90: faster(response.p90),
        p99: faster(response.p99),
        max: faster(response.max),
        ..response
    };
    trial.latency_ns.send_lag = trial.latency_ns.response;
    trial.loadgen_cost.cpu_spin_s = 0.4321;
    trial.notes.extend(omission::warning(&trial));
    trial
}

#[test]
fn the_summary_of_a_trial() {
    let mut attached = single("thread", "steady", Fault::NoCost);
    attached.target.origin = Origin::Attached;
    attached.target.runtime_version = None;
    attached
        .notes
        .push("client-bound: loadgen used 91 % of its CPU, the server may be faster than this".into());
    let texts = [
        single("event-tokio", "steady", Fault::None),
        single("fork", "medium", Fault::ForeignLoad),
        single("fork", "light", Fault::Corrupted),
        single("fork", "churn", Fault::ServerDied),
        attached,
        by_plan(single("event-tokio", "steady", Fault::None)),
    ]
    .map(|trial| terminal::summary(&trial));
    expect(&golden("summary.txt"), &texts.join("\n"));
}

#[test]
fn the_tables_of_a_suite_at_three_widths() {
    let (file, store, _) = nine_rounds();
    let results = Results::of(&file.suite, store.records());
    for width in [80, 100, 140] {
        let text = terminal::suite(file, &results, width);
        expect(&golden(&format!("tables-{width}.txt")), &text);
        let longest = text.lines().map(|line| line.chars().count()).max();
        assert!(
            longest <= Some(usize::from(width)),
            "{longest:?} columns in tables for {width}"
        );
    }
    let screen = screen::screen(file, &results, 100);
    assert!(screen.lines().count() <= 39, "{screen}");
    assert!(screen.lines().all(|line| line.chars().count() <= 100), "{screen}");
    expect(&golden("screen-100.txt"), &screen);
}

#[test]
fn the_first_screen_has_at_most_40_lines_of_100_columns_however_many_targets() {
    for fault in [|_: &Plan, _: &SuitePlace| Fault::None, troubled] {
        let file = file("all", "default", 5, 36_000);
        let of_round = |round| {
            let pairs = (1..).zip(file.suite.pairs_of_round(round));
            pairs.map(move |(position, pair)| (round, position, pair))
        };
        let stored: Vec<Stored> = (1..=5)
            .flat_map(of_round)
            .map(|(round, position, pair)| {
                let place = SuitePlace {
                    suite: "default".into(),
                    round,
                    position,
                    seed: 1,
                    attempt: 1,
                    control: pair.control,
                    plan_hash: None,
                    at: None,
                };
                let plan = file.suite.plan(&pair, round);
                Stored {
                    file: format!("{round}-{position}"),
                    measurement: trial(&plan, &place, fault(&plan, &place)),
                }
            })
            .collect();
        let results = Results::of(&file.suite, &stored);
        let folder = Path::new("results/2026-01-31-2cpu-linux-6.18-all");
        let screen = screen::screen(&file, &results, 100) + &screen::where_the_rest_is(folder);
        println!("{screen}");
        assert!(
            file.suite.targets.len() >= 20 && screen.lines().count() <= 40,
            "{screen}"
        );
        let longest = screen.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(100), "{longest:?} columns:\n{screen}");
        for target in &file.suite.targets {
            let row = |line: &&str| line.trim_start().starts_with(&format!("{target} "));
            assert!(screen.lines().any(|line| row(&line)), "{target} has no row:\n{screen}");
        }
        assert!(screen.contains("paced"), "{screen}");
    }
}

#[test]
fn the_first_table() {
    let (file, store, _results) = suite_of(1, |_, _| Fault::None);
    let results = Results::of(&file.suite, store.records());
    expect(&golden("tables-first.txt"), &terminal::suite(&file, &results, 100));
}

#[test]
fn the_files_of_a_folder() {
    let (file, store, _) = nine_rounds();
    let results = Results::of(&file.suite, store.records());
    for (name, text) in folder::files(file, &results, store.records()) {
        assert_eq!(
            fs::read_to_string(store.folder().join(&name)).unwrap(),
            text,
            "{name} is in the folder"
        );
        if !name.ends_with(".svg") || name.contains("churn") || name.contains("medium") {
            expect(&golden(&format!("folder/{name}")), &text);
        }
    }
}

#[test]
fn one_trial_as_csv() {
    let text = csv::record(&single("event-tokio", "steady", Fault::None));
    assert_eq!(text.lines().count(), 2);
    expect(&golden("trial.csv"), &text);
}

#[test]
fn no_report_names_a_path_of_this_machine() {
    let (file, store, _results) = suite_of(1, troubled);
    let results = Results::of(&file.suite, store.records());
    for (name, text) in folder::files(&file, &results, store.records()) {
        assert!(!text.contains("/somewhere/"), "{name}");
    }
}
