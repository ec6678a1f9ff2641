//! Lines and points over a common axis, panels one below the other: what a sweep measured, distributions, times. A line is broken
//! where a value is missing; points that are not counted are hollow.

use crate::report::svg::{Fill, Hue, Key, Picture, Scale, across, escaped, mark};
use crate::report::table::Grid;
use std::fmt::Write as _;

/// One value of a line.
#[derive(Clone, Debug, PartialEq)]
pub struct Dot {
    pub x: f64,
    /// None where there is no value: the line is broken there.
    pub y: Option<f64>,
    pub valid: bool,
    /// Whether it has a mark of its own; a point without one only bends the line.
    pub marked: bool,
}

pub struct Line {
    pub name: String,
    pub hue: Hue,
    /// Tells lines of one colour apart.
    pub dash: usize,
    /// Whether the dots are joined: they are steps of one thing, and no things of their own.
    pub joined: bool,
    pub dots: Vec<Dot>,
}

pub struct Panel {
    pub title: String,
    pub lines: Vec<Line>,
    /// A horizontal limit with its name.
    pub limit: Option<(f64, String)>,
    /// A vertical mark of its own with its name.
    pub mark: Option<(f64, String)>,
    /// Whether the scale is logarithmic; else it begins at 0.
    pub is_log: bool,
    /// Values of the scale.
    pub print: Box<dyn Fn(f64) -> String>,
}

/// The axis that all panels share.
pub struct Across {
    /// With its unit.
    pub title: String,
    pub kind: Kind,
    pub print: Box<dyn Fn(f64) -> String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// From 0 on.
    Linear,
    Log,
    /// Values are decades of what lies beyond a percentile: 1 is 90 %, 2 is 99 %, as HdrHistogram draws them.
    Percentile,
}

pub struct Chart {
    /// Of its file, without the ending.
    pub name: String,
    pub title: String,
    pub about: String,
    pub legend: String,
    pub summary: String,
    pub x: Across,
    pub panels: Vec<Panel>,
    /// Vertical marks with their names.
    pub marks: Vec<(f64, String)>,
    /// Stretches of the axis whose values do not count.
    pub bands: Vec<(f64, f64)>,
    /// Whether a logarithmic vertical axis may be chosen.
    pub may_be_log: bool,
    /// Whether each line is a target, which filters go by.
    pub by_target: bool,
    pub data: Grid,
}

/// Shares of the width at which the plot begins and ends; in front of it stand the values of its scale.
const BEGIN: f64 = 13.0;
const END: f64 = 98.0;
const PANEL: f64 = 220.0;
/// Above a panel its title, below it the values of the axis.
const HEAD: f64 = 26.0;
const FOOT: f64 = 34.0;
/// Lines are drawn on a square of this size, which is stretched over the plot.
const SQUARE: f64 = 1000.0;

/// The picture, and the same with logarithmic panels where the chart may have them.
#[must_use]
pub fn picture(chart: Chart) -> Picture {
    let height = chart.panels.iter().fold(18.0, |y, _| y + HEAD + PANEL + FOOT);
    let body = drawn(&chart, false);
    let log_body = chart.may_be_log.then(|| drawn(&chart, true));
    Picture {
        keys: keys(&chart),
        height,
        row_height: 0.0,
        body,
        log_body,
        name: chart.name,
        title: chart.title,
        about: chart.about,
        legend: chart.legend,
        summary: chart.summary,
        data: chart.data,
    }
}

/// Each name once, whatever the number of panels; a line that is alone in its panel is named by that.
fn keys(chart: &Chart) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    let several = chart.panels.iter().filter(|panel| panel.lines.len() > 1);
    for line in several.flat_map(|panel| &panel.lines) {
        if !keys.iter().any(|key| key.name == line.name) {
            keys.push(Key {
                name: line.name.clone(),
                hue: line.hue,
                dash: line.dash,
            });
        }
    }
    keys
}

fn drawn(chart: &Chart, as_log: bool) -> String {
    let lines = chart.panels.iter().flat_map(|panel| &panel.lines);
    let all = lines.flat_map(|line| &line.dots).map(|dot| dot.x);
    let ends = chart.bands.iter().map(|band| band.1);
    let x = match chart.x.kind {
        Kind::Percentile => Scale::whole(all.fold(1.0, f64::max).ceil(), BEGIN, END),
        kind => Scale::over(all.chain(ends), kind == Kind::Log, BEGIN, END),
    };
    let mut svg = String::new();
    let mut top = HEAD;
    for (place, panel) in chart.panels.iter().enumerate() {
        bands(&mut svg, chart, &x, top);
        draw(&mut svg, chart, panel, &x, top, as_log || panel.is_log);
        marks(&mut svg, &chart.marks, &x, top, place == 0);
        marks(&mut svg, panel.mark.as_slice(), &x, top, true);
        top += PANEL + FOOT + HEAD;
    }
    let _ = writeln!(
        svg,
        r#"<text class="soft" x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
        across(END),
        top - HEAD + 8.0,
        escaped(&chart.x.title)
    );
    svg
}

fn draw(svg: &mut String, chart: &Chart, panel: &Panel, x: &Scale, top: f64, is_log: bool) {
    let values = panel.lines.iter().flat_map(|line| &line.dots).filter_map(|dot| dot.y);
    let values = values.chain(panel.limit.iter().map(|limit| limit.0));
    let y = Scale::over(values, is_log, top + PANEL, top);
    let _ = writeln!(
        svg,
        r#"<text class="strong" x="0" y="{:.1}">{}</text>"#,
        top - 10.0,
        escaped(&panel.title)
    );
    axes(svg, chart, panel, x, &y, top + PANEL);
    for line in &panel.lines {
        let hue = line.hue.class();
        let target = match chart.by_target {
            true => format!(r#" data-target="{}" data-model="{hue}""#, escaped(&line.name)),
            false => String::new(),
        };
        let _ = writeln!(svg, r#"<g class="{hue}"{target}>"#);
        if line.joined {
            joined(svg, line, x, &y, top);
        }
        for dot in line.dots.iter().filter(|dot| dot.marked) {
            point(svg, chart, panel, line, dot, (x, &y));
        }
        svg.push_str("</g>\n");
    }
}

fn point(svg: &mut String, chart: &Chart, panel: &Panel, line: &Line, dot: &Dot, (x, y): (&Scale, &Scale)) {
    let Some(value) = dot.y else { return };
    let tip = format!("{}, {}: {}", line.name, (chart.x.print)(dot.x), (panel.print)(value));
    let fill = if dot.valid { Fill::Solid } else { Fill::Hollow };
    mark(svg, (&across(x.place(dot.x)), y.place(value)), line.hue, fill, &tip);
}

/// Both scales, and the limit across them.
fn axes(svg: &mut String, chart: &Chart, panel: &Panel, x: &Scale, y: &Scale, bottom: f64) {
    let (begin, end) = (across(BEGIN), across(END));
    for tick in y.ticks() {
        let py = y.place(*tick);
        let _ = writeln!(
            svg,
            r#"<line class="grid" x1="{begin}" x2="{end}" y1="{py:.1}" y2="{py:.1}"/><text class="soft" x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
            across(BEGIN - 1.0),
            py + 4.0,
            (panel.print)(*tick)
        );
    }
    for tick in x.ticks() {
        let px = across(x.place(*tick));
        let _ = writeln!(
            svg,
            r#"<line class="edge" x1="{px}" x2="{px}" y1="{bottom:.1}" y2="{:.1}"/><text class="soft" x="{px}" y="{:.1}" text-anchor="{}">{}</text>"#,
            bottom + 5.0,
            bottom + 18.0,
            x.anchor(*tick),
            (chart.x.print)(*tick)
        );
    }
    if let Some((limit, name)) = &panel.limit {
        let py = y.place(*limit);
        let _ = writeln!(
            svg,
            r#"<line class="limit" x1="{begin}" x2="{end}" y1="{py:.1}" y2="{py:.1}"/><text class="soft halo" x="{end}" y="{:.1}" text-anchor="end">{}</text>"#,
            py - 5.0,
            escaped(name)
        );
    }
}

/// The line through its dots, in pieces where one is missing.
fn joined(svg: &mut String, line: &Line, x: &Scale, y: &Scale, top: f64) {
    let mut path = String::new();
    let mut is_begun = false;
    for dot in &line.dots {
        let Some(value) = dot.y else {
            is_begun = false;
            continue;
        };
        let px = (x.place(dot.x) - BEGIN) / (END - BEGIN) * SQUARE;
        let py = (y.place(value) - top) / PANEL * SQUARE;
        let _ = write!(path, "{}{px:.1} {py:.1}", if is_begun { 'L' } else { 'M' });
        is_begun = true;
    }
    let thin = if line.dots.iter().all(|dot| dot.marked) {
        ""
    } else {
        " thin"
    };
    let _ = writeln!(
        svg,
        r#"<svg x="{}" y="{top:.1}" width="{}" height="{PANEL}" viewBox="0 0 {SQUARE} {SQUARE}" preserveAspectRatio="none"><path class="line dash{}{thin}" d="{path}"/></svg>"#,
        across(BEGIN),
        across(END - BEGIN),
        line.dash
    );
}

fn bands(svg: &mut String, chart: &Chart, x: &Scale, top: f64) {
    for (from, to) in &chart.bands {
        let (from, to) = (x.place(*from), x.place(*to));
        let _ = writeln!(
            svg,
            r#"<rect class="band" x="{}" y="{top:.1}" width="{}" height="{PANEL}"/>"#,
            across(from),
            across(to - from)
        );
    }
}

/// Vertical marks through one panel, with their names in the first.
fn marks(svg: &mut String, marks: &[(f64, String)], x: &Scale, top: f64, are_named: bool) {
    for (at, name) in marks {
        let px = x.place(*at);
        let _ = writeln!(
            svg,
            r#"<line class="reference" x1="{0}" x2="{0}" y1="{top:.1}" y2="{1:.1}"/>"#,
            across(px),
            top + PANEL
        );
        if are_named {
            // On the side that has more room.
            let (anchor, shift) = if px > 50.0 { ("end", -4) } else { ("start", 4) };
            let _ = writeln!(
                svg,
                r#"<text class="soft halo" x="{}" y="{:.1}" dx="{shift}" text-anchor="{anchor}">{}</text>"#,
                across(px),
                top + 12.0,
                escaped(name)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::figure;

    fn chart(values: &[Option<f64>]) -> Chart {
        let dot = |(x, y): (f64, &Option<f64>)| Dot {
            x,
            y: *y,
            valid: true,
            marked: true,
        };
        let line = Line {
            name: "a<b".to_string(),
            hue: Hue::Event,
            dash: 0,
            joined: true,
            dots: [1.0, 2.0, 3.0, 4.0, 5.0].into_iter().zip(values).map(dot).collect(),
        };
        Chart {
            name: String::new(),
            title: String::new(),
            about: String::new(),
            legend: String::new(),
            summary: String::new(),
            x: Across {
                title: "clients".to_string(),
                kind: Kind::Linear,
                print: Box::new(figure),
            },
            panels: vec![Panel {
                title: "p".to_string(),
                lines: vec![line],
                limit: None,
                mark: None,
                is_log: false,
                print: Box::new(figure),
            }],
            marks: Vec::new(),
            bands: vec![(0.0, 1.0)],
            may_be_log: true,
            by_target: true,
            data: Grid::default(),
        }
    }

    #[test]
    fn no_line_goes_through_a_missing_point() {
        let picture = picture(chart(&[Some(1.0), Some(2.0), None, Some(3.0), Some(4.0)]));
        let path = picture.body.split(" d=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!((path.matches('M').count(), path.matches('L').count()), (2, 2), "{path}");
        assert_eq!(picture.body.matches("<circle").count(), 4);
    }

    #[test]
    fn names_cannot_break_out_and_a_logarithmic_twin_is_drawn() {
        let picture = picture(chart(&[Some(1.0), Some(50.0), Some(2.0), Some(3.0), Some(4.0)]));
        assert!(!picture.body.contains("a<b") && picture.body.contains("a&lt;b"));
        assert_ne!(Some(&picture.body), picture.log_body.as_ref());
        assert!(picture.keys.is_empty(), "one line needs no key");
    }
}
