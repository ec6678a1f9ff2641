//! A chart of rows on one axis: names above their tracks, figures at their right ends, so that it fits any width.

use crate::report::svg::{Fill, Hue, Scale, across, escaped, mark, told};
use std::fmt::Write as _;

/// The axis stands above the rows: a row that is left out moves the others and not it.
pub(super) const AXIS: f64 = 40.0;
pub(super) const ROW: f64 = 38.0;
/// Where the track lies within its row.
const TRACK: f64 = 26.0;
const BAR: f64 = 12.0;
/// Shares of the width at which the scale begins and ends.
const BEGIN: f64 = 1.0;
const END: f64 = 99.0;

/// What a chart of rows shows.
pub(super) struct Rows<'a> {
    /// What the axis measures, with its unit.
    pub axis: String,
    pub print: &'a dyn Fn(f64) -> String,
    /// A figure of which all others are multiples.
    pub reference: Option<f64>,
    pub rows: Vec<Track>,
}

/// One row.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    pub name: String,
    /// What filters go by.
    pub target: String,
    pub model: Option<String>,
    /// The second run of a target that is measured twice.
    pub again: bool,
    pub figure: Option<f64>,
    pub interval: Option<(f64, f64)>,
    /// A bar from zero instead of a mark.
    pub bar: Option<Bar>,
    /// Single values, and whether each is counted.
    pub dots: Vec<(f64, bool)>,
    /// At the right end: the figure, what a narrow screen may leave out, and letters.
    pub text: String,
    pub detail: String,
    pub letters: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bar {
    Filled,
    /// Of figures that may not be believed.
    Void,
}

impl Rows<'_> {
    pub(super) fn height(&self) -> f64 {
        self.rows.iter().fold(AXIS, |y, _| y + ROW)
    }

    pub(super) fn draw(&self, is_log: bool) -> String {
        let values = self.rows.iter().flat_map(|row| {
            let ends = row.interval.map(|(low, high)| [low, high]);
            let dots = row.dots.iter().map(|dot| dot.0);
            dots.chain(row.figure).chain(ends.into_iter().flatten())
        });
        let scale = Scale::over(values.chain(self.reference), is_log, BEGIN, END);
        let mut svg = String::new();
        let _ = writeln!(svg, r#"<text class="soft" x="0" y="12">{}</text>"#, escaped(&self.axis));
        for tick in scale.ticks() {
            let x = across(scale.place(*tick));
            let _ = writeln!(
                svg,
                r#"<line class="grid" x1="{x}" x2="{x}" y1="{AXIS}" y2="100%"/><text class="soft" x="{x}" y="{:.1}" text-anchor="{}">{}</text>"#,
                AXIS - 8.0,
                scale.anchor(*tick),
                (self.print)(*tick)
            );
        }
        if let Some(reference) = self.reference {
            let x = across(scale.place(reference));
            let _ = writeln!(
                svg,
                r#"<line class="reference" x1="{x}" x2="{x}" y1="{AXIS}" y2="100%"/>"#
            );
        }
        let mut y = AXIS;
        for row in &self.rows {
            self.row(&mut svg, row, &scale, y);
            y += ROW;
        }
        svg
    }

    fn row(&self, svg: &mut String, row: &Track, scale: &Scale, y: f64) {
        let hue = Hue::of(row.model.as_deref());
        let again = if row.again { " again" } else { "" };
        let _ = writeln!(
            svg,
            r#"<g class="row {hue}" data-target="{}" data-model="{hue}" transform="translate(0 {y})"{}>"#,
            escaped(&row.target),
            told(&tip(row)),
            hue = hue.class()
        );
        if let (Some(figure), Some(bar)) = (row.figure, row.bar) {
            let (from, to) = (scale.place(0.0), scale.place(figure));
            let class = match bar {
                Bar::Filled => "mark",
                Bar::Void => "void",
            };
            let _ = writeln!(
                svg,
                r#"<rect class="{class}{again}" x="{}" y="{:.1}" width="{}" height="{BAR}"/>"#,
                across(from),
                TRACK - BAR / 2.0,
                across(to - from)
            );
        }
        if let Some(interval) = row.interval {
            let class = if row.bar.is_some() { "whisker ink" } else { "whisker" };
            whisker(svg, scale, interval, &format!("{class}{again}"));
        }
        for (value, counts) in &row.dots {
            let class = if *counts { "dot" } else { "dot hollow" };
            let _ = writeln!(
                svg,
                r#"<circle class="{class}" cx="{}" cy="{:.1}" r="2.5" data-tip="{}"/>"#,
                across(scale.place(*value)),
                TRACK + BAR / 2.0,
                escaped(&format!("{}, one trial: {}", row.name, (self.print)(*value)))
            );
        }
        if let (Some(figure), None) = (row.figure, row.bar) {
            mark(svg, (&across(scale.place(figure)), TRACK), hue, Fill::Solid, "");
        }
        texts(svg, row);
        svg.push_str("</g>\n");
    }
}

/// What is told when the row is pointed at.
fn tip(row: &Track) -> String {
    let words = [row.text.as_str(), &row.detail, &row.letters];
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    format!("{}: {}", row.name, words.join(" "))
}

fn whisker(svg: &mut String, scale: &Scale, (low, high): (f64, f64), class: &str) {
    let (from, to) = (across(scale.place(low)), across(scale.place(high)));
    let (top, bottom) = (TRACK - 7.0, TRACK + 7.0);
    for (x1, x2, y1, y2) in [
        (&from, &to, TRACK, TRACK),
        (&from, &from, top, bottom),
        (&to, &to, top, bottom),
    ] {
        let _ = writeln!(
            svg,
            r#"<line class="{class}" x1="{x1}" x2="{x2}" y1="{y1}" y2="{y2}"/>"#
        );
    }
}

fn texts(svg: &mut String, row: &Track) {
    let detail = match row.detail.as_str() {
        "" => String::new(),
        detail => format!(r#" <tspan class="soft wide">{}</tspan>"#, escaped(detail)),
    };
    let letters = match row.letters.as_str() {
        "" => String::new(),
        letters => format!(r#" <tspan class="strong">{}</tspan>"#, escaped(letters)),
    };
    let _ = writeln!(
        svg,
        r#"<text class="halo" x="0" y="14">{}</text><text class="halo" x="100%" y="14" text-anchor="end">{}{detail}{letters}</text>"#,
        escaped(&row.name),
        escaped(&row.text)
    );
}
