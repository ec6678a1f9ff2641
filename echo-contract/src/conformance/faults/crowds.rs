//! Rows about crowds: who never reads, who hardly writes, who resets, who only ever says SYN.

use super::answers::beside;
use super::holdups::{Watch, within};
use super::{Part, Row};
use crate::conformance::admission::MESSAGE_BYTES;
use crate::conformance::client::{Client, Look, push_all};
use crate::conformance::fault::{Deadline, Fault, LOOK_AGAIN, Verdict, ensure, failed, until};
use crate::conformance::isolation::{KIB, MIB, another_is_served, holdings_at_rest, returns_to, some_troubled};
use crate::conformance::server::Server;
use crate::conformance::{Check, Setting, Signal};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

pub(super) const SLOW_READERS: Row = Row {
    number: 10,
    title: "slow readers, bounded memory",
    does: "50 clients (1,000 in the long form) write through small socket buffers without reading until nothing more is \
           taken (1 MiB each in the long form), and then read everything",
    asked: "the server stops reading from them; at most 64 KiB of its memory for each; another client's p99 at most twice what \
            it was, or 5 ms; every byte is delivered at last",
    parts: &[
        Part::contract("a slow reader stops being read from and loses nothing"),
        Part::own(Check {
            name: "a crowd that never reads delays nobody and gets all its bytes at last",
            setting: Setting::Sockets,
            make: |server| a_crowd_that_never_reads(server, false),
        }),
        Part::own(Check {
            name: "each of a crowd that never reads costs the server at most 64 KiB",
            setting: Setting::PROCESS,
            make: |server| a_crowd_that_never_reads(server, true),
        }),
    ],
};

pub(super) const SLOW_AND_IDLE: Row = Row {
    number: 11,
    title: "slow and idle clients",
    does: "50 clients (500 in the long form) that send a byte every half second and as many that send nothing, at a server with \
           --idle-timeout 2s",
    asked: "the idle ones get a FIN after 2 s, give or take 1 s; the slow ones stay and get their bytes; another client's p99 at \
            most twice what it was, or 5 ms",
    parts: &[
        Part::contract("idle clients do not hold up another"),
        Part::contract("clients that send a byte at a time do not hold up another"),
        Part::own(Check {
            name: "with --idle-timeout 2s the idle of a crowd are ended and the slow are kept",
            setting: Setting::flags(&["--idle-timeout", "2s"]),
            make: slow_and_idle,
        }),
    ],
};

pub(super) const RESETS: Row = Row {
    number: 12,
    title: "a storm of resets",
    does: "2,000 clients (50,000 in the long form), up to 100 at a time, connect, send 64 B and reset",
    asked: "the server lives and serves meanwhile; a second later it holds no descriptor and no child more than before; about one \
            line on stderr a second",
    parts: &[
        Part::contract("500 resets do not hold up another client"),
        Part::own(Check {
            name: "a storm of resets leaves no descriptor and few lines behind",
            setting: Setting::PROCESS,
            make: resets,
        }),
    ],
};

pub(super) const SYN_FLOOD: Row = Row {
    number: 13,
    title: "a flood of SYNs",
    does: "10,000 SYNs a second from addresses that never answer, for 2 s (20 s in the long form), in a network of the row's own",
    asked: "at least 99 % of the clients that mean it are connected and echoed to",
    parts: &[Part::own(Check {
        name: "beside a flood of SYNs 99 % of the clients are served",
        setting: Setting::PROCESS,
        make: syn_flood,
    })],
};

/// With its cost, or beside a client that behaves: a look at the memory of a thousand processes takes a CPU for a while.
fn a_crowd_that_never_reads(server: &mut Server, is_weighed: bool) -> Verdict {
    /// They make a server touch what it has for all.
    const FIRST: usize = 4;
    const MOST_EACH: u64 = 64 * KIB;
    const FLOOR: Duration = Duration::from_millis(5);
    let most = server.profile.clients_at_once.saturating_sub(1);
    let count = some_troubled(server)?
        .min(most)
        .min(server.profile.scale.pick(50, 1_000));
    if !is_weighed {
        let (clients, answers) = beside(server, |server| stuffed(server, count))?;
        answers.expect_as_before(FLOOR)?;
        let bytes = read_all(clients)?;
        return Ok(Some(format!(
            "{count} clients, {} KiB taken from each; {}",
            bytes / KIB / count.max(1) as u64,
            answers.figure()
        )));
    }
    let mut clients = stuffed(server, count.min(FIRST))?;
    let more = count - clients.len();
    if more == 0 {
        return Err(Fault::NotChecked("the server takes too few clients at a time".into()));
    }
    let before = server.memory_bytes()?;
    clients.extend(stuffed(server, more)?);
    let each = server.memory_bytes()?.saturating_sub(before) / more as u64;
    read_all(clients)?;
    let figure = format!("{} KiB for each of {more}", each / KIB);
    ensure(each <= MOST_EACH, || {
        format!("{figure}, expected at most {} KiB", MOST_EACH / KIB)
    })?;
    Ok(Some(figure))
}

/// Clients that have filled their small buffers and read nothing.
fn stuffed(server: &mut Server, count: usize) -> Result<Vec<Client>, Fault> {
    const SEND_BUFFER_BYTES: usize = 4096;
    /// Below the largest segment of loopback (64 KiB) the kernel halts for 200 ms at each turn.
    const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;
    const QUIET: Duration = Duration::from_millis(500);
    /// Not the profile's patience, which is little where a failure is expected: an expected one would be shown by haste alone.
    const LONGEST: Duration = Duration::from_secs(15);
    // The kernel holds up to 8 MiB for each; for a thousand that would be all of a machine's memory.
    let most_bytes = server.profile.scale.pick(16, 1) as u64 * MIB;
    let means = server.means()?;
    let mut clients = server.connect_all(count)?;
    for client in &mut clients {
        means.limit_send_buffer(client.stream(), SEND_BUFFER_BYTES)?;
        means.limit_receive_buffer(client.stream(), RECEIVE_BUFFER_BYTES)?;
        client.ping(MESSAGE_BYTES)?;
    }
    let settled = push_all(&mut clients, most_bytes, QUIET, LONGEST)?;
    ensure(settled, || {
        format!("the server still took bytes from clients that read nothing after {LONGEST:?}")
    })?;
    Ok(clients)
}

/// All that they are owed, and their ends; how many bytes that were.
fn read_all(mut clients: Vec<Client>) -> Result<u64, Fault> {
    clients.iter_mut().try_for_each(Client::finish)?;
    Ok(clients.iter().map(|client| client.receiver.received).sum())
}

fn slow_and_idle(server: &mut Server) -> Verdict {
    const FLOOR: Duration = Duration::from_millis(5);
    let half = some_troubled(server)?.min(server.profile.clients_at_once.saturating_sub(1)) / 2;
    ensure_some(half)?;
    let ((first, last), answers) = beside(server, |server| {
        let mut idle = server.connect_all(half)?;
        idle.iter_mut().try_for_each(|client| client.ping(1))?;
        let begun = Instant::now();
        let mut slow = server.connect_all(half)?;
        let ends = ends_of_the_idle(&mut idle, &mut slow, begun, server.profile.patience)?;
        slow.iter_mut().try_for_each(Client::finish)?;
        Ok(ends)
    })?;
    let figure = format!(
        "{half} idle ones ended after {:.2} to {:.2} s, {half} slow ones kept; {}",
        first.as_secs_f64(),
        last.as_secs_f64(),
        answers.figure()
    );
    let (least, most) = (Duration::from_secs(1), Duration::from_secs(3));
    ensure(first >= least && last <= most, || {
        format!("{figure}, expected 1 to 3 s")
    })?;
    answers.expect_as_before(FLOOR)?;
    Ok(Some(figure))
}

fn ensure_some(count: usize) -> Result<(), Fault> {
    match count {
        0 => Err(Fault::NotChecked("the server takes too few clients at a time".into())),
        _ => Ok(()),
    }
}

/// When the first and the last of them got their FIN, while the slow ones send a byte now and then.
fn ends_of_the_idle(
    idle: &mut [Client],
    slow: &mut [Client],
    begun: Instant,
    patience: Duration,
) -> Result<(Duration, Duration), Fault> {
    const PACE: Duration = Duration::from_millis(500);
    let deadline = Deadline::after(patience);
    let mut ends: Vec<Option<Duration>> = vec![None; idle.len()];
    let mut next_byte = Instant::now();
    idle.iter().try_for_each(|client| client.set_nonblocking(true))?;
    while ends.contains(&None) {
        if Instant::now() >= next_byte {
            next_byte += PACE;
            slow.iter_mut().try_for_each(|client| client.sender.send(1))?;
            slow.iter_mut().try_for_each(|client| client.receiver.expect(1))?;
        }
        for (client, end) in idle.iter_mut().zip(&mut ends).filter(|(_, end)| end.is_none()) {
            if client.receiver.look()? == Look::Fin {
                *end = Some(begun.elapsed());
            }
        }
        if deadline.remaining().is_none() {
            return Err(failed(format!("idle clients were not ended within {patience:?}")));
        }
        thread::sleep(LOOK_AGAIN);
    }
    let ends = ends.into_iter().flatten();
    let (first, last) = (ends.clone().min(), ends.max());
    Ok((first.unwrap_or_default(), last.unwrap_or_default()))
}

fn resets(server: &mut Server) -> Verdict {
    const SOON: Duration = Duration::from_secs(1);
    let means = server.means()?;
    let before = holdings_at_rest(server)?;
    let count = server.profile.scale.pick(2_000, 50_000);
    let wave = some_troubled(server)?.min(100);
    let start = Instant::now();
    for number in 0..count.div_ceil(wave) {
        let mut clients = server.connect_all(wave)?;
        clients
            .iter_mut()
            .try_for_each(|client| client.sender.send(MESSAGE_BYTES))?;
        for client in clients {
            means.reset_on_close(client.stream())?;
        }
        if number % 10 == 0 {
            another_is_served(server, "a storm of resets")?;
        }
    }
    let (watch, ended) = (Watch::start(), Instant::now());
    returns_to(server, before, "a storm of resets")?;
    let took = ended.elapsed();
    let figure = format!(
        "{count} resets, descriptors back after {:.0} ms",
        took.as_secs_f64() * 1e3
    );
    within(took, SOON, watch.end().longest(), &figure)?;
    let (patience, seconds) = (server.profile.patience, start.elapsed().as_secs_f64());
    server.signal(Signal::Terminate)?;
    let exit = server.wait(patience)?;
    let lines = exit.stderr.lines().count();
    ensure(usize_to_f64(lines) <= 3.0 + seconds, || {
        format!("{lines} lines on stderr in {seconds:.1} s, expected about one a second")
    })?;
    Ok(Some(format!("{figure}, {lines} lines")))
}

fn usize_to_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

fn syn_flood(server: &mut Server) -> Verdict {
    const PER_SECOND: u64 = 10_000;
    let means = server.means()?;
    let time = Duration::from_secs(server.profile.scale.pick(2, 20) as u64);
    let (address, flooding) = (server.address, Arc::clone(&means));
    let flood = thread::spawn(move || flooding.flood(address, PER_SECOND, time));
    let start = Instant::now();
    let (mut good, mut bad, mut why) = (0_u32, 0_u32, None);
    // At least as long as the flood, which ends by itself.
    while !flood.is_finished() || start.elapsed() < time {
        match another_echo(server) {
            Ok(()) => good += 1,
            Err(fault) => (bad, why) = (bad + 1, Some(fault)),
        }
        thread::sleep(LOOK_AGAIN);
    }
    let sent = flood.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let figure = format!("{good} of {} served beside {sent} SYNs", good + bad);
    let enough = f64::from(good) >= 0.99 * f64::from(good + bad);
    match why {
        Some(fault) if !enough => Err(fault.when(&format!("{figure}, expected 99 %; the last"))),
        _ => {
            // A flood that did not get through has shown nothing.
            let least = PER_SECOND * time.as_secs() / 4;
            if sent < least {
                return Err(Fault::NotChecked(format!(
                    "only {sent} SYNs could be sent, wanted at least {least}"
                )));
            }
            until(server.profile.patience, || Ok(another_echo(server).is_ok()))?
                .ok_or_else(|| failed("nobody was served after the flood"))?;
            Ok(Some(figure))
        }
    }
}

fn another_echo(server: &mut Server) -> Result<(), Fault> {
    let mut client = server.connect()?;
    client.ping(MESSAGE_BYTES)?;
    client.finish()
}
