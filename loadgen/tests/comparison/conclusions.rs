//! The suites that bring their own workloads, on synthetic trials: what their reports say.

use crate::golden::{expect, golden};
use crate::synthetic::{Fault, environment, file, trial};
use loadgen::measurement::store::Stored;
use loadgen::record::{BesideFigures, Isolation, Latency, Measurement, Plan, Reason, SuitePlace};
use loadgen::report::{conclusions as told, folder, screen, terminal};
use loadgen::suite::conclusions::{self, drawn};
use loadgen::suite::matrix::SuiteFile;
use loadgen::suite::results::Results;
use loadgen::suite::suites;

/// A trial that did not run: fork keeps a crash to itself and shares its CPU, the others do neither.
fn imagined(plan: &Plan, place: &SuitePlace) -> Measurement {
    let is_fork = plan.target == "fork";
    let round = f64::from(place.round);
    let noise = 1.0 + 0.01 * (round % 3.0);
    // Sizes as of a workload that the imagined servers know.
    let mut known = plan.clone();
    known.workload.name = if plan.workload.churn { "churn" } else { "steady" }.into();
    let mut seen = trial(&known, place, Fault::None);
    seen.workload.clone_from(&plan.workload.name);
    seen.plan.workload.name.clone_from(&plan.workload.name);
    if plan.workload.crash {
        let clients = u64::from(plan.workload.clients);
        return Measurement {
            isolation: Isolation {
                clients: Some(clients),
                processes: Some(if is_fork { clients + 1 } else { 1 }),
                first_was_ended: Some(!is_fork),
                clients_lost: Some(if is_fork { 1 } else { clients }),
                served_again_ns: is_fork.then(|| ns(400_000.0 * noise)),
                server_is_gone: Some(!is_fork),
                patience_ms: Some(5_000),
            },
            environment: environment(),
            throughput: Default::default(),
            server_cost: Default::default(),
            latency_ns: Default::default(),
            histograms: Default::default(),
            ..seen
        };
    }
    if let Some(open) = plan.workload.open_loop() {
        let beside = plan.workload.beside;
        let (p50, p99) = match beside {
            None if plan.workload.churn => (180_000.0, 900_000.0),
            None => (60_000.0, 250_000.0),
            Some(_) if is_fork => (80_000.0, 3_000_000.0),
            Some(_) => (10_000_000.0, 21_000_000.0),
        };
        seen.latency_ns.response = Latency {
            count: 12_000,
            p50: Some(ns(p50 * noise)),
            p99: (open.rate_per_s >= 10_000).then(|| ns(p99 * noise * noise)),
            ..seen.latency_ns.response
        };
        if let Some(beside) = beside {
            seen.server_cost.cpu_us_per_message = None;
            let bytes_per_s = if is_fork { 4e8 } else { 9e8 };
            seen.beside = BesideFigures {
                clients: beside.clients,
                messages: 60,
                errors: 0,
                messages_per_s: Some(49.0 * noise),
                bytes_per_s: Some(bytes_per_s * noise),
            };
        }
    }
    // One target has a figure less, in every round.
    if plan.target == "event-tokio" && plan.workload.name == "switching-10000" {
        seen.reasons = vec![Reason::new("shared_cpus", 1.0, 0.0, "the only CPU that there is")];
    }
    seen
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times of a test")]
fn ns(figure: f64) -> u64 {
    figure as u64
}

/// All rounds of a suite, at once.
fn ran(name: &str, targets: &str, rounds: u32) -> (SuiteFile, Vec<Stored>) {
    let mut file = file(targets, "default", rounds, 36_000);
    let suite = &mut file.suite;
    suite.name = name.into();
    suite.workloads = suites::find(name).unwrap().workloads();
    (suite.control, suite.counting) = (None, vec![]);
    let suite = &file.suite;
    let of_round = |round: u32| {
        (1..).zip(suite.pairs_of_round(round)).map(move |(position, pair)| {
            let place = SuitePlace {
                suite: name.into(),
                round,
                position,
                seed: suite.seed,
                attempt: 1,
                control: false,
                plan_hash: None,
                at: None,
            };
            Stored {
                file: format!("records/round-{round:02}-{}-{}.json", pair.target, pair.workload),
                measurement: imagined(&suite.plan(&pair, round), &place),
            }
        })
    };
    let stored = (1..=rounds).flat_map(of_round).collect();
    (file, stored)
}

fn results(file: &SuiteFile, stored: &[Stored]) -> Results {
    Results::of(&file.suite, stored)
}

#[test]
fn conclusions_are_a_table_each_and_a_sentence_for_each_model() {
    let (file, stored) = ran(conclusions::NAME, "fork,thread,event-tokio,event-epoll", 6);
    let results = results(&file, &stored);
    expect(&golden("conclusions.md"), &told::markdown(&file, &results.conclusions));
    expect(&golden("conclusions-100.txt"), &screen::screen(&file, &results, 100));
    for conclusion in told::told(&file, &results.conclusions) {
        for model in ["fork: ", "thread: ", "event: "] {
            let of_model = conclusion
                .sentences
                .iter()
                .filter(|sentence| sentence.starts_with(model));
            assert_eq!(of_model.count(), 1, "{model}{}", conclusion.title);
        }
    }
}

#[test]
fn a_greedy_neighbour_is_a_table_and_a_sentence_for_each_model() {
    let (file, stored) = ran("neighbour", "fork,thread,event-tokio,event-epoll", 5);
    let results = results(&file, &stored);
    expect(&golden("neighbour-100.txt"), &screen::screen(&file, &results, 100));
    assert_eq!(results.conclusions.len(), 1);
}

#[test]
fn every_report_of_the_folder_has_them_and_no_report_has_a_table_of_the_crash() {
    let (file, stored) = ran(conclusions::NAME, "fork,thread", 5);
    let results = results(&file, &stored);
    let files = folder::files(&file, &results, &stored);
    let text = |name: &str| files.iter().find(|(file, _)| file == name).unwrap().1.clone();
    let full = terminal::suite(&file, &results, 200);
    for text in [text("README.md"), text("report.html"), full] {
        for conclusion in told::told(&file, &results.conclusions) {
            assert!(text.contains(&conclusion.title), "{}", conclusion.title);
        }
        assert!(text.contains("the server is gone"));
        assert!(!text.contains("## isolation") && !text.contains("workload-isolation"));
    }
    assert!(
        text("report.html").contains("portability") && !text("report.html").contains("what a crash takes down with it")
    );
    assert!(files.iter().all(|(name, _)| !name.contains("isolation")));
    assert!(text("summary.csv").contains("clients_lost"));
}

#[test]
fn below_five_rounds_there_are_figures_and_no_intervals() {
    let (file, stored) = ran(conclusions::NAME, "fork,thread", 4);
    let results = results(&file, &stored);
    let told = told::told(&file, &results.conclusions);
    for conclusion in &told {
        assert!(
            conclusion.grid.rows.iter().flatten().all(|cell| !cell.contains("..")),
            "{:?}",
            conclusion.grid
        );
        assert!(
            conclusion
                .missing
                .iter()
                .any(|text| text.contains("from 5 rounds on (4 rounds so far)"))
        );
    }
}

#[test]
fn a_suite_of_another_name_has_no_conclusions_whatever_its_workloads_are_called() {
    let (mut file, stored) = ran(conclusions::NAME, "fork,thread", 1);
    assert_eq!(drawn::of(&file.suite, &stored).len(), 5);
    file.suite.name = "custom".into();
    assert!(drawn::of(&file.suite, &stored).is_empty());
}
