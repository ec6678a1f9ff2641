//! The columns of a suite's tables, the same on the terminal and in Markdown: the quantities that say they are shown
//! there, and the few columns that are no quantity of a trial.

use crate::quantity::{self, Place, Quantity, Reading};
use crate::report::table;
use crate::suite::results::Row;
use crate::suite::statistics::Spread;
use crate::text::{count, percentile};

/// A column of a suite's table.
pub struct Column {
    /// May have two lines.
    pub heading: &'static str,
    pub cell: Box<dyn Fn(&Row) -> String>,
}

/// The groups of columns in the order of their tables, each under one word.
pub const GROUPS: [(Place, &str); 4] = [
    (Place::Speed, "speed"),
    (Place::Response, "response"),
    (Place::Cpu, "cpu"),
    (Place::Memory, "memory"),
];

/// What the tables show at this place: quantities in their order, each with its range where that is shown, then what is
/// counted over trials.
#[must_use]
pub fn columns(place: Place) -> Vec<Column> {
    let mut columns: Vec<Column> = quantity::ALL
        .iter()
        .filter(|quantity| quantity.is_shown_in(place))
        .flat_map(|quantity| {
            let range = quantity.is_shown_in(Place::Range);
            std::iter::once(of(quantity)).chain(range.then(|| range_of(quantity)))
        })
        .collect();
    match place {
        Place::Speed => columns.extend([
            column("errors", |row| count(row.errors)),
            column("valid\nrounds", |row| {
                format!("{} of {}", row.rounds_valid, row.rounds_run)
            }),
        ]),
        Place::Cpu => columns.push(column("system calls per\nmessage (1 / 32)", syscalls)),
        Place::Runtimes => columns.push(column("system calls per\nmessage (1 / 32 clients)", syscalls)),
        _ => {}
    }
    columns
}

/// The columns of a table with their cells.
#[must_use]
pub fn filled(name: &str, columns: &[Column], rows: &[&Row]) -> table::Group {
    table::Group {
        name: name.to_string(),
        columns: columns
            .iter()
            .map(|column| table::Column {
                heading: column.heading.to_string(),
                cells: rows.iter().map(|row| (column.cell)(row)).collect(),
            })
            .collect(),
    }
}

/// One table of a workload: the columns of these places side by side.
#[must_use]
pub fn grid(places: &[Place], rows: &[&Row]) -> table::Grid {
    let columns: Vec<_> = places.iter().flat_map(|place| columns(*place)).collect();
    let headings = columns.iter().map(|column| one_line(column.heading));
    let cells = rows.iter().map(|row| {
        let figures = columns.iter().map(|column| (column.cell)(row));
        std::iter::once(name(row)).chain(figures).collect()
    });
    table::Grid {
        headings: std::iter::once("target".to_string()).chain(headings).collect(),
        rows: cells.collect(),
    }
}

/// Name of a row; invalid figures are marked where they stand.
#[must_use]
pub fn name(row: &Row) -> String {
    let mark = if row.believed || row.not_measured.is_some() {
        ""
    } else {
        " (invalid)"
    };
    format!("{}{mark}", row.target)
}

/// `tokio 1.54.1`. What a server of the user's own runs on, only its version command says.
#[must_use]
pub fn runtime(name: Option<&str>, version: Option<&str>) -> String {
    match (name, version) {
        (None, Some(version)) => version.to_owned(),
        (None, None) => nothing(),
        (Some(name), version) => format!("{name} {}", version.unwrap_or_default()),
    }
}

/// A heading of two lines as one.
#[must_use]
pub fn one_line(heading: &str) -> String {
    heading.replace("\n/", "/").replace('\n', " ")
}

/// The figure of a row as it is printed, or why there is none.
#[must_use]
pub fn cell(row: &Row, quantity: &Quantity) -> String {
    match (row.figure(quantity), quantity.reading) {
        (Some(figure), _) => quantity.print(figure),
        (None, Reading::Point { clock, .. }) => percentile(clock.latency(&row.latency), None),
        (None, Reading::Field { .. }) => nothing(),
    }
}

/// The smallest and the largest: `11,900..12,800`.
#[must_use]
pub fn range(quantity: &Quantity, spread: &Spread) -> String {
    format!("{}..{}", quantity.print(spread.min), quantity.print(spread.max))
}

/// What stands where there is no figure.
#[must_use]
pub fn nothing() -> String {
    "n/a".to_string()
}

fn of(quantity: &'static Quantity) -> Column {
    column(quantity.heading, move |row| cell(row, quantity))
}

/// One figure has no range.
fn range_of(quantity: &'static Quantity) -> Column {
    column("min..max", move |row| match row.spread(quantity) {
        None => nothing(),
        Some(spread) if spread.count > 1 => range(quantity, spread),
        Some(_) => "one trial".to_string(),
    })
}

fn column(heading: &'static str, cell: impl Fn(&Row) -> String + 'static) -> Column {
    Column {
        heading,
        cell: Box::new(cell),
    }
}

/// System calls per message at 1 and at 32 clients: counted, not timed, so they have two fixed digits and no spread.
fn syscalls(row: &Row) -> String {
    let counted = &row.syscalls_per_message;
    if counted.iter().all(|(_, calls)| calls.is_none()) {
        return nothing();
    }
    let calls = counted
        .iter()
        .map(|(_, calls)| calls.map_or_else(nothing, |calls| format!("{calls:.2}")));
    calls.collect::<Vec<_>>().join(" / ")
}
