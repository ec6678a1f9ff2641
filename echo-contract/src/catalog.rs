//! Every target that can be measured: the single source of names, ports, binaries and arguments.
//!
//! Servers take their identity and default port from here; loadgen takes what to start. A new target is one row.

use serde::{Deserialize, Serialize};

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

/// A named, runnable server set-up.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// The name users type: `fork`, `event-tokio`.
    pub name: &'static str,
    pub model: Model,
    /// The library that schedules the clients: `nix`, `std`, `tokio`.
    pub runtime: &'static str,
    /// The kernel interface that moves the bytes: `blocking`, `epoll`, `io_uring`.
    pub io_interface: &'static str,
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
    pub capacity: Capacity,
    pub selection: Selection,
    /// Rules of the echo contract that the model breaks by its nature: `loadgen verify` shows them and does not count
    /// them against it. Empty for all but a warning row.
    pub expected_failures: &'static [u8],
    /// One line for `loadgen list`.
    pub about: &'static str,
}

/// All targets, in the order of the tables.
pub const TARGETS: &[Target] = &[
    Target {
        name: "fork",
        model: Model::Fork,
        runtime: "nix",
        io_interface: "blocking",
        package: "fork-server",
        binary: "fork-server",
        arguments: &["--strategy", "per-connection"],
        port: 8001,
        workers: 1,
        capacity: Capacity::Unbounded,
        selection: Selection::Default,
        expected_failures: &[],
        about: "one process per client",
    },
    Target {
        name: "fork-prefork",
        model: Model::Fork,
        runtime: "nix",
        io_interface: "blocking",
        package: "fork-server",
        binary: "fork-server",
        arguments: &["--strategy", "prefork"],
        port: 8014,
        workers: 1,
        capacity: Capacity::OnePerWorker,
        selection: Selection::OnRequest,
        expected_failures: &[],
        about: "a pool of processes that all block in accept; one client each",
    },
    Target {
        name: "thread",
        model: Model::Thread,
        runtime: "std",
        io_interface: "blocking",
        package: "thread-server",
        binary: "thread-server",
        arguments: &["--strategy", "per-connection"],
        port: 8002,
        workers: 1,
        capacity: Capacity::Unbounded,
        selection: Selection::Default,
        expected_failures: &[],
        about: "one thread per client",
    },
    Target {
        name: "thread-pool",
        model: Model::Thread,
        runtime: "std",
        io_interface: "blocking",
        package: "thread-server",
        binary: "thread-server",
        arguments: &["--strategy", "pool"],
        port: 8015,
        workers: 1,
        capacity: Capacity::OnePerWorker,
        selection: Selection::OnRequest,
        expected_failures: &[],
        about: "a pool of threads that all block in accept; one client each",
    },
    Target {
        name: "event-tokio",
        model: Model::Event,
        runtime: "tokio",
        io_interface: "epoll",
        package: "event-servers",
        binary: "event-tokio",
        arguments: &["--strategy", "auto"],
        port: 8003,
        workers: 1,
        capacity: Capacity::Unbounded,
        selection: Selection::Default,
        expected_failures: &[],
        about: "tokio: one task per client on an epoll event loop",
    },
    Target {
        name: "event-async-std",
        model: Model::Event,
        runtime: "async-std",
        io_interface: "epoll",
        package: "event-servers",
        binary: "event-async-std",
        arguments: &[],
        port: 8004,
        workers: 1,
        capacity: Capacity::Unbounded,
        selection: Selection::Default,
        expected_failures: &[],
        about: "async-std, discontinued in 2025: one task per client on a global executor",
    },
    Target {
        name: "event-smol",
        model: Model::Event,
        runtime: "smol",
        io_interface: "epoll",
        package: "event-servers",
        binary: "event-smol",
        arguments: &[],
        port: 8005,
        workers: 1,
        capacity: Capacity::Unbounded,
        selection: Selection::Default,
        expected_failures: &[],
        about: "smol: one task per client on one executor",
    },
    Target {
        name: "event-glommio",
        model: Model::Event,
        runtime: "glommio",
        io_interface: "io_uring (readiness only)",
        package: "event-servers",
        binary: "event-glommio",
        arguments: &[],
        port: 8006,
        workers: 1,
        capacity: Capacity::Unbounded,
        selection: Selection::Default,
        expected_failures: &[],
        about: "glommio: one task per client; the ring tells of readiness, recv and send move bytes",
    },
    Target {
        name: "event-epoll",
        model: Model::Event,
        runtime: "nix",
        io_interface: "epoll",
        package: "event-servers",
        binary: "event-epoll",
        arguments: &[],
        port: 8007,
        workers: 1,
        capacity: Capacity::Unbounded,
        selection: Selection::Default,
        expected_failures: &[],
        about: "raw epoll: level-triggered readiness, one shared buffer, no runtime",
    },
    Target {
        name: "event-io-uring",
        model: Model::Event,
        runtime: "io-uring",
        io_interface: "io_uring",
        package: "event-servers",
        binary: "event-io-uring",
        arguments: &[],
        port: 8008,
        workers: 1,
        capacity: Capacity::Unbounded,
        selection: Selection::Default,
        expected_failures: &[],
        about: "raw io_uring: multishot accept and receive, shared buffers, no runtime",
    },
    Target {
        name: "event-monoio",
        model: Model::Event,
        runtime: "monoio",
        io_interface: "io_uring",
        package: "event-servers",
        binary: "event-monoio",
        arguments: &[],
        port: 8009,
        workers: 1,
        capacity: Capacity::Unbounded,
        selection: Selection::OnRequest,
        expected_failures: &[],
        about: "monoio: one task per client on io_uring",
    },
    Target {
        name: "event-compio",
        model: Model::Event,
        runtime: "compio",
        io_interface: "io_uring",
        package: "event-servers",
        binary: "event-compio",
        arguments: &[],
        port: 8010,
        workers: 1,
        capacity: Capacity::Unbounded,
        selection: Selection::OnRequest,
        expected_failures: &[],
        about: "compio: one task per client on io_uring",
    },
    Target {
        name: "fork-prefork-lock",
        model: Model::Fork,
        runtime: "nix",
        io_interface: "blocking",
        package: "fork-server",
        binary: "fork-server",
        arguments: &["--strategy", "prefork-lock"],
        port: 8016,
        workers: 1,
        capacity: Capacity::OnePerWorker,
        selection: Selection::OnRequest,
        expected_failures: &[],
        about: "a pool of processes that take turns in accept by a file lock",
    },
    Target {
        name: "fork-prefork-fdpass",
        model: Model::Fork,
        runtime: "nix",
        io_interface: "blocking",
        package: "fork-server",
        binary: "fork-server",
        arguments: &["--strategy", "prefork-fdpass"],
        port: 8017,
        workers: 1,
        capacity: Capacity::OnePerWorker,
        selection: Selection::OnRequest,
        expected_failures: &[],
        about: "a pool of processes; the parent accepts and passes the descriptor",
    },
    Target {
        name: "fork-prefork-reuseport",
        model: Model::Fork,
        runtime: "nix",
        io_interface: "blocking",
        package: "fork-server",
        binary: "fork-server",
        arguments: &["--strategy", "prefork-reuseport"],
        port: 8018,
        workers: 1,
        capacity: Capacity::OnePerWorker,
        selection: Selection::OnRequest,
        expected_failures: &[3],
        about: "a pool of processes, a listener each: clients starve behind a busy one",
    },
    Target {
        name: "event-poll",
        model: Model::Event,
        runtime: "nix",
        io_interface: "poll",
        package: "event-servers",
        binary: "event-poll",
        arguments: &[],
        port: 8019,
        workers: 1,
        capacity: Capacity::Unbounded,
        selection: Selection::OnRequest,
        expected_failures: &[],
        about: "one event loop on poll(2), all clients looked at on every turn",
    },
    Target {
        name: "event-mio",
        model: Model::Event,
        runtime: "mio",
        io_interface: "epoll",
        package: "event-servers",
        binary: "event-mio",
        arguments: &[],
        port: 8011,
        workers: 1,
        capacity: Capacity::Unbounded,
        selection: Selection::OnRequest,
        expected_failures: &[],
        about: "mio: edge-triggered epoll, one shared buffer, a loop of its own",
    },
    Target {
        name: "event-tokio-multi",
        model: Model::Event,
        runtime: "tokio",
        io_interface: "epoll",
        package: "event-servers",
        binary: "event-tokio",
        arguments: &["--strategy", "multi-thread"],
        port: 8012,
        workers: 2,
        capacity: Capacity::Unbounded,
        selection: Selection::OnRequest,
        expected_failures: &[],
        about: "tokio with two work-stealing threads and one listener",
    },
    Target {
        name: "event-tokio-percore",
        model: Model::Event,
        runtime: "tokio",
        io_interface: "epoll",
        package: "event-servers",
        binary: "event-tokio",
        arguments: &["--strategy", "per-core"],
        port: 8013,
        workers: 2,
        capacity: Capacity::Unbounded,
        selection: Selection::OnRequest,
        expected_failures: &[],
        about: "tokio with two single-threaded runtimes and a listener each",
    },
    Target {
        name: "event-may",
        model: Model::Event,
        runtime: "may",
        io_interface: "epoll",
        package: "event-servers",
        binary: "event-may",
        arguments: &[],
        port: 8022,
        workers: 1,
        capacity: Capacity::Unbounded,
        selection: Selection::OnRequest,
        expected_failures: &[],
        about: "may: one stackful coroutine per client on epoll",
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
        let names: HashSet<_> = TARGETS.iter().map(|target| target.name).collect();
        let ports: HashSet<_> = TARGETS.iter().map(|target| target.port).collect();
        assert_eq!((names.len(), ports.len()), (TARGETS.len(), TARGETS.len()));
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
    fn a_rule_that_may_fail_is_a_rule() {
        let known = |number: &u8| crate::conformance::RULES.iter().any(|rule| rule.number == *number);
        assert!(TARGETS.iter().all(|target| target.expected_failures.iter().all(known)));
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
