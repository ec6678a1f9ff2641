//! The tracked tables that `loadgen publish` splices: the original's layout, one row per runtime, the index of folders.

use crate::quantity::{CPU_PERCENT_MAX, MEMORY, MEMORY_KERNEL, MESSAGES_PER_S, Place};
use crate::record::Workload;
use crate::report::columns::{self, nothing};
use crate::report::original::{self, Scenario};
use crate::report::table;
use crate::report::{chart, screen, sheets};
use crate::suite::matrix::SuiteFile;
use crate::suite::results::{Results, Row};
use crate::text::{counted, workload as workload_line};
use echo_contract::catalog::Model;
use std::fmt::Write as _;

/// fork | thread | event in the original's layout, our figures beside its own.
#[must_use]
pub fn models(file: &SuiteFile, results: &Results) -> String {
    let mut text = String::new();
    for scenario in &original::SCENARIOS {
        let rows = original::COLUMNS.map(|(model, _)| OfModel {
            ours: row_of_model(results, scenario.workload, model),
            example: example_of_model(results, scenario.workload, model),
        });
        if rows.iter().any(|of| of.ours.or(of.example).is_some()) {
            let _ = writeln!(
                text,
                "### {}\n\n{}",
                scenario.title,
                beside_the_original(scenario, &rows)
            );
        }
    }
    let _ = writeln!(
        text,
        "{}Ours: median of {} on `{}`, {} (UTC); requests/s with its smallest..largest, max CPU as % of a core in the highest 100 ms \
         (n/a in jobs shorter than ten of them), max memory as user + kernel. \"Original\" is {}: its figures are quoted, not comparable.",
        externals(results),
        counted(u64::from(results.rounds_done), "round", "rounds"),
        file.label,
        day(&file.started_at),
        original::LABEL,
    );
    text
}

/// What a folder found, for who reads one screen: the first sentences and the first chart. `folder` is the way to it.
#[must_use]
pub fn findings(file: &SuiteFile, results: &Results, folder: &str) -> String {
    const SENTENCES: usize = 3;
    let mut text = String::new();
    for sentence in screen::found(file, results).iter().take(SENTENCES) {
        let _ = writeln!(text, "- {sentence}");
    }
    let Some(workload) = shown_first(file) else {
        return text;
    };
    if let Some(image) = chart::level_image(results, workload, &format!("{folder}/")) {
        let _ = writeln!(text, "\n{image}");
    }
    let _ = writeln!(
        text,
        "\n`{}`, {}: {} on `{}`, {} (UTC). [All tables and charts]({folder}/README.md).",
        workload.name,
        workload_line(workload),
        counted(u64::from(results.rounds_done), "round", "rounds"),
        file.label,
        day(&file.started_at),
    );
    text
}

/// The workload that says most about a server: the longest one.
fn shown_first(file: &SuiteFile) -> Option<&Workload> {
    let mut known = ["steady", "medium", "light"].iter();
    let known = known.find_map(|name| file.suite.workload(name));
    known.or(file.suite.workloads.first())
}

/// One line per runtime: the figures of the longest workload first, then what they cost.
#[must_use]
pub fn runtimes(file: &SuiteFile, results: &Results) -> String {
    let Some(workload) = shown_first(file) else {
        return String::new();
    };
    let columns = columns::columns(Place::Runtimes);
    let first = chart::first_table(results, workload);
    let mut headings: Vec<String> = ["target", "runtime", "I/O interface"].map(str::to_string).into();
    headings.extend(first.map(|table| table.quantity.title().to_string()));
    headings.extend(columns.iter().map(|column| columns::one_line(column.heading)));
    let rows = results.of_workload(&workload.name).filter(|row| !row.control);
    let cells = rows.map(|row| {
        let or_none = |fact: &Option<String>| fact.clone().unwrap_or_else(nothing);
        let mut cells = vec![
            columns::name(row),
            columns::runtime(row.runtime.as_deref(), row.runtime_version.as_deref()),
            or_none(&row.io_interface),
        ];
        cells.extend(first.map(|table| sheets::cell(table, &row.name, false)));
        cells.extend(columns.iter().map(|column| (column.cell)(row)));
        cells
    });
    let mut text = table::markdown(&headings, 3, cells);
    let _ = writeln!(
        text,
        "\n`{}`: {}. {}Median of {} on `{}`, {} (UTC).{}",
        workload.name,
        workload_line(workload),
        externals(results),
        counted(u64::from(results.rounds_done), "round", "rounds"),
        file.label,
        day(&file.started_at),
        fewer_rounds(results, &workload.name),
    );
    text
}

/// Whose figures are the median of fewer rounds than were run, because the others were not valid.
fn fewer_rounds(results: &Results, workload: &str) -> String {
    let rows = results.of_workload(workload).filter(|row| !row.control);
    let fewer: Vec<_> = rows
        .filter(|row| row.believed && row.rounds_valid < results.rounds_done as usize)
        .map(|row| format!("{} {}", row.target, row.rounds_valid))
        .collect();
    match fewer.is_empty() {
        true => String::new(),
        false => format!(" Of fewer valid rounds: {}.", fewer.join(", ")),
    }
}

/// The index's head; [`index_row`] makes the rows.
pub const INDEX_HEAD: &str = "| folder | started (UTC) | machine | targets | workloads | rounds | trials (invalid) |\n|---|---|---|---:|---|---:|---:|\n";

/// One folder in the index.
#[must_use]
pub fn index_row(folder: &str, file: &SuiteFile, results: &Results) -> String {
    let workloads: Vec<_> = file
        .suite
        .workloads
        .iter()
        .map(|workload| workload.name.as_str())
        .collect();
    format!(
        "| [{folder}]({folder}/README.md) | {} | {} | {} | {} | {} | {} ({}) |\n",
        day(&file.started_at),
        file.label,
        file.suite.all_targets().count(),
        workloads.join(", "),
        results.rounds_done,
        results.trials,
        results.invalid.len()
    )
}

/// `2026-01-31` of an RFC 3339 time.
fn day(time: &str) -> &str {
    time.split('T').next().unwrap_or(time)
}

/// The rows of one model in a scenario, as far as they were measured.
struct OfModel<'a> {
    ours: Option<&'a Row>,
    /// A server of the original's kind.
    example: Option<&'a Row>,
}

/// One scenario: each metric of the original, for each model ours, one of the original's kind where it was measured beside
/// them, and its own.
fn beside_the_original(scenario: &Scenario, rows: &[OfModel<'_>; 3]) -> String {
    let mut headings = vec!["metric".to_string()];
    for ((model, word), of) in original::COLUMNS.iter().zip(rows) {
        headings.push(
            of.ours
                .map_or_else(|| model.as_str().to_string(), |row| row.target.clone()),
        );
        headings.extend(of.example.map(|row| row.target.clone()));
        headings.push(format!("original: {word}"));
    }
    let lines = scenario.rows.iter().zip(METRICS).map(|(figures, metric)| {
        let mut line = vec![figures.metric.to_string()];
        for ((model, _), of) in original::COLUMNS.iter().zip(rows) {
            line.push(of.ours.map_or_else(nothing, *metric));
            line.extend(of.example.map(*metric));
            line.push(figures.of(*model).to_string());
        }
        line
    });
    table::markdown(&headings, 1, lines)
}

type Metric = fn(&Row) -> String;

/// Ours for each row of a scenario, in the original's order.
const METRICS: &[Metric; 3] = &[requests, max_cpu, memory];

fn requests(row: &Row) -> String {
    row.spread(&MESSAGES_PER_S).map_or_else(nothing, |spread| {
        let range = columns::range(&MESSAGES_PER_S, spread);
        format!("{} ({range})", MESSAGES_PER_S.print(spread.median))
    })
}

fn max_cpu(row: &Row) -> String {
    columns::cell(row, &CPU_PERCENT_MAX)
}

fn memory(row: &Row) -> String {
    match row.figure(&MEMORY) {
        Some(_) => format!(
            "{} + {}",
            columns::cell(row, &MEMORY),
            columns::cell(row, &MEMORY_KERNEL)
        ),
        None => nothing(),
    }
}

/// The target named like the model, else its first one: `event-tokio` stands for event.
fn row_of_model<'a>(results: &'a Results, workload: &'a str, model: Model) -> Option<&'a Row> {
    let of = || {
        results
            .of_workload(workload)
            .filter(move |row| !row.control && !row.is_external && row.model.as_deref() == Some(model.as_str()))
    };
    let preferred = match model {
        Model::Event => "event-tokio",
        other => other.as_str(),
    };
    of().find(|row| row.target == preferred).or_else(|| of().next())
}

/// The server of the original's kind, where it was measured.
fn example_of_model<'a>(results: &'a Results, workload: &'a str, model: Model) -> Option<&'a Row> {
    let mut rows = results.of_workload(workload);
    rows.find(|row| !row.control && row.is_external && row.name == original::example(model))
}

/// What the mark on some names means; nothing where there is none.
fn externals(results: &Results) -> &'static str {
    match results.rows.iter().any(|row| row.is_external) {
        true => "External: a server that is not of this project, started and measured here like ours. ",
        false => "",
    }
}
