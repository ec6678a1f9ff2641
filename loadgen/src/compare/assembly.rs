//! Makes the record of a trial from its parts. Pure: reads no clock, no file, no process.

use super::cost::{loadgen_cost, served, server_cost};
use super::limiter::limiter;
use super::room::name_cause;
use super::trial::Context;
use crate::engine::{JobRun, Recorded};
use crate::record::{
    BesideFigures, Connections, CpuDistance, Environment, Histograms, Identity, Incomplete, Isolation, LatencySet,
    LittlesLaw, Measurement, Network, Plan, Repetition, SCHEMA_VERSION, ServerStats, SteadyState, SuitePlace, Target,
    Throughput, Totals, WINDOW, Window,
};
use crate::recorder::Recorder;
use crate::recorder::latency::LatencyHistogram;
use crate::sampler::network::Tracking;
use crate::sampler::watcher::Readings;
use crate::subject::{Probes, Stopped};
use crate::units::{count_f64, len_f64, ns_to_s, per_second};
use crate::validity::gates::{self, Evidence};
use crate::validity::omission;
use crate::validity::steady;
use echo_contract::catalog;
use std::path::Path;
use std::time::{Duration, SystemTime};

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
    /// How full the table of tracked connections was at the end.
    pub(super) tracking: Option<Tracking>,
    pub(super) cpu_distance: CpuDistance,
    /// Settings that were others at the end than at the beginning, one phrase each.
    pub(super) environment_changes: Vec<String>,
    pub(super) probes: Probes,
    pub(super) stopped: Stopped,
}

/// The record, with its verdict.
pub(super) fn assemble(parts: Parts<'_>) -> Measurement {
    let mut measurement = figures(&parts);
    measurement.steady = steady(&measurement);
    measurement.limiter = limiter(&measurement);
    measurement.notes = notes(&measurement, &parts);
    measurement.reasons = gates::judge(
        &measurement,
        &Evidence {
            surplus_bytes: parts.recorded.surplus_bytes,
            local_failures: parts.recorded.local_failures,
            port_failures: parts.recorded.port_failures,
            environment_changes: parts.environment_changes,
        },
    );
    if let Some(cause) = parts.tracking.and_then(Tracking::cause) {
        name_cause(&mut measurement.reasons, &cause);
    }
    measurement.valid = measurement.all_possible_stand();
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

/// All that was measured, before anything is concluded from it.
fn figures(parts: &Parts<'_>) -> Measurement {
    let Parts {
        plan,
        recorded,
        readings,
        stopped,
        ..
    } = parts;
    let recorder = &recorded.recorder;
    Measurement {
        target: Target {
            command: parts.target.command.as_deref().map(without_folder),
            ..parts.target.clone()
        },
        identity: Identity {
            loadgen_sha256: parts.loadgen_sha256.clone(),
            started_at: parts.started_at.clone(),
            measured_from: recorded.measured_from.map(rfc3339),
            ..identity(parts.command, parts.place.as_ref())
        },
        environment: parts.environment.clone(),
        complete: recorded.stopped.is_none() && !readings.server_died,
        incomplete_reason: recorded.stopped.clone().map(|why| explain(why, stopped)),
        counts: recorder.outcomes.counts,
        connections: Connections {
            asked: u64::from(plan.workload.clients),
            ..recorder.outcomes.connections
        },
        totals: Totals {
            probe_bytes: parts.probes.bytes,
            ..recorder.totals
        },
        throughput: throughput(recorded, plan),
        latency_ns: latencies(recorded),
        littles_law: littles_law(recorded),
        windows: windows(recorded, readings, plan.workload.is_job()),
        repetitions: repetitions(recorded, readings),
        fairness_jain: fairness(plan, recorder),
        server_cost: server_cost(parts),
        loadgen_cost: loadgen_cost(parts),
        halted_replies: Some(recorder.halted_replies),
        beside: beside(recorded, plan),
        network: parts.network,
        cpu_distance: Some(parts.cpu_distance.clone()),
        hiccup: Some({
            let hiccups = readings.hiccups.clone().unwrap_or_default();
            hiccups.hiccup(readings.hiccup_method.clone())
        }),
        server_stats: stopped
            .stats
            .as_ref()
            .map(|stats| ServerStats::without_probes(stats, parts.probes.connections, parts.probes.bytes)),
        first_failures: recorder.outcomes.clone().first_failures(),
        histograms: histograms(recorder, readings),
        ..nothing_measured(plan)
    }
}

fn histograms(recorder: &Recorder, readings: &Readings) -> Histograms {
    Histograms {
        response: recorder.response.encode(),
        service: recorder.service.encode(),
        send_lag: recorder.send_lag.encode(),
        connect: recorder.connect.encode(),
        hiccup: readings.hiccups.as_ref().and_then(LatencyHistogram::encode),
    }
}

/// A record of this plan in which nothing was seen.
fn nothing_measured(plan: &Plan) -> Measurement {
    Measurement {
        schema_version: SCHEMA_VERSION.to_string(),
        workload: plan.workload.name.clone(),
        plan: plan.clone(),
        connections: Connections {
            asked: u64::from(plan.workload.clients),
            ..Connections::default()
        },
        ..Measurement::default()
    }
}

fn identity(command: &[String], place: Option<&SuitePlace>) -> Identity {
    Identity {
        loadgen_version: env!("CARGO_PKG_VERSION").to_string(),
        command: without_folder(command),
        suite: place.cloned(),
        ..Identity::default()
    }
}

/// What the reader should know beside the verdict.
fn notes(measurement: &Measurement, parts: &Parts<'_>) -> Vec<String> {
    let (recorded, stopped) = (&parts.recorded, &parts.stopped);
    let mut notes = gates::remarks(measurement);
    notes.extend(omission::warning(measurement));
    if recorded.unclean_closes > 0 {
        notes.push(format!(
            "{} connections ended otherwise than by a FIN from both sides after their last echo",
            recorded.unclean_closes
        ));
    }
    if !stopped.clean {
        notes.push(format!("the server did not stop in order: {}", stopped.text));
    }
    notes
}

/// The record of a trial that could not begin, with the reason in place of figures.
pub(super) fn not_measured(plan: &Plan, context: &Context<'_>, why: &str) -> Measurement {
    let row = catalog::find(&plan.target);
    let mut measurement = Measurement {
        target: Target {
            name: plan.target.clone(),
            model: row.map(|row| row.model.as_str().to_string()),
            runtime: row.map(|row| row.runtime.to_string()),
            io_interface: row.map(|row| row.io_interface.to_string()),
            ..Target::default()
        },
        identity: identity(context.command, context.place.as_ref()),
        incomplete_reason: Some(why.into()),
        ..nothing_measured(plan)
    };
    measurement.reasons = gates::judge(&measurement, &Evidence::default());
    measurement
}

/// What a trial has gathered that was a crash.
pub(super) struct Crash {
    pub(super) started_at: String,
    pub(super) environment: Environment,
    pub(super) target: Target,
    /// Or why it is not known.
    pub(super) isolation: Result<Isolation, Incomplete>,
}

/// The record of a crash on purpose: all that is measured is what it took with it.
pub(super) fn of_a_crash(plan: &Plan, context: &Context<'_>, crash: Crash) -> Measurement {
    let (isolation, incomplete_reason) = match crash.isolation {
        Ok(isolation) => (isolation, None),
        Err(why) => (Isolation::default(), Some(why)),
    };
    let mut measurement = Measurement {
        target: Target {
            command: crash.target.command.as_deref().map(without_folder),
            ..crash.target
        },
        identity: Identity {
            started_at: crash.started_at,
            ..identity(context.command, context.place.as_ref())
        },
        environment: crash.environment,
        complete: incomplete_reason.is_none(),
        incomplete_reason,
        isolation,
        ..nothing_measured(plan)
    };
    measurement.connections.reached = measurement.isolation.clients.unwrap_or(0);
    if !measurement.complete {
        measurement.reasons = gates::judge(&measurement, &Evidence::default());
    }
    measurement.valid = measurement.complete;
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

/// The reason, with how the server ended where it did.
fn explain(why: Incomplete, stopped: &Stopped) -> Incomplete {
    match why {
        Incomplete::ServerDied(_) => Incomplete::server_died(&stopped.text),
        why => why,
    }
}

fn throughput(recorded: &Recorded, plan: &Plan) -> Throughput {
    if plan.workload.is_job() {
        return job_throughput(recorded);
    }
    let recorder = &recorded.recorder;
    let duration_s = recorded.measured.as_secs_f64();
    let messages_per_s = per_second(recorder.served, duration_s);
    Throughput {
        messages_per_s,
        served: Some(recorder.served),
        planned_per_s: plan
            .workload
            .open_loop()
            .map(|_| per_second(recorder.outcomes.counts.planned, duration_s)),
        // Where connections belong to the work, none made is none.
        connections_per_s: if plan.workload.connection_carries().is_some() || recorder.connections_timed > 0 {
            Some(per_second(recorder.connections_timed, duration_s))
        } else {
            recorded
                .connect_phase
                .map(|took| per_second(recorder.outcomes.connections.reached, took.as_secs_f64()))
        },
        bytes_per_s: messages_per_s * bytes_per_message(recorded),
        duration_s,
    }
}

/// Each figure is the median of the runs'.
fn job_throughput(recorded: &Recorded) -> Throughput {
    let runs = &recorded.job_runs;
    let of_runs = |figure: &dyn Fn(&JobRun) -> f64| median(runs.iter().map(figure).collect());
    let messages_per_s = of_runs(&|run| per_second(run.ok, run.duration.as_secs_f64()));
    Throughput {
        messages_per_s,
        served: Some(served(recorded)),
        planned_per_s: None,
        connections_per_s: Some(of_runs(&|run| per_second(run.connections, run.duration.as_secs_f64()))),
        bytes_per_s: messages_per_s * bytes_per_message(recorded),
        duration_s: of_runs(&|run| run.duration.as_secs_f64()),
    }
}

/// How much the clients beside the measured ones had.
fn beside(recorded: &Recorded, plan: &Plan) -> BesideFigures {
    let Some(beside) = &plan.workload.beside else {
        return BesideFigures::default();
    };
    let (seen, duration_s) = (&recorded.recorder.beside, recorded.measured.as_secs_f64());
    let rate = |number: u64| (duration_s > 0.0).then(|| per_second(number, duration_s));
    BesideFigures {
        clients: beside.clients,
        messages: seen.messages,
        errors: seen.failed,
        messages_per_s: rate(seen.messages),
        bytes_per_s: rate(seen.bytes),
    }
}

fn bytes_per_message(recorded: &Recorded) -> f64 {
    let totals = &recorded.recorder.totals;
    if totals.messages == 0 {
        0.0
    } else {
        count_f64(totals.bytes_received) / count_f64(totals.messages)
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
    let in_flight_mean = ns_to_s(in_flight_ns) / duration.as_secs_f64();
    let service_mean_s = latencies(recorded).service.mean? / 1e9;
    let rate_times_latency = per_second(counts.ok, duration.as_secs_f64()) * service_mean_s;
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
            from_s: WINDOW.as_secs_f64() * len_f64(place),
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
    series.told(readings.windows.len()).map(window).collect()
}

/// Jain's index over the clients that the plan deals messages to: the silent ones are no victims.
fn fairness(plan: &Plan, recorder: &Recorder) -> Option<f64> {
    let workload = &plan.workload;
    let active = workload.active_clients.unwrap_or(workload.clients);
    let of_all = recorder.fairness_jain()?;
    Some(of_all * f64::from(workload.clients) / f64::from(active.max(1)))
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

/// How the speed went over the windows.
fn steady(measurement: &Measurement) -> Option<SteadyState> {
    let (speeds, worse) = steady::speeds(measurement)?;
    steady::assess(&speeds, WINDOW.as_secs_f64(), worse)
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
