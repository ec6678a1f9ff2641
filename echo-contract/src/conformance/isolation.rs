//! Rule 3: one connection's trouble changes nothing for another, and a slow reader stops being read from.

use super::client::{Client, Look, push_all};
use super::fault::{Fault, LOOK_AGAIN, PASSED, Verdict, ensure, until};
use super::server::Server;
use super::{Check, Setting, limits};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

pub(super) const KIB: u64 = 1024;
pub(super) const MIB: u64 = 1024 * KIB;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "a slow reader stops being read from and loses nothing",
        setting: Setting::Sockets,
        make: slow_reader_stops_being_read_from,
    },
    Check {
        name: "clients that write and never read do not hold up another",
        setting: Setting::Sockets,
        make: beside_clients_that_never_read,
    },
    Check {
        name: "idle clients do not hold up another",
        setting: Setting::Sockets,
        make: beside_idle_clients,
    },
    Check {
        name: "clients that send a byte at a time do not hold up another",
        setting: Setting::Sockets,
        make: beside_dribblers,
    },
    Check {
        name: "500 resets do not hold up another client",
        setting: Setting::Sockets,
        make: beside_a_storm_of_resets,
    },
    Check {
        name: "clients that stream without pause do not hold up another",
        // Slow enough that any machine keeps it busy, with buffers small enough that bytes are always left.
        setting: Setting::flags(&["--work", "50us", "--buffer-size", "1KiB"]),
        make: beside_clients_that_never_pause,
    },
    limits::SLOW_READERS_COST_A_BUFFER_EACH,
    Check {
        name: "clients in trouble leave no descriptor and no child behind",
        setting: Setting::PROCESS,
        make: trouble_leaves_nothing_behind,
    },
];

/// What lies between two user programs is the kernel's: two send and two receive buffers, about 8 MiB on a stock
/// Linux where a sender may use 4 MiB. A server that reads on without bound takes everything.
const MOST_ABSORBED_BYTES: u64 = 64 * MIB;

fn slow_reader_stops_being_read_from(server: &mut Server) -> Verdict {
    const QUIET: Duration = Duration::from_secs(1);
    let mut clients = [server.connect()?];
    let settled = push_all(&mut clients, MOST_ABSORBED_BYTES, QUIET, server.profile.patience)?;
    let [mut client] = clients;
    let absorbed = client.sender.sent;
    ensure(settled && absorbed < MOST_ABSORBED_BYTES, || {
        format!("{absorbed} B were taken from a client that reads nothing, and the server would take more")
    })?;
    client.finish()?;
    Ok(Some(format!("{} KiB in buffers", absorbed / KIB)))
}

fn beside_clients_that_never_read(server: &mut Server) -> Verdict {
    let mut crowd = troubled(server)?;
    stuff(&mut crowd, server)?;
    let slowest = another_is_served(server, &format!("{} clients that never read", crowd.len()))?;
    crowd.iter_mut().try_for_each(Client::finish)?;
    Ok(Some(slowest))
}

fn beside_idle_clients(server: &mut Server) -> Verdict {
    let mut crowd = troubled(server)?;
    let slowest = another_is_served(server, &format!("{} idle clients", crowd.len()))?;
    crowd.iter_mut().try_for_each(Client::finish)?;
    Ok(Some(slowest))
}

fn beside_dribblers(server: &mut Server) -> Verdict {
    let mut crowd = troubled(server)?;
    let beside = format!("{} clients that send a byte at a time", crowd.len());
    let mut slowest = String::new();
    for _ in 0..5 {
        crowd.iter_mut().try_for_each(|client| client.sender.send(1))?;
        slowest = another_is_served(server, &beside)?;
        crowd.iter_mut().try_for_each(|client| client.receiver.expect(1))?;
    }
    crowd.iter_mut().try_for_each(Client::finish)?;
    Ok(Some(slowest))
}

fn beside_a_storm_of_resets(server: &mut Server) -> Verdict {
    const RESETS: usize = 500;
    let wave = some_troubled(server)?.min(50);
    let mut slowest = String::new();
    for _ in 0..RESETS.div_ceil(wave) {
        server.connect_all(wave)?.into_iter().try_for_each(Client::reset)?;
        slowest = another_is_served(server, "a storm of resets")?;
    }
    Ok(Some(slowest))
}

fn beside_clients_that_never_pause(server: &mut Server) -> Verdict {
    const GREEDY: usize = 4;
    let count = some_troubled(server)?.min(GREEDY);
    let mut early = server.connect()?;
    early.ping(64)?;
    let mut greedy = server.connect_all(count)?;
    let is_over = AtomicBool::new(false);
    let (start, used) = (Instant::now(), server.cpu_time()?);
    let answers = thread::scope(|scope| {
        let streaming = scope.spawn(|| {
            let outcome = stream_without_pause(&mut greedy, &is_over);
            is_over.store(true, Relaxed);
            outcome
        });
        let answers = slowest_but_one_percent(server, early, &is_over);
        is_over.store(true, Relaxed);
        let streamed = streaming
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        streamed.and(answers)
    });
    let beside = format!("{count} clients that stream without pause");
    let (waited, answers) = answers.map_err(|fault| fault.when(&format!("beside {beside}")))?;
    let figure = format!("p99 {:.1} ms of {answers} answers", waited.as_secs_f64() * 1e3);
    // What a busy machine keeps from the server is not the server's doing.
    let used = server.cpu_time()?.saturating_sub(used);
    let share = used.div_duration_f64(start.elapsed()).min(1.0);
    ensure(waited.mul_f64(share) <= LONGEST_WAIT, || {
        format!("{figure} beside {beside}, expected at most {LONGEST_WAIT:?}")
    })?;
    Ok(Some(figure))
}

/// Turns of 64 echoes of 50 us each for every greedy client make 13 ms, and tokio looks for news after 61 turns: 0.2 s.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Fills all buffers and reads what comes, until told.
fn stream_without_pause(clients: &mut [Client], is_over: &AtomicBool) -> Result<(), Fault> {
    clients.iter().try_for_each(|client| client.set_nonblocking(true))?;
    while !is_over.load(Relaxed) {
        let mut has_moved = false;
        for client in clients.iter_mut() {
            has_moved |= client.sender.push(client.sender.sent + 256 * KIB)?;
            let before = client.receiver.received;
            ensure(client.receiver.look()? != Look::Fin, || {
                "FIN before the client's".into()
            })?;
            has_moved |= client.receiver.received > before;
        }
        if !has_moved {
            thread::sleep(LOOK_AGAIN);
        }
    }
    Ok(())
}

/// The answers to a client that was there before, and to one that comes now.
fn slowest_but_one_percent(
    server: &mut Server,
    early: Client,
    is_over: &AtomicBool,
) -> Result<(Duration, usize), Fault> {
    const WINDOW: Duration = Duration::from_secs(2);
    let start = Instant::now();
    let mut clients = vec![early];
    let mut answers = Vec::new();
    while start.elapsed() < WINDOW && !is_over.load(Relaxed) {
        for client in &mut clients {
            let sent = Instant::now();
            client.ping(64)?;
            answers.push(sent.elapsed());
        }
        if clients.len() == 1 {
            clients.push(server.connect()?);
        }
        thread::sleep(LOOK_AGAIN);
    }
    answers.sort_unstable();
    let slowest = answers.get((answers.len() * 99 / 100).min(answers.len().saturating_sub(1)));
    Ok((slowest.copied().unwrap_or_default(), answers.len()))
}

/// Every kind of trouble at once; afterwards the server holds what it held before.
fn trouble_leaves_nothing_behind(server: &mut Server) -> Verdict {
    let before = holdings_at_rest(server)?;
    let mut crowd = troubled(server)?;
    let quarter = crowd.len().div_ceil(4);
    stuff(&mut crowd[..quarter], server)?;
    for client in crowd.iter_mut().skip(quarter).take(quarter) {
        client.sender.send(1)?;
    }
    // A client that was stuffed waits for its echo and is not reset: one alone is of one kind only.
    for client in crowd.drain(quarter.max(crowd.len() - quarter)..) {
        client.reset()?;
    }
    another_is_served(server, "every kind of trouble")?;
    drop(crowd);
    returns_to(server, before, "clients in trouble")
}

/// Expects the server to hold no more than `before` once its clients have left.
pub(super) fn returns_to(server: &mut Server, before: (usize, usize), after: &str) -> Verdict {
    let mut now = before;
    let settled = server.until(|server| {
        now = holdings(server)?;
        Ok(now.0 <= before.0 && now.1 <= before.1)
    })?;
    ensure(settled.is_some(), || {
        format!(
            "{} descriptors and {} children before {after}, {} and {} after they had left",
            before.0, before.1, now.0, now.1
        )
    })?;
    PASSED
}

/// Descriptors and children of a server that has served one client and has none.
pub(super) fn holdings_at_rest(server: &mut Server) -> Result<(usize, usize), Fault> {
    let at_start = holdings(server)?;
    let mut client = server.connect()?;
    client.ping(64)?;
    client.finish()?;
    drop(client);
    // A runtime may open descriptors for good with its first client, so what is there after a while counts.
    until(Duration::from_secs(1), || {
        holdings(server).map(|now| now.0 <= at_start.0 && now.1 <= at_start.1)
    })?;
    holdings(server)
}

fn holdings(server: &mut Server) -> Result<(usize, usize), Fault> {
    Ok((server.descriptors()?, server.children()?.len()))
}

/// Serves one more client from connect to FIN; its slowest answer, as a figure.
pub(super) fn another_is_served(server: &mut Server, beside: &str) -> Result<String, Fault> {
    let mut slowest = Duration::ZERO;
    let mut serve = || {
        let start = Instant::now();
        let mut client = server.connect()?;
        for _ in 0..10 {
            let sent = Instant::now();
            client.ping(64)?;
            slowest = slowest.max(sent.elapsed());
        }
        client.stream_through(64 * 1024, 64 * 1024)?;
        client.finish()?;
        slowest = slowest.max(start.elapsed() / 12);
        Ok(())
    };
    serve().map_err(|fault: Fault| fault.when(&format!("beside {beside}")))?;
    Ok(format!(
        "the other's slowest answer {:.1} ms",
        slowest.as_secs_f64() * 1e3
    ))
}

/// Connected clients, as many as the profile lets be in trouble.
fn troubled(server: &mut Server) -> Result<Vec<Client>, Fault> {
    let count = some_troubled(server)?;
    server.connect_all(count)
}

pub(super) fn some_troubled(server: &Server) -> Result<usize, Fault> {
    match server.profile.troubled_clients {
        0 => Err(Fault::NotChecked("the server takes one client at a time".into())),
        count => Ok(count),
    }
}

/// Writes without reading: into a few clients until nothing more fits, into the others enough to owe them something.
/// Each full one holds about 8 MiB of kernel memory.
fn stuff(crowd: &mut [Client], server: &Server) -> Result<(), Fault> {
    const FULL: usize = 8;
    const QUIET: Duration = Duration::from_millis(200);
    let (full, others) = crowd.split_at_mut(FULL.min(crowd.len()));
    push_all(full, 16 * MIB, QUIET, server.profile.patience)?;
    push_all(others, 256 * KIB, QUIET, server.profile.patience)?;
    Ok(())
}
