//! A server at its limits, for rules 3 to 5: refusals, places and notices cost nobody anything, and what a parent leaves
//! behind changes nothing.

use super::admission::{
    Fate, MESSAGE_BYTES, MOST_CLIENTS, Saturated, TEN, fates, is_served, saturate, ten_can_be_served,
};
use super::client::{Client, push_all};
use super::fault::{Fault, PASSED, Verdict, ensure, failed};
use super::isolation::{KIB, MIB, another_is_served, some_troubled};
use super::server::Server;
use super::stop::{AT_ONCE, clean, stop};
use super::{Check, Setting, Signal, Surroundings};
use std::thread;
use std::time::{Duration, Instant};

pub(super) const A_BURST_IS_REFUSED_AT_ONCE: Check = Check {
    name: "of 100 clients at once 10 are served and 90 get a FIN, and keep nobody out though they stay",
    setting: TEN,
    make: a_burst_is_refused_at_once,
};

pub(super) const A_FREE_PLACE_IS_FREE_AT_ONCE: Check = Check {
    name: "who has seen the end of another's connection finds its place free",
    setting: Setting::flags(&["--max-connections", "1"]),
    make: a_free_place_is_free_at_once,
};

pub(super) const IDLE_CLIENTS_THAT_STAY_KEEP_NO_PLACE: Check = Check {
    name: "clients that were ended for idling and stay keep nobody out",
    setting: Setting::flags(&["--idle-timeout", "1s", "--max-connections", "10"]),
    make: idle_clients_that_stay_keep_no_place,
};

pub(super) const REFUSED_CLIENTS_THAT_STAY_KEEP_NO_DESCRIPTOR: Check = Check {
    name: "with 64 descriptors, 60 refused clients that stay keep no newcomer out",
    setting: Setting::Process {
        arguments: &["--max-connections", "10"],
        nofile: Some(64),
        surroundings: Surroundings::Ordinary,
    },
    make: refused_clients_that_stay_keep_no_descriptor,
};

pub(super) const SLOW_READERS_COST_A_BUFFER_EACH: Check = Check {
    name: "a slow reader that is owed 16 MiB costs the server a buffer and little more",
    setting: Setting::PROCESS,
    make: slow_readers_cost_a_buffer_each,
};

pub(super) const A_CARELESS_PARENT_CHANGES_NOTHING: Check = Check {
    name: "signals that the parent blocked or ignored, and its alarm, change nothing",
    setting: Setting::Process {
        arguments: &["--max-connections", "2"],
        nofile: None,
        surroundings: Surroundings::CarelessParent,
    },
    make: a_careless_parent_changes_nothing,
};

pub(super) const A_FULL_STDERR_HOLDS_NOBODY_UP: Check = Check {
    name: "a full stderr that nobody reads holds up neither clients nor the stop",
    setting: Setting::Process {
        arguments: &[],
        nofile: Some(64),
        surroundings: Surroundings::FullStderr,
    },
    make: a_full_stderr_holds_nobody_up,
};

fn a_burst_is_refused_at_once(server: &mut Server) -> Verdict {
    const BURST: usize = 100;
    ten_can_be_served(server)?;
    let mut clients = server.connect_all(BURST)?;
    let start = Instant::now();
    clients
        .iter_mut()
        .try_for_each(|client| client.sender.send(MESSAGE_BYTES))?;
    let fates = fates(&mut clients, AT_ONCE, None)?;
    let took = start.elapsed();
    let count = |wanted| fates.iter().filter(|&&fate| fate == wanted).count();
    let counts = (count(Fate::Served), count(Fate::Refused), count(Fate::Waiting));
    ensure(counts == (MOST_CLIENTS, BURST - MOST_CLIENTS, 0), || {
        let (served, refused, waiting) = counts;
        format!("{served} served, {refused} refused and {waiting} left waiting for {AT_ONCE:?}, expected 10, 90 and 0")
    })?;
    // The refused stay, and a place comes free.
    let leaver = fates.iter().position(|&fate| fate == Fate::Served).unwrap_or_default();
    clients.swap_remove(leaver).finish()?;
    served_at_once(server, "90 refused clients that stay")?;
    drop(clients);
    Ok(Some(format!("within {:.1} ms", took.as_secs_f64() * 1e3)))
}

fn a_free_place_is_free_at_once(server: &mut Server) -> Verdict {
    const CLIENTS: usize = 200;
    let mut refused = 0;
    for _ in 0..CLIENTS {
        let mut client = server.connect()?;
        if is_served(&mut client)? {
            client.finish()?;
        } else {
            refused += 1;
        }
    }
    ensure(refused == 0, || {
        format!("{refused} of {CLIENTS} clients were refused after the one before had seen its end")
    })?;
    PASSED
}

fn idle_clients_that_stay_keep_no_place(server: &mut Server) -> Verdict {
    let count = server.profile.clients_at_once.min(MOST_CLIENTS);
    let mut idle = server.connect_all(count)?;
    idle.iter_mut().try_for_each(|client| client.ping(MESSAGE_BYTES))?;
    for client in &mut idle {
        client.receiver.expect_rest_and_fin(client.sender.sent)?;
    }
    let took = served_at_once(server, "idle clients that were ended and stay")?;
    drop(idle);
    Ok(Some(format!("after {:.1} ms", took.as_secs_f64() * 1e3)))
}

fn refused_clients_that_stay_keep_no_descriptor(server: &mut Server) -> Verdict {
    const REFUSED: usize = 60;
    ten_can_be_served(server)?;
    let mut served = server.connect_all(MOST_CLIENTS)?;
    served.iter_mut().try_for_each(|client| client.ping(MESSAGE_BYTES))?;
    let mut refused = server.connect_all(REFUSED)?;
    for client in &mut refused {
        let ended = client.receiver.expect_rest_and_fin(0);
        ended.map_err(|fault| fault.when("expected a FIN and no byte for an 11th client"))?;
    }
    for leaver in &mut served {
        leaver.finish()?;
        served_at_once(server, "60 refused clients that stay")?;
    }
    drop(refused);
    PASSED
}

fn slow_readers_cost_a_buffer_each(server: &mut Server) -> Verdict {
    const SLOW: usize = 8;
    /// They make a server touch what it has for all: each of its workers, to one of which the kernel may send them all; of two
    /// workers one is missed in 1 of 2,000 runs.
    const STREAMS: usize = 12;
    const FIRST: usize = 4;
    /// Beside the buffer: a stack's touched pages, a process's own ones.
    const SLACK_BYTES: u64 = 48 * KIB;
    for _ in 0..STREAMS {
        let mut client = server.connect()?;
        client.stream_through(2 << 20, 64 << 10)?;
        client.finish()?;
    }
    let count = some_troubled(server)?.min(FIRST + SLOW);
    let mut slow = owed_much(server, count.min(FIRST))?;
    let more = count - slow.len();
    if more == 0 {
        return Err(Fault::NotChecked("the server takes too few clients at a time".into()));
    }
    let before = server.memory_bytes()?;
    slow.extend(owed_much(server, more)?);
    let each = server.memory_bytes()?.saturating_sub(before) / more as u64;
    drop(slow);
    let most = server.ready()?.buffer_bytes + SLACK_BYTES;
    let figure = format!("{} KiB each", each / KIB);
    ensure(each <= most, || {
        format!("{more} slow readers cost {figure}, expected at most {} KiB", most / KIB)
    })?;
    Ok(Some(figure))
}

/// Clients that have filled every buffer and read nothing.
fn owed_much(server: &mut Server, count: usize) -> Result<Vec<Client>, Fault> {
    const QUIET: Duration = Duration::from_millis(200);
    let mut clients = server.connect_all(count)?;
    clients.iter_mut().try_for_each(|client| client.ping(MESSAGE_BYTES))?;
    push_all(&mut clients, 16 * MIB, QUIET, server.profile.patience)?;
    Ok(clients)
}

fn a_careless_parent_changes_nothing(server: &mut Server) -> Verdict {
    const ALARM_IS_OVER: Duration = Duration::from_millis(1300);
    // Lost seats would show with the third.
    for _ in 0..4 {
        let mut client = server.connect()?;
        client.ping(MESSAGE_BYTES)?;
        client.finish()?;
    }
    let mut client = server.connect()?;
    client.ping(MESSAGE_BYTES)?;
    thread::sleep(ALARM_IS_OVER);
    client.ping(MESSAGE_BYTES)?;
    server.signal(Signal::Terminate)?;
    let ended = client.receiver.expect_rest_and_fin(client.sender.sent);
    ended.map_err(|fault| fault.when("after SIGTERM"))?;
    drop(client);
    let patience = server.profile.patience;
    clean(&server.wait(patience)?).and(PASSED)
}

/// More clients than descriptors make any server say something.
fn a_full_stderr_holds_nobody_up(server: &mut Server) -> Verdict {
    let Saturated { served, waiting } = saturate(server)?;
    drop((served, waiting));
    another_is_served(server, "a full stderr")?;
    stop(server, Signal::Terminate)?;
    PASSED
}

/// Connects and is served, by the first try and soon; how long that took.
fn served_at_once(server: &mut Server, beside: &str) -> Result<Duration, Fault> {
    let start = Instant::now();
    let mut client: Client = server.connect()?;
    let is_served = is_served(&mut client).map_err(|fault| fault.when(&format!("beside {beside}")))?;
    let took = start.elapsed();
    ensure(is_served, || format!("a newcomer was refused beside {beside}"))?;
    if took > AT_ONCE {
        return Err(failed(format!("a newcomer waited {took:?} beside {beside}")));
    }
    Ok(took)
}
