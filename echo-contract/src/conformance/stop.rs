//! Rule 5: SIGTERM or SIGINT gives each client an exact prefix of its echo and a FIN, then exit 0 with STATS.

use super::client::{Client, push_all};
use super::fault::{Fault, PASSED, Verdict, ensure, failed, until};
use super::server::{Server, how_ended};
use super::{Check, Exit, Setting, Signal, limits};
use crate::stats::Stats;
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Duration;

const SHORT_DRAIN: Setting = Setting::flags(&["--drain-timeout", "1s"]);

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "without clients SIGTERM ends the server with exit code 0 and STATS",
        setting: Setting::PROCESS,
        make: |server| stop(server, Signal::Terminate).and(PASSED),
    },
    Check {
        name: "STATS tells exactly what the clients did",
        setting: Setting::PROCESS,
        make: stats_are_exact,
    },
    Check {
        name: "SIGTERM gives streaming clients an exact prefix of their echo, then a FIN",
        setting: Setting::PROCESS,
        make: |server| stop_streaming_clients(server, Signal::Terminate),
    },
    Check {
        name: "SIGINT gives streaming clients an exact prefix of their echo, then a FIN",
        setting: Setting::PROCESS,
        make: |server| stop_streaming_clients(server, Signal::Interrupt),
    },
    Check {
        name: "SIGTERM gives idle clients a FIN",
        setting: Setting::PROCESS,
        make: stop_idle_clients,
    },
    Check {
        name: "after SIGTERM nobody new can connect",
        setting: Setting::PROCESS,
        make: nobody_new_after_stop,
    },
    Check {
        name: "a client that neither reads nor closes does not hold the exit beyond --drain-timeout",
        setting: SHORT_DRAIN,
        make: drain_timeout_ends_the_wait,
    },
    Check {
        name: "a second SIGTERM ends the server at once and not with exit code 0",
        setting: Setting::PROCESS,
        make: second_signal_ends_at_once,
    },
    limits::A_CARELESS_PARENT_CHANGES_NOTHING,
    limits::A_FULL_STDERR_HOLDS_NOBODY_UP,
    Check {
        name: "200 short connections leave no zombie and no child behind",
        setting: Setting::PROCESS,
        make: no_zombies,
    },
    Check {
        name: "SIGKILL of the first process leaves nobody behind that serves",
        setting: Setting::PROCESS,
        make: no_orphans,
    },
];

/// How soon is at once, on a machine that is busy with other things.
pub(super) const AT_ONCE: Duration = Duration::from_secs(3);

/// Connections of known length that end before the signal: each figure of STATS is known.
fn stats_are_exact(server: &mut Server) -> Verdict {
    const CLIENTS: u64 = 50;
    let mut bytes = 0;
    for number in 0..CLIENTS {
        let mut client = server.connect()?;
        client.stream_through(usize::try_from(number * 1000).unwrap_or(0), 4096)?;
        client.finish()?;
        bytes += client.sender.sent;
    }
    let stats = stop(server, Signal::Terminate)?;
    let expected = Stats {
        accepted: CLIENTS,
        closed: CLIENTS,
        bytes_in: bytes,
        bytes_out: bytes,
        // The wake-up that ends the last accept may count as one.
        accept_errors: stats.accept_errors,
        // No other figure says how much it must be.
        buffers_bytes: stats.buffers_bytes,
        ..Stats::default()
    };
    ensure(stats == expected, || {
        format!("got {}, expected {}", stats.to_line(), expected.to_line())
    })?;
    PASSED
}

fn stop_streaming_clients(server: &mut Server, signal: Signal) -> Verdict {
    stop_streaming(server, signal, 20, &mut |_| Ok(()))
}

/// Stops a server with so many streaming clients, `before` which something else may be done.
pub(super) fn stop_streaming(
    server: &mut Server,
    signal: Signal,
    clients: usize,
    before: &mut dyn FnMut(&mut Server) -> Result<(), Fault>,
) -> Verdict {
    let count = server.profile.clients_at_once.min(clients);
    let clients = server.connect_all(count)?;
    let received = std::thread::scope(|scope| {
        let (under_way, wait_under_way) = mpsc::channel();
        let streams: Vec<_> = clients
            .into_iter()
            .map(|client| {
                let under_way = under_way.clone();
                scope.spawn(move || stream_until_fin(client, under_way))
            })
            .collect();
        drop(under_way);
        // Ends early when a stream fails before the signal: its sender is dropped.
        let _ = wait_under_way.iter().take(count).count();
        let prepared = before(server);
        // Also where that failed: it ends the streams.
        let signalled = prepared.and(server.signal(signal));
        let received = streams
            .into_iter()
            .map(|stream| stream.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        // All are joined before the first fault is told.
        let received: Vec<_> = received.collect();
        signalled.and_then(|()| received.into_iter().sum::<Result<u64, Fault>>())
    })?;
    let patience = server.profile.patience;
    let stats = clean(&server.wait(patience)?)?;
    ensure(stats.accepted == count as u64, || {
        format!("{count} clients were served, STATS says accepted {}", stats.accepted)
    })?;
    ensure(stats.bytes_out == received, || {
        format!(
            "the clients received {received} B, STATS says bytes_out {}",
            stats.bytes_out
        )
    })?;
    Ok(Some(format!("{count} clients, {} MiB", received >> 20)))
}

/// Writes without end from one thread and reads to the server's FIN in this one; how many bytes came back.
fn stream_until_fin(client: Client, under_way: mpsc::Sender<()>) -> Result<u64, Fault> {
    const UNDER_WAY_BYTES: u64 = 256 * 1024;
    let Client {
        mut sender,
        mut receiver,
    } = client;
    std::thread::scope(|scope| {
        let closer = sender.closer();
        let writer = scope.spawn(move || {
            while sender.send(16 * 1024).is_ok() {}
            sender.was_reset
        });
        let outcome = receiver.expect(UNDER_WAY_BYTES).and_then(|()| {
            let _ = under_way.send(());
            receiver.read_to_fin(None)
        });
        drop(under_way);
        closer.say_fin();
        let was_reset = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        outcome?;
        // The kernel tells a reset once: to the writer or to the reader.
        ensure(!was_reset, || {
            format!(
                "a client was reset instead of getting a FIN, after {} B",
                receiver.received
            )
        })?;
        Ok(receiver.received)
    })
}

fn stop_idle_clients(server: &mut Server) -> Verdict {
    const ACCEPTED_BY_NOW: Duration = Duration::from_millis(500);
    let mut clients = server.connect_all(server.profile.clients_at_once.min(10))?;
    for client in clients.iter_mut().step_by(2) {
        client.ping(64)?;
    }
    // Only who has been accepted is promised a FIN, and nothing tells a silent client that it has been.
    for client in &mut clients {
        client.receiver.expect_silence(ACCEPTED_BY_NOW / 10)?;
    }
    server.signal(Signal::Terminate)?;
    for client in &mut clients {
        client.receiver.expect_rest_and_fin(client.sender.sent)?;
    }
    drop(clients);
    let patience = server.profile.patience;
    clean(&server.wait(patience)?).and(PASSED)
}

fn nobody_new_after_stop(server: &mut Server) -> Verdict {
    let mut staying = server.connect()?;
    staying.ping(64)?;
    server.signal(Signal::Terminate)?;
    let refused = nobody_can_connect(server)?;
    staying.receiver.expect_rest_and_fin(64)?;
    drop(staying);
    let patience = server.profile.patience;
    clean(&server.wait(patience)?)?;
    Ok(Some(format!("after {:.1} ms", refused.as_secs_f64() * 1e3)))
}

/// How soon after the signal a connect fails.
fn nobody_can_connect(server: &Server) -> Result<Duration, Fault> {
    let address = server.address;
    until(AT_ONCE, || Ok(TcpStream::connect_timeout(&address, AT_ONCE).is_err()))?
        .ok_or_else(|| failed(format!("clients could connect {AT_ONCE:?} after SIGTERM")))
}

fn drain_timeout_ends_the_wait(server: &mut Server) -> Verdict {
    const DRAIN: Duration = Duration::from_secs(1);
    let mut idle = server.connect_all(usize::from(server.profile.clients_at_once >= 2))?;
    idle.iter_mut().try_for_each(|client| client.ping(64))?;
    let owed = owed_much(server)?;
    server.signal(Signal::Terminate)?;
    let exit = server.wait(DRAIN + AT_ONCE)?;
    let stats = clean(&exit)?;
    drop((idle, owed));
    Ok(Some(format!("{} B unsent", stats.bytes_unsent)))
}

/// A client that reads nothing keeps the server draining until its timeout of 10 s, so there is something to end.
fn second_signal_ends_at_once(server: &mut Server) -> Verdict {
    let owed = owed_much(server)?;
    server.signal(Signal::Terminate)?;
    // Signals too close together are one, so the second waits until the first has shown; if it shows in another
    // way, after a while.
    let _ = nobody_can_connect(server);
    if server.process()?.wait(Duration::ZERO).is_ok_and(|exit| exit.is_some()) {
        return Err(failed(
            "the server ended at the first SIGTERM, though it owed bytes to a client",
        ));
    }
    server.signal(Signal::Terminate)?;
    let exit = server.wait(AT_ONCE)?;
    drop(owed);
    ensure(exit.code != Some(0), || {
        "exit code 0 after the second SIGTERM, though bytes were owed to a client".into()
    })?;
    Ok(Some(how_ended(&exit)))
}

/// A client that has filled every buffer and reads nothing.
fn owed_much(server: &mut Server) -> Result<[Client; 1], Fault> {
    const MOST_BYTES: u64 = 64 << 20;
    const QUIET: Duration = Duration::from_millis(300);
    let mut clients = [server.connect()?];
    push_all(&mut clients, MOST_BYTES, QUIET, server.profile.patience)?;
    Ok(clients)
}

fn no_zombies(server: &mut Server) -> Verdict {
    const CONNECTIONS: usize = 200;
    let before = server.children()?.len();
    let wave = server.profile.clients_at_once.min(20);
    for _ in 0..CONNECTIONS.div_ceil(wave) {
        let mut clients = server.connect_all(wave)?;
        clients.iter_mut().try_for_each(|client| client.ping(64))?;
        clients.iter_mut().try_for_each(Client::finish)?;
    }
    let mut now = Vec::new();
    let settled = server.until(|server| {
        now = server.children()?;
        Ok(now.len() <= before && now.iter().all(|&(_, state)| state != 'Z'))
    })?;
    ensure(settled.is_some(), || {
        let zombies = now.iter().filter(|&&(_, state)| state == 'Z').count();
        format!(
            "{before} children before, {} after all clients had left, {zombies} of them zombies",
            now.len()
        )
    })?;
    PASSED
}

fn no_orphans(server: &mut Server) -> Verdict {
    let mut clients = server.connect_all(server.profile.clients_at_once.min(5))?;
    clients.iter_mut().try_for_each(|client| client.ping(64))?;
    server.signal(Signal::Kill)?;
    let patience = server.profile.patience;
    server.wait(patience)?;
    for client in &mut clients {
        let ended = client.receiver.expect_end_of_any_kind();
        ended.map_err(|fault| fault.when("a child outlived its killed parent"))?;
    }
    let address = server.address;
    let refused = until(patience, || Ok(TcpStream::connect_timeout(&address, patience).is_err()))?;
    ensure(refused.is_some(), || {
        format!("{address} still takes connections {patience:?} after SIGKILL")
    })?;
    PASSED
}

/// Sends the signal and expects a clean end.
pub(super) fn stop(server: &mut Server, signal: Signal) -> Result<Stats, Fault> {
    let patience = server.profile.patience;
    server.signal(signal)?;
    clean(&server.wait(patience)?)
}

/// Exit code 0, and a STATS line whose sums are right.
pub(super) fn clean(exit: &Exit) -> Result<Stats, Fault> {
    ensure(exit.code == Some(0), || {
        format!("the server ended with {}, expected exit code 0", how_ended(exit))
    })?;
    let stats = exit.stats.ok_or_else(|| failed("exit code 0, but no STATS line"))?;
    ensure(stats.accepted == stats.closed, || {
        format!("STATS: accepted {} and closed {} differ", stats.accepted, stats.closed)
    })?;
    ensure(stats.bytes_in == stats.bytes_out + stats.bytes_unsent, || {
        format!(
            "STATS: bytes_in {} is not bytes_out {} + bytes_unsent {}",
            stats.bytes_in, stats.bytes_out, stats.bytes_unsent
        )
    })?;
    Ok(stats)
}
