//! Text for a terminal: the summary of one trial, the tables of a suite. Plain ASCII without colour, so that it can be
//! piped, mailed and compared.

use crate::record::Workload;
use crate::record::{Container, Generator, Latency, Measurement, Origin};
use crate::report::columns::{CPU, Group, MEMORY, RESPONSE, SPEED};
use crate::report::original;
use crate::suite::matrix::SuiteFile;
use crate::suite::results::{Comparison, Results, Row};
use crate::suite::statistics::{Claim, ROUNDS_FOR_A_CLAIM};
use crate::text::{
    bytes, count, counted, figure, milliseconds, percent, percentile, time_ns, workload as workload_line,
};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use std::fmt::Write as _;

/// Columns from which two groups of columns stand side by side.
const WIDE: u16 = 140;

/// Width of the summary of one trial, which is made without knowing the terminal.
const SUMMARY_WIDTH: u16 = 100;

/// One trial, as printed at the end of a run.
#[must_use]
pub fn summary(trial: &Measurement) -> String {
    let mut text = format!("{}\n{}", header(trial), wrapped(&what(trial), 0, 4, SUMMARY_WIDTH));
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

/// All tables of a suite for a terminal of this width.
#[must_use]
pub fn suite(file: &SuiteFile, results: &Results, width: u16) -> String {
    let workloads = file.suite.workloads.iter();
    let text: String = workloads.map(|each| workload(each, results, width) + "\n").collect();
    text + &footer(results, width)
}

/// The table of one workload, with what it says.
#[must_use]
pub fn workload(workload: &Workload, results: &Results, width: u16) -> String {
    let rows: Vec<&Row> = results.of_workload(&workload.name).collect();
    let mut text = wrapped(&format!("{}: {}", workload.name, workload_line(workload)), 0, 4, width);
    let longest = text.lines().map(str::len).max().unwrap_or_default();
    let _ = writeln!(text, "{}\n", "-".repeat(longest));
    for groups in groups(width) {
        let _ = writeln!(text, "{}\n", table(groups, &rows, width));
    }
    if let Some(scenario) = original::scenario(&workload.name) {
        let _ = writeln!(text, "{}\n", quoted(scenario, width));
    }
    for sentence in findings(results, &workload.name, &rows) {
        text.push_str(&wrapped(&sentence, 2, 4, width));
    }
    text
}

/// messages/s only, every target under every workload: what is shown while the suite runs.
#[must_use]
pub fn overview(file: &SuiteFile, results: &Results, width: u16) -> String {
    let mut table = bare_table(width);
    let mut heading = vec!["messages/s".to_string()];
    heading.extend(file.suite.workloads.iter().map(|workload| workload.name.clone()));
    table.set_header(heading);
    for target in &file.suite.targets {
        let mut cells = vec![target.clone()];
        for workload in &file.suite.workloads {
            let row = results.of_workload(&workload.name).find(|row| row.target == *target);
            cells.push(row.map_or_else(String::new, overview_cell));
        }
        table.add_row(cells);
    }
    align(&mut table);
    let valid = results.trials - results.invalid.len();
    format!(
        "{}\n\n  median of the rounds, ± half of their spread; {valid} of {} trials valid\n",
        table.trim_fmt(),
        results.trials
    )
}

/// What is missing under one workload and what may be said about differences, one sentence each.
#[must_use]
pub fn findings(results: &Results, workload: &str, rows: &[&Row]) -> Vec<String> {
    let mut lines = Vec::new();
    for row in rows {
        if let Some(reason) = &row.not_measured {
            let why = reason.strip_suffix(": not measured").map(|_| reason.clone());
            let why = why.unwrap_or_else(|| format!("not measured: {reason}"));
            lines.push(format!("{}: {why}", row.target));
        }
        if let Some(fault) = &row.histogram_fault {
            lines.push(format!("{}: no percentiles: {fault}", row.target));
        }
    }
    let invalid: Vec<&str> = rows
        .iter()
        .filter(|row| !row.believed && row.not_measured.is_none())
        .map(|row| row.target.as_str())
        .collect();
    if !invalid.is_empty() {
        lines.push(format!(
            "{}: no round was valid, so the figures marked (invalid) may not be believed; the reasons are listed below",
            invalid.join(", ")
        ));
    }
    lines.extend(claims(results, workload));
    lines
}

/// What may be said about the differences under one workload.
fn claims(results: &Results, workload: &str) -> Vec<String> {
    let of: Vec<&Comparison> = results
        .comparisons
        .iter()
        .filter(|comparison| comparison.workload == workload)
        .collect();
    let most = of.iter().map(|comparison| comparison.ratio.rounds).max();
    match most {
        None => Vec::new(),
        Some(rounds) if rounds < ROUNDS_FOR_A_CLAIM => vec![format!(
            "messages/s, {workload}: no difference is claimed before {ROUNDS_FOR_A_CLAIM} valid rounds ({rounds} so far)"
        )],
        Some(_) => of.into_iter().map(|comparison| claim(comparison, results)).collect(),
    }
}

fn claim(comparison: &Comparison, results: &Results) -> String {
    let Comparison {
        workload,
        left,
        right,
        ratio,
        claim,
    } = comparison;
    let figures = format!(
        "{} (95 % {}..{}, {} rounds)",
        figure(ratio.ratio),
        figure(ratio.low),
        figure(ratio.high),
        ratio.rounds
    );
    let pair = format!("messages/s, {workload}: {left} / {right}");
    match claim {
        Some(Claim::Different) => format!("{pair} = {figures}"),
        Some(Claim::NotShown { smallest_detectable }) => format!(
            "{pair}: no difference shown; {figures}; one of {} would have been seen",
            percent(smallest_detectable * 100.0)
        ),
        Some(Claim::TooFewRounds) => format!(
            "{pair}: no difference is claimed before {ROUNDS_FOR_A_CLAIM} valid rounds ({} so far)",
            ratio.rounds
        ),
        None => format!(
            "{pair}: no difference is claimed before {ROUNDS_FOR_A_CLAIM} valid pairs of the A/A control ({} so far)",
            results.control_pairs.unwrap_or_default()
        ),
    }
}

/// What holds for all tables: rounds, noise floor, invalid trials.
fn footer(results: &Results, width: u16) -> String {
    let mut text = format!(
        "{} of {}, {}, {} invalid\n",
        results.rounds_done,
        counted(u64::from(results.rounds_max), "round", "rounds"),
        counted(results.trials as u64, "trial", "trials"),
        results.invalid.len()
    );
    text.push_str(&wrapped(&noise(results), 2, 4, width));
    if let Some(sentence) = not_counted(results) {
        text.push_str(&wrapped(&sentence, 2, 4, width));
    }
    for (gate, trials, worst) in results.invalid_by_gate() {
        let trials = counted(trials as u64, "trial", "trials");
        text.push_str(&wrapped(
            &format!("invalid by {gate}: {trials}, at worst: {worst}"),
            2,
            4,
            width,
        ));
    }
    text.push_str("how to read this\n");
    for sentence in LEGEND {
        text.push_str(&wrapped(sentence, 2, 4, width));
    }
    text
}

/// The original's figures of one scenario, as it printed them.
fn quoted(scenario: &original::Scenario, width: u16) -> String {
    let mut table = bare_table(width);
    table.set_header(["", "forked", "multithread", "event-driven"]);
    for row in &scenario.rows {
        table.add_row([row.metric, row.forked, row.multithread, row.event_driven]);
    }
    align(&mut table);
    format!("  {}:\n{}", original::LABEL, table.trim_fmt())
}

/// For a reader who sees such a table for the first time.
const LEGEND: &[&str] = &[
    "figures are medians over the valid rounds, min..max is their spread; each round runs every target on a fresh server, in random order",
    "response: from sending a message to the last byte of its echo; percentiles of all valid rounds merged, n/a where fewer than 100 samples lie beyond",
    "CPU, memory, switches (of context): the server's whole process tree; 100 % is one core, the peak is the highest 100 ms",
    "system calls per message: counted in a trial of its own at 1 and at 32 clients, because counting slows the server",
    "(again): the same server a second time; what differs between the two is noise",
];

/// The sentence in lines of this width, each indented: `first` blanks before the first, `next` before the others.
fn wrapped(sentence: &str, first: usize, next: usize, width: u16) -> String {
    let mut text = " ".repeat(first);
    let mut column = first;
    for (place, word) in sentence.split(' ').enumerate() {
        let length = word.chars().count();
        if place > 0 && column + 1 + length > usize::from(width) {
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
            text.push_str(&" ".repeat(next));
            column = next;
        } else if place > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
    text
}

/// How far the A/A control got, one sentence.
#[must_use]
pub fn noise(results: &Results) -> String {
    match (results.control_pairs, results.noise_floor) {
        (None, _) => {
            "no A/A control: one target has not run twice, so the noise of this machine is not known".to_string()
        }
        (Some(pairs), Some(floor)) => format!(
            "A/A control: the same server under two names differed by up to {} ({}{pairs} pairs); nothing below that is claimed",
            percent(floor * 100.0),
            // The floor is the 95th percentile, which of fewer than twenty is the largest.
            if pairs < 20 { "" } else { "in 95 % of " },
        ),
        (Some(pairs), None) => format!(
            "A/A control: {} so far, {ROUNDS_FOR_A_CLAIM} are needed before a difference is claimed",
            counted(pairs as u64, "pair", "pairs")
        ),
    }
}

/// Whose system calls are not known, and why, one sentence; none when all were counted or none were to be.
#[must_use]
pub fn not_counted(results: &Results) -> Option<String> {
    let (_, reason) = results.not_counted.first()?;
    let of: Vec<&str> = results.not_counted.iter().map(|(target, _)| target.as_str()).collect();
    let whose = if of.len() > 3 {
        format!("{} targets", of.len())
    } else {
        of.join(", ")
    };
    Some(format!("system calls of {whose}: {reason}"))
}

fn overview_cell(row: &Row) -> String {
    let Some(spread) = row.messages_per_s else {
        return "not measured".to_string();
    };
    if !row.believed {
        return format!("{} invalid", figure(spread.median));
    }
    if spread.count < 2 {
        return figure(spread.median);
    }
    let half = (spread.max - spread.min) / 2.0 / spread.median * 100.0;
    format!("{} ±{}", figure(spread.median), percent(half))
}

/// Which groups of columns stand in one table.
fn groups(width: u16) -> &'static [&'static [Group]] {
    if width >= WIDE {
        &[&[SPEED, RESPONSE], &[CPU, MEMORY]]
    } else {
        &[&[SPEED], &[RESPONSE], &[CPU], &[MEMORY]]
    }
}

fn table(groups: &[Group], rows: &[&Row], width: u16) -> String {
    let mut table = bare_table(width);
    let mut heading = vec![groups[0].name.to_string()];
    heading.extend(columns(groups).map(|column| column.heading.to_string()));
    table.set_header(heading);
    for row in rows {
        let mark = if row.believed || row.not_measured.is_some() {
            ""
        } else {
            " (invalid)"
        };
        let mut cells = vec![format!("{}{mark}", row.target)];
        cells.extend(columns(groups).map(|column| (column.cell)(row)));
        table.add_row(cells);
    }
    align(&mut table);
    table.trim_fmt()
}

fn columns(groups: &[Group]) -> impl Iterator<Item = &'static super::columns::Column> {
    groups.iter().flat_map(|group| group.columns)
}

fn bare_table(width: u16) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width)
        .force_no_tty();
    table
}

/// Names to the left, figures to the right; two blanks before every column.
fn align(table: &mut Table) {
    for (place, column) in table.column_iter_mut().enumerate() {
        column.set_padding((2, 0));
        if place > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn line(text: &mut String, name: &str, value: &str) {
    text.push_str(&wrapped(&format!("  {name:<12} {value}"), 0, 15, SUMMARY_WIDTH));
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
        return attached_to(container, &loadgen);
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
fn attached_to(container: &Container, loadgen: &str) -> String {
    let word = |text: &Option<String>, none: &str| text.clone().unwrap_or(none.to_string());
    format!(
        "attached to container {} ({}, network {}; {loadgen})",
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

fn messages(trial: &Measurement) -> String {
    let mut parts = vec![
        format!("{}/s", figure(trial.throughput.messages_per_s)),
        format!("errors {}", errors(trial)),
        format!(
            "clients {} of {}",
            count(trial.connections.reached),
            count(trial.connections.asked)
        ),
    ];
    if let Some(rate) = trial.throughput.connections_per_s {
        parts.insert(1, format!("{} connections/s", figure(rate)));
    }
    if trial.connections.reopened > 0 {
        parts.push(format!("reopened {}", count(trial.connections.reopened)));
    }
    if trial.plan.counting {
        parts[0] += " (no timing: system calls were counted)";
    }
    parts.join("    ")
}

/// `0`, or the sum with each class that is not 0.
fn errors(trial: &Measurement) -> String {
    let counts = &trial.counts;
    let classes: Vec<String> = [
        ("refused", counts.refused),
        ("reset", counts.reset),
        ("timeout", counts.timeout),
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
        Some(peak) => format!("{} peak ({})", bytes(peak), memory_method(&cost.memory_method)),
        None => format!("memory {}", or_why(None, &cost.memory_method)),
    });
    parts.extend(cost.processes_max.map(|number| counted(number, "process", "processes")));
    parts.extend(cost.threads_max.map(|number| counted(number, "thread", "threads")));
    parts.join(", ")
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
            None => format!("kernel memory {}", or_why(None, &cost.memory_kernel_method)),
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
    .chain(trial.plan.counting.then(|| match cost.syscalls_per_message {
        Some(calls) => format!("{calls:.2} system calls per message"),
        None => format!("system calls {}", or_why(None, &cost.syscalls_method)),
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
            "besides {:.2} s CPU spinning before planned sends",
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
        let reason = trial.incomplete_reason.as_deref().unwrap_or("no reason was recorded");
        reasons.insert(0, format!("the run did not end: {reason}"));
    }
    if reasons.is_empty() && trial.valid {
        return "valid".to_string();
    }
    format!("INVALID: {}", reasons.join("; "))
}
