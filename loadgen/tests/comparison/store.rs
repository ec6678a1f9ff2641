//! Folders and records: nothing is overwritten, nothing half written, nothing of another version read.

use crate::synthetic::{Fault, ORIGINALS, file, store, trial};
use loadgen::failure::Exit;
use loadgen::measurement::store::{SUITE_FILE, Store, parse_record, pretty_json, probe, read_record, write_atomically};
use loadgen::record::{Measurement, SCHEMA_VERSION, SuitePlace};
use std::fs;
use std::path::Path;

fn a_trial() -> Measurement {
    let suite = file(ORIGINALS, "light", 1, 600).suite;
    let pair = &suite.pairs_of_round(1)[0];
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
    trial(&suite.plan(pair, 1), &place, Fault::None)
}

#[test]
fn a_second_run_of_a_day_gets_a_folder_of_its_own() {
    let results = tempfile::tempdir().unwrap();
    let names: Vec<_> = (0..3).map(|_| store(results.path()).name()).collect();
    assert_eq!(
        names,
        [
            "2026-01-31-2cpu-linux-6.18-default",
            "2026-01-31-2cpu-linux-6.18-default-2",
            "2026-01-31-2cpu-linux-6.18-default-3"
        ]
    );
}

#[test]
fn a_record_is_never_overwritten_and_survives_its_file() {
    let results = tempfile::tempdir().unwrap();
    let mut store = store(results.path());
    store.keep(a_trial()).unwrap();
    store.keep(a_trial()).unwrap();
    store.write_again(SUITE_FILE, "{}").unwrap();
    let again = Store::open(store.folder()).unwrap();
    assert!(again.records()[0].measurement == a_trial(), "bit for bit");
    let files: Vec<&str> = again.records().iter().map(|stored| stored.file.as_str()).collect();
    assert_eq!(
        files,
        ["records/round-01-fork-light-2.json", "records/round-01-fork-light.json"]
    );
}

#[test]
fn no_temporary_file_is_left_behind() {
    let results = tempfile::tempdir().unwrap();
    let mut store = store(results.path());
    store.keep(a_trial()).unwrap();
    store.write_again("README.md", "one").unwrap();
    store.write_again("README.md", "two").unwrap();
    let names = |folder: &Path| -> Vec<_> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    let mut top = names(store.folder());
    top.sort();
    assert_eq!(top, ["README.md", "records"]);
    assert_eq!(names(&store.folder().join("records")).len(), 1);
    assert_eq!(fs::read_to_string(store.folder().join("README.md")).unwrap(), "two");
}

#[test]
fn a_place_that_cannot_be_written_is_refused_before_measuring_with_exit_6_and_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join("results");
    fs::write(&results, "a file in the way").unwrap();
    for place in [results.clone(), results.join("below")] {
        let failure = Store::create(&place, "2026-01-31", "label", "default", 0).unwrap_err();
        assert_eq!(failure.exit, Exit::Unwritable);
        assert!(failure.text.contains(&place.display().to_string()), "{failure}");
        assert!(failure.text.contains("--results"), "{failure}");
    }
    assert_eq!(fs::read_to_string(&results).unwrap(), "a file in the way");
}

#[test]
fn a_disk_without_room_is_refused_before_measuring_with_both_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let failure = probe(folder.path(), u64::MAX).unwrap_err();
    assert_eq!(failure.exit, Exit::Unwritable);
    assert!(failure.text.contains("MiB are free"), "{failure}");
    assert!(
        fs::read_dir(folder.path()).unwrap().next().is_none(),
        "the probe is gone"
    );
}

#[test]
fn a_file_that_cannot_be_replaced_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("summary.csv");
    // A directory of that name: the rename fails after the new text was written.
    fs::create_dir(&path).unwrap();
    fs::write(path.join("inside"), "old").unwrap();
    let failure = write_atomically(&path, "new").unwrap_err();
    assert_eq!(failure.exit, Exit::Unwritable);
    assert_eq!(fs::read_to_string(path.join("inside")).unwrap(), "old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_folder_of_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let failure = Store::open(folder.path()).unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.text.contains("loadgen compare"), "{failure}");
}

#[test]
fn published_records_of_earlier_minor_versions_are_still_read() {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results");
    let mut read = 0;
    for folder in fs::read_dir(results).unwrap().flatten() {
        for record in fs::read_dir(folder.path().join("records"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let text = fs::read_to_string(record.path()).unwrap();
            parse_record(&text).unwrap_or_else(|error| panic!("{}: {error}", record.path().display()));
            read += 1;
        }
    }
    assert!(read > 0, "no published record was found");
}

#[test]
fn only_records_of_this_major_version_are_read() {
    let versioned = |version: &str| {
        pretty_json(&a_trial()).replacen(&format!("\"{SCHEMA_VERSION}\""), &format!("\"{version}\""), 1)
    };
    assert!(
        parse_record(&versioned(SCHEMA_VERSION)).unwrap() == a_trial(),
        "bit for bit"
    );
    assert!(parse_record(&versioned("1.7.2")).is_ok());
    let newer = parse_record(&versioned("2.0.0")).unwrap_err();
    assert!(newer.contains("2.0.0") && newer.contains("newer loadgen"), "{newer}");
    let older = parse_record(&versioned("0.9.0")).unwrap_err();
    assert!(older.contains("older loadgen"), "{older}");
    assert!(
        parse_record(&versioned("one"))
            .unwrap_err()
            .contains("no schema version")
    );
}

#[test]
fn a_record_that_lacks_a_field_or_is_cut_off_is_an_error_naming_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("round-01-fork-light.json");
    fs::write(
        &path,
        pretty_json(&a_trial()).replace("\"limiter\": \"server cpu\",", ""),
    )
    .unwrap();
    let failure = read_record(&path).unwrap_err();
    assert!(
        failure.text.contains("limiter") && failure.text.contains("round-01-fork-light.json"),
        "{failure}"
    );
    fs::write(&path, &pretty_json(&a_trial())[..500]).unwrap();
    assert_eq!(read_record(&path).unwrap_err().exit, Exit::Usage);
    assert_eq!(
        read_record(&folder.path().join("absent.json")).unwrap_err().exit,
        Exit::Usage
    );
}
