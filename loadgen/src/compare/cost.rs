//! What server and loadgen cost, from the readings of a trial. Pure.

use super::assembly::Parts;
use super::memory;
use crate::engine::Recorded;
use crate::record::{LoadgenCost, ServerCost, Throttling, WINDOW};
use crate::sampler::cgroup::Throttled;
use crate::sampler::watcher::{CpuDelta, Readings, Span};
use crate::units::{count_f64, ns_to_s, ns_to_us};
use nix::unistd::Pid;
use std::time::Duration;

/// Fewest windows of which the busiest may be told.
const WINDOWS_FOR_A_PEAK: usize = 10;

pub(super) fn server_cost(parts: &Parts<'_>) -> ServerCost {
    let Parts {
        recorded,
        readings,
        stopped,
        ..
    } = parts;
    let messages_whole_life = recorded.recorder.totals.messages;
    let charged = charged(parts);
    let in_phase = sum(readings.measured.iter().map(|span| span.server_cpu));
    let wall: Duration = readings.measured.iter().map(|span| span.wall).sum();
    let usage = stopped.usage.as_ref();
    let whole_life = usage.map(|usage| (usage.user + usage.system).as_secs_f64());
    let hold = readings.hold.as_ref();
    let (switches, switches_method) = context_switches(parts);
    let (buffers, buffers_method) = memory::buffers(parts);
    let syscalls: Option<u64> = readings.measured.iter().map(|span| span.syscalls).sum();
    ServerCost {
        cpu_user_s: (charged.and_then(|cpu| cpu.user_ns).map(ns_to_s)).or(usage.map(|usage| usage.user.as_secs_f64())),
        cpu_system_s: (charged.and_then(|cpu| cpu.system_ns).map(ns_to_s))
            .or(usage.map(|usage| usage.system.as_secs_f64())),
        cpu_percent: in_phase
            .filter(|_| !wall.is_zero())
            .map(|cpu| percent(cpu.total_ns, wall)),
        cpu_percent_max: peak_percent(readings),
        cpu_us_per_message: match charged {
            // Whose messages it was spent on cannot be told.
            _ if parts.plan.workload.beside.is_some() => None,
            Some(cpu) => each(ns_to_us(cpu.total_ns), served(recorded)),
            None => whole_life.and_then(|cpu_s| each(cpu_s * 1e6, messages_whole_life)),
        },
        cpu_us_per_connection: cpu_us_per_connection(parts, charged),
        cpu_method: readings.cpu_method.clone(),
        memory_peak_bytes: hold.and_then(|hold| hold.memory_bytes),
        memory_method: hold.map_or("not read: the run never came to its hold".into(), |hold| {
            hold.memory_method.clone()
        }),
        memory_buffers_bytes: hold.and(buffers),
        memory_buffers_method: buffers_method,
        memory_kernel_bytes: hold.and_then(|hold| hold.memory_kernel_bytes),
        memory_kernel_method: hold.map_or(String::new(), |hold| hold.memory_kernel_method.clone()),
        memory_before_bytes: memory::of(&readings.before),
        memory_per_connection_bytes: memory::per_connection(parts),
        memory_kernel_per_connection_bytes: memory::kernel_per_connection(parts),
        processes_max: hold.and_then(|hold| hold.processes),
        threads_max: hold.and_then(|hold| hold.threads),
        context_switches_voluntary: switches.map(|switches| switches.0),
        context_switches_involuntary: switches.map(|switches| switches.1),
        context_switches_per_message: switches
            .filter(|_| parts.plan.workload.beside.is_none())
            .and_then(|(voluntary, involuntary)| each(count_f64(voluntary + involuntary), messages_whole_life)),
        context_switches_method: switches_method.to_string(),
        syscalls_per_message: syscalls.and_then(|calls| each(count_f64(calls), recorded.recorder.served)),
        syscalls_method: readings.syscalls_method.clone(),
        throttled: throttled(readings, |span| span.server_throttled),
    }
}

/// What CPU quotas took in all spans; None where that is not known of one of them.
fn throttled(readings: &Readings, of: fn(&Span) -> Option<Throttled>) -> Option<Throttling> {
    let spans: Option<Vec<Throttled>> = readings.measured.iter().map(of).collect();
    let spans = spans.filter(|spans| !spans.is_empty())?;
    Some(Throttling {
        periods: spans.iter().map(|span| span.periods).sum(),
        stopped_s: ns_to_s(spans.iter().map(|span| span.ns).sum()),
    })
}

/// A job is charged for its closing too; a timed workload for its measured phase.
fn charged(parts: &Parts<'_>) -> Option<CpuDelta> {
    if parts.plan.workload.is_job() {
        sum(parts.readings.whole_runs.iter().copied())
    } else {
        sum(parts.readings.measured.iter().map(|span| span.server_cpu))
    }
}

/// Messages that the measured phase, or all runs of a job, are charged with: those that ended in it.
pub(super) fn served(recorded: &Recorded) -> u64 {
    if recorded.job_runs.is_empty() {
        recorded.recorder.served
    } else {
        recorded.job_runs.iter().map(|run| run.ok).sum()
    }
}

fn cpu_us_per_connection(parts: &Parts<'_>, charged: Option<CpuDelta>) -> Option<f64> {
    let (workload, recorder) = (&parts.plan.workload, &parts.recorded.recorder);
    let (cpu, connections) = if workload.is_job() {
        (charged, recorder.totals.connections)
    } else if workload.churn {
        (charged, recorder.connections_timed)
    } else {
        (parts.readings.connect, recorder.outcomes.connections.reached)
    };
    each(ns_to_us(cpu?.total_ns), connections)
}

/// Voluntary and involuntary switches, and how they were counted.
fn context_switches(parts: &Parts<'_>) -> (Option<(u64, u64)>, &'static str) {
    if let Some(usage) = &parts.stopped.usage {
        let switches = (usage.context_switches_voluntary, usage.context_switches_involuntary);
        return (Some(switches), "wait4 rusage (whole life)");
    }
    let switches = parts.readings.hold.as_ref().and_then(|hold| hold.context_switches);
    let is_of_one_thread_each = parts.target.model.as_deref() != Some("event");
    match switches {
        // A client's thread or process takes its switches with it when it ends.
        Some(_) if parts.plan.workload.connection_carries().is_some() && is_of_one_thread_each => (
            None,
            "not counted: /proc forgets threads and processes that ended, and each connection may have had its own",
        ),
        Some(switches) => (
            Some((switches.voluntary, switches.involuntary)),
            "/proc status of the live threads (this trial)",
        ),
        None => (None, "not counted: the server's process cannot be read"),
    }
}

/// The busiest window; none when there are too few.
fn peak_percent(readings: &Readings) -> Option<f64> {
    let whole: Vec<f64> = readings
        .windows
        .iter()
        .filter(|(length, _)| *length >= WINDOW - WINDOW / 10)
        .filter_map(|(length, cpu)| cpu.map(|cpu| percent(cpu, *length)))
        .collect();
    (whole.len() >= WINDOWS_FOR_A_PEAK).then(|| whole.into_iter().fold(0.0, f64::max))
}

pub(super) fn loadgen_cost(parts: &Parts<'_>) -> LoadgenCost {
    let spans = &parts.readings.measured;
    let wall: Duration = spans.iter().map(|span| span.wall).sum();
    let total = |of: fn(&Span) -> u64| -> u64 { spans.iter().map(of).sum() };
    let total_if_known = |of: fn(&Span) -> Option<u64>| -> Option<f64> {
        let ns: Option<u64> = spans.iter().map(of).sum();
        ns.filter(|_| !wall.is_zero()).map(|ns| percent(ns, wall))
    };
    LoadgenCost {
        // As many as ran: never more than there are clients.
        threads: u32::try_from(parts.recorded.spinning.len()).unwrap_or(u32::MAX),
        cpu_s: ns_to_s(total(|span| span.threads_cpu_ns)),
        cpu_spin_s: parts.recorded.spinning.iter().map(|(_, spun)| spun.as_secs_f64()).sum(),
        cpu_percent_max: if wall.is_zero() {
            0.0
        } else {
            percent(
                spans
                    .iter()
                    .map(|span| busiest_ns(span, &parts.recorded.spinning))
                    .sum(),
                wall,
            )
        },
        run_queue_delay_percent_max: total_if_known(|span| span.thread_delay_ns_max),
        sampler_cpu_s: parts.readings.sampler_cpu.as_secs_f64(),
        memory_peak_bytes: parts.loadgen_memory_peak_bytes,
        foreign_cpu_percent_max: total_if_known(|span| span.foreign_ns),
        cpu_pressure_percent: total_if_known(|span| span.pressure_us.map(|us| us * 1000)),
        throttled: throttled(&parts.readings, |span| span.own_throttled),
        stopped_s: parts.readings.stopped.map(|stopped| stopped.as_secs_f64()),
    }
}

/// CPU time of the busiest worker thread, deliberate spinning left out: it could do that much less and lose nothing.
/// Only an open loop spins, and it has one span.
fn busiest_ns(span: &Span, spinning: &[(Pid, Duration)]) -> u64 {
    let spun_ns = |id: u32| {
        let spun = spinning
            .iter()
            .find(|(thread, _)| u32::try_from(thread.as_raw()) == Ok(id));
        spun.map_or(0, |(_, spun)| u64::try_from(spun.as_nanos()).unwrap_or(u64::MAX))
    };
    span.cpu_ns_of_thread
        .iter()
        .map(|&(id, cpu_ns)| cpu_ns.saturating_sub(spun_ns(id)))
        .max()
        .unwrap_or(span.thread_cpu_ns_max)
}

fn sum(deltas: impl Iterator<Item = Option<CpuDelta>>) -> Option<CpuDelta> {
    let mut deltas = deltas.peekable();
    deltas.peek()?;
    deltas.try_fold(
        CpuDelta {
            total_ns: 0,
            user_ns: Some(0),
            system_ns: Some(0),
        },
        |sum, delta| {
            let delta = delta?;
            let add = |a: Option<u64>, b: Option<u64>| a.zip(b).map(|(a, b)| a + b);
            Some(CpuDelta {
                total_ns: sum.total_ns + delta.total_ns,
                user_ns: add(sum.user_ns, delta.user_ns),
                system_ns: add(sum.system_ns, delta.system_ns),
            })
        },
    )
}

/// So much for each of so many; None where there are none.
fn each(amount: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| amount / count_f64(count))
}

/// Time within a span, in percent of it.
fn percent(ns: u64, wall: Duration) -> f64 {
    ns_to_s(ns) / wall.as_secs_f64() * 100.0
}
