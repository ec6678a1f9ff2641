//! Rows about bytes: pipes that break, reads and writes that are cut, ends of either side.

use super::{Part, Row};
use crate::conformance::client::{Client, push_all};
use crate::conformance::fault::{Fault, PASSED, Verdict, ensure};
use crate::conformance::isolation::{KIB, another_is_served, holdings_at_rest, returns_to, some_troubled};
use crate::conformance::server::Server;
use crate::conformance::{Check, Setting, Signal};
use std::thread;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

pub(super) const BROKEN_PIPES: Row = Row {
    number: 6,
    title: "SIGPIPE, EPIPE",
    does: "200 clients (1,000 in the long form) go away while they are owed 256 KiB, and SIGPIPE is sent to the server",
    asked: "the server lives, and holds no descriptor and no child for them afterwards",
    parts: &[
        Part::own(Check {
            name: "clients that go away while they are owed much end nobody",
            setting: Setting::Sockets,
            make: broken_pipes,
        }),
        Part::own(Check {
            name: "after SIGPIPE and clients that went away the server holds what it held",
            setting: Setting::PROCESS,
            make: broken_pipes_leave_nothing,
        }),
    ],
};

pub(super) const PARTIAL_READS_AND_WRITES: Row = Row {
    number: 7,
    title: "partial reads and writes, EINTR",
    does: "16 MiB (1 GiB in the long form) in writes of 1 B to 64 KiB through send buffers of 4 KiB and receive buffers of 64 KiB, \
           while the server is stopped and continued 100 times a second",
    asked: "every byte comes back, in order",
    parts: &[
        Part::own(Check {
            name: "all bytes come back through small buffers",
            setting: Setting::Sockets,
            make: |server| small_buffers(server, false),
        }),
        Part::own(Check {
            name: "all bytes come back though the server is stopped and continued all the time",
            setting: Setting::PROCESS,
            make: |server| small_buffers(server, true),
        }),
    ],
};

pub(super) const HALF_CLOSE: Row = Row {
    number: 8,
    title: "half-close",
    does: "1 B, 64 KiB and 64 MiB and then a FIN, also behind full buffers and on 1,000 connections at random moments",
    asked: "exactly these bytes, then a FIN, and no reset",
    parts: &[
        Part::contract("an empty connection gets a FIN and no byte"),
        Part::rule(2),
    ],
};

pub(super) const CLOSE_WITH_UNREAD_DATA: Row = Row {
    number: 9,
    title: "close with unread data",
    does: "the server ends connections (refusal, idling, stop) whose clients go on sending",
    asked: "a FIN each time and no reset",
    parts: &[
        Part::contract("a refused client that sends data gets a FIN and no reset"),
        Part::own(Check {
            name: "a client that was ended for idling and sends all the same gets no reset",
            setting: Setting::flags(&["--idle-timeout", "1s"]),
            make: idle_and_then_busy,
        }),
        Part::contract("SIGTERM gives streaming clients an exact prefix of their echo, then a FIN"),
    ],
};

fn broken_pipes(server: &mut Server) -> Verdict {
    let count = server.profile.scale.pick(200, 1_000);
    let wave = some_troubled(server)?.min(50);
    for _ in 0..count.div_ceil(wave) {
        go_away(server, wave)?;
    }
    let figure = another_is_served(server, "clients that went away")?;
    Ok(Some(format!("{count} went away; {figure}")))
}

fn broken_pipes_leave_nothing(server: &mut Server) -> Verdict {
    let before = holdings_at_rest(server)?;
    let wave = some_troubled(server)?.min(50);
    for _ in 0..4 {
        server.send_signal(Signal::Pipe)?;
        go_away(server, wave)?;
    }
    another_is_served(server, "SIGPIPE")?;
    returns_to(server, before, "clients that went away")
}

/// They have unread bytes when they close, so the server meets a reset in the middle of its writing.
fn go_away(server: &mut Server, count: usize) -> Result<(), Fault> {
    const QUIET: Duration = Duration::from_millis(5);
    let mut clients = server.connect_all(count)?;
    push_all(&mut clients, 256 * KIB, QUIET, server.profile.patience).map(drop)
}

fn small_buffers(server: &mut Server, is_stopped: bool) -> Verdict {
    const SEND_BUFFER_BYTES: usize = 4096;
    /// Below the largest segment of loopback (64 KiB) the kernel halts for 200 ms at each turn.
    const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;
    const CLIENTS: usize = 4;
    const PIECE: usize = MIB;
    let means = server.means()?;
    let total = server.profile.scale.pick(16 * MIB, 1024 * MIB);
    let mut clients = server.connect_all(server.profile.clients_at_once.min(CLIENTS))?;
    for client in &clients {
        means.limit_send_buffer(client.stream(), SEND_BUFFER_BYTES)?;
        means.limit_receive_buffer(client.stream(), RECEIVE_BUFFER_BYTES)?;
    }
    let pieces = total.div_ceil(PIECE).div_ceil(clients.len());
    let start = Instant::now();
    let signals = thread::scope(|scope| {
        let streams: Vec<_> = clients
            .iter_mut()
            .enumerate()
            .map(|(number, client)| scope.spawn(move || in_pieces(client, pieces, number)))
            .collect();
        let stormed = if is_stopped {
            stop_and_continue(server, &|| streams.iter().all(|stream| stream.is_finished()))
        } else {
            Ok(0)
        };
        let ends = streams
            .into_iter()
            .map(|stream| stream.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        // All are joined before the first fault is told.
        let ends: Vec<_> = ends.collect();
        ends.into_iter().collect::<Result<(), Fault>>().and(stormed)
    })?;
    clients.iter_mut().try_for_each(Client::finish)?;
    let figure = format!(
        "{} MiB in {:.1} s",
        pieces * clients.len(),
        start.elapsed().as_secs_f64()
    );
    Ok(Some(match signals {
        0 => figure,
        signals => format!("{figure}, {signals} stops"),
    }))
}

fn in_pieces(client: &mut Client, pieces: usize, number: usize) -> Result<(), Fault> {
    const CUTS: [usize; 4] = [64, 4096, 16 * 1024, 64 * 1024];
    (0..pieces).try_for_each(|piece| client.stream_through(MIB, CUTS[(piece + number) % CUTS.len()]))
}

/// How often; the last signal continues it.
fn stop_and_continue(server: &mut Server, is_over: &dyn Fn() -> bool) -> Result<u64, Fault> {
    const STOPPED: Duration = Duration::from_millis(2);
    const RUNNING: Duration = Duration::from_millis(8);
    let mut times = 0;
    while !is_over() {
        server.send_signal(Signal::Stop)?;
        thread::sleep(STOPPED);
        server.send_signal(Signal::Continue)?;
        thread::sleep(RUNNING);
        times += 1;
    }
    Ok(times)
}

fn idle_and_then_busy(server: &mut Server) -> Verdict {
    const QUIET: Duration = Duration::from_millis(300);
    let mut clients = server.connect_all(server.profile.clients_at_once.min(10))?;
    clients.iter_mut().try_for_each(|client| client.ping(64))?;
    for client in &mut clients {
        client.receiver.expect_rest_and_fin(64)?;
        client.sender.send(16 * 1024)?;
    }
    // A reset has no other announcement than its coming.
    thread::sleep(QUIET);
    for client in &mut clients {
        client.sender.send(64)?;
        ensure(!client.sender.was_reset, || "a reset after the server's FIN".into())?;
        client.receiver.expect_no_reset()?;
    }
    PASSED
}
