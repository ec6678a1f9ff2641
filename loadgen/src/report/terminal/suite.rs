//! The tables of a suite and what they say.

use super::wrapped;
use crate::record::Workload;
use crate::report::claims::{control, sentences};
use crate::report::columns::{GROUPS, columns, filled, name};
use crate::report::conclusions;
use crate::report::original;
use crate::report::table::{self, fitted};
use crate::report::varied;
use crate::suite::matrix::SuiteFile;
use crate::suite::results::{Results, Row};
use crate::text::{counted, workload as workload_line};
use std::fmt::Write as _;

/// All tables of a suite for a terminal of this width.
#[must_use]
pub fn suite(file: &SuiteFile, results: &Results, width: u16) -> String {
    let mut text = conclusions::drawn(file, &results.conclusions, width);
    text.push_str(if text.is_empty() { "" } else { "\n" });
    text.extend(file.suite.loads().map(|each| workload(each, results, width) + "\n"));
    let varied = varied::all(file, results);
    if !varied.is_empty() {
        text.push_str(&(varied::drawn(&varied, width, usize::MAX) + "\n"));
    }
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
        lines.extend(row.void_together.iter().map(|why| format!("{}: {why}", row.target)));
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
    let tables = results
        .findings
        .tables
        .iter()
        .filter(|table| table.workload == workload);
    tables.flat_map(sentences).collect()
}

/// What holds for all tables: rounds, the A/A control, trials with void figures.
fn footer(results: &Results, width: u16) -> String {
    let mut text = format!(
        "{} of {}, {}, {} with void figures\n",
        results.rounds_done,
        counted(u64::from(results.rounds_max), "round", "rounds"),
        counted(results.trials as u64, "trial", "trials"),
        results.invalid.len()
    );
    text.push_str(&wrapped(&control(&results.findings), 2, 4, width));
    if let Some(sentence) = not_counted(results) {
        text.push_str(&wrapped(&sentence, 2, 4, width));
    }
    for (gate, trials, worst) in results.invalid_by_gate() {
        let trials = counted(trials as u64, "trial", "trials");
        text.push_str(&wrapped(
            &format!("void by {gate}: {trials}, at worst: {worst}"),
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
    "figures are medians over the rounds in which they stand, min..max is their spread; each round runs every target on a fresh server, in random order",
    "response: from sending a message to the last byte of its echo; percentiles of all rounds merged in which they stand, n/a where fewer than 100 samples lie beyond",
    "CPU, memory, switches (of context): the server's whole process tree; 100 % is one core, the peak is the highest 100 ms",
    "system calls per message: counted in a trial of its own at 1 and at 32 clients, because counting slows the server",
    "(again): the same server a second time; what differs between the two is noise",
];

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
