//! May a measurement be believed? Each gate compares one figure of the record with its limit. Pure: reads no clock and no file.
//!
//! Limits and reasons: METHODOLOGY, "When a trial is invalid".

mod open_loop;

pub use open_loop::{missed_percent, withhold_late_percentiles};

use super::invariants;
use crate::record::{Counts, GateName, Incomplete, Measurement, Origin, Reason, SteadyClass};
use crate::units::{count_f64, percent};
use crate::workload::pool;
use open_loop::{arrivals, keeping, sending};

/// CPU time of others on the CPUs of the trial, percent of one CPU.
pub const FOREIGN_CPU_PERCENT: f64 = 3.0;
/// Where the CPU time of others is not known: share of the time in which some task waited for a CPU, in percent.
const PRESSURE_PERCENT: f64 = 10.0;
/// Time that a worker thread waited for its CPU, percent of the measured phase. In a closed loop a client that waits a
/// little presses a little less; in an open loop it sends late.
const RUN_QUEUE_DELAY_PERCENT_CLOSED: f64 = 10.0;
const RUN_QUEUE_DELAY_PERCENT_OPEN: f64 = 2.0;
/// Share of wake-ups that may be more than a millisecond late, in percent: p99.9 within it.
const HICCUPS_PERCENT: f64 = 0.1;
/// Above this share of its CPU a worker thread, not the server, sets the pace.
const CLIENT_BOUND_PERCENT: f64 = 80.0;
/// Longest window of 100 ms: a longer one means that loadgen itself stood still.
const WINDOW_S: f64 = 0.2;
/// Share of the measured phase that no window covers, in percent: loadgen stood still when it began.
const UNCOVERED_PERCENT: f64 = 1.0;
/// What may be missing in any case: the conductor's own wake-up at the end of a short phase comes late too.
const UNCOVERED_S: f64 = 0.05;
/// Share of the messages that may fail, in percent.
const ERRORS_PERCENT: f64 = 0.1;

/// What the gates need beside the record.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Bytes that came when nothing was outstanding.
    pub surplus_bytes: u64,
    /// Failed attempts to connect that are this machine's fault.
    pub local_failures: u64,
    /// Settings of the machine that did not stay as they were, one phrase each.
    pub environment_changes: Vec<String>,
}

/// The gates that the measurement does not pass.
#[must_use]
pub fn judge(measurement: &Measurement, evidence: &Evidence) -> Vec<Reason> {
    let mut gates = Gates::default();
    completeness(measurement, evidence, &mut gates);
    network(measurement, &mut gates);
    // A counting trial times nothing, so what spoils times does not spoil it.
    if !measurement.plan.counting {
        load(measurement, &mut gates);
        sending(measurement, &mut gates);
        keeping(measurement, &mut gates);
        arrivals(measurement, &mut gates);
        constancy(measurement, evidence, &mut gates);
    }
    gates.reasons.extend(invariants::violations(measurement));
    gates.reasons
}

/// Longest time that a worker thread may wait for its CPU, in percent.
#[must_use]
pub fn run_queue_delay_limit(measurement: &Measurement) -> f64 {
    if is_open_loop(measurement) {
        RUN_QUEUE_DELAY_PERCENT_OPEN
    } else {
        RUN_QUEUE_DELAY_PERCENT_CLOSED
    }
}

#[derive(Default)]
struct Gates {
    reasons: Vec<Reason>,
}

impl Gates {
    /// A figure that could not be had passes.
    fn limit(&mut self, gate: GateName, observed: Option<f64>, limit: f64, text: impl FnOnce(f64) -> String) {
        if let Some(observed) = observed.filter(|&observed| observed > limit) {
            self.reasons.push(Reason::new(gate, observed, limit, text(observed)));
        }
    }

    fn none_of(&mut self, gate: GateName, observed: u64, text: impl FnOnce(u64) -> String) {
        self.limit(gate, Some(count_f64(observed)), 0.0, |_| text(observed));
    }
}

/// Was the workload done as it was asked for?
fn completeness(measurement: &Measurement, evidence: &Evidence, gates: &mut Gates) {
    let (counts, connections) = (&measurement.counts, &measurement.connections);
    gates.none_of(GateName::Incomplete, u64::from(!measurement.complete), |_| {
        format!(
            "the trial did not run to its end: {}",
            (measurement.incomplete_reason.as_ref()).map_or("unknown", Incomplete::as_str)
        )
    });
    gates.none_of(
        GateName::Connections,
        connections.asked.saturating_sub(connections.reached),
        |_| {
            format!(
                "{} of {} clients were connected and served at the same time",
                connections.reached, connections.asked
            )
        },
    );
    gates.none_of(
        GateName::Payload,
        counts.corrupted + u64::from(evidence.surplus_bytes > 0),
        |_| {
            format!(
                "{} echoes came back corrupted, {} bytes came unasked",
                counts.corrupted, evidence.surplus_bytes
            )
        },
    );
    errors(counts, gates);
    if measurement.plan.counting && measurement.server_cost.syscalls_per_message.is_none() {
        gates.none_of(GateName::NotCounted, 1, |_| {
            measurement.server_cost.syscalls_method.clone()
        });
    }
    gates.none_of(GateName::LocalFailures, evidence.local_failures, |observed| {
        format!(
            "{observed} connections failed on this machine's own limits (source ports, descriptors): use fewer clients or \
             more --source-addresses"
        )
    });
    gates.none_of(GateName::Dropped, counts.dropped, |observed| {
        format!(
            "{observed} planned messages were never sent: all connections were busy until the end: use more --clients, or a \
             lower --rate"
        )
    });
}

/// Were the messages answered? A wrong echo is not counted here: one is too many.
fn errors(counts: &Counts, gates: &mut Gates) {
    let failed = counts.errors() - counts.corrupted;
    gates.limit(
        GateName::Errors,
        percent(failed, counts.sent),
        ERRORS_PERCENT,
        |observed| {
            let kinds = [
                (counts.refused, "refused"),
                (counts.reset, "reset"),
                (counts.timeout, "timed out"),
                (counts.closed, "closed"),
                (counts.truncated, "truncated"),
            ];
            let kinds: Vec<String> = kinds
                .iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, kind)| format!("{count} {kind}"))
                .collect();
            format!(
                "{failed} of {} messages failed, {observed:.2} % (limit {ERRORS_PERCENT} %): {}",
                counts.sent,
                kinds.join(", ")
            )
        },
    );
}

/// Did the kernel carry all segments at once?
fn network(measurement: &Measurement, gates: &mut Gates) {
    let Some(network) = &measurement.network else {
        return;
    };
    gates.none_of(GateName::ListenOverflows, network.listen_drops, |observed| {
        format!(
            "the kernel dropped {observed} connection attempts at a full accept queue; each waits a second for its \
             retry: raise the server's backlog and net.core.somaxconn"
        )
    });
    gates.none_of(GateName::BacklogDrops, network.backlog_drops, |observed| {
        format!("the kernel dropped {observed} TCP segments because a socket's backlog was full")
    });
    gates.none_of(GateName::ListenOverflows, network.syn_retransmits, |observed| {
        format!(
            "{observed} SYNs were sent again after a second: the accept queue of the server is short, or the network drops \
             connections: raise the server's backlog and net.core.somaxconn"
        )
    });
    gates.none_of(GateName::Retransmits, network.lost_segments(), |observed| {
        format!(
            "{observed} TCP segments were lost on this machine ({} sent again, {} timers ran out, tail-loss probes and undone \
             retransmissions left out): the network lost data or was too busy",
            network.retransmits, network.timeouts
        )
    });
}

/// Did others, or the trial's own crowding, take CPU time away?
fn load(measurement: &Measurement, gates: &mut Gates) {
    let cost = &measurement.loadgen_cost;
    let hiccups = measurement.hiccup.as_ref().and_then(|hiccup| hiccup.beyond_1ms_percent);
    gates.limit(GateName::Hiccup, hiccups, HICCUPS_PERCENT, |observed| {
        format!(
            "of an idle thread's wake-ups {observed:.2} % came more than 1 ms late (limit {HICCUPS_PERCENT} %): this machine \
             stalls by itself, run again on a quieter one"
        )
    });
    match cost.foreign_cpu_percent_max {
        Some(foreign) => gates.limit(GateName::ForeignLoad, Some(foreign), FOREIGN_CPU_PERCENT, |observed| {
            format!(
                "other programs used {observed:.1} % of a CPU (limit {FOREIGN_CPU_PERCENT} %): close them, run again"
            )
        }),
        None => gates.limit(
            GateName::ForeignLoad,
            cost.cpu_pressure_percent.filter(|_| is_uncrowded(measurement)),
            PRESSURE_PERCENT,
            |observed| {
                format!(
                    "some program waited for a CPU {observed:.1} % of the time (limit {PRESSURE_PERCENT} %), and neither \
                     server nor loadgen has more threads than CPUs: close other programs, run again"
                )
            },
        ),
    }
    let limit = run_queue_delay_limit(measurement);
    gates.limit(
        GateName::RunQueueDelay,
        cost.run_queue_delay_percent_max,
        limit,
        |observed| {
            format!(
                "a loadgen thread waited {observed:.1} % of the time for its CPU (limit {limit} %): \
                 give loadgen CPUs of its own (--pin), run again"
            )
        },
    );
}

/// Whether none of the trial's own threads has to wait for another of them, as far as that is known.
fn is_uncrowded(measurement: &Measurement) -> bool {
    let placement = &measurement.plan.placement;
    let fits = |threads: u64, cpus: &[usize]| !cpus.is_empty() && threads <= cpus.len() as u64;
    let server = measurement.server_cost.threads_max.unwrap_or(u64::MAX);
    !placement.shared
        && fits(server, &placement.server_cpus)
        && fits(u64::from(measurement.plan.threads), &placement.loadgen_cpus)
}

/// Did everything stay as it was from beginning to end?
fn constancy(measurement: &Measurement, evidence: &Evidence, gates: &mut Gates) {
    let longest = measurement
        .windows
        .iter()
        .map(|window| window.length_s)
        .fold(0.0, f64::max);
    gates.limit(GateName::WindowGap, Some(longest), WINDOW_S, |observed| {
        format!(
            "loadgen itself stood still: a window of 0.1 s took {observed:.2} s (limit {WINDOW_S} s); was it stopped, or the \
             machine suspended?"
        )
    });
    // What it stood still before its first message is in no window at all. A job has none.
    let phase_s = measurement.throughput.duration_s;
    let covered_s: f64 = measurement.windows.iter().map(|window| window.length_s).sum();
    let is_told = !measurement.windows.is_empty() && measurement.complete && phase_s - covered_s > UNCOVERED_S;
    let uncovered = is_told.then(|| 100.0 * (1.0 - covered_s / phase_s));
    gates.limit(GateName::WindowGap, uncovered, UNCOVERED_PERCENT, |observed| {
        format!(
            "loadgen itself stood still: its windows cover {covered_s:.2} of {phase_s:.2} s, {observed:.1} % are missing (limit \
             {UNCOVERED_PERCENT} %); was it stopped, or the machine suspended?"
        )
    });
    if let Some(steady) = &measurement.steady
        && matches!(steady.class, SteadyClass::Slowdown | SteadyClass::None)
    {
        gates.limit(GateName::SteadyState, Some(1.0), 0.0, |_| {
            let trend = format!("{:+.0} % over the measured phase", steady.trend_percent);
            match steady.class {
                SteadyClass::Slowdown => format!(
                    "steady_state: slowdown: the server was slower later than before ({trend}): no single figure describes it"
                ),
                _ => format!(
                    "steady_state: none: the server's speed still changed near the end ({trend}): use a longer --warmup or --duration"
                ),
            }
        });
    }
    gates.none_of(
        GateName::EnvironmentChanged,
        evidence.environment_changes.len() as u64,
        |_| {
            format!(
                "settings of the machine changed: {}",
                evidence.environment_changes.join("; ")
            )
        },
    );
}

fn is_open_loop(measurement: &Measurement) -> bool {
    measurement.plan.workload.open_loop().is_some()
}

/// Makes a trial invalid that was run for another plan than the folder's suite now tells, e.g. because targets were swapped
/// in `suite.json` by hand. `plan_hash` is the suite's.
pub fn judge_plan(measurement: &mut Measurement, plan_hash: &str) {
    let of_trial = measurement
        .identity
        .suite
        .as_ref()
        .and_then(|place| place.plan_hash.as_deref());
    if let Some(of_trial) = of_trial.filter(|of_trial| *of_trial != plan_hash) {
        let text = format!(
            "the trial was run for another plan than suite.json tells now (plan_hash {} there, {} here): it was changed by hand",
            short(of_trial),
            short(plan_hash)
        );
        measurement.valid = false;
        measurement
            .reasons
            .push(Reason::new(GateName::PlanHash, 1.0, 0.0, text));
    }
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// Why a trial was not begun.
#[must_use]
pub fn not_to_be_measured(why: &str) -> Reason {
    Reason::new(GateName::NotMeasured, 1.0, 0.0, why)
}

/// Whether the record is that of [`not_to_be_measured`].
#[must_use]
pub fn was_not_to_be_measured(measurement: &Measurement) -> bool {
    measurement
        .reasons
        .iter()
        .any(|reason| reason.gate == GateName::NotMeasured)
}

/// CPUs that the server may run on, where that is known.
#[must_use]
pub fn server_cpus(measurement: &Measurement) -> Option<u32> {
    match measurement.plan.placement.server_cpus.len() {
        0 => measurement.environment.cpus_usable,
        pinned => u32::try_from(pinned).ok(),
    }
}

/// What the reader should know, though the trial is valid.
#[must_use]
pub fn remarks(measurement: &Measurement) -> Vec<String> {
    let mut remarks = Vec::new();
    if measurement.plan.counting {
        remarks.push(
            "counting trial: counting system calls slows the server; rates, times and costs are no timing".to_string(),
        );
    }
    let busy = measurement.loadgen_cost.cpu_percent_max;
    if busy > CLIENT_BOUND_PERCENT && !is_open_loop(measurement) {
        remarks.push(format!(
            "client-bound: a loadgen thread used {busy:.0} % of its CPU, so the server may be faster than this"
        ));
    }
    if measurement.plan.placement.shared {
        remarks.push("server and loadgen share CPUs: the figures contain the client's cost".to_string());
    }
    if let (Some(workers), Some(cpus)) = (measurement.target.workers, server_cpus(measurement))
        && workers > cpus
        && !pool::is_pool(&measurement.target.name)
    {
        let plural = if cpus == 1 { "CPU" } else { "CPUs" };
        remarks.push(format!("oversubscribed: {workers} workers on {cpus} {plural}"));
    }
    if measurement.target.origin == Origin::Attached {
        remarks.push("attached: the server's flags and pinning are its own".to_string());
    }
    remarks
}
