//! Numbers for other programs: one row per trial, and one row per target and workload. Units stand in the column names,
//! an absent figure is an empty cell.

use crate::measurement::store::Stored;
use crate::quantity::{self, Place, Quantity, SYSCALLS_PER_MESSAGE};
use crate::record::Measurement;
use crate::suite::preset::COUNTING_CLIENTS;
use crate::suite::results::{Results, Row, label_of, pair_of, why_not};
use std::fmt::Display;

/// One row per trial.
#[must_use]
pub fn trials(stored: &[Stored]) -> String {
    table(stored.iter().map(|stored| {
        let mut cells = vec![cell("file", &stored.file)];
        cells.extend(trial(&stored.measurement));
        cells
    }))
}

/// One trial that is part of no suite.
#[must_use]
pub fn record(measurement: &Measurement) -> String {
    table([trial(measurement)])
}

/// One row per target and workload: medians over the valid rounds, percentiles of the merged histograms.
#[must_use]
pub fn summary(results: &Results) -> String {
    table(results.rows.iter().map(|row| {
        let mut cells = vec![
            cell("workload", &row.workload),
            cell("target", &row.target),
            maybe("model", row.model.as_ref()),
            maybe("runtime", row.runtime.as_ref()),
            maybe("runtime_version", row.runtime_version.as_ref()),
            maybe("io_interface", row.io_interface.as_ref()),
            maybe("workers", row.workers),
            maybe("work_ns", row.work_ns),
            cell("aa_control", row.control),
            cell("rounds_valid", row.rounds_valid),
            cell("rounds_run", row.rounds_run),
            cell("believed", row.believed),
        ];
        cells.extend(
            quantity::ALL
                .iter()
                .filter(|each| !is_counted(each))
                .flat_map(|each| of_row(row, each)),
        );
        for clients in COUNTING_CLIENTS {
            let of_clients = row.syscalls_per_message.iter().find(|(counted, _)| *counted == clients);
            cells.push(maybe(
                &format!("syscalls_per_message_{clients}_clients"),
                of_clients.and_then(|(_, calls)| *calls),
            ));
        }
        cells.push(cell("messages", row.messages));
        cells.push(cell("errors", row.errors));
        cells.push(maybe("not_measured", row.not_measured.as_ref()));
        cells
    }))
}

/// One trial: which it is, its figures, what became of its messages.
fn trial(trial: &Measurement) -> Vec<Cell> {
    let mut cells = identity(trial);
    cells.extend(quantity::ALL.iter().map(|each| maybe(each.name, each.of(trial))));
    cells.extend(outcomes(trial));
    cells
}

fn identity(trial: &Measurement) -> Vec<Cell> {
    let place = trial.identity.suite.as_ref();
    let open_loop = trial.plan.workload.open_loop();
    vec![
        cell("target", label_of(&pair_of(trial), &[trial])),
        cell("workload", &trial.workload),
        maybe("workers", trial.target.workers),
        maybe("work_ns", trial.plan.work_ns),
        maybe("round", place.map(|place| place.round)),
        maybe("position", place.map(|place| place.position)),
        maybe("attempt", place.map(|place| place.attempt)),
        cell("started_at", &trial.identity.started_at),
        cell("complete", trial.complete),
        cell("valid", trial.valid),
        cell("counting", trial.plan.counting),
        maybe("open_loop_rate_per_s", open_loop.map(|open| open.rate_per_s)),
        cell("duration_s", trial.throughput.duration_s),
    ]
}

fn outcomes(trial: &Measurement) -> Vec<Cell> {
    let counts = &trial.counts;
    vec![
        cell("clients_asked", trial.connections.asked),
        cell("clients_reached", trial.connections.reached),
        cell("planned", counts.planned),
        cell("sent", counts.sent),
        cell("ok", counts.ok),
        cell("refused", counts.refused),
        cell("reset", counts.reset),
        cell("timeout", counts.timeout),
        cell("closed", counts.closed),
        cell("truncated", counts.truncated),
        cell("corrupted", counts.corrupted),
        cell("dropped", counts.dropped),
        cell("in_flight_at_stop", counts.in_flight_at_stop),
        cell("limiter", trial.limiter),
        cell("reasons", why_not(trial).join("; ")),
    ]
}

/// The median, with the smallest and the largest where they are shown; of a distribution the point of all samples.
fn of_row(row: &Row, quantity: &Quantity) -> Vec<Cell> {
    let name = quantity.name;
    if !quantity.is_shown_in(Place::Spread) {
        return vec![maybe(name, row.figure(quantity))];
    }
    let spread = row.spread(quantity);
    vec![
        maybe(&format!("{name}_median"), spread.map(|spread| spread.median)),
        maybe(&format!("{name}_min"), spread.map(|spread| spread.min)),
        maybe(&format!("{name}_max"), spread.map(|spread| spread.max)),
    ]
}

/// Of a row it is told by number of clients.
fn is_counted(quantity: &Quantity) -> bool {
    quantity.name == SYSCALLS_PER_MESSAGE.name
}

/// A column's name and one value: both from the same line of code, so that they cannot come apart.
pub(super) type Cell = (String, String);

pub(super) fn cell(name: &str, value: impl Display) -> Cell {
    (name.to_string(), value.to_string())
}

pub(super) fn maybe(name: &str, value: Option<impl Display>) -> Cell {
    (
        name.to_string(),
        value.map(|value| value.to_string()).unwrap_or_default(),
    )
}

pub(super) fn table(rows: impl IntoIterator<Item = Vec<Cell>>) -> String {
    let mut text = String::new();
    for row in rows {
        if text.is_empty() {
            text.push_str(&joined(row.iter().map(|(name, _)| name)));
        }
        text.push_str(&joined(row.iter().map(|(_, value)| value)));
    }
    text
}

fn joined<'a>(values: impl Iterator<Item = &'a String>) -> String {
    values.map(|value| quoted(value)).collect::<Vec<_>>().join(",") + "\n"
}

/// RFC 4180: a cell with a comma, a quote or a line break is quoted, its quotes doubled.
fn quoted(value: &str) -> String {
    if value.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_or_a_quote_inside_a_cell_stays_inside_it() {
        let text = table([vec![cell("a", "1,5"), cell("b", "say \"no\""), maybe("c", None::<u8>)]]);
        assert_eq!(text, "a,b,c\n\"1,5\",\"say \"\"no\"\"\",\n");
    }

    #[test]
    fn no_rows_are_no_text() {
        assert_eq!(trials(&[]), "");
    }
}
