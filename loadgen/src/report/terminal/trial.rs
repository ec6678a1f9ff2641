//! The summary of one trial, as printed at the end of a run.

use super::wrapped;
use crate::quantity::{self, MESSAGES_PER_S, Place, Quantity, Unit};
use crate::record::{Container, Generator, Incomplete, Latency, Measurement, Origin};
use crate::text::{
    bytes, count, counted, figure, milliseconds, percent, percentile, time_ns, workload as workload_line,
};
use crate::validity::gates;
use std::fmt::Write as _;

/// It is made without knowing the terminal.
const WIDTH: u16 = 100;

/// One trial, as printed at the end of a run.
#[must_use]
pub fn summary(trial: &Measurement) -> String {
    let mut text = format!("{}\n{}", header(trial), wrapped(&what(trial), 0, 4, WIDTH));
    if let Some(addresses) = addresses(trial) {
        line(&mut text, "addresses", &addresses);
    }
    line(&mut text, "messages", &messages(trial));
    let is_open = trial.plan.workload.open_loop().is_some();
    if is_open {
        line(&mut text, "plan", &planned(trial));
    }
    let (response, connect) = (tail(&trial.latency_ns.response), connect(trial));
    if is_open {
        line(&mut text, "response", &response);
        line(&mut text, "service", &tail(&trial.latency_ns.service));
        line(&mut text, "send lag", &tail(&trial.latency_ns.send_lag));
        line(&mut text, "connect", &connect);
    } else if response.len() + connect.len() <= 68 {
        line(&mut text, "response", &format!("{response}      connect  {connect}"));
    } else {
        line(&mut text, "response", &response);
        line(&mut text, "connect", &connect);
    }
    line(&mut text, "server cost", &server_cost(trial));
    line(&mut text, "", &server_cost_more(trial));
    line(&mut text, "loadgen cost", &loadgen_cost(trial));
    for generator in &trial.generators {
        line(&mut text, "generator", &of_generator(generator, &trial.generators));
    }
    for failure in &trial.first_failures {
        line(
            &mut text,
            &format!("first {}", failure.kind),
            &format!(
                "after {:.3} s, client {}, byte {}: {}",
                failure.at_s,
                failure.client,
                count(failure.offset),
                failure.text
            ),
        );
    }
    for note in &trial.notes {
        line(&mut text, "note", note);
    }
    line(&mut text, "verdict", &verdict(trial));
    text
}

fn line(text: &mut String, name: &str, value: &str) {
    text.push_str(&wrapped(&format!("  {name:<12} {value}"), 0, 15, WIDTH));
}

fn header(trial: &Measurement) -> String {
    let target = &trial.target;
    let mut facts = Vec::new();
    if let Some(runtime) = &target.runtime {
        facts.push(match &target.runtime_version {
            Some(version) => format!("{runtime} {version}"),
            None => runtime.clone(),
        });
    }
    facts.extend(target.io_interface.clone());
    if trial.plan.external.is_some() {
        facts.extend(target.runtime_version.clone());
        facts.push("external".into());
    }
    if let Some(workers) = target.workers {
        facts.push(counted(u64::from(workers), "worker", "workers"));
    }
    format!("{}  {}   {}", target.name, facts.join(", "), origin(trial))
}

fn origin(trial: &Measurement) -> String {
    let placement = &trial.plan.placement;
    let cpus = |name: &str, cpus: &[usize]| {
        let list: Vec<_> = cpus.iter().map(ToString::to_string).collect();
        match list.len() {
            0 => format!("{name} not pinned"),
            _ => format!("{name} cpu {}", list.join("+")),
        }
    };
    let loadgen = cpus("loadgen", &placement.loadgen_cpus);
    let shared = if placement.shared { ", shared" } else { "" };
    if !trial.generators.is_empty() {
        return counted(trial.generators.len() as u64, "generator", "generators");
    }
    if let Some(container) = &trial.target.container {
        return in_container(container, trial.target.origin, &loadgen);
    }
    match (trial.target.origin, trial.target.pid) {
        (Origin::Started, _) => format!(
            "started for this run ({}, {loadgen}{shared})",
            cpus("server", &placement.server_cpus)
        ),
        (Origin::Attached, Some(pid)) => format!("attached to pid {pid} ({loadgen})"),
        (Origin::Attached, None) => format!("attached to {} ({loadgen})", trial.target.address),
    }
}

/// `attached to container echo_fork_1 (docker 20.10.24, bridge; loadgen cpu 1)`.
fn in_container(container: &Container, origin: Origin, loadgen: &str) -> String {
    let word = |text: &Option<String>, none: &str| text.clone().unwrap_or(none.to_string());
    format!(
        "{} container {} ({}, network {}; {loadgen})",
        match origin {
            Origin::Started => "started for this run in",
            Origin::Attached => "attached to",
        },
        word(&container.name, "without a name"),
        match (&container.engine, &container.engine_version) {
            (Some(engine), Some(version)) => format!("{engine} {version}"),
            (engine, _) => word(engine, "engine not seen"),
        },
        word(&container.network_mode, "not seen"),
    )
}

fn what(trial: &Measurement) -> String {
    let mut text = workload_line(&trial.plan.workload);
    if trial.plan.repeat_for_ms > 0 {
        let _ = write!(
            text,
            ", {} in at least {}",
            counted(trial.repetitions.len() as u64, "run of it", "runs of it"),
            milliseconds(trial.plan.repeat_for_ms)
        );
    }
    text
}

/// Which addresses of a name that has several were connected to; none where there was no choice.
fn addresses(trial: &Measurement) -> Option<String> {
    let target = &trial.target;
    let silent = match target.addresses_silent.as_slice() {
        [] => String::new(),
        silent => format!("; left out, since no echo came back: {}", silent.join(", ")),
    };
    match target.addresses.as_slice() {
        [] if silent.is_empty() => None,
        [] => Some(format!("{}{silent}", target.address)),
        used => Some(format!("{}, clients dealt out in turn{silent}", used.join(", "))),
    }
}

fn messages(trial: &Measurement) -> String {
    let speeds = quantity::ALL
        .iter()
        .filter(|quantity| quantity.is_shown_in(Place::Speed));
    let mut parts: Vec<String> = speeds
        .filter_map(|quantity| Some(format!("{}{}", quantity.print(quantity.of(trial)?), suffix(quantity))))
        .collect();
    if let (Some(planned_per_s), Some(rate)) = (trial.throughput.planned_per_s, parts.first_mut())
        && gates::missed_percent(trial).is_some()
    {
        // `8,800/s of 30,000/s planned`.
        let _ = write!(rate, " of {}/s planned", MESSAGES_PER_S.print(planned_per_s));
    }
    parts.push(format!("errors {}", errors(trial)));
    parts.push(format!(
        "clients {} of {}",
        count(trial.connections.reached),
        count(trial.connections.asked)
    ));
    if trial.connections.reopened > 0 {
        parts.push(format!("reopened {}", count(trial.connections.reopened)));
    }
    if trial.plan.counting {
        parts[0] += " (no timing: a counting trial)";
    }
    parts.join("    ")
}

/// `/s` for messages, whose name stands at the front of the line; ` connections/s`; nothing where the figure has its unit.
fn suffix(quantity: &Quantity) -> String {
    match quantity.unit {
        Unit::Plain if quantity.name == MESSAGES_PER_S.name => "/s".to_string(),
        Unit::Plain => format!(" {}", quantity.title()),
        _ => String::new(),
    }
}

/// `0`, or the sum with each class that is not 0.
fn errors(trial: &Measurement) -> String {
    let counts = &trial.counts;
    let classes: Vec<String> = [
        ("refused", counts.refused),
        ("reset", counts.reset),
        ("timeout", counts.timeout),
        ("closed", counts.closed),
        ("truncated", counts.truncated),
        ("corrupted", counts.corrupted),
    ]
    .iter()
    .filter(|(_, number)| *number > 0)
    .map(|(name, number)| format!("{name} {}", count(*number)))
    .collect();
    if classes.is_empty() {
        "0".to_string()
    } else {
        format!("{} ({})", count(counts.errors()), classes.join(", "))
    }
}

/// What became of the plan: how much of it was sent, and at what rate.
fn planned(trial: &Measurement) -> String {
    let counts = &trial.counts;
    let mut parts = vec![
        format!("{} planned", count(counts.planned)),
        format!("{} sent", count(counts.sent)),
        format!("{} dropped", count(counts.dropped)),
    ];
    if counts.in_flight_at_stop > 0 {
        parts.push(format!("{} under way at the stop", count(counts.in_flight_at_stop)));
    }
    parts.join(", ")
}

fn tail(latency: &Latency) -> String {
    let mut parts = percentiles(
        latency,
        &[("p50", latency.p50), ("p99", latency.p99), ("p99.9", latency.p999)],
    );
    parts.push(format!("max {}", percentile(latency, latency.max)));
    parts.join("  ")
}

fn connect(trial: &Measurement) -> String {
    let latency = &trial.latency_ns.connect;
    percentiles(latency, &[("p50", latency.p50), ("p99", latency.p99)]).join("  ")
}

/// The first percentile that the sample cannot carry says how large it was; those beyond it say `n/a` only.
fn percentiles(latency: &Latency, asked: &[(&str, Option<u64>)]) -> Vec<String> {
    let mut told = false;
    asked
        .iter()
        .map(|(name, value)| match value {
            Some(value) => format!("{name} {}", time_ns(*value)),
            None if told => format!("{name} n/a"),
            None => {
                told = true;
                format!("{name} {}", percentile(latency, None))
            }
        })
        .collect()
}

/// What the server used, most wanted first; what could not be had says why.
fn server_cost(trial: &Measurement) -> String {
    let cost = &trial.server_cost;
    let mut parts = Vec::new();
    if cost.cpu_us_per_message.is_none() && cost.cpu_percent.is_none() {
        parts.push(format!("CPU {}", or_why(None, &cost.cpu_method)));
    }
    if let Some(us) = cost.cpu_us_per_message {
        parts.push(format!("{} us CPU per message", figure(us)));
    }
    if let Some(share) = cost.cpu_percent {
        let peak = cost.cpu_percent_max;
        let peak = peak.map_or_else(String::new, |peak| format!(" (peak {})", percent(peak)));
        parts.push(format!("{} of a core{peak}", percent(share)));
    }
    parts.push(match cost.memory_peak_bytes {
        Some(peak) => format!(
            "{} peak ({}){}",
            bytes(peak),
            memory_method(&cost.memory_method),
            of_which_buffers(trial)
        ),
        None => format!("memory {}", or_why(None, unless_told(trial, &cost.memory_method))),
    });
    parts.extend(cost.processes_max.map(|number| counted(number, "process", "processes")));
    parts.extend(cost.threads_max.map(|number| counted(number, "thread", "threads")));
    parts.join(", ")
}

/// A reason, unless it is the one that stands beside the CPU time already: what cannot see a server sees none of its costs.
fn unless_told<'a>(trial: &Measurement, reason: &'a str) -> &'a str {
    let cost = &trial.server_cost;
    let is_told = cost.cpu_us_per_message.is_none() && cost.cpu_percent.is_none() && cost.cpu_method == reason;
    if is_told { "" } else { reason }
}

/// How much of the memory is the server's choice of buffers, and which choice that is.
fn of_which_buffers(trial: &Measurement) -> String {
    let buffers = trial.server_cost.memory_buffers_bytes;
    buffers
        .zip(trial.target.buffer_policy.as_ref())
        .map_or_else(String::new, |(buffers, policy)| {
            format!(", of which {} connection buffers ({policy})", bytes(buffers))
        })
}

/// `PSS of 1001 processes` is `PSS`: the number of processes stands beside it. Another method is told whole.
fn memory_method(method: &str) -> &str {
    if method.starts_with("PSS of a sample") {
        "PSS, sampled"
    } else if method.starts_with("PSS") {
        "PSS"
    } else {
        method
    }
}

/// The rest of it.
fn server_cost_more(trial: &Measurement) -> String {
    let cost = &trial.server_cost;
    [
        match cost.memory_kernel_bytes {
            Some(kernel) => format!("{} in the kernel", bytes(kernel)),
            None => format!(
                "kernel memory {}",
                or_why(None, unless_told(trial, &cost.memory_kernel_method))
            ),
        },
        match cost.memory_per_connection_bytes {
            Some(each) => format!("{} for each idle client", bytes(each)),
            None => "memory for each idle client n/a".to_string(),
        },
        match cost.cpu_us_per_connection {
            Some(us) => format!("{} us CPU per connection", figure(us)),
            None => "CPU per connection n/a".to_string(),
        },
        match cost.context_switches_per_message {
            Some(switches) => format!("{} context switches per message", figure(switches)),
            None => format!("context switches {}", or_why(None, &cost.context_switches_method)),
        },
    ]
    .into_iter()
    // Why they were not counted is the verdict.
    .chain(trial.plan.counting.then(|| match cost.syscalls_per_message {
        Some(calls) => format!("{calls:.2} system calls per message"),
        None => "system calls n/a".to_string(),
    }))
    .collect::<Vec<_>>()
    .join(", ")
}

/// One of several generators: its share, and how long after the first it began.
fn of_generator(generator: &Generator, all: &[Generator]) -> String {
    let at = |generator: &Generator| generator.measured_from.as_deref()?.parse::<jiff::Timestamp>().ok();
    let first = all.iter().filter_map(at).min();
    let began = match first.zip(at(generator)) {
        Some((first, at)) => format!("began +{:.3} s", at.duration_since(first).as_secs_f64()),
        None => "never began".to_string(),
    };
    let verdict = if generator.valid { "valid" } else { "INVALID" };
    format!(
        "{}: clients {} of {}, {} messages on {}, {began}, {:.2} s, {verdict}",
        generator.name,
        count(generator.clients_reached),
        count(generator.clients_asked),
        count(generator.ok),
        generator.address,
        generator.duration_s
    )
}

fn loadgen_cost(trial: &Measurement) -> String {
    let cost = &trial.loadgen_cost;
    let mut parts = vec![
        counted(u64::from(cost.threads), "thread", "threads"),
        format!("busiest {} of a core", percent(cost.cpu_percent_max)),
    ];
    if cost.cpu_spin_s > 0.0 {
        parts.push(format!(
            "besides {:.2} s CPU looking for sends and answers",
            cost.cpu_spin_s
        ));
    }
    if let Some(delay) = cost.run_queue_delay_percent_max {
        parts.push(format!("waited for a CPU {}", percent(delay)));
    }
    parts.push(format!("sampler {:.1} ms CPU", cost.sampler_cpu_s * 1000.0));
    if let Some(longest) = trial.hiccup.as_ref().and_then(|hiccup| hiccup.latency_ns.max) {
        parts.push(format!("longest hiccup of its CPU {}", time_ns(longest)));
    }
    parts.join(", ")
}

fn or_why(value: Option<String>, reason: &str) -> String {
    value.unwrap_or_else(|| {
        if reason.is_empty() {
            "n/a".to_string()
        } else {
            format!("n/a: {reason}")
        }
    })
}

fn verdict(trial: &Measurement) -> String {
    // Why it did not end is told first, and once.
    let gates = trial
        .reasons
        .iter()
        .filter(|reason| trial.complete || reason.gate != "incomplete");
    let mut reasons: Vec<String> = gates.map(|reason| reason.text.clone()).collect();
    if !trial.complete {
        let reason = (trial.incomplete_reason.as_ref()).map_or("no reason was recorded", Incomplete::as_str);
        reasons.insert(0, format!("the run did not end: {reason}"));
    }
    match (trial.valid, reasons.is_empty()) {
        (true, true) => "valid".to_string(),
        // What cannot be had on this machine is void, all else stands.
        (true, false) => format!("valid, but: {}", reasons.join("; ")),
        (false, _) => format!("INVALID: {}", reasons.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_server_cannot_be_seen_is_said_once() {
        let why = "the server's process is not known: docker ps: permission denied";
        let mut trial = Measurement::default();
        let cost = &mut trial.server_cost;
        for method in [
            &mut cost.cpu_method,
            &mut cost.memory_method,
            &mut cost.memory_kernel_method,
        ] {
            why.clone_into(method);
        }
        assert_eq!(
            summary(&trial).replace("\n               ", " ").matches(why).count(),
            1
        );
    }
}
