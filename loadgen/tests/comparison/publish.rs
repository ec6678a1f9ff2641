//! `publish` and `report` on a project of their own.

use crate::synthetic::{Fault, ORIGINALS, Synthetic, file, run, store};
use loadgen::cmd::{publish, report};
use loadgen::compare::runner::{Block, Now, TrialProgress, View};
use loadgen::failure::Exit;
use loadgen::measurement::store::Store;
use loadgen::record::Measurement;
use loadgen::suite::matrix::SuiteFile;
use loadgen::suite::results::Results;
use std::fs;
use std::path::Path;

struct Blind;

impl View for Blind {
    fn trial_begins(&mut self, _now: &Now) {}
    fn trial_moves(&mut self, _now: &Now, _progress: TrialProgress) {}
    fn trial_ends(&mut self, _now: &Now, _measurement: &Measurement) {}
    fn block_ends(&mut self, _block: &Block, _file: &SuiteFile, _results: &Results) {}
}

fn markers(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("# {name}\n\n<!-- begin {name}: made by loadgen publish, do not edit -->\nold\n<!-- end {name} -->\nkept\n"))
        .collect()
}

fn project() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let results = root.path().join("results");
    fs::create_dir(&results).unwrap();
    fs::write(root.path().join("README.md"), markers(&["findings", "runtimes"])).unwrap();
    fs::write(results.join("README.md"), markers(&["index"])).unwrap();
    fs::write(results.join("models.md"), markers(&["models"])).unwrap();
    fs::write(results.join("runtimes.md"), markers(&["runtimes"])).unwrap();
    fs::write(results.join(".gitignore"), "/*/\n").unwrap();
    root
}

fn compared(root: &Path, fault: Fault) -> Store {
    let mut store = store(&root.join("results"));
    run(
        &mut file(ORIGINALS, "default", 5, 3600),
        &mut Synthetic::with(move |_, _| fault),
        &mut store,
        &mut Blind,
    )
    .unwrap();
    store
}

fn publish(store: &Store) -> Result<(), loadgen::failure::Failure> {
    let folder = store.folder().to_path_buf();
    publish::run(&publish::PublishArgs { folder }, &mut std::io::sink())
}

#[test]
fn publishing_splices_the_tables_and_tracks_the_folder() {
    let root = project();
    let read = |name: &str| fs::read_to_string(root.path().join(name)).unwrap();
    let store = compared(root.path(), Fault::None);
    publish(&store).unwrap();
    for name in [
        "README.md",
        "results/README.md",
        "results/models.md",
        "results/runtimes.md",
    ] {
        assert!(!read(name).contains("\nold\n") && read(name).contains("kept"), "{name}");
    }
    assert!(read("results/models.md").contains("~8 MiB (printed as -8)"));
    assert!(read("results/models.md").contains("the original Python project, other hardware"));
    assert!(read("results/runtimes.md").contains("| event-tokio | tokio 1.54.1 | epoll |"));
    assert!(read("results/README.md").contains("(2026-01-31-2cpu-linux-6.18-default/README.md)"));
    assert_eq!(
        read("results/.gitignore"),
        "/*/\n!/2026-01-31-2cpu-linux-6.18-default/\n"
    );

    let once = read("results/README.md") + &read("README.md") + &read("results/.gitignore");
    publish(&store).unwrap();
    assert_eq!(
        read("results/README.md") + &read("README.md") + &read("results/.gitignore"),
        once
    );

    publish(&compared(root.path(), Fault::None)).unwrap();
    assert!(read("results/README.md").contains("default-2/README.md"));
    assert_eq!(read("results/.gitignore").lines().count(), 3);
}

#[test]
fn a_folder_without_a_whole_valid_round_is_refused_and_changes_nothing() {
    let root = project();
    let before = fs::read_to_string(root.path().join("README.md")).unwrap();
    let failure = publish(&compared(root.path(), Fault::Corrupted)).unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.text.contains("2 echoes came back corrupted"), "{failure}");
    assert_eq!(fs::read_to_string(root.path().join("README.md")).unwrap(), before);
    assert_eq!(
        fs::read_to_string(root.path().join("results/.gitignore")).unwrap(),
        "/*/\n"
    );
}

#[test]
fn a_file_without_its_markers_is_named_and_nothing_changes() {
    let root = project();
    fs::write(root.path().join("results/runtimes.md"), "no markers").unwrap();
    let failure = publish(&compared(root.path(), Fault::None)).unwrap_err();
    assert!(
        failure.text.contains("runtimes.md") && failure.text.contains("<!-- begin runtimes:"),
        "{failure}"
    );
    assert!(
        fs::read_to_string(root.path().join("README.md"))
            .unwrap()
            .contains("\nold\n")
    );
}

#[test]
fn comparing_changes_no_tracked_file() {
    let root = project();
    compared(root.path(), Fault::None);
    assert!(
        fs::read_to_string(root.path().join("README.md"))
            .unwrap()
            .contains("\nold\n")
    );
    assert_eq!(
        fs::read_to_string(root.path().join("results/.gitignore")).unwrap(),
        "/*/\n"
    );
}

#[test]
fn a_report_is_made_again_from_the_records_alone() {
    let root = project();
    let store = compared(root.path(), Fault::None);
    let readme = store.folder().join("README.md");
    let before = fs::read_to_string(&readme).unwrap();
    for name in ["README.md", "summary.csv", "trials.csv", "messages-per-s-light.svg"] {
        fs::remove_file(store.folder().join(name)).unwrap();
    }
    let args = report::ReportArgs {
        full: true,
        folder: store.folder().to_path_buf(),
    };
    let mut out = Vec::new();
    report::run(&args, &mut out).unwrap();
    assert!(String::from_utf8(out).unwrap().contains("A/A control"));
    assert!(
        fs::read_to_string(&readme).unwrap() == before,
        "made again, it reads the same"
    );
    assert!(store.folder().join("messages-per-s-light.svg").is_file());
}

#[test]
fn the_trials_of_published_comparisons_are_still_of_the_plans_that_their_folders_tell() {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results");
    let mut compared = 0;
    for folder in fs::read_dir(results).unwrap().map(|entry| entry.unwrap().path()) {
        if !folder.join("suite.json").is_file() {
            continue;
        }
        let store = Store::open(&folder).unwrap();
        let file: SuiteFile = store.read_json("suite.json").unwrap();
        let hash = file.suite.plan_hash();
        for trial in store.records().iter().map(|stored| &stored.measurement) {
            let place = trial.identity.suite.as_ref().unwrap();
            if let Some(told) = &place.plan_hash {
                assert_eq!(*told, hash, "{}", folder.display());
                compared += 1;
            }
        }
    }
    assert!(compared > 0);
}
