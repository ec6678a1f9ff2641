//! Rows about processes and threads that cannot be had, and about those that have ended.

use super::holdups::{Watch, within};
use super::{Part, Row};
use crate::conformance::admission::{Fate, MESSAGE_BYTES, fates, is_served};
use crate::conformance::client::Client;
use crate::conformance::fault::{Fault, LOOK_AGAIN, Verdict, ensure, failed, until};
use crate::conformance::server::Server;
use crate::conformance::stop::{clean, stop_streaming};
use crate::conformance::{Check, Setting, Signal};
use std::thread;
use std::time::{Duration, Instant};

pub(super) const NO_PROCESS_TO_BE_HAD: Row = Row {
    number: 3,
    title: "no process and no thread to be had",
    does: "200 clients come to a server whose control group lets it have 30 more processes and threads; then the limit goes",
    asked: "the server lives and says no panic; who is not served gets a FIN or waits; those who are served go on; a newcomer \
            is served within 100 ms of the end of the limit",
    parts: &[Part::own(Check {
        name: "200 clients at a limit of 30 more processes: no panic, no reset, and an end to it",
        setting: Setting::PROCESS,
        make: a_crowd_at_the_limit,
    })],
};

pub(super) const A_STOP_AT_THE_LIMIT: Row = Row {
    number: 4,
    title: "a stop without a thread to be had",
    does: "SIGTERM comes to a server with 20 streaming clients that may have no further process and no further thread",
    asked: "each client gets an exact prefix of its echo, then a FIN; exit code 0",
    parts: &[Part::own(Check {
        name: "SIGTERM where no further thread can be had resets nobody",
        setting: Setting::PROCESS,
        make: a_stop_at_the_limit,
    })],
};

pub(super) const ZOMBIES: Row = Row {
    number: 5,
    title: "zombies",
    does: "1,000 short connections (10,000 in the long form), 20 at a time, and a look at the children after each 20",
    asked: "no zombie and no child more than before a second after the last one left",
    parts: &[Part::own(Check {
        name: "a second after many short connections there is no zombie and no child left",
        setting: Setting::PROCESS,
        make: zombies,
    })],
};

fn a_crowd_at_the_limit(server: &mut Server) -> Verdict {
    const CROWD: usize = 200;
    const ROOM: u64 = 30;
    const QUIET: Duration = Duration::from_millis(700);
    let mut first = server.connect()?;
    first.ping(MESSAGE_BYTES)?;
    server.limit_processes(Some(ROOM))?;
    let mut clients = server.connect_all(CROWD)?;
    clients
        .iter_mut()
        .try_for_each(|client| client.sender.send(MESSAGE_BYTES))?;
    let fates = fates(&mut clients, server.profile.patience, Some(QUIET))?;
    let count = |wanted| fates.iter().filter(|&&fate| fate == wanted).count();
    let figure = format!(
        "{} of {CROWD} served, {} got a FIN, {} waited",
        count(Fate::Served),
        count(Fate::Refused),
        count(Fate::Waiting)
    );
    for (client, _) in clients
        .iter_mut()
        .zip(&fates)
        .filter(|(_, fate)| **fate == Fate::Served)
    {
        client.ping(MESSAGE_BYTES)?;
    }
    first.ping(MESSAGE_BYTES)?;
    drop(clients);
    let back = served_again(server)?;
    first.finish()?;
    drop(first);
    let patience = server.profile.patience;
    server.signal(Signal::Terminate)?;
    let exit = server.wait(patience)?;
    clean(&exit)?;
    ensure(!exit.stderr.contains("panicked"), || {
        format!("a panic: {}", exit.stderr.lines().next_back().unwrap_or_default())
    })?;
    Ok(Some(format!("{figure}; {back}")))
}

/// Lifts the limit; how soon a newcomer is served.
fn served_again(server: &mut Server) -> Result<String, Fault> {
    const SOON: Duration = Duration::from_millis(100);
    let watch = Watch::start();
    server.limit_processes(None)?;
    let lifted = Instant::now();
    let served = server.until(|server| is_served(&mut server.connect()?))?;
    served.ok_or_else(|| failed("nobody was served after the limit was gone"))?;
    let took = lifted.elapsed();
    let figure = format!("a newcomer {:.1} ms after the limit", took.as_secs_f64() * 1e3);
    within(took, SOON, watch.end().longest(), &figure)?;
    Ok(figure)
}

fn a_stop_at_the_limit(server: &mut Server) -> Verdict {
    stop_streaming(server, Signal::Terminate, 20, &mut |server| {
        server.limit_processes(Some(0))
    })
}

fn zombies(server: &mut Server) -> Verdict {
    const WAVE: usize = 20;
    const SOON: Duration = Duration::from_secs(1);
    let is_zombie = |&(_, state): &(u32, char)| state == 'Z';
    let before = server.children()?.len();
    let wave = server.profile.clients_at_once.min(WAVE);
    let count = server.profile.scale.pick(1_000, 10_000);
    let mut most = 0;
    for _ in 0..count.div_ceil(wave) {
        let mut clients = server.connect_all(wave)?;
        clients.iter_mut().try_for_each(|client| client.ping(MESSAGE_BYTES))?;
        clients.iter_mut().try_for_each(Client::finish)?;
        drop(clients);
        most = most.max(server.children()?.iter().filter(|child| is_zombie(child)).count());
    }
    let watch = Watch::start();
    let mut left = Vec::new();
    let gone = until(server.profile.patience, || {
        left = server.children()?;
        thread::sleep(LOOK_AGAIN);
        Ok(left.len() <= before && !left.iter().any(is_zombie))
    })?;
    let zombies = left.iter().filter(|child| is_zombie(child)).count();
    let gone = gone.ok_or_else(|| {
        failed(format!(
            "{before} children before, {} after {count} connections, {zombies} of them zombies",
            left.len()
        ))
    })?;
    let figure = format!(
        "{count} connections, at most {most} zombies in a look, none after {:.0} ms",
        gone.as_secs_f64() * 1e3
    );
    within(gone, SOON, watch.end().longest(), &figure)?;
    Ok(Some(figure))
}
