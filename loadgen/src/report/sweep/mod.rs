//! What a sweep says: the result in words, the curve as table, CSV and chart. Made again from its records at any time.

mod chart;
mod findings;

use self::findings::{findings, limiter};
use crate::measurement::store::Stored;
use crate::quantity::{self, Place, Quantity, Reading};
use crate::recorder::latency::LatencyHistogram;
use crate::report::columns::nothing;
use crate::report::csv::{self, cell, maybe};
use crate::report::curve::picture;
use crate::report::html;
use crate::report::svg::Picture;
use crate::report::table::{self, Column, Group};
use crate::suite::statistics::Spread;
use crate::suite::sweep::{Along, Run, Slo, SweepFile, broken_why, quantile_name, runs};
use crate::text::{count, time_ns, workload as workload_line};
use std::fmt::Write as _;

/// Name and text of each file of the folder.
#[must_use]
pub fn files(file: &SweepFile, stored: &[Stored]) -> Vec<(String, String)> {
    let rows = rows(stored);
    let curve = picture(chart::chart(file, &rows, stored));
    vec![
        ("README.md".to_string(), readme(file, stored)),
        ("curve.csv".to_string(), curve_csv(file, &rows)),
        ("trials.csv".to_string(), csv::trials(stored)),
        ("curve.svg".to_string(), curve.file()),
        ("report.html".to_string(), page(file, stored, &rows, &curve)),
    ]
}

/// The result and the curve for a terminal of this width.
#[must_use]
pub fn text(file: &SweepFile, stored: &[Stored], width: u16) -> String {
    let mut text = format!("{}\n{}\n\n", title(file), about(stored));
    let _ = writeln!(text, "{}\n", fitted(file, &rows(stored), width));
    for (name, sentence) in findings(file, stored) {
        let _ = writeln!(text, "  {name:<12} {sentence}");
    }
    text
}

/// All runs at one rate or number of clients.
struct Row<'a> {
    at: u64,
    runs: Vec<Run<'a>>,
    valid: usize,
    /// Of the valid runs, or of all where none is valid.
    response: LatencyHistogram,
}

fn rows(stored: &[Stored]) -> Vec<Row<'_>> {
    let mut all = runs(stored);
    all.sort_by_key(|run| (run.at, run.run));
    all.chunk_by(|one, other| one.at == other.at)
        .map(|runs| {
            let mut row = Row {
                at: runs[0].at,
                runs: runs.to_vec(),
                valid: runs.iter().filter(|run| run.trial.valid).count(),
                response: LatencyHistogram::default(),
            };
            let texts = row.counted().filter_map(|run| run.trial.histograms.response.as_deref());
            // A damaged histogram is one that has nothing to tell.
            row.response = LatencyHistogram::merged(texts).unwrap_or_default();
            row
        })
        .collect()
}

impl<'a> Row<'a> {
    /// The runs that figures come from.
    fn counted(&self) -> impl Iterator<Item = &Run<'a>> {
        self.runs.iter().filter(|run| self.valid == 0 || run.trial.valid)
    }

    /// The median of the counted runs.
    fn figure(&self, quantity: &Quantity) -> Option<f64> {
        let figures = self.counted().filter_map(|run| quantity.of(run.trial));
        Spread::of(figures).map(|spread| spread.median)
    }

    fn kept(&self, slo: &Slo) -> usize {
        let kept = self.runs.iter().filter(|run| broken_why(slo, run.trial).is_none());
        kept.count()
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

/// Figures of the curve, in the order of columns. Points of the response have columns of their own: the limit chooses them.
fn quantities() -> impl Iterator<Item = &'static Quantity> {
    quantity::ALL
        .iter()
        .filter(|quantity| quantity.is_shown_in(Place::Sweep) && matches!(quantity.reading, Reading::Field { .. }))
}

/// Rate or number of clients.
fn varied(file: &SweepFile) -> &'static str {
    match &file.sweep.along {
        Along::Rate { .. } => "planned/s",
        Along::Clients { .. } => "clients",
    }
}

/// The curve's columns without the first, which is what was varied.
fn columns(file: &SweepFile, rows: &[Row<'_>]) -> Vec<Column> {
    let column = |heading: String, cell: &dyn Fn(&Row<'_>) -> String| Column {
        heading,
        cells: rows.iter().map(cell).collect(),
    };
    let mut columns: Vec<Column> = quantities()
        .map(|quantity| {
            let cell = |row: &Row<'_>| {
                row.figure(quantity)
                    .map_or_else(nothing, |figure| quantity.print(figure))
            };
            column(quantity.title(), &cell)
        })
        .collect();
    columns.push(column("runs".to_string(), &|row| row.runs.len().to_string()));
    columns.push(column("valid".to_string(), &|row| row.valid.to_string()));
    for parts in quantiles(file) {
        columns.push(column(quantile_name(parts), &|row| row.percentile(parts)));
    }
    columns.push(column("max".to_string(), &|row| {
        row.response.summary().max.map_or_else(nothing, time_ns)
    }));
    if let Along::Rate { slo, .. } = &file.sweep.along {
        columns.push(column("kept".to_string(), &|row| {
            format!("{} of {}", row.kept(slo), row.runs.len())
        }));
    }
    columns.push(column("limiter".to_string(), &|row| limiter(row).to_string()));
    columns
}

fn fitted(file: &SweepFile, rows: &[Row<'_>], width: u16) -> String {
    let names: Vec<String> = rows.iter().map(|row| count(row.at)).collect();
    let group = Group {
        name: varied(file).to_string(),
        columns: columns(file, rows),
    };
    table::fitted(&names, vec![group], width).join("\n\n")
}

fn readme(file: &SweepFile, stored: &[Stored]) -> String {
    let rows = rows(stored);
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
    let (headings, lines) = table_of(file, &rows);
    text.push_str(&table::markdown(&headings, 0, lines));
    let _ = writeln!(text, "\n{HOW_TO_READ}\n");
    if let Some(sentence) = again(file, &rows) {
        let _ = writeln!(text, "{sentence}");
    }
    text
}

const HOW_TO_READ: &str = "One trial is one fresh server and one rate or number of clients. Percentiles come from the merged histograms of the \
    valid runs (of all where none is valid), n/a where fewer than 100 samples lie beyond; messages/s is their median. \
    A run keeps the limit when its percentile is below it, no message failed, and 99 % of the plan came back.";

/// What to type for a point, or for all of it.
fn again(file: &SweepFile, rows: &[Row<'_>]) -> Option<String> {
    Some(format!(
        "One point again: `loadgen {}`. All of it: `{}`. Reports again from the records: `loadgen report DIR`.",
        file.sweep.flags_at(rows.last()?.at).join(" "),
        file.command.join(" ")
    ))
}

/// Headings and rows of the curve.
fn table_of(file: &SweepFile, rows: &[Row<'_>]) -> (Vec<String>, Vec<Vec<String>>) {
    let columns = columns(file, rows);
    let headings = std::iter::once(varied(file)).chain(columns.iter().map(|column| column.heading.as_str()));
    let lines = rows.iter().enumerate().map(|(place, row)| {
        let cells = columns.iter().map(|column| column.cells[place].clone());
        std::iter::once(count(row.at)).chain(cells).collect()
    });
    (headings.map(str::to_string).collect(), lines.collect())
}

/// The page of the folder.
fn page(file: &SweepFile, stored: &[Stored], rows: &[Row<'_>], curve: &Picture) -> String {
    let sentence = |(name, sentence): (&str, String)| format!("{name}: {sentence}");
    html::sweep(&html::SweepPage {
        title: title(file),
        about: format!("{}, {}. {}.", file.label, file.started_at, about(stored)),
        found: findings(file, stored).into_iter().map(sentence).collect(),
        curve,
        how_to_read: std::iter::once(HOW_TO_READ.to_string())
            .chain(again(file, rows))
            .collect(),
        stored,
    })
}

fn curve_csv(file: &SweepFile, rows: &[Row<'_>]) -> String {
    csv::table(rows.iter().map(|row| {
        let summary = row.response.summary();
        let (name, kept) = match &file.sweep.along {
            Along::Rate { slo, .. } => ("planned_per_s", Some(row.kept(slo))),
            Along::Clients { .. } => ("clients", None),
        };
        let mut cells = vec![cell(name, row.at)];
        cells.extend(quantities().map(|quantity| maybe(quantity.name, row.figure(quantity))));
        cells.extend([
            cell("runs", row.runs.len()),
            cell("runs_valid", row.valid),
            maybe("runs_kept", kept),
            cell("response_samples", summary.count),
        ]);
        for parts in quantiles(file) {
            let name = format!("response_{}_ns", quantile_name(parts).replace('.', ""));
            cells.push(maybe(&name, row.response.quantile(parts)));
        }
        cells.push(maybe("response_max_ns", summary.max));
        cells.push(cell("limiter", limiter(row)));
        cells
    }))
}
