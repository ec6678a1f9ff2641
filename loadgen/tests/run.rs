//! One measurement from the outside: what is printed, what is written, which exit code.

mod support;

use loadgen::record::{Incomplete, Measurement};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::{Misdeed, echo_server};

fn loadgen(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(line.split_whitespace());
    command
}

fn output(line: &str) -> Output {
    loadgen(line).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

fn record(path: &Path) -> Measurement {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn good_server() -> SocketAddr {
    echo_server(|_| Misdeed::None)
}

/// Waits for a condition; five minutes are a failure: loadgen may have to build the servers first.
fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(300), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until loadgen's connections arrive at a listener of the test.
fn spawn_and_wait_for_load(line: &str, messages_seen: impl Fn() -> bool) -> Child {
    let child = loadgen(line)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("load", messages_seen);
    child
}

/// An echo server that counts its reads.
fn counting_server() -> SocketAddr {
    echo_server(|read| {
        READS.store(read, std::sync::atomic::Ordering::Relaxed);
        Misdeed::None
    })
}

static READS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

#[test]
fn a_thousand_clients_with_ten_messages_echo_without_an_error_on_every_target() {
    let folder = tempfile::tempdir().unwrap();
    for target in ["fork", "thread", "event-tokio"] {
        let file = folder.path().join(format!("{target}.json"));
        let line = format!(
            "--target {target} --start always --workload medium --output {}",
            file.display()
        );
        let ran = output(&line);
        assert_eq!(code(&ran), 0, "{ran:?}");
        let record = record(&file);
        assert_eq!((record.counts.ok, record.counts.errors()), (10_000, 0), "{target}");
        assert_eq!(
            (record.connections.reached, record.totals.connections),
            (1000, 1000),
            "{target}"
        );
        let stats = record.server_stats.unwrap();
        assert_eq!((stats.bytes_in, stats.bytes_out), (640_000, 640_000), "{target}");
        assert_eq!(
            (stats.accepted, stats.closed, stats.refused),
            (1000, 1000, 0),
            "{target}"
        );
        assert!(
            !record.reasons.iter().any(|reason| reason.gate == "conservation"),
            "{:?}",
            record.reasons
        );
        let processes = record.server_cost.processes_max.unwrap();
        assert_eq!(processes, if target == "fork" { 1001 } else { 1 });
        let threads = record.server_cost.threads_max.unwrap();
        assert_eq!(threads, if target == "event-tokio" { 1 } else { 1001 });
        assert!(record.server_cost.memory_peak_bytes.unwrap() > 100_000);
    }
}

#[test]
fn memory_is_told_with_its_buffers_and_for_each_idle_client() {
    const CLIENTS: u64 = 200;
    const BUFFER_BYTES: u64 = 16_384;
    let folder = tempfile::tempdir().unwrap();
    for (target, policy, buffers) in [
        (
            "thread",
            "one per connection",
            CLIENTS * BUFFER_BYTES..=CLIENTS * BUFFER_BYTES,
        ),
        (
            "event-tokio",
            "one per connection",
            CLIENTS * BUFFER_BYTES..=CLIENTS * BUFFER_BYTES,
        ),
        // Its buffers come from another arena than main's, whose fresh pages calloc leaves untouched.
        (
            "event-async-std",
            "one per connection",
            CLIENTS * BUFFER_BYTES..=CLIENTS * BUFFER_BYTES,
        ),
        ("event-epoll", "one per worker", BUFFER_BYTES..=BUFFER_BYTES),
        // Measured by itself: messages of 64 bytes touch a page or two of each buffer that was lent.
        ("event-io-uring", "lent from a pool", 4096..=CLIENTS * 2 * 4096),
    ] {
        let file = folder.path().join(format!("{target}.json"));
        let line = format!(
            "--target {target} --start always -c {CLIENTS} -m 5 --output {}",
            file.display()
        );
        let ran = output(&line);
        assert_eq!(code(&ran), 0, "{ran:?}");
        let record = record(&file);
        let cost = &record.server_cost;
        assert_eq!(record.target.buffer_policy.as_deref(), Some(policy), "{target}");
        let of_which = cost.memory_buffers_bytes.unwrap();
        assert!(buffers.contains(&of_which), "{target}: {of_which}");
        assert!(of_which < cost.memory_peak_bytes.unwrap(), "{target}: {cost:?}");
        assert!(cost.memory_buffers_method.starts_with(policy), "{target}: {cost:?}");
        // Beside its buffer a client costs a socket in the kernel, and a thread's stack, here of 30 KiB at most.
        let each = cost.memory_per_connection_bytes.unwrap();
        let has_own = policy == "one per connection";
        assert_eq!(
            each >= BUFFER_BYTES,
            has_own,
            "{target}: {each} bytes for an idle client"
        );
        assert!(each < 64 << 10, "{target}: {each} bytes for an idle client");
        let text = String::from_utf8(ran.stdout)
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        assert!(text.contains(&format!("connection buffers ({policy})")), "{text}");
        assert!(text.contains("for each idle client"), "{text}");
    }
}

#[test]
fn the_summary_says_how_the_server_was_come_by() {
    let started = output("--target event-tokio --start always -c 10 -m 10");
    let text = String::from_utf8(started.stdout).unwrap();
    assert!(
        text.contains("started for this run") && text.contains("10 clients x 10 = 100 messages"),
        "{text}"
    );
    let attached = output(&format!("--target {} -c 10 -m 10", good_server()));
    let text = String::from_utf8(attached.stdout).unwrap();
    assert!(
        text.contains(&format!("attached to pid {}", std::process::id())),
        "{text}"
    );
}

#[test]
fn corrupted_and_truncated_echoes_exit_with_4() {
    for fault in [
        |read: u64| if read == 5 { Misdeed::Corrupt } else { Misdeed::None },
        |read: u64| if read == 5 { Misdeed::Truncate } else { Misdeed::None },
        |read: u64| if read == 20 { Misdeed::Surplus } else { Misdeed::None },
    ] {
        let ran = output(&format!("--target {} -c 2 -m 50", echo_server(fault)));
        assert_eq!(code(&ran), 4, "{ran:?}");
    }
}

#[test]
fn a_server_that_dies_exits_with_5_and_what_was_measured_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("record.json");
    let line = format!(
        "--target thread --start always -c 20 -d 60s -w 0 --output {} --output-format json",
        file.display()
    );
    let mut child = loadgen(&line)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let server = server_of(&child);
    // Some windows must be there to be kept.
    std::thread::sleep(Duration::from_secs(1));
    kill(server, Signal::SIGKILL).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5));
    let record = record(&file);
    assert!(!record.complete && !record.valid);
    assert!(matches!(record.incomplete_reason, Some(Incomplete::ServerDied(_))));
    assert!(record.counts.ok > 0);
    let windows: u64 = record.windows.iter().map(|window| window.ok + window.errors).sum();
    assert_eq!(windows, record.counts.ok + record.counts.errors());
}

#[test]
fn a_server_that_falls_silent_exits_with_5_and_says_when_the_last_echo_came() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("record.json");
    let server = echo_server(|read| if read > 500 { Misdeed::Swallow } else { Misdeed::None });
    let ran = output(&format!(
        "--target {server} -c 10 -m 100000 --timeout 500ms --output {}",
        file.display()
    ));
    assert_eq!(code(&ran), 5, "{ran:?}");
    let record = record(&file);
    assert!(!record.complete && !record.valid);
    assert!(matches!(record.incomplete_reason, Some(Incomplete::FellSilent(_))));
    let text = String::from_utf8(ran.stdout).unwrap();
    assert!(text.contains("fell silent"), "{text}");
}

#[test]
fn a_connection_that_ends_before_the_reply_is_closed_and_no_damage() {
    let server = echo_server(|read| {
        if read == 20 {
            Misdeed::EndOfStream
        } else {
            Misdeed::None
        }
    });
    let ran = output(&format!("--target {server} -c 2 -m 50"));
    assert_eq!(code(&ran), 0, "{ran:?}");
    let text = String::from_utf8(ran.stdout).unwrap();
    assert!(text.contains("errors 1 (closed 1)"), "{text}");
}

#[test]
fn a_plan_above_the_servers_capacity_says_what_was_served_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("record.json");
    let line = "--target thread --start always -c 50 -R 1M -d 1s -w 0 --timeout 500ms";
    let ran = output(&format!("{line} --output {}", file.display()));
    assert_eq!(code(&ran), 0, "{ran:?}");
    let record = record(&file);
    let text = String::from_utf8(ran.stdout).unwrap();
    assert!(text.contains("/s of 1,000,000/s planned"), "{text}");
    assert!(
        record.reasons.iter().any(|reason| reason.gate == "missed_plan"),
        "{:?}",
        record.reasons
    );
    let throughput = &record.throughput;
    assert!(throughput.messages_per_s > 0.0 && throughput.messages_per_s < 990_000.0);
    // The windows of the phase, without the open-ended one, hold the same messages.
    let in_phase: u64 = record
        .windows
        .iter()
        .filter(|window| window.length_s > 0.0)
        .map(|window| window.ok)
        .sum();
    assert_eq!(throughput.served, Some(in_phase));
    assert_eq!(record.counts.ok - record.counts.ok_late, in_phase);
}

/// The server that loadgen has started, once it is loaded: a child of loadgen with a socket of a client.
fn server_of(loadgen: &Child) -> Pid {
    let parent = i32::try_from(loadgen.id()).unwrap();
    let mut found = None;
    wait_for("the server", || {
        found = procfs::process::all_processes()
            .unwrap()
            .flatten()
            .filter_map(|process| process.stat().ok())
            .find(|stat| stat.ppid == parent && stat.comm == "thread-server" && stat.num_threads > 20)
            .map(|stat| Pid::from_raw(stat.pid));
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn an_interrupted_run_writes_its_report_and_exits_with_130() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("record.json");
    let address = counting_server();
    let line = format!("--target {address} -c 5 -d 60s -w 0 --output {}", file.display());
    let mut child = spawn_and_wait_for_load(&line, || READS.load(std::sync::atomic::Ordering::Relaxed) > 500);
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    let code = child.wait().unwrap().code();
    let record = record(&file);
    assert_eq!(code, Some(130), "{:?}", record.reasons);
    assert_eq!(record.incomplete_reason, Some(Incomplete::Interrupted));
    assert!(record.counts.ok > 0 && record.counts.errors() == 0);
    assert_eq!(record.counts.in_flight_at_stop, 0);
    let mut printed = String::new();
    child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert!(printed.contains("stopped by a signal"), "{printed}");
}

#[test]
fn a_second_signal_ends_at_once() {
    // A server that swallows everything: the run would wait for what is outstanding.
    let address = echo_server(|read| if read > 50 { Misdeed::Swallow } else { Misdeed::None });
    let mut child = loadgen(&format!("--target {address} -c 5 -d 60s -w 0 --timeout 60s --quiet"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let begun = Instant::now();
    // Signals until it ends: the first asks, the next one after it insists.
    while child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        let _ = kill(pid, Signal::SIGTERM);
        std::thread::sleep(Duration::from_millis(50));
    }
    let status = child.wait().unwrap();
    assert!(status.code() == Some(130) || status.code().is_none(), "{status:?}");
}

#[test]
fn require_valid_exits_with_7_for_an_invalid_run() {
    // One client of two is never served, so the run cannot be valid.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        // One connection at a time: the second waits for the first to end.
        for stream in listener.incoming().flatten() {
            let (mut reader, mut writer) = (&stream, &stream);
            let _ = std::io::copy(&mut reader, &mut writer);
        }
    });
    let line = format!("--target {address} -c 2 -d 300ms -w 0 --connect-timeout 500ms --timeout 500ms");
    let lenient = output(&line);
    assert_eq!(code(&lenient), 0, "{lenient:?}");
    assert!(
        String::from_utf8_lossy(&lenient.stdout).contains("INVALID"),
        "{lenient:?}"
    );
    let strict = output(&format!("{line} --require-valid"));
    assert_eq!(code(&strict), 7, "{strict:?}");
}

#[test]
fn a_port_held_by_something_else_is_refused_by_name() {
    // The catalog's port may be in use on this machine; then the test has found its squatter.
    let _squatter = TcpListener::bind("127.0.0.1:8002").ok();
    let ran = output("--target thread -c 1 -m 1");
    let text = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(code(&ran), 3, "{text}");
    assert!(
        text.contains("127.0.0.1:8002 is held by ") && text.contains("use --start always"),
        "{text}"
    );
}

#[test]
fn a_record_that_cannot_be_written_is_printed_and_exits_with_6() {
    // /dev/full can be opened, and takes nothing.
    let ran = output(&format!("--target {} -c 2 -m 5 --output /dev/full", good_server()));
    assert_eq!(code(&ran), 6, "{ran:?}");
    let record: Measurement = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(record.counts.ok, 10);
}

#[test]
fn a_dash_sends_the_record_to_stdout_and_the_summary_to_stderr() {
    let ran = output(&format!("--target {} -c 2 -m 5 --quiet -o -", good_server()));
    assert_eq!(code(&ran), 0, "{ran:?}");
    let record: Measurement = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(record.counts.ok, 10);
    assert!(String::from_utf8_lossy(&ran.stderr).contains("verdict"), "{ran:?}");
}

#[test]
fn a_link_stays_a_link_a_suffix_says_the_format_and_a_folder_is_refused_before_measuring() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("result.csv"), folder.path().join("link.csv"));
    std::fs::write(&file, "x".repeat(100_000)).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let ran = output(&format!("--target {} -c 2 -m 5 -o {}", good_server(), link.display()));
    assert_eq!(code(&ran), 0, "{ran:?}");
    assert!(link.is_symlink());
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 2);
    let ran = output(&format!("--target 127.0.0.1:1 -o {}", folder.path().display()));
    assert_eq!(code(&ran), 6, "{ran:?}");
}

#[test]
fn a_fifo_is_written_to_its_reader_and_refused_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let line = format!("--target {} -c 2 -m 5 -o {}", good_server(), fifo.display());
    assert_eq!(code(&output(&line)), 6);
    let reader = std::fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    let mut child = loadgen(&line)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut records = serde_json::Deserializer::from_reader(reader).into_iter::<Measurement>();
    assert_eq!(records.next().unwrap().unwrap().counts.ok, 10);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_name_that_is_no_text_is_a_name_like_any_other() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9.json"));
    let mut command = loadgen(&format!("--target {} -c 2 -m 5 -o", good_server()));
    let ran = command.arg(&file).output().unwrap();
    assert_eq!(code(&ran), 0, "{ran:?}");
    assert_eq!(record(&file).counts.ok, 10);
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let mut child = loadgen("list")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    assert!(child.wait().unwrap().success());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(stderr, "");
}

#[test]
fn a_run_tells_each_second_what_goes_on() {
    let ran = output(&format!("--target {} -c 3 -w 100ms -d 2500ms", good_server()));
    let text = String::from_utf8_lossy(&ran.stderr).into_owned();
    let line = text.lines().find(|line| line.starts_with("measured 1."));
    let line = line.unwrap_or_else(|| panic!("{text}"));
    for part in [" s left  ", "/s  p50 ", "  p99 ", "  errors 0"] {
        assert!(line.contains(part), "no `{part}` in {line}");
    }
    let quiet = output(&format!("--target {} -c 3 -w 100ms -d 1500ms --quiet", good_server()));
    assert!(quiet.stderr.is_empty(), "{quiet:?}");
}

#[test]
fn a_reader_of_stderr_that_goes_away_costs_no_figure() {
    let mut child = loadgen(&format!("--target {} -c 3 -w 100ms -d 1500ms", good_server()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    let ran = child.wait_with_output().unwrap();
    assert_eq!(code(&ran), 0, "{ran:?}");
    assert!(String::from_utf8_lossy(&ran.stdout).contains("verdict"), "{ran:?}");
}

#[test]
fn too_few_descriptors_are_refused_before_the_start_with_both_numbers() {
    let ran = Command::new("sh")
        .args([
            "-c",
            "ulimit -n 256; exec \"$0\" --target fork --clients 1000",
            env!("CARGO_BIN_EXE_loadgen"),
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(code(&ran), 2, "{text}");
    assert!(
        text.contains("1064") && text.contains("256") && text.contains("ulimit"),
        "{text}"
    );
}

#[test]
fn json_and_csv_go_to_stdout_alone() {
    let address = good_server();
    let json = output(&format!("--target {address} -c 3 -m 4 --output-format json --quiet"));
    let record: Measurement = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(record.counts.ok, 12);
    let csv = output(&format!("--target {address} -c 3 -m 4 --output-format csv --quiet"));
    let text = String::from_utf8(csv.stdout).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn a_dry_run_prints_the_plan_and_opens_nothing() {
    let ran = output("--target 127.0.0.1:1 -c 7 --dry-run");
    assert_eq!(code(&ran), 0);
    let plan: loadgen::record::Plan = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(plan.workload.clients, 7);
}
