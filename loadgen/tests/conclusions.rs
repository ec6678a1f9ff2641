//! The suites `neighbour` and `conclusions` on the real servers, with few clients and short phases: what holds on any machine, however
//! busy it is.

use loadgen::compare::runner::{Block, Now, SuiteEnd, TrialProgress, Trials as _, View, run_suite};
use loadgen::compare::trial::RealTrials;
use loadgen::measurement::store::{Store, Stored};
use loadgen::record::{External, Isolation, Measurement, NetworkChoice, Placement};
use loadgen::report::{conclusions as told, screen};
use loadgen::suite::conclusions::drawn::{Cell, Claim};
use loadgen::suite::matrix::{PlanBase, Suite, SuiteFile};
use loadgen::suite::results::Results;
use loadgen::suite::{conclusions, neighbour, sample};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

struct Blind;

impl View for Blind {
    fn trial_begins(&mut self, _now: &Now) {}
    fn trial_moves(&mut self, _now: &Now, _progress: TrialProgress) {}
    fn trial_ends(&mut self, _now: &Now, _measurement: &Measurement) {}
    fn block_ends(&mut self, _block: &Block, _file: &SuiteFile, _results: &Results) {}
}

const TARGETS: [&str; 4] = ["fork", "thread", "event-tokio", "event-epoll"];
const POLITE: neighbour::Size = neighbour::Size {
    polite: 19,
    measured_ms: 400,
};
const SHORT: conclusions::Size = conclusions::Size {
    crowd: 20,
    polite: POLITE,
    switching: &[4, 20],
    measured_ms: 300,
};

/// One round of these workloads, and the folder it is in.
fn one_round(suite: Suite) -> (SuiteFile, Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut file = SuiteFile {
        schema_version: loadgen::record::SCHEMA_VERSION.into(),
        label: "here".into(),
        started_at: "2026-01-31T10:00:00Z".into(),
        command: vec!["loadgen".into()],
        spent_ms: 0,
        ended: None,
        suite: Suite {
            control: None,
            rounds_max: 1,
            budget_ms: 600_000,
            base: PlanBase {
                placement: Placement::default(),
                network: NetworkChoice::Host,
                looks_for_answers: false,
                connect_window: 100,
                ..sample::suite().base
            },
            ..suite
        },
    };
    let mut store = Store::create(folder.path(), "2026-01-31", "here", &file.suite.name, 1 << 20).unwrap();
    let mut trials = RealTrials {
        command: &["loadgen".to_string()],
        workers: None,
        no_build: false,
        round: None,
        no_private_network: Some("a test".into()),
        output_folder: None,
    };
    trials.prepare(&file.suite.externals, store.folder()).unwrap();
    let end = run_suite(&mut file, &mut trials, &mut store, &mut Blind).unwrap();
    assert_eq!(end, SuiteEnd::Rounds);
    (file, store, folder)
}

fn targets() -> Vec<String> {
    TARGETS.map(str::to_owned).to_vec()
}

/// The last trial of a target under a workload.
fn trial<'a>(stored: &'a [Stored], target: &str, workload: &str) -> &'a Measurement {
    let trials = stored.iter().map(|stored| &stored.measurement);
    let mut of_pair = trials.filter(|trial| trial.plan.target == target && trial.workload == workload);
    of_pair
        .next_back()
        .unwrap_or_else(|| panic!("{target} under {workload}"))
}

fn is_conserved(trial: &Measurement) {
    assert!(
        trial.complete,
        "{} under {}: {:?}",
        trial.plan.target, trial.workload, trial.incomplete_reason
    );
    let broken = trial
        .reasons
        .iter()
        .find(|reason| reason.gate == "conservation" || reason.gate == "payload");
    assert!(broken.is_none(), "{broken:?}");
    assert_eq!(
        (trial.counts.errors(), trial.beside.errors),
        (0, 0),
        "{:?}",
        trial.first_failures
    );
}

#[test]
fn each_conclusion_is_measured_on_real_servers() {
    let (file, store, _folder) = one_round(Suite {
        name: conclusions::NAME.into(),
        targets: targets(),
        workloads: conclusions::workloads(SHORT),
        ..sample::suite()
    });
    let stored = store.records();
    for target in TARGETS {
        let crash = &trial(stored, target, conclusions::ISOLATION).isolation;
        let is_fork = target == "fork";
        assert_eq!(
            crash.clients,
            Some(20),
            "{target}: {:?}",
            trial(stored, target, conclusions::ISOLATION)
        );
        assert_eq!(crash.clients_lost, Some(if is_fork { 1 } else { 20 }), "{target}");
        assert_eq!(
            (crash.first_was_ended, crash.server_is_gone),
            (Some(!is_fork), Some(!is_fork)),
            "{target}"
        );
        assert_eq!(crash.served_again_ns.is_some(), is_fork, "{target}");
        assert_eq!(crash.processes, Some(if is_fork { 21 } else { 1 }), "{target}");
        let (alone, beside) = (
            trial(stored, target, conclusions::ALONE),
            trial(stored, target, conclusions::BESIDE_WORK),
        );
        is_conserved(alone);
        is_conserved(beside);
        assert_eq!((alone.beside.clients, beside.beside.clients), (0, 1));
        assert_eq!((alone.connections.reached, beside.connections.reached), (19, 20));
        // A request burns 20 ms of the server's CPU, one after the other.
        let requests = beside.beside.messages_per_s.unwrap();
        assert!(requests > 0.0 && requests <= 51.0, "{target}: {requests}");
        assert!(beside.server_cost.cpu_us_per_message.is_none());
        let switching = trial(stored, target, "switching-20");
        is_conserved(switching);
        let cost = &switching.server_cost;
        // Of so few clients either may be nothing: what they take is less than what else a process does in the meantime.
        let parts = [
            cost.memory_per_connection_bytes,
            cost.memory_kernel_per_connection_bytes,
        ];
        assert!(parts.iter().all(Option::is_some), "{cost:?}");
    }
    // A loop that works for one client answers nobody meanwhile: half of the others wait for a good part of 20 ms.
    for target in ["event-tokio", "event-epoll"] {
        let p50 = trial(stored, target, conclusions::BESIDE_WORK)
            .latency_ns
            .response
            .p50
            .unwrap();
        assert!(p50 > 4_000_000, "{target}: {p50} ns");
    }
    let results = Results::of(&file.suite, stored);
    let claims: Vec<Claim> = results.conclusions.iter().map(|conclusion| conclusion.claim).collect();
    assert_eq!(
        claims,
        [
            Claim::Isolation,
            Claim::Work,
            Claim::Creation,
            Claim::Memory,
            Claim::Switching
        ]
    );
    let screen = screen::screen(&file, &results, 100);
    assert!(
        screen.contains("- fork: a crash takes 1 of 20 clients with it; a new client is served after"),
        "{screen}"
    );
    assert!(
        screen.contains("- event: a crash takes all 20 clients with it, and no new client is ever served"),
        "{screen}"
    );
}

#[test]
fn a_greedy_client_gets_much_and_the_polite_ones_are_told_with_and_without_it() {
    let (file, store, _folder) = one_round(Suite {
        name: neighbour::NAME.into(),
        targets: targets(),
        workloads: neighbour::workloads(POLITE),
        ..sample::suite()
    });
    for target in TARGETS {
        let (alone, beside) = (
            trial(store.records(), target, neighbour::ALONE),
            trial(store.records(), target, neighbour::BESIDE_GREEDY),
        );
        is_conserved(alone);
        is_conserved(beside);
        // More than the polite ones together: 640 kB/s.
        assert!(
            beside.beside.bytes_per_s.unwrap() > 1e6,
            "{target}: {:?}",
            beside.beside
        );
        assert_eq!(beside.counts.planned, alone.counts.planned);
    }
    let results = Results::of(&file.suite, store.records());
    let lines = &results.conclusions[0].lines;
    assert_eq!(lines.len(), TARGETS.len());
    assert!(told::told(&file, &results.conclusions)[0].sentences.len() == 3);
    // Whatever a busy machine voids is told; the medians of this one need no more than 200 messages.
    for line in lines {
        let is_told = |cell: &Cell| cell.known().is_some() || !line.missing.is_empty();
        assert!(line.cells.iter().all(is_told), "{line:?}");
    }
}

/// Servers of the user's own: one that forks for each client, one that serves all in one process and is started by a shell.
#[test]
fn whoever_serves_a_client_is_found_in_a_server_of_any_kind() {
    if Command::new("python3").arg("--version").output().is_err() {
        server_testkit::not_tested("a crash of servers of the user's own: python3 is not here");
        return;
    }
    let python = |name: &str, script: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conclusions");
        let path = folder.join(script);
        External {
            name: name.into(),
            command: vec!["python3".into(), path.display().to_string(), "{port}".into()],
            ..External::default()
        }
    };
    let externals = vec![python("forking", "forking.py"), python("single", "single.py")];
    let (_, store, _folder) = one_round(Suite {
        name: conclusions::NAME.into(),
        targets: vec!["forking".into(), "single".into(), "fork-prefork".into()],
        externals,
        workloads: conclusions::workloads(SHORT)
            .into_iter()
            .filter(|workload| workload.crash || workload.name == conclusions::BESIDE_WORK)
            .collect(),
        ..sample::suite()
    });
    let crash = |target: &str| -> &Isolation {
        let trial = trial(store.records(), target, conclusions::ISOLATION);
        assert!(trial.complete, "{target}: {:?}", trial.incomplete_reason);
        &trial.isolation
    };
    let lost = |target| (crash(target).clients_lost, crash(target).server_is_gone);
    // The forking one keeps every connection open in its first process too, which serves none of them.
    assert_eq!(lost("forking"), (Some(1), Some(false)));
    assert!(crash("forking").served_again_ns.is_some());
    assert_eq!(lost("single"), (Some(20), Some(true)));
    assert_eq!(lost("fork-prefork").0, Some(1));
    let work = trial(store.records(), "single", conclusions::BESIDE_WORK);
    assert!(
        work.reasons.iter().any(|reason| reason.text.contains("--work-source")),
        "{:?}",
        work.reasons
    );
}

/// Records of the folder that `compare` makes.
fn records(results: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(results).into_iter().flatten().flatten();
    let records = folders.flat_map(|folder| {
        fs::read_dir(folder.path().join("records"))
            .into_iter()
            .flatten()
            .flatten()
    });
    let named = records
        .map(|record| record.path())
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "json"));
    named
        .filter(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.'))
        .collect()
}

#[test]
fn an_interrupted_suite_keeps_its_records_and_goes_on() {
    let results = tempfile::tempdir().unwrap();
    let compare = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        command
            .args(["compare", "--quiet", "--rounds", "1", "--network", "host"])
            .args(more);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let place = results.path().display().to_string();
    let begin = [
        "--suite",
        "neighbour",
        "--targets",
        "event-epoll,thread",
        "--results",
        &place,
    ];
    let mut child = compare(&begin).spawn().unwrap();
    let begun = Instant::now();
    while records(results.path()).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(300), "no record came");
        std::thread::sleep(Duration::from_millis(5));
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let kept = records(results.path());
    assert!((1..4).contains(&kept.len()), "{kept:?}");
    let folder = kept[0].parent().unwrap().parent().unwrap().display().to_string();
    let ended = compare(&["--resume", &folder]).output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let now = records(results.path());
    assert!(kept.iter().all(|record| now.contains(record)));
    assert!(now.len() >= 4, "{now:?}");
    let readme = fs::read_to_string(Path::new(&folder).join("README.md")).unwrap();
    assert!(readme.contains("### A greedy client, and the others"), "{readme}");
}
