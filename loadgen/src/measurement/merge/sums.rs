//! What adds up: distributions, windows, costs, counters. Figures of the table of quantities are added by its rules; what
//! is no quantity is named here, field by field, so that nothing is taken from one generator unseen.

use super::spans::{Span, Spans};
use super::{Part, listed};
use crate::quantity::{self, Clock, Reading};
use crate::record::{
    Connections, Counts, Hiccup, Histograms, LatencySet, LittlesLaw, LoadgenCost, Measurement, Network, Repetition,
    ServerCost, ServerStats, Throttling, Totals, Window,
};
use crate::recorder::latency::LatencyHistogram;
use crate::units::{count_f64, len_f64, round_usize};

/// Every quantity of the merged record that is a field: its sum, its largest, its mean, as the table says. A record that
/// is alone keeps its own.
pub(super) fn quantities(merged: &mut Measurement, parts: &[Part], whole_s: f64, one_server: bool) {
    let records: Vec<&Measurement> = parts.iter().map(|part| &part.record).collect();
    for quantity in quantity::ALL {
        if let Reading::Field { get, set } = quantity.reading {
            let figure = match records[..] {
                [alone] => get(alone),
                _ => quantity.merged(&records, whole_s, one_server),
            };
            set(merged, figure);
        }
    }
    let workload = &merged.plan.workload;
    // Connect phases begin when they like; only connections of the timed part have a common time.
    if parts.len() > 1 && !workload.is_job() && workload.connection_carries().is_none() {
        merged.throughput.connections_per_s = None;
    }
    merged.fairness_jain = fairness(parts);
}

pub(super) fn counts(parts: &[Part]) -> Counts {
    parts.iter().fold(Counts::default(), |mut sum, part| {
        sum.add(&part.record.counts);
        sum
    })
}

pub(super) fn connections(parts: &[Part]) -> Connections {
    parts.iter().fold(Connections::default(), |mut sum, part| {
        sum.add(&part.record.connections);
        sum
    })
}

pub(super) fn totals(parts: &[Part]) -> Totals {
    parts.iter().fold(Totals::default(), |mut sum, part| {
        sum.add(&part.record.totals);
        sum
    })
}

/// How the server's cost was measured; its figures are [`quantities`].
pub(super) fn server_cost(parts: &[Part], one_server: bool) -> ServerCost {
    if let [alone] = parts {
        return alone.record.server_cost.clone();
    }
    let method = |of: fn(&ServerCost) -> &String| listed(parts, "; ", |record| of(&record.server_cost));
    ServerCost {
        cpu_user_s: None,
        cpu_system_s: None,
        cpu_percent: None,
        cpu_percent_max: None,
        cpu_us_per_message: None,
        cpu_us_per_connection: None,
        cpu_method: method(|cost| &cost.cpu_method),
        memory_peak_bytes: None,
        memory_method: method(|cost| &cost.memory_method),
        memory_buffers_bytes: None,
        memory_buffers_method: method(|cost| &cost.memory_buffers_method),
        memory_kernel_bytes: None,
        memory_kernel_method: method(|cost| &cost.memory_kernel_method),
        memory_before_bytes: None,
        memory_per_connection_bytes: None,
        memory_kernel_per_connection_bytes: None,
        processes_max: None,
        threads_max: None,
        context_switches_voluntary: None,
        context_switches_involuntary: None,
        context_switches_per_message: None,
        context_switches_method: method(|cost| &cost.context_switches_method),
        syscalls_per_message: None,
        syscalls_method: "not counted: records of several generators are added".to_string(),
        throttled: throttled(parts, one_server, |record| record.server_cost.throttled),
    }
}

/// One server's is the worst that a generator saw; else all add up. None where one does not know.
fn throttled(parts: &[Part], is_the_same: bool, of: impl Fn(&Measurement) -> Option<Throttling>) -> Option<Throttling> {
    let all: Option<Vec<Throttling>> = parts.iter().map(|part| of(&part.record)).collect();
    all?.into_iter().reduce(|one, other| {
        if is_the_same {
            return if one.stopped_s < other.stopped_s { other } else { one };
        }
        Throttling {
            periods: one.periods + other.periods,
            stopped_s: one.stopped_s + other.stopped_s,
        }
    })
}

/// All else are [`quantities`].
pub(super) fn loadgen_cost(parts: &[Part]) -> LoadgenCost {
    LoadgenCost {
        threads: 0,
        cpu_s: 0.0,
        cpu_spin_s: 0.0,
        cpu_percent_max: 0.0,
        run_queue_delay_percent_max: None,
        sampler_cpu_s: 0.0,
        memory_peak_bytes: None,
        foreign_cpu_percent_max: None,
        cpu_pressure_percent: None,
        throttled: throttled(parts, false, |record| record.loadgen_cost.throttled),
        stopped_s: None,
    }
}

/// Of servers that each generator started; one server's STATS belong to none of several attached generators.
pub(super) fn server_stats(parts: &[Part], one_server: bool) -> Option<ServerStats> {
    if one_server {
        return None;
    }
    let all: Option<Vec<ServerStats>> = parts.iter().map(|part| part.record.server_stats).collect();
    all?.into_iter().reduce(|mut sum, other| {
        sum += other;
        sum
    })
}

/// Of all generators that could read theirs. Those that share a network counted each other's: the sum is never too small.
pub(super) fn network(parts: &[Part]) -> Option<Network> {
    let known = parts.iter().filter_map(|part| part.record.network);
    known.reduce(|mut sum, other| {
        sum += other;
        sum
    })
}

/// Messages under way add up, and so do rates; None where a generator does not know.
pub(super) fn littles_law(parts: &[Part], whole_s: f64) -> Option<LittlesLaw> {
    if let [alone] = parts {
        return alone.record.littles_law;
    }
    let (mut in_flight, mut product) = (0.0, 0.0);
    for record in parts.iter().map(|part| &part.record) {
        let (law, duration_s) = (record.littles_law?, record.throughput.duration_s);
        in_flight += law.in_flight_mean * duration_s;
        product += law.rate_times_latency * duration_s;
    }
    (whole_s > 0.0 && product > 0.0).then(|| LittlesLaw {
        in_flight_mean: in_flight / whole_s,
        rate_times_latency: product / whole_s,
        rel_error: (in_flight - product).abs() / product,
    })
}

/// The distributions, added bin for bin. None where no record has one.
pub(super) struct Distributions {
    /// In the order of [`Clock::ALL`].
    clocks: [Option<LatencyHistogram>; 4],
    hiccup: Option<LatencyHistogram>,
}

impl Distributions {
    pub(super) fn merged(parts: &[Part]) -> Result<Self, String> {
        let of =
            |name: &str, text: &dyn Fn(&Histograms) -> Option<&String>, max: &dyn Fn(&Measurement) -> Option<u64>| {
                let mut sum: Option<LatencyHistogram> = None;
                for part in parts {
                    if let Some(text) = text(&part.record.histograms) {
                        let histogram = LatencyHistogram::decode_exact(text, max(&part.record))
                            .map_err(|error| format!("{}: {name} {error}", part.name))?;
                        sum.get_or_insert_default().add(&histogram);
                    }
                }
                Ok::<_, String>(sum)
            };
        let mut clocks = [const { None }; 4];
        for (sum, clock) in clocks.iter_mut().zip(Clock::ALL) {
            *sum = of(
                &clock.name().replace('_', " "),
                &|histograms| clock.histogram(histograms),
                &|record| clock.latency(&record.latency_ns).max,
            )?;
        }
        let hiccup_max = |record: &Measurement| record.hiccup.as_ref()?.latency_ns.max;
        Ok(Self {
            clocks,
            hiccup: of("hiccup", &|histograms| histograms.hiccup.as_ref(), &hiccup_max)?,
        })
    }

    /// In a closed loop service equals response and is not kept.
    pub(super) fn summaries(&self) -> LatencySet {
        let summary = |histogram: &Option<LatencyHistogram>| {
            let summary = histogram.as_ref().map(LatencyHistogram::summary);
            summary.unwrap_or_default()
        };
        let [response, service, send_lag, connect] = &self.clocks;
        LatencySet {
            response: summary(response),
            service: summary(if service.is_some() { service } else { response }),
            send_lag: summary(send_lag),
            connect: summary(connect),
        }
    }

    /// Of all generators that could tell.
    pub(super) fn hiccups(&self, parts: &[Part]) -> Option<Hiccup> {
        let known = || parts.iter().filter_map(|part| part.record.hiccup.as_ref());
        let told = known().find(|hiccup| hiccup.latency_ns.count > 0).or(known().next())?;
        Some(self.hiccup.clone().unwrap_or_default().hiccup(told.method.clone()))
    }

    pub(super) fn encoded(&self) -> Histograms {
        let encoded = |histogram: &Option<LatencyHistogram>| histogram.as_ref().and_then(LatencyHistogram::encode);
        let [response, service, send_lag, connect] = &self.clocks;
        Histograms {
            response: encoded(response),
            service: encoded(service),
            send_lag: encoded(send_lag),
            connect: encoded(connect),
            hiccup: encoded(&self.hiccup),
        }
    }
}

/// Windows added where they lie in time; a beginning is rounded to whole windows after the first generator's.
pub(super) fn windows(parts: &[Part], spans: &Spans, one_server: bool) -> Vec<Window> {
    let all = spans.all();
    // The second window begins where the first should end; a window's own length is how long it really took.
    let step_s = parts.iter().find_map(|part| Some(part.record.windows.get(1)?.from_s));
    let mut sum: Vec<Option<Window>> = Vec::new();
    for (part, span) in parts.iter().zip(&spans.0) {
        let late = Span {
            from_ns: all.from_ns,
            to_ns: span.map_or(all.from_ns, |span| span.from_ns),
        };
        let shift = step_s.map_or(0, |step_s| round_usize(late.length() / step_s));
        for (place, window) in part.record.windows.iter().enumerate() {
            let place = place + shift;
            sum.resize(sum.len().max(place + 1), None);
            let from_s = match (shift, step_s) {
                (1.., Some(step_s)) => step_s * len_f64(place),
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
fn added(one: Option<u64>, other: Option<u64>, one_server: bool) -> Option<u64> {
    let (one, other) = one.zip(other)?;
    Some(if one_server { one.max(other) } else { one + other })
}

fn sum_of(parts: &[Part], one_server: bool, of: impl Fn(&Measurement) -> Option<u64>) -> Option<u64> {
    parts
        .iter()
        .map(|part| of(&part.record))
        .reduce(|one, other| added(one, other, one_server))
        .flatten()
}

pub(super) fn repetitions(parts: &[Part], whole_s: f64, one_server: bool) -> Vec<Repetition> {
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
        let (ok, n) = (count_f64(record.counts.ok), f64::from(record.plan.workload.clients));
        sum += ok;
        clients += n;
        if ok > 0.0 {
            squares += ok * ok / (n * record.fairness_jain?);
        }
    }
    (squares > 0.0).then(|| sum * sum / (clients * squares))
}
