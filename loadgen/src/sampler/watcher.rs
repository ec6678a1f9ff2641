//! Reads what server, loadgen and machine cost between the moments of a run, and makes differences of it. What the
//! figures mean is `compare`'s to say.

use super::cgroup::{QuotaWatch, Throttled};
use super::hiccup::{self, HiccupMeter};
use super::own::{self, ThreadTimes};
use super::pulse::Pulse;
use super::syscalls::{self, SyscallCounter};
use super::{CpuReading, HoldReading, Sampler, Watched, machine};
use crate::record::{Placement, Plan};
use crate::recorder::latency::LatencyHistogram;
use crate::units::duration_ns;
use nix::unistd::Pid;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Costs between two moments.
#[derive(Clone, Debug, Default)]
pub struct Span {
    pub wall: Duration,
    /// Of the server.
    pub server_cpu: Option<CpuDelta>,
    /// Busiest thread: CPU time; worst thread: time it waited for its CPU.
    pub thread_cpu_ns_max: u64,
    pub thread_delay_ns_max: Option<u64>,
    /// All worker threads.
    pub threads_cpu_ns: u64,
    /// Each of them: id and CPU time.
    pub cpu_ns_of_thread: Vec<(u32, u64)>,
    /// CPU time of everything else on the side (server's or loadgen's CPUs) that has more of it, for each CPU of that side.
    pub foreign_ns: Option<u64>,
    /// System calls of the server, where they are counted.
    pub syscalls: Option<u64>,
    /// Time in which some task waited for a CPU.
    pub pressure_us: Option<u64>,
    /// What CPU quotas took from the server, and from loadgen.
    pub server_throttled: Option<Throttled>,
    pub own_throttled: Option<Throttled>,
}

/// CPU time between two readings.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuDelta {
    pub total_ns: u64,
    pub user_ns: Option<u64>,
    pub system_ns: Option<u64>,
}

/// All that was read during the run.
#[derive(Debug, Default)]
pub struct Readings {
    pub cpu_method: String,
    pub syscalls_method: String,
    /// The connect phase; none for a job.
    pub connect: Option<CpuDelta>,
    /// The measured phase, or each run of a job up to its last reply.
    pub measured: Vec<Span>,
    /// Server CPU of each run of a job from its first connect() to the end of its drain.
    pub whole_runs: Vec<Option<CpuDelta>>,
    /// Server CPU of the windows: length and nanoseconds.
    pub windows: Vec<(Duration, Option<u64>)>,
    /// Before the first client of the trial.
    pub before: HoldReading,
    pub hold: Option<HoldReading>,
    pub hiccup_method: String,
    pub hiccups: Option<LatencyHistogram>,
    pub sampler_cpu: Duration,
    /// Time in which loadgen did not run, though it could have.
    pub stopped: Option<Duration>,
    pub server_died: bool,
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
    server_throttled: Vec<Option<Throttled>>,
    own_throttled: Vec<Option<Throttled>>,
}

/// Reads costs at the moments of a run that it is told of.
#[derive(Debug)]
pub struct Watcher {
    sampler: Sampler,
    syscalls: Option<Arc<SyscallCounter>>,
    hiccups: Option<HiccupMeter>,
    pulse: Option<Pulse>,
    server_quota: QuotaWatch,
    own_quota: QuotaWatch,
    kernel_threads: machine::KernelThreads,
    placement: Placement,
    is_job: bool,
    workers: Vec<u32>,
    begin: Option<Mark>,
    window_from: Option<(Instant, Option<u64>)>,
    readings: Readings,
}

impl Watcher {
    /// Chooses how everything is read; `syscalls` counts the server's system calls, or says why nothing does.
    #[must_use]
    pub fn new(server: &Watched, plan: &Plan, syscalls: Result<Arc<SyscallCounter>, String>) -> Self {
        let sampler = Sampler::new(server);
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
            before: sampler.hold(),
            ..Readings::default()
        };
        Self {
            sampler,
            syscalls: syscalls.ok(),
            hiccups: hiccups.ok(),
            pulse: Pulse::start(&plan.placement.loadgen_cpus),
            server_quota: server
                .pid
                .map_or_else(QuotaWatch::default, |pid| QuotaWatch::of(&pid.to_string())),
            own_quota: QuotaWatch::of("self"),
            kernel_threads: machine::KernelThreads::find(),
            placement: plan.placement.clone(),
            is_job: plan.workload.is_job(),
            workers: Vec::new(),
            begin: None,
            window_from: None,
            readings,
        }
    }

    /// The load's threads run, under these ids.
    pub fn workers_started(&mut self, threads: &[Pid]) {
        let id = |thread: &Pid| u32::try_from(thread.as_raw()).ok();
        self.workers = threads.iter().filter_map(id).collect();
    }

    /// Something that is charged begins: the connect phase, the measured phase, a run of a job.
    pub fn span_begins(&mut self) {
        let mark = self.mark();
        self.window_from = Some((mark.at, mark.server.as_ref().map(|cpu| cpu.total_ns)));
        self.record_hiccups(true);
        self.begin = Some(mark);
    }

    /// All clients are connected.
    pub fn connected(&mut self) {
        self.readings.connect = self.server_cpu_since_begin();
    }

    /// Another window of the measured phase has passed.
    pub fn window_passed(&mut self) {
        let now = (Instant::now(), self.sampler.cpu_within_budget().map(|cpu| cpu.total_ns));
        if let Some((from, cpu)) = self.window_from.replace(now) {
            let used = now.1.zip(cpu).map(|(after, before)| after.saturating_sub(before));
            self.readings.windows.push((now.0 - from, used));
        }
    }

    /// The measured phase has ended, or the last reply of a job's run is there.
    pub fn span_ends(&mut self) {
        self.record_hiccups(false);
        let end = self.mark();
        if let Some(begin) = &self.begin {
            self.readings.measured.push(span(begin, &end, &self.placement));
        }
    }

    /// All clients are connected and silent: what takes long is read.
    pub fn hold(&mut self) {
        self.readings.hold = Some(self.sampler.hold());
    }

    /// All connections are closed.
    pub fn drained(&mut self) {
        if self.is_job {
            let cpu = self.server_cpu_since_begin();
            self.readings.whole_runs.push(cpu);
        }
    }

    /// The server ended before the run did.
    pub fn server_died(&mut self) {
        self.readings.server_died = true;
    }

    /// Ends what still measures.
    #[must_use]
    pub fn into_readings(mut self) -> Readings {
        self.readings.hiccups = self.hiccups.take().map(HiccupMeter::finish);
        self.readings.stopped = self.pulse.take().and_then(Pulse::finish);
        self.readings.sampler_cpu = Duration::from_secs_f64(self.sampler.own_cpu_s());
        self.readings
    }

    fn server_cpu_since_begin(&self) -> Option<CpuDelta> {
        let before = self.begin.as_ref().and_then(|begin| begin.server);
        cpu_delta(before, self.sampler.cpu())
    }

    fn record_hiccups(&self, yes: bool) {
        if let Some(meter) = &self.hiccups {
            meter.record(yes);
        }
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
            server_throttled: self.server_quota.read(),
            own_throttled: self.own_quota.read(),
            own_ns: duration_ns(own::process_cpu()),
            threads,
            server_per_cpu_ns: self.sampler.cpu_per_cpu_ns(),
            server: self.sampler.cpu(),
            at: Instant::now(),
        }
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
        server_throttled: Throttled::between(&begin.server_throttled, &end.server_throttled),
        own_throttled: Throttled::between(&begin.own_throttled, &end.own_throttled),
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

/// Growth of each CPU's counter; None where either is not known.
#[must_use]
pub fn per_cpu(before: Option<&Vec<u64>>, after: Option<&Vec<u64>>) -> Option<Vec<u64>> {
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
