//! How loadgen ends when it is told to: in each phase, on each signal, with readers that went away, and after it was killed.

mod support;

use loadgen::record::{Incomplete, Measurement};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::{Misdeed, echo_server};

/// What is promised is 3 s; a loaded machine gets more, and less than any phase here would last by itself.
const END_LIMIT: Duration = Duration::from_secs(8);
/// loadgen may have to build the servers first.
const BEGIN_LIMIT: Duration = Duration::from_secs(300);

fn loadgen(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(line.split_whitespace()).stdin(Stdio::null());
    command
}

/// Starts loadgen with both outputs to be read.
fn start(line: &str) -> Child {
    start_command(&mut loadgen(line))
}

fn start_command(command: &mut Command) -> Child {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < BEGIN_LIMIT, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

/// Sends the signal and waits for the end, which comes in time.
fn end_by(signal: Signal, mut child: Child) -> Output {
    assert!(child.try_wait().unwrap().is_none(), "it has ended before the signal");
    let begun = Instant::now();
    send(&child, signal);
    let output = child.wait_with_output().unwrap();
    assert!(begun.elapsed() < END_LIMIT, "it took {:?}: {output:?}", begun.elapsed());
    output
}

fn assert_interrupted(output: &Output) {
    assert_eq!(output.status.code(), Some(130), "{output:?}");
}

/// Takes connections into its queue and never answers.
fn silent_server() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Descendants of a process by the beginning of their name.
fn descendants(pid: u32, name: &str) -> Vec<i32> {
    let all: Vec<_> = procfs::process::all_processes()
        .unwrap()
        .flatten()
        .filter_map(|process| process.stat().ok())
        .filter(|stat| stat.state != 'Z')
        .collect();
    let mut family = vec![pid.cast_signed()];
    let mut place = 0;
    while let Some(&parent) = family.get(place) {
        family.extend(all.iter().filter(|stat| stat.ppid == parent).map(|stat| stat.pid));
        place += 1;
    }
    let named = |stat: &&procfs::process::Stat| family[1..].contains(&stat.pid) && stat.comm.starts_with(name);
    all.iter().filter(named).map(|stat| stat.pid).collect()
}

fn wait_for_descendant(child: &Child, name: &str) -> i32 {
    let mut found = Vec::new();
    wait_for(name, || {
        found = descendants(child.id(), name);
        !found.is_empty()
    });
    found[0]
}

fn is_gone(pid: i32) -> bool {
    procfs::process::Process::new(pid)
        .and_then(|process| process.stat())
        .map_or(true, |stat| stat.state == 'Z')
}

#[test]
fn the_probe_of_a_silent_server_and_of_a_free_port_ends_at_once() {
    let (listener, silent) = silent_server();
    let child = start(&format!("--target {silent} --connect-timeout 60s"));
    // The probe's connection is there, and its bytes.
    let (mut probe, _) = listener.accept().unwrap();
    probe.read_exact(&mut [0; 16]).unwrap();
    let ended = end_by(Signal::SIGINT, child);
    assert_interrupted(&ended);
    let text = String::from_utf8_lossy(&ended.stderr);
    assert!(text.contains("stopped by a signal"), "{text}");
    drop(listener);
    // The port is free now: loadgen tries again and again until the timeout.
    let child = start(&format!("--target {silent} --connect-timeout 60s"));
    wait_for("the handlers", || handles_sigterm(&child));
    assert_interrupted(&end_by(Signal::SIGTERM, child));
}

/// Whether the process has its own idea of SIGTERM by now.
fn handles_sigterm(child: &Child) -> bool {
    let status = procfs::process::Process::new(child.id().cast_signed()).and_then(|process| process.status());
    status.is_ok_and(|status| status.sigcgt >> (Signal::SIGTERM as i32 - 1) & 1 == 1)
}

static READS: AtomicU64 = AtomicU64::new(0);

#[test]
fn a_hang_up_in_mid_run_is_an_end_in_order_unless_nohup_said_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("record.json");
    let server = echo_server(|read| {
        READS.store(read, Ordering::Relaxed);
        Misdeed::None
    });
    // This test may itself have been started by nohup, which a child inherits.
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_loadgen")]);
    command.args(format!("--target {server} -c 5 -d 60s -w 0 -o {}", file.display()).split_whitespace());
    let child = start_command(&mut command);
    wait_for("load", || READS.load(Ordering::Relaxed) > 500);
    assert_interrupted(&end_by(Signal::SIGHUP, child));
    let record: Measurement = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(record.incomplete_reason, Some(Incomplete::Interrupted));
    assert!(record.counts.ok > 0);

    let line = format!("{} --target {server} -c 5 -d 60s -w 0", env!("CARGO_BIN_EXE_loadgen"));
    let child = start_command(Command::new("nohup").args(line.split_whitespace()));
    let before = READS.load(Ordering::Relaxed);
    wait_for("load", || READS.load(Ordering::Relaxed) > before + 500);
    send(&child, Signal::SIGHUP);
    let before = READS.load(Ordering::Relaxed);
    wait_for("load after the hang-up", || {
        READS.load(Ordering::Relaxed) > before + 5_000
    });
    assert_interrupted(&end_by(Signal::SIGTERM, child));
}

#[test]
fn a_server_that_still_drains_is_killed_and_the_record_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("record.json");
    let child = start(&format!(
        "--target thread --start always -c 20 -d 60s -w 0 -o {}",
        file.display()
    ));
    let server = wait_for_descendant(&child, "thread-server");
    // A stopped server reads no signal but the last.
    wait_for("load", || {
        let stat = procfs::process::Process::new(server).and_then(|process| process.stat());
        stat.is_ok_and(|stat| stat.num_threads > 20 && stat.utime + stat.stime > 0)
    });
    kill(Pid::from_raw(server), Signal::SIGSTOP).unwrap();
    assert_interrupted(&end_by(Signal::SIGINT, child));
    assert!(is_gone(server));
    let record: Measurement = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let notes = record.notes.join("; ");
    assert!(
        notes.contains("was ended by SIGKILL") && notes.contains("while it still drained"),
        "{notes}"
    );
}

#[test]
fn verify_ends_with_its_servers_and_tells_how_far_it_came() {
    let mut child = start("verify --target thread");
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let is_check = |line: &String| line.starts_with("thread 2/");
    assert!(lines.any(|line| is_check(&line.unwrap())), "no check was made");
    wait_for_descendant(&child, "thread-server");
    let pid = child.id();
    let ended = end_by(Signal::SIGINT, child);
    assert_interrupted(&ended);
    assert!(
        String::from_utf8_lossy(&ended.stdout).contains("what was checked"),
        "{ended:?}"
    );
    assert!(descendants(pid, "thread-server").is_empty());

    let (listener, silent) = silent_server();
    let child = start(&format!("verify --target {silent}"));
    let (mut probe, _) = listener.accept().unwrap();
    let mut bytes = [0; 16];
    probe.read_exact(&mut bytes).unwrap();
    probe.write_all(&bytes).unwrap();
    drop(probe);
    let (_first, _) = listener.accept().unwrap(); // of a check, which waits now
    assert_interrupted(&end_by(Signal::SIGTERM, child));
}

#[test]
fn compare_sweep_and_calibrate_end_in_the_middle_of_a_trial() {
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().display();
    for (line, server) in [
        (
            format!("compare --targets thread --budget 5m --results {results}"),
            "thread-server",
        ),
        (
            format!("sweep -T thread --clients 5,10 -d 30s --results {results}"),
            "thread-server",
        ),
        ("calibrate --quick".to_string(), "loadgen"),
    ] {
        let child = start(&line);
        let server = wait_for_descendant(&child, server);
        assert_interrupted(&end_by(Signal::SIGTERM, child));
        assert!(is_gone(server), "{line}");
    }
}

#[test]
fn a_sweep_that_cannot_reach_its_server_yet_ends_at_once() {
    let (listener, silent) = silent_server();
    let folder = tempfile::tempdir().unwrap();
    let child = start(&format!(
        "sweep -T {silent} --clients 5,10 --results {}",
        folder.path().display()
    ));
    let (_probe, _) = listener.accept().unwrap();
    assert_interrupted(&end_by(Signal::SIGINT, child));
}

#[test]
fn connect_ends_while_it_waits_for_a_line() {
    let mut command = loadgen("connect --target thread");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.as_mut().unwrap().write_all(b"hello\n").unwrap();
    let mut echo = [0; 5];
    child.stdout.as_mut().unwrap().read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"hello");
    let stdin = child.stdin.take();
    let pid = child.id();
    assert_interrupted(&end_by(Signal::SIGINT, child));
    assert!(descendants(pid, "thread-server").is_empty());
    drop(stdin);
}

#[test]
fn merge_ends_while_it_waits_for_a_fifo() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let child = start(&format!("merge {}", fifo.display()));
    wait_for("the handlers", || handles_sigterm(&child));
    assert_interrupted(&end_by(Signal::SIGTERM, child));
}

#[test]
fn a_build_ends_with_its_compilers() {
    let folder = tempfile::tempdir().unwrap();
    // Stands in for cargo: it notes its id, starts a compiler, and never ends.
    let cargo = folder.path().join("cargo");
    let ids = folder.path().join("ids");
    fs::write(
        &cargo,
        format!(
            "#!/bin/sh\nsleep 600 &\necho $$ $! > {0}.new\nmv {0}.new {0}\nwait\n",
            ids.display()
        ),
    )
    .unwrap();
    fs::set_permissions(&cargo, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = loadgen("--target thread --start always -d 60s");
    let child = command
        .env("CARGO", &cargo)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("the build", || ids.exists());
    assert_interrupted(&end_by(Signal::SIGINT, child));
    let ids: Vec<i32> = fs::read_to_string(&ids)
        .unwrap()
        .split_whitespace()
        .map(|id| id.parse().unwrap())
        .collect();
    wait_for("the end of the build", || ids.iter().all(|id| is_gone(*id)));
}

#[test]
fn a_comparison_whose_stderr_is_gone_goes_on_and_writes_its_results() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!(
        "compare --targets thread --workloads light --rounds 1 --no-control --results {}",
        folder.path().display()
    );
    let mut child = start(&line);
    drop(child.stderr.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stdout).contains("capacity"), "{ended:?}");
    let made = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    assert!(made.join("README.md").is_file());

    // The same with both outputs gone.
    let mut child = start(&line);
    drop((child.stderr.take(), child.stdout.take()));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn after_a_kill_the_next_run_removes_what_was_left_and_spares_what_lives() {
    let folder = tempfile::tempdir().unwrap();
    let run = || start("--target thread --start always -c 5 -d 600s -w 0");
    let (mut dead, living) = (run(), run());
    let of_dead = wait_for_descendant(&dead, "thread-server");
    let of_living = wait_for_descendant(&living, "thread-server");
    let is_grouped = |pid: i32| {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        groups.contains("/loadgen-")
    };
    wait_for("their groups", || is_grouped(of_dead) && is_grouped(of_living));
    dead.kill().unwrap();
    dead.wait().unwrap();
    let (group, mut stubborn) = group_with_a_process();
    let half = folder.path().join(".writing-abc");
    fs::write(&half, "{").unwrap();

    let record = folder.path().join("record.json");
    let next = format!(
        "--target {} -c 2 -m 5 -o {}",
        echo_server(|_| Misdeed::None),
        record.display()
    );
    let ended = loadgen(&next).output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(is_gone(of_dead) && !is_gone(of_living));
    assert!(!half.exists() && !group.exists());
    assert_eq!(stubborn.wait().unwrap().signal(), Some(Signal::SIGKILL as i32));
    let text = String::from_utf8_lossy(&ended.stderr);
    let told: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("removed what a loadgen that was killed had left: "))
        .collect();
    assert_eq!(told.len(), 1, "{text}");
    for part in ["1 server process, ", " control group", "1 half-written file"] {
        assert!(told[0].contains(part), "no `{part}` in {}", told[0]);
    }
    assert_interrupted(&end_by(Signal::SIGTERM, living));
    let ended = loadgen(&next).output().unwrap();
    assert!(
        !String::from_utf8_lossy(&ended.stderr).contains("removed what"),
        "{ended:?}"
    );
}

/// A group as loadgen makes them, whose loadgen is dead and whose server minds no signal that asks.
fn group_with_a_process() -> (PathBuf, Child) {
    let own = loadgen::sampler::cgroup::Cgroup::create().unwrap();
    let parent = own.directories().next().unwrap().parent().unwrap();
    let group = parent.join("loadgen-4194305-0"); // no process has an id above 2^22
    fs::create_dir_all(&group).unwrap();
    let stubborn = Command::new("sleep").arg("600").spawn().unwrap();
    fs::write(group.join("cgroup.procs"), stubborn.id().to_string()).unwrap();
    (group, stubborn)
}

#[test]
fn half_a_file_of_somebody_who_still_writes_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let half = folder.path().join(".writing-abc");
    fs::write(&half, "{").unwrap();
    let held = fs::File::open(folder.path()).unwrap();
    held.lock_shared().unwrap();
    assert_eq!(
        loadgen::measurement::half_written::remove_half_written(folder.path()),
        0
    );
    drop(held);
    assert_eq!(
        loadgen::measurement::half_written::remove_half_written(folder.path()),
        1
    );
    assert!(!half.exists());
}

#[test]
fn who_asks_for_json_gets_an_object_also_of_a_failure() {
    for (line, code, error) in [
        (
            "--target 127.0.0.1:1 --connect-timeout 50ms --output-format json",
            3,
            "nothing listens on 127.0.0.1:1",
        ),
        ("--target nosuch --output-format=json", 2, "no target `nosuch`"),
        (
            "--target thread --output-format json -d soon",
            2,
            "invalid value 'soon' for '--duration <TIME>'",
        ),
        (
            "--target thread --output-format json -o /nonexistent/folder/file",
            6,
            "--output /nonexistent/folder/file",
        ),
        (
            "merge /nonexistent --output-format json",
            2,
            "/nonexistent cannot be read",
        ),
    ] {
        let ran = loadgen(line).output().unwrap();
        assert_eq!(ran.status.code(), Some(code), "{line}: {ran:?}");
        let told: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!(
            (&told["valid"], &told["complete"]),
            (&false.into(), &false.into()),
            "{line}"
        );
        assert_eq!(told["exit_code"], code, "{line}");
        assert!(told["error"].as_str().unwrap().contains(error), "{line}: {told}");
        assert!(String::from_utf8_lossy(&ran.stderr).contains(error), "{line}: {ran:?}");
    }
    let ran = loadgen("--target 127.0.0.1:1 --connect-timeout 50ms").output().unwrap();
    assert!(ran.stdout.is_empty(), "{ran:?}");
}

#[test]
fn an_empty_variable_is_none() {
    let seed = |value: &str| {
        let mut command = loadgen("--target 127.0.0.1:1 --dry-run");
        let ran = command.env("LOADGEN_SEED", value).output().unwrap();
        assert_eq!(ran.status.code(), Some(0), "{ran:?}");
        let plan: loadgen::record::Plan = serde_json::from_slice(&ran.stdout).unwrap();
        plan.seed
    };
    assert_eq!((seed(""), seed("7")), (1, 7));
}

#[test]
fn records_of_addresses_have_names_that_every_file_system_takes() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!(
        "sweep -T {} --clients 1,2 --repeats 1 -d 200ms -w 50ms --results {}",
        echo_server(|_| Misdeed::None),
        folder.path().display()
    );
    let ran = loadgen(&line).output().unwrap();
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    let names = names_below(folder.path());
    assert!(
        names.iter().any(|name| name.starts_with("round-01-127.0.0.1-")),
        "{names:?}"
    );
    let fits = |name: &String| {
        name.chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter))
    };
    assert!(names.iter().all(fits), "{names:?}");
}

fn names_below(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        names.push(entry.file_name().to_string_lossy().into_owned());
        if entry.path().is_dir() {
            names.extend(names_below(&entry.path()));
        }
    }
    names
}
