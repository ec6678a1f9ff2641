//! Charts of suites that vary one thing from workload to workload; see [`crate::report::varied`], which has the figures.

use super::Hues;
use super::room::{LINES, Room};
use crate::quantity::Better;
use crate::report::columns::nothing;
use crate::report::curve::{Across, Chart, Dot, Kind, Line, Panel, picture as curve};
use crate::report::svg::{Hue, Picture};
use crate::report::table::Grid;
use crate::report::varied::{Along, CPU, Knee, MESSAGES, P50, P99, Told, Varied, WHOLE_MEMORY, knee};
use crate::suite::matrix::SuiteFile;
use crate::suite::results::Row;
use crate::text::count;

pub(super) fn pictures(file: &SuiteFile, varied: &Varied<'_>, hues: &Hues) -> Vec<Picture> {
    let (varied, room) = &drawn(varied);
    match varied.along {
        Along::Clients => [speed(varied, hues, room)]
            .into_iter()
            .chain(memory(varied, hues, room, "memory-over-connections"))
            .collect(),
        Along::Connections => memory(varied, hues, room, "memory-of-a-crowd")
            .into_iter()
            .chain([crowd(varied, hues, room)])
            .collect(),
        Along::Load | Along::Rate => vec![load(file, varied, hues, room)],
    }
}

/// The targets that there is room for, by what they show at the last value.
fn drawn<'a>(varied: &Varied<'a>) -> (Varied<'a>, Room) {
    let (told, better) = match varied.along {
        Along::Clients => (MESSAGES, Better::More),
        Along::Connections | Along::Load | Along::Rate => (P50, Better::Less),
    };
    let last = |(_, rows): &(&str, Vec<(f64, &Row)>)| (told.read)(rows.last()?.1);
    let room = Room::of(&varied.targets.iter().map(last).collect::<Vec<_>>(), better, LINES);
    let targets = room.keep(&varied.targets).into_iter().cloned().collect();
    let along = varied.along;
    (Varied { along, targets }, room)
}

/// A line for each target.
fn lines(varied: &Varied<'_>, hues: &Hues, told: &Told) -> Vec<Line> {
    let mut seen: Vec<Hue> = Vec::new();
    let line = |(target, rows): &(&str, Vec<(f64, &Row)>)| {
        let hue = hues.target(target);
        let dash = seen.iter().filter(|other| **other == hue).count() % 6;
        seen.push(hue);
        line(target, hue, dash, rows, told)
    };
    varied.targets.iter().map(line).collect()
}

fn line(name: &str, hue: Hue, dash: usize, rows: &[(f64, &Row)], told: &Told) -> Line {
    let dot = |(x, row): &(f64, &Row)| Dot {
        x: *x,
        y: (told.read)(row),
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

/// A row for each point.
fn data(varied: &Varied<'_>, all: &[Told]) -> Grid {
    let rows = varied.targets.iter().flat_map(|(target, rows)| {
        rows.iter().map(|(at, row)| {
            let cell = |told: &Told| (told.read)(row).map_or_else(nothing, told.print);
            let mut cells = vec![(*target).to_string(), varied.along.print(*at)];
            cells.extend(all.iter().map(cell));
            cells
        })
    });
    let x = match varied.along {
        Along::Clients => "clients",
        Along::Connections => "connections",
        Along::Load => "offered load",
        Along::Rate => "planned/s",
    };
    let headings = ["target", x].into_iter().chain(all.iter().map(|told| told.name));
    Grid {
        headings: headings.map(str::to_string).collect(),
        rows: rows.collect(),
    }
}

const LEGEND: &str =
    "Each point: median of the valid rounds. Hollow: no round was valid. A line is broken where nothing was measured.";

fn panel(varied: &Varied<'_>, hues: &Hues, title: &str, told: &Told, is_log: bool) -> Panel {
    Panel {
        title: title.to_string(),
        lines: lines(varied, hues, told),
        limit: None,
        mark: None,
        is_log,
        print: Box::new(told.print),
    }
}

/// What is still to be said of a chart: name, title, about, legend, summary.
type Said<'s> = [&'s str; 5];

fn chart(varied: &Varied<'_>, room: &Room, said: Said<'_>, panels: Vec<Panel>, all: &[Told]) -> Chart {
    let along = varied.along;
    let [name, title, about, legend, summary] = said.map(str::to_string);
    Chart {
        name,
        title,
        about,
        legend: legend + room.sentence(),
        summary,
        x: Across {
            title: along.axis().to_string(),
            kind: match along {
                Along::Clients | Along::Connections => Kind::Log,
                Along::Load | Along::Rate => Kind::Linear,
            },
            print: Box::new(move |value| along.print(value)),
        },
        panels,
        marks: Vec::new(),
        bands: Vec::new(),
        may_be_log: true,
        by_target: true,
        data: data(varied, all),
    }
}

/// Messages per second, and what one costs, over clients.
fn speed(varied: &Varied<'_>, hues: &Hues, room: &Room) -> Picture {
    let panels = vec![
        panel(varied, hues, "messages per second", &MESSAGES, false),
        panel(varied, hues, CPU.name, &CPU, false),
    ];
    let said = [
        "over-clients",
        "Messages per second and CPU per message over clients",
        "closed loop: each client sends its next message when the reply is there",
        LEGEND,
        "Messages per second, and the server's CPU per message, of each target over the number of clients; the figures are in the table.",
    ];
    curve(chart(varied, room, said, panels, &[MESSAGES, CPU]))
}

/// User and kernel memory together over connections; none where neither is known.
fn memory(varied: &Varied<'_>, hues: &Hues, room: &Room, name: &str) -> Option<Picture> {
    let panel = panel(varied, hues, WHOLE_MEMORY.name, &WHOLE_MEMORY, false);
    let is_known = panel
        .lines
        .iter()
        .flat_map(|line| &line.dots)
        .any(|dot| dot.y.is_some());
    is_known.then(|| {
        let said = [
            name,
            "Memory of the server over connections",
            "user memory (PSS of the process tree) and kernel memory together, all clients connected",
            LEGEND,
            "Memory of each target over the number of connections; the figures are in the table.",
        ];
        let mut chart = chart(varied, room, said, vec![panel], &[WHOLE_MEMORY]);
        chart.x.title = "connections".to_string();
        curve(chart)
    })
}

/// How long a few clients wait while more and more others are connected.
fn crowd(varied: &Varied<'_>, hues: &Hues, room: &Room) -> Picture {
    let panels = vec![
        panel(varied, hues, P50.name, &P50, true),
        panel(varied, hues, P99.name, &P99, true),
    ];
    let said = [
        "response-of-a-crowd",
        "Response time over connections",
        "open loop at one rate for every target, however many are connected",
        "Percentiles of all rounds merged. A line is broken where no percentile stands.",
        "Percentiles of the response time of each target over the number of connections; the figures are in the table.",
    ];
    let mut chart = chart(varied, room, said, panels, &[P50, P99]);
    chart.may_be_log = false;
    curve(chart)
}

/// Percentiles of the response over the offered load: a panel for each target, with its knee.
fn load(file: &SuiteFile, varied: &Varied<'_>, hues: &Hues, room: &Room) -> Picture {
    let saturated = file.suite.load.as_ref().map(|load| &load.saturated_per_s);
    let measured = varied.targets.iter().filter(|(_, rows)| !rows.is_empty());
    let panels = measured.map(|(target, rows)| {
        let of = saturated.and_then(|known| known.get(*target));
        let of = of.map_or_else(String::new, |rate| format!(" of {}/s", count(*rate)));
        let found = knee(rows);
        Panel {
            title: match found {
                Some(Knee::At(at)) => format!("{target}: knee at {}{of}", varied.along.print(at)),
                Some(Knee::NoneUpTo(at)) => format!("{target}: no knee up to {}{of}", varied.along.print(at)),
                None => format!("{target}: no knee can be told"),
            },
            lines: (0..)
                .zip([(&P50, "p50"), (&P99, "p99")])
                .map(|(dash, (told, name))| line(name, hues.target(target), dash, rows, told))
                .collect(),
            limit: None,
            mark: match found {
                Some(Knee::At(at)) => Some((at, "knee".to_string())),
                _ => None,
            },
            is_log: true,
            print: Box::new(P50.print),
        }
    });
    let (name, about) = match varied.along {
        Along::Load => (
            "response-over-load",
            "open loop: messages leave by plan, at shares of what each target reached saturated; waiting counts from the planned time",
        ),
        _ => (
            "response-over-rate",
            "open loop: messages leave by plan, and waiting counts from the planned time",
        ),
    };
    let said = [
        name,
        "Response time over offered load",
        about,
        "Percentiles of all rounds merged. The knee is the highest load before the median is twice that of the lowest. A line is broken where no percentile stands.",
        "Percentiles of the response time of each target over the offered load; the figures are in the table.",
    ];
    let mut chart = chart(varied, room, said, panels.collect(), &varied.along.told());
    chart.may_be_log = false;
    chart.by_target = false;
    curve(chart)
}
