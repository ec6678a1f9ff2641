//! READY: the first stdout line of a server, printed once the socket listens and every worker can accept.

use crate::catalog::{IoInterface, Model};
use serde::{Deserialize, Serialize};

/// What the process really uses; nothing is chosen silently.
///
/// One JSON object on one line: `{"event":"ready","target":"fork",...}`. Unknown fields are ignored, so a
/// server may say more than an older loadgen knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename = "ready")]
pub struct Ready {
    /// Catalog name of the target.
    pub target: String,
    /// Process id of the first server process.
    pub pid: u32,
    /// Where it listens, as `IP:PORT` (`[IP]:PORT` for IPv6).
    pub address: String,
    pub model: Model,
    /// The library that schedules the clients.
    pub runtime: String,
    /// Its version from the lock file, or the compiler's for `std`.
    pub runtime_version: String,
    /// The kernel interface in use.
    pub io_interface: IoInterface,
    /// How connections reach workers: `shared listener`, `listener per worker (SO_REUSEPORT)`.
    pub accept_model: String,
    /// Worker processes or threads asked for with `--workers`; a per-client model has one acceptor.
    pub workers: u32,
    /// Size of a read buffer, in bytes; `buffer_policy` says whose it is.
    pub buffer_bytes: u64,
    /// Who has a read buffer of `buffer_bytes`; absent in servers that are older than this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer_policy: Option<BufferPolicy>,
    /// Listen backlog asked for; the kernel caps it at `net.core.somaxconn`.
    pub backlog: u32,
    /// TCP congestion control in force on the listener; accepted sockets inherit it.
    pub congestion_control: String,
    /// Whether TCP_NODELAY is set on the listener; accepted sockets inherit it.
    pub nodelay: bool,
    /// `--max-connections`; null means as many as the system allows.
    pub max_connections: Option<u64>,
    /// `--idle-timeout` in milliseconds; null means never.
    pub idle_timeout_ms: Option<u64>,
    /// `--drain-timeout` in milliseconds.
    pub drain_timeout_ms: u64,
    /// `--work`: thread CPU time burnt for each read before echoing, in nanoseconds; 0 is off.
    pub work_ns: u64,
    /// `--work-source`: the only client address that `work_ns` applies to; null means all.
    pub work_source: Option<String>,
    /// CPUs the process is pinned to with `--cpus`; null means not pinned by itself.
    pub cpus: Option<String>,
    /// Descriptor limit (soft, after raising it).
    pub nofile: u64,
    /// The io_uring in use; absent in a server without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring: Option<RingFacts>,
}

/// Who has a read buffer. In JSON and in tables the words of [`BufferPolicy::as_str`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BufferPolicy {
    /// Each connection, from its accept to its end.
    #[serde(rename = "one per connection")]
    PerConnection,
    /// Each worker; a connection has memory of its own only while its client does not read.
    #[serde(rename = "one per worker")]
    PerWorker,
    /// Each worker has a pool that grows with need, and lends a connection one from its receive to its send. How much
    /// memory that was, only the server knows: [`Stats::buffers_bytes`](crate::stats::Stats::buffers_bytes).
    #[serde(rename = "lent from a pool")]
    Pool,
}

impl BufferPolicy {
    /// The words in READY, records and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PerConnection => "one per connection",
            Self::PerWorker => "one per worker",
            Self::Pool => "lent from a pool",
        }
    }
}

/// The rings of a server that uses io_uring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingFacts {
    /// What drives the ring, and with which flags.
    pub driver: String,
    /// Submission entries of each ring, as the kernel gave them.
    pub entries: u32,
    /// Completion entries of each ring, as the kernel gave them.
    pub completions: u32,
}

impl Ready {
    /// The line without its newline.
    ///
    /// # Panics
    /// Never in practice: the struct holds nothing that JSON cannot express.
    #[must_use]
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("a READY line is plain data")
    }

    /// Reads a line.
    ///
    /// # Errors
    /// When the line is not a READY line.
    pub fn from_line(line: &str) -> Result<Self, serde_json::Error> {
        // A tagged struct writes its tag but does not look at it when read; a tagged enum does.
        #[derive(Deserialize)]
        #[serde(tag = "event", rename_all = "lowercase")]
        enum Line {
            Ready(Ready),
        }
        serde_json::from_str(line).map(|Line::Ready(ready)| ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> Ready {
        Ready {
            target: "event-tokio".into(),
            pid: 4711,
            address: "127.0.0.1:8003".into(),
            model: Model::Event,
            runtime: "tokio".into(),
            runtime_version: "1.54.1".into(),
            io_interface: IoInterface::Epoll,
            accept_model: "shared listener".into(),
            workers: 1,
            buffer_bytes: 16384,
            buffer_policy: Some(BufferPolicy::PerConnection),
            backlog: 4096,
            congestion_control: "cubic".into(),
            nodelay: true,
            max_connections: None,
            idle_timeout_ms: Some(5000),
            drain_timeout_ms: 10_000,
            work_ns: 20_000,
            work_source: Some("127.0.0.2".into()),
            cpus: None,
            nofile: 20_000,
            ring: None,
        }
    }

    #[test]
    fn a_ready_line_survives_the_round_trip() {
        let line = ready().to_line();
        assert!(
            line.starts_with(r#"{"event":"ready","target":"event-tokio","pid":4711"#),
            "{line}"
        );
        assert!(!line.contains('\n'));
        assert_eq!(Ready::from_line(&line).unwrap(), ready());
    }

    #[test]
    fn a_server_with_a_ring_tells_of_it_and_others_do_not() {
        assert!(!ready().to_line().contains("ring"));
        let facts = RingFacts {
            driver: "io-uring, DEFER_TASKRUN".into(),
            entries: 4096,
            completions: 8192,
        };
        let with_ring = Ready {
            ring: Some(facts),
            ..ready()
        };
        assert_eq!(Ready::from_line(&with_ring.to_line()).unwrap(), with_ring);
    }

    #[test]
    fn the_buffer_policy_is_said_in_its_words_and_an_older_server_says_none() {
        for policy in [BufferPolicy::PerConnection, BufferPolicy::PerWorker, BufferPolicy::Pool] {
            let of_policy = Ready {
                buffer_policy: Some(policy),
                ..ready()
            };
            let words = format!(r#""buffer_policy":"{}","#, policy.as_str());
            let line = of_policy.to_line();
            assert!(line.contains(&words), "{line}");
            assert_eq!(Ready::from_line(&line).unwrap(), of_policy);
            assert_eq!(Ready::from_line(&line.replace(&words, "")).unwrap().buffer_policy, None);
        }
    }

    #[test]
    fn a_field_of_a_newer_server_is_ignored() {
        let line = ready().to_line().replacen('{', r#"{"colour":"blue","#, 1);
        assert_eq!(Ready::from_line(&line).unwrap(), ready());
    }

    #[test]
    fn a_missing_field_or_another_event_is_an_error() {
        assert!(Ready::from_line(&ready().to_line().replace(r#""workers":1,"#, "")).is_err());
        assert!(Ready::from_line(&ready().to_line().replace(r#""event":"ready""#, r#""event":"stats""#)).is_err());
        assert!(Ready::from_line("listening on 8003").is_err());
    }
}
