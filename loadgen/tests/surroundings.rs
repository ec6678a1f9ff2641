//! loadgen where the machine gives it less than it needs: a disk that fills up, a reader that has gone, too few ports, and
//! an end at any moment.

mod support;

use loadgen::environment::network;
use loadgen::record::{Incomplete, Measurement};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use server_testkit::not_tested;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::{Misdeed, echo_server};

fn loadgen(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command
        .args(line.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} did not happen");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A file system of so many bytes on this folder, which only the calling thread and what it starts can see.
fn small_disk(folder: &Path, bytes: u64) -> Result<(), nix::Error> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    let size = format!("size={bytes}");
    mount(
        Some("tmpfs"),
        folder,
        Some("tmpfs"),
        MsFlags::empty(),
        Some(size.as_str()),
    )
}

#[test]
fn on_a_disk_that_fills_up_the_old_file_stays_whole_and_the_record_is_printed() {
    static READS: AtomicU64 = AtomicU64::new(0);
    const OLD: &str = "what was there before\n";
    let folder = tempfile::tempdir().unwrap();
    let server = echo_server(|read| {
        READS.store(read, Ordering::Relaxed);
        Misdeed::None
    });
    let path = folder.path().to_path_buf();
    let in_the_namespace = move || -> Result<(), nix::Error> {
        small_disk(&path, 4 << 20)?;
        let file = path.join("record.json");
        fs::write(&file, OLD).unwrap();
        let line = format!("--target {server} -c 5 -d 3s -w 0 -o {}", file.display());
        let child = loadgen(&line).spawn().unwrap();
        wait_for("load", || READS.load(Ordering::Relaxed) > 200);
        fill(&path.join("filler"));
        let ran = child.wait_with_output().unwrap();
        assert_eq!(ran.status.code(), Some(6), "{ran:?}");
        let record: Measurement = serde_json::from_slice(&ran.stdout).unwrap();
        assert!(record.complete && record.counts.ok > 200);
        assert_eq!(fs::read_to_string(&file).unwrap(), OLD);
        assert_eq!(names_in(&path), ["filler", "record.json"], "half a file was left");

        // Full before the start: refused before anything is measured, whether the file is there or not.
        let line = line.replace("-d 3s", "-d 60s");
        for line in [line.clone(), line.replace("record.json", "new.json")] {
            let read_before = READS.load(Ordering::Relaxed);
            let ran = loadgen(&line).output().unwrap();
            assert_eq!(ran.status.code(), Some(6), "{ran:?}");
            assert_eq!(READS.load(Ordering::Relaxed), read_before, "it measured first: {ran:?}");
            assert_eq!(fs::read_to_string(&file).unwrap(), OLD);
        }
        Ok(())
    };
    if let Err(errno) = thread::spawn(in_the_namespace).join().unwrap() {
        not_tested(&format!(
            "a full disk: no file system of this test's own can be mounted: {errno}"
        ));
    }
}

/// Writes until nothing more is taken.
fn fill(file: &Path) {
    use std::io::Write as _;
    let mut file = fs::File::create(file).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    while file.write_all(&[0]).is_ok() {}
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_reader_of_results_that_has_gone_is_a_quiet_end() {
    let server = echo_server(|_| Misdeed::None);
    for format in ["text", "json", "csv"] {
        let mut child = loadgen(&format!(
            "--target {server} -c 2 -m 20 --quiet --output-format {format}"
        ))
        .spawn()
        .unwrap();
        drop(child.stdout.take());
        let ran = child.wait_with_output().unwrap();
        assert_eq!(ran.status.code(), Some(0), "{format}: {ran:?}");
        assert!(ran.stderr.is_empty(), "{format}: {ran:?}");
    }
}

/// Eight moments; fifty with LOADGEN_LONG=1 in the environment. The seed is fixed, so each run meets the same moments.
#[test]
fn an_interrupt_at_any_moment_leaves_a_whole_record() {
    static READS: AtomicU64 = AtomicU64::new(0);
    let server = echo_server(|read| {
        READS.store(read, Ordering::Relaxed);
        Misdeed::None
    });
    let moments = if std::env::var_os("LOADGEN_LONG").is_some() {
        50
    } else {
        8
    };
    let folder = tempfile::tempdir().unwrap();
    let mut interrupted = 0;
    for moment in 0..moments {
        let file = folder.path().join(format!("{moment}.json"));
        let before = READS.load(Ordering::Relaxed);
        // Warm-up, measured phase, hold, drain and writing all lie within the span of the moments.
        let child = loadgen(&format!(
            "--target {server} -c 5 -d 500ms -w 200ms -o {}",
            file.display()
        ))
        .spawn()
        .unwrap();
        wait_for("load", || READS.load(Ordering::Relaxed) > before + 20);
        let delay_ms = echo_contract::splitmix::at(1, moment) % 1_000;
        thread::sleep(Duration::from_millis(delay_ms));
        let ran = interrupt(child);
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("after {delay_ms} ms: {error}: {ran:?}"));
        let record: Measurement = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        match ran.status.code() {
            Some(130) => {
                interrupted += 1;
                assert!(!record.complete, "after {delay_ms} ms");
                assert_eq!(record.incomplete_reason, Some(Incomplete::Interrupted));
            }
            // It had measured everything when the signal came.
            code => assert!(
                record.complete && code == Some(0),
                "after {delay_ms} ms: {code:?}, {ran:?}"
            ),
        }
    }
    assert!(
        interrupted * 4 >= moments,
        "only {interrupted} of {moments} were interrupted"
    );
}

fn interrupt(child: Child) -> Output {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    // It may have ended by itself; it is reaped below, so its id is nobody else's.
    let _ = kill(pid, Signal::SIGINT);
    child.wait_with_output().unwrap()
}

#[test]
fn too_few_ports_are_the_clients_fault_and_not_the_servers() {
    if !network::may_enter() {
        return not_tested("too few ports: this user may make no network namespace");
    }
    let ran = thread::spawn(|| {
        network::enter_private().unwrap();
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "50000 50099").unwrap();
        let server = echo_server(|_| Misdeed::None);
        loadgen(&format!("--target {server} -c 300 -m 2 --output-format json"))
            .output()
            .unwrap()
    })
    .join()
    .unwrap();
    let told: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    let text = format!("{told} {}", String::from_utf8_lossy(&ran.stderr));
    assert_ne!(ran.status.code(), Some(0), "{text}");
    assert_ne!(told["valid"], true, "{text}");
    assert!(text.contains("port"), "nothing is said of ports: {text}");
}
