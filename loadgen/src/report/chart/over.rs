//! Charts of suites that vary one thing from workload to workload: clients of a closed loop, or the rate of an open one. Nothing
//! where fewer than three values were measured.

use super::room::{LINES, Room};
use super::{Hues, title};
use crate::quantity::{Better, CPU_PER_MESSAGE, MEMORY, MEMORY_KERNEL, MESSAGES_PER_S, PLANNED_PER_S, Quantity};
use crate::record::{Latency, Workload};
use crate::report::columns::nothing;
use crate::report::curve::{Across, Chart, Dot, Kind, Line, Panel, picture as curve};
use crate::report::svg::{Hue, Picture};
use crate::report::table::Grid;
use crate::suite::matrix::SuiteFile;
use crate::suite::results::{Results, Row};
use crate::text::{bytes, count, figure, time_ns};
use crate::units::{count_f64, round_u64};

/// Values that make a curve.
const AT_LEAST: usize = 3;

pub(super) fn pictures(file: &SuiteFile, results: &Results, hues: &Hues) -> Vec<Picture> {
    let mut pictures = Vec::new();
    if let Some(closed) = varied(file, results, &|workload| workload.open_loop().is_none(), &clients) {
        pictures.push(speed(&closed, hues));
        pictures.extend(memory(&closed, hues));
    }
    if let Some(open) = varied(file, results, &|workload| workload.open_loop().is_some(), &|_, row| {
        row.figure(&PLANNED_PER_S)
    }) {
        pictures.push(load(&open, hues));
    }
    pictures
}

/// What was measured: the rows of each target, by what was varied.
struct Varied<'a> {
    targets: Vec<(&'a str, Vec<(f64, &'a Row)>)>,
}

/// The rows of timed workloads that differ in one thing only.
fn varied<'a>(
    file: &'a SuiteFile,
    results: &'a Results,
    is_kind: &dyn Fn(&Workload) -> bool,
    value: &dyn Fn(&Workload, &Row) -> Option<f64>,
) -> Option<Varied<'a>> {
    let alike = |one: &Workload, other: &Workload| {
        (one.size_min_bytes, one.size_max_bytes, one.pipeline)
            == (other.size_min_bytes, other.size_max_bytes, other.pipeline)
    };
    let fits = |workload: &&Workload| is_kind(workload) && !workload.is_job() && !workload.churn;
    let first = file.suite.workloads.iter().find(fits)?;
    let workloads: Vec<&Workload> = file
        .suite
        .workloads
        .iter()
        .filter(|workload| fits(workload) && alike(workload, first))
        .collect();
    let of_target = |target: &'a String| {
        let mut rows: Vec<(f64, &Row)> = (workloads.iter())
            .filter_map(|workload| {
                let mut rows = results.of_workload(&workload.name);
                let row = rows.find(|row| row.target == *target && !row.control)?;
                Some((value(workload, row)?, row))
            })
            .collect();
        rows.sort_by(|one, other| one.0.total_cmp(&other.0));
        rows.dedup_by(|one, other| one.0 == other.0);
        (target.as_str(), rows)
    };
    let targets: Vec<_> = file.suite.all_targets().map(of_target).collect();
    let is_curve = targets.iter().any(|(_, rows)| rows.len() >= AT_LEAST);
    is_curve.then_some(Varied { targets })
}

fn clients(workload: &Workload, _: &Row) -> Option<f64> {
    Some(f64::from(workload.clients))
}

/// Heading of a column and how its cells are made.
type Column<'a> = (&'a str, &'a dyn Fn(&Row) -> String);

impl Varied<'_> {
    /// Which targets there is room for, by what they show at the last value.
    fn room(&self, better: Better, read: &dyn Fn(&Row) -> Option<f64>) -> Room {
        let last = |(_, rows): &(&str, Vec<(f64, &Row)>)| read(rows.last()?.1);
        Room::of(&self.targets.iter().map(last).collect::<Vec<_>>(), better, LINES)
    }

    /// A line for each target that there is room for.
    fn lines(&self, hues: &Hues, room: &Room, read: &dyn Fn(&Row) -> Option<f64>) -> Vec<Line> {
        let mut seen: Vec<Hue> = Vec::new();
        let line = |(target, rows): &(&str, Vec<(f64, &Row)>)| {
            let hue = hues.target(target);
            let dash = seen.iter().filter(|other| **other == hue).count() % 6;
            seen.push(hue);
            line(target, hue, dash, rows, read)
        };
        room.keep(&self.targets).into_iter().map(line).collect()
    }

    fn data(&self, x: &str, columns: &[Column<'_>]) -> Grid {
        let rows = self.targets.iter().flat_map(|(target, rows)| {
            rows.iter().map(|(at, row)| {
                let mut cells = vec![(*target).to_string(), count(round_u64(*at))];
                cells.extend(columns.iter().map(|(_, cell)| cell(row)));
                cells
            })
        });
        let headings = ["target", x].into_iter().chain(columns.iter().map(|(name, _)| *name));
        Grid {
            headings: headings.map(str::to_string).collect(),
            rows: rows.collect(),
        }
    }
}

fn line(name: &str, hue: Hue, dash: usize, rows: &[(f64, &Row)], read: &dyn Fn(&Row) -> Option<f64>) -> Line {
    let dot = |(x, row): &(f64, &Row)| Dot {
        x: *x,
        y: read(row),
        valid: row.believed,
        marked: true,
    };
    Line {
        name: name.to_string(),
        hue,
        dash,
        joined: true,
        dots: rows.iter().map(dot).collect(),
    }
}

/// Messages per second, and what one costs, over clients.
fn speed(varied: &Varied<'_>, hues: &Hues) -> Picture {
    let room = varied.room(Better::More, &|row| row.figure(&MESSAGES_PER_S));
    let panel = |quantity: &'static Quantity| Panel {
        title: title(quantity),
        lines: varied.lines(hues, &room, &|row| row.figure(quantity)),
        limit: None,
        is_log: false,
        print: Box::new(|value| quantity.print(value)),
    };
    let print = |quantity: &'static Quantity| {
        move |row: &Row| row.figure(quantity).map_or_else(nothing, |value| quantity.print(value))
    };
    curve(Chart {
        name: "over-clients".to_string(),
        title: "Messages per second and CPU per message over clients".to_string(),
        about: "closed loop: each client sends its next message when the reply is there".to_string(),
        legend: format!(
            "Each point: median of the valid rounds. Hollow: no round was valid. A line is broken where nothing was measured.{}",
            room.sentence()
        ),
        summary: "Messages per second, and the server's CPU per message, of each target over the number of clients; the figures are in the table."
            .to_string(),
        x: over_clients("clients"),
        panels: vec![panel(&MESSAGES_PER_S), panel(&CPU_PER_MESSAGE)],
        marks: Vec::new(),
        bands: Vec::new(),
        may_be_log: true,
        by_target: true,
        data: varied.data("clients", &[("messages/s", &print(&MESSAGES_PER_S)), ("CPU us per message", &print(&CPU_PER_MESSAGE))]),
    })
}

fn over_clients(title: &str) -> Across {
    Across {
        title: title.to_string(),
        kind: Kind::Log,
        print: Box::new(figure),
    }
}

/// User and kernel memory together over connections; none where neither is known.
fn memory(varied: &Varied<'_>, hues: &Hues) -> Option<Picture> {
    let whole = |row: &Row| Some(row.figure(&MEMORY)? + row.figure(&MEMORY_KERNEL)?);
    let room = varied.room(Better::Less, &whole);
    let lines = varied.lines(hues, &room, &whole);
    let is_known = lines.iter().flat_map(|line| &line.dots).any(|dot| dot.y.is_some());
    is_known.then(|| {
        curve(Chart {
            name: "memory-over-connections".to_string(),
            title: "Memory of the server over connections".to_string(),
            about: "user memory (PSS of the process tree) and kernel memory together, all clients connected"
                .to_string(),
            legend: format!(
                "Each point: median of the valid rounds. Hollow: no round was valid.{}",
                room.sentence()
            ),
            summary: "Memory of each target over the number of connections; the figures are in the table.".to_string(),
            x: over_clients("connections"),
            panels: vec![Panel {
                title: "memory, user and kernel".to_string(),
                lines,
                limit: None,
                is_log: false,
                print: Box::new(|value| bytes(round_u64(value))),
            }],
            marks: Vec::new(),
            bands: Vec::new(),
            may_be_log: true,
            by_target: true,
            data: varied.data(
                "connections",
                &[("memory", &|row| {
                    whole(row).map_or_else(nothing, |value| bytes(round_u64(value)))
                })],
            ),
        })
    })
}

type Percentile = (&'static str, fn(&Latency) -> Option<u64>);

const PERCENTILES: [Percentile; 3] = [
    ("p50", |latency| latency.p50),
    ("p99", |latency| latency.p99),
    ("p99.9", |latency| latency.p999),
];

/// Percentiles of the response over the offered load: a panel for each target, its knee in the title.
fn load(varied: &Varied<'_>, hues: &Hues) -> Picture {
    let of = |read: fn(&Latency) -> Option<u64>| move |row: &Row| read(&row.latency.response).map(count_f64);
    // By the response at the highest rate that was measured.
    let room = varied.room(Better::Less, &of(|latency| latency.p50));
    let panels = room
        .keep(&varied.targets)
        .into_iter()
        .filter(|(_, rows)| !rows.is_empty())
        .map(|(target, rows)| {
            let lines = (0..).zip(PERCENTILES);
            Panel {
                title: match knee(rows) {
                    Some(knee) => format!("{target}: knee at {}/s", count(round_u64(knee))),
                    None => format!("{target}: no knee up to the highest rate"),
                },
                lines: lines
                    .map(|(dash, (name, read))| line(name, hues.target(target), dash, rows, &of(read)))
                    .collect(),
                limit: None,
                is_log: true,
                print: Box::new(|ns| time_ns(round_u64(ns))),
            }
        });
    let print =
        |read: fn(&Latency) -> Option<u64>| move |row: &Row| read(&row.latency.response).map_or_else(nothing, time_ns);
    let [p50, p99, p999] = PERCENTILES.map(|(name, read)| (name, print(read)));
    curve(Chart {
        name: "response-over-load".to_string(),
        title: "Response time over offered load".to_string(),
        about: "open loop: messages leave by plan, and waiting counts from the planned time".to_string(),
        legend: format!(
            "Percentiles of all rounds merged. The knee is the highest rate before the median is twice that of the lowest rate.{}",
            room.sentence()
        ),
        summary: "Percentiles of the response time of each target over the planned rate; the figures are in the table."
            .to_string(),
        x: Across {
            title: "planned messages per second".to_string(),
            kind: Kind::Linear,
            print: Box::new(figure),
        },
        panels: panels.collect(),
        marks: Vec::new(),
        bands: Vec::new(),
        may_be_log: false,
        by_target: false,
        data: varied.data("planned/s", &[(p50.0, &p50.1), (p99.0, &p99.1), (p999.0, &p999.1)]),
    })
}

/// The highest rate before the median response is twice that of the lowest.
fn knee(rows: &[(f64, &Row)]) -> Option<f64> {
    let base = rows.first()?.1.latency.response.p50?;
    let turn = rows
        .iter()
        .position(|(_, row)| row.latency.response.p50.is_none_or(|median| median >= 2 * base))?;
    Some(rows.get(turn.checked_sub(1)?)?.0)
}
