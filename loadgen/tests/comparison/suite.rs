//! The order, end and continuation of a suite.

use crate::synthetic::{Fault, ORIGINALS, Synthetic, file, run, store};
use loadgen::cmd::report::ReportArgs;
use loadgen::compare::runner::{Block, Now, SuiteEnd, TrialProgress, View};
use loadgen::failure::Exit;
use loadgen::measurement::store::{SUITE_FILE, Store, Stored};
use loadgen::quantity::{CPU_PER_MESSAGE, MESSAGES_PER_S};
use loadgen::record::Measurement;
use loadgen::report::screen;
use loadgen::suite::findings::{Findings, Judged};
use loadgen::suite::matrix::{Addition, SuiteFile};
use loadgen::suite::precision::Known;
use loadgen::suite::preset;
use loadgen::suite::results::{Results, round_of};
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

/// Remembers what it was shown.
#[derive(Default)]
struct Seen {
    begun: Vec<Now>,
    moved: usize,
    blocks: Vec<(u32, String)>,
    tries_before_first_block: usize,
}

impl View for Seen {
    fn trial_begins(&mut self, now: &Now) {
        self.begun.push(now.clone());
    }

    fn trial_moves(&mut self, _now: &Now, _progress: TrialProgress) {
        self.moved += 1;
    }

    fn trial_ends(&mut self, _now: &Now, _measurement: &Measurement) {}

    fn block_ends(&mut self, block: &Block, _file: &SuiteFile, _results: &Results) {
        if self.blocks.is_empty() {
            self.tries_before_first_block = self.begun.len();
        }
        self.blocks.push((block.round, block.workload.clone()));
    }
}

#[test]
fn every_round_runs_every_pair_once_in_its_own_order() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, mut trials) = (file(ORIGINALS, "light,medium", 3, 600), Synthetic::new());
    let end = run(&mut file, &mut trials, &mut store(folder.path()), &mut Seen::default()).unwrap();
    assert_eq!(end, SuiteEnd::Rounds);
    let of_round = |round| -> Vec<&str> {
        let of = trials.ran.iter().filter(move |(_, place)| place.round == round);
        of.map(|(name, _)| name.as_str()).collect()
    };
    for round in 1..=3 {
        let names: BTreeSet<_> = of_round(round)
            .into_iter()
            .filter(|name| !name.contains("again"))
            .collect();
        assert_eq!(names.len(), 6, "{names:?}");
        assert_eq!(of_round(round).len(), 8);
    }
    assert_ne!(of_round(1), of_round(2));
}

#[test]
fn the_same_seed_runs_the_same_order() {
    let told = |seed| {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, mut trials) = (file(ORIGINALS, "default", 2, 600), Synthetic::new());
        file.suite.seed = seed;
        run(&mut file, &mut trials, &mut store(folder.path()), &mut Seen::default()).unwrap();
        trials.told()
    };
    assert_eq!(told(5), told(5));
    assert_ne!(told(5), told(6));
}

#[test]
fn no_round_starts_that_would_not_end_within_the_budget() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, mut trials) = (file(ORIGINALS, "default", 10, 200), Synthetic::new());
    let mut store = store(folder.path());
    let end = run(&mut file, &mut trials, &mut store, &mut Seen::default()).unwrap();
    assert_eq!(end, SuiteEnd::Budget);
    assert!(trials.time.get() <= Duration::from_secs(200), "{:?}", trials.time.get());
    assert!(trials.time.get() > Duration::from_secs(140), "{:?}", trials.time.get());
    let results = Results::of(&file.suite, store.records());
    assert_eq!(
        results.trials,
        results.rounds_done as usize * 20,
        "no round is half done"
    );
    assert_eq!(file.ended.as_deref(), Some("budget"));
}

#[test]
fn the_first_round_runs_whole_even_when_the_budget_is_too_small_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, mut trials) = (file(ORIGINALS, "light", 10, 1), Synthetic::new());
    let end = run(&mut file, &mut trials, &mut store(folder.path()), &mut Seen::default()).unwrap();
    assert_eq!((end, trials.ran.len()), (SuiteEnd::Budget, 4));
}

#[test]
fn an_invalid_trial_is_kept_and_run_again_within_its_block() {
    let folder = tempfile::tempdir().unwrap();
    let mut trials = Synthetic::with(|plan, place| {
        if plan.target == "fork" && place.round == 1 && place.attempt == 1 {
            Fault::Corrupted
        } else {
            Fault::None
        }
    });
    let (mut file, mut store) = (file(ORIGINALS, "light", 2, 600), store(folder.path()));
    run(&mut file, &mut trials, &mut store, &mut Seen::default()).unwrap();
    assert!(trials.told()[4].ends_with("fork light 2"), "{:?}", trials.told());
    assert_eq!(trials.ran.len(), 9);
    let results = Results::of(&file.suite, store.records());
    let fork = &results.rows[0];
    assert_eq!((fork.rounds_valid, fork.rounds_run, fork.points.len()), (2, 2, 3));
    assert_eq!(results.invalid[0].file, "records/round-01-fork-light.json");
    assert!(
        store
            .folder()
            .join("records/round-01-fork-light-retry-1.json")
            .is_file()
    );
}

#[test]
fn other_programs_void_rates_and_nothing_is_run_again_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut trials = Synthetic::with(|_, _| Fault::ForeignLoad);
    let (mut file, mut store) = (file(ORIGINALS, "light", 2, 600), store(folder.path()));
    run(&mut file, &mut trials, &mut store, &mut Seen::default()).unwrap();
    assert_eq!(trials.ran.len(), 8);
    let results = Results::of(&file.suite, store.records());
    let row = &results.rows[0];
    assert!(row.believed && row.spread(&CPU_PER_MESSAGE).is_some());
    assert!(
        row.spread(&MESSAGES_PER_S).is_none(),
        "a rate that is void is not shown"
    );
    let chart = fs::read_to_string(store.folder().join("messages-per-s-light.svg")).unwrap();
    assert!(
        chart.matches(">void in every round<").count() == 4 && !chart.contains("not measured"),
        "{chart}"
    );
}

#[test]
fn a_round_goes_block_by_block_and_each_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, mut trials, mut seen) = (file(ORIGINALS, "default", 2, 600), Synthetic::new(), Seen::default());
    run(&mut file, &mut trials, &mut store(folder.path()), &mut seen).unwrap();
    let mut workloads: Vec<_> = seen.begun.iter().map(|now| (now.round, &*now.workload)).collect();
    workloads.dedup();
    assert_eq!(workloads.len(), 10, "{workloads:?}");
    let told: Vec<_> = seen
        .blocks
        .iter()
        .map(|(round, workload)| (*round, &**workload))
        .collect();
    assert_eq!(told, workloads);
}

#[test]
fn a_block_is_told_when_its_extra_tries_are_done() {
    let folder = tempfile::tempdir().unwrap();
    let mut trials = Synthetic::with(|_, place| match place.attempt {
        1 => Fault::Corrupted,
        _ => Fault::None,
    });
    let (mut file, mut seen) = (file(ORIGINALS, "light", 2, 600), Seen::default());
    run(&mut file, &mut trials, &mut store(folder.path()), &mut seen).unwrap();
    assert_eq!(seen.blocks, [(1, "light".to_string()), (2, "light".to_string())]);
    assert_eq!(seen.tries_before_first_block, 8);
}

#[test]
fn a_pair_gets_one_extra_try_in_its_block_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut trials = Synthetic::with(|plan, _| match plan.target.as_str() {
        "fork" => Fault::ServerDied,
        _ => Fault::None,
    });
    let (mut file, mut store) = (file(ORIGINALS, "light", 1, 600), store(folder.path()));
    let end = run(&mut file, &mut trials, &mut store, &mut Seen::default()).unwrap();
    assert_eq!(end, SuiteEnd::Rounds);
    let of_fork = trials.ran.iter().filter(|(name, _)| name == "fork light").count();
    assert_eq!(of_fork, 2);
    let results = Results::of(&file.suite, store.records());
    let reason = results.rows[0].not_measured.as_deref().unwrap();
    assert!(reason.contains("killed by signal 9"), "{reason}");
}

#[test]
fn extra_tries_stop_when_the_budget_is_spent() {
    let folder = tempfile::tempdir().unwrap();
    let mut trials = Synthetic::with(|_, _| Fault::ForeignLoad);
    let mut file = file(ORIGINALS, "light", 5, 12);
    run(&mut file, &mut trials, &mut store(folder.path()), &mut Seen::default()).unwrap();
    assert!(trials.ran.len() <= 5, "{:?}", trials.told());
}

#[test]
fn a_suite_in_which_nothing_can_be_measured_ends_after_its_first_round() {
    let folder = tempfile::tempdir().unwrap();
    let mut trials = Synthetic::with(|_, _| Fault::ServerDied);
    let mut file = file(ORIGINALS, "light", 10, 600);
    let end = run(&mut file, &mut trials, &mut store(folder.path()), &mut Seen::default()).unwrap();
    assert_eq!(end, SuiteEnd::NothingMeasured);
    assert!(trials.ran.iter().all(|(_, place)| place.round == 1));
}

#[test]
fn an_interruption_leaves_the_tables_of_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, mut trials) = (file(ORIGINALS, "default", 10, 600), Synthetic::new());
    trials.interrupt_in = Some(9);
    let mut store = store(folder.path());
    let end = run(&mut file, &mut trials, &mut store, &mut Seen::default()).unwrap();
    assert_eq!((end, store.records().len()), (SuiteEnd::Interrupted, 8));
    let readme = fs::read_to_string(store.folder().join("README.md")).unwrap();
    assert!(
        readme.contains("was interrupted") && readme.contains("| fork |"),
        "{readme}"
    );
    assert!(
        fs::read_to_string(store.folder().join("summary.csv"))
            .unwrap()
            .lines()
            .count()
            > 5
    );
}

#[test]
fn a_resumed_suite_repeats_nothing_and_ends_like_an_uninterrupted_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut whole = Synthetic::new();
    run(
        &mut file(ORIGINALS, "light,medium", 3, 600),
        &mut whole,
        &mut store(folder.path()),
        &mut Seen::default(),
    )
    .unwrap();

    let mut first = Synthetic::new();
    first.interrupt_in = Some(10);
    let mut store = store(folder.path());
    run(
        &mut file(ORIGINALS, "light,medium", 3, 600),
        &mut first,
        &mut store,
        &mut Seen::default(),
    )
    .unwrap();
    assert_eq!(store.records().len(), 9);

    let mut store = Store::open(store.folder()).unwrap();
    let mut file: SuiteFile = store.read_json(SUITE_FILE).unwrap();
    assert_eq!(file.ended.as_deref(), Some("interrupted"));
    let mut second = Synthetic::new();
    let end = run(&mut file, &mut second, &mut store, &mut Seen::default()).unwrap();
    assert_eq!(end, SuiteEnd::Rounds);
    // The tenth was cut short, so it is the first to run again.
    let both: Vec<_> = first.told()[..9].iter().cloned().chain(second.told()).collect();
    assert_eq!(both, whole.told());
}

#[test]
fn the_time_of_earlier_sittings_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, mut first) = (file(ORIGINALS, "light", 20, 60), Synthetic::new());
    first.interrupt_in = Some(9);
    let mut store = store(folder.path());
    run(&mut file, &mut first, &mut store, &mut Seen::default()).unwrap();
    let mut second = Synthetic::new();
    assert_eq!(
        run(&mut file, &mut second, &mut store, &mut Seen::default()).unwrap(),
        SuiteEnd::Budget
    );
    let both = first.time.get() + second.time.get();
    assert!(both <= Duration::from_secs(60), "{both:?}");
    assert_eq!(u128::from(file.spent_ms), both.as_millis());
}

#[test]
fn the_view_hears_of_every_trial_and_the_time_left_ends_at_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, mut trials, mut seen) = (file(ORIGINALS, "default", 3, 600), Synthetic::new(), Seen::default());
    run(&mut file, &mut trials, &mut store(folder.path()), &mut seen).unwrap();
    assert_eq!((seen.begun.len(), seen.moved, seen.blocks.len()), (60, 60, 15));
    assert!(seen.begun.iter().all(|now| now.rounds_expected == 3));
    let last = seen.begun.last().unwrap();
    assert!(last.left < Duration::from_secs(6) && last.done > 0.9, "{last:?}");
    // The expectation is never off by more than a third once a round has been timed.
    let after_round_1 = &seen.begun[20];
    let truth = trials.time.get().as_secs_f64() * 2.0 / 3.0;
    assert!(
        (after_round_1.left.as_secs_f64() / truth - 1.0).abs() < 0.33,
        "{after_round_1:?}, truth {truth}"
    );
}

#[test]
fn a_store_that_breaks_midway_ends_the_suite_with_exit_6_and_keeps_the_figures() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, mut trials) = (file(ORIGINALS, "light", 5, 600), Synthetic::new());
    let mut store = store(folder.path());
    // The folder of the records is gone: the next record cannot be written.
    fs::remove_dir_all(store.folder().join("records")).unwrap();
    let failure = run(&mut file, &mut trials, &mut store, &mut Seen::default()).unwrap_err();
    assert_eq!(failure.exit, Exit::Unwritable);
    assert_eq!(store.records().len(), 1);
}

#[test]
fn system_calls_are_counted_once_after_the_first_round_and_never_mixed_into_timed_figures() {
    let results = tempfile::tempdir().unwrap();
    let (mut file, mut store) = (file("fork,event-tokio", "light", 2, 3600), store(results.path()));
    file.suite.counting = preset::counting();
    let mut trials = Synthetic::new();
    run(&mut file, &mut trials, &mut store, &mut Seen::default()).unwrap();
    let names: Vec<&str> = trials.ran.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names[3..7],
        [
            "fork counting-1",
            "fork counting-32",
            "event-tokio counting-1",
            "event-tokio counting-32"
        ],
        "{names:?}"
    );
    assert_eq!(names.iter().filter(|name| name.contains("counting")).count(), 4);
    let results = Results::of(&file.suite, store.records());
    assert_eq!((results.rows.len(), results.trials, results.rounds_done), (3, 6, 2));
    let tokio = results.rows.iter().find(|row| row.target == "event-tokio").unwrap();
    assert_eq!(tokio.points.len(), 2);
    assert_eq!(tokio.syscalls_per_message, [(1, Some(3.0)), (32, Some(2.04))]);
    assert!(store.records().iter().all(|stored| {
        let trial = &stored.measurement;
        trial.plan.counting == trial.workload.starts_with("counting")
            && trial.plan.counting == trial.server_cost.syscalls_per_message.is_some()
    }));
}

#[test]
fn trials_of_another_plan_than_suite_json_tells_are_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, mut store) = (file("fork,event-tokio", "light", 1, 3600), store(folder.path()));
    run(&mut file, &mut Synthetic::new(), &mut store, &mut Seen::default()).unwrap();
    let report = || {
        let args = ReportArgs {
            full: true,
            folder: store.folder().to_path_buf(),
        };
        let mut out = Vec::new();
        loadgen::cmd::report::run(&args, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert!(report().contains("0 with void figures"));
    let path = store.folder().join(SUITE_FILE);
    let text = fs::read_to_string(&path).unwrap();
    let swapped = text
        .replacen("\"fork\"", "\"?\"", 1)
        .replacen("\"event-tokio\"", "\"fork\"", 1)
        .replacen("\"?\"", "\"event-tokio\"", 1);
    assert_ne!(swapped, text);
    fs::write(&path, swapped).unwrap();
    let told = report();
    assert!(told.contains("void by plan_hash: 3 trials"), "{told}");
    assert_eq!(told.matches("void by").count(), 1, "{told}");
}

#[test]
fn a_comparison_ends_with_the_first_whole_round_in_which_every_ratio_is_known_as_well_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, mut trials) = (file(ORIGINALS, "light,steady", 100, 36_000), Synthetic::new());
    file.suite.precision = Some(0.03);
    let mut store = store(folder.path());
    let end = run(&mut file, &mut trials, &mut store, &mut Seen::default()).unwrap();
    assert_eq!((end, file.ended.as_deref()), (SuiteEnd::Precision, Some("precision")));
    let known = |rounds: u32| {
        let of_rounds = |stored: &&Stored| round_of(&stored.measurement) <= rounds;
        let stored: Vec<Stored> = store.records().iter().filter(of_rounds).cloned().collect();
        let findings = Findings::of(&file.suite, &stored);
        Known::of(&findings).unwrap().is_within(0.03)
    };
    let rounds = Results::of(&file.suite, store.records()).rounds_done;
    assert!((5..100).contains(&rounds), "{rounds}");
    assert_eq!(store.records().len(), rounds as usize * 8, "no round is half done");
    assert!(known(rounds) && (5..rounds).all(|earlier| !known(earlier)), "{rounds}");
    // Nothing is owed to a comparison that knows enough.
    let again = run(&mut file, &mut Synthetic::new(), &mut store, &mut Seen::default()).unwrap();
    assert_eq!(
        (again, store.records().len()),
        (SuiteEnd::Precision, rounds as usize * 8)
    );
    let screen = screen::screen(&file, &Results::of(&file.suite, store.records()), 100);
    assert!(screen.contains("known within 3.0 %, as asked for"), "{screen}");
}

#[test]
fn a_precision_that_time_does_not_allow_is_told_with_the_widest_pair() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = file(ORIGINALS, "light", 100, 60);
    file.suite.precision = Some(0.005);
    let mut store = store(folder.path());
    let end = run(&mut file, &mut Synthetic::new(), &mut store, &mut Seen::default()).unwrap();
    assert_eq!(end, SuiteEnd::Budget);
    let screen = screen::screen(&file, &Results::of(&file.suite, store.records()), 100);
    assert!(
        screen.contains("Not every ratio is known within 0.5 %") && screen.contains("under light only within"),
        "{screen}"
    );
}

/// A comparison of two targets to which a third comes: its ratio is what it would have been from the beginning.
#[test]
fn a_target_that_is_added_runs_beside_two_others_and_is_compared_with_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = file("fork,thread,event-epoll", "light", 6, 36_000);
    file.suite.counting = preset::counting();
    let mut store = store(folder.path());
    run(&mut file, &mut Synthetic::new(), &mut store, &mut Seen::default()).unwrap();
    let before = store.records().len();
    file.suite.additions.push(Addition {
        target: "event-tokio".into(),
        beside: vec!["thread".into(), "fork".into()],
        first_round: 7,
        rounds: 6,
    });
    file.suite.rounds_max = 12;
    let mut trials = Synthetic::new();
    assert_eq!(
        run(&mut file, &mut trials, &mut store, &mut Seen::default()).unwrap(),
        SuiteEnd::Rounds
    );
    let timed: BTreeSet<_> = trials.ran.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "event-tokio counting-1",
        "event-tokio counting-32",
        "event-tokio light",
        "fork light",
        "thread light",
    ];
    assert_eq!(timed.into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(store.records().len(), before + 6 * 3 + 2);
    let results = Results::of(&file.suite, store.records());
    assert_eq!((results.rounds_done, results.rounds_max), (6, 6));
    let table = results.findings.table("light", Judged::Capacity).unwrap();
    let pair = table.pair("event-tokio", "thread").unwrap();
    // 11.9 against 8.6 us of CPU per message.
    assert!(
        pair.comparison.claimed && (1.35..1.42).contains(&pair.comparison.ratio),
        "{pair:?}"
    );
    let never_met = table.pair("event-tokio", "event-epoll").unwrap();
    assert!(
        !never_met.comparison.claimed && (never_met.comparison.low..never_met.comparison.high).contains(&1.0),
        "{never_met:?}"
    );
    assert!(results.has_whole_valid_round(&file.suite, store.records()));
}
