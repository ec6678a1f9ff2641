//! The row about the stop.

use super::{Part, Row};
use crate::conformance::fault::Verdict;
use crate::conformance::payload::Dice;
use crate::conformance::server::Server;
use crate::conformance::stop::stop_streaming;
use crate::conformance::{Check, Setting, Signal};
use std::thread;
use std::time::Duration;

pub(super) const GRACEFUL_STOP: Row = Row {
    number: 15,
    title: "graceful stop",
    does: "SIGTERM at a random moment to a server with 20 streaming clients, 3 times (100 clients, 50 times in the long form); \
           again without clients, with one that never reads, and twice",
    asked: "each client gets an exact prefix of its echo, then a FIN; STATS counts the same bytes; nobody new can connect; exit \
            code 0 within --drain-timeout; a second SIGTERM ends it at once",
    parts: &[
        Part::own(Check {
            name: "SIGTERM at a random moment resets no streaming client and loses no byte",
            setting: Setting::PROCESS,
            make: at_a_random_moment,
        })
        .times(|scale| scale.pick(3, 50) as u64),
        Part::contract("after SIGTERM nobody new can connect"),
        Part::contract("a client that neither reads nor closes does not hold the exit beyond --drain-timeout"),
        Part::contract("a second SIGTERM ends the server at once and not with exit code 0"),
    ],
};

fn at_a_random_moment(server: &mut Server) -> Verdict {
    const LATEST_MS: usize = 300;
    let clients = server.profile.scale.pick(20, 100);
    let moment = Dice::new(server.profile.repetition).between(0, LATEST_MS) as u64;
    stop_streaming(server, Signal::Terminate, clients, &mut |_| {
        thread::sleep(Duration::from_millis(moment));
        Ok(())
    })
}
