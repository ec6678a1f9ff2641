//! A comparison of now against one of before: as text, as JSON, as CSV.

use super::claims::level;
use super::columns::nothing;
use super::csv::{self, cell, maybe};
use super::reproduced::Heading;
use super::table::{Column, Group, fitted};
use super::terminal::wrapped;
use crate::measurement::store::pretty_json;
use crate::suite::diff::{Change, Diff, REFERENCES_FOR_SCATTER, Row, Table};
use crate::text::percent;
use serde::Serialize;

/// Which targets are references, then one table for each workload and quantity. `allowed` is the slowdown that is (0.03 for 3 %).
#[must_use]
pub fn text(heading: &Heading<'_>, found: &Diff, allowed: Option<f64>, width: u16) -> String {
    let mut text = wrapped(
        &format!("{} (now) against {} (before)", heading.second, heading.first),
        0,
        2,
        width,
    );
    for sentence in references(found).iter().chain(&heading.remarks) {
        text.push_str(&wrapped(&format!("- {sentence}"), 0, 2, width));
    }
    for table in &found.tables {
        text.push('\n');
        text.push_str(&drawn(table, width));
        text.push('\n');
    }
    if let Some(allowed) = allowed {
        text.push('\n');
        text.push_str(&wrapped(&verdict(found, allowed), 0, 2, width));
    }
    text
}

/// Everything, for other programs.
#[must_use]
pub fn json(heading: &Heading<'_>, found: &Diff) -> String {
    #[derive(Serialize)]
    struct All<'a> {
        #[serde(flatten)]
        heading: &'a Heading<'a>,
        #[serde(flatten)]
        found: &'a Diff,
    }
    pretty_json(&All { heading, found })
}

/// One row per target, workload and quantity.
#[must_use]
pub fn csv(found: &Diff) -> String {
    let rows = found
        .tables
        .iter()
        .flat_map(|table| table.rows.iter().map(move |row| (table, row)));
    csv::table(rows.map(|(table, row)| {
        let change = |of: fn(&Change) -> f64| row.change.as_ref().map(of);
        vec![
            cell("workload", &table.workload),
            cell("quantity", table.quantity.title()),
            cell("target", &row.target),
            cell("reference", row.is_reference),
            maybe("before", row.before),
            maybe("now", row.now),
            cell("rounds", row.rounds),
            maybe("raw_ratio", row.raw_ratio),
            maybe("ratio", change(|change| change.ratio)),
            maybe("low", change(|change| change.low)),
            maybe("high", change(|change| change.high)),
            maybe("would_have_shown", change(|change| change.would_have_shown)),
            cell("verdict", row.verdict.as_str()),
        ]
    }))
}

/// What ratios are relative to, and what is in neither, one sentence each.
fn references(found: &Diff) -> Vec<String> {
    let mut told = Vec::new();
    let names = &found.references;
    told.push(match names.len() {
        0 => "no target has the same binary in both: what lies between the two (a boot, a memory layout, the distance of the \
              CPUs) cannot be told from a change of a server, so there are ratios as measured and no verdicts. For a verdict \
              measure both builds in one comparison: `loadgen compare --server 'before=COMMAND' --server 'after=COMMAND'`"
            .to_string(),
        1 => format!(
            "ratios are relative to {}, the only target whose binary is the same in both; how far two sittings move targets \
             against each other cannot be told from one, so the intervals hold only the noise within each",
            names[0]
        ),
        few if few < REFERENCES_FOR_SCATTER => format!(
            "ratios are relative to the targets whose binary is the same in both: {}; how far two sittings move targets against \
             each other cannot be told from so few, so the intervals hold only the noise within each",
            names.join(", ")
        ),
        _ => format!(
            "ratios are relative to the targets whose binary is the same in both: {} (each of them relative to the others)",
            names.join(", ")
        ),
    });
    if !found.changed.is_empty() && !names.is_empty() {
        told.push(format!(
            "another binary, or not known to be the same: {}",
            found.changed.join(", ")
        ));
    }
    for (when, only) in [("before", &found.only_before), ("now", &found.only_now)] {
        if !only.is_empty() {
            told.push(format!("only {when}: {}", only.join(", ")));
        }
    }
    told
}

fn drawn(table: &Table, width: u16) -> String {
    let names: Vec<String> = table.rows.iter().map(|row| row.target.clone()).collect();
    let column = |heading: &str, of: &dyn Fn(&Row) -> String| Column {
        heading: heading.to_string(),
        cells: table.rows.iter().map(of).collect(),
    };
    let shown = |figure: Option<f64>| figure.map_or_else(nothing, |figure| level(table.quantity, figure));
    let group = Group {
        name: format!("{}, {}", table.workload, table.quantity.title()),
        columns: vec![
            column("before", &|row| shown(row.before)),
            column("now", &|row| shown(row.now)),
            column("as measured", &|row| row.raw_ratio.map_or_else(nothing, three)),
            column("relative (95 %)", &|row| {
                row.change.as_ref().map_or_else(nothing, interval)
            }),
            column("would show", &|row| {
                let shown = row
                    .change
                    .map(|change| percent((change.would_have_shown - 1.0) * 100.0));
                shown.unwrap_or_default()
            }),
            column("verdict", &|row| row.verdict.as_str().to_string()),
        ],
    };
    fitted(&names, vec![group], width).join("\n\n")
}

/// What `--fail-on-regression` found.
fn verdict(found: &Diff, allowed: f64) -> String {
    let allowed_percent = percent(allowed * 100.0);
    let slower = found.slower_than(allowed);
    let caught = found
        .capacity_changes()
        .map(|(_, _, change)| 1.0 - 1.0 / change.would_have_shown);
    let caught = percent(caught.fold(0.0, f64::max) * 100.0);
    let caught = format!("slowdowns of {caught} and more would have been told with a probability of 80 % in every row");
    if slower.is_empty() {
        return format!("Not shown to be slower by more than {allowed_percent}; {caught}.");
    }
    format!(
        "Slower by more than {allowed_percent} beyond doubt: {}; {caught}.",
        slower.join(", ")
    )
}

fn interval(change: &Change) -> String {
    format!(
        "{} ({}..{})",
        three(change.ratio),
        three(change.low),
        three(change.high)
    )
}

fn three(ratio: f64) -> String {
    format!("{ratio:.3}")
}
