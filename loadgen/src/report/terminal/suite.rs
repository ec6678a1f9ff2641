//! The tables of a suite and what they say.

use super::wrapped;
use crate::quantity::MESSAGES_PER_S;
use crate::record::Workload;
use crate::report::columns::{GROUPS, columns, filled, name};
use crate::report::original;
use crate::report::table::{self, fitted};
use crate::suite::matrix::SuiteFile;
use crate::suite::results::{Comparison, Results, Row};
use crate::suite::statistics::{Claim, ROUNDS_FOR_A_CLAIM};
use crate::text::{counted, figure, percent, workload as workload_line};
use std::fmt::Write as _;

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
    for table in tables(&rows, width) {
        let _ = writeln!(text, "{table}\n");
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
    let cell = |workload: &str, target: &str| {
        let row = results.of_workload(workload).find(|row| row.target == target);
        row.map_or_else(String::new, overview_cell)
    };
    let columns = file.suite.workloads.iter().map(|workload| table::Column {
        heading: workload.name.clone(),
        cells: (file.suite.targets.iter())
            .map(|target| cell(&workload.name, target))
            .collect(),
    });
    let group = table::Group {
        name: MESSAGES_PER_S.title(),
        columns: columns.collect(),
    };
    let tables = fitted(&file.suite.targets, vec![group], width);
    let valid = results.trials - results.invalid.len();
    format!(
        "{}\n\n  median of the rounds, ± half of their spread; {valid} of {} trials valid\n",
        tables.join("\n\n"),
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

/// Every group of columns over these rows, in as many tables as the width asks for.
fn tables(rows: &[&Row], width: u16) -> Vec<String> {
    let names: Vec<String> = rows.iter().map(|row| name(row)).collect();
    let groups = GROUPS.map(|(place, word)| filled(word, &columns(place), rows));
    fitted(&names, groups.into(), width)
}

/// The original's figures of one scenario, as it printed them.
fn quoted(scenario: &original::Scenario, width: u16) -> String {
    let names: Vec<String> = scenario.rows.iter().map(|row| row.metric.to_string()).collect();
    let columns = original::COLUMNS.map(|(model, heading)| table::Column {
        heading: heading.to_string(),
        cells: scenario.rows.iter().map(|row| row.of(model).to_string()).collect(),
    });
    let group = table::Group {
        name: String::new(),
        columns: columns.into(),
    };
    format!(
        "  {}:\n{}",
        original::LABEL,
        fitted(&names, vec![group], width).join("\n\n")
    )
}

/// For a reader who sees such a table for the first time.
const LEGEND: &[&str] = &[
    "figures are medians over the valid rounds, min..max is their spread; each round runs every target on a fresh server, in random order",
    "response: from sending a message to the last byte of its echo; percentiles of all valid rounds merged, n/a where fewer than 100 samples lie beyond",
    "CPU, memory, switches (of context): the server's whole process tree; 100 % is one core, the peak is the highest 100 ms",
    "system calls per message: counted in a trial of its own at 1 and at 32 clients, because counting slows the server",
    "(again): the same server a second time; what differs between the two is noise",
];

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
    let Some(spread) = row.spread(&MESSAGES_PER_S) else {
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
