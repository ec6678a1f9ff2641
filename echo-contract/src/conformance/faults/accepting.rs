//! Rows about accepting: out of descriptors, clients that vanish before they are accepted, the most connections.

use super::answers::beside;
use super::{Part, Row};
use crate::conformance::fault::Verdict;
use crate::conformance::isolation::another_is_served;
use crate::conformance::server::Server;
use crate::conformance::{Check, Setting};
use std::time::{Duration, Instant};

pub(super) const OUT_OF_DESCRIPTORS: Row = Row {
    number: 1,
    title: "accept: out of descriptors",
    does: "200 clients come to a server with 64 descriptors, stay, and then some leave",
    asked: "at most 5 % of a CPU while it is full, at most 100 failed accepts and about one line a second; those who are \
            served go on; who waits is served as soon as others leave",
    parts: &[
        Part::contract("out of descriptors the server rests, and its clients do not notice"),
        Part::contract("out of descriptors waiting clients are served as soon as others leave"),
    ],
};

pub(super) const ABORTED_CONNECTIONS: Row = Row {
    number: 2,
    title: "accept: aborted connections",
    does: "2,000 clients (10,000 in the long form) or more, for a second at least, connect and reset at once, mostly before they \
           are accepted",
    asked: "another client's p99 stays below 5 ms; the server lives",
    parts: &[Part::own(Check {
        name: "clients that reset before they are accepted hold up nobody",
        setting: Setting::Sockets,
        make: aborted_connections,
    })],
};

pub(super) const MOST_CONNECTIONS: Row = Row {
    number: 14,
    title: "most connections",
    does: "15 clients, then 100 at once, come to a server with --max-connections 10",
    asked: "exactly 10 are served, each other one gets a FIN and is counted, and a place that comes free is given to one",
    parts: &[
        Part::contract("with --max-connections 10 exactly 10 of 15 clients are served and 5 get a FIN"),
        Part::contract("when one of 10 leaves, one more is served, and no second one"),
        Part::contract("STATS counts the served and the refused apart"),
        Part::contract("of 100 clients at once 10 are served and 90 get a FIN, and keep nobody out though they stay"),
    ],
};

fn aborted_connections(server: &mut Server) -> Verdict {
    const LIMIT: Duration = Duration::from_millis(5);
    /// Of fewer than a hundred answers the slowest would be the p99.
    const LEAST_TIME: Duration = Duration::from_secs(1);
    let means = server.means()?;
    let least = server.profile.scale.pick(2_000, 10_000);
    let (count, answers) = beside(server, |server| {
        let (start, mut count) = (Instant::now(), 0);
        while count < least || start.elapsed() < LEAST_TIME {
            let client = server.connect()?;
            means.reset_on_close(client.stream())?;
            count += 1;
        }
        Ok(count)
    })?;
    another_is_served(server, &format!("{count} aborted connections"))?;
    answers.expect_p99(LIMIT)?;
    Ok(Some(format!("{count} aborted; {}", answers.figure())))
}
