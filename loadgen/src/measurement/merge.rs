//! Adds the records of several generators that pressed at the same time. Exact: histograms, windows, counts and
//! connections are added, never averaged, and the order of the records does not matter. Pure: reads no clock and no file.

use crate::record::{
    FirstFailure, Generator, Hiccup, Histograms, Latency, LatencySet, LoadgenCost, Measurement, Reason, Repetition,
    ServerCost, ServerStats, Target, Throughput, Window,
};
use crate::record::{OpenLoop, Pacing, Plan, Stop, Workload};
use crate::recorder::latency::LatencyHistogram;
use std::collections::BTreeSet;

/// Shortest share of the longest measured phase in which all generators must have pressed.
const OVERLAP: f64 = 0.95;

/// One generator's record.
#[derive(Clone, Debug)]
pub struct Part {
    /// File of the record.
    pub name: String,
    pub record: Measurement,
}

/// The record of all generators together. `lost` names those whose records are missing: their clients count as asked for
/// and not reached, and the verdict says so.
///
/// # Errors
/// One sentence naming the records that do not belong together, and why.
pub fn merge(mut parts: Vec<Part>, lost: &[String]) -> Result<Measurement, String> {
    if parts.is_empty() {
        return Err("there is no record to begin with".to_string());
    }
    // One order, whatever the caller's: sums of floating-point figures depend on it.
    parts.sort_by_cached_key(|part| {
        let text = serde_json::to_string(&part.record).expect("a record is plain data");
        (part.record.identity.measured_from.clone(), part.record.plan.seed, text)
    });
    check_one_load(&parts)?;
    let spans = spans(&parts)?;
    let all = spans.all();
    let histograms = Distributions::merged(&parts)?;
    let records = || parts.iter().map(|part| &part.record);
    let one_server = have_one_server(&parts);
    let first = &parts[0].record;
    let mut merged = Measurement {
        target: target(&parts, one_server),
        plan: plan(&parts),
        workload: first.workload.clone(),
        complete: records().all(|record| record.complete),
        incomplete_reason: (parts.iter())
            .find_map(|part| Some(format!("{}: {}", part.name, part.record.incomplete_reason.as_ref()?))),
        throughput: throughput(&parts, all.length()),
        latency_ns: histograms.summaries(),
        histograms: histograms.encoded(),
        hiccup: histograms.hiccups(&parts),
        windows: windows(&parts, &spans, one_server),
        repetitions: repetitions(&parts, all.length(), one_server),
        fairness_jain: fairness(&parts),
        server_cost: server_cost(&parts, all.length(), one_server),
        loadgen_cost: loadgen_cost(&parts),
        server_stats: server_stats(&parts, one_server),
        first_failures: first_failures(&parts),
        limiter: same(&parts, |record| record.limiter.clone()).unwrap_or_else(|| "unknown".to_string()),
        notes: notes(&parts),
        generators: generators(&parts),
        ..first.clone()
    };
    for record in records().skip(1) {
        merged.counts.add(&record.counts);
        merged.connections.add(&record.connections);
        merged.totals.add(&record.totals);
    }
    merged.identity.suite = None;
    let lost_clients = lost.len() as u64 * records().map(|record| record.connections.asked).max().unwrap_or(0);
    merged.connections.asked += lost_clients;
    merged.plan.workload.clients += u32::try_from(lost_clients).unwrap_or(u32::MAX);
    if merged.connections.reached < merged.connections.asked {
        merged.limiter = "connections".to_string();
    }
    merged.reasons = reasons(&parts, &merged, &spans, lost);
    merged.valid = merged.reasons.is_empty();
    Ok(merged)
}

/// Refuses records that are not shares of one load, naming the first that differs.
fn check_one_load(parts: &[Part]) -> Result<(), String> {
    let first = &parts[0];
    for (place, part) in parts.iter().enumerate() {
        if let Some(twin) = parts[..place].iter().find(|before| before.record == part.record) {
            return Err(format!(
                "{} and {} are the same record: each generator's counts once",
                twin.name, part.name
            ));
        }
        let differs = |what: &str, one: String, other: String| {
            Err(format!(
                "{} and {} are not shares of one load: their {what} differ ({one} and {other})",
                first.name, part.name
            ))
        };
        let (one, other) = (&first.record, &part.record);
        if host(&one.target) != host(&other.target) {
            return differs("targets", host(&one.target), host(&other.target));
        }
        if share(&one.plan.workload) != share(&other.plan.workload) {
            let text = |record: &Measurement| format!("{:?}", share(&record.plan.workload));
            return differs("workloads", text(one), text(other));
        }
        for (what, of) in SAME_IN_ALL {
            if of(&one.plan) != of(&other.plan) {
                return differs(what, of(&one.plan), of(&other.plan));
            }
        }
        if other.repetitions.len() > 1 {
            return Err(format!(
                "{} holds {} runs of a job, and generators only run together once: measure with `loadgen --target`, not in a comparison",
                part.name,
                other.repetitions.len()
            ));
        }
        if !other.generators.is_empty() {
            return Err(format!(
                "{} is itself merged: give the records it was made from",
                part.name
            ));
        }
    }
    Ok(())
}

/// Fields of the plan that all generators share.
type Field = (&'static str, fn(&Plan) -> String);
const SAME_IN_ALL: &[Field] = &[
    ("values of --timeout", |plan| format!("{} ms", plan.timeout_ms)),
    ("values of --start-at", |plan| {
        plan.start_at.clone().unwrap_or_else(|| "none".to_string())
    }),
];

/// The target without its port: each generator may have a server of its own.
fn host(target: &Target) -> String {
    match target.name.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host.to_string(),
        _ => target.name.clone(),
    }
}

/// The workload without the share of this generator.
fn share(workload: &Workload) -> Workload {
    Workload {
        clients: 0,
        pacing: match workload.pacing {
            Pacing::OpenLoop(open) => Pacing::OpenLoop(OpenLoop { rate_per_s: 0, ..open }),
            Pacing::ClosedLoop => Pacing::ClosedLoop,
        },
        stop: match workload.stop {
            Stop::TotalMessages(_) => Stop::TotalMessages(0),
            other => other,
        },
        ..workload.clone()
    }
}

/// Whether all pressed the same process: its costs are then counted once.
fn have_one_server(parts: &[Part]) -> bool {
    parts.len() > 1 && same(parts, |record| (record.target.address.clone(), record.target.pid)).is_some()
}

/// What all records say, if they say the same.
fn same<T: PartialEq>(parts: &[Part], of: impl Fn(&Measurement) -> T) -> Option<T> {
    let first = of(&parts[0].record);
    parts[1..].iter().all(|part| of(&part.record) == first).then_some(first)
}

/// The measured phase of one generator, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Span {
    from_ns: i128,
    to_ns: i128,
}

impl Span {
    #[expect(clippy::cast_precision_loss, reason = "a phase is far shorter than 2^53 ns")]
    fn length(&self) -> f64 {
        (self.to_ns - self.from_ns).max(0) as f64 / 1e9
    }
}

/// Measured phases of all generators that came so far, in the order of the parts.
struct Spans(Vec<Option<Span>>);

impl Spans {
    /// From the first beginning to the last end.
    fn all(&self) -> Span {
        let known = || self.0.iter().flatten();
        Span {
            from_ns: known().map(|span| span.from_ns).min().unwrap_or(0),
            to_ns: known().map(|span| span.to_ns).max().unwrap_or(0),
        }
    }

    /// When all pressed, as a share of the whole.
    fn overlap(&self) -> f64 {
        let known = || self.0.iter().flatten();
        let together = Span {
            from_ns: known().map(|span| span.from_ns).max().unwrap_or(0),
            to_ns: known().map(|span| span.to_ns).min().unwrap_or(0),
        };
        let all = self.all().length();
        if all > 0.0 { together.length() / all } else { 0.0 }
    }
}

fn spans(parts: &[Part]) -> Result<Spans, String> {
    let mut spans: Vec<Option<Span>> = Vec::new();
    for part in parts {
        let Some(text) = &part.record.identity.measured_from else {
            // It never came to its measured phase, and the record says why; one that did must say when.
            if part.record.counts.planned > 0 {
                return Err(format!(
                    "{} does not say when its measured phase began: it was made by a loadgen before record 1.1, measure again",
                    part.name
                ));
            }
            spans.push(None);
            continue;
        };
        let from: jiff::Timestamp = text
            .parse()
            .map_err(|error| format!("{}: measured_from `{text}`: {error}", part.name))?;
        #[expect(clippy::cast_possible_truncation, reason = "a phase is at most a day long")]
        let length_ns = (part.record.throughput.duration_s * 1e9).round() as i128;
        let span = Span {
            from_ns: from.as_nanosecond(),
            to_ns: from.as_nanosecond() + length_ns,
        };
        let apart = |other: &Span| other.to_ns <= span.from_ns || span.to_ns <= other.from_ns;
        let stranger = spans.iter().position(|other| other.as_ref().is_some_and(apart));
        if let Some(place) = stranger {
            return Err(format!(
                "{} and {} did not press at the same time: one measured phase had ended before the other began. Give both the same --start-at",
                parts[place].name, part.name
            ));
        }
        spans.push(Some(span));
    }
    Ok(Spans(spans))
}

/// The server, or all servers under one name.
fn target(parts: &[Part], one_server: bool) -> Target {
    let first = &parts[0].record.target;
    if parts.len() == 1 || one_server {
        return first.clone();
    }
    let listed = |of: fn(&Target) -> &str| {
        let all: BTreeSet<&str> = parts.iter().map(|part| of(&part.record.target)).collect();
        all.into_iter().collect::<Vec<_>>().join(" + ")
    };
    let workers: Option<u32> = parts.iter().map(|part| part.record.target.workers).sum();
    Target {
        name: listed(|target| &target.name),
        address: listed(|target| &target.address),
        workers,
        pid: None,
        command: None,
        binary_sha256: same(parts, |record| record.target.binary_sha256.clone()).flatten(),
        ready: None,
        ..first.clone()
    }
}

/// The whole load: clients, threads and source addresses of all.
fn plan(parts: &[Part]) -> Plan {
    let mut plan = parts[0].record.plan.clone();
    let mut addresses: BTreeSet<_> = plan.source_addresses.iter().copied().collect();
    for other in parts[1..].iter().map(|part| &part.record.plan) {
        plan.workload.clients += other.workload.clients;
        if let (Stop::TotalMessages(total), Stop::TotalMessages(share)) = (&mut plan.workload.stop, other.workload.stop)
        {
            *total += share;
        }
        if let (Pacing::OpenLoop(all), Some(share)) = (&mut plan.workload.pacing, other.workload.open_loop()) {
            all.rate_per_s += share.rate_per_s;
        }
        plan.threads += other.threads;
        addresses.extend(&other.source_addresses);
    }
    plan.source_addresses = addresses.into_iter().collect();
    plan.target = target(parts, have_one_server(parts)).name;
    plan
}

/// Messages of all over the time from the first beginning to the last end.
fn throughput(parts: &[Part], whole_s: f64) -> Throughput {
    let over_whole = |sum: f64| if whole_s > 0.0 { sum / whole_s } else { 0.0 };
    let first = &parts[0].record;
    if parts.len() == 1 {
        return first.throughput;
    }
    let records = || parts.iter().map(|part| &part.record);
    let amounts = |rate: fn(&Throughput) -> f64| -> f64 {
        records()
            .map(|record| rate(&record.throughput) * record.throughput.duration_s)
            .sum()
    };
    // Connect phases begin when they like; only connections of the timed part have a common time.
    let timed = first.plan.workload.is_job() || first.plan.workload.churn;
    Throughput {
        messages_per_s: over_whole(records().map(|record| figure(record.counts.ok)).sum()),
        connections_per_s: timed.then(|| over_whole(amounts(|rates| rates.connections_per_s.unwrap_or(0.0)))),
        bytes_per_s: over_whole(amounts(|rates| rates.bytes_per_s)),
        duration_s: whole_s,
    }
}

/// The four distributions, added bin for bin. None where no record has one.
struct Distributions {
    response: Option<LatencyHistogram>,
    service: Option<LatencyHistogram>,
    send_lag: Option<LatencyHistogram>,
    connect: Option<LatencyHistogram>,
    hiccup: Option<LatencyHistogram>,
}

impl Distributions {
    fn merged(parts: &[Part]) -> Result<Self, String> {
        let of = |name: &str, text: fn(&Histograms) -> Option<&String>| -> Result<Option<LatencyHistogram>, String> {
            let mut sum: Option<LatencyHistogram> = None;
            for part in parts {
                if let Some(text) = text(&part.record.histograms) {
                    let histogram =
                        LatencyHistogram::decode(text).map_err(|error| format!("{}: {name} {error}", part.name))?;
                    sum.get_or_insert_default().add(&histogram);
                }
            }
            Ok(sum)
        };
        Ok(Self {
            response: of("response", |histograms| histograms.response.as_ref())?,
            service: of("service", |histograms| histograms.service.as_ref())?,
            send_lag: of("send lag", |histograms| histograms.send_lag.as_ref())?,
            connect: of("connect", |histograms| histograms.connect.as_ref())?,
            hiccup: of("hiccup", |histograms| histograms.hiccup.as_ref())?,
        })
    }

    /// In a closed loop service equals response and is not kept.
    fn summaries(&self) -> LatencySet {
        let summary = |histogram: &Option<LatencyHistogram>| {
            histogram
                .as_ref()
                .map_or_else(Latency::default, LatencyHistogram::summary)
        };
        LatencySet {
            response: summary(&self.response),
            service: summary(if self.service.is_some() {
                &self.service
            } else {
                &self.response
            }),
            send_lag: summary(&self.send_lag),
            connect: summary(&self.connect),
        }
    }

    /// Of all generators that could tell.
    fn hiccups(&self, parts: &[Part]) -> Option<Hiccup> {
        let known = || parts.iter().filter_map(|part| part.record.hiccup.as_ref());
        let told = known().find(|hiccup| hiccup.latency_ns.count > 0).or(known().next())?;
        Some(self.hiccup.clone().unwrap_or_default().hiccup(told.method.clone()))
    }

    fn encoded(&self) -> Histograms {
        let encoded = |histogram: &Option<LatencyHistogram>| histogram.as_ref().and_then(LatencyHistogram::encode);
        Histograms {
            response: encoded(&self.response),
            service: encoded(&self.service),
            send_lag: encoded(&self.send_lag),
            connect: encoded(&self.connect),
            hiccup: encoded(&self.hiccup),
        }
    }
}

/// Windows added where they lie in time; a beginning is rounded to whole windows after the first generator's.
fn windows(parts: &[Part], spans: &Spans, one_server: bool) -> Vec<Window> {
    let all = spans.all();
    // The second window begins where the first should end; a window's own length is how long it really took.
    let step_s = parts.iter().find_map(|part| Some(part.record.windows.get(1)?.from_s));
    let mut sum: Vec<Option<Window>> = Vec::new();
    for (part, span) in parts.iter().zip(&spans.0) {
        let late = Span {
            from_ns: all.from_ns,
            to_ns: span.map_or(all.from_ns, |span| span.from_ns),
        };
        let shift = step_s.map_or(0, |step_s| whole(late.length() / step_s));
        for (place, window) in part.record.windows.iter().enumerate() {
            let place = place + shift;
            sum.resize(sum.len().max(place + 1), None);
            let from_s = match (shift, step_s) {
                (1.., Some(step_s)) => step_s * figure(place as u64),
                _ => window.from_s,
            };
            sum[place] = Some(match sum[place] {
                None => Window { from_s, ..*window },
                Some(before) => Window {
                    from_s: before.from_s,
                    length_s: before.length_s.max(window.length_s),
                    sent: before.sent.zip(window.sent).map(|(before, sent)| before + sent),
                    ok: before.ok + window.ok,
                    errors: before.errors + window.errors,
                    // The record keeps no bins for a window, and percentiles are never averaged.
                    response_p50_ns: None,
                    response_p99_ns: None,
                    response_max_ns: before.response_max_ns.max(window.response_max_ns),
                    server_cpu_ns: added(before.server_cpu_ns, window.server_cpu_ns, one_server),
                },
            });
        }
    }
    sum.into_iter().flatten().collect()
}

/// Of several servers the sum, of one server seen by several generators the largest reading; none where one is missing.
fn added<T>(one: Option<T>, other: Option<T>, one_server: bool) -> Option<T>
where
    T: std::ops::Add<Output = T> + PartialOrd,
{
    let (one, other) = one.zip(other)?;
    Some(match (one_server, one < other) {
        (false, _) => one + other,
        (true, true) => other,
        (true, false) => one,
    })
}

fn sum_of<T>(parts: &[Part], one_server: bool, of: impl Fn(&Measurement) -> Option<T>) -> Option<T>
where
    T: std::ops::Add<Output = T> + PartialOrd,
{
    parts
        .iter()
        .map(|part| of(&part.record))
        .reduce(|one, other| added(one, other, one_server))
        .flatten()
}

fn repetitions(parts: &[Part], whole_s: f64, one_server: bool) -> Vec<Repetition> {
    let first = &parts[0].record;
    if parts.len() == 1 || first.repetitions.is_empty() {
        return first.repetitions.clone();
    }
    let all = || parts.iter().flat_map(|part| &part.record.repetitions);
    vec![Repetition {
        duration_s: whole_s,
        messages: all().map(|run| run.messages).sum(),
        connections: all().map(|run| run.connections).sum(),
        errors: all().map(|run| run.errors).sum(),
        server_cpu_ns: sum_of(parts, one_server, |record| record.repetitions.first()?.server_cpu_ns),
    }]
}

/// Jain's index over all clients, from each record's own: Σx² = (Σx)² / (n J).
fn fairness(parts: &[Part]) -> Option<f64> {
    if parts.len() == 1 {
        return parts[0].record.fairness_jain;
    }
    let (mut sum, mut squares, mut clients) = (0.0, 0.0, 0.0);
    for record in parts.iter().map(|part| &part.record) {
        let (ok, n) = (figure(record.counts.ok), f64::from(record.plan.workload.clients));
        sum += ok;
        clients += n;
        if ok > 0.0 {
            squares += ok * ok / (n * record.fairness_jain?);
        }
    }
    (squares > 0.0).then(|| sum * sum / (clients * squares))
}

fn server_cost(parts: &[Part], whole_s: f64, one_server: bool) -> ServerCost {
    let first = &parts[0].record.server_cost;
    if parts.len() == 1 {
        return first.clone();
    }
    let cost = |of: fn(&ServerCost) -> Option<f64>| sum_of(parts, one_server, |record| of(&record.server_cost));
    let number = |of: fn(&ServerCost) -> Option<u64>| sum_of(parts, one_server, |record| of(&record.server_cost));
    let method = |of: fn(&ServerCost) -> &String| {
        let all: BTreeSet<&str> = parts.iter().map(|part| of(&part.record.server_cost).as_str()).collect();
        all.into_iter().collect::<Vec<_>>().join("; ")
    };
    let ok = figure(parts.iter().map(|part| part.record.counts.ok).sum());
    let messages = figure(parts.iter().map(|part| part.record.totals.messages).sum());
    // CPU time of the measured phase: of one server the reading of the widest view, of several their sum.
    let cpu_us = sum_of(parts, one_server, |record| {
        Some(record.server_cost.cpu_us_per_message? * figure(record.counts.ok))
    });
    let (voluntary, involuntary) = (
        number(|cost| cost.context_switches_voluntary),
        number(|cost| cost.context_switches_involuntary),
    );
    ServerCost {
        cpu_user_s: cost(|cost| cost.cpu_user_s),
        cpu_system_s: cost(|cost| cost.cpu_system_s),
        cpu_percent: sum_of(parts, one_server, |record| {
            Some(record.server_cost.cpu_percent? * record.throughput.duration_s)
        })
        .filter(|_| whole_s > 0.0)
        .map(|percent_s| percent_s / whole_s),
        // The busiest windows of several servers need not be the same.
        cpu_percent_max: cost(|cost| cost.cpu_percent_max).filter(|_| one_server),
        cpu_us_per_message: cpu_us.filter(|_| ok > 0.0).map(|us| us / ok),
        cpu_us_per_connection: None,
        cpu_method: method(|cost| &cost.cpu_method),
        memory_peak_bytes: number(|cost| cost.memory_peak_bytes),
        memory_method: method(|cost| &cost.memory_method),
        memory_kernel_bytes: number(|cost| cost.memory_kernel_bytes),
        memory_kernel_method: method(|cost| &cost.memory_kernel_method),
        processes_max: number(|cost| cost.processes_max),
        threads_max: number(|cost| cost.threads_max),
        context_switches_voluntary: voluntary,
        context_switches_involuntary: involuntary,
        context_switches_per_message: (voluntary.zip(involuntary))
            .filter(|_| messages > 0.0)
            .map(|(voluntary, involuntary)| figure(voluntary + involuntary) / messages),
        context_switches_method: method(|cost| &cost.context_switches_method),
        syscalls_per_message: None,
        syscalls_method: "not counted: records of several generators are added".to_string(),
    }
}

/// Sums of what was used, the worst of what must not be exceeded.
fn loadgen_cost(parts: &[Part]) -> LoadgenCost {
    let mut sum = parts[0].record.loadgen_cost.clone();
    let worst = |one: Option<f64>, other: Option<f64>| one.zip(other).map(|(one, other)| one.max(other));
    for other in parts[1..].iter().map(|part| &part.record.loadgen_cost) {
        sum.threads += other.threads;
        sum.cpu_s += other.cpu_s;
        sum.cpu_spin_s += other.cpu_spin_s;
        sum.cpu_percent_max = sum.cpu_percent_max.max(other.cpu_percent_max);
        sum.run_queue_delay_percent_max = worst(sum.run_queue_delay_percent_max, other.run_queue_delay_percent_max);
        sum.sampler_cpu_s += other.sampler_cpu_s;
        sum.memory_peak_bytes = added(sum.memory_peak_bytes, other.memory_peak_bytes, false);
        sum.foreign_cpu_percent_max = worst(sum.foreign_cpu_percent_max, other.foreign_cpu_percent_max);
    }
    sum
}

/// Of servers that each generator started; one server's STATS belong to none of several attached generators.
fn server_stats(parts: &[Part], one_server: bool) -> Option<ServerStats> {
    if one_server {
        return None;
    }
    let all: Option<Vec<ServerStats>> = parts.iter().map(|part| part.record.server_stats).collect();
    all?.into_iter().reduce(|mut sum, other| {
        sum.accepted += other.accepted;
        sum.closed += other.closed;
        sum.refused += other.refused;
        sum.accept_errors += other.accept_errors;
        sum.bytes_in += other.bytes_in;
        sum.bytes_out += other.bytes_out;
        sum.bytes_unsent += other.bytes_unsent;
        sum.bytes_discarded += other.bytes_discarded;
        sum
    })
}

/// The earliest of each kind, with the generator that met it.
fn first_failures(parts: &[Part]) -> Vec<FirstFailure> {
    if parts.len() == 1 {
        return parts[0].record.first_failures.clone();
    }
    let mut all: Vec<FirstFailure> = parts
        .iter()
        .flat_map(|part| {
            part.record.first_failures.iter().map(|failure| FirstFailure {
                text: format!("{}: {}", part.name, failure.text),
                ..failure.clone()
            })
        })
        .collect();
    all.sort_by(|one, other| one.at_s.total_cmp(&other.at_s).then_with(|| one.text.cmp(&other.text)));
    let mut kinds = BTreeSet::new();
    all.retain(|failure| kinds.insert(failure.kind.clone()));
    all
}

/// What all say once; what only some say with their names.
fn notes(parts: &[Part]) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for part in parts {
        for note in &part.record.notes {
            let everywhere = parts.iter().all(|other| other.record.notes.contains(note));
            let note = if everywhere {
                note.clone()
            } else {
                format!("{}: {note}", part.name)
            };
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    if same(parts, |record| record.identity.loadgen_sha256.clone()).is_none() {
        notes.push("the generators were not the same build of loadgen".to_string());
    }
    notes
}

fn generators(parts: &[Part]) -> Vec<Generator> {
    parts
        .iter()
        .map(|Part { name, record }| Generator {
            name: name.clone(),
            address: record.target.address.clone(),
            seed: record.plan.seed,
            clients_asked: record.connections.asked,
            clients_reached: record.connections.reached,
            ok: record.counts.ok,
            measured_from: record.identity.measured_from.clone(),
            duration_s: record.throughput.duration_s,
            valid: record.valid,
        })
        .collect()
}

/// Gates of the records by name, and those that only several generators have.
fn reasons(parts: &[Part], merged: &Measurement, spans: &Spans, lost: &[String]) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = Vec::new();
    for part in parts {
        // Clients are counted over all generators below.
        for reason in part.record.reasons.iter().filter(|reason| reason.gate != "connections") {
            reasons.push(Reason {
                text: format!("{}: {}", part.name, reason.text),
                ..reason.clone()
            });
        }
    }
    let mut gate = |gate: &str, fails: bool, observed: f64, limit: f64, text: String| {
        if fails {
            reasons.push(Reason {
                gate: gate.to_string(),
                observed,
                limit,
                text,
            });
        }
    };
    let connections = &merged.connections;
    gate(
        "connections",
        connections.reached < connections.asked,
        figure(connections.asked.saturating_sub(connections.reached)),
        0.0,
        format!(
            "{} of {} clients were connected and served at the same time",
            connections.reached, connections.asked
        ),
    );
    gate(
        "lost_generators",
        !lost.is_empty(),
        figure(lost.len() as u64),
        0.0,
        format!(
            "{} of {} generators left no record: {}",
            lost.len(),
            lost.len() + parts.len(),
            lost.join(", ")
        ),
    );
    let overlap = spans.overlap();
    gate(
        "overlap",
        overlap < OVERLAP && spans.0.iter().any(Option::is_some),
        overlap * 100.0,
        OVERLAP * 100.0,
        format!(
            "the generators pressed together during {:.1} % of the time from the first beginning to the last end (at least {:.0} % needed): give all the same --start-at and --duration",
            overlap * 100.0,
            OVERLAP * 100.0
        ),
    );
    reasons
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a length over a length, far below 2^53"
)]
fn whole(number: f64) -> usize {
    number.round() as usize
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn figure(count: u64) -> f64 {
    count as f64
}
