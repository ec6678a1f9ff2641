//! The first screen of a comparison: what was found, at most 40 lines on 100 columns. Everything else is in the folder.

use crate::quantity::{CPU_PER_MESSAGE, MESSAGES_PER_S, Quantity};
use crate::report::claims::{between_models, control, level, not_told_apart};
use crate::report::columns::{self, nothing};
use crate::report::table::{Column, Group, fitted, markdown};
use crate::report::terminal::wrapped;
use crate::suite::findings::{Findings, Judged, Table, has_rounds_enough};
use crate::suite::matrix::SuiteFile;
use crate::suite::results::Results;
use crate::text::{count, counted, minutes};
use crate::units::round_u64;
use std::path::Path;
use std::time::Duration;

/// Widest screen that is used; longer lines read badly.
const WIDTH: u16 = 100;

/// The whole screen, for a terminal of this width.
#[must_use]
pub fn screen(file: &SuiteFile, results: &Results, width: u16) -> String {
    let width = width.min(WIDTH);
    let findings = &results.findings;
    let mut text = wrapped(&place(file, results), 0, 2, width) + "\n";
    for sentence in headlines(findings) {
        text.push_str(&wrapped(&format!("- {sentence}"), 0, 2, width));
    }
    text.push('\n');
    let labels = labels(file, results);
    for sheet in sheets(file, findings) {
        text.push_str(&drawn(file, &labels, &sheet, width));
        text.push_str(
            "

",
        );
    }
    for sentence in missing(results) {
        text.push_str(&wrapped(&sentence, 0, 2, width));
    }
    text
}

/// One line that names the folder and the command for all tables.
#[must_use]
pub fn where_the_rest_is(folder: &Path) -> String {
    let folder = folder.display();
    format!("all tables: {folder}/README.md, or `loadgen report --full {folder}`\n")
}

/// Machine, network, distance, rounds, trials and time, one sentence.
fn place(file: &SuiteFile, results: &Results) -> String {
    let tally = &results.findings.trials;
    let distance = match (tally.distance_ns, tally.near_limit_ns) {
        (Some((least, most)), Some(limit)) => format!(
            ", a cache line {} to {} ns away ({} of the trials farther than {} ns)",
            count(round_u64(least)),
            count(round_u64(most)),
            count(tally.far as u64),
            count(round_u64(limit))
        ),
        _ => String::new(),
    };
    let network = match tally.in_private_network {
        0 => "the host's network",
        all if all == tally.run => "private networks",
        _ => "private networks and the host's",
    };
    format!(
        "{}, {network}{distance}: {} in {}, {}; capacity stands in {}, rates in {}, percentiles in {}.",
        file.label,
        counted(u64::from(results.rounds_done), "round", "rounds"),
        minutes(Duration::from_millis(file.spent_ms)),
        counted(tally.run as u64, "trial", "trials"),
        count(tally.capacity_stands as u64),
        count(tally.rates_stand as u64),
        count(tally.percentiles_stand as u64),
    )
}

/// Three to five sentences, the most important first.
#[must_use]
pub fn headlines(findings: &Findings) -> Vec<String> {
    const MOST: usize = 5;
    let enough = |table: &&Table| has_rounds_enough(table);
    let closed = |name: &str| findings.table(name, Judged::Capacity).filter(enough);
    let first = ["steady", "medium", "light"].into_iter().find_map(closed);
    let first = first.or_else(|| {
        let mut capacity = findings
            .tables
            .iter()
            .filter(|table| table.quantity == Judged::Capacity);
        capacity.find(enough)
    });
    let mut found = Vec::new();
    let under = |table: &Table, sentence: String| format!("{}: {sentence}", table.workload);
    if let Some(table) = first {
        found.extend(between_models(table).into_iter().map(|sentence| under(table, sentence)));
        found.extend(not_told_apart(table).map(|sentence| under(table, sentence)));
    }
    if let Some(churn) = closed("churn").filter(|churn| first.is_none_or(|first| first.workload != churn.workload)) {
        found.extend(
            between_models(churn)
                .into_iter()
                .take(1)
                .map(|sentence| under(churn, sentence)),
        );
    }
    if let Some(p99) = findings
        .tables
        .iter()
        .find(|table| table.quantity == Judged::ResponseP99Ns)
        .filter(enough)
    {
        let sentence = between_models(p99).into_iter().next_back();
        found.extend(sentence.map(|sentence| format!("{}, p99 of the response: {sentence}", p99.workload)));
    }
    found.truncate(MOST);
    if found.is_empty() {
        let rounds = findings
            .tables
            .iter()
            .flat_map(|table| &table.targets)
            .map(|target| target.rounds)
            .max();
        found.push(format!(
            "no difference is claimed before {} rounds ({} so far)",
            crate::suite::fit::ROUNDS_FOR_A_CLAIM,
            rounds.unwrap_or(0)
        ));
    }
    found.push(control(findings));
    found
}

/// A table of the first screen: what it shows, and one column for each of some findings.
struct Sheet<'a> {
    name: String,
    legend: String,
    columns: Vec<(String, &'a Table)>,
}

/// The closed workloads' capacity, then the paced ones: the same work for all, what it cost, how long the answers took.
fn sheets<'a>(file: &SuiteFile, findings: &'a Findings) -> Vec<Sheet<'a>> {
    let mut sheets = Vec::new();
    let capacity = findings
        .tables
        .iter()
        .filter(|table| table.quantity == Judged::Capacity);
    let columns: Vec<_> = capacity.map(|table| (table.workload.clone(), table)).collect();
    if !columns.is_empty() {
        sheets.push(Sheet {
            name: "capacity".to_string(),
            legend: "messages per CPU second of the server; targets without a letter in common are told apart"
                .to_string(),
            columns,
        });
    }
    for workload in &file.suite.workloads {
        let Some(open) = workload.open_loop() else { continue };
        let of_workload = findings.tables.iter().filter(|table| table.workload == workload.name);
        let heading = |table: &Table| match table.quantity {
            Judged::CpuUsPerMessage => "CPU us per\nmessage".to_string(),
            other => other.title().replace("response ", "response\n"),
        };
        sheets.push(Sheet {
            name: workload.name.clone(),
            legend: format!("open loop, {} messages/s for every target", count(open.rate_per_s)),
            columns: of_workload.map(|table| (heading(table), table)).collect(),
        });
    }
    sheets
}

/// The capacity of every target under one workload, from whatever is there: the first table while a comparison runs.
#[must_use]
pub fn overview(file: &SuiteFile, results: &Results, workload: &str, width: u16) -> String {
    let names = &file.suite.targets;
    let rows: Vec<_> = results.of_workload(workload).filter(|row| !row.control).collect();
    let of = |quantity: &Quantity| Column {
        heading: quantity.heading.to_string(),
        cells: names
            .iter()
            .map(|name| rows.iter().find(|row| row.target == *name))
            .map(|row| row.map_or_else(nothing, |row| columns::cell(row, quantity)))
            .collect(),
    };
    let group = Group {
        name: workload.to_string(),
        columns: [CPU_PER_MESSAGE, MESSAGES_PER_S].iter().map(of).collect(),
    };
    fitted(names, vec![group], width).join("\n\n")
}

/// The targets as rows name them: one in a container says so.
fn labels(file: &SuiteFile, results: &Results) -> Vec<String> {
    let label = |name: &String| {
        let in_container = format!("{name} (container)");
        let is_so = results.rows.iter().any(|row| row.target == in_container);
        if is_so { in_container } else { name.clone() }
    };
    file.suite.targets.iter().map(label).collect()
}

/// For a terminal.
fn drawn(file: &SuiteFile, labels: &[String], sheet: &Sheet<'_>, width: u16) -> String {
    let names = &file.suite.targets;
    let columns = sheet.columns.iter().map(|(heading, table)| Column {
        heading: heading.clone(),
        cells: names.iter().map(|name| cell(table, name, true)).collect(),
    });
    let group = Group {
        name: sheet.name.clone(),
        columns: columns.collect(),
    };
    format!(
        "{}\n  {}",
        fitted(labels, vec![group], width).join("\n\n"),
        sheet.legend
    )
}

/// Title and table of each sheet in Markdown.
#[must_use]
pub fn markdown_tables(file: &SuiteFile, findings: &Findings) -> Vec<(String, String)> {
    let table = |sheet: &Sheet<'_>| {
        let mut headings = vec!["target".to_string()];
        headings.extend(sheet.columns.iter().map(|(heading, _)| heading.replace('\n', " ")));
        let rows = file.suite.targets.iter().map(|name| {
            let cells = sheet.columns.iter().map(|(_, table)| cell(table, name, false));
            std::iter::once(name.clone()).chain(cells).collect()
        });
        markdown(&headings, 1, rows)
    };
    let of = |sheet: &Sheet<'_>| (format!("`{}`: {}.", sheet.name, sheet.legend), table(sheet));
    sheets(file, findings).iter().map(of).collect()
}

/// `185,300 ab`.
fn cell(table: &Table, name: &str, aligned: bool) -> String {
    let target = table.targets.iter().find(|target| target.target == name);
    let known = target.and_then(|target| Some((target.level?, target)));
    match known {
        Some((figure, target)) if has_rounds_enough(table) => {
            // Letters line up to the left, behind figures that line up to the right.
            let letters = table.targets.iter().map(|target| target.letters.len());
            let widest = letters.max().filter(|_| aligned).unwrap_or(0);
            format!("{} {:<widest$}", level(table.quantity, figure), target.letters)
        }
        Some((figure, _)) => level(table.quantity, figure),
        None => "n/a".to_string(),
    }
}

/// What a reader would look for and not find.
fn missing(results: &Results) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for row in &results.rows {
        if let Some(reason) = &row.not_measured {
            lines.push(format!("{} under {}: {reason}", row.target, row.workload));
        }
    }
    if let Some((gate, trials, worst)) = results.invalid_by_gate().into_iter().next() {
        let trials = counted(trials as u64, "trial", "trials");
        lines.push(format!("most often void by {gate}: {trials}, at worst: {worst}"));
    }
    lines.truncate(4);
    lines
}
