//! Every target against the best one: the ratio with the interval that holds for all pairs of the table together.

use super::Hues;
use super::levels::letters;
use super::room::{ROWS, Room};
use super::rows::{ROW, Rows, Track};
use crate::measurement::store::file_name;
use crate::quantity::Better;
use crate::record::Workload;
use crate::report::svg::Picture;
use crate::report::table::Grid;
use crate::suite::findings::{Table, Target};
use crate::text::workload as workload_line;

pub(super) fn picture(table: &Table, workload: &Workload, hues: &Hues) -> Option<Picture> {
    let best = table.targets.first().filter(|_| !table.pairs.is_empty())?;
    let print = |ratio: f64| format!("{ratio:.2}x");
    let others = table.targets.iter().filter_map(|target| against(table, best, target));
    let rows: Vec<Track> = others.map(|row| track(table, row, hues)).collect();
    let told: Vec<String> = rows
        .iter()
        .map(|row| format!("{} {} {}", row.name, row.text, row.detail))
        .collect();
    let better = match table.quantity.more_is_better() {
        true => Better::More,
        false => Better::Less,
    };
    let ratios: Vec<Option<f64>> = rows.iter().map(|row| row.figure).collect();
    let room = Room::of(&ratios, better, ROWS);
    let data = rows.iter().map(line).collect();
    let drawn = Rows {
        axis: format!("ratio to {}", best.target),
        print: &print,
        reference: Some(1.0),
        rows: room.keep(rows),
    };
    Some(Picture {
        name: format!("ratios-{}", file_name(&table.workload)),
        title: format!(
            "{}: {}, ratio to {}",
            table.workload,
            table.quantity.title(),
            best.target
        ),
        about: workload_line(workload),
        legend: format!(
            "Mark: ratio to the best target. Whisker: interval that holds for all pairs of the table together with 95 %; one that \
             crosses 1 shows no difference. Targets that share a letter are not told apart.{}",
            room.sentence()
        ),
        summary: format!("Ratio of each target to {}: {}.", best.target, told.join(", ")),
        height: drawn.height(),
        row_height: ROW,
        keys: Vec::new(),
        body: drawn.draw(false),
        log_body: Some(drawn.draw(true)),
        data: Grid {
            headings: ["target", "ratio", "interval of 95 %", "letters"]
                .map(str::to_string)
                .into(),
            rows: data,
        },
    })
}

struct Against<'a> {
    target: &'a Target,
    ratio: f64,
    interval: (f64, f64),
}

/// The target over the best one.
fn against<'a>(table: &Table, best: &Target, target: &'a Target) -> Option<Against<'a>> {
    let pair = table.pair(&best.target, &target.target)?;
    let told = &pair.comparison;
    // A pair has the better one left; here the best is what all are measured by.
    let (ratio, interval) = match pair.left == best.target {
        true => (1.0 / told.ratio, (1.0 / told.high, 1.0 / told.low)),
        false => (told.ratio, (told.low, told.high)),
    };
    Some(Against {
        target,
        ratio,
        interval,
    })
}

fn track(table: &Table, row: Against<'_>, hues: &Hues) -> Track {
    let (low, high) = row.interval;
    Track {
        name: row.target.target.clone(),
        target: row.target.target.clone(),
        model: Some(hues.target(&row.target.target).class().to_string()),
        figure: Some(row.ratio),
        interval: Some(row.interval),
        text: format!("{:.2}x", row.ratio),
        detail: format!("({low:.2}..{high:.2})"),
        letters: letters(table, row.target),
        ..Track::default()
    }
}

fn line(row: &Track) -> Vec<String> {
    vec![
        row.name.clone(),
        row.text.clone(),
        row.detail.trim_matches(['(', ')']).to_string(),
        row.letters.clone(),
    ]
}
