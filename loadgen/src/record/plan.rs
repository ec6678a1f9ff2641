//! What will be done: checked and complete. `--dry-run` prints it, every record stores it, nothing is defaulted later.

use super::External;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;
use std::ops::Not;
use std::time::{Duration, SystemTime};

/// One trial, complete.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// Catalog name or `HOST:PORT`.
    pub target: String,
    pub start: Start,
    pub workload: Workload,
    /// Worker threads of loadgen.
    pub threads: u32,
    pub placement: Placement,
    /// Longest wait for the echo of one message, in milliseconds.
    pub timeout_ms: u64,
    /// Longest wait for one connection, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Share of the messages that may fail in a valid trial, in percent.
    #[serde(default = "Plan::max_errors_percent_of_before")]
    pub max_errors_percent: f64,
    /// Decides payload bytes and message sizes. At most 2^53, so that every reader of JSON keeps it.
    pub seed: u64,
    /// Addresses that connections start from, in turn; empty leaves the choice to the kernel.
    pub source_addresses: Vec<Ipv4Addr>,
    /// A job is repeated with fresh connections on one server until this much time has been measured; 0 runs it once.
    pub repeat_for_ms: u64,
    /// Connections that may be opening, or waiting for their first echo, at the same time, over all threads.
    pub connect_window: u32,
    /// Calls of connect() in a second at most, over all threads; null sets no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_rate_per_s: Option<u64>,
    /// Whether a thread of loadgen that has nothing to do looks for the answers under way, for a millisecond at most, before it
    /// sleeps. A server whose answer wakes a sleeper pays for that. False in records before 1.2.0, and where loadgen has no CPUs
    /// of its own.
    #[serde(default)]
    pub looks_for_answers: bool,
    /// Whether the server's system calls are counted. That slows it, so the trial is no timing: it is reported apart.
    #[serde(default)]
    pub counting: bool,
    /// When the measured phase begins (a job: its first connect()), RFC 3339: the common start of several generators.
    /// Null begins as soon as the clients are connected.
    #[serde(default)]
    pub start_at: Option<String>,
    /// Whose network a server that loadgen starts is measured in.
    #[serde(default = "NetworkChoice::before_there_was_one")]
    pub network: NetworkChoice,
    /// How a target that is named by its address is reached.
    #[serde(default)]
    pub reach: Reach,
    /// The server of that name, where it is not one of the catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<External>,
    /// `--workers` of a server that loadgen starts; null leaves it to the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
    /// `--work` of a server that loadgen starts: CPU time that it burns for each read before the echo, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work_ns: Option<u64>,
}

/// A value of a comparison's dimension, which a trial's server was started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum At {
    Workers(u32),
    WorkNs(u64),
}

impl fmt::Display for At {
    /// `2 workers`, `work 10us`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workers(1) => f.write_str("1 worker"),
            Self::Workers(workers) => write!(f, "{workers} workers"),
            Self::WorkNs(0) => f.write_str("work 0"),
            Self::WorkNs(ns) => write!(f, "work {}", humantime::format_duration(Duration::from_nanos(*ns))),
        }
    }
}

/// See [`Plan::reach`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reach {
    /// Whether addresses outside of loopback and private networks may be loaded.
    pub public: bool,
    /// Which addresses of a name that has several are connected to.
    pub addresses: AddressChoice,
}

/// See [`Reach::addresses`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum AddressChoice {
    /// The first that answers
    #[default]
    First,
    /// All that answer; clients are assigned to them in turn
    All,
}

/// See [`Plan::network`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum NetworkChoice {
    /// A private one where that is permitted, else the host's
    #[default]
    Auto,
    /// A fresh network namespace for each trial: own loopback, own ports, no connection tracking
    Private,
    /// The host's
    Host,
}

impl NetworkChoice {
    fn before_there_was_one() -> Self {
        Self::Host
    }
}

impl Plan {
    /// Highest seed: whole numbers above it are not exact in the many readers of JSON that know only doubles.
    pub const MOST_SEED: u64 = 1 << 53;
    /// [`Plan::max_errors_percent`] where nobody says otherwise.
    pub const MAX_ERRORS_PERCENT: f64 = 0.1;

    pub(crate) const fn max_errors_percent_of_before() -> f64 {
        Self::MAX_ERRORS_PERCENT
    }

    /// Whether threads are to sleep between planned sends, and so for answers too.
    #[must_use]
    pub fn sleeps(workload: &Workload) -> bool {
        workload.open_loop().is_some_and(|open| open.waiting == Waiting::Sleep)
    }

    /// [`Plan::start_at`] as a time.
    #[must_use]
    pub fn start_time(&self) -> Option<SystemTime> {
        let at: jiff::Timestamp = self.start_at.as_deref()?.parse().ok()?;
        // Nanoseconds since 1970 end in 2554, and who mistypes a year is to hear of it.
        let seconds = u64::try_from(at.as_second().max(0)).ok()?;
        let ns = u32::try_from(at.subsec_nanosecond().max(0)).ok()?;
        Some(SystemTime::UNIX_EPOCH + Duration::new(seconds, ns))
    }
}

/// Whether loadgen may start the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// Attach if the target listens on its own port, else start it on a free one.
    #[default]
    Auto,
    /// Start it on a free port.
    Always,
    /// Attach or fail.
    Never,
}

/// What the clients do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Workload {
    /// Preset name, or `custom`.
    pub name: String,
    /// Clients connected at the same time, in total.
    pub clients: u32,
    /// Message length; each message draws its own between both ends, by the seed.
    pub size_min_bytes: u64,
    pub size_max_bytes: u64,
    /// Messages of one client that may be under way at the same time.
    pub pipeline: u32,
    /// A new connection for every message.
    pub churn: bool,
    /// Answers after which a client closes its connection and opens another; null keeps it, unless `churn` says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages_per_connection: Option<u64>,
    /// What messages consist of.
    #[serde(default, skip_serializing_if = "Payload::is_default")]
    pub payload: Payload,
    /// How clients end connections that have served their purpose.
    #[serde(default, skip_serializing_if = "CloseBy::is_default")]
    pub close: CloseBy,
    /// Clients that do something else than the others; none where all do the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<Beside>,
    /// Whether this is no load but a crash: once all clients are connected, SIGABRT ends the process that serves one of them.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub crash: bool,
    pub pacing: Pacing,
    /// Clients that the plan of an open loop deals messages to, spread evenly over all; the others stay connected and silent. Null
    /// deals to all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_clients: Option<u32>,
    /// The rate of the plan as a share of what the target reached when it was saturated, in percent; null where every target has the
    /// same rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent_of_saturated: Option<u32>,
    pub stop: Stop,
    /// Time before the measured phase in which messages flow but do not count, in milliseconds; 0 for a job.
    pub warmup_ms: u64,
}

/// Clients whose messages are no part of the measurement: what they do to the others is. Each sends its next message as soon as a
/// reply is there; they are counted in [`Measurement::beside`](super::Measurement::beside) alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Beside {
    /// How many of the workload's clients: the last ones.
    pub clients: u32,
    /// Length of their messages.
    pub size_bytes: u64,
    /// Messages of each of them under way at the same time.
    pub pipeline: u32,
    /// CPU time that the server burns for each of their reads, and for nobody else's, in nanoseconds: `--work` with
    /// `--work-source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work_ns: Option<u64>,
}

impl Beside {
    /// Where those connect from that the server works for; the others come from other addresses.
    pub const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
}

/// What messages consist of. Whatever it is, each byte that comes back is compared with the one that was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Payload {
    /// Random bytes, other ones at each offset and on each connection.
    #[default]
    Binary,
    /// Lines of printable text that name connection and offset; the length counts the newline.
    Lines,
    /// The content of a file.
    File(PayloadFile),
}

/// See [`Payload::File`]. The bytes themselves are in no record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PayloadFile {
    /// As typed; that of a workload file is looked for beside it.
    pub path: String,
    pub bytes: u64,
    /// SHA-256 of the content, in hex.
    pub sha256: String,
}

impl Payload {
    fn is_default(&self) -> bool {
        *self == Self::Binary
    }
}

/// How clients end connections that have served their purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum CloseBy {
    /// In good order: FIN, then the server's FIN; the client's port stays unusable for a minute (TIME_WAIT)
    #[default]
    Fin,
    /// By a reset: neither side keeps any state of the connection
    Rst,
}

impl CloseBy {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
    fn is_default(&self) -> bool {
        *self == Self::Fin
    }
}

/// When messages leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pacing {
    /// The next message waits for the reply (closed loop).
    #[default]
    ClosedLoop,
    /// Messages leave by plan, whatever the server does (open loop).
    OpenLoop(OpenLoop),
}

/// The plan of an open loop: one for all clients together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenLoop {
    /// Messages per second of all clients together.
    pub rate_per_s: u64,
    pub arrivals: Arrivals,
    /// Time from the start of the plan, before the warm-up, in which the rate climbs from 0, in milliseconds.
    pub ramp_ms: u64,
    pub waiting: Waiting,
}

/// How the messages of a plan are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// Evenly.
    Constant,
    /// At random and independent of each other: exponential gaps.
    Poisson,
    /// So many at the same time, the bursts evenly.
    Burst(u32),
}

/// How a worker waits for the next planned time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// In the kernel until the time has come: least CPU, least precision
    Sleep,
    /// In the kernel until 60 us before it, then polling the clock
    Hybrid,
    /// Polling the clock all the time: a whole CPU for each thread
    Spin,
}

/// When the measured phase ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// A job: each client sends this many messages.
    MessagesPerClient(u64),
    /// A job: all clients together send this many; the first clients send one more where it does not divide.
    TotalMessages(u64),
    /// After this time, in milliseconds.
    AfterMs(u64),
}

impl Default for Stop {
    fn default() -> Self {
        Self::AfterMs(0)
    }
}

impl Workload {
    /// The plan of an open loop; none in a closed loop.
    #[must_use]
    pub fn open_loop(&self) -> Option<&OpenLoop> {
        match &self.pacing {
            Pacing::ClosedLoop => None,
            Pacing::OpenLoop(open) => Some(open),
        }
    }

    /// Messages that a connection carries before the client opens another; none when it is kept.
    #[must_use]
    pub fn connection_carries(&self) -> Option<u64> {
        if self.churn {
            Some(1)
        } else {
            self.messages_per_connection
        }
    }

    /// Clients whose messages are measured: they come first.
    #[must_use]
    pub fn measured_clients(&self) -> u32 {
        self.clients - self.beside.map_or(0, |beside| beside.clients.min(self.clients))
    }

    /// Whether messages are dealt to this client; a silent one is connected all the same.
    #[must_use]
    pub fn is_active(&self, client: u32) -> bool {
        let Some(active) = self.active_clients else { return true };
        let before = |client: u32| u64::from(client) * u64::from(active) / u64::from(self.clients.max(1));
        before(client + 1) > before(client)
    }

    /// Whether it stops by count.
    #[must_use]
    pub fn is_job(&self) -> bool {
        !matches!(self.stop, Stop::AfterMs(_))
    }

    /// Messages that client number `client` sends; none when time decides.
    #[must_use]
    pub fn messages_of_client(&self, client: u32) -> Option<u64> {
        match self.stop {
            Stop::MessagesPerClient(messages) => Some(messages),
            Stop::TotalMessages(total) => {
                let clients = u64::from(self.clients);
                Some(total / clients + u64::from(u64::from(client) < total % clients))
            }
            Stop::AfterMs(_) => None,
        }
    }

    /// Messages of the whole job; none when time decides.
    #[must_use]
    pub fn messages_planned(&self) -> Option<u64> {
        match self.stop {
            Stop::MessagesPerClient(messages) => Some(messages * u64::from(self.clients)),
            Stop::TotalMessages(total) => Some(total),
            Stop::AfterMs(_) => None,
        }
    }

    /// Length of the measured phase; none for a job.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        match self.stop {
            Stop::AfterMs(ms) => Some(Duration::from_millis(ms)),
            Stop::MessagesPerClient(_) | Stop::TotalMessages(_) => None,
        }
    }
}

/// Which CPUs each side runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Placement {
    /// As typed: `auto`, `off`, or `server=0,client=1`.
    pub asked: String,
    /// CPUs of the server; empty means not pinned.
    pub server_cpus: Vec<usize>,
    /// CPUs of loadgen's workers; empty means not pinned.
    pub loadgen_cpus: Vec<usize>,
    /// Whether server and loadgen may share a CPU: figures then include the client's cost.
    pub shared: bool,
}
