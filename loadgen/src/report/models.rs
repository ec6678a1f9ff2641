//! The tracked tables that `loadgen publish` splices: the original's layout, one row per runtime, the index of folders.

use super::columns::range;
use crate::report::columns::{syscalls, whole};
use crate::report::original::{self, Figures};
use crate::suite::matrix::SuiteFile;
use crate::suite::results::{Results, Row};
use crate::suite::statistics::Spread;
use crate::text::{bytes, counted, figure, percent, percentile, workload as workload_line};
use echo_contract::catalog::Model;
use std::fmt::Write as _;

/// The columns of the models table: the original's three servers.
const MODELS: [(Model, &str, &str); 3] = [
    (Model::Fork, "fork", "forked"),
    (Model::Thread, "thread", "multithread"),
    (Model::Event, "event", "event-driven"),
];

/// fork | thread | event in the original's layout, our figures beside its own.
#[must_use]
pub fn models(file: &SuiteFile, results: &Results) -> String {
    let mut text = String::new();
    for scenario in &original::SCENARIOS {
        let rows = MODELS.map(|(model, ..)| row_of_model(results, scenario.workload, model));
        if rows.iter().all(Option::is_none) {
            continue;
        }
        let _ = writeln!(text, "### {}\n", scenario.title);
        text.push_str("| metric |");
        for ((_, name, theirs), row) in MODELS.iter().zip(&rows) {
            let ours = row.map_or(*name, |row| row.target.as_str());
            let _ = write!(text, " {ours} | original: {theirs} |");
        }
        let _ = write!(text, "\n|---|{}\n", "---:|".repeat(MODELS.len() * 2));
        for (figures, ours) in scenario.rows.iter().zip(METRICS) {
            let _ = write!(text, "| {} |", figures.metric);
            for ((model, ..), row) in MODELS.iter().zip(&rows) {
                let _ = write!(
                    text,
                    " {} | {} |",
                    row.map_or_else(nothing, *ours),
                    theirs(figures, *model)
                );
            }
            text.push('\n');
        }
        text.push('\n');
    }
    let _ = writeln!(
        text,
        "Ours: median of {} on `{}`, {} (UTC); requests/s with its smallest..largest, max CPU as % of a core in the highest 100 ms \
         (n/a in jobs shorter than ten of them), max memory as user + kernel. \"Original\" is {}: its figures are quoted, not comparable.",
        counted(u64::from(results.rounds_done), "round", "rounds"),
        file.label,
        day(&file.started_at),
        original::LABEL,
    );
    text
}

/// One line per runtime: the figures of the longest workload first, then what they cost.
#[must_use]
pub fn runtimes(file: &SuiteFile, results: &Results) -> String {
    let Some(workload) = ["steady", "medium", "light"]
        .iter()
        .find_map(|name| file.suite.workload(name))
        .or(file.suite.workloads.first())
    else {
        return String::new();
    };
    let mut text = "| target | runtime | I/O interface | messages/s | min..max | p50 | p99 | CPU us per message | switches per message | system calls per message (1 / 32 clients) | memory, user + kernel | threads |\n\
                    |---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        .to_string();
    for row in results.of_workload(&workload.name).filter(|row| !row.control) {
        let mark = if row.believed || row.not_measured.is_some() {
            ""
        } else {
            " (invalid)"
        };
        let _ = writeln!(
            text,
            "| {}{mark} | {} {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.target,
            row.runtime.as_deref().unwrap_or("n/a"),
            row.runtime_version.as_deref().unwrap_or_default(),
            row.io_interface.as_deref().unwrap_or("n/a"),
            median(row.messages_per_s.as_ref(), figure),
            row.messages_per_s.as_ref().map_or_else(nothing, range),
            percentile(&row.response, row.response.p50),
            percentile(&row.response, row.response.p99),
            median(row.cpu_us_per_message.as_ref(), figure),
            median(row.context_switches_per_message.as_ref(), figure),
            syscalls(row),
            memory(row),
            median(row.threads_max.as_ref(), whole),
        );
    }
    let _ = writeln!(
        text,
        "\n`{}`: {}. Median of {} on `{}`, {} (UTC).{}",
        workload.name,
        workload_line(workload),
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
        file.suite.targets.len(),
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

type Metric = fn(&Row) -> String;

/// Ours for each row of a scenario, in the original's order.
const METRICS: &[Metric; 3] = &[requests, max_cpu, memory];

fn requests(row: &Row) -> String {
    row.messages_per_s.as_ref().map_or_else(nothing, |spread| {
        format!("{} ({})", figure(spread.median), range(spread))
    })
}

fn max_cpu(row: &Row) -> String {
    median(row.cpu_percent_max.as_ref(), percent)
}

fn memory(row: &Row) -> String {
    let size = |spread: &Spread| bytes(rounded(spread.median));
    match (&row.memory_peak_bytes, &row.memory_kernel_bytes) {
        (Some(user), Some(kernel)) => format!("{} + {}", size(user), size(kernel)),
        (Some(user), None) => format!("{} + n/a", size(user)),
        (None, _) => nothing(),
    }
}

fn theirs(figures: &Figures, model: Model) -> &'static str {
    figures.of(model)
}

/// The target named like the model, else its first one: `event-tokio` stands for event.
fn row_of_model<'a>(results: &'a Results, workload: &'a str, model: Model) -> Option<&'a Row> {
    let of = || {
        results
            .of_workload(workload)
            .filter(move |row| !row.control && row.model.as_deref() == Some(model.as_str()))
    };
    let preferred = match model {
        Model::Event => "event-tokio",
        other => other.as_str(),
    };
    of().find(|row| row.target == preferred).or_else(|| of().next())
}

fn median(spread: Option<&Spread>, print: fn(f64) -> String) -> String {
    spread.map_or_else(nothing, |spread| print(spread.median))
}

fn nothing() -> String {
    "n/a".to_string()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "medians of bytes: finite and not negative"
)]
fn rounded(number: f64) -> u64 {
    number.round() as u64
}
