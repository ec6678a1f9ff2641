//! The record of one trial: the hinge between measuring and reporting. Every report can be made again from it.
//!
//! Field names are stable: scripts rely on them. Times end in their unit. A figure that could not be had is null,
//! and the reason stands beside it (`memory_method`, `cpu_method`, `notes`); it is never a guess. This file holds data only.

use super::{At, Figure, Gate, Incomplete, Plan};
use echo_contract::ready::Ready;
use echo_contract::stats::Stats;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display};
use std::ops::AddAssign;
use std::time::Duration;

/// Version of the record's layout; readers accept the same major version only.
pub const SCHEMA_VERSION: &str = "1.2.0";

/// One trial: one server, one workload, one measurement. The default is a trial of nothing in which nothing was seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measurement {
    /// [`SCHEMA_VERSION`] of the loadgen that wrote this.
    pub schema_version: String,
    pub target: Target,
    /// Name of the workload, e.g. `light`; its fields stand in `plan.workload`.
    pub workload: String,
    /// What was to be done, complete: the same plan and seed send the same bytes.
    pub plan: Plan,
    pub identity: Identity,
    pub environment: Environment,
    /// Whether the trial ran to its end.
    pub complete: bool,
    /// Why not, if it did not: a signal, the server's death or silence, an error.
    #[schemars(with = "Option<String>")]
    pub incomplete_reason: Option<Incomplete>,
    /// Whether the figures may be believed.
    pub valid: bool,
    /// Why not; empty when valid.
    pub reasons: Vec<Reason>,
    /// What the reader should know but what does not make the trial invalid, one sentence each.
    pub notes: Vec<String>,
    pub counts: Counts,
    pub connections: Connections,
    pub totals: Totals,
    pub throughput: Throughput,
    pub latency_ns: LatencySet,
    /// Little's law over the measured messages; null when any of them failed or was cut off, and in records before 1.1.0.
    #[serde(default)]
    pub littles_law: Option<LittlesLaw>,
    /// Messages and cost per 100 ms of the measured phase.
    pub windows: Vec<Window>,
    /// A job's repetitions, each whole; empty for workloads that stop by time.
    pub repetitions: Vec<Repetition>,
    /// Jain's fairness index over the messages of each client in the measured phase, (Σx)²/(nΣx²); 1 is even.
    pub fairness_jain: Option<f64>,
    pub server_cost: ServerCost,
    pub loadgen_cost: LoadgenCost,
    /// Replies that halted for 38 to 52 ms between two of their bytes: what a server makes of an answer that it writes in pieces
    /// while Nagle's algorithm waits for an acknowledgement. Null in records that do not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted_replies: Option<u64>,
    /// What the clients of `plan.workload.beside` did; left out where there are none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub beside: BesideFigures,
    /// What a crash took with it; left out where there was none on purpose.
    #[serde(default, skip_serializing_if = "is_default")]
    pub isolation: Isolation,
    /// Growth of the kernel's TCP counters during the trial, of all programs in this network namespace; null where they
    /// cannot be read.
    #[serde(default)]
    pub network: Option<Network>,
    /// How far the CPUs of server and loadgen were from each other; null where it was not measured.
    #[serde(default)]
    pub cpu_distance: Option<CpuDistance>,
    /// This machine's own share of every latency; null in records that do not know it.
    #[serde(default)]
    pub hiccup: Option<Hiccup>,
    /// Whether the server reached a steady state; null for a job and below 100 windows.
    #[serde(default)]
    pub steady: Option<SteadyState>,
    /// The resource that ended the growth, where it is known.
    pub limiter: Limiter,
    /// What the server printed on exit, minus `totals.probe_bytes`; null when it was not started by loadgen.
    pub server_stats: Option<ServerStats>,
    /// The first occurrence of each kind of failure.
    pub first_failures: Vec<FirstFailure>,
    pub histograms: Histograms,
    /// The records that `loadgen merge` added up, in the order of their beginning; empty for one generator's own record.
    #[serde(default)]
    pub generators: Vec<Generator>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What the clients beside the measured ones did in the measured phase: how greedy a greedy one was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BesideFigures {
    pub clients: u32,
    /// Messages echoed whole.
    pub messages: u64,
    /// Messages that failed, in any phase.
    pub errors: u64,
    pub messages_per_s: Option<f64>,
    /// Payload bytes echoed per second, one direction.
    pub bytes_per_s: Option<f64>,
}

/// What became of a server's clients when the process that served one of them was ended by SIGABRT.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Isolation {
    /// Clients that were connected and had had an echo.
    pub clients: Option<u64>,
    /// Processes of the server then.
    pub processes: Option<u64>,
    /// Whether the process that was ended was the server's first.
    pub first_was_ended: Option<bool>,
    /// Clients that had no echo within `patience_ms` after it, the one that was served by that process included.
    pub clients_lost: Option<u64>,
    /// From the signal to the end of a new client's first echo; null where none was served within `patience_ms`.
    pub served_again_ns: Option<u64>,
    /// Whether the server's first process was gone then, so that no new client will ever be served.
    pub server_is_gone: Option<bool>,
    pub patience_ms: Option<u64>,
}

impl Measurement {
    /// Messages that the measured phase is charged with: those that ended in it, and in records before 1.2.0 those planned
    /// in it.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.throughput.served.unwrap_or(self.counts.ok)
    }
}

/// What held the server back, as far as the figures show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Limiter {
    #[serde(rename = "server cpu")]
    ServerCpu,
    #[serde(rename = "client cpu")]
    ClientCpu,
    #[serde(rename = "run queue")]
    RunQueue,
    #[serde(rename = "connections")]
    Connections,
    #[default]
    #[serde(rename = "unknown")]
    Unknown,
}

impl Limiter {
    /// As in the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServerCpu => "server cpu",
            Self::ClientCpu => "client cpu",
            Self::RunQueue => "run queue",
            Self::Connections => "connections",
            Self::Unknown => "unknown",
        }
    }
}

impl Display for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One generator of several whose records were added up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Generator {
    /// File of its record.
    pub name: String,
    /// What it measured.
    pub address: String,
    pub seed: u64,
    pub clients_asked: u64,
    pub clients_reached: u64,
    pub ok: u64,
    /// As [`Identity::measured_from`].
    pub measured_from: Option<String>,
    pub duration_s: f64,
    pub valid: bool,
}

/// Who was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// Catalog name, or `HOST:PORT`.
    pub name: String,
    /// `fork`, `thread` or `event`; null for a foreign server.
    pub model: Option<String>,
    pub runtime: Option<String>,
    pub runtime_version: Option<String>,
    pub io_interface: Option<String>,
    pub accept_model: Option<String>,
    /// Who has a read buffer: `one per connection`, `one per worker`, `lent from a pool`; null where the server did not say it.
    #[serde(default)]
    pub buffer_policy: Option<String>,
    /// `--workers` of the server.
    pub workers: Option<u32>,
    pub address: String,
    /// Where clients were connected to several addresses of its name, in turn: all of them. Else empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Addresses of its name that did not answer, and were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses_silent: Vec<String>,
    /// `started` for this run, or `attached` to what listened already.
    pub origin: Origin,
    /// First process of the server; null where it cannot be found.
    pub pid: Option<u32>,
    /// Command line of that process.
    pub command: Option<Vec<String>>,
    /// SHA-256 of the binary that ran, in hex; null where it cannot be read.
    pub binary_sha256: Option<String>,
    /// The server's whole READY line; null for a server that was not started by loadgen.
    #[schemars(with = "Option<serde_json::Value>")]
    pub ready: Option<Ready>,
    /// The container that the server runs in; null for one that runs where loadgen runs. Its figures are another
    /// environment's: tables label them.
    #[serde(default)]
    pub container: Option<Container>,
}

/// A server's container, as the engine describes it. All null but the name where only its network shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Container {
    pub name: Option<String>,
    pub image: Option<String>,
    /// `docker`.
    pub engine: Option<String>,
    pub engine_version: Option<String>,
    /// `host`, `none`, or `bridge` with the name of the network.
    pub network_mode: Option<String>,
}

/// How loadgen came by the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    #[default]
    Started,
    Attached,
}

/// Which trial this is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// Version of loadgen.
    pub loadgen_version: String,
    /// SHA-256 of loadgen's own executable, in hex.
    pub loadgen_sha256: Option<String>,
    /// Wall-clock time at the start, RFC 3339, UTC.
    pub started_at: String,
    /// loadgen's command line.
    pub command: Vec<String>,
    /// Place in a suite; null for a single run.
    pub suite: Option<SuitePlace>,
    /// Wall-clock time at which the measured phase began (a job: its first connect()), RFC 3339, UTC; null when it never
    /// did, and in records before 1.1. It is `throughput.duration_s` long.
    #[serde(default)]
    pub measured_from: Option<String>,
}

/// Where in a comparison a trial stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SuitePlace {
    /// Name of the suite, e.g. `default`.
    pub suite: String,
    /// From 1.
    pub round: u32,
    /// Place of the trial in its round's seeded order, from 1.
    pub position: u32,
    /// Seed of the suite's order.
    pub seed: u64,
    /// From 1; above 1 the trial was run again at the end of its round because the one before was invalid.
    pub attempt: u32,
    /// Whether this is the second trial of a target that runs twice in each round: the A/A control.
    pub control: bool,
    /// SHA-256 of what the suite compared when the trial ran, in hex: targets, workloads, placement, seed. Null in records
    /// before 1.1.0.
    #[serde(default)]
    pub plan_hash: Option<String>,
    /// The value of the comparison's dimension; left out where it has none, and for a target that has no such values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<At>,
}

/// The machine and its settings, as far as they can move the figures. A setting that cannot be read is null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    pub kernel: Option<String>,
    pub architecture: Option<String>,
    pub cpu_model: Option<String>,
    /// CPUs this process may use.
    pub cpus_usable: Option<u32>,
    /// CPUs online.
    pub cpus_online: Option<u32>,
    /// Whether any two online CPUs are threads of one core.
    pub smt_active: Option<bool>,
    pub memory_total_bytes: Option<u64>,
    /// Frequency governor of CPU 0.
    pub governor: Option<String>,
    pub clocksource: Option<String>,
    pub hypervisor: Option<String>,
    /// `container` or `host`, with the runtime where it is known.
    pub container: Option<String>,
    /// The network of the trial; null in records before 1.2.0. Settings that begin with `net.` are this network's.
    #[serde(default)]
    pub network: Option<NetworkPlace>,
    /// cgroup version in use for accounting: 1 or 2.
    pub cgroup_version: Option<u8>,
    /// One-minute load average at the start.
    pub load_average_1min: Option<f64>,
    /// RLIMIT_NOFILE of loadgen, soft and hard.
    pub nofile_soft: Option<u64>,
    pub nofile_hard: Option<u64>,
    /// RLIMIT_MEMLOCK, soft, in bytes; null also for unlimited.
    pub memlock_bytes: Option<u64>,
    /// Sysctls and vulnerability mitigations by name, e.g. `net.core.somaxconn`, `vulnerability.spectre_v2`.
    pub settings: std::collections::BTreeMap<String, String>,
}

/// A gate that the trial did not pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// Short stable name of the gate: `foreign_load`, `run_queue_delay`, `connections`, `payload` ...
    #[schemars(with = "String")]
    pub gate: Gate,
    pub observed: f64,
    pub limit: f64,
    /// One sentence: what was seen, the limit, what to do.
    pub text: String,
    /// The figures that it takes away; empty in records before 1.2.0, where the gate's name tells.
    #[serde(default)]
    pub voids: Vec<Figure>,
}

impl Reason {
    #[must_use]
    pub fn new(gate: impl Into<Gate>, observed: f64, limit: f64, text: impl Into<String>) -> Self {
        let gate = gate.into();
        Self {
            voids: gate.voids().to_vec(),
            gate,
            observed,
            limit,
            text: text.into(),
        }
    }

    /// Whether it takes this figure away.
    #[must_use]
    pub fn voids(&self, figure: Figure) -> bool {
        let voids = if self.voids.is_empty() {
            self.gate.voids()
        } else {
            &self.voids
        };
        voids.contains(&figure)
    }
}

impl Measurement {
    /// Whether the trial's figures of this kind may be used.
    #[must_use]
    pub fn stands(&self, figure: Figure) -> bool {
        self.complete && !self.reasons.iter().any(|reason| reason.voids(figure))
    }

    /// The figures that this machine can give at all: with one CPU for both sides, rates and times are those of both together.
    #[must_use]
    pub fn possible_figures(&self) -> &'static [Figure] {
        let placement = &self.plan.placement;
        if placement.shared && self.environment.cpus_usable == Some(1) {
            &[Figure::Capacity, Figure::Memory]
        } else {
            &Figure::ALL
        }
    }

    /// Whether all of them stand: what `valid` says.
    #[must_use]
    pub fn all_possible_stand(&self) -> bool {
        self.possible_figures().iter().all(|figure| self.stands(*figure))
    }
}

/// Messages planned in the measured phase, by how they ended. `planned = sent + dropped`;
/// `sent = ok + refused + reset + timeout + closed + truncated + corrupted + in_flight_at_stop`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    pub planned: u64,
    pub sent: u64,
    /// Echoed whole, in order, byte for byte.
    pub ok: u64,
    /// Of these, the ones that were answered after the measured phase: `ok - ok_late` were answered within it. 0 for a job,
    /// and in records before 1.2.0.
    #[serde(default)]
    pub ok_late: u64,
    /// No connection could be had for the message; counts as sent in the sums.
    pub refused: u64,
    /// The connection was reset, or an earlier message of a pipeline broke it.
    pub reset: u64,
    /// No whole echo within `--timeout`.
    pub timeout: u64,
    /// The connection ended in good order before the first byte of the reply: no damage to data. In records before 1.2.0
    /// these are `truncated`.
    #[serde(default)]
    pub closed: u64,
    /// The stream ended between the first and the last byte of the reply.
    pub truncated: u64,
    /// A byte came back wrong, or more came back than was sent.
    pub corrupted: u64,
    /// Planned but never sent (open loop).
    pub dropped: u64,
    /// Sent, and neither answered nor failed when the run was stopped.
    pub in_flight_at_stop: u64,
}

impl Counts {
    /// Adds what another worker or generator counted.
    pub fn add(&mut self, other: &Self) {
        self.planned += other.planned;
        self.sent += other.sent;
        self.ok += other.ok;
        self.ok_late += other.ok_late;
        self.refused += other.refused;
        self.reset += other.reset;
        self.timeout += other.timeout;
        self.closed += other.closed;
        self.truncated += other.truncated;
        self.corrupted += other.corrupted;
        self.dropped += other.dropped;
        self.in_flight_at_stop += other.in_flight_at_stop;
    }

    /// Messages that were sent and failed.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.refused + self.reset + self.timeout + self.closed + self.truncated + self.corrupted
    }
}

/// Connections over the whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Connections {
    /// Clients asked for.
    pub asked: u64,
    /// Clients that were connected at the same time, at most.
    pub reached: u64,
    /// Opened again after a failure.
    pub reopened: u64,
    /// Opened again because the one before had carried as many messages as the workload says.
    #[serde(default)]
    pub renewed: u64,
    /// Attempts that were refused or failed.
    pub refused: u64,
    /// Attempts that ran into `--connect-timeout`.
    pub timeout: u64,
    /// The fewest and the most answers after which the server ended a connection in good order while a message was under way;
    /// null when it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_after_min: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_after_max: Option<u64>,
}

impl Connections {
    /// Adds what another worker or generator counted.
    pub fn add(&mut self, other: &Self) {
        self.asked += other.asked;
        self.reached += other.reached;
        self.reopened += other.reopened;
        self.renewed += other.renewed;
        self.refused += other.refused;
        self.timeout += other.timeout;
        let both = |one: Option<u64>, two: Option<u64>, of: fn(u64, u64) -> u64| {
            one.zip(two).map(|(a, b)| of(a, b)).or(one).or(two)
        };
        self.ended_after_min = both(self.ended_after_min, other.ended_after_min, u64::min);
        self.ended_after_max = both(self.ended_after_max, other.ended_after_max, u64::max);
    }

    /// Notes that the server ended a connection after so many answers.
    pub fn ended_after(&mut self, answers: u64) {
        self.add(&Self {
            ended_after_min: Some(answers),
            ended_after_max: Some(answers),
            ..Self::default()
        });
    }
}

/// The server's whole life, as loadgen saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Totals {
    /// Messages echoed whole, in all phases.
    pub messages: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// Bytes of readiness probes, sent before the first phase; not in `bytes_sent`.
    pub probe_bytes: u64,
    /// Connections established, probes not included.
    pub connections: u64,
}

impl Totals {
    /// Adds what another worker or generator counted.
    pub fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.probe_bytes += other.probe_bytes;
        self.connections += other.connections;
    }
}

/// Rates of the measured phase; for a job the median over its repetitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Throughput {
    /// Messages echoed whole per second: what ended inside the measured phase, over its length.
    pub messages_per_s: f64,
    /// Messages echoed whole that ended inside the measured phase, whenever they were planned; a job: all of its messages.
    /// CPU and system calls per message are per one of these. Null in records before 1.2.0, whose rates are of the messages
    /// planned in the phase.
    #[serde(default)]
    pub served: Option<u64>,
    /// Rate of the plan in the measured phase; null in a closed loop, and in records before 1.2.0.
    #[serde(default)]
    pub planned_per_s: Option<f64>,
    /// Connections established per second: in jobs and with churn over the timed part, else over the connect phase.
    pub connections_per_s: Option<f64>,
    /// Payload bytes echoed per second, one direction.
    pub bytes_per_s: f64,
    /// Length of the measured phase; for a job the median time from the first connect() to the last reply.
    pub duration_s: f64,
}

/// Four clocks on every message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatencySet {
    /// Planned send to last byte of the echo.
    pub response: Latency,
    /// Actual send to last byte of the echo. Equals `response` in a closed loop.
    pub service: Latency,
    /// The generator's own error, of every message sent: actual send minus planned send, or minus the moment from which a
    /// client was free if that was later. With a connection per message sending begins with its connect(). Empty in a
    /// closed loop.
    pub send_lag: Latency,
    /// connect() called to connection established.
    pub connect: Latency,
}

/// Messages under way = rate x time under way (Little 1961), each side measured in its own way: what one of them lost
/// or counted twice would part them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LittlesLaw {
    /// Messages of the measured phase under way, summed up over time from their sends to their ends, whichever phase
    /// those fall into, over the length of the measured phase.
    pub in_flight_mean: f64,
    /// Messages of the measured phase per second of it, times the mean of the service histogram.
    pub rate_times_latency: f64,
    /// |first - second| / second.
    pub rel_error: f64,
}

/// A distribution in nanoseconds. A percentile q needs at least 100 samples beyond it, else it is null.
/// A failed message enters response and service at `--timeout`; in an open loop response adds the time that it waited
/// in the plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Latency {
    pub count: u64,
    pub min: Option<u64>,
    pub mean: Option<f64>,
    pub p50: Option<u64>,
    pub p75: Option<u64>,
    pub p90: Option<u64>,
    pub p99: Option<u64>,
    pub p999: Option<u64>,
    pub p9999: Option<u64>,
    pub max: Option<u64>,
}

/// Planned length of a window of the measured phase; the last one may be shorter.
pub const WINDOW: Duration = Duration::from_millis(100);

/// A slice of the measured phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Window {
    /// Start after the beginning of the measured phase, in seconds.
    pub from_s: f64,
    pub length_s: f64,
    /// Messages of the measured phase that were sent in this window; null in records before 1.1.0.
    #[serde(default)]
    pub sent: Option<u64>,
    /// Those that ended well in it.
    pub ok: u64,
    /// Those that ended badly.
    pub errors: u64,
    /// Median response that ended here, in nanoseconds, within 5 %; needs ten samples beyond it.
    #[serde(default)]
    pub response_p50_ns: Option<u64>,
    /// As above.
    #[serde(default)]
    pub response_p99_ns: Option<u64>,
    /// Slowest response that ended here, in nanoseconds.
    pub response_max_ns: Option<u64>,
    /// CPU time the server used here, in nanoseconds.
    pub server_cpu_ns: Option<u64>,
}

/// One run of a job with fresh connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Repetition {
    /// First connect() to last reply.
    pub duration_s: f64,
    pub messages: u64,
    pub connections: u64,
    pub errors: u64,
    /// CPU time of the server from the first connect() to the last reply, in nanoseconds.
    pub server_cpu_ns: Option<u64>,
}

/// What the server used. Its whole process tree, children that ended included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServerCost {
    /// CPU time in user and kernel mode over `cpu_scope`.
    pub cpu_user_s: Option<f64>,
    pub cpu_system_s: Option<f64>,
    /// CPU time over wall time of the measured phase, 100 = one core.
    pub cpu_percent: Option<f64>,
    /// Highest 100 ms window; null with fewer than ten windows.
    pub cpu_percent_max: Option<f64>,
    /// CPU time of the measured phase (a job: first connect() to the end of its drain, closing included) per message echoed.
    pub cpu_us_per_message: Option<f64>,
    /// CPU time per connection: in jobs and with churn of the same span as above, else of the connect phase.
    pub cpu_us_per_connection: Option<f64>,
    /// How CPU time was read: `cgroup v1 cpuacct`, `cgroup v2 cpu.stat`,
    /// `/proc (live processes)`, or why it could not be.
    pub cpu_method: String,
    /// User memory at the hold, all clients connected, or the highest reading if that is more.
    pub memory_peak_bytes: Option<u64>,
    /// How: `PSS of N processes`, `PSS of a sample of 100 of N processes`, or why it could not be read.
    pub memory_method: String,
    /// Of it, the clients' read buffers: by the server's policy, or as it said itself.
    #[serde(default)]
    pub memory_buffers_bytes: Option<u64>,
    /// How: `one per connection: 1,000 of 16,384 bytes`, `lent from a pool: STATS`, or why not.
    #[serde(default)]
    pub memory_buffers_method: String,
    /// Kernel memory charged to the server at the hold: page tables, stacks, sockets, task structures.
    pub memory_kernel_bytes: Option<u64>,
    /// How: `memory cgroup`, `page tables and kernel stacks from /proc`, or why not.
    pub memory_kernel_method: String,
    /// User and kernel memory together before the first client of the trial, read as at the hold: of a started server that of
    /// its READY and one probe.
    #[serde(default)]
    pub memory_before_bytes: Option<u64>,
    /// What a client takes that is connected and silent: growth of user and kernel memory from before the first client to the
    /// hold, by clients; null where connections are not held (churn).
    #[serde(default)]
    pub memory_per_connection_bytes: Option<u64>,
    /// Of it, the growth of the kernel's memory; null as above, and in records that do not know it.
    #[serde(default)]
    pub memory_kernel_per_connection_bytes: Option<u64>,
    pub processes_max: Option<u64>,
    pub threads_max: Option<u64>,
    pub context_switches_voluntary: Option<u64>,
    pub context_switches_involuntary: Option<u64>,
    /// Context switches of the server's whole life over the messages of its whole life.
    pub context_switches_per_message: Option<f64>,
    /// How: `wait4 rusage (whole life)`, or why not.
    pub context_switches_method: String,
    /// From a counting trial only (`plan.counting`), never from a timed one.
    pub syscalls_per_message: Option<f64>,
    /// How: `perf event raw_syscalls:sys_enter, inherited`, or why not.
    #[serde(default)]
    pub syscalls_method: String,
    /// How a CPU quota held the server back in the measured phase; null where its cgroups cannot be read, and in records
    /// before 1.2.0.
    #[serde(default)]
    pub throttled: Option<Throttling>,
}

/// How the CPU quota of a cgroup held processes back: that of their own group or of one above it, whichever did so longest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Throttling {
    /// Periods in which the quota was used up.
    pub periods: u64,
    /// Time for which they were stopped then, over all CPUs.
    pub stopped_s: f64,
}

/// What loadgen itself used in the measured phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadgenCost {
    pub threads: u32,
    /// CPU time of the worker threads over the measured phase.
    pub cpu_s: f64,
    /// Of this, deliberate looking at the clock before planned sends (`--pacing`).
    pub cpu_spin_s: f64,
    /// Busiest worker thread: CPU time without spinning over wall time, 100 = one core.
    pub cpu_percent_max: f64,
    /// Worst worker thread: time it was runnable but not running over wall time, in percent.
    pub run_queue_delay_percent_max: Option<f64>,
    /// CPU time of the sampler, all phases.
    pub sampler_cpu_s: f64,
    /// Peak resident memory of loadgen.
    pub memory_peak_bytes: Option<u64>,
    /// CPU time that neither server nor loadgen used, as percent of each CPU given to them, worst CPU; null where it cannot be told.
    pub foreign_cpu_percent_max: Option<f64>,
    /// Share of the measured phase in which some task of this machine, the server's and loadgen's included, waited for a
    /// CPU (pressure stall information), in percent; null where the kernel does not tell.
    #[serde(default)]
    pub cpu_pressure_percent: Option<f64>,
    /// As for the server.
    #[serde(default)]
    pub throttled: Option<Throttling>,
    /// Time in which loadgen did not run at all though a CPU was free (stopped by a signal, frozen, the machine suspended), in
    /// all phases from the first connect() to the last FIN; null where the kernel does not tell, and in records before 1.2.0.
    #[serde(default)]
    pub stopped_s: Option<f64>,
}

/// How late a thread woke in the measured phase that the trial's own load did not hold up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Hiccup {
    /// How it was measured, or why not.
    pub method: String,
    pub latency_ns: Latency,
    /// Wake-ups more than 1 ms late, in percent; null below 1,000 wake-ups.
    pub beyond_1ms_percent: Option<f64>,
    /// The same share of however few wake-ups were expected, those that a long hiccup swallowed counted: the time that the
    /// machine withheld. Null where nothing was measured, and in records before 1.2.0, which count a long hiccup once.
    #[serde(default)]
    pub lost_percent: Option<f64>,
}

impl Hiccup {
    /// Later than this is counted.
    pub const LATE_NS: u64 = 1_000_000;
    /// Fewest wake-ups of which a share is told.
    pub const AT_LEAST: u64 = 1000;
}

/// How far apart the CPUs of server and loadgen were, and what else the machine tells of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CpuDistance {
    /// Round trip of a cache line before the trial and after it, in nanoseconds: the largest over the pairs of a server and a
    /// loadgen CPU in use.
    pub before_ns: Option<f64>,
    pub after_ns: Option<f64>,
    /// Why one of them is null; null when neither is.
    pub reason: Option<String>,
    /// CPU time of a TCP round trip of 64 bytes over loopback by one thread on the server's first CPU, in nanoseconds: how fast
    /// the kernel is at that moment. Null where the server is not pinned, and in older records.
    #[serde(default)]
    pub round_trip_cpu_ns_before: Option<f64>,
    #[serde(default)]
    pub round_trip_cpu_ns_after: Option<f64>,
    /// Lowest frequency of these CPUs at that moment; null where the machine does not tell.
    pub frequency_mhz_before: Option<f64>,
    pub frequency_mhz_after: Option<f64>,
    /// Times that one of these CPUs was slowed down because of its heat during the trial; null where the machine does not tell.
    pub thermal_throttles: Option<u64>,
}

impl CpuDistance {
    /// The larger of both, in nanoseconds; `None` unless both are known: a CPU may have moved in between.
    #[must_use]
    pub fn ns(&self) -> Option<f64> {
        Some(self.before_ns?.max(self.after_ns?))
    }

    /// CPU time of a round trip, the mean of before and after, in nanoseconds; `None` unless both are known.
    #[must_use]
    pub fn round_trip_cpu_ns(&self) -> Option<f64> {
        Some(f64::midpoint(
            self.round_trip_cpu_ns_before?,
            self.round_trip_cpu_ns_after?,
        ))
    }
}

/// The network that a trial ran in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkPlace {
    pub kind: NetworkKind,
    /// Why it is the host's, though that was not asked for; or which sysctls of a private one could not be set. Null when there
    /// is nothing to say.
    pub note: Option<String>,
}

/// Whose network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NetworkKind {
    /// A namespace of the trial's own: loopback and nothing else.
    Private,
    /// Where loadgen runs.
    Host,
}

/// TCP counters of /proc/net/netstat and /proc/net/snmp, or their growth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Network {
    /// Connection attempts dropped, at a full accept queue (`ListenOverflows`) or for any reason (`ListenDrops`, which
    /// counts those too).
    pub listen_drops: u64,
    /// Segments sent again (`RetransSegs`), for whatever reason.
    pub retransmits: u64,
    /// Retransmission timers that ran out (`TCPTimeouts`).
    pub timeouts: u64,
    /// Segments dropped because a socket's backlog was full (`TCPBacklogDrop`).
    pub backlog_drops: u64,
    /// Of the segments sent again: probes for the loss of a last segment that repaired nothing (`TCPLossProbes` less
    /// `TCPLossProbeRecovery`), sent when an acknowledgement is late, as on a busy machine. They are no loss.
    #[serde(default)]
    pub tail_loss_probes: u64,
    /// Retransmissions that the kernel took back since the original had arrived (`TCPFullUndo`, `TCPPartialUndo`,
    /// `TCPDSACKUndo`, `TCPLossUndo`).
    #[serde(default)]
    pub undone_retransmits: u64,
    /// Segments that came here though they had arrived before (`TCPDSACKOldSent`, `TCPDSACKOfoSent`): on loopback, of the
    /// segments sent again, and they are no loss. 0 in records that do not know it.
    #[serde(default)]
    pub duplicates_seen: u64,
    /// Of the segments sent again: those that the receiver said it had already (`TCPDSACKRecv`, `TCPDSACKOfoRecv`), unless its
    /// word was lost in a later acknowledgement. As above.
    #[serde(default)]
    pub duplicates_told: u64,
    /// Of the segments sent again: connection attempts (`TCPSynRetrans`), as at a full accept queue.
    #[serde(default)]
    pub syn_retransmits: u64,
}

impl Network {
    /// Segments of established connections that were lost: what was sent again, or timers that ran out, which tell of the
    /// same loss, without what was none.
    #[must_use]
    pub fn lost_segments(&self) -> u64 {
        let no_loss = self.undone_retransmits + self.syn_retransmits;
        // Most of what is told in one way is told in the other.
        let duplicates = self.duplicates_seen.max(self.duplicates_told) + self.syn_retransmits;
        let had_arrived = (self.tail_loss_probes + no_loss).max(duplicates);
        let sent_again = self.retransmits.saturating_sub(had_arrived);
        sent_again.max(self.timeouts.saturating_sub(no_loss))
    }
}

impl AddAssign for Network {
    fn add_assign(&mut self, other: Self) {
        self.listen_drops += other.listen_drops;
        self.retransmits += other.retransmits;
        self.timeouts += other.timeouts;
        self.backlog_drops += other.backlog_drops;
        self.tail_loss_probes += other.tail_loss_probes;
        self.undone_retransmits += other.undone_retransmits;
        self.duplicates_seen += other.duplicates_seen;
        self.duplicates_told += other.duplicates_told;
        self.syn_retransmits += other.syn_retransmits;
    }
}

/// How the server's speed went over the measured phase, by its 100 ms windows: messages per second in a closed loop,
/// median response in an open one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SteadyState {
    pub class: SteadyClass,
    /// Where the steady part begins, in seconds of the measured phase; null when there is none.
    pub cut_s: Option<f64>,
    /// Change of the figure from the first to the last second by the fitted line, in percent of its mean.
    pub trend_percent: f64,
    /// Probability of Spearman's correlation with time by chance.
    pub trend_p: f64,
}

/// Classes of Barrett et al., OOPSLA 2017.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SteadyClass {
    Flat,
    /// Slower at first, then steady.
    WarmUp,
    /// Slower later than before.
    Slowdown,
    /// The level still changed near the end.
    None,
}

/// STATS of the server minus the probes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerStats {
    pub accepted: u64,
    pub closed: u64,
    pub refused: u64,
    pub accept_errors: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub bytes_unsent: u64,
    pub bytes_discarded: u64,
}

impl ServerStats {
    /// STATS without what the probes added.
    #[must_use]
    pub fn without_probes(stats: &Stats, probe_connections: u64, probe_bytes: u64) -> Self {
        Self {
            accepted: stats.accepted.saturating_sub(probe_connections),
            closed: stats.closed.saturating_sub(probe_connections),
            refused: stats.refused,
            accept_errors: stats.accept_errors,
            bytes_in: stats.bytes_in.saturating_sub(probe_bytes),
            bytes_out: stats.bytes_out.saturating_sub(probe_bytes),
            bytes_unsent: stats.bytes_unsent,
            bytes_discarded: stats.bytes_discarded,
        }
    }
}

impl AddAssign for ServerStats {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.closed += other.closed;
        self.refused += other.refused;
        self.accept_errors += other.accept_errors;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.bytes_unsent += other.bytes_unsent;
        self.bytes_discarded += other.bytes_discarded;
    }
}

/// The first failure of its kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FirstFailure {
    /// As in [`Counts`]: `refused`, `reset`, `timeout`, `closed`, `truncated`, `corrupted`.
    pub kind: String,
    /// Seconds after the first connect().
    pub at_s: f64,
    /// Number of the client, from 0.
    pub client: u64,
    /// Offset in the client's stream of bytes.
    pub offset: u64,
    /// What happened, e.g. `expected 9f 03, got 00 00` or `connection reset by peer (ECONNRESET)`.
    pub text: String,
}

/// HdrHistogram V2 with DEFLATE, base64, nanoseconds, three significant digits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Histograms {
    pub response: Option<String>,
    /// Null in a closed loop: it equals `response`.
    pub service: Option<String>,
    /// Null in a closed loop: it is 0.
    pub send_lag: Option<String>,
    pub connect: Option<String>,
    #[serde(default)]
    pub hiccup: Option<String>,
}
