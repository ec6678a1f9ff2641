//! A bar chart per workload and quantity as SVG: the median of the valid rounds, a whisker over their spread, every trial
//! as a dot, the invalid ones hollow and grey.

use crate::quantity::{MESSAGES_PER_S, Quantity};
use crate::record::Workload;
use crate::report::svg::{GREY, Scale, TOP, dot, escaped, page};
use crate::suite::results::Row;
use crate::suite::statistics::Spread;
use crate::text::workload as workload_line;
use std::fmt::Write as _;

/// Where the bars begin and where the longest may end.
const LEFT: f64 = 180.0;
const RIGHT: f64 = 680.0;
const ROW: f64 = 40.0;
const BAR: f64 = 22.0;

const LEGEND: &str = "Bar: median of the valid rounds. Whisker: smallest to largest. Dot: one trial; hollow and grey: invalid, not counted.";

/// The chart's file in the folder of its suite.
#[must_use]
pub fn file_name(quantity: &Quantity, workload: &str) -> String {
    format!("{}-{workload}.svg", quantity.name.replace('_', "-"))
}

/// The quantity of every row of one workload.
#[must_use]
pub fn bars(quantity: &Quantity, workload: &Workload, rows: &[&Row]) -> String {
    let title = title(quantity);
    let points = rows.iter().flat_map(|row| &row.points);
    let axis = Scale::over(points.filter_map(|point| point.figure(quantity)), false, LEFT, RIGHT);
    let below = rows.iter().fold(TOP, |y, _| y + ROW);
    let mut body = String::new();
    for tick in axis.ticks() {
        let x = axis.place(tick);
        let _ = writeln!(
            body,
            r##"<path d="M{x:.1} {TOP:.1}V{below:.1}" stroke="#ddd"/><text x="{x:.1}" y="{:.1}" text-anchor="middle" fill="#555">{}</text>"##,
            below + 16.0,
            quantity.print(tick)
        );
    }
    let mut y = TOP;
    for row in rows {
        draw(&mut body, quantity, row, &axis, y + ROW / 2.0);
        y += ROW;
    }
    page(
        below + 56.0,
        &format!("{title}, {}", workload.name),
        &format!("{}: {title}", workload.name),
        &workload_line(workload),
        &body,
        LEGEND,
    )
}

/// `messages per second`: in full where the columns are short.
#[must_use]
pub fn title(quantity: &Quantity) -> String {
    if quantity.name == MESSAGES_PER_S.name {
        "messages per second".to_string()
    } else {
        quantity.title()
    }
}

fn draw(svg: &mut String, quantity: &Quantity, row: &Row, axis: &Scale, middle: f64) {
    let _ = writeln!(
        svg,
        r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
        LEFT - 10.0,
        middle + 4.5,
        escaped(&row.target)
    );
    let spread = row.spread(quantity);
    if let Some(spread) = spread {
        bar(svg, row, spread, axis, middle);
    }
    let mut furthest = spread.map_or(LEFT, |spread| axis.place(spread.max));
    for point in &row.points {
        if let Some(figure) = point.figure(quantity) {
            let x = axis.place(figure);
            furthest = furthest.max(x);
            let place = (x, middle + BAR / 2.0 + 4.0);
            dot(svg, place, 2.5, point.valid.then_some("#666"));
        }
    }
    let Some(spread) = spread else {
        // Measured, and taken away by a gate in each trial: that is no hole.
        let is_void = row.points.iter().any(|point| point.figure(quantity).is_some());
        let _ = writeln!(
            svg,
            r##"<text x="{:.1}" y="{:.1}" fill="#888" font-style="italic">{}</text>"##,
            furthest + 8.0,
            middle + 4.5,
            if is_void { "void in every round" } else { "not measured" }
        );
        return;
    };
    let (label, fill) = if row.believed {
        (quantity.print(spread.median), "#222")
    } else {
        (format!("{} invalid", quantity.print(spread.median)), "#888")
    };
    let _ = writeln!(
        svg,
        r##"<text x="{:.1}" y="{:.1}" fill="{fill}">{label}</text>"##,
        furthest + 8.0,
        middle + 4.5,
    );
}

/// The bar of the median, dashed and empty when nothing was valid, and the whisker over the spread.
fn bar(svg: &mut String, row: &Row, spread: &Spread, axis: &Scale, middle: f64) {
    let style = if row.believed {
        format!(r#"fill="{}" stroke="none""#, colour(row))
    } else {
        format!(r#"fill="none" stroke="{GREY}" stroke-dasharray="4 3""#)
    };
    let _ = writeln!(
        svg,
        r#"<rect x="{LEFT:.1}" y="{:.1}" width="{:.1}" height="{BAR:.1}" {style}/>"#,
        middle - BAR / 2.0,
        axis.place(spread.median) - LEFT
    );
    if row.believed && spread.count > 1 {
        let (from, to) = (axis.place(spread.min), axis.place(spread.max));
        let _ = writeln!(
            svg,
            r##"<path d="M{from:.1} {middle:.1}H{to:.1}M{from:.1} {a:.1}v8M{to:.1} {a:.1}v8" stroke="#222" stroke-width="1.5" fill="none"/>"##,
            a = middle - 4.0
        );
    }
}

/// One colour per model, so that a glance tells them apart; the A/A control is paler.
fn colour(row: &Row) -> &'static str {
    match (row.model.as_deref(), row.control) {
        (Some("fork"), false) => "#d98f4e",
        (Some("fork"), true) => "#ecc8a7",
        (Some("thread"), false) => "#5b8fc7",
        (Some("thread"), true) => "#adc7e3",
        (Some("event"), false) => "#5aa469",
        (Some("event"), true) => "#acd1b4",
        _ => "#9a86b5",
    }
}
