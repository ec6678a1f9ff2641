//! Makes the record of a trial from its parts. Pure: reads no clock, no file, no process.

use super::trial::Context;
use crate::engine::{JobRun, Recorded, WINDOW};
use crate::record::Plan;
use crate::record::{
    Connections, Counts, CpuDistance, Environment, Histograms, Identity, LatencySet, LittlesLaw, LoadgenCost,
    Measurement, Network, Origin, Repetition, SCHEMA_VERSION, SERVER_DIED, ServerCost, ServerStats, SteadyState,
    SuitePlace, Target, Throughput, Totals, Window,
};
use crate::recorder::latency::LatencyHistogram;
use crate::sampler::watcher::{CpuDelta, Readings, Span};
use crate::subject::{Probes, Stopped};
use crate::validity::gates::{self, Evidence};
use crate::validity::omission;
use crate::validity::steady::{self, Worse};
use echo_contract::catalog;
use nix::unistd::Pid;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Fewest windows of which the busiest may be told.
const WINDOWS_FOR_A_PEAK: usize = 10;

/// What a trial has gathered.
pub(super) struct Parts<'a> {
    pub(super) plan: &'a Plan,
    pub(super) place: Option<SuitePlace>,
    pub(super) command: &'a [String],
    pub(super) started_at: String,
    pub(super) loadgen_sha256: Option<String>,
    pub(super) loadgen_memory_peak_bytes: Option<u64>,
    pub(super) environment: Environment,
    pub(super) target: Target,
    pub(super) recorded: Recorded,
    pub(super) readings: Readings,
    pub(super) network: Option<Network>,
    pub(super) cpu_distance: CpuDistance,
    /// Settings that were others at the end than at the beginning, one phrase each.
    pub(super) environment_changes: Vec<String>,
    pub(super) probes: Probes,
    pub(super) stopped: Stopped,
}

/// The record, with its verdict.
pub(super) fn assemble(parts: Parts<'_>) -> Measurement {
    let Parts {
        plan,
        recorded,
        readings,
        stopped,
        ..
    } = &parts;
    let recorder = &recorded.recorder;
    let is_job = plan.workload.is_job();
    let started = stopped.stats.is_some() || stopped.usage.is_some();
    let mut connections = recorder.outcomes.connections;
    connections.asked = u64::from(plan.workload.clients);
    let mut totals = recorder.totals;
    totals.probe_bytes = parts.probes.bytes;
    let mut measurement = Measurement {
        schema_version: SCHEMA_VERSION.to_string(),
        target: Target {
            command: parts.target.command.as_deref().map(without_folder),
            ..parts.target.clone()
        },
        workload: plan.workload.name.clone(),
        plan: (*plan).clone(),
        identity: Identity {
            loadgen_version: env!("CARGO_PKG_VERSION").to_string(),
            loadgen_sha256: parts.loadgen_sha256.clone(),
            started_at: parts.started_at.clone(),
            command: without_folder(parts.command),
            suite: parts.place.clone(),
            measured_from: recorded.measured_from.map(rfc3339),
        },
        environment: parts.environment.clone(),
        complete: recorded.stopped.is_none() && !readings.server_died,
        incomplete_reason: recorded.stopped.clone().map(|why| explain(&why, stopped)),
        valid: false,
        reasons: Vec::new(),
        notes: Vec::new(),
        counts: recorder.outcomes.counts,
        connections,
        totals,
        throughput: throughput(recorded, is_job),
        latency_ns: latencies(recorded),
        littles_law: littles_law(recorded),
        windows: windows(recorded, readings, is_job),
        repetitions: repetitions(recorded, readings),
        fairness_jain: recorder.fairness_jain(),
        server_cost: server_cost(&parts),
        loadgen_cost: loadgen_cost(&parts),
        network: parts.network,
        cpu_distance: Some(parts.cpu_distance.clone()),
        hiccup: Some({
            let hiccups = readings.hiccups.clone().unwrap_or_default();
            hiccups.hiccup(readings.hiccup_method.clone())
        }),
        steady: None,
        limiter: String::new(),
        server_stats: stopped
            .stats
            .as_ref()
            .map(|stats| ServerStats::without_probes(stats, parts.probes.connections, parts.probes.bytes)),
        first_failures: recorder.outcomes.clone().first_failures(),
        histograms: Histograms {
            response: recorder.response.encode(),
            service: recorder.service.encode(),
            send_lag: recorder.send_lag.encode(),
            connect: recorder.connect.encode(),
            hiccup: readings.hiccups.as_ref().and_then(LatencyHistogram::encode),
        },
        generators: Vec::new(),
    };
    measurement.steady = steady(&measurement);
    measurement.limiter = limiter(&measurement).to_string();
    measurement.notes = gates::remarks(&measurement);
    measurement.notes.extend(omission::warning(&measurement));
    if recorded.unclean_closes > 0 {
        measurement.notes.push(format!(
            "{} connections ended otherwise than by a FIN from both sides after their last echo",
            recorded.unclean_closes
        ));
    }
    if started && !stopped.clean {
        measurement
            .notes
            .push(format!("the server did not stop in order: {}", stopped.text));
    }
    measurement.reasons = gates::judge(
        &measurement,
        &Evidence {
            surplus_bytes: recorded.surplus_bytes,
            local_failures: recorded.local_failures,
            environment_changes: parts.environment_changes.clone(),
        },
    );
    measurement.valid = measurement.reasons.is_empty();
    // Only now: the verdict compares what is taken away here.
    let latency = &mut measurement.latency_ns;
    let late = gates::withhold_late_percentiles(&mut latency.response, &latency.send_lag);
    if !late.is_empty() {
        measurement.notes.push(format!(
            "response {} n/a: there the send lag, loadgen's own, is more than a tenth of the response time",
            late.join(", ")
        ));
    }
    measurement
}

/// The record of a trial that could not begin, with the reason in place of figures.
pub(super) fn not_measured(plan: &Plan, context: &Context<'_>, why: &str) -> Measurement {
    let row = catalog::find(&plan.target);
    let mut measurement = Measurement {
        schema_version: SCHEMA_VERSION.to_string(),
        target: Target {
            name: plan.target.clone(),
            model: row.map(|row| row.model.as_str().to_string()),
            runtime: row.map(|row| row.runtime.to_string()),
            runtime_version: None,
            io_interface: row.map(|row| row.io_interface.to_string()),
            accept_model: None,
            workers: None,
            address: String::new(),
            origin: Origin::Started,
            pid: None,
            command: None,
            binary_sha256: None,
            ready: None,
            container: None,
        },
        workload: plan.workload.name.clone(),
        plan: plan.clone(),
        identity: Identity {
            loadgen_version: env!("CARGO_PKG_VERSION").to_string(),
            loadgen_sha256: None,
            started_at: String::new(),
            command: without_folder(context.command),
            suite: context.place.clone(),
            measured_from: None,
        },
        environment: Environment::default(),
        complete: false,
        incomplete_reason: Some(why.to_string()),
        valid: false,
        reasons: Vec::new(),
        notes: Vec::new(),
        counts: Counts::default(),
        connections: Connections {
            asked: u64::from(plan.workload.clients),
            ..Connections::default()
        },
        totals: Totals::default(),
        throughput: Throughput::default(),
        latency_ns: LatencySet::default(),
        littles_law: None,
        windows: Vec::new(),
        repetitions: Vec::new(),
        fairness_jain: None,
        server_cost: ServerCost::default(),
        loadgen_cost: LoadgenCost::default(),
        network: None,
        cpu_distance: None,
        hiccup: None,
        steady: None,
        limiter: "unknown".to_string(),
        server_stats: None,
        first_failures: Vec::new(),
        histograms: Histograms::default(),
        generators: Vec::new(),
    };
    measurement.reasons = gates::judge(&measurement, &Evidence::default());
    measurement
}

fn rfc3339(at: SystemTime) -> String {
    let ns = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    let at = jiff::Timestamp::from_nanosecond(i128::try_from(ns).unwrap_or(0));
    at.map_or_else(|_| String::new(), |at| at.to_string())
}

/// A command line whose program is named without its folder: records are published, and where things lie on one machine
/// is nobody's concern.
fn without_folder(command: &[String]) -> Vec<String> {
    let mut command = command.to_vec();
    if let Some(program) = command.first_mut()
        && let Some(name) = Path::new(program.as_str()).file_name()
    {
        *program = name.to_string_lossy().into_owned();
    }
    command
}

/// The record of a trial that there is no point in beginning, now or later.
pub(super) fn not_to_be_measured(plan: &Plan, context: &Context<'_>, why: &str) -> Measurement {
    let mut measurement = not_measured(plan, context, why);
    measurement.reasons = vec![gates::not_to_be_measured(why)];
    measurement
}

fn explain(why: &str, stopped: &Stopped) -> String {
    if why == SERVER_DIED {
        format!("{SERVER_DIED}: {}", stopped.text)
    } else {
        why.to_string()
    }
}

fn throughput(recorded: &Recorded, is_job: bool) -> Throughput {
    let recorder = &recorded.recorder;
    if is_job {
        let rate = |of: fn(&JobRun) -> u64| {
            median(
                recorded
                    .job_runs
                    .iter()
                    .map(|run| per_second(of(run), run.duration))
                    .collect(),
            )
        };
        let messages_per_s = rate(|run| run.ok);
        return Throughput {
            messages_per_s,
            connections_per_s: Some(rate(|run| run.connections)),
            bytes_per_s: messages_per_s * bytes_per_message(recorded),
            duration_s: median(recorded.job_runs.iter().map(|run| run.duration.as_secs_f64()).collect()),
        };
    }
    let messages_per_s = per_second(recorder.outcomes.counts.ok, recorded.measured);
    Throughput {
        messages_per_s,
        connections_per_s: if recorder.connections_timed > 0 {
            Some(per_second(recorder.connections_timed, recorded.measured))
        } else {
            recorded
                .connect_phase
                .map(|took| per_second(recorder.outcomes.connections.reached, took))
        },
        bytes_per_s: messages_per_s * bytes_per_message(recorded),
        duration_s: recorded.measured.as_secs_f64(),
    }
}

fn bytes_per_message(recorded: &Recorded) -> f64 {
    let totals = &recorded.recorder.totals;
    if totals.messages == 0 {
        0.0
    } else {
        figure(totals.bytes_received) / figure(totals.messages)
    }
}

fn latencies(recorded: &Recorded) -> LatencySet {
    // In a closed loop the plan is the actual send: service equals response, and there is no send lag.
    let recorder = &recorded.recorder;
    let (response, service) = (recorder.response.summary(), recorder.service.summary());
    LatencySet {
        response,
        service: if service.count > 0 { service } else { response },
        send_lag: recorder.send_lag.summary(),
        connect: recorded.recorder.connect.summary(),
    }
}

/// Both sides of Little's law. Failed messages stand in the histogram with the timeout, not with their time under way, so
/// with them there is nothing to compare.
fn littles_law(recorded: &Recorded) -> Option<LittlesLaw> {
    let recorder = &recorded.recorder;
    let counts = &recorder.outcomes.counts;
    let duration: Duration = recorded.measured + recorded.job_runs.iter().map(|run| run.duration).sum::<Duration>();
    if counts.ok == 0 || counts.ok < counts.sent || duration.is_zero() {
        return None;
    }
    let in_flight_ns = u64::try_from(recorder.in_flight.integral_ns()).unwrap_or(u64::MAX);
    let in_flight_mean = figure(in_flight_ns) / 1e9 / duration.as_secs_f64();
    let service_mean_s = latencies(recorded).service.mean? / 1e9;
    let rate_times_latency = per_second(counts.ok, duration) * service_mean_s;
    Some(LittlesLaw {
        in_flight_mean,
        rate_times_latency,
        rel_error: (in_flight_mean - rate_times_latency).abs() / rate_times_latency,
    })
}

/// Windows of a workload that stops by time. A job's runs overlap in their times, so they have none; see `repetitions`.
fn windows(recorded: &Recorded, readings: &Readings, is_job: bool) -> Vec<Window> {
    if is_job {
        return Vec::new();
    }
    let series = &recorded.recorder.windows;
    let counts = series.windows();
    let window = |place: usize| {
        let count = &counts[place];
        let passed = readings.windows.get(place);
        Window {
            from_s: WINDOW.as_secs_f64() * figure(place as u64),
            length_s: passed.map_or(0.0, |(length, _)| length.as_secs_f64()),
            sent: Some(count.sent),
            ok: count.ok,
            errors: count.errors,
            response_p50_ns: series.response_percentile(place, 5_000),
            response_p99_ns: series.response_percentile(place, 9_900),
            response_max_ns: (count.ok > 0).then_some(count.response_max_ns),
            server_cpu_ns: passed.and_then(|window| window.1),
        }
    };
    let is_empty = |place: usize| counts[place].sent + counts[place].ok + counts[place].errors == 0;
    let passed = readings.windows.len();
    let mut windows: Vec<Window> = (0..counts.len())
        .take_while(|&place| place < passed || !is_empty(place))
        .map(window)
        .collect();
    // What ended after the measured phase stands in the open-ended window, wherever the run was stopped.
    let last = counts.len() - 1;
    if last >= windows.len() && !is_empty(last) {
        windows.push(window(last));
    }
    windows
}

fn repetitions(recorded: &Recorded, readings: &Readings) -> Vec<Repetition> {
    let cpu = readings
        .measured
        .iter()
        .map(|span| span.server_cpu.map(|cpu| cpu.total_ns));
    recorded
        .job_runs
        .iter()
        .zip(cpu.chain(std::iter::repeat(None)))
        .map(|(run, server_cpu_ns)| Repetition {
            duration_s: run.duration.as_secs_f64(),
            messages: run.ok,
            connections: run.connections,
            errors: run.errors,
            server_cpu_ns,
        })
        .collect()
}

fn server_cost(parts: &Parts<'_>) -> ServerCost {
    let Parts {
        plan,
        recorded,
        readings,
        stopped,
        ..
    } = parts;
    let is_job = plan.workload.is_job();
    let totals = &recorded.recorder.totals;
    let recorder_ok = recorded.recorder.outcomes.counts.ok;
    // A job is charged for its closing too; a timed workload for its measured phase.
    let (charged, messages) = if is_job {
        (
            sum(readings.whole_runs.iter().copied()),
            recorded.job_runs.iter().map(|run| run.ok).sum(),
        )
    } else {
        (
            sum(readings.measured.iter().map(|span| span.server_cpu)),
            recorded.recorder.outcomes.counts.ok,
        )
    };
    let per_connection = if is_job || plan.workload.churn {
        let connections = if is_job {
            totals.connections
        } else {
            recorded.recorder.connections_timed
        };
        charged.and_then(|cpu| per(cpu.total_ns, connections))
    } else {
        readings
            .connect
            .and_then(|cpu| per(cpu.total_ns, recorded.recorder.outcomes.connections.reached))
    };
    let in_phase = sum(readings.measured.iter().map(|span| span.server_cpu));
    let wall: Duration = readings.measured.iter().map(|span| span.wall).sum();
    let usage = stopped.usage.as_ref();
    let whole_life = usage.map(|usage| (usage.user + usage.system).as_secs_f64());
    let hold = readings.hold.as_ref();
    let (switches, switches_method) = context_switches(parts);
    ServerCost {
        cpu_user_s: charged
            .and_then(|cpu| cpu.user_ns)
            .map(seconds)
            .or(usage.map(|usage| usage.user.as_secs_f64())),
        cpu_system_s: charged
            .and_then(|cpu| cpu.system_ns)
            .map(seconds)
            .or(usage.map(|usage| usage.system.as_secs_f64())),
        cpu_percent: in_phase
            .filter(|_| !wall.is_zero())
            .map(|cpu| percent(cpu.total_ns, wall)),
        cpu_percent_max: peak_percent(readings),
        cpu_us_per_message: match charged {
            Some(cpu) => per(cpu.total_ns, messages),
            None => whole_life
                .filter(|_| totals.messages > 0)
                .map(|cpu_s| cpu_s * 1e6 / figure(totals.messages)),
        },
        cpu_us_per_connection: per_connection,
        cpu_method: readings.cpu_method.clone(),
        memory_peak_bytes: hold.and_then(|hold| hold.memory_bytes),
        memory_method: hold.map_or("not read: the run never came to its hold".into(), |hold| {
            hold.memory_method.clone()
        }),
        memory_kernel_bytes: hold.and_then(|hold| hold.memory_kernel_bytes),
        memory_kernel_method: hold.map_or(String::new(), |hold| hold.memory_kernel_method.clone()),
        processes_max: hold.and_then(|hold| hold.processes),
        threads_max: hold.and_then(|hold| hold.threads),
        context_switches_voluntary: switches.map(|switches| switches.0),
        context_switches_involuntary: switches.map(|switches| switches.1),
        context_switches_per_message: switches
            .filter(|_| totals.messages > 0)
            .map(|(voluntary, involuntary)| figure(voluntary + involuntary) / figure(totals.messages)),
        context_switches_method: switches_method.to_string(),
        syscalls_per_message: readings
            .measured
            .iter()
            .map(|span| span.syscalls)
            .sum::<Option<u64>>()
            .filter(|_| recorder_ok > 0)
            .map(|calls| figure(calls) / figure(recorder_ok)),
        syscalls_method: readings.syscalls_method.clone(),
    }
}

/// Voluntary and involuntary switches, and how they were counted.
fn context_switches(parts: &Parts<'_>) -> (Option<(u64, u64)>, &'static str) {
    if let Some(usage) = &parts.stopped.usage {
        let switches = (usage.context_switches_voluntary, usage.context_switches_involuntary);
        return (Some(switches), "wait4 rusage (whole life)");
    }
    match parts.readings.hold.as_ref().and_then(|hold| hold.context_switches) {
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

fn loadgen_cost(parts: &Parts<'_>) -> LoadgenCost {
    let spans = &parts.readings.measured;
    let wall: Duration = spans.iter().map(|span| span.wall).sum();
    let total = |of: fn(&Span) -> u64| -> u64 { spans.iter().map(of).sum() };
    let total_if_known = |of: fn(&Span) -> Option<u64>| -> Option<f64> {
        let ns: Option<u64> = spans.iter().map(of).sum();
        ns.filter(|_| !wall.is_zero()).map(|ns| percent(ns, wall))
    };
    LoadgenCost {
        threads: parts.plan.threads,
        cpu_s: seconds(total(|span| span.threads_cpu_ns)),
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
    }
}

/// How the speed went over the windows: in a closed loop what the server did is its rate, in an open one the rate is
/// planned and what the server did is its response time.
fn steady(measurement: &Measurement) -> Option<SteadyState> {
    let whole = measurement.windows.iter().filter(|window| window.length_s > 0.0);
    if measurement.plan.workload.open_loop().is_some() {
        // A window without a median has too few messages to say how fast the server was.
        let medians: Option<Vec<f64>> = whole.map(|window| window.response_p50_ns.map(figure)).collect();
        return steady::assess(&medians?, WINDOW.as_secs_f64(), Worse::More);
    }
    let rates: Vec<f64> = whole.map(|window| figure(window.ok) / WINDOW.as_secs_f64()).collect();
    steady::assess(&rates, WINDOW.as_secs_f64(), Worse::Less)
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

/// Names what held the server back, as far as the figures show it.
fn limiter(measurement: &Measurement) -> &'static str {
    // A worker without a CPU of its own cannot use one.
    let workers = measurement.target.workers.unwrap_or(1).max(1);
    let cpus = gates::server_cpus(measurement).unwrap_or(workers).max(1);
    let workers = f64::from(workers.min(cpus));
    if measurement.connections.reached < measurement.connections.asked {
        "connections"
    } else if measurement
        .server_cost
        .cpu_percent
        .is_some_and(|percent| percent >= 90.0 * workers)
    {
        "server cpu"
    } else if measurement.loadgen_cost.cpu_percent_max >= 90.0 {
        "client cpu"
    } else if measurement
        .loadgen_cost
        .run_queue_delay_percent_max
        .is_some_and(|percent| percent > gates::run_queue_delay_limit(measurement))
    {
        "run queue"
    } else {
        "unknown"
    }
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

fn median(mut figures: Vec<f64>) -> f64 {
    if figures.is_empty() {
        return 0.0;
    }
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 {
        figures[middle]
    } else {
        f64::midpoint(figures[middle - 1], figures[middle])
    }
}

fn per(ns: u64, events: u64) -> Option<f64> {
    (events > 0).then(|| figure(ns) / 1e3 / figure(events))
}

fn per_second(events: u64, time: Duration) -> f64 {
    if time.is_zero() {
        0.0
    } else {
        figure(events) / time.as_secs_f64()
    }
}

fn percent(ns: u64, wall: Duration) -> f64 {
    figure(ns) / 1e9 / wall.as_secs_f64() * 100.0
}

fn seconds(ns: u64) -> f64 {
    figure(ns) / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn figure(count: u64) -> f64 {
    count as f64
}
