//! May a measurement be believed? Each gate compares one figure of the record with its limit. Pure: reads no clock and no file.
//!
//! Limits and reasons: METHODOLOGY, "When a trial is invalid".

mod halts;
mod machine;
mod open_loop;

pub use machine::{FOREIGN_CPU_PERCENT, HICCUPS_PERCENT, run_queue_delay_limit};
pub use open_loop::{Evenness, missed_percent, withhold_late_percentiles};

use super::invariants;
use crate::record::{Counts, GateName, Incomplete, Measurement, Origin, Reason, SteadyClass};
use crate::text::count;
use crate::units::{count_f64, percent};
use crate::workload::pool;
use std::time::Duration;

/// Above this share of its CPU a worker thread, not the server, sets the pace.
const CLIENT_BOUND_PERCENT: f64 = 80.0;

/// What the gates need beside the record.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Bytes that came when nothing was outstanding.
    pub surplus_bytes: u64,
    /// Failed attempts to connect that are this machine's fault.
    pub local_failures: u64,
    /// Those of them that found no source port.
    pub port_failures: u64,
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
        machine::stops(measurement, &mut gates);
        machine::throttling(measurement, &mut gates);
        machine::sharing(measurement, &mut gates);
        machine::foreign_load(measurement, &mut gates);
        machine::waiting(measurement, &mut gates);
        machine::hiccups(measurement, &mut gates);
        open_loop::sending(measurement, &mut gates);
        open_loop::keeping(measurement, &mut gates);
        open_loop::arrivals(measurement, &mut gates);
        machine::windows(measurement, &mut gates);
        steady_state(measurement, &mut gates);
        machine::settings(evidence, &mut gates);
    }
    gates.reasons.extend(invariants::violations(measurement));
    gates.reasons
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
    errors(counts, measurement.plan.max_errors_percent, gates);
    if measurement.plan.counting && measurement.server_cost.syscalls_per_message.is_none() {
        gates.none_of(GateName::NotCounted, 1, |_| {
            measurement.server_cost.syscalls_method.clone()
        });
    }
    gates.none_of(GateName::LocalFailures, evidence.local_failures, |observed| {
        if evidence.port_failures == observed {
            return no_port(measurement, observed);
        }
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

/// Why there was none for so many connections, by the settings that were in force.
fn no_port(measurement: &Measurement, observed: u64) -> String {
    let setting = |name: &str| measurement.environment.settings.get(name).map(String::as_str);
    let range = setting("net.ipv4.ip_local_port_range").unwrap_or("unknown");
    let range: Vec<&str> = range.split_whitespace().collect();
    let reuse = match setting("net.ipv4.tcp_tw_reuse") {
        Some("0") => {
            "and net.ipv4.tcp_tw_reuse = 0 lets none be used again for a minute after its connection: set it to 1"
        }
        _ => "and a port rests for a minute after its connection (net.ipv4.tcp_tw_reuse allows to use it before)",
    };
    format!(
        "{observed} connections found no source port: net.ipv4.ip_local_port_range is {}, {reuse}, or give more \
         --source-addresses, or --close rst",
        range.join("-")
    )
}

/// Were the messages answered? A wrong echo is not counted here: one is too many.
fn errors(counts: &Counts, limit: f64, gates: &mut Gates) {
    let failed = counts.errors() - counts.corrupted;
    gates.limit(GateName::Errors, percent(failed, counts.sent), limit, |observed| {
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
            "{failed} of {} messages failed, {observed:.2} % (limit {limit} %): {}",
            counts.sent,
            kinds.join(", ")
        )
    });
}

/// Did the kernel carry all segments at once?
fn network(measurement: &Measurement, gates: &mut Gates) {
    let Some(network) = &measurement.network else {
        return;
    };
    gates.none_of(GateName::ListenOverflows, network.listen_drops, |observed| {
        format!(
            "the kernel dropped {observed} connection attempts at a full accept queue; each waits a second for its \
             retry: raise the server's backlog and net.core.somaxconn, or lower --connect-window"
        )
    });
    gates.none_of(GateName::BacklogDrops, network.backlog_drops, |observed| {
        format!("the kernel dropped {observed} TCP segments because a socket's backlog was full")
    });
    gates.none_of(GateName::ListenOverflows, network.syn_retransmits, |observed| {
        format!(
            "{observed} SYNs were sent again after a second or more: times to connect and rates are those of the retries"
        )
    });
    gates.none_of(GateName::Retransmits, network.lost_segments(), |observed| {
        let why = if network.listen_drops > 0 || network.syn_retransmits > 0 {
            "most likely what clients sent into connections for which the accept queue had no room"
        } else {
            "the network lost data or was too busy"
        };
        format!(
            "{observed} TCP segments were lost on this machine ({} sent again, {} timers ran out, tail-loss probes and undone \
             retransmissions left out): {why}",
            network.retransmits, network.timeouts
        )
    });
}

/// Did the server reach a steady state?
fn steady_state(measurement: &Measurement, gates: &mut Gates) {
    if let Some(steady) = &measurement.steady
        && matches!(steady.class, SteadyClass::Slowdown | SteadyClass::None)
    {
        gates.limit(GateName::SteadyState, Some(1.0), 0.0, |_| {
            // A line through a steep fall ends below nothing.
            let trend = format!("{:+.0} % over the measured phase", steady.trend_percent.max(-100.0));
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
}

/// An accept queue that was too short for as many connections as were under way.
fn short_accept_queue(measurement: &Measurement) -> Option<String> {
    let retried = measurement.network.as_ref()?.syn_retransmits;
    let verb = if retried == 1 { "SYN was" } else { "SYNs were" };
    (retried > 0).then(|| {
        format!(
            "the accept queue of the server is short: {} {verb} retried, each costs a second: lower --connect-window (it was {})",
            count(retried),
            count(measurement.plan.connect_window.into())
        )
    })
}

/// Fewer connections than clients, where each message or so needs one: the window was full.
fn window_below_clients(measurement: &Measurement) -> Option<String> {
    let (plan, window) = (&measurement.plan, measurement.plan.connect_window);
    (plan.workload.churn && window < plan.workload.clients && window > 0).then(|| {
        format!(
            "--connect-window: at most {} of {} clients had a connection at the same time",
            count(window.into()),
            count(plan.workload.clients.into())
        )
    })
}

/// A server that ends connections after some answers, as one does that serves a request each.
fn closes_after(measurement: &Measurement) -> Option<String> {
    let counts = &measurement.counts;
    let ended = counts.closed + counts.reset;
    // A few are an accident; and who never closes in order has another trouble.
    let is_habit = counts.closed > 0 && ended >= 10 && ended * 1_000 >= counts.sent;
    if !is_habit || measurement.plan.workload.churn {
        return None;
    }
    let connections = &measurement.connections;
    Some(match connections.ended_after_min.zip(connections.ended_after_max)? {
        (1, 1) => "the server closes each connection after one answer: use --churn".to_string(),
        (least, most) if least == most => format!(
            "the server closes each connection after {} answers: use --messages-per-connection {least}",
            count(least)
        ),
        (least, most) => format!(
            "the server closes connections after {} to {} answers",
            count(least),
            count(most)
        ),
    })
}

/// The part of a ramp that lies in the measured phase: its figures are of many rates.
fn still_rising(measurement: &Measurement) -> Option<String> {
    let workload = &measurement.plan.workload;
    let left_ms = workload.open_loop()?.ramp_ms.checked_sub(workload.warmup_ms)?;
    let left_s = Duration::from_millis(left_ms).as_secs_f64();
    (left_ms > 0).then(|| {
        format!("ramp: the rate still rose for the first {left_s} s of the measured phase: give a --warmup as long as --ramp")
    })
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
    if measurement.plan.counting && measurement.server_cost.syscalls_per_message.is_some() {
        remarks.push(
            "counting trial: counting system calls slows the server; rates, times and costs are no timing".to_string(),
        );
    }
    let busy = measurement.loadgen_cost.cpu_percent_max;
    let is_answered = measurement.throughput.messages_per_s > 0.0;
    if busy > CLIENT_BOUND_PERCENT && is_answered && !is_open_loop(measurement) {
        remarks.push(format!(
            "client-bound: a loadgen thread used {busy:.0} % of its CPU, so the server may be faster than this"
        ));
    }
    if measurement.plan.placement.shared && machine::shared_cpus(measurement).is_none() {
        remarks.push("server and loadgen may share CPUs: rates and times may contain the client's cost".to_string());
    }
    remarks.extend(closes_after(measurement));
    remarks.extend(short_accept_queue(measurement));
    remarks.extend(window_below_clients(measurement));
    remarks.extend(halts::remark(measurement));
    remarks.extend(still_rising(measurement));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Arrivals, Connections, Network, OpenLoop, Pacing, Waiting};

    fn open_loop(ramp_ms: u64, warmup_ms: u64) -> Measurement {
        let mut measurement = Measurement::default();
        measurement.plan.workload.warmup_ms = warmup_ms;
        measurement.plan.workload.pacing = Pacing::OpenLoop(OpenLoop {
            rate_per_s: 1000,
            arrivals: Arrivals::Constant,
            ramp_ms,
            waiting: Waiting::Hybrid,
        });
        measurement
    }

    #[test]
    fn a_ramp_that_reaches_into_the_measured_phase_is_told() {
        let told = remarks(&open_loop(5_000, 1_000)).join("; ");
        assert!(told.contains("rose for the first 4 s of the measured phase"), "{told}");
        assert_eq!(remarks(&open_loop(5_000, 5_000)), Vec::<String>::new());
    }

    #[test]
    fn a_server_that_closes_after_some_answers_is_told_so() {
        let mut measurement = Measurement::default();
        (measurement.counts.sent, measurement.counts.ok) = (3_136, 1_568);
        (measurement.counts.closed, measurement.counts.reset) = (1_100, 468);
        measurement.connections.ended_after(1);
        assert!(remarks(&measurement)[0].ends_with("after one answer: use --churn"));
        (measurement.counts.sent, measurement.counts.ok) = (40_655, 40_252);
        (measurement.counts.closed, measurement.counts.reset) = (350, 53);
        measurement.connections = Connections::default();
        measurement.connections.ended_after(100);
        assert!(remarks(&measurement)[0].ends_with("after 100 answers: use --messages-per-connection 100"));
        measurement.connections.ended_after(90);
        assert!(remarks(&measurement)[0].ends_with("after 90 to 100 answers"));
        measurement.counts.closed = 0;
        assert_eq!(remarks(&measurement), Vec::<String>::new());
    }

    #[test]
    fn retried_connections_are_told_with_the_flag_that_helps() {
        let mut measurement = Measurement::default();
        measurement.plan.connect_window = 100;
        measurement.network = Some(Network {
            syn_retransmits: 12,
            retransmits: 30,
            ..Network::default()
        });
        let told = remarks(&measurement);
        assert!(
            told[0].contains("short: 12 SYNs were retried, each costs a second: lower --connect-window (it was 100)")
        );
        let reasons = judge(&measurement, &Evidence::default());
        let lost = reasons
            .iter()
            .find(|reason| reason.gate == GateName::Retransmits)
            .unwrap();
        assert!(lost.text.ends_with("the accept queue had no room"), "{}", lost.text);
    }

    #[test]
    fn without_a_source_port_the_setting_is_named() {
        let mut measurement = Measurement::default();
        let settings = &mut measurement.environment.settings;
        settings.insert("net.ipv4.tcp_tw_reuse".into(), "0".into());
        settings.insert("net.ipv4.ip_local_port_range".into(), "32768 33000".into());
        let evidence = Evidence {
            local_failures: 7,
            port_failures: 7,
            ..Evidence::default()
        };
        let reasons = judge(&measurement, &evidence);
        let text = &reasons
            .iter()
            .find(|reason| reason.gate == GateName::LocalFailures)
            .unwrap()
            .text;
        assert!(
            text.contains("32768-33000") && text.contains("net.ipv4.tcp_tw_reuse = 0"),
            "{text}"
        );
    }

    #[test]
    fn a_client_without_an_answer_is_not_said_to_be_the_limit() {
        let mut measurement = Measurement::default();
        measurement.loadgen_cost.cpu_percent_max = 99.0;
        assert_eq!(remarks(&measurement), Vec::<String>::new());
        measurement.throughput.messages_per_s = 1.0;
        assert!(remarks(&measurement)[0].starts_with("client-bound"));
    }
}
