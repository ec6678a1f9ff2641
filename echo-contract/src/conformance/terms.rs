//! Rule 7: the same socket options and flags everywhere, and READY says what the process really uses.

use super::fault::{Deadline, Fault, PASSED, Verdict, ensure, failed};
use super::server::Server;
use super::{Check, Setting};
use crate::catalog;
use crate::ready::Ready;
use std::fmt::Debug;
use std::path::Path;
use std::time::{Duration, Instant};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "READY names the process that runs and the target it was started as",
        setting: Setting::PROCESS,
        make: ready_names_the_process,
    },
    Check {
        name: "READY tells the defaults that all servers share",
        setting: Setting::PROCESS,
        make: ready_tells_the_defaults,
    },
    Check {
        name: "READY tells what the flags changed, and the echo stays whole",
        setting: Setting::flags(&[
            "--buffer-size",
            "4KiB",
            "--backlog",
            "100",
            "--max-connections",
            "50",
            "--idle-timeout",
            "20s",
            "--drain-timeout",
            "2s",
        ]),
        make: ready_tells_the_flags,
    },
    Check {
        name: "an answer in two writes does not wait for a delayed acknowledgement",
        setting: Setting::PROCESS,
        make: answers_do_not_wait,
    },
    Check {
        name: "--idle-timeout 1s ends an idle client with a FIN and leaves an active one alone",
        setting: Setting::flags(&["--idle-timeout", "1s"]),
        make: idle_timeout_ends_the_idle,
    },
    Check {
        name: "--work 5ms burns 5 ms of CPU for each read",
        setting: Setting::flags(&["--work", "5ms"]),
        make: work_burns_cpu,
    },
    Check {
        name: "--work-source 127.0.0.2 burns nothing for a client from 127.0.0.1",
        setting: Setting::flags(&["--work", "5ms", "--work-source", "127.0.0.2"]),
        make: work_is_for_its_source_only,
    },
];

fn ready_names_the_process(server: &mut Server) -> Verdict {
    let ready = server.ready()?;
    let process = Path::new("/proc").join(ready.pid.to_string());
    ensure(process.exists(), || format!("no process has READY's pid {}", ready.pid))?;
    let texts = [
        ("target", &ready.target),
        ("runtime", &ready.runtime),
        ("runtime_version", &ready.runtime_version),
        ("accept_model", &ready.accept_model),
    ];
    for (field, text) in texts {
        ensure(!text.trim().is_empty(), || format!("READY's {field} is empty"))?;
    }
    ensure(ready.buffer_policy.is_some(), || {
        "READY does not say whose the read buffers are (buffer_policy)".into()
    })?;
    ensure(ready.workers >= 1, || "READY's workers is 0".into())?;
    if let Some(target) = catalog::find(&ready.target) {
        tells("model", ready.model, target.model)?;
        tells("runtime", ready.runtime.as_str(), target.runtime)?;
        tells("io_interface", ready.io_interface, target.io_interface)?;
    }
    Ok(Some(format!(
        "{} {}, {}",
        ready.runtime, ready.runtime_version, ready.accept_model
    )))
}

fn ready_tells_the_defaults(server: &mut Server) -> Verdict {
    let ready = server.ready()?;
    tells("nodelay", ready.nodelay, true)?;
    tells("backlog", ready.backlog, 4096)?;
    tells("buffer_bytes", ready.buffer_bytes, 16 * 1024)?;
    tells("drain_timeout_ms", ready.drain_timeout_ms, 10_000)?;
    tells("max_connections", ready.max_connections, None)?;
    tells("idle_timeout_ms", ready.idle_timeout_ms, None)?;
    tells("work_ns", ready.work_ns, 0)?;
    tells("work_source", ready.work_source.clone(), None)?;
    tells("cpus", ready.cpus.clone(), None)?;
    congestion_control_does_not_pace(&ready)
}

/// bbr paces even on loopback, so loss-based control is used wherever the system permits one.
fn congestion_control_does_not_pace(ready: &Ready) -> Verdict {
    const WANTED: [&str; 2] = ["cubic", "reno"];
    let used = ready.congestion_control.as_str();
    let permitted = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_allowed_congestion_control").unwrap_or_default();
    let could = permitted.split_whitespace().any(|name| WANTED.contains(&name));
    ensure(WANTED.contains(&used) || (!could && !used.is_empty()), || {
        format!(
            "READY's congestion_control is {used:?}, expected cubic or reno; permitted here: {}",
            permitted.trim()
        )
    })?;
    Ok(Some(format!("congestion control {used}")))
}

fn ready_tells_the_flags(server: &mut Server) -> Verdict {
    let ready = server.ready()?;
    tells("buffer_bytes", ready.buffer_bytes, 4096)?;
    tells("backlog", ready.backlog, 100)?;
    tells("max_connections", ready.max_connections, Some(50))?;
    tells("idle_timeout_ms", ready.idle_timeout_ms, Some(20_000))?;
    tells("drain_timeout_ms", ready.drain_timeout_ms, 2_000)?;
    let mut client = server.connect()?;
    client.stream_through(1 << 20, 64 * 1024)?;
    client.finish()?;
    PASSED
}

fn tells<T: PartialEq + Debug>(field: &str, said: T, expected: T) -> Result<(), Fault> {
    ensure(said == expected, || {
        format!("READY's {field} is {said:?}, expected {expected:?}")
    })
}

/// Without NODELAY a server holds its second answer until the client acknowledges the first, which a kernel puts off
/// for 40 ms. A message is longer than the buffer of the server, so that the answer takes it two writes.
fn answers_do_not_wait(server: &mut Server) -> Verdict {
    const MESSAGES: usize = 50;
    const MESSAGE_BYTES: usize = 20_000;
    const STALL: Duration = Duration::from_millis(30);
    let mut client = server.connect()?;
    let mut times = Vec::with_capacity(MESSAGES);
    for _ in 0..MESSAGES {
        let start = Instant::now();
        client.ping(MESSAGE_BYTES)?;
        times.push(start.elapsed());
    }
    client.finish()?;
    times.sort();
    let stalled = times.iter().filter(|&&time| time >= STALL).count();
    let figure = format!(
        "median {:.2} ms, {stalled} of {MESSAGES} took {STALL:?} or more",
        times[MESSAGES / 2].as_secs_f64() * 1e3
    );
    ensure(stalled <= MESSAGES / 5, || {
        format!("{figure}: is TCP_NODELAY set on accepted sockets?")
    })?;
    Ok(Some(figure))
}

fn idle_timeout_ends_the_idle(server: &mut Server) -> Verdict {
    const IDLE: Duration = Duration::from_secs(1);
    const PACE: Duration = Duration::from_millis(100);
    if server.profile.clients_at_once < 2 {
        return Err(Fault::NotChecked("the server takes one client at a time".into()));
    }
    let (mut idle, mut active) = (server.connect()?, server.connect()?);
    idle.ping(1)?;
    idle.set_nonblocking(true)?;
    let start = Instant::now();
    let deadline = Deadline::after(server.profile.patience);
    let mut ended = None;
    let (mut last_sent, mut longest_gap) = (start, Duration::ZERO);
    // The active one must outlive the limit twice.
    while ended.is_none() || start.elapsed() < 2 * IDLE + IDLE / 2 {
        longest_gap = longest_gap.max(last_sent.elapsed());
        last_sent = Instant::now();
        active.ping(1).map_err(|fault| gap_or(fault, longest_gap, IDLE))?;
        if ended.is_none() && idle.receiver.look()? == super::client::Look::Fin {
            ended = Some(start.elapsed());
        }
        if deadline.remaining().is_none() {
            return Err(failed(format!(
                "an idle client was not ended within {:?}",
                server.profile.patience
            )));
        }
        std::thread::sleep(PACE);
    }
    active.finish()?;
    let ended = ended.unwrap_or_default();
    ensure(ended >= IDLE / 2, || {
        format!("an idle client was ended after {ended:?} already, expected 1 s")
    })?;
    Ok(Some(format!("after {:.2} s", ended.as_secs_f64())))
}

/// A check that was itself held up by the machine has no case against the server.
fn gap_or(fault: Fault, longest_gap: Duration, idle: Duration) -> Fault {
    if longest_gap >= idle * 3 / 4 {
        Fault::NotChecked(format!("this machine paused the active client for {longest_gap:?}"))
    } else {
        fault
    }
}

const WORK_MESSAGES: u32 = 20;
const WORK: Duration = Duration::from_millis(5);

fn work_burns_cpu(server: &mut Server) -> Verdict {
    tells("work_ns", server.ready()?.work_ns, 5_000_000)?;
    let burnt = cpu_of_messages(server)?;
    // One tick less, where the system counts CPU time in ticks of 10 ms.
    ensure(burnt + Duration::from_millis(10) >= WORK * WORK_MESSAGES, || {
        format!(
            "{WORK_MESSAGES} reads cost {burnt:?} of CPU, expected {:?}",
            WORK * WORK_MESSAGES
        )
    })?;
    Ok(Some(format!(
        "{:.1} ms for each read",
        (burnt / WORK_MESSAGES).as_secs_f64() * 1e3
    )))
}

fn work_is_for_its_source_only(server: &mut Server) -> Verdict {
    tells("work_source", server.ready()?.work_source, Some("127.0.0.2".into()))?;
    let burnt = cpu_of_messages(server)?;
    ensure(burnt < WORK * WORK_MESSAGES / 2, || {
        format!("{WORK_MESSAGES} reads from another address cost {burnt:?} of CPU, expected next to nothing")
    })?;
    PASSED
}

fn cpu_of_messages(server: &mut Server) -> Result<Duration, Fault> {
    let mut client = server.connect()?;
    client.ping(1)?;
    let before = server.cpu_time()?;
    (0..WORK_MESSAGES).try_for_each(|_| client.ping(1))?;
    let burnt = server.cpu_time()?.saturating_sub(before);
    client.finish()?;
    Ok(burnt)
}
