//! What is judged under a workload, target by target: the level with its own interval, best first.

use super::Hues;
use super::room::{ROWS, Room};
use super::rows::{ROW, Rows, Track};
use crate::measurement::store::file_name;
use crate::quantity::Better;
use crate::record::Workload;
use crate::report::claims::level;
use crate::report::columns::nothing;
use crate::report::sheets::run;
use crate::report::svg::Picture;
use crate::report::table::Grid;
use crate::suite::findings::{Judged, Table, Target, has_rounds_enough};
use crate::text::workload as workload_line;

/// File of the chart, without its ending.
pub(super) fn name(table: &Table) -> String {
    let quantity = match table.quantity {
        Judged::Capacity => "capacity",
        Judged::MessagesPerS => "rate",
        Judged::CpuUsPerMessage => "cpu-us-per-message",
        Judged::ResponseP50Ns => "response-p50",
        Judged::ResponseP99Ns => "response-p99",
    };
    format!("{quantity}-{}", file_name(&table.workload))
}

/// With its unit.
fn axis(quantity: Judged) -> &'static str {
    match quantity {
        Judged::Capacity => "messages per CPU second of the server",
        Judged::MessagesPerS => "messages per second",
        Judged::CpuUsPerMessage => "server CPU per message, microseconds",
        Judged::ResponseP50Ns => "median response time",
        Judged::ResponseP99Ns => "99th percentile of the response time",
    }
}

pub(super) fn picture(table: &Table, workload: &Workload, hues: &Hues) -> Option<Picture> {
    // The rate has a chart of its own, with every trial.
    if table.quantity == Judged::MessagesPerS || !super::has_level(table) {
        return None;
    }
    let print = |figure| level(table.quantity, figure);
    let (better, word) = match table.quantity.more_is_better() {
        true => (Better::More, "more"),
        false => (Better::Less, "less"),
    };
    let figures: Vec<Option<f64>> = table.targets.iter().map(|target| target.level).collect();
    let room = Room::of(&figures, better, ROWS);
    let drawn = Rows {
        axis: axis(table.quantity).to_string(),
        print: &print,
        reference: None,
        rows: room.keep(table.targets.iter().map(|target| track(table, target, hues))),
    };
    let letters = match has_rounds_enough(table) {
        true => {
            " Targets without a letter in common are told apart: a pair's interval decides that, not whether two of these overlap."
        }
        false => "",
    };
    Some(Picture {
        name: name(table),
        title: format!("{}: {}", table.workload, table.quantity.title()),
        about: workload_line(workload),
        legend: format!(
            "Mark: level over all rounds; {word} is better. Whisker: its own interval of 95 %.{letters}{}",
            room.sentence()
        ),
        summary: summary(table),
        height: drawn.height(),
        row_height: ROW,
        keys: Vec::new(),
        body: drawn.draw(false),
        log_body: Some(drawn.draw(true)),
        data: data(table),
    })
}

fn track(table: &Table, target: &Target, hues: &Hues) -> Track {
    Track {
        name: target.target.clone(),
        target: target.target.clone(),
        model: Some(hues.target(&target.target).class().to_string()),
        figure: target.level,
        interval: target.interval,
        text: target.level.map_or_else(
            || "no figure stands".to_string(),
            |figure| level(table.quantity, figure),
        ),
        detail: interval(table, target)
            .map(|text| format!("({text})"))
            .unwrap_or_default(),
        letters: letters(table, target),
        ..Track::default()
    }
}

/// `96,100..97,900`.
fn interval(table: &Table, target: &Target) -> Option<String> {
    let (low, high) = target.interval?;
    let print = |figure| level(table.quantity, figure);
    Some(format!("{}..{}", print(low), print(high)))
}

/// Nothing while no difference could be claimed.
pub(super) fn letters(table: &Table, target: &Target) -> String {
    match has_rounds_enough(table) {
        true => run(&target.letters),
        false => String::new(),
    }
}

fn summary(table: &Table) -> String {
    let print = |figure| level(table.quantity, figure);
    let told = |target: &Target| Some(format!("{} {}", target.target, print(target.level?)));
    let all: Vec<String> = table.targets.iter().filter_map(told).collect();
    format!(
        "{} of each target under {}, best first: {}.",
        axis(table.quantity),
        table.workload,
        all.join(", ")
    )
}

fn data(table: &Table) -> Grid {
    let line = |target: &Target| {
        vec![
            target.target.clone(),
            target
                .level
                .map_or_else(nothing, |figure| level(table.quantity, figure)),
            interval(table, target).unwrap_or_else(nothing),
            letters(table, target),
            target.rounds.to_string(),
        ]
    };
    Grid {
        headings: ["target", "level", "interval of 95 %", "letters", "rounds"]
            .map(str::to_string)
            .into(),
        rows: table.targets.iter().map(line).collect(),
    }
}
