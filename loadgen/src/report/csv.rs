//! Numbers for other programs: one row per trial, and one row per target and workload. Units stand in the column names,
//! an absent figure is an empty cell.

use crate::measurement::store::Stored;
use crate::record::{Latency, Measurement};
use crate::suite::preset::COUNTING_CLIENTS;
use crate::suite::results::{Results, label_of, pair_of, why_not};
use crate::suite::statistics::Spread;
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
            cell("aa_control", row.control),
            cell("rounds_valid", row.rounds_valid),
            cell("rounds_run", row.rounds_run),
            cell("believed", row.believed),
        ];
        cells.extend(spread("messages_per_s", row.messages_per_s.as_ref()));
        cells.extend(spread("connections_per_s", row.connections_per_s.as_ref()));
        cells.extend(latency("response", &row.response));
        cells.extend(latency("connect", &row.connect));
        for (name, figure) in [
            ("cpu_percent_of_a_core", row.cpu_percent),
            ("cpu_percent_of_a_core_peak", row.cpu_percent_max),
            ("cpu_us_per_message", row.cpu_us_per_message),
            ("cpu_us_per_connection", row.cpu_us_per_connection),
            ("memory_peak_bytes", row.memory_peak_bytes),
            ("memory_kernel_bytes", row.memory_kernel_bytes),
            ("processes", row.processes_max),
            ("threads", row.threads_max),
            ("context_switches_per_message", row.context_switches_per_message),
            ("fairness_jain", row.fairness_jain),
        ] {
            cells.push(maybe(name, figure.map(|spread| spread.median)));
        }
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

fn trial(trial: &Measurement) -> Vec<Cell> {
    let place = trial.identity.suite.as_ref();
    let cost = &trial.server_cost;
    let mut cells = vec![
        cell("target", label_of(&pair_of(trial), &[trial])),
        cell("workload", &trial.workload),
        maybe("round", place.map(|place| place.round)),
        maybe("position", place.map(|place| place.position)),
        maybe("attempt", place.map(|place| place.attempt)),
        cell("started_at", &trial.identity.started_at),
        cell("complete", trial.complete),
        cell("valid", trial.valid),
        cell("counting", trial.plan.counting),
        cell("messages_per_s", trial.throughput.messages_per_s),
        maybe("connections_per_s", trial.throughput.connections_per_s),
        cell("bytes_per_s", trial.throughput.bytes_per_s),
        cell("duration_s", trial.throughput.duration_s),
    ];
    cells.extend(latency("response", &trial.latency_ns.response));
    cells.extend(latency("connect", &trial.latency_ns.connect));
    cells.extend([
        maybe("cpu_percent_of_a_core", cost.cpu_percent),
        maybe("cpu_percent_of_a_core_peak", cost.cpu_percent_max),
        maybe("cpu_us_per_message", cost.cpu_us_per_message),
        maybe("cpu_us_per_connection", cost.cpu_us_per_connection),
        maybe("memory_peak_bytes", cost.memory_peak_bytes),
        maybe("memory_kernel_bytes", cost.memory_kernel_bytes),
        maybe("processes", cost.processes_max),
        maybe("threads", cost.threads_max),
        maybe("context_switches_per_message", cost.context_switches_per_message),
        maybe("syscalls_per_message", cost.syscalls_per_message),
        maybe("fairness_jain", trial.fairness_jain),
        cell("clients_asked", trial.connections.asked),
        cell("clients_reached", trial.connections.reached),
        cell("planned", trial.counts.planned),
        cell("sent", trial.counts.sent),
        cell("ok", trial.counts.ok),
        cell("refused", trial.counts.refused),
        cell("reset", trial.counts.reset),
        cell("timeout", trial.counts.timeout),
        cell("truncated", trial.counts.truncated),
        cell("corrupted", trial.counts.corrupted),
        cell("dropped", trial.counts.dropped),
        cell("in_flight_at_stop", trial.counts.in_flight_at_stop),
        cell("limiter", &trial.limiter),
        cell("reasons", why_not(trial).join("; ")),
        maybe(
            "open_loop_rate_per_s",
            trial.plan.workload.open_loop().map(|open| open.rate_per_s),
        ),
        cell("loadgen_cpu_spin_s", trial.loadgen_cost.cpu_spin_s),
    ]);
    // In a closed loop service equals response and there is no send lag: empty there, so that modes share no column.
    let none = Latency::default();
    let open = trial.plan.workload.open_loop().is_some();
    let (service, send_lag) = (&trial.latency_ns.service, &trial.latency_ns.send_lag);
    cells.extend(latency("service", if open { service } else { &none }));
    cells.extend(latency("send_lag", if open { send_lag } else { &none }));
    cells
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

fn spread(name: &str, spread: Option<&Spread>) -> [Cell; 3] {
    [
        maybe(&format!("{name}_median"), spread.map(|spread| spread.median)),
        maybe(&format!("{name}_min"), spread.map(|spread| spread.min)),
        maybe(&format!("{name}_max"), spread.map(|spread| spread.max)),
    ]
}

fn latency(name: &str, latency: &Latency) -> Vec<Cell> {
    vec![
        cell(&format!("{name}_samples"), latency.count),
        maybe(&format!("{name}_p50_ns"), latency.p50),
        maybe(&format!("{name}_p90_ns"), latency.p90),
        maybe(&format!("{name}_p99_ns"), latency.p99),
        maybe(&format!("{name}_p999_ns"), latency.p999),
        maybe(&format!("{name}_max_ns"), latency.max),
    ]
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
