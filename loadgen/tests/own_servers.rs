//! Servers of the user's own, from the outside: the examples keep the contract, and any command becomes a row.

use loadgen::record::{Measurement, Origin, Plan};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn loadgen(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether there is Python for [`ONE_LINE`]; says so where there is none, and fails in CI.
fn has_python() -> bool {
    let is_here = Command::new("python3").arg("--version").output().is_ok();
    if !is_here {
        server_testkit::not_tested("servers of the user's own: python3 is not here");
    }
    is_here
}

const EXAMPLES: &str = "examples/servers.toml";

/// A server in two lines that any machine with Python has.
const ONE_LINE: &str = "python3 -c 'import socketserver as s, sys
class H(s.BaseRequestHandler):
    def handle(h):
        while d := h.request.recv(65536): h.request.sendall(d)
s.ThreadingTCPServer.allow_reuse_address, s.ThreadingTCPServer.request_queue_size = True, 1024
print(\"listening\", flush=True)
s.ThreadingTCPServer((\"127.0.0.1\", int(sys.argv[1])), H).serve_forever()' {port}";

#[test]
fn every_example_whose_tool_is_here_keeps_the_contract() {
    let names = [
        "python-fork",
        "python-thread",
        "python-asyncio",
        "go",
        "node",
        "java",
        "java-virtual",
        "c-epoll",
    ];
    for name in names {
        let ran = loadgen(&["verify", "--servers", EXAMPLES, "--target", name]);
        let said = text(&ran.stderr);
        if said.contains("not here: ") {
            assert_eq!(code(&ran), 3, "{name}: {said}");
            // Only what no package of the machine that tests has may be missing there.
            if name != "java-virtual" {
                server_testkit::not_tested(&said);
            }
            continue;
        }
        let table = text(&ran.stdout);
        assert!(!table.contains("FAILED"), "{name}:\n{table}");
        assert_eq!(code(&ran), 0, "{name}: {said}");
        assert!(table.matches(" passed ").count() >= 20, "{name}:\n{table}");
    }
}

#[test]
fn a_command_is_measured_with_its_whole_cost_and_recorded_as_it_was_started() {
    if !has_python() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.json");
    let server = format!("mine={ONE_LINE}");
    let line = [
        "--server",
        &server,
        "--target",
        "mine",
        "--clients",
        "20",
        "--messages",
        "10",
        "--output",
    ];
    let ran = loadgen(&[&line[..], &[file.to_str().unwrap()]].concat());
    assert_eq!(code(&ran), 0, "{ran:?}");
    let record: Measurement = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!((record.counts.ok, record.counts.errors()), (200, 0));
    assert_eq!(
        (record.target.name.as_str(), record.target.origin),
        ("mine", Origin::Started)
    );
    assert_eq!(record.target.model.as_deref(), Some("other"));
    let external = record.plan.external.unwrap();
    assert_eq!(external.command.last().unwrap(), "{port}");
    let command = record.target.command.unwrap();
    assert!(
        record
            .target
            .address
            .ends_with(&format!(":{}", command.last().unwrap()))
    );
    assert!(record.target.binary_sha256.is_some());
    assert!(record.server_cost.threads_max >= Some(20), "{:?}", record.server_cost);
    assert!(record.server_cost.cpu_us_per_message > Some(0.0));
    // It neither prints READY nor STATS, and ends by SIGTERM as such servers do.
    assert!(record.server_stats.is_none() && record.target.ready.is_none());
    assert!(
        !record.notes.iter().any(|note| note.contains("did not stop in order")),
        "{:?}",
        record.notes
    );
}

#[test]
fn two_builds_are_compared_alone_and_what_they_print_is_kept() {
    if !has_python() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().to_str().unwrap();
    let (before, after) = (format!("before={ONE_LINE}"), format!("after={ONE_LINE}"));
    let line = [
        "compare",
        "--server",
        &before,
        "--server",
        &after,
        "--workloads",
        "light",
        "--rounds",
        "1",
    ];
    let ran = loadgen(&[&line[..], &["--quiet", "--results", results]].concat());
    assert_eq!(code(&ran), 0, "{ran:?}");
    let screen = text(&ran.stdout);
    assert!(screen.contains("  before ") && screen.contains("  after "), "{screen}");
    assert!(!screen.contains("event-tokio"), "{screen}");
    let suite = std::fs::read_dir(results).unwrap().next().unwrap().unwrap().path();
    for name in ["before", "after"] {
        let log = std::fs::read_to_string(suite.join(format!("output/{name}.log"))).unwrap();
        assert!(log.starts_with("== round 1, light\nlistening"), "{log}");
    }
    // The folder says all that is needed to report it again, and to go on.
    let again = loadgen(&["report", "--full", suite.to_str().unwrap()]);
    assert_eq!(code(&again), 0, "{again:?}");
    assert!(text(&again.stdout).contains("before (external)"));
}

#[test]
fn a_build_that_is_slower_beyond_doubt_ends_with_8_and_an_equal_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    // Builds what is missing beside loadgen.
    assert_eq!(
        code(&loadgen(&[
            "--target",
            "event-epoll",
            "--start",
            "always",
            "-c",
            "1",
            "-m",
            "1"
        ])),
        0
    );
    let server = Path::new(env!("CARGO_BIN_EXE_loadgen")).with_file_name("event-epoll");
    let build = |name: &str, work: &str| format!("{name}={} --port {{port}} --work {work}", server.display());
    let compared = |after: &str, results: &str| {
        loadgen(&[
            "compare",
            "--server",
            &build("before", "20us"),
            "--server",
            &build("after", after),
            "--workloads",
            "light",
            "--rounds",
            "6",
            "--no-control",
            "--fail-on-regression",
            "30%",
            "--quiet",
            "--results",
            folder.path().join(results).to_str().unwrap(),
        ])
    };
    let slower = compared("200us", "slower");
    assert_eq!(code(&slower), 8, "{slower:?}");
    let said = text(&slower.stdout);
    assert!(
        said.contains("after / before, messages per CPU second")
            && said.contains("slower by more than 30 % beyond doubt"),
        "{said}"
    );
    assert!(
        text(&slower.stderr).contains("after is slower than before by more than 30 % under light"),
        "{slower:?}"
    );
    let equal = compared("20us", "equal");
    assert_eq!(code(&equal), 0, "{equal:?}");
    assert!(
        text(&equal.stdout).contains("not shown to be slower by more than 30 %"),
        "{equal:?}"
    );
    let three = loadgen(&[
        "compare",
        "--targets",
        "fork,thread,event-tokio",
        "--fail-on-regression",
        "3%",
        "--dry-run",
    ]);
    assert_eq!(code(&three), 2);
    assert!(text(&three.stderr).contains("these are 3: name two"), "{three:?}");
}

#[test]
fn a_server_that_cannot_be_had_is_one_sentence() {
    let refused = |server: &str, more: &[&str]| {
        let ran = loadgen(&[&["--server", server, "--target", "mine"], more].concat());
        assert_eq!(code(&ran), 3, "{ran:?}");
        text(&ran.stderr)
    };
    let ended = refused("mine=sh -c 'echo cannot bind {port} >&2; exit 7'", &[]);
    assert!(
        ended.contains("mine: it exited with 7 before its first echo; its last words: cannot bind "),
        "{ended}"
    );
    let silent = refused("mine=sleep 60 {port}", &["--connect-timeout", "300ms"]);
    assert!(
        silent.contains("no echo came back within 0.3 s: give it more with --connect-timeout"),
        "{silent}"
    );
    let missing = refused("mine=./no-such-server {port}", &[]);
    assert!(missing.contains("no-such-server"), "{missing}");
}

#[test]
fn a_missing_tool_is_a_row_of_a_comparison_and_not_its_end() {
    if !has_python() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let servers = folder.path().join("servers.toml");
    let gone = "[[server]]\nname = 'gone'\ncommand = 'no-such-tool {port}'\nneeds = 'no-such-tool'\n";
    std::fs::write(&servers, gone).unwrap();
    let here = format!("here={ONE_LINE}");
    let results = folder.path().join("results");
    let ran = loadgen(&[
        "compare",
        "--servers",
        servers.to_str().unwrap(),
        "--server",
        &here,
        "--workloads",
        "light",
        "--rounds",
        "1",
        "--quiet",
        "--results",
        results.to_str().unwrap(),
    ]);
    assert_eq!(code(&ran), 0, "{ran:?}");
    let suite = std::fs::read_dir(&results).unwrap().next().unwrap().unwrap().path();
    let full = loadgen(&["report", "--full", suite.to_str().unwrap()]);
    assert!(
        text(&full.stdout).contains("not here: `no-such-tool` not found"),
        "{}",
        text(&full.stdout)
    );
}

/// A server that leaves a child behind which minds no SIGTERM; it writes the child's id to the file that it is given.
const STUBBORN: &str = "import os, signal, socketserver as s, sys, time
child = os.fork()
if child == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True: time.sleep(60)
open(sys.argv[2], \"w\").write(str(child))
class H(s.BaseRequestHandler):
    def handle(h):
        while d := h.request.recv(65536): h.request.sendall(d)
s.ThreadingTCPServer((\"127.0.0.1\", int(sys.argv[1])), H).serve_forever()";

#[test]
fn what_a_killed_loadgen_left_of_a_server_is_ended_by_the_next_and_named() {
    if !has_python() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let written = folder.path().join("child");
    let server = format!("stubborn=python3 -c '{STUBBORN}' {{port}} {}", written.display());
    let mut killed = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["--server", &server, "-c", "2", "-d", "600s", "-w", "0", "--quiet"])
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let child: u32 = loop {
        match std::fs::read_to_string(&written).map(|text| text.parse()) {
            Ok(Ok(child)) => break child,
            _ => assert!(Instant::now() < deadline, "the server never came up"),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let is_there = || Path::new(&format!("/proc/{child}")).exists();
    assert!(is_there());
    killed.kill().unwrap();
    killed.wait().unwrap();
    let here = format!("here={ONE_LINE}");
    let next = loadgen(&["--server", &here, "-c", "2", "-m", "5"]);
    assert_eq!(code(&next), 0, "{next:?}");
    let said = text(&next.stderr);
    assert!(
        said.contains("removed what a loadgen that was killed had left (of stubborn): "),
        "{said}"
    );
    let deadline = Instant::now() + Duration::from_secs(10);
    while is_there() {
        assert!(Instant::now() < deadline, "the child was left");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_server_may_need_a_longer_warm_up_and_its_row_says_so() {
    if !has_python() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let servers = folder.path().join("servers.toml");
    let command = ONE_LINE.replace('"', "\\\"").replace('\n', "\\n");
    std::fs::write(
        &servers,
        format!("[[server]]\nname = \"slow\"\ncommand = \"{command}\"\nwarmup = \"3s\"\n"),
    )
    .unwrap();
    let results = folder.path().join("results");
    let brought = ["--servers", servers.to_str().unwrap()];
    let line = [
        "compare",
        "--targets",
        "thread,slow",
        "--workloads",
        "steady",
        "--rounds",
        "1",
        "--quiet",
    ];
    let ran = loadgen(&[&line[..], &brought, &["--results", results.to_str().unwrap()]].concat());
    assert_eq!(code(&ran), 0, "{ran:?}");
    assert!(text(&ran.stdout).contains("slow (external)"), "{}", text(&ran.stdout));
    let suite = std::fs::read_dir(&results).unwrap().next().unwrap().unwrap().path();
    let readme = std::fs::read_to_string(suite.join("README.md")).unwrap();
    assert!(readme.contains("| slow (external, 3 s warm-up)"), "{readme}");
    // A single run has it too, unless it is told another one.
    let plan = |more: &[&str]| {
        let ran = loadgen(&[&brought[..], &["--dry-run", "--duration", "1s"], more].concat());
        let plan: Plan = serde_json::from_slice(&ran.stdout).unwrap();
        plan.workload.warmup_ms
    };
    assert_eq!((plan(&[]), plan(&["--warmup", "100ms"])), (3_000, 100));
}
