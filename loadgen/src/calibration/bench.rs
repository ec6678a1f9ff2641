//! One run against one truth server, with a look at how quiet the machine was while it counted.

use super::behaviour::Behaviour;
use super::scorecard::Quiet;
use crate::engine::timestamps::{self, RoundTrip};
use crate::engine::{self, Directive, Moment, Observer, Progress, Recorded, limits};
use crate::failure::{Exit, Failure};
use crate::record::{Arrivals, OpenLoop, Pacing, Placement, Plan, Start, Stop, Waiting, Workload};
use crate::sampler::machine::{self, KernelThreads};
use crate::sampler::{own, process};
use crate::subject::TruthServer;
use crate::suite::preset;
use crate::units::{count_f64, duration_ns};
use crate::workload::payload::Payload;
use echo_contract::stats::Stats;
use nix::unistd::Pid;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Length of every message of the accuracy tests.
pub const FRAME_BYTES: u64 = 64;
/// Longest wait for the echo of a message, where a test does not need a shorter one.
const TIMEOUT_MS: u64 = 5_000;

/// Where the tests run, and how long.
pub struct Bench<'a> {
    pub placement: Placement,
    /// Decides the plans and the service times.
    pub seed: u64,
    pub length: Length,
    /// Whether the user wants to stop.
    pub interrupted: &'a dyn Fn() -> bool,
}

/// How much time the tests take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Seconds each: for `cargo test`.
    Short,
    /// Less than a minute together.
    Quick,
    /// A few minutes together: long enough for the closed forms.
    Full,
}

impl Length {
    /// The value for this length.
    #[must_use]
    pub fn of<T>(self, short: T, quick: T, full: T) -> T {
        match self {
            Self::Short => short,
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// What one run left.
pub struct Ran {
    pub recorded: Recorded,
    pub quiet: Quiet,
    /// What the server counted.
    pub stats: Stats,
}

impl Bench<'_> {
    /// Starts a truth server, runs the workload against it, stops it. Keeps the times of the first `traced` messages.
    ///
    /// # Errors
    /// A fault of ours; interrupted when the user stopped it.
    pub fn run(&self, behaviour: &Behaviour, workload: Workload, traced: usize) -> Result<Ran, Failure> {
        self.run_with_timeout(behaviour, workload, traced, TIMEOUT_MS)
    }

    /// The same, where messages are to time out.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_with_timeout(
        &self,
        behaviour: &Behaviour,
        workload: Workload,
        traced: usize,
        timeout_ms: u64,
    ) -> Result<Ran, Failure> {
        limits::raise_descriptors(u64::from(workload.clients) + 64)?;
        let server = self.start(behaviour)?;
        let mut witness = Witness::new(server.pid(), self.interrupted);
        let plan = self.plan(workload, timeout_ms);
        let recorded = engine::run_traced(&plan, &Payload::new(self.seed), server.address(), &mut witness, traced)?;
        if let Some(why) = &recorded.stopped {
            return Err(Failure::new(Exit::Interrupted, why.clone()));
        }
        Ok(Ran {
            quiet: witness.quiet(),
            recorded,
            stats: server.stop()?,
        })
    }

    /// A workload against an address that nobody listens at.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_against_nobody(&self, workload: Workload) -> Result<Recorded, Failure> {
        // Taken and given back: nothing listens there now, and the kernel does not hand it out again so soon.
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.map_err(|error| Failure::fault(format!("a free port: {error}")))?;
        let mut witness = Witness::new(std::process::id(), self.interrupted);
        let plan = self.plan(workload, TIMEOUT_MS);
        engine::run(&plan, &Payload::new(self.seed), address, &mut witness)
    }

    /// Single round trips with the kernel's timestamps, outside of the engine's loop.
    ///
    /// # Errors
    /// A fault of ours, or a kernel without timestamps.
    pub fn round_trips(
        &self,
        behaviour: &Behaviour,
        trips: usize,
        bytes: usize,
    ) -> Result<(Vec<RoundTrip>, Quiet), Failure> {
        let server = self.start(behaviour)?;
        let (address, cpus) = (server.address(), &self.placement.loadgen_cpus);
        let mut witness = Witness::new(server.pid(), self.interrupted);
        // A thread of its own, so that its waiting is read apart and its pinning ends with it.
        let trips = std::thread::scope(|scope| {
            let (begun, begins) = channel();
            let (tell, told) = channel();
            let (release, released) = channel::<()>();
            scope.spawn(move || {
                let _ = begun.send(nix::unistd::gettid());
                let _ = tell.send(timestamps::round_trips(address, trips, bytes, cpus));
                // Its clocks are read while it is still there.
                let _ = released.recv();
            });
            if let Ok(thread) = begins.recv() {
                witness.moment(Moment::Started { threads: &[thread] });
            }
            witness.moment(Moment::MeasuredFrom);
            let trips = told.recv();
            witness.moment(Moment::MeasuredTo);
            drop(release);
            trips
        });
        let trips = trips.map_err(|_| Failure::fault("the thread of the round trips ended before its time"))?;
        let trips = trips.map_err(|error| Failure::fault(format!("round trips with kernel timestamps: {error}")))?;
        server.stop()?;
        Ok((trips, witness.quiet()))
    }

    fn start(&self, behaviour: &Behaviour) -> Result<TruthServer, Failure> {
        let json = serde_json::to_string(behaviour).map_err(|error| Failure::fault(error.to_string()))?;
        TruthServer::start(&json, &self.placement.server_cpus)
    }

    fn plan(&self, workload: Workload, timeout_ms: u64) -> Plan {
        Plan {
            target: "truth-server".into(),
            start: Start::Never,
            workload,
            threads: 1,
            placement: self.placement.clone(),
            timeout_ms,
            connect_timeout_ms: TIMEOUT_MS,
            max_errors_percent: Plan::MAX_ERRORS_PERCENT,
            seed: self.seed,
            source_addresses: vec![],
            repeat_for_ms: 0,
            connect_window: 100,
            connect_rate_per_s: None,
            looks_for_answers: false,
            counting: false,
            start_at: None,
            network: crate::record::NetworkChoice::Host,
            reach: crate::record::Reach::default(),
            external: None,
            workers: None,
            work_ns: None,
        }
    }
}

/// A job: so many clients with so many messages each.
#[must_use]
pub fn job(clients: u32, messages: u64) -> Workload {
    Workload {
        stop: Stop::MessagesPerClient(messages),
        warmup_ms: 0,
        ..preset::unnamed(clients)
    }
}

/// A closed loop for so long, without warm-up.
#[must_use]
pub fn closed_loop(clients: u32, duration: Duration) -> Workload {
    Workload {
        stop: Stop::AfterMs(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        warmup_ms: 0,
        ..preset::unnamed(clients)
    }
}

/// An open loop at this rate for so long, without warm-up.
#[must_use]
pub fn open_loop(clients: u32, rate_per_s: u64, arrivals: Arrivals, duration: Duration) -> Workload {
    Workload {
        pacing: Pacing::OpenLoop(OpenLoop {
            rate_per_s,
            arrivals,
            ramp_ms: 0,
            waiting: Waiting::Hybrid,
        }),
        ..closed_loop(clients, duration)
    }
}

/// Reads clocks when the part that counts begins and ends.
struct Witness<'a> {
    server: u32,
    interrupted: &'a dyn Fn() -> bool,
    kernel: KernelThreads,
    workers: Vec<u32>,
    begin: Option<Reading>,
    end: Option<Reading>,
}

#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    machine_ns: Option<u64>,
    ours: Duration,
    kernel_ns: u64,
    /// Of the worker and of the server, added up.
    run_delay_ns: [Option<u64>; 2],
}

impl<'a> Witness<'a> {
    fn new(server: u32, interrupted: &'a dyn Fn() -> bool) -> Self {
        Self {
            server,
            interrupted,
            kernel: KernelThreads::find(),
            workers: Vec::new(),
            begin: None,
            end: None,
        }
    }

    fn read(&self) -> Reading {
        let threads = own::threads();
        let workers = threads.iter().filter(|thread| self.workers.contains(&thread.id));
        Reading {
            at: Instant::now(),
            machine_ns: machine::read().total_ns,
            ours: own::process_cpu() + process::tree_cpu(&process::tree(self.server)),
            kernel_ns: self.kernel.cpu_ns(),
            run_delay_ns: [
                workers.map(|thread| thread.run_delay_ns).sum(),
                process::first_thread_times(self.server).map(|times| times.run_delay_ns),
            ],
        }
    }

    fn quiet(&self) -> Quiet {
        let Some((begin, end)) = self.begin.zip(self.end) else {
            return Quiet::default();
        };
        let wall_ns = count_f64(duration_ns(end.at - begin.at));
        let foreign = begin.machine_ns.zip(end.machine_ns).map(|(before, after)| {
            let ours = count_f64(duration_ns(end.ours.saturating_sub(begin.ours)));
            let kernel = count_f64(end.kernel_ns.saturating_sub(begin.kernel_ns));
            (100.0 * (count_f64(after.saturating_sub(before)) - ours - kernel) / wall_ns).max(0.0)
        });
        let delay = |of: usize| {
            begin.run_delay_ns[of]
                .zip(end.run_delay_ns[of])
                .map(|(before, after)| 100.0 * count_f64(after.saturating_sub(before)) / wall_ns)
        };
        Quiet {
            foreign_cpu_percent: foreign,
            run_queue_delay_percent: delay(0).zip(delay(1)).map(|(worker, server)| worker.max(server)),
        }
    }
}

impl Observer for Witness<'_> {
    fn moment(&mut self, moment: Moment<'_>) {
        match moment {
            Moment::Started { threads } => {
                self.workers = threads
                    .iter()
                    .map(|thread: &Pid| thread.as_raw().cast_unsigned())
                    .collect();
            }
            // A job has no other moment for its begin.
            Moment::BeforeConnect | Moment::MeasuredFrom => self.begin = Some(self.read()),
            Moment::MeasuredTo => self.end = Some(self.read()),
            _ => {}
        }
    }

    fn look(&mut self, _: Progress) -> Directive {
        if (self.interrupted)() {
            Directive::Stop(crate::record::Incomplete::Interrupted)
        } else {
            Directive::Continue
        }
    }
}
