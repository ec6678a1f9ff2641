//! Folders of very many records: how long `loadgen report` takes over one, and what it draws of two hundred targets.

use crate::pages::records;
use crate::synthetic::{file, store};
use loadgen::cmd::report::{self, ReportArgs};
use loadgen::measurement::store::{SUITE_FILE, pretty_json};
use loadgen::record::{External, ExternalModel};
use loadgen::suite::matrix::SuiteFile;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A comparison of so many servers of one's own, a fifth of them with threads; neighbours differ by 1 %.
fn suite(targets: u32, workloads: &str, rounds: u32) -> SuiteFile {
    let mut file = file("thread", workloads, rounds, 36_000);
    let suite = &mut file.suite;
    suite.externals = (0..targets)
        .map(|place| External {
            name: if place % 5 == 4 {
                format!("thread-{place:03}")
            } else {
                format!("event-{place:03}")
            },
            model: if place % 5 == 4 {
                ExternalModel::Thread
            } else {
                ExternalModel::Event
            },
            command: vec!["./server".into(), "{port}".into()],
            ..External::default()
        })
        .collect();
    suite.targets = suite.externals.iter().map(|server| server.name.clone()).collect();
    suite.control = suite.targets.first().cloned();
    file
}

/// Its folder with a record of each trial, as `loadgen compare` leaves one before it reports.
fn folder(results: &Path, file: &SuiteFile, rounds: u32) -> PathBuf {
    let folder = store(results).folder().to_path_buf();
    fs::write(folder.join(SUITE_FILE), pretty_json(file)).unwrap();
    let records = records(file, rounds, |trial| {
        let place: u32 = trial.plan.target[trial.plan.target.len() - 3..].parse().unwrap();
        let factor = 1.01_f64.powi(i32::try_from(place).unwrap());
        let cost = &mut trial.server_cost;
        cost.cpu_us_per_message = cost.cpu_us_per_message.map(|us| us * factor);
        trial.throughput.messages_per_s /= factor;
    });
    for stored in records {
        fs::write(folder.join(stored.file), pretty_json(&stored.measurement)).unwrap();
    }
    folder
}

fn report(folder: &Path) -> (String, Duration) {
    let began = Instant::now();
    let mut out = Vec::new();
    let args = ReportArgs {
        folder: folder.to_path_buf(),
        full: false,
    };
    report::run(&args, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), began.elapsed())
}

/// Before p-values were read from tables, and letters and errors found without looking through all pairs again, this took
/// minutes without optimisation; the bound leaves room for a loaded machine.
#[test]
fn forty_targets_and_two_thousand_records_are_reported_in_seconds() {
    let results = tempfile::tempdir().unwrap();
    let file = suite(40, "steady,churn,paced", 16);
    let folder = folder(results.path(), &file, 16);
    assert!(fs::read_dir(folder.join("records")).unwrap().count() >= 1_900);
    let (_, took) = report(&folder);
    println!("{took:?}");
    assert!(took < Duration::from_secs(100), "{took:?}");
}

/// Figures for a change that is about speed, and a folder to look at: `LARGE_FOLDER=DIR cargo test --release -p loadgen --test
/// comparison -- --ignored ten_thousand`.
#[test]
#[ignore = "a measurement of a release build"]
fn ten_thousand_records_of_two_hundred_targets_are_reported_in_ten_seconds() {
    let own = tempfile::tempdir().unwrap();
    let results = std::env::var_os("LARGE_FOLDER").map_or_else(|| own.path().to_path_buf(), PathBuf::from);
    let file = suite(200, "light,medium,steady,churn,paced", 10);
    let folder = folder(&results, &file, 10);
    let (_, first) = report(&folder);
    let (text, again) = report(&folder);
    println!(
        "{text}\n{}: {first:?}, and {again:?} where all files are there",
        folder.display()
    );
    assert!(first < Duration::from_secs(10), "{first:?}");
}

/// Of two hundred targets a chart draws as many as can be read, says so, and has the rest in its table.
#[test]
fn charts_of_many_targets_draw_the_best_and_the_worst_and_say_so() {
    let results = tempfile::tempdir().unwrap();
    let file = suite(70, "steady", 6);
    let folder = folder(results.path(), &file, 6);
    report(&folder);
    let chart = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    // A legend is cut into lines.
    let text = |name: &str| {
        let chart = chart(name);
        let pieces = chart.split('<').filter_map(|piece| piece.split_once('>'));
        let words: Vec<&str> = pieces.flat_map(|(_, text)| text.split_whitespace()).collect();
        words.join(" ")
    };
    let levels = chart("capacity-steady.svg");
    assert_eq!(levels.matches("<g class=\"row").count(), 48);
    for (name, sentence) in [
        (
            "capacity-steady.svg",
            "Of 70 targets the 36 best and the 12 worst are drawn",
        ),
        (
            "ratios-steady.svg",
            "Of 69 targets the 36 best and the 12 worst are drawn",
        ),
        (
            "response-steady.svg",
            "Of 70 targets the 12 best and the 4 worst are drawn",
        ),
    ] {
        assert!(text(name).contains(sentence), "{name}: {}", text(name));
    }
    let page = chart("report.html");
    // The table below a chart has them all, as the tables of the page do.
    let rows = page.matches(">event-050").count();
    assert!(rows > 8, "{rows}");
}
