//! A bar chart per workload as SVG: the median of the valid rounds, a whisker over their spread, every trial as a dot,
//! the invalid ones hollow and grey. No script, no font of its own, a white ground: it looks the same on any page.

use crate::record::Workload;
use crate::suite::results::Row;
use crate::text::{figure, workload as workload_line};
use std::fmt::Write as _;

const WIDTH: f64 = 800.0;
/// Where the bars begin and how long the longest may be.
const LEFT: f64 = 180.0;
const LENGTH: f64 = 500.0;
const TOP: f64 = 64.0;
const ROW: f64 = 40.0;
const BAR: f64 = 22.0;

/// The chart's file in the folder of its suite.
#[must_use]
pub fn file_name(workload: &str) -> String {
    format!("messages-per-s-{workload}.svg")
}

/// messages/s of every row of one workload.
#[must_use]
pub fn messages_per_s(workload: &Workload, rows: &[&Row]) -> String {
    let largest = rows
        .iter()
        .flat_map(|row| &row.points)
        .map(|point| point.messages_per_s);
    let axis = Axis::up_to(largest.fold(0.0, f64::max));
    let below = rows.iter().fold(TOP, |y, _| y + ROW);
    let height = below + 56.0;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="13" fill="#222">
<title>messages per second, {name}</title>
<rect width="100%" height="100%" fill="#fff"/>
<text x="16" y="24" font-size="16" font-weight="600">{name}: messages per second</text>
<text x="16" y="44" fill="#555">{about}</text>
"##,
        name = escaped(&workload.name),
        about = escaped(&workload_line(workload)),
    );
    for tick in axis.ticks() {
        let x = axis.x(tick);
        let _ = writeln!(
            svg,
            r##"<path d="M{x:.1} {TOP:.1}V{below:.1}" stroke="#ddd"/><text x="{x:.1}" y="{:.1}" text-anchor="middle" fill="#555">{}</text>"##,
            below + 16.0,
            figure(tick)
        );
    }
    let mut y = TOP;
    for row in rows {
        draw(&mut svg, row, &axis, y);
        y += ROW;
    }
    let _ = writeln!(
        svg,
        r##"<text x="16" y="{:.1}" fill="#555" font-size="12">Bar: median of the valid rounds. Whisker: smallest to largest. Dot: one trial; hollow and grey: invalid, not counted.</text>
</svg>"##,
        below + 42.0
    );
    svg
}

fn draw(svg: &mut String, row: &Row, axis: &Axis, y: f64) {
    let middle = y + ROW / 2.0;
    let _ = writeln!(
        svg,
        r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
        LEFT - 10.0,
        middle + 4.5,
        escaped(&row.target)
    );
    let Some(spread) = row.messages_per_s else {
        let _ = writeln!(
            svg,
            r##"<text x="{:.1}" y="{:.1}" fill="#888" font-style="italic">not measured</text>"##,
            LEFT + 6.0,
            middle + 4.5
        );
        return;
    };
    let (fill, stroke) = if row.believed {
        (colour(row), "none")
    } else {
        ("none", "#999")
    };
    let dash = if row.believed { "" } else { r#" stroke-dasharray="4 3""# };
    let _ = writeln!(
        svg,
        r#"<rect x="{LEFT:.1}" y="{:.1}" width="{:.1}" height="{BAR:.1}" fill="{fill}" stroke="{stroke}"{dash}/>"#,
        middle - BAR / 2.0,
        axis.x(spread.median) - LEFT
    );
    let (from, to) = (axis.x(spread.min), axis.x(spread.max));
    if row.believed && spread.count > 1 {
        let _ = writeln!(
            svg,
            r##"<path d="M{from:.1} {middle:.1}H{to:.1}M{from:.1} {a:.1}v8M{to:.1} {a:.1}v8" stroke="#222" stroke-width="1.5" fill="none"/>"##,
            a = middle - 4.0
        );
    }
    for point in &row.points {
        let style = if point.valid {
            r##"fill="#222" fill-opacity="0.55""##
        } else {
            r##"fill="none" stroke="#999""##
        };
        let _ = writeln!(
            svg,
            r#"<circle cx="{:.1}" cy="{:.1}" r="2.5" {style}/>"#,
            axis.x(point.messages_per_s),
            middle + BAR / 2.0 + 4.0
        );
    }
    let furthest = row
        .points
        .iter()
        .map(|point| axis.x(point.messages_per_s))
        .fold(to, f64::max);
    let label = if row.believed {
        figure(spread.median)
    } else {
        format!("{} invalid", figure(spread.median))
    };
    let _ = writeln!(
        svg,
        r##"<text x="{:.1}" y="{:.1}" fill="{}">{label}</text>"##,
        furthest + 8.0,
        middle + 4.5,
        if row.believed { "#222" } else { "#888" }
    );
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

/// From 0, as bars must, to the next round number.
struct Axis {
    end: f64,
    step: f64,
}

impl Axis {
    fn up_to(largest: f64) -> Self {
        let largest = if largest.is_finite() && largest > 0.0 {
            largest
        } else {
            1.0
        };
        let power = 10_f64.powf((largest / 4.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|times| times * power)
            .into_iter()
            .find(|step| step * 5.0 >= largest)
            .unwrap_or(power * 10.0);
        Self {
            end: (largest / step).ceil() * step,
            step,
        }
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + LENGTH * (value / self.end).clamp(0.0, 1.0)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let (step, end) = (self.step, self.end);
        std::iter::successors(Some(0.0), move |tick| Some(tick + step)).take_while(move |tick| *tick <= end * 1.0001)
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_ends_at_a_round_number_above_the_largest_value() {
        for (largest, end, step) in [(0.0, 1.0, 0.2), (97.0, 100.0, 20.0), (123_456.0, 150_000.0, 50_000.0)] {
            let axis = Axis::up_to(largest);
            assert!(
                (axis.end - end).abs() < 1e-9 && (axis.step - step).abs() < 1e-9,
                "{largest} {} {}",
                axis.end,
                axis.step
            );
        }
    }
}
