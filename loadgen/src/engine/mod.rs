//! The load itself: worker threads that open, drive and close connections, and a conductor that leads them
//! through the phases. The only place that opens measuring sockets.
//!
//! The [`conductor`] is the caller's thread. It never touches a connection: it gives commands, waits, and tells
//! an [`Observer`] when a phase begins or ends, so that costs can be read at those moments.

mod clock;
mod conductor;
mod connection;
mod control;
mod crew;
pub mod crowd;
mod dealer;
mod event_loop;
mod following;
pub mod limits;
mod live;
mod pacer;
mod silence;
mod socket;
pub mod timestamps;
mod turnstile;
mod worker;

use crate::failure::Failure;
use crate::record::{Incomplete, Plan};
use crate::recorder::Recorder;
use crate::recorder::window::TimedWindow;
use crate::workload::payload::Payload;
use nix::unistd::Pid;
use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// Windows are kept for so long; what comes later is counted in the last one.
pub const LONGEST_SERIES: Duration = Duration::from_secs(3600);

/// A moment between two phases, told to the observer while the clients wait for nothing but the clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Moment<'a> {
    /// The workers run, under these thread ids; nothing is connected.
    Started { threads: &'a [Pid] },
    /// The first connect() comes next.
    BeforeConnect,
    /// All clients that could be connected are; in a job this moment does not exist.
    Connected { took: Duration },
    /// The measured phase begins.
    MeasuredFrom,
    /// Another window of the measured phase has passed; told at least every [`crate::record::WINDOW`], also in a job.
    WindowPassed,
    /// The measured phase has ended; in a job the last reply is there.
    MeasuredTo,
    /// All clients are connected and silent. What takes long may be read now.
    Hold,
    /// All connections are closed.
    Drained,
}

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Connect,
    /// All clients are connected and wait for the common start of several generators.
    WaitForStart,
    WarmUp,
    /// Of a job: all of it, connecting included.
    Measured,
    /// Waiting for the last replies, and for the server's FINs.
    Drain,
}

impl Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Phase {
    /// As people read it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::WaitForStart => "waiting for --start-at",
            Self::WarmUp => "warm-up",
            Self::Measured => "measured",
            Self::Drain => "drain",
        }
    }
}

/// What goes on, for a progress line.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub phase: Phase,
    /// Of this phase, 0 to 1.
    pub fraction: f64,
    /// Messages echoed whole so far, all phases.
    pub ok: u64,
    pub errors: u64,
    /// Connections that have echoed and are open.
    pub connected: u64,
    /// Of this phase.
    pub elapsed: Duration,
    /// Messages echoed per second in the last second or so; none at the beginning of a phase.
    pub rate_per_s: Option<f64>,
    /// Their response times over all workers, in nanoseconds, within 5 %; each needs ten samples beyond it.
    pub response_p50_ns: Option<u64>,
    pub response_p99_ns: Option<u64>,
}

/// What the observer wants after a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Directive {
    Continue,
    /// Stop planning, wait a little for what is outstanding, end in order.
    Stop(Incomplete),
    /// There is nothing left to wait for.
    Abort(Incomplete),
}

/// Watches a run: reads costs at the moments, shows progress, and may stop it.
pub trait Observer {
    fn moment(&mut self, moment: Moment<'_>);
    /// Called at least every 100 ms.
    fn look(&mut self, progress: Progress) -> Directive;
    /// Whether it wants to be told of windows.
    fn follows(&self) -> bool {
        false
    }
    /// A window of the measured phase, in order, each once; a job has none.
    fn window(&mut self, _window: &TimedWindow) {}
}

/// One run of a job, as the workers saw it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JobRun {
    /// First connect() to the end of the last message.
    pub duration: Duration,
    pub ok: u64,
    pub errors: u64,
    /// Connections made.
    pub connections: u64,
}

/// All that was recorded.
pub struct Recorded {
    /// Of all workers, merged exactly.
    pub recorder: Recorder,
    /// A job's runs; empty for a workload that stops by time.
    pub job_runs: Vec<JobRun>,
    /// How long clients took to connect, where that is a phase of its own.
    pub connect_phase: Option<Duration>,
    /// Length of the measured phase; less than planned when it was stopped. Zero for a job.
    pub measured: Duration,
    /// Wall-clock time of its beginning; of a job, of its first connect().
    pub measured_from: Option<SystemTime>,
    /// Time that each worker thread spent looking at the clock before planned sends of the measured phase.
    pub spinning: Vec<(Pid, Duration)>,
    /// Why the run ended before its plan, if it did.
    pub stopped: Option<Incomplete>,
    /// Connections that ended otherwise than by both FINs after their last echo.
    pub unclean_closes: u64,
    /// Bytes that came when nothing was outstanding.
    pub surplus_bytes: u64,
    /// Failed attempts to connect that are this machine's fault: no source port, no descriptor, no memory.
    pub local_failures: u64,
    /// Those of them that found no source port.
    pub port_failures: u64,
}

/// Runs the plan's workload, with its payload, against the address.
///
/// # Errors
/// When a worker cannot be set up or its event loop fails; a fault of ours, never of the server.
pub fn run(
    plan: &Plan,
    payload: &Payload,
    address: SocketAddr,
    observer: &mut dyn Observer,
) -> Result<Recorded, Failure> {
    run_traced(plan, payload, address, observer, 0)
}

/// The same against several addresses of one name: clients are dealt out to them in turn.
///
/// # Errors
/// As [`run`].
pub fn run_over(
    plan: &Plan,
    payload: &Payload,
    addresses: &[SocketAddr],
    observer: &mut dyn Observer,
) -> Result<Recorded, Failure> {
    crew::run(plan, payload, addresses, observer, 0)
}

/// The same, and keeps the times of the first `messages` messages of each worker.
///
/// # Errors
/// As [`run`].
pub fn run_traced(
    plan: &Plan,
    payload: &Payload,
    address: SocketAddr,
    observer: &mut dyn Observer,
    messages: usize,
) -> Result<Recorded, Failure> {
    crew::run(plan, payload, &[address], observer, messages)
}

fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
