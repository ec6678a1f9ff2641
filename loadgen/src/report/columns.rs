//! The columns of a suite's tables, the same on the terminal and in Markdown. A new quantity is one entry here.

use crate::suite::results::Row;
use crate::suite::statistics::Spread;
use crate::text::{bytes, count, figure, percent, percentile};

/// A column: its heading, which may have two lines, and the cell of a row.
pub struct Column {
    pub heading: &'static str,
    pub cell: fn(&Row) -> String,
}

/// Columns that belong together, under one word.
pub struct Group {
    pub name: &'static str,
    pub columns: &'static [Column],
}

pub const SPEED: Group = Group {
    name: "speed",
    columns: &[
        column("messages/s", |row| median(row.messages_per_s.as_ref(), figure)),
        column("min..max", |row| {
            row.messages_per_s.as_ref().map_or_else(nothing, spread)
        }),
        column("connections\n/s", |row| median(row.connections_per_s.as_ref(), figure)),
        column("errors", |row| count(row.errors)),
        column("valid\nrounds", |row| {
            format!("{} of {}", row.rounds_valid, row.rounds_run)
        }),
    ],
};

pub const RESPONSE: Group = Group {
    name: "response",
    columns: &[
        column("response\np50", |row| percentile(&row.response, row.response.p50)),
        column("response\np99", |row| percentile(&row.response, row.response.p99)),
        column("response\nmax", |row| percentile(&row.response, row.response.max)),
        column("connect\np50", |row| percentile(&row.connect, row.connect.p50)),
        column("connect\np99", |row| percentile(&row.connect, row.connect.p99)),
    ],
};

pub const CPU: Group = Group {
    name: "cpu",
    columns: &[
        column("CPU, % of\na core", |row| median(row.cpu_percent.as_ref(), percent)),
        column("CPU\npeak", |row| median(row.cpu_percent_max.as_ref(), percent)),
        column("CPU us per\nmessage", |row| {
            median(row.cpu_us_per_message.as_ref(), figure)
        }),
        column("CPU us per\nconnection", |row| {
            median(row.cpu_us_per_connection.as_ref(), figure)
        }),
        column("switches per\nmessage", |row| {
            median(row.context_switches_per_message.as_ref(), figure)
        }),
        column("system calls per\nmessage (1 / 32)", syscalls),
    ],
};

pub const MEMORY: Group = Group {
    name: "memory",
    columns: &[
        column("peak memory,\nuser", |row| median(row.memory_peak_bytes.as_ref(), size)),
        column("peak memory,\nkernel", |row| {
            median(row.memory_kernel_bytes.as_ref(), size)
        }),
        column("processes", |row| median(row.processes_max.as_ref(), whole)),
        column("threads", |row| median(row.threads_max.as_ref(), whole)),
    ],
};

const fn column(heading: &'static str, cell: fn(&Row) -> String) -> Column {
    Column { heading, cell }
}

/// System calls per message at 1 and at 32 clients: counted, not timed, so they have two fixed digits and no spread.
#[must_use]
pub fn syscalls(row: &Row) -> String {
    let calls: Vec<String> = row
        .syscalls_per_message
        .iter()
        .map(|(_, calls)| calls.map_or_else(nothing, |calls| format!("{calls:.2}")))
        .collect();
    if calls.is_empty() || row.syscalls_per_message.iter().all(|(_, calls)| calls.is_none()) {
        nothing()
    } else {
        calls.join(" / ")
    }
}

/// What stands where there is no figure.
fn nothing() -> String {
    "n/a".to_string()
}

/// One figure has no spread.
fn spread(figures: &Spread) -> String {
    if figures.count > 1 {
        range(figures)
    } else {
        "one trial".to_string()
    }
}

fn median(spread: Option<&Spread>, print: fn(f64) -> String) -> String {
    spread.map_or_else(nothing, |spread| print(spread.median))
}

fn size(number: f64) -> String {
    bytes(rounded(number))
}

/// A figure that counts things, e.g. a median of thread numbers.
#[must_use]
pub fn whole(number: f64) -> String {
    count(rounded(number))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "medians of counts: finite and not negative"
)]
fn rounded(number: f64) -> u64 {
    number.round() as u64
}

/// The smallest and the largest: `11,900..12,800`.
#[must_use]
pub fn range(spread: &Spread) -> String {
    format!("{}..{}", figure(spread.min), figure(spread.max))
}
