//! The load generators that are compared: how each is started, and what it printed. All run on the client's CPU, and their
//! CPU time is what the system charged them, start-up included.

use loadgen::record::Measurement;
use loadgen::units::count_f64;
use nix::sys::resource::{UsageWho, getrusage};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, exit};
use std::time::Duration;

pub(crate) const CLIENTS: u32 = 50;
pub(crate) const CLIENT_CPU: &str = "1";
/// Messages per second of redis-benchmark on the machines this was written for; it stops by count.
const REDIS_MESSAGES_PER_S: f64 = 80_000.0;

/// What is sent, the same for all tools that can.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) size_bytes: u32,
    pub(crate) depth: u32,
    pub(crate) seconds: f64,
}

/// One tool's run.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) messages_per_s: f64,
    /// CPU time of the client over its messages.
    pub(crate) cpu_us_per_message: f64,
}

/// Ends the bench with what to install where something is missing.
pub(crate) fn check_installed() {
    for (tool, package) in [
        ("redis-benchmark", "redis-tools"),
        ("wrk", "wrk"),
        ("taskset", "util-linux"),
        ("cc", "gcc"),
    ] {
        if Command::new(tool).arg("--version").output().is_err() {
            eprintln!("{tool} is not installed: apt-get install {package}");
            exit(2);
        }
    }
}

pub(crate) fn loadgen(address: SocketAddr, load: Load) -> Run {
    let (record, cpu) = record(
        address,
        &[
            "--duration",
            &format!("{:.0}ms", load.seconds * 1000.0),
            "--warmup",
            "300ms",
            "--size",
            &load.size_bytes.to_string(),
            "--pipeline",
            &load.depth.to_string(),
        ],
    );
    Run {
        messages_per_s: record.throughput.messages_per_s,
        cpu_us_per_message: cpu.as_secs_f64() * 1e6 / count_f64(record.totals.messages),
    }
}

/// loadgen's record of a run with one thread, and the CPU time it took.
pub(crate) fn record(address: SocketAddr, flags: &[&str]) -> (Measurement, Duration) {
    let (address, clients) = (address.to_string(), CLIENTS.to_string());
    let mut command = vec![
        env!("CARGO_BIN_EXE_loadgen"),
        "--target",
        &address,
        "--clients",
        &clients,
    ];
    command.extend(["--threads", "1", "--pin", "off", "--quiet", "--output-format", "json"]);
    command.extend(flags);
    let (output, cpu) = pinned(&command);
    let record: Measurement = serde_json::from_slice(&output.stdout).expect("loadgen prints a record");
    assert_eq!(record.counts.errors(), 0, "{:?}", record.first_failures);
    (record, cpu)
}

pub(crate) fn redis_benchmark(address: SocketAddr, load: Load) -> Run {
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let messages = (REDIS_MESSAGES_PER_S * load.seconds).round();
    let (output, cpu) = pinned(&[
        "redis-benchmark",
        "-h",
        &ip,
        "-p",
        &port,
        "-t",
        "ping_mbulk",
        "-n",
        &messages.to_string(),
        "-c",
        &CLIENTS.to_string(),
        "--csv",
    ]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let messages_per_s = text
        .lines()
        .find(|line| line.starts_with("\"PING_MBULK\""))
        .and_then(|line| line.split(',').nth(1)?.trim_matches('"').parse().ok())
        .unwrap_or_else(|| panic!("redis-benchmark printed {text}"));
    Run {
        messages_per_s,
        cpu_us_per_message: cpu.as_secs_f64() * 1e6 / messages,
    }
}

pub(crate) fn wrk(address: SocketAddr, load: Load) -> Run {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/echo.lua");
    let seconds = load.seconds.ceil();
    let (output, cpu) = pinned(&[
        "wrk",
        "-t1",
        &format!("-c{CLIENTS}"),
        &format!("-d{seconds}s"),
        "-s",
        &script.to_string_lossy(),
        &format!("http://{address}/"),
    ]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let word_after = |key: &str| text.split(key).nth(1)?.split_whitespace().next()?.parse::<f64>().ok();
    let messages_per_s = word_after("Requests/sec:").unwrap_or_else(|| panic!("wrk printed {text}"));
    assert!(!text.contains("Socket errors"), "{text}");
    Run {
        messages_per_s,
        cpu_us_per_message: cpu.as_secs_f64() * 1e6 / (messages_per_s * seconds),
    }
}

/// Compiles `minimal_client.c`; it has to be run from where it lies.
pub(crate) fn compiled() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/minimal_client.c");
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("minimal_client");
    let status = Command::new("cc")
        .args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"])
        .args([&binary, &source])
        .status()
        .expect("cc starts");
    assert!(status.success(), "minimal_client.c does not compile");
    binary
}

pub(crate) fn minimal_client(binary: &Path, address: SocketAddr, load: Load) -> Run {
    let (output, cpu) = pinned(&[
        &binary.to_string_lossy(),
        &address.port().to_string(),
        &CLIENTS.to_string(),
        &load.size_bytes.to_string(),
        &load.depth.to_string(),
        &load.seconds.to_string(),
    ]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let figures: Vec<f64> = text
        .split_whitespace()
        .filter_map(|figure| figure.parse().ok())
        .collect();
    let [messages, seconds] = figures[..] else {
        panic!("minimal_client printed {text}")
    };
    Run {
        messages_per_s: messages / seconds,
        cpu_us_per_message: cpu.as_secs_f64() * 1e6 / messages,
    }
}

/// Runs a command on the client's CPU; its output and the CPU time it used.
fn pinned(command: &[&str]) -> (Output, Duration) {
    let before = children_cpu();
    let output = Command::new("taskset")
        .args(["-c", CLIENT_CPU])
        .args(command)
        .output()
        .expect("taskset starts");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    (output, children_cpu() - before)
}

fn children_cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("getrusage works");
    let time = |time: nix::sys::time::TimeVal| {
        Duration::from_micros(u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0))
    };
    time(usage.user_time()) + time(usage.system_time())
}
