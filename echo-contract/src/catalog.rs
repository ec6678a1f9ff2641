//! Every target that can be measured: the single source of names, ports, binaries and arguments.
//!
//! Servers take their identity and default port from here; loadgen takes what to start. A new target is one row.

use Frequency::{Always, AtTimes};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a server handles many clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Model {
    /// Processes made by fork(2).
    Fork,
    /// Operating-system threads.
    Thread,
    /// An event loop or an async runtime.
    Event,
}

impl Model {
    /// The word used in tables and flags.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Thread => "thread",
            Self::Event => "event",
        }
    }
}

/// The kernel interface by which a server learns of clients and moves their bytes. In JSON and in tables the words of
/// [`IoInterface::as_str`].
///
/// More than a label: a row with [`IoInterface::needs_ring`] is held to rule 8 of the echo contract (it holds a ring, or exits
/// with 69 and the reason; never a silent fall-back), is denied its ring by the tests of its package, and runs in the box that
/// permits io_uring (`x-ring` of `docker-compose.yml`: another seccomp profile, and a user id of its own, since locked memory
/// is counted by user).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum IoInterface {
    /// Calls that wait: `accept`, `read`, `write`.
    #[serde(rename = "blocking")]
    Blocking,
    /// Readiness from poll(2), then calls that do not wait.
    #[serde(rename = "poll")]
    Poll,
    /// Readiness from epoll(7), level- or edge-triggered, then calls that do not wait.
    #[serde(rename = "epoll")]
    Epoll,
    /// The ring accepts, receives and sends.
    #[serde(rename = "io_uring")]
    IoUring,
    /// The ring tells of readiness only; bytes move by calls, as on epoll.
    #[serde(rename = "io_uring (readiness only)")]
    IoUringReadiness,
}

impl IoInterface {
    /// The words in READY, records and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocking => "blocking",
            Self::Poll => "poll",
            Self::Epoll => "epoll",
            Self::IoUring => "io_uring",
            Self::IoUringReadiness => "io_uring (readiness only)",
        }
    }

    /// Whether the server cannot run without an io_uring.
    #[must_use]
    pub fn needs_ring(self) -> bool {
        matches!(self, Self::IoUring | Self::IoUringReadiness)
    }
}

impl fmt::Display for IoInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many clients one server of this target can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// As many as the system's limits allow.
    Unbounded,
    /// One client per worker at a time: `--workers` must equal the clients of the workload.
    OnePerWorker,
}

/// When `loadgen compare` runs a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// In the default suite.
    Default,
    /// Only when named or with `--targets all`.
    OnRequest,
}

/// A check of the echo contract that a target fails, and nothing can be done about it here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedFailure {
    /// The check, by its name.
    pub check: &'static str,
    pub frequency: Frequency,
    /// Why it fails, with the figure that was seen.
    pub why: &'static str,
}

/// How often a check fails that is expected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frequency {
    Always,
    AtTimes,
}

/// A named, runnable server set-up.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// The name users type: `fork`, `event-tokio`.
    pub name: &'static str,
    pub model: Model,
    /// The library that schedules the clients: `nix`, `std`, `tokio`.
    pub runtime: &'static str,
    pub io_interface: IoInterface,
    /// The cargo package that builds the binary.
    pub package: &'static str,
    /// File name of the binary.
    pub binary: &'static str,
    /// Arguments that make the binary this target.
    pub arguments: &'static [&'static str],
    /// The port it listens on unless `--port` says otherwise.
    pub port: u16,
    /// The workers it has unless `--workers` says otherwise.
    pub workers: u32,
    /// Threads of an event server that serves, with one worker and with two: what `/proc` shows and the row in
    /// `event-servers/README.md` says. None where clients make the number: a process or a thread each, or a pool.
    pub threads: Option<[usize; 2]>,
    pub capacity: Capacity,
    pub selection: Selection,
    /// Clients may wait behind another's end though workers are idle: the model's nature, and a warning in every table.
    pub may_starve: bool,
    /// Why any check may fail at times where clients come through the proxy of a container's published port; None where none does.
    pub fails_behind_a_proxy: Option<&'static str>,
    /// Checks of the echo contract that it fails by its nature, or by that of its runtime: `loadgen verify` shows them with
    /// the reason and does not count them against it.
    pub expected_failures: &'static [ExpectedFailure],
    /// One line for `loadgen list`.
    pub about: &'static str,
}

/// The kernel deals clients to the workers' own listeners by a hash, and who comes to a busy worker's waits for its client's end.
/// Figures for the 64 workers of `loadgen verify`.
const STARVES: &[ExpectedFailure] = &[
    expected(
        "clients served at the same time each get their own bytes",
        Always,
        "64 clients meet at 41 of 64 listeners, so 23 wait for another's end",
    ),
    expected(
        "1,000 connections half-closed at random moments each get the rest and a FIN",
        Always,
        "of 50 clients at a time on 64 listeners, 15 wait for another's end",
    ),
    expected(
        "a FIN on one connection does not end another",
        AtTimes,
        "two clients meet at one of 64 listeners in 2 of 100 runs",
    ),
    expected(
        "clients that write and never read do not hold up another",
        AtTimes,
        "63 clients keep 40 of 64 workers busy, whose listeners take 63 of 100 newcomers",
    ),
    expected(
        "idle clients do not hold up another",
        AtTimes,
        "63 clients keep 40 of 64 workers busy, whose listeners take 63 of 100 newcomers",
    ),
    expected(
        "clients that send a byte at a time do not hold up another",
        Always,
        "of 63 clients on 64 listeners, 23 wait for another's end",
    ),
    expected(
        "clients that stream without pause do not hold up another",
        AtTimes,
        "of six clients on 64 listeners, two meet at one in 21 of 100 runs",
    ),
    expected(
        "a slow reader that is owed 16 MiB costs the server a buffer and little more",
        AtTimes,
        "of 12 clients on 64 listeners, two meet at one in 66 of 100 runs",
    ),
    expected(
        "clients in trouble leave no descriptor and no child behind",
        Always,
        "of 63 clients on 64 listeners, 23 wait for another's end",
    ),
    expected(
        "with --max-connections 10 exactly 10 of 15 clients are served and 5 get a FIN",
        AtTimes,
        "of 15 clients on 64 listeners, two meet at one in 83 of 100 runs",
    ),
    expected(
        "a refused client that sends data gets a FIN and no reset",
        AtTimes,
        "of 15 clients on 64 listeners, two meet at one in 83 of 100 runs",
    ),
    expected(
        "when one of 10 leaves, one more is served, and no second one",
        AtTimes,
        "of 12 clients on 64 listeners, two meet at one in 66 of 100 runs",
    ),
    expected(
        "STATS counts the served and the refused apart",
        AtTimes,
        "of 15 clients on 64 listeners, two meet at one in 83 of 100 runs",
    ),
    expected(
        "of 100 clients at once 10 are served and 90 get a FIN, and keep nobody out though they stay",
        Always,
        "of 90 to be refused, 14 come to the listener of a worker that serves",
    ),
    expected(
        "clients that were ended for idling and stay keep nobody out",
        AtTimes,
        "of 10 clients on 64 listeners, two meet at one in 52 of 100 runs",
    ),
    expected(
        "with 64 descriptors, 60 refused clients that stay keep no newcomer out",
        Always,
        "of 60 to be refused, 9 come to the listener of a worker that serves",
    ),
    expected(
        "SIGTERM gives streaming clients an exact prefix of their echo, then a FIN",
        Always,
        "of 20 clients on 64 listeners, two meet at one in 96 of 100 runs",
    ),
    expected(
        "SIGINT gives streaming clients an exact prefix of their echo, then a FIN",
        Always,
        "of 20 clients on 64 listeners, two meet at one in 96 of 100 runs",
    ),
    expected(
        "SIGTERM gives idle clients a FIN",
        AtTimes,
        "of 10 clients on 64 listeners, two meet at one in 52 of 100 runs, and who was not accepted is reset",
    ),
    expected(
        "a client that neither reads nor closes does not hold the exit beyond --drain-timeout",
        AtTimes,
        "two clients meet at one of 64 listeners in 2 of 100 runs",
    ),
    expected(
        "200 short connections leave no zombie and no child behind",
        Always,
        "ten times 20 clients on 64 listeners: each time two meet at one in 96 of 100 runs",
    ),
    expected(
        "SIGKILL of the first process leaves nobody behind that serves",
        AtTimes,
        "of five clients on 64 listeners, two meet at one in 15 of 100 runs",
    ),
    expected(
        "--idle-timeout 1s ends an idle client with a FIN and leaves an active one alone",
        AtTimes,
        "two clients meet at one of 64 listeners in 2 of 100 runs",
    ),
    RESETS_WHO_SPEAKS_TOO_LATE,
    expected(
        "SIGTERM where no further thread can be had resets nobody",
        AtTimes,
        "of 20 clients on 64 listeners, two meet at one in 96 of 100 runs",
    ),
    expected(
        "a second after many short connections there is no zombie and no child left",
        AtTimes,
        "50 times 20 clients on 64 listeners: each time two meet at one in 96 of 100 runs",
    ),
    expected(
        "a crowd that never reads delays nobody and gets all its bytes at last",
        AtTimes,
        "of 50 clients on 64 listeners, 15 wait for another's end",
    ),
    expected(
        "each of a crowd that never reads costs the server at most 64 KiB",
        AtTimes,
        "of 50 clients on 64 listeners, 15 wait for another's end",
    ),
    expected(
        "with --idle-timeout 2s the idle of a crowd are ended and the slow are kept",
        AtTimes,
        "of 62 clients on 64 listeners, 22 wait for another's end",
    ),
    expected(
        "SIGTERM at a random moment resets no streaming client and loses no byte",
        AtTimes,
        "of 20 clients on 64 listeners, two meet at one in 96 of 100 runs",
    ),
    expected(
        "three times the load costs no goodput and leaves no queue",
        AtTimes,
        "of 20 clients on 64 listeners, two meet at one in 96 of 100 runs",
    ),
    expected(
        "connections of mixed endings leave no descriptor and no child behind",
        AtTimes,
        "of 20 clients on 64 listeners, two meet at one in 96 of 100 runs",
    ),
    expected(
        "over a long time the server's memory does not grow and its rate does not fall",
        AtTimes,
        "of ten clients on 64 listeners, two meet at one in 52 of 100 runs",
    ),
];

/// Of the fault matrix, in all servers alike: the kit ends who idles by shutting the reading, after which the kernel answers
/// the client's next byte with a reset (ARCHITECTURE.md, "How a server stops").
const RESETS_WHO_SPEAKS_TOO_LATE: ExpectedFailure = expected(
    "a client that was ended for idling and sends all the same gets no reset",
    Always,
    "who idles is ended by shutting the reading, and the kernel answers what comes later with a reset: seen on every target",
);

const EVERY_SERVER: &[ExpectedFailure] = &[RESETS_WHO_SPEAKS_TOO_LATE];

/// tokio-rs/tokio#5866.
const SHORT_READS_MISLEAD_IT: &[ExpectedFailure] = &[
    RESETS_WHO_SPEAKS_TOO_LATE,
    expected(
        "bytes behind an urgent one come back without another segment",
        Always,
        "a read ends before the urgent byte, and tokio takes a short read for an emptied socket (tokio-rs/tokio#5866)",
    ),
];

const A_PROCESS_COSTS_MORE: &[ExpectedFailure] = &[
    RESETS_WHO_SPEAKS_TOO_LATE,
    expected(
        "a slow reader that is owed 16 MiB costs the server a buffer and little more",
        Always,
        "82 KiB: beside its buffer a process has 64 KiB of heap, stack and data that it has written to",
    ),
    expected(
        "each of a crowd that never reads costs the server at most 64 KiB",
        AtTimes,
        "73 KiB: each is a process with a buffer, heap, stack and data of its own",
    ),
];

/// may 0.3.51. Its `yield_now` keeps the coroutine among those that are ready; its `sleep` can corrupt memory (see the row in
/// `event-servers/README.md`).
const LOOKS_FOR_NEWS_WHEN_IDLE: &[ExpectedFailure] = &[
    RESETS_WHO_SPEAKS_TOO_LATE,
    expected(
        "clients that stream without pause do not hold up another",
        AtTimes,
        "may looks at epoll only when no coroutine is ready to run: beside 4 such clients another had no answer in 15 s",
    ),
];

const fn expected(check: &'static str, frequency: Frequency, why: &'static str) -> ExpectedFailure {
    ExpectedFailure { check, frequency, why }
}

/// All targets, in the order of the tables.
pub const TARGETS: &[Target] = &[
    Target {
        name: "fork",
        model: Model::Fork,
        runtime: "nix",
        io_interface: IoInterface::Blocking,
        package: "fork-server",
        binary: "fork-server",
        arguments: &["--strategy", "per-connection"],
        port: 8001,
        workers: 1,
        threads: None,
        capacity: Capacity::Unbounded,
        selection: Selection::Default,
        may_starve: false,
        fails_behind_a_proxy: None,
        expected_failures: A_PROCESS_COSTS_MORE,
        about: "one process per client",
    },
    Target {
        name: "fork-prefork",
        model: Model::Fork,
        runtime: "nix",
        io_interface: IoInterface::Blocking,
        package: "fork-server",
        binary: "fork-server",
        arguments: &["--strategy", "prefork"],
        port: 8014,
        workers: 1,
        threads: None,
        capacity: Capacity::OnePerWorker,
        selection: Selection::OnRequest,
        may_starve: false,
        fails_behind_a_proxy: None,
        expected_failures: EVERY_SERVER,
        about: "a pool of processes that all block in accept; one client each",
    },
    Target {
        name: "thread",
        model: Model::Thread,
        runtime: "std",
        io_interface: IoInterface::Blocking,
        package: "thread-server",
        binary: "thread-server",
        arguments: &["--strategy", "per-connection"],
        port: 8002,
        workers: 1,
        threads: None,
        capacity: Capacity::Unbounded,
        selection: Selection::Default,
        may_starve: false,
        fails_behind_a_proxy: None,
        expected_failures: EVERY_SERVER,
        about: "one thread per client",
    },
    Target {
        name: "thread-pool",
        model: Model::Thread,
        runtime: "std",
        io_interface: IoInterface::Blocking,
        package: "thread-server",
        binary: "thread-server",
        arguments: &["--strategy", "pool"],
        port: 8015,
        workers: 1,
        threads: None,
        capacity: Capacity::OnePerWorker,
        selection: Selection::OnRequest,
        may_starve: false,
        fails_behind_a_proxy: None,
        expected_failures: EVERY_SERVER,
        about: "a pool of threads that all block in accept; one client each",
    },
    Target {
        name: "event-tokio",
        model: Model::Event,
        runtime: "tokio",
        io_interface: IoInterface::Epoll,
        package: "event-servers",
        binary: "event-tokio",
        arguments: &["--strategy", "auto"],
        port: 8003,
        workers: 1,
        threads: Some([1, 3]),
        capacity: Capacity::Unbounded,
        selection: Selection::Default,
        may_starve: false,
        fails_behind_a_proxy: None,
        expected_failures: SHORT_READS_MISLEAD_IT,
        about: "tokio: one task per client on an epoll event loop",
    },
    Target {
        name: "event-async-std",
        model: Model::Event,
        runtime: "async-std",
        io_interface: IoInterface::Epoll,
        package: "event-servers",
        binary: "event-async-std",
        arguments: &[],
        port: 8004,
        workers: 1,
        threads: Some([3, 4]),
        capacity: Capacity::Unbounded,
        selection: Selection::Default,
        may_starve: false,
        fails_behind_a_proxy: None,
        expected_failures: EVERY_SERVER,
        about: "async-std, discontinued in 2025: one task per client on a global executor",
    },
    Target {
        name: "event-smol",
        model: Model::Event,
        runtime: "smol",
        io_interface: IoInterface::Epoll,
        package: "event-servers",
        binary: "event-smol",
        arguments: &[],
        port: 8005,
        workers: 1,
        threads: Some([2, 3]),
        capacity: Capacity::Unbounded,
        selection: Selection::Default,
        may_starve: false,
        fails_behind_a_proxy: None,
        expected_failures: EVERY_SERVER,
        about: "smol: one task per client on one executor",
    },
    Target {
        name: "event-glommio",
        model: Model::Event,
        runtime: "glommio",
        io_interface: IoInterface::IoUringReadiness,
        package: "event-servers",
        binary: "event-glommio",
        arguments: &[],
        port: 8006,
        workers: 1,
        threads: Some([2, 5]),
        capacity: Capacity::Unbounded,
        selection: Selection::Default,
        may_starve: false,
        fails_behind_a_proxy: None,
        expected_failures: EVERY_SERVER,
        about: "glommio: one task per client; the ring tells of readiness, recv and send move bytes",
    },
    Target {
        name: "event-epoll",
        model: Model::Event,
        runtime: "nix",
        io_interface: IoInterface::Epoll,
        package: "event-servers",
        binary: "event-epoll",
        arguments: &[],
        port: 8007,
        workers: 1,
        threads: Some([1, 2]),
        capacity: Capacity::Unbounded,
        selection: Selection::Default,
        may_starve: false,
        fails_behind_a_proxy: None,
        expected_failures: EVERY_SERVER,
        about: "raw epoll: level-triggered readiness, one shared buffer, no runtime",
    },
    Target {
        name: "event-io-uring",
        model: Model::Event,
        runtime: "io-uring",
        io_interface: IoInterface::IoUring,
        package: "event-servers",
        binary: "event-io-uring",
        arguments: &[],
        port: 8008,
        workers: 1,
        threads: Some([1, 3]),
        capacity: Capacity::Unbounded,
        selection: Selection::Default,
        may_starve: false,
        fails_behind_a_proxy: None,
        expected_failures: EVERY_SERVER,
        about: "raw io_uring: multishot accept, shared buffers, no runtime",
    },
    Target {
        name: "event-monoio",
        model: Model::Event,
        runtime: "monoio",
        io_interface: IoInterface::IoUring,
        package: "event-servers",
        binary: "event-monoio",
        arguments: &[],
        port: 8009,
        workers: 1,
        threads: Some([1, 3]),
        capacity: Capacity::Unbounded,
        selection: Selection::OnRequest,
        may_starve: false,
        fails_behind_a_proxy: None,
        expected_failures: EVERY_SERVER,
        about: "monoio: one task per client on io_uring",
    },
    Target {
        name: "event-compio",
        model: Model::Event,
        runtime: "compio",
        io_interface: IoInterface::IoUring,
        package: "event-servers",
        binary: "event-compio",
        arguments: &[],
        port: 8010,
        workers: 1,
        threads: Some([1, 3]),
        capacity: Capacity::Unbounded,
        selection: Selection::OnRequest,
        may_starve: false,
        fails_behind_a_proxy: None,
        expected_failures: EVERY_SERVER,
        about: "compio: one task per client on io_uring",
    },
    Target {
        name: "fork-prefork-lock",
        model: Model::Fork,
        runtime: "nix",
        io_interface: IoInterface::Blocking,
        package: "fork-server",
        binary: "fork-server",
        arguments: &["--strategy", "prefork-lock"],
        port: 8016,
        workers: 1,
        threads: None,
        capacity: Capacity::OnePerWorker,
        selection: Selection::OnRequest,
        may_starve: false,
        fails_behind_a_proxy: None,
        expected_failures: EVERY_SERVER,
        about: "a pool of processes that take turns in accept by a file lock",
    },
    Target {
        name: "fork-prefork-fdpass",
        model: Model::Fork,
        runtime: "nix",
        io_interface: IoInterface::Blocking,
        package: "fork-server",
        binary: "fork-server",
        arguments: &["--strategy", "prefork-fdpass"],
        port: 8017,
        workers: 1,
        threads: None,
        capacity: Capacity::OnePerWorker,
        selection: Selection::OnRequest,
        may_starve: false,
        fails_behind_a_proxy: None,
        expected_failures: EVERY_SERVER,
        about: "a pool of processes; the parent accepts and passes the descriptor",
    },
    Target {
        name: "fork-prefork-reuseport",
        model: Model::Fork,
        runtime: "nix",
        io_interface: IoInterface::Blocking,
        package: "fork-server",
        binary: "fork-server",
        arguments: &["--strategy", "prefork-reuseport"],
        port: 8018,
        workers: 1,
        threads: None,
        capacity: Capacity::OnePerWorker,
        selection: Selection::OnRequest,
        may_starve: true,
        fails_behind_a_proxy: Some(
            "behind a container's proxy clients that are gone keep workers busy, whose listeners take newcomers",
        ),
        expected_failures: STARVES,
        about: "a pool of processes, a listener each: clients starve behind a busy one",
    },
    Target {
        name: "event-poll",
        model: Model::Event,
        runtime: "nix",
        io_interface: IoInterface::Poll,
        package: "event-servers",
        binary: "event-poll",
        arguments: &[],
        port: 8019,
        workers: 1,
        threads: Some([1, 2]),
        capacity: Capacity::Unbounded,
        selection: Selection::OnRequest,
        may_starve: false,
        fails_behind_a_proxy: None,
        expected_failures: EVERY_SERVER,
        about: "one event loop on poll(2), all clients looked at on every turn",
    },
    Target {
        name: "event-mio",
        model: Model::Event,
        runtime: "mio",
        io_interface: IoInterface::Epoll,
        package: "event-servers",
        binary: "event-mio",
        arguments: &[],
        port: 8011,
        workers: 1,
        threads: Some([1, 3]),
        capacity: Capacity::Unbounded,
        selection: Selection::OnRequest,
        may_starve: false,
        fails_behind_a_proxy: None,
        expected_failures: EVERY_SERVER,
        about: "mio: edge-triggered epoll, one shared buffer, a loop of its own",
    },
    Target {
        name: "event-tokio-multi",
        model: Model::Event,
        runtime: "tokio",
        io_interface: IoInterface::Epoll,
        package: "event-servers",
        binary: "event-tokio",
        arguments: &["--strategy", "multi-thread"],
        port: 8012,
        workers: 2,
        threads: Some([2, 3]),
        capacity: Capacity::Unbounded,
        selection: Selection::OnRequest,
        may_starve: false,
        fails_behind_a_proxy: None,
        expected_failures: SHORT_READS_MISLEAD_IT,
        about: "tokio with two work-stealing threads and one listener",
    },
    Target {
        name: "event-tokio-percore",
        model: Model::Event,
        runtime: "tokio",
        io_interface: IoInterface::Epoll,
        package: "event-servers",
        binary: "event-tokio",
        arguments: &["--strategy", "per-core"],
        port: 8013,
        workers: 2,
        threads: Some([1, 3]),
        capacity: Capacity::Unbounded,
        selection: Selection::OnRequest,
        may_starve: false,
        fails_behind_a_proxy: None,
        expected_failures: SHORT_READS_MISLEAD_IT,
        about: "tokio with two single-threaded runtimes and a listener each",
    },
    Target {
        name: "event-may",
        model: Model::Event,
        runtime: "may",
        io_interface: IoInterface::Epoll,
        package: "event-servers",
        binary: "event-may",
        arguments: &[],
        port: 8022,
        workers: 1,
        threads: Some([3, 4]),
        capacity: Capacity::Unbounded,
        selection: Selection::OnRequest,
        may_starve: false,
        fails_behind_a_proxy: None,
        expected_failures: LOOKS_FOR_NEWS_WHEN_IDLE,
        about: "may: one stackful coroutine per client on epoll",
    },
    Target {
        name: "event-tokio-uring",
        model: Model::Event,
        runtime: "tokio-uring",
        io_interface: IoInterface::IoUring,
        package: "event-servers",
        binary: "event-tokio-uring",
        arguments: &[],
        port: 8023,
        workers: 1,
        threads: Some([1, 3]),
        capacity: Capacity::Unbounded,
        selection: Selection::OnRequest,
        may_starve: false,
        fails_behind_a_proxy: None,
        expected_failures: EVERY_SERVER,
        about: "tokio-uring, dormant: one task per client on io_uring, its ring watched by epoll",
    },
];

/// The target with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_and_ports_are_unique() {
        assert_eq!(taken_twice(TARGETS), Vec::<String>::new());
    }

    #[test]
    fn a_name_or_a_port_that_is_taken_is_told_with_who_has_it() {
        let row = |name, port| Target {
            name,
            port,
            ..*find("event-mio").unwrap()
        };
        let rows = [
            row("event-a", 1),
            row("event-b", 2),
            row("event-c", 1),
            row("event-b", 3),
        ];
        assert_eq!(
            taken_twice(&rows),
            [
                "event-c: port 1 is event-a's; take another one, such as 4",
                "event-b: there is a row of that name already",
            ]
        );
    }

    /// What the later of two rows has to change, a sentence each.
    fn taken_twice(rows: &[Target]) -> Vec<String> {
        let free = rows.iter().map(|row| row.port).max().unwrap_or(0) + 1;
        let of_row = |(place, row): (usize, &Target)| {
            let before = &rows[..place];
            let name = before.iter().find(|other| other.name == row.name);
            let port = before.iter().find(|other| other.port == row.port);
            let name = name.map(|_| format!("{}: there is a row of that name already", row.name));
            let port = port.map(|other| {
                let (name, port, owner) = (row.name, row.port, other.name);
                format!("{name}: port {port} is {owner}'s; take another one, such as {free}")
            });
            name.into_iter().chain(port)
        };
        rows.iter().enumerate().flat_map(of_row).collect()
    }

    #[test]
    fn an_io_interface_is_told_in_the_same_words_everywhere() {
        for target in TARGETS {
            let told = serde_json::to_value(target.io_interface).unwrap();
            assert_eq!(told, target.io_interface.to_string());
        }
    }

    #[test]
    fn a_binary_with_its_arguments_is_one_target_only() {
        let set_ups: HashSet<_> = TARGETS.iter().map(|target| (target.binary, target.arguments)).collect();
        assert_eq!(set_ups.len(), TARGETS.len());
    }

    #[test]
    fn the_three_originals_keep_their_ports() {
        let port = |name| find(name).map(|target| target.port);
        assert_eq!(
            [port("fork"), port("thread"), port("event-tokio")],
            [Some(8001), Some(8002), Some(8003)]
        );
    }

    #[test]
    fn a_check_that_is_expected_to_fail_is_a_check_and_is_named_once() {
        let of_rows = crate::conformance::faults::own_checks();
        let checks: HashSet<_> = crate::conformance::checks()
            .map(|(_, name)| name)
            .chain(of_rows)
            .collect();
        for target in TARGETS {
            let named: HashSet<_> = target.expected_failures.iter().map(|failure| failure.check).collect();
            assert_eq!(named.len(), target.expected_failures.len(), "{}", target.name);
            let unknown: Vec<_> = named.difference(&checks).collect();
            assert!(unknown.is_empty(), "{}: {unknown:?}", target.name);
        }
    }

    #[test]
    fn the_default_suite_is_the_eight_of_the_design() {
        let default = TARGETS.iter().filter(|target| target.selection == Selection::Default);
        let names: Vec<_> = default.map(|target| target.name).collect();
        let eight = "fork thread event-tokio event-async-std event-smol event-glommio event-epoll event-io-uring";
        assert_eq!(names.join(" "), eight);
    }

    #[test]
    fn event_rows_are_named_after_their_binary() {
        for target in TARGETS
            .iter()
            .filter(|target| target.model == Model::Event && target.workers == 1)
        {
            assert_eq!(target.name, target.binary);
        }
    }
}
