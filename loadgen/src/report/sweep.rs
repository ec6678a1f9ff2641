//! What a sweep says: the result in words, the curve as table, CSV and chart. Made again from its records at any time.

use crate::measurement::store::Stored;
use crate::record::Measurement;
use crate::recorder::latency::LatencyHistogram;
use crate::report::csv::{self, cell, maybe};
use crate::report::curve::{Chart, Dot, Line, Panel, svg};
use crate::suite::search::{Next, Outcome, Search};
use crate::suite::sweep::{Along, Run, Slo, SweepFile, broken_why, quantile_name, runs};
use crate::text::{count, counted, figure, minutes, time_ns, workload as workload_line};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use std::fmt::Write as _;
use std::time::Duration;

/// Name and text of each file of the folder.
#[must_use]
pub fn files(file: &SweepFile, stored: &[Stored]) -> Vec<(String, String)> {
    let rows = rows(stored);
    vec![
        ("README.md".to_string(), readme(file, stored)),
        ("curve.csv".to_string(), curve_csv(file, &rows)),
        ("trials.csv".to_string(), csv::trials(stored)),
        ("curve.svg".to_string(), svg(&chart(file, &rows, stored))),
    ]
}

/// The result and the curve for a terminal.
#[must_use]
pub fn text(file: &SweepFile, stored: &[Stored]) -> String {
    let mut text = format!("{}\n{}\n\n", title(file), about(stored));
    text.push_str(&table(file, &rows(stored)));
    text.push('\n');
    for (name, sentence) in findings(file, stored) {
        let _ = writeln!(text, "  {name:<12} {sentence}");
    }
    text
}

/// All runs at one rate or number of clients.
struct Row<'a> {
    at: u64,
    runs: Vec<Run<'a>>,
    /// Of the valid runs, or of all where none is valid.
    response: LatencyHistogram,
    messages_per_s: f64,
    valid: usize,
}

fn rows(stored: &[Stored]) -> Vec<Row<'_>> {
    let mut all = runs(stored);
    all.sort_by_key(|run| (run.at, run.run));
    all.chunk_by(|one, other| one.at == other.at)
        .map(|runs| {
            let valid = runs.iter().filter(|run| run.trial.valid).count();
            let counted = || {
                runs.iter()
                    .filter(|run| valid == 0 || run.trial.valid)
                    .map(|run| run.trial)
            };
            let texts = counted().filter_map(|trial| trial.histograms.response.as_deref());
            let mut rates: Vec<f64> = counted().map(|trial| trial.throughput.messages_per_s).collect();
            rates.sort_by(f64::total_cmp);
            Row {
                at: runs[0].at,
                // A damaged histogram is one that has nothing to tell.
                response: LatencyHistogram::merged(texts).unwrap_or_default(),
                messages_per_s: f64::midpoint(rates[(rates.len() - 1) / 2], rates[rates.len() / 2]),
                valid,
                runs: runs.to_vec(),
            }
        })
        .collect()
}

impl Row<'_> {
    fn kept(&self, slo: &Slo) -> usize {
        self.runs
            .iter()
            .filter(|run| broken_why(slo, run.trial).is_none())
            .count()
    }

    fn percentile(&self, parts: u64) -> String {
        self.response
            .quantile(parts)
            .map_or_else(|| format!("n/a ({} samples)", count(self.response.count())), time_ns)
    }
}

const P50: u64 = 50_000_000;
const P99: u64 = 99_000_000;

/// Percentiles that are shown, the limit's among them.
fn quantiles(file: &SweepFile) -> Vec<u64> {
    let mut quantiles = vec![P50, P99];
    if let Along::Rate { slo, .. } = &file.sweep.along
        && !quantiles.contains(&slo.quantile)
    {
        quantiles.push(slo.quantile);
        quantiles.sort_unstable();
    }
    quantiles
}

fn title(file: &SweepFile) -> String {
    match &file.sweep.along {
        Along::Rate { slo, .. } => format!("{}: highest rate with {slo}", file.sweep.target),
        Along::Clients { .. } => format!("{}: messages/s and response time over clients", file.sweep.target),
    }
}

/// What all trials did, but for what was varied.
fn about(stored: &[Stored]) -> String {
    stored.first().map_or_else(
        || "nothing was measured".to_string(),
        |first| format!("first trial: {}", workload_line(&first.measurement.plan.workload)),
    )
}

fn headings(file: &SweepFile) -> Vec<String> {
    let mut headings = vec![match &file.sweep.along {
        Along::Rate { .. } => "planned/s".to_string(),
        Along::Clients { .. } => "clients".to_string(),
    }];
    headings.extend(["messages/s", "runs", "valid"].map(str::to_string));
    headings.extend(quantiles(file).into_iter().map(quantile_name));
    headings.push("max".to_string());
    if matches!(file.sweep.along, Along::Rate { .. }) {
        headings.push("kept".to_string());
    }
    headings.push("limiter".to_string());
    headings
}

fn cells(file: &SweepFile, row: &Row<'_>) -> Vec<String> {
    let mut cells = vec![
        count(row.at),
        figure(row.messages_per_s),
        row.runs.len().to_string(),
        row.valid.to_string(),
    ];
    cells.extend(quantiles(file).into_iter().map(|parts| row.percentile(parts)));
    cells.push(row.response.summary().max.map_or_else(|| "n/a".to_string(), time_ns));
    if let Along::Rate { slo, .. } = &file.sweep.along {
        cells.push(format!("{} of {}", row.kept(slo), row.runs.len()));
    }
    cells.push(limiter(row.runs.iter().map(|run| run.trial)));
    cells
}

fn table(file: &SweepFile, rows: &[Row<'_>]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .force_no_tty();
    table.set_header(headings(file));
    for row in rows {
        table.add_row(cells(file, row));
    }
    for column in table.column_iter_mut() {
        column.set_padding((2, 0));
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{}\n", table.trim_fmt())
}

/// What the runs name most often.
fn limiter<'a>(trials: impl Iterator<Item = &'a Measurement>) -> String {
    let mut named: Vec<(&str, usize)> = Vec::new();
    for trial in trials {
        match named.iter_mut().find(|(name, _)| *name == trial.limiter) {
            Some((_, times)) => *times += 1,
            None => named.push((&trial.limiter, 1)),
        }
    }
    let most = named.into_iter().rev().max_by_key(|(_, times)| *times);
    most.map_or_else(|| "unknown".to_string(), |(name, _)| name.to_string())
}

/// The result, the knee, what limited it, what may be believed: name and sentence.
fn findings(file: &SweepFile, stored: &[Stored]) -> Vec<(&'static str, String)> {
    let rows = rows(stored);
    let mut findings = Vec::new();
    match &file.sweep.along {
        Along::Rate { slo, limits } => {
            let mut search = Search::new(*limits);
            for run in runs(stored) {
                search.tell(run.at, broken_why(slo, run.trial).is_none());
            }
            findings.push(("result", rate_result(slo, &search, &rows)));
            if let Next::Done(Outcome::Found { broken_per_s, .. } | Outcome::NeverKept { broken_per_s }) = search.next()
                && let Some(row) = rows.iter().find(|row| row.at == broken_per_s)
            {
                let why = row
                    .runs
                    .iter()
                    .find_map(|run| broken_why(slo, run.trial))
                    .unwrap_or_default();
                let limiter = limiter(row.runs.iter().map(|run| run.trial));
                findings.push(("limited by", format!("{limiter}: at {}/s {why}", count(broken_per_s))));
            }
        }
        Along::Clients { .. } => {
            if let Some(best) = rows
                .iter()
                .max_by(|one, other| one.messages_per_s.total_cmp(&other.messages_per_s))
            {
                findings.push((
                    "result",
                    format!(
                        "most messages/s with {} clients: {}",
                        count(best.at),
                        figure(best.messages_per_s)
                    ),
                ));
                let limiter = limiter(best.runs.iter().map(|run| run.trial));
                findings.push(("limited by", format!("{limiter}, with {} clients", count(best.at))));
            }
        }
    }
    if let Some((_, sentence)) = knee(file, &rows) {
        findings.push(("knee", sentence));
    }
    let (trials, valid) = (
        rows.iter().map(|row| row.runs.len()).sum::<usize>(),
        rows.iter().map(|row| row.valid).sum::<usize>(),
    );
    let invalid = if valid < trials {
        "; the others are kept, and what rests on them may not be believed"
    } else {
        ""
    };
    findings.push((
        "verdict",
        format!("{valid} of {} valid{invalid}", counted(trials as u64, "run", "runs")),
    ));
    if file.ended.as_deref() == Some("interrupted") {
        findings.push(("note", "interrupted: this is what there is so far".to_string()));
    }
    findings.push(("spent", minutes(Duration::from_millis(file.spent_ms))));
    findings
}

fn rate_result(slo: &Slo, search: &Search, rows: &[Row<'_>]) -> String {
    let of = |at: u64| rows.iter().find(|row| row.at == at);
    let votes = |at: u64, kept: bool| {
        of(at).map_or_else(String::new, |row| {
            let votes = if kept {
                row.kept(slo)
            } else {
                row.runs.len() - row.kept(slo)
            };
            let hollow = if row.valid == 0 { ", none valid" } else { "" };
            format!("{votes} of {}{hollow}", counted(row.runs.len() as u64, "run", "runs"))
        })
    };
    match search.next() {
        Next::Done(Outcome::Found {
            kept_per_s,
            broken_per_s,
        }) => format!(
            "{} messages/s keep {slo} ({}), {}/s break it ({})",
            count(kept_per_s),
            votes(kept_per_s, true),
            count(broken_per_s),
            votes(broken_per_s, false)
        ),
        Next::Done(Outcome::NeverBroken { kept_per_s }) => format!(
            "{} messages/s, the most that was to be tried, keep {slo} ({}): the limit lies higher",
            count(kept_per_s),
            votes(kept_per_s, true)
        ),
        Next::Done(Outcome::NeverKept { broken_per_s }) => format!(
            "not even {} messages/s keep {slo} ({})",
            count(broken_per_s),
            votes(broken_per_s, false)
        ),
        Next::Measure { rate_per_s, stage } => format!(
            "not found yet: {}/s comes next, to {}",
            count(rate_per_s),
            stage.as_str()
        ),
    }
}

/// Where the curve turns. Of rates: the highest before the median response is twice that of the lowest rate. Of clients:
/// the fewest that reach 95 % of the most messages/s.
fn knee(file: &SweepFile, rows: &[Row<'_>]) -> Option<(u64, String)> {
    match &file.sweep.along {
        Along::Rate { .. } => {
            let base = rows.first()?.response.quantile(P50)?;
            let turn = rows
                .iter()
                .position(|row| row.response.quantile(P50).is_none_or(|median| median >= 2 * base))?;
            let (before, after) = (rows.get(turn.checked_sub(1)?)?, &rows[turn]);
            Some((
                before.at,
                format!(
                    "{}/s: the median response is {} there and {} at {}/s, twice that of the lowest rate ({}) or more",
                    count(before.at),
                    before.percentile(P50),
                    after.percentile(P50),
                    count(after.at),
                    time_ns(base)
                ),
            ))
        }
        Along::Clients { .. } => {
            let most = rows.iter().map(|row| row.messages_per_s).fold(0.0, f64::max);
            let knee = rows.iter().find(|row| row.messages_per_s >= 0.95 * most)?;
            Some((
                knee.at,
                format!(
                    "{} clients: the fewest that reach 95 % of the most messages/s; more clients only wait longer",
                    count(knee.at)
                ),
            ))
        }
    }
}

fn readme(file: &SweepFile, stored: &[Stored]) -> String {
    let mut text = format!(
        "# {}\n\n{}, {}. {}.\n\n",
        title(file),
        file.label,
        file.started_at,
        about(stored)
    );
    for (name, sentence) in findings(file, stored) {
        let _ = writeln!(text, "- **{name}**: {sentence}");
    }
    text.push_str("\n![curve](curve.svg)\n\n");
    let headings = headings(file);
    let _ = writeln!(text, "| {} |\n|{}", headings.join(" | "), "--:|".repeat(headings.len()));
    let rows = rows(stored);
    for row in &rows {
        let _ = writeln!(text, "| {} |", cells(file, row).join(" | "));
    }
    text.push_str(
        "\nOne trial is one fresh server and one rate or number of clients. Percentiles come from the merged histograms of the \
         valid runs (of all where none is valid), n/a where fewer than 100 samples lie beyond; messages/s is their median. \
         A run keeps the limit when its percentile is below it, no message failed, and 99 % of the plan came back.\n\n",
    );
    if let Some(row) = rows.last() {
        let _ = writeln!(
            text,
            "One point again: `loadgen {}`. All of it: `{}`. Reports again from the records: `loadgen report DIR`.",
            file.sweep.flags_at(row.at).join(" "),
            file.command.join(" ")
        );
    }
    text
}

fn curve_csv(file: &SweepFile, rows: &[Row<'_>]) -> String {
    csv::table(rows.iter().map(|row| {
        let summary = row.response.summary();
        let (name, kept) = match &file.sweep.along {
            Along::Rate { slo, .. } => ("planned_per_s", Some(row.kept(slo))),
            Along::Clients { .. } => ("clients", None),
        };
        let mut cells = vec![
            cell(name, row.at),
            cell("messages_per_s", row.messages_per_s),
            cell("runs", row.runs.len()),
            cell("runs_valid", row.valid),
            maybe("runs_kept", kept),
            cell("response_samples", summary.count),
        ];
        for parts in quantiles(file) {
            let name = format!("response_{}_ns", quantile_name(parts).replace('.', ""));
            cells.push(maybe(&name, row.response.quantile(parts)));
        }
        cells.push(maybe("response_max_ns", summary.max));
        cells.push(cell("limiter", limiter(row.runs.iter().map(|run| run.trial))));
        cells
    }))
}

const COLOURS: [&str; 3] = ["#5b8fc7", "#d98f4e", "#9a86b5"];

fn chart(file: &SweepFile, rows: &[Row<'_>], stored: &[Stored]) -> Chart {
    let dots = |of: &dyn Fn(&Row<'_>) -> Option<f64>| -> Vec<Dot> {
        rows.iter()
            .filter_map(|row| {
                Some(Dot {
                    x: as_figure(row.at),
                    y: of(row)?,
                    valid: row.valid > 0,
                })
            })
            .collect()
    };
    let lines = quantiles(file)
        .into_iter()
        .zip(COLOURS)
        .map(|(parts, colour)| Line {
            name: quantile_name(parts),
            colour,
            dots: dots(&|row| row.response.quantile(parts).map(as_figure)),
        })
        .collect();
    let mut response = Panel {
        title: "response time".to_string(),
        lines,
        limit: None,
        is_log: true,
        print: print_ns,
    };
    let knee = knee(file, rows).map(|(at, _)| (as_figure(at), format!("knee {}", count(at))));
    match &file.sweep.along {
        Along::Rate { slo, limits } => {
            response.limit = Some((as_figure(slo.limit_ns), time_ns(slo.limit_ns)));
            let mut search = Search::new(*limits);
            for run in runs(stored) {
                search.tell(run.at, broken_why(slo, run.trial).is_none());
            }
            let best = match search.next() {
                Next::Done(Outcome::Found { kept_per_s, .. } | Outcome::NeverBroken { kept_per_s }) => {
                    Some((as_figure(kept_per_s), format!("{}/s", count(kept_per_s))))
                }
                Next::Done(Outcome::NeverKept { .. }) | Next::Measure { .. } => None,
            };
            Chart {
                title: title(file),
                about: about(stored),
                x_title: "planned messages per second (open loop)".to_string(),
                x_is_log: false,
                panels: vec![response],
                marks: best.into_iter().collect(),
            }
        }
        Along::Clients { .. } => Chart {
            title: title(file),
            about: about(stored),
            x_title: "clients (closed loop)".to_string(),
            x_is_log: true,
            panels: vec![
                Panel {
                    title: "messages per second".to_string(),
                    lines: vec![Line {
                        name: "messages/s".to_string(),
                        colour: "#5aa469",
                        dots: dots(&|row| Some(row.messages_per_s)),
                    }],
                    limit: None,
                    is_log: false,
                    print: figure,
                },
                response,
            ],
            marks: knee.into_iter().collect(),
        },
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "ticks are positive and below an hour"
)]
fn print_ns(ns: f64) -> String {
    time_ns(ns.round() as u64)
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn as_figure(number: u64) -> f64 {
    number as f64
}
