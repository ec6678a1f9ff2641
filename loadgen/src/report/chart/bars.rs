//! One quantity of every row of a workload: a bar from zero to the median of the valid rounds, a whisker over their spread, every
//! trial as a dot, the invalid ones hollow.

use super::room::{ROWS, Room};
use super::rows::{Bar, ROW, Rows, Track};
use super::{name_of, title};
use crate::quantity::Quantity;
use crate::record::Workload;
use crate::report::columns::{nothing, range};
use crate::report::svg::Picture;
use crate::report::table::Grid;
use crate::suite::results::Row;
use crate::text::workload as workload_line;

const LEGEND: &str =
    "Bar: median of the valid rounds. Whisker: smallest to largest. Dot: one trial; hollow: invalid, not counted.";

pub(super) fn picture(quantity: &Quantity, workload: &Workload, rows: &[&Row]) -> Picture {
    let title = title(quantity);
    let medians: Vec<Option<f64>> = rows.iter().map(|row| Some(row.spread(quantity)?.median)).collect();
    let room = Room::of(&medians, quantity.better, ROWS);
    let tracks: Vec<Track> = rows.iter().map(|row| track(quantity, row)).collect();
    let told: Vec<String> = tracks.iter().map(|row| format!("{} {}", row.name, row.text)).collect();
    let drawn = Rows {
        axis: title.clone(),
        print: &|figure| quantity.print(figure),
        reference: None,
        rows: room.keep(tracks),
    };
    Picture {
        name: name_of(quantity, &workload.name),
        title: format!("{}: {title}", workload.name),
        about: workload_line(workload),
        legend: format!("{LEGEND}{}", room.sentence()),
        summary: format!("Bars of {title} by target: {}.", told.join(", ")),
        height: drawn.height(),
        row_height: ROW,
        keys: Vec::new(),
        body: drawn.draw(false),
        // Bars begin at zero, which a logarithmic axis does not have.
        log_body: None,
        data: data(quantity, rows),
    }
}

fn track(quantity: &Quantity, row: &Row) -> Track {
    let spread = row.spread(quantity);
    Track {
        name: row.target.clone(),
        target: row.target.clone(),
        model: row.model.clone(),
        again: row.control,
        figure: spread.map(|spread| spread.median),
        interval: spread
            .filter(|spread| row.believed && spread.count > 1)
            .map(|spread| (spread.min, spread.max)),
        bar: Some(if row.believed { Bar::Filled } else { Bar::Void }),
        dots: (row.points.iter())
            .filter_map(|point| Some((point.figure(quantity)?, point.valid)))
            .collect(),
        text: match spread {
            Some(spread) if row.believed => quantity.print(spread.median),
            Some(spread) => format!("{} invalid", quantity.print(spread.median)),
            // Measured, and taken away by a gate in each trial: that is no hole.
            None if row.points.iter().any(|point| point.figure(quantity).is_some()) => {
                "void in every round".to_string()
            }
            None => "not measured".to_string(),
        },
        ..Track::default()
    }
}

fn data(quantity: &Quantity, rows: &[&Row]) -> Grid {
    let line = |row: &&Row| {
        let spread = row.spread(quantity);
        vec![
            row.target.clone(),
            spread.map_or_else(nothing, |spread| quantity.print(spread.median)),
            spread.map_or_else(nothing, |spread| range(quantity, spread)),
            format!("{} of {}", row.rounds_valid, row.rounds_run),
        ]
    };
    Grid {
        headings: ["target", "median", "min..max", "valid rounds"]
            .map(str::to_string)
            .into(),
        rows: rows.iter().map(line).collect(),
    }
}
