//! A suite with real servers: killed in the middle it leaves records that can be read, and goes on where it was.

use loadgen::measurement::store::Store;
use loadgen::suite::matrix::SuiteFile;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// loadgen may have to build the servers first.
const LIMIT: Duration = Duration::from_secs(300);

fn compare(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.arg("compare").args(words).stdin(Stdio::null());
    command
}

/// The one folder of results, once it is there.
fn made(results: &Path) -> Option<PathBuf> {
    Some(fs::read_dir(results).ok()?.next()?.ok()?.path())
}

/// Whether the record of a load is there, which comes after those that saturate.
fn has_load(folder: &Path) -> bool {
    let inside = fs::read_dir(folder.join("records")).into_iter().flatten().flatten();
    let mut names = inside.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.any(|name| name.contains("-load-") && name.ends_with(".json"))
}

#[test]
fn a_killed_suite_of_loads_goes_on_at_the_same_rates() {
    let folder = tempfile::tempdir().unwrap();
    let suite = folder.path().join("small.toml");
    fs::write(
        &suite,
        "name = \"small\"\ntargets = [\"thread\"]\nload = [10, 20]\nrounds = 1\nbudget = \"10m\"\n",
    )
    .unwrap();
    let results = folder.path().join("results");
    let (suite, into) = (suite.to_str().unwrap(), results.to_str().unwrap());
    let mut child = compare(&["--suite", suite, "--results", into, "--no-control"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !made(&results).is_some_and(|folder| has_load(&folder)) {
        assert!(begun.elapsed() < LIMIT, "no load was measured");
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let made = made(&results).unwrap();
    let read = || {
        let store = Store::open(&made).unwrap();
        let file: SuiteFile = store.read_json("suite.json").unwrap();
        (file, store)
    };
    let (before, store) = read();
    let kept = store.records().len();
    let rates = before.suite.load.unwrap().saturated_per_s;
    assert!(before.ended.is_none(), "{:?}", before.ended);
    assert!(rates["thread"] > 0);
    let ended = compare(&["--resume", made.to_str().unwrap()]).output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let (after, store) = read();
    assert_eq!(after.suite.load.unwrap().saturated_per_s, rates);
    let loads: Vec<(u32, u64)> = (store.records().iter())
        .filter_map(|stored| {
            let workload = &stored.measurement.plan.workload;
            Some((workload.percent_of_saturated?, workload.open_loop()?.rate_per_s))
        })
        .collect();
    let first = |percent: u32| loads.iter().find(|load| load.0 == percent).map(|load| load.1);
    assert_eq!(first(10), Some(rates["thread"] / 10), "{loads:?}");
    assert_eq!(first(20), Some(rates["thread"] * 20 / 100), "{loads:?}");
    assert!(store.records().len() >= kept && made.join("report.html").is_file());
}
