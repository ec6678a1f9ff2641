//! The distribution of the response of every target under one workload, over percentiles as HdrHistogram draws them: each
//! step to the right is a tenth of what lies beyond.

use super::room::{LINES, Room};
use crate::measurement::store::file_name;
use crate::quantity::{Better, Clock};
use crate::record::{Latency, Workload};
use crate::recorder::latency::PARTS;
use crate::report::curve::{Across, Chart, Dot, Kind, Line, Panel, picture as curve};
use crate::report::svg::{Hue, Picture};
use crate::report::table::Grid;
use crate::suite::results::Row;
use crate::text::{percentile, time_ns, workload as workload_line};
use crate::units::{count_f64, round_u64};

/// Looks of lines of one colour.
const DASHES: usize = 6;

pub(super) fn picture(workload: &Workload, rows: &[&Row]) -> Option<Picture> {
    let told: Vec<&Row> = rows
        .iter()
        .copied()
        .filter(|row| !row.control && row.believed && row.response_curve.len() > 1)
        .collect();
    if told.is_empty() {
        return None;
    }
    let p99 = |row: &&Row| row.latency.response.p99.or(row.latency.response.p50).map(count_f64);
    let room = Room::of(&told.iter().map(p99).collect::<Vec<_>>(), Better::Less, LINES);
    let mut seen: Vec<Hue> = Vec::new();
    let lines = room.keep(&told).into_iter().map(|row| {
        let hue = Hue::of(row.model.as_deref());
        let dash = seen.iter().filter(|other| **other == hue).count() % DASHES;
        seen.push(hue);
        line(row, hue, dash)
    });
    let waits = match workload.open_loop() {
        Some(_) => "from the planned send to the last byte",
        None => "closed loop: with more clients than the server answers at once, it is mostly waiting for a turn",
    };
    Some(curve(Chart {
        name: format!("response-{}", file_name(&workload.name)),
        title: format!("{}: response time by percentile", workload.name),
        about: workload_line(workload),
        legend: format!(
            "All rounds merged in which percentiles stand, as far as 100 samples lie beyond; {waits}. Lower is better.{}",
            room.sentence()
        ),
        summary: summary(workload, &told),
        x: Across {
            title: "percentile".to_string(),
            kind: Kind::Percentile,
            print: Box::new(percentile_name),
        },
        panels: vec![Panel {
            title: "response time".to_string(),
            lines: lines.collect(),
            limit: None,
            mark: None,
            is_log: false,
            print: Box::new(|ns| time_ns(round_u64(ns))),
        }],
        marks: Vec::new(),
        bands: Vec::new(),
        may_be_log: true,
        by_target: true,
        data: data(rows),
    }))
}

fn line(row: &Row, hue: Hue, dash: usize) -> Line {
    let dot = |(parts, ns): &(u64, u64)| Dot {
        x: decades(*parts),
        y: Some(count_f64(*ns)),
        valid: true,
        marked: NAMED.iter().any(|(named, _)| named == parts),
    };
    Line {
        name: row.target.clone(),
        hue,
        dash,
        joined: true,
        dots: row.response_curve.iter().map(dot).collect(),
    }
}

/// How many times what lies beyond was divided by ten.
fn decades(parts: u64) -> f64 {
    -(count_f64(PARTS - parts) / count_f64(PARTS)).log10()
}

type Named = (u64, fn(&Latency) -> Option<u64>);

/// Percentiles that records name.
const NAMED: [Named; 5] = [
    (PARTS / 2, |latency| latency.p50),
    (PARTS / 10 * 9, |latency| latency.p90),
    (PARTS / 100 * 99, |latency| latency.p99),
    (PARTS / 1000 * 999, |latency| latency.p999),
    (PARTS / 10_000 * 9_999, |latency| latency.p9999),
];

/// `90 %` for one decade, `99.9 %` for three; the median lies between.
fn percentile_name(decades: f64) -> String {
    let percent = 100.0 - 100.0 / 10_f64.powf(decades);
    let digits = format!("{percent:.6}");
    format!("{} %", digits.trim_end_matches('0').trim_end_matches('.'))
}

fn summary(workload: &Workload, rows: &[&Row]) -> String {
    let told = |row: &&Row| {
        let latency = Clock::Response.latency(&row.latency);
        format!(
            "{} {} and {}",
            row.target,
            percentile(latency, latency.p50),
            percentile(latency, latency.p99)
        )
    };
    let all: Vec<String> = rows.iter().map(told).collect();
    format!(
        "Response time under {}, median and p99: {}.",
        workload.name,
        all.join("; ")
    )
}

fn data(rows: &[&Row]) -> Grid {
    let line = |row: &&Row| {
        let latency = Clock::Response.latency(&row.latency);
        let named = NAMED.iter().map(|(_, of)| percentile(latency, of(latency)));
        let mut cells = vec![row.target.clone()];
        cells.extend(named.chain([percentile(latency, latency.max)]));
        cells
    };
    Grid {
        headings: ["target", "p50", "p90", "p99", "p99.9", "p99.99", "max"]
            .map(str::to_string)
            .into(),
        rows: rows.iter().map(line).collect(),
    }
}
