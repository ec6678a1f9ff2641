//! Lines over a common axis as SVG, panels one below the other: what a sweep measured. Invalid points are hollow.

use crate::report::svg::{Scale, TOP, dot, escaped, page};
use crate::text::figure;
use std::fmt::Write as _;

/// One value of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dot {
    pub x: f64,
    pub y: f64,
    pub valid: bool,
}

pub struct Line {
    pub name: String,
    pub colour: &'static str,
    pub dots: Vec<Dot>,
}

pub struct Panel {
    pub title: String,
    pub lines: Vec<Line>,
    /// A horizontal limit with its name.
    pub limit: Option<(f64, String)>,
    /// Whether the scale is logarithmic; else it begins at 0.
    pub is_log: bool,
    /// Values of the scale.
    pub print: Box<dyn Fn(f64) -> String>,
}

pub struct Chart {
    pub title: String,
    pub about: String,
    pub x_title: String,
    pub x_is_log: bool,
    pub panels: Vec<Panel>,
    /// Vertical marks with their names.
    pub marks: Vec<(f64, String)>,
}

const LEFT: f64 = 90.0;
const RIGHT: f64 = 690.0;
const PANEL: f64 = 220.0;
const GAP: f64 = 44.0;

const LEGEND: &str = "Each point: all runs there, their histograms merged. Hollow and grey: no run was valid.";

/// The whole picture.
#[must_use]
pub fn svg(chart: &Chart) -> String {
    let height = chart.panels.iter().fold(TOP, |y, _| y + PANEL + GAP) + 36.0;
    let lines = chart.panels.iter().flat_map(|panel| &panel.lines);
    let all = lines.flat_map(|line| &line.dots).map(|dot| dot.x);
    let x = Scale::over(all, chart.x_is_log, LEFT, RIGHT);
    let mut body = String::new();
    let mut top = TOP + 18.0;
    for (place, panel) in chart.panels.iter().enumerate() {
        draw(&mut body, panel, &x, top);
        marks(&mut body, &chart.marks, &x, top, place == 0);
        top += PANEL + GAP;
    }
    let _ = writeln!(
        body,
        r##"<text x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"##,
        f64::midpoint(LEFT, RIGHT),
        height - 34.0,
        escaped(&chart.x_title)
    );
    page(height, &chart.title, &chart.title, &chart.about, &body, LEGEND)
}

fn draw(svg: &mut String, panel: &Panel, x: &Scale, top: f64) {
    let values = panel.lines.iter().flat_map(|line| &line.dots).map(|dot| dot.y);
    let values = values.chain(panel.limit.iter().map(|limit| limit.0));
    let y = Scale::over(values, panel.is_log, top + PANEL, top);
    let _ = writeln!(
        svg,
        r##"<text x="16" y="{:.1}" font-weight="600">{}</text>"##,
        top - 8.0,
        escaped(&panel.title)
    );
    axes(svg, panel, x, &y, top + PANEL);
    let mut name_at = top + 14.0;
    for line in &panel.lines {
        curve(svg, line, x, &y);
        name(svg, line, name_at);
        name_at += 18.0;
    }
}

/// Both scales, and the limit across them.
fn axes(svg: &mut String, panel: &Panel, x: &Scale, y: &Scale, bottom: f64) {
    for tick in y.ticks() {
        let py = y.place(tick);
        let _ = writeln!(
            svg,
            r##"<path d="M{LEFT} {py:.1}H{RIGHT}" stroke="#ddd"/><text x="{:.1}" y="{:.1}" text-anchor="end" fill="#555">{}</text>"##,
            LEFT - 8.0,
            py + 4.5,
            (panel.print)(tick)
        );
    }
    for tick in x.ticks() {
        let px = x.place(tick);
        let _ = writeln!(
            svg,
            r##"<path d="M{px:.1} {bottom:.1}v5" stroke="#999"/><text x="{px:.1}" y="{:.1}" text-anchor="middle" fill="#555">{}</text>"##,
            bottom + 18.0,
            figure(tick)
        );
    }
    if let Some((limit, name)) = &panel.limit {
        let py = y.place(*limit);
        let _ = writeln!(
            svg,
            r##"<path d="M{LEFT} {py:.1}H{RIGHT}" stroke="#b33" stroke-dasharray="6 3"/><text x="{:.1}" y="{:.1}" fill="#b33">{}</text>"##,
            RIGHT + 8.0,
            py + 4.5,
            escaped(name)
        );
    }
}

fn curve(svg: &mut String, line: &Line, x: &Scale, y: &Scale) {
    let at = |dot: &Dot| (x.place(dot.x), y.place(dot.y));
    let path: Vec<String> = line
        .dots
        .iter()
        .map(at)
        .map(|(x, y)| format!("{x:.1} {y:.1}"))
        .collect();
    let _ = writeln!(
        svg,
        r#"<path d="M{}" stroke="{}" stroke-width="1.5" fill="none"/>"#,
        path.join("L"),
        line.colour
    );
    for each in &line.dots {
        dot(svg, at(each), 3.5, each.valid.then_some(line.colour));
    }
}

/// At the right, where no line can cross it.
fn name(svg: &mut String, line: &Line, y: f64) {
    let _ = writeln!(
        svg,
        r#"<path d="M{:.1} {:.1}h14" stroke="{}" stroke-width="3"/><text x="{:.1}" y="{y:.1}">{}</text>"#,
        RIGHT + 12.0,
        y - 4.5,
        line.colour,
        RIGHT + 31.0,
        escaped(&line.name)
    );
}

/// Vertical marks through one panel, with their names in the first.
fn marks(svg: &mut String, marks: &[(f64, String)], x: &Scale, top: f64, are_named: bool) {
    for (at, name) in marks {
        let px = x.place(*at);
        let _ = writeln!(
            svg,
            r##"<path d="M{px:.1} {top:.1}v{PANEL}" stroke="#222" stroke-dasharray="2 3"/>"##
        );
        if are_named {
            let _ = writeln!(
                svg,
                r##"<text x="{:.1}" y="{:.1}" text-anchor="end" font-size="12">{}</text>"##,
                px - 4.0,
                top + 13.0,
                escaped(name)
            );
        }
    }
}
