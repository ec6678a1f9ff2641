//! One trial: a server, a workload, a measurement. The unit of replication.
//!
//! Obtains the server, lets the engine run the workload, reads costs at the engine's moments, stops the server, and has
//! [`super::assembly`] make the record. The verdict is `validity::gates`'.

use super::assembly::{self, Parts};
use super::runner::{TrialProgress, Trials};
use crate::engine::{self, Directive, Moment, Observer, Progress, limits};
use crate::environment;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::record::{Environment, INTERRUPTED, Measurement, Origin, SERVER_DIED, SuitePlace};
use crate::record::{Placement, Plan};
use crate::recorder::latency::LatencyHistogram;
use crate::sampler::hiccup::{self, HiccupMeter};
use crate::sampler::network;
use crate::sampler::own::{self, ThreadTimes};
use crate::sampler::syscalls::{self, SyscallCounter};
use crate::sampler::{CpuReading, HoldReading, Sampler, machine};
use crate::subject::{self, Request, Server};
use crate::validity::gates;
use crate::workload::pool;
use nix::unistd::Pid;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a trial needs beside its plan.
pub struct Context<'a> {
    /// Place in a suite; none for a single run.
    pub place: Option<SuitePlace>,
    /// `--workers` of a server that is started.
    pub workers: Option<u32>,
    pub allow_public: bool,
    pub no_build: bool,
    /// loadgen's own command line, for the record.
    pub command: &'a [String],
    /// The environment when the trial's round began; none for a single run.
    pub round_environment: Option<&'a Environment>,
    /// Whether the user wants to stop.
    pub interrupted: &'a dyn Fn() -> bool,
}

/// Runs one trial.
///
/// # Errors
/// When the target cannot be had, or by a fault of loadgen. Whatever happens once the load runs is in the record.
pub fn run(plan: &Plan, context: &Context<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Measurement, Failure> {
    limits::raise_descriptors(plan.descriptors())?;
    let workers = pool::workers(&plan.target, plan.workload.clients, context.workers)?;
    let started_at = jiff::Timestamp::now().to_string();
    let environment = environment::capture();
    let server = subject::obtain(&Request {
        target: &plan.target,
        start: plan.start,
        workers,
        server_cpus: &plan.placement.server_cpus,
        connect_timeout: Duration::from_millis(plan.connect_timeout_ms),
        arguments: &[],
        allow_public: context.allow_public,
        no_build: context.no_build,
        counts_syscalls: plan.counting,
    })?;
    let target = server.description();
    if target.origin == Origin::Attached {
        // Only now it is known how many workers it has; a pool that is too small would leave clients waiting.
        pool::workers(&plan.target, plan.workload.clients, target.workers)?;
    }
    let (address, probes) = (server.address(), server.probes());
    let network_before = network::read();
    let syscalls = syscall_counter(&server, plan);
    let mut watcher = Watcher::new(&server, plan, syscalls, context.interrupted, progress);
    let recorded = engine::run(plan, address, &mut watcher);
    let readings = watcher.into_readings();
    let network = network_before
        .zip(network::read())
        .map(|(before, after)| network::growth(&before, &after));
    let environment_changes = environment::changes(&environment, &environment::capture());
    let stopped = server.stop();
    Ok(assembly::assemble(Parts {
        plan,
        place: context.place.clone(),
        command: context.command,
        started_at,
        loadgen_sha256: std::env::current_exe().ok().and_then(|path| subject::sha256_of(&path)),
        loadgen_memory_peak_bytes: own::memory_peak_bytes(),
        environment: environment.clone(),
        target,
        recorded: recorded?,
        readings,
        network,
        environment_changes: with_round(context.round_environment, &environment, environment_changes),
        probes,
        stopped,
    }))
}

/// Changes during the trial, and of a suite also those since its round began.
fn with_round(round: Option<&Environment>, now: &Environment, mut changes: Vec<String>) -> Vec<String> {
    let earlier = round.map_or_else(Vec::new, |round| environment::changes(round, now));
    changes.extend(
        earlier
            .into_iter()
            .map(|change| format!("{change} (since the round began)")),
    );
    changes
}

/// What counts the server's system calls, or why nothing does.
fn syscall_counter(server: &Server, plan: &Plan) -> Result<Arc<SyscallCounter>, String> {
    match (plan.counting, server.origin(), server.pid()) {
        (false, ..) => Err(syscalls::NOT_ASKED.to_owned()),
        (true, Origin::Started, _) => server.syscalls(),
        (true, Origin::Attached, None) => Err(format!("not counted: {}", server.why_no_pid())),
        (true, Origin::Attached, Some(pid)) => SyscallCounter::of_running_tree(pid, plan.descriptors()).map(Arc::new),
    }
}

/// Trials on real servers: each starts its own.
pub struct RealTrials<'a> {
    /// loadgen's own command line, for the records.
    pub command: &'a [String],
    pub interrupt: &'a Interrupt,
    /// Whether binaries are taken as they are.
    pub no_build: bool,
    /// The round that runs, and the environment when it began.
    pub round: Option<(u32, Environment)>,
}

impl Trials for RealTrials<'_> {
    fn prepare(&mut self) -> Result<(), Failure> {
        subject::server_directory(self.no_build).map(drop)
    }

    fn run(&mut self, plan: &Plan, place: &SuitePlace, progress: &mut dyn FnMut(TrialProgress)) -> Measurement {
        if self.round.as_ref().is_none_or(|(round, _)| *round != place.round) {
            self.round = Some((place.round, environment::capture()));
        }
        let context = Context {
            round_environment: self.round.as_ref().map(|(_, environment)| environment),
            place: Some(place.clone()),
            workers: None,
            allow_public: false,
            no_build: true, // `prepare` has built everything.
            command: self.command,
            interrupted: &|| self.interrupt.asked(),
        };
        if let Some(why) = pool::too_small(&plan.target, plan.workload.clients) {
            return assembly::not_to_be_measured(plan, &context, &why);
        }
        if plan.counting {
            if let Err(why) = syscalls::available() {
                return assembly::not_to_be_measured(plan, &context, &why);
            }
        } else {
            wait_for_calm(&plan.placement, &mut |waited| {
                progress(TrialProgress {
                    phase: "waiting for a quiet machine",
                    fraction: waited,
                });
            });
        }
        progress(TrialProgress {
            phase: "starting",
            fraction: 0.0,
        });
        let mut pass_on = |now: Progress| {
            progress(TrialProgress {
                phase: now.phase,
                fraction: now.fraction,
            })
        };
        run(plan, &context, &mut pass_on)
            .unwrap_or_else(|failure| assembly::not_measured(plan, &context, &failure.text))
    }

    fn interrupted(&self) -> bool {
        self.interrupt.asked()
    }
}

/// How long a trial of a suite waits at most for other programs to come to rest.
const CALM_WAIT: Duration = Duration::from_secs(5);
/// How long it looks at the machine at a time.
const CALM_LOOK: Duration = Duration::from_millis(100);

/// Waits until others leave the trial's CPUs alone: a trial begun in a busy moment would only have to be run again.
fn wait_for_calm(placement: &Placement, waited: &mut dyn FnMut(f64)) {
    let begun = Instant::now();
    let cpus: Vec<usize> = placement
        .server_cpus
        .iter()
        .chain(&placement.loadgen_cpus)
        .copied()
        .collect();
    let mut before = machine::read().per_cpu_ns;
    while begun.elapsed() < CALM_WAIT {
        std::thread::sleep(CALM_LOOK);
        let now = machine::read().per_cpu_ns;
        let Some(busy) = per_cpu(before.as_ref(), now.as_ref()) else {
            return;
        };
        let busiest_ns = cpus.iter().filter_map(|&cpu| busy.get(cpu)).max().copied().unwrap_or(0);
        let limit = CALM_LOOK.mul_f64(gates::FOREIGN_CPU_PERCENT / 100.0);
        if Duration::from_nanos(busiest_ns) <= limit {
            return;
        }
        waited(begun.elapsed().as_secs_f64() / CALM_WAIT.as_secs_f64());
        before = now;
    }
}

/// Costs between two moments.
#[derive(Clone, Debug, Default)]
pub(super) struct Span {
    pub(super) wall: Duration,
    /// Of the server.
    pub(super) server_cpu: Option<CpuDelta>,
    /// Busiest thread: CPU time; worst thread: time it waited for its CPU.
    pub(super) thread_cpu_ns_max: u64,
    pub(super) thread_delay_ns_max: Option<u64>,
    /// All worker threads.
    pub(super) threads_cpu_ns: u64,
    /// Each of them: id and CPU time.
    pub(super) cpu_ns_of_thread: Vec<(u32, u64)>,
    /// CPU time of everything else on the side (server's or loadgen's CPUs) that has more of it, for each CPU of that side.
    pub(super) foreign_ns: Option<u64>,
    /// System calls of the server, where they are counted.
    pub(super) syscalls: Option<u64>,
    /// Time in which some task waited for a CPU.
    pub(super) pressure_us: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CpuDelta {
    pub(super) total_ns: u64,
    pub(super) user_ns: Option<u64>,
    pub(super) system_ns: Option<u64>,
}

/// All that was read during the run.
#[derive(Debug, Default)]
pub(super) struct Readings {
    pub(super) cpu_method: String,
    pub(super) syscalls_method: String,
    /// The connect phase; none for a job.
    pub(super) connect: Option<CpuDelta>,
    /// The measured phase, or each run of a job up to its last reply.
    pub(super) measured: Vec<Span>,
    /// Server CPU of each run of a job from its first connect() to the end of its drain.
    pub(super) whole_runs: Vec<Option<CpuDelta>>,
    /// Server CPU of the windows: length and nanoseconds.
    pub(super) windows: Vec<(Duration, Option<u64>)>,
    pub(super) hold: Option<HoldReading>,
    pub(super) hiccup_method: String,
    pub(super) hiccups: Option<LatencyHistogram>,
    pub(super) sampler_cpu: Duration,
    pub(super) server_died: bool,
}

/// A point in time with all counters.
#[derive(Clone, Debug)]
struct Mark {
    at: Instant,
    server: Option<CpuReading>,
    threads: Vec<ThreadTimes>,
    server_per_cpu_ns: Option<Vec<u64>>,
    own_ns: u64,
    machine: machine::MachineReading,
    kernel_threads_ns: u64,
    syscalls: Option<u64>,
}

/// Reads costs at the engine's moments.
struct Watcher<'a> {
    server: &'a Server,
    sampler: Sampler,
    syscalls: Option<Arc<SyscallCounter>>,
    hiccups: Option<HiccupMeter>,
    kernel_threads: machine::KernelThreads,
    placement: &'a Placement,
    is_job: bool,
    interrupted: &'a dyn Fn() -> bool,
    progress: &'a mut dyn FnMut(Progress),
    workers: Vec<u32>,
    begin: Option<Mark>,
    window_from: Option<(Instant, Option<u64>)>,
    readings: Readings,
}

impl<'a> Watcher<'a> {
    fn new(
        server: &'a Server,
        plan: &'a Plan,
        syscalls: Result<Arc<SyscallCounter>, String>,
        interrupted: &'a dyn Fn() -> bool,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Self {
        let sampler = Sampler::new(&server.watched());
        let hiccups = if plan.counting {
            Err("not measured: a counting trial times nothing".to_string())
        } else {
            HiccupMeter::start(&plan.placement.loadgen_cpus, plan.threads)
        };
        let readings = Readings {
            hiccup_method: hiccups
                .as_ref()
                .map_or_else(Clone::clone, |_| hiccup::METHOD.to_owned()),
            cpu_method: sampler.cpu_method(),
            syscalls_method: syscalls
                .as_ref()
                .map_or_else(Clone::clone, |_| syscalls::METHOD.to_owned()),
            ..Readings::default()
        };
        Self {
            server,
            sampler,
            syscalls: syscalls.ok(),
            hiccups: hiccups.ok(),
            kernel_threads: machine::KernelThreads::find(),
            placement: &plan.placement,
            is_job: plan.workload.is_job(),
            interrupted,
            progress,
            workers: Vec::new(),
            begin: None,
            window_from: None,
            readings,
        }
    }

    fn into_readings(mut self) -> Readings {
        self.readings.hiccups = self.hiccups.take().map(HiccupMeter::finish);
        self.readings.sampler_cpu = Duration::from_secs_f64(self.sampler.own_cpu_s());
        self.readings
    }

    /// Reads everything that is cheap.
    fn mark(&mut self) -> Mark {
        let threads = own::threads()
            .into_iter()
            .filter(|thread| self.workers.contains(&thread.id))
            .collect();
        Mark {
            syscalls: self.syscalls.as_ref().and_then(|counter| counter.read()),
            machine: machine::read(),
            kernel_threads_ns: self.kernel_threads.cpu_ns(),
            own_ns: as_ns(own::process_cpu()),
            threads,
            server_per_cpu_ns: self.sampler.cpu_per_cpu_ns(),
            server: self.sampler.cpu(),
            at: Instant::now(),
        }
    }

    fn begin_span(&mut self) {
        let mark = self.mark();
        self.window_from = Some((mark.at, mark.server.as_ref().map(|cpu| cpu.total_ns)));
        self.record_hiccups(true);
        self.begin = Some(mark);
    }

    fn record_hiccups(&self, yes: bool) {
        if let Some(meter) = &self.hiccups {
            meter.record(yes);
        }
    }

    fn end_span(&mut self) {
        self.record_hiccups(false);
        let end = self.mark();
        if let Some(begin) = &self.begin {
            self.readings.measured.push(span(begin, &end, self.placement));
        }
    }

    fn window_passed(&mut self) {
        let now = (Instant::now(), self.sampler.cpu_within_budget().map(|cpu| cpu.total_ns));
        if let Some((from, cpu)) = self.window_from.replace(now) {
            let used = now.1.zip(cpu).map(|(after, before)| after.saturating_sub(before));
            self.readings.windows.push((now.0 - from, used));
        }
    }
}

impl Observer for Watcher<'_> {
    fn moment(&mut self, moment: Moment<'_>) {
        match moment {
            Moment::Started { threads } => {
                self.workers = threads
                    .iter()
                    .filter_map(|thread: &Pid| u32::try_from(thread.as_raw()).ok())
                    .collect();
            }
            Moment::BeforeConnect => self.begin_span(),
            Moment::Connected { .. } => {
                let now = self.sampler.cpu();
                let before = self.begin.as_ref().and_then(|begin| begin.server);
                self.readings.connect = cpu_delta(before, now);
            }
            Moment::MeasuredFrom => self.begin_span(),
            Moment::WindowPassed => self.window_passed(),
            Moment::MeasuredTo => self.end_span(),
            Moment::Hold => self.readings.hold = Some(self.sampler.hold()),
            Moment::Drained => {
                if self.is_job {
                    let now = self.sampler.cpu();
                    let before = self.begin.as_ref().and_then(|begin| begin.server);
                    self.readings.whole_runs.push(cpu_delta(before, now));
                }
            }
        }
    }

    fn look(&mut self, progress: Progress) -> Directive {
        (self.progress)(progress);
        if !self.server.is_alive() {
            self.readings.server_died = true;
            return Directive::Abort(SERVER_DIED.to_string());
        }
        if (self.interrupted)() {
            return Directive::Stop(INTERRUPTED.to_string());
        }
        Directive::Continue
    }
}

fn span(begin: &Mark, end: &Mark, placement: &Placement) -> Span {
    let server_cpu = cpu_delta(begin.server, end.server);
    let threads: Vec<(u64, Option<u64>, u32)> = end
        .threads
        .iter()
        .filter_map(|after| {
            let before = begin.threads.iter().find(|before| before.id == after.id)?;
            let delay = after
                .run_delay_ns
                .zip(before.run_delay_ns)
                .map(|(after, before)| after - before);
            Some((after.cpu_ns - before.cpu_ns, delay, after.id))
        })
        .collect();
    Span {
        wall: end.at - begin.at,
        thread_cpu_ns_max: threads.iter().map(|thread| thread.0).max().unwrap_or(0),
        thread_delay_ns_max: threads.iter().filter_map(|thread| thread.1).max(),
        threads_cpu_ns: threads.iter().map(|thread| thread.0).sum(),
        cpu_ns_of_thread: threads.iter().map(|thread| (thread.2, thread.0)).collect(),
        foreign_ns: foreign_ns(begin, end, server_cpu, placement),
        server_cpu,
        pressure_us: end
            .machine
            .pressure_some_us
            .zip(begin.machine.pressure_some_us)
            .map(|(after, before)| after.saturating_sub(before)),
        syscalls: end
            .syscalls
            .zip(begin.syscalls)
            .map(|(after, before)| after.saturating_sub(before)),
    }
}

/// What other programs used: on the side (server's or loadgen's CPUs) that has more of it, where the counters know CPUs,
/// else on all CPUs together. Kernel threads are no programs; as nobody says where they ran, they only bound the figure.
fn foreign_ns(begin: &Mark, end: &Mark, server_cpu: Option<CpuDelta>, placement: &Placement) -> Option<u64> {
    let own_ns = end.own_ns - begin.own_ns;
    let kernel_ns = end.kernel_threads_ns.saturating_sub(begin.kernel_threads_ns);
    let (before, after) = begin.machine.total_ns.zip(end.machine.total_ns)?;
    let ours = server_cpu?.total_ns + own_ns + kernel_ns;
    let anywhere = (after - before).saturating_sub(ours);
    let machine = per_cpu(begin.machine.per_cpu_ns.as_ref(), end.machine.per_cpu_ns.as_ref());
    let server = per_cpu(begin.server_per_cpu_ns.as_ref(), end.server_per_cpu_ns.as_ref());
    let (Some(machine), Some(server), false) = (machine, server, placement.shared) else {
        return Some(anywhere);
    };
    let side = |cpus: &[usize], own_ns: u64| {
        let sum = |of: &[u64]| -> u64 { cpus.iter().filter_map(|&cpu| of.get(cpu)).sum() };
        sum(&machine).saturating_sub(sum(&server)).saturating_sub(own_ns) / cpus.len().max(1) as u64
    };
    Some(
        side(&placement.server_cpus, 0)
            .max(side(&placement.loadgen_cpus, own_ns))
            .min(anywhere),
    )
}

fn per_cpu(before: Option<&Vec<u64>>, after: Option<&Vec<u64>>) -> Option<Vec<u64>> {
    let (before, after) = before.zip(after)?;
    Some(
        after
            .iter()
            .zip(before)
            .map(|(after, before)| after.saturating_sub(*before))
            .collect(),
    )
}

fn cpu_delta(before: Option<CpuReading>, after: Option<CpuReading>) -> Option<CpuDelta> {
    let (before, after) = before.zip(after)?;
    let part = |before: Option<u64>, after: Option<u64>| before.zip(after).map(|(b, a)| a.saturating_sub(b));
    Some(CpuDelta {
        total_ns: after.total_ns.saturating_sub(before.total_ns),
        user_ns: part(before.user_ns, after.user_ns),
        system_ns: part(before.system_ns, after.system_ns),
    })
}

fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
