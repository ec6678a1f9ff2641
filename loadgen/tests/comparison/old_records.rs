//! Records of schema 1.0 and 1.1, as published by the loadgens of their time, are read by the one of today.

use loadgen::cmd::report::{self, ReportArgs};
use loadgen::measurement::store::{Store, read_record};
use loadgen::record::Measurement;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn stored(schema: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/records/schema-{schema}"))
}

fn record(schema: &str, name: &str) -> Measurement {
    read_record(&stored(schema).join(format!("records/{name}.json"))).unwrap()
}

/// What `loadgen report` prints of a copy of the folder, and the overview and the page that it writes.
fn report(schema: &str) -> (String, String, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("records")).unwrap();
    let from = stored(schema);
    for entry in fs::read_dir(from.join("records")).unwrap() {
        let file = entry.unwrap();
        fs::copy(file.path(), folder.path().join("records").join(file.file_name())).unwrap();
    }
    fs::copy(from.join("suite.json"), folder.path().join("suite.json")).unwrap();
    let args = ReportArgs {
        folder: folder.path().to_owned(),
        full: true,
    };
    let mut out = Vec::new();
    report::run(&args, &mut out).unwrap();
    let written = |name| fs::read_to_string(folder.path().join(name)).unwrap();
    (
        String::from_utf8(out).unwrap(),
        written("README.md"),
        written("report.html"),
    )
}

fn merge(schema: &str, name: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command
        .arg("merge")
        .arg(stored(schema).join(format!("records/{name}.json")));
    command.output().unwrap()
}

#[test]
fn a_record_of_1_0_is_read_and_what_it_does_not_know_is_null() {
    let record = record("1.0", "round-01-fork-churn");
    assert_eq!(record.schema_version, "1.0.0");
    assert_eq!(
        (record.counts.ok, record.counts.closed, record.counts.ok_late),
        (7_281, 0, 0)
    );
    assert!(record.network.is_none() && record.littles_law.is_none() && record.steady.is_none());
    assert!(record.cpu_distance.is_none() && record.throughput.served.is_none());
    assert!(record.windows.iter().all(|window| window.sent.is_none()));
}

#[test]
fn a_record_of_1_1_is_read_with_its_seven_network_counters() {
    let record = record("1.1", "round-01-thread-steady");
    assert_eq!(record.schema_version, "1.1.0");
    assert!(record.network.is_some() && record.littles_law.is_some());
    assert!(record.cpu_distance.is_none() && record.throughput.served.is_none());
    assert_eq!(
        record.windows.iter().map(|window| window.ok).sum::<u64>(),
        record.counts.ok
    );
}

#[test]
fn folders_of_older_records_are_reported_also_where_most_rounds_are_missing() {
    for (schema, names) in [("1.0", ["fork", "thread"]), ("1.1", ["event-epoll", "thread"])] {
        let records = Store::open(&stored(schema)).unwrap();
        assert_eq!(records.records().len(), 4, "{schema}");
        let (printed, overview, page) = report(schema);
        for name in names {
            assert!(printed.contains(name) && overview.contains(name), "{schema}: {printed}");
            assert!(page.contains(&format!("data-target=\"{name}\"")), "{schema}: {page}");
        }
        for missing in [
            "The distance of the CPUs was not measured in this folder.",
            "no difference is claimed before 5 rounds",
        ] {
            assert!(page.contains(missing), "{schema} does not say `{missing}`: {page}");
        }
    }
}

#[test]
fn a_record_of_1_1_merges_and_one_of_1_0_is_refused_for_what_it_does_not_say() {
    let merged = merge("1.1", "round-01-thread-steady");
    assert_eq!(merged.status.code(), Some(0), "{merged:?}");
    let text = String::from_utf8(merged.stdout).unwrap();
    assert!(
        text.contains("clients 1,000 of 1,000") || text.contains("clients 1000 of 1000"),
        "{text}"
    );
    let refused = merge("1.0", "round-01-thread-churn");
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(why.contains("before record 1.1"), "{why}");
}
