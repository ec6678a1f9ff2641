//! Rule 4: `--max-connections` is exact, a refusal is a FIN, and a server out of descriptors rests and recovers.

use super::client::{Client, Look};
use super::fault::{Deadline, Fault, LOOK_AGAIN, PASSED, Verdict, ensure, failed};
use super::isolation::{another_is_served, holdings_at_rest, returns_to};
use super::server::Server;
use super::{Check, Setting, Signal, Surroundings, limits};
use std::time::{Duration, Instant};

pub(super) const TEN: Setting = Setting::flags(&["--max-connections", "10"]);
const FEW_DESCRIPTORS: Setting = Setting::Process {
    arguments: &[],
    nofile: Some(64),
    surroundings: Surroundings::Ordinary,
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "with --max-connections 10 exactly 10 of 15 clients are served and 5 get a FIN",
        setting: TEN,
        make: ten_of_fifteen_are_served,
    },
    Check {
        name: "a refused client that sends data gets a FIN and no reset",
        setting: TEN,
        make: refusal_is_no_reset,
    },
    Check {
        name: "when one of 10 leaves, one more is served, and no second one",
        setting: TEN,
        make: one_leaves_one_comes,
    },
    Check {
        name: "STATS counts the served and the refused apart",
        setting: TEN,
        make: refused_are_counted,
    },
    limits::A_BURST_IS_REFUSED_AT_ONCE,
    limits::A_FREE_PLACE_IS_FREE_AT_ONCE,
    limits::IDLE_CLIENTS_THAT_STAY_KEEP_NO_PLACE,
    limits::REFUSED_CLIENTS_THAT_STAY_KEEP_NO_DESCRIPTOR,
    Check {
        name: "out of descriptors the server rests, and its clients do not notice",
        setting: FEW_DESCRIPTORS,
        make: out_of_descriptors,
    },
    Check {
        name: "out of descriptors waiting clients are served as soon as others leave",
        setting: FEW_DESCRIPTORS,
        make: room_again,
    },
    Check {
        name: "1,000 clients that vanish at once do no harm",
        setting: Setting::PROCESS,
        make: vanishing_clients,
    },
];

pub(super) const MOST_CLIENTS: usize = 10;
pub(super) const MESSAGE_BYTES: usize = 64;

fn ten_of_fifteen_are_served(server: &mut Server) -> Verdict {
    ten_can_be_served(server)?;
    let mut clients = fifteen(server)?;
    let (mut served, mut refused): (Vec<_>, Vec<_>) =
        clients.iter_mut().partition(|client| client.receiver.received > 0);
    ensure(served.len() == MOST_CLIENTS, || {
        format!(
            "{} served and {} refused, expected 10 and 5",
            served.len(),
            refused.len()
        )
    })?;
    served.iter_mut().try_for_each(|client| client.ping(MESSAGE_BYTES))?;
    refused
        .iter_mut()
        .try_for_each(|client| client.receiver.expect_no_reset())?;
    PASSED
}

/// The refused go on sending after the server's FIN; only a server that discards until their FIN sends no reset.
fn refusal_is_no_reset(server: &mut Server) -> Verdict {
    const QUIET: Duration = Duration::from_millis(300);
    ten_can_be_served(server)?;
    let mut served = server.connect_all(MOST_CLIENTS)?;
    served.iter_mut().try_for_each(|client| client.ping(MESSAGE_BYTES))?;
    let mut refused = server.connect_all(5)?;
    for client in &mut refused {
        client.sender.send(16 * 1024)?;
    }
    for client in &mut refused {
        let refused = client.receiver.expect_rest_and_fin(0);
        refused.map_err(|fault| fault.when("expected a FIN and no byte for an 11th client"))?;
        client.sender.send(MESSAGE_BYTES)?;
    }
    // A reset has no other announcement than its coming.
    std::thread::sleep(QUIET);
    refused
        .iter()
        .try_for_each(|client| client.receiver.expect_no_reset())?;
    PASSED
}

fn one_leaves_one_comes(server: &mut Server) -> Verdict {
    ten_can_be_served(server)?;
    let mut clients = server.connect_all(MOST_CLIENTS)?;
    clients.iter_mut().try_for_each(|client| client.ping(MESSAGE_BYTES))?;
    ensure(!is_served(&mut server.connect()?)?, || {
        "an 11th client was served".into()
    })?;
    clients.swap_remove(3).finish()?;
    // The leaver's place is free when the server has closed, which may be a moment after its FIN.
    let mut newcomer = None;
    let waited = server.until(|server| {
        let mut client = server.connect()?;
        let served = is_served(&mut client)?;
        newcomer = served.then_some(client);
        Ok(served)
    })?;
    ensure(waited.is_some(), || {
        "one of 10 clients left, and no other was served in its place".into()
    })?;
    ensure(!is_served(&mut server.connect()?)?, || {
        "one of 10 clients left, and two were served in its place".into()
    })?;
    clients.iter_mut().chain(&mut newcomer).try_for_each(Client::finish)?;
    PASSED
}

fn refused_are_counted(server: &mut Server) -> Verdict {
    ten_can_be_served(server)?;
    drop(fifteen(server)?);
    let patience = server.profile.patience;
    server.signal(Signal::Terminate)?;
    let exit = server.wait(patience)?;
    let stats = exit.stats.ok_or_else(|| failed("no STATS line after SIGTERM"))?;
    ensure((stats.accepted, stats.refused) == (10, 5), || {
        format!(
            "STATS: accepted {}, refused {}; expected 10 and 5",
            stats.accepted, stats.refused
        )
    })?;
    PASSED
}

/// Fifteen clients that sent a message each and know whether they are served.
fn fifteen(server: &mut Server) -> Result<Vec<Client>, Fault> {
    let mut clients = server.connect_all(15)?;
    clients
        .iter_mut()
        .try_for_each(|client| client.sender.send(MESSAGE_BYTES))?;
    let fates = fates(&mut clients, server.profile.patience, None)?;
    let waiting = fates.iter().filter(|&&fate| fate == Fate::Waiting).count();
    ensure(waiting == 0, || {
        format!(
            "{waiting} of 15 clients got neither echo nor FIN within {:?}",
            server.profile.patience
        )
    })?;
    Ok(clients)
}

pub(super) fn ten_can_be_served(server: &Server) -> Result<(), Fault> {
    if server.profile.clients_at_once > MOST_CLIENTS {
        return Ok(());
    }
    Err(Fault::NotChecked(format!(
        "the server takes {} clients at a time, the check needs more than 10",
        server.profile.clients_at_once
    )))
}

/// 200 clients, more than 64 descriptors can hold; it does not matter how many get in. Two seconds of rest are measured.
fn out_of_descriptors(server: &mut Server) -> Verdict {
    const WINDOW: Duration = Duration::from_secs(2);
    let start = Instant::now();
    let Saturated { mut served, waiting } = saturate(server)?;
    let cpu_before = server.cpu_time()?;
    let window = Instant::now();
    std::thread::sleep(WINDOW);
    let used = server.cpu_time()?.saturating_sub(cpu_before).as_secs_f64();
    let cpu_percent = 100.0 * used / window.elapsed().as_secs_f64();
    let figure = format!(
        "{} of {CROWD} served, {cpu_percent:.1} % of a CPU at rest",
        served.len()
    );
    // An idle server needs next to none, one that tries 100 times a second less than 2 %; a debug build on a busy machine is
    // given more. A loop that spins on EMFILE takes 90 % and more.
    ensure(cpu_percent <= 5.0, || format!("{figure}, expected at most 5 %"))?;
    served.iter_mut().try_for_each(|client| client.ping(MESSAGE_BYTES))?;
    drop((served, waiting));
    let tries_per_second = tried_and_said_little(server, start)?;
    Ok(Some(format!("{figure}, {tries_per_second:.0} accepts a second failed")))
}

/// Stops the server, and counts the accepts that failed and what it wrote; how many failed in a second.
#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
fn tried_and_said_little(server: &mut Server, start: Instant) -> Result<f64, Fault> {
    /// What all its workers together may try in vain, and what they may try once each before they know.
    const MOST_PER_SECOND: f64 = 100.0;
    const FIRST_TRIES: u64 = 200;
    let patience = server.profile.patience;
    server.signal(Signal::Terminate)?;
    let exit = server.wait(patience)?;
    let (lines, seconds) = (exit.stderr.lines().count(), start.elapsed().as_secs_f64());
    let failed_accepts = exit.stats.map_or(0, |stats| stats.accept_errors);
    let tries_per_second = failed_accepts.saturating_sub(FIRST_TRIES) as f64 / seconds;
    ensure(tries_per_second <= MOST_PER_SECOND, || {
        format!("{failed_accepts} accepts failed in {seconds:.1} s, expected at most 100 a second")
    })?;
    ensure(lines as f64 <= 10.0 + 3.0 * seconds, || {
        format!(
            "{lines} lines on stderr in {seconds:.1} s, expected about one a second; the last: {}",
            exit.stderr.lines().next_back().unwrap_or_default()
        )
    })?;
    Ok(failed_accepts as f64 / seconds)
}

fn room_again(server: &mut Server) -> Verdict {
    const SOON: Duration = Duration::from_secs(2);
    let Saturated {
        mut served,
        mut waiting,
    } = saturate(server)?;
    if waiting.is_empty() {
        return Ok(Some(format!(
            "all {CROWD} were served, each process has a limit of its own"
        )));
    }
    // Some give up while they wait: the server finds them gone when it comes to them.
    waiting.truncate(waiting.len().div_ceil(2));
    let mut leaving = served.split_off(served.len() / 2);
    leaving.iter_mut().try_for_each(Client::finish)?;
    let left = Instant::now();
    drop(leaving);
    let first = server.until(|_| Ok(take_served(&mut waiting, &mut served)? > 0))?;
    let first = first.map(|_| left.elapsed()).filter(|&took| took <= SOON);
    let Some(first) = first else {
        return Err(failed(format!(
            "clients left, and no waiting one was served within {SOON:?}"
        )));
    };
    while !waiting.is_empty() {
        served.drain(..).try_for_each(|mut client| client.finish())?;
        let more = server.until(|_| Ok(take_served(&mut waiting, &mut served)? > 0))?;
        ensure(more.is_some(), || {
            format!("{} clients were never served though all others had left", waiting.len())
        })?;
    }
    drop(served);
    another_is_served(server, "nobody, after being out of descriptors")?;
    Ok(Some(format!("first one after {:.1} ms", first.as_secs_f64() * 1e3)))
}

const CROWD: usize = 200;

/// The clients of a server that had room for no more of them.
pub(super) struct Saturated {
    pub(super) served: Vec<Client>,
    pub(super) waiting: Vec<Client>,
}

pub(super) fn saturate(server: &mut Server) -> Result<Saturated, Fault> {
    /// Longer than any pause between two attempts to accept.
    const QUIET: Duration = Duration::from_secs(1);
    const FEWEST: usize = 10;
    let mut clients = server.connect_all(CROWD)?;
    clients
        .iter_mut()
        .try_for_each(|client| client.sender.send(MESSAGE_BYTES))?;
    let fates = fates(&mut clients, server.profile.patience, Some(QUIET))?;
    let refused = fates.iter().filter(|&&fate| fate == Fate::Refused).count();
    ensure(refused == 0, || {
        format!("{refused} of {CROWD} clients got a FIN instead of waiting for a descriptor")
    })?;
    let (served, waiting): (Vec<_>, Vec<_>) = clients.into_iter().partition(|client| client.receiver.received > 0);
    ensure(served.len() >= FEWEST.min(server.profile.clients_at_once), || {
        format!(
            "only {} of {CROWD} clients were served with 64 descriptors",
            served.len()
        )
    })?;
    Ok(Saturated { served, waiting })
}

/// Moves those that got their answer; how many.
fn take_served(waiting: &mut Vec<Client>, served: &mut Vec<Client>) -> Result<usize, Fault> {
    let fates = fates(waiting, Duration::ZERO, None)?;
    ensure(!fates.contains(&Fate::Refused), || {
        "a waiting client got a FIN instead of an echo".into()
    })?;
    let before = served.len();
    for at in (0..waiting.len()).rev().filter(|&at| fates[at] == Fate::Served) {
        served.push(waiting.swap_remove(at));
    }
    Ok(served.len() - before)
}

/// They close before or while the server takes them, every second one with a message on its way.
fn vanishing_clients(server: &mut Server) -> Verdict {
    const VANISHING: usize = 1000;
    let before = holdings_at_rest(server)?;
    let mut figure = String::new();
    for number in 0..VANISHING {
        let mut client = server.connect()?;
        if number % 2 == 0 {
            client.sender.send(MESSAGE_BYTES)?;
        }
        drop(client);
        if number % 100 == 99 {
            figure = another_is_served(server, "clients that vanish")?;
        }
    }
    returns_to(server, before, "1,000 clients that vanish")?;
    Ok(Some(figure))
}

/// What became of a client that sent one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Waiting,
    Served,
    Refused,
}

/// Looks until no client waits, or none has stopped waiting for `quiet`, or `limit` runs out.
pub(super) fn fates(clients: &mut [Client], limit: Duration, quiet: Option<Duration>) -> Result<Vec<Fate>, Fault> {
    let deadline = Deadline::after(limit);
    let mut last_change = Instant::now();
    let mut fates = vec![Fate::Waiting; clients.len()];
    loop {
        for (client, fate) in clients.iter_mut().zip(&mut fates) {
            if *fate == Fate::Waiting {
                *fate = look_at_fate(client)?;
                if *fate != Fate::Waiting {
                    last_change = Instant::now();
                }
            }
        }
        let quiet_enough = quiet.is_some_and(|quiet| last_change.elapsed() >= quiet);
        if !fates.contains(&Fate::Waiting) || quiet_enough || deadline.remaining().is_none() {
            return Ok(fates);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

fn look_at_fate(client: &mut Client) -> Result<Fate, Fault> {
    client.set_nonblocking(true)?;
    let look = client.receiver.look()?;
    client.set_nonblocking(false)?;
    match (look, client.receiver.received) {
        (Look::Fin, 0) => Ok(Fate::Refused),
        (Look::Fin, received) => Err(failed(format!("FIN after {received} of {MESSAGE_BYTES} B"))),
        (_, received) if received >= client.sender.sent => Ok(Fate::Served),
        (Look::Bytes | Look::Nothing, _) => Ok(Fate::Waiting),
    }
}

/// Whether a new client gets its echo, or else a FIN.
pub(super) fn is_served(client: &mut Client) -> Result<bool, Fault> {
    client.sender.send(MESSAGE_BYTES)?;
    let patience = client.patience();
    match fates(std::slice::from_mut(client), patience, None)?[0] {
        Fate::Served => Ok(true),
        Fate::Refused => Ok(false),
        Fate::Waiting => Err(failed(format!("a client got neither echo nor FIN within {patience:?}"))),
    }
}
