//! Lines over a common axis as SVG, panels one below the other: what a sweep measured. No script, no font of its own, a
//! white ground. Invalid points are hollow.

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
    pub print: fn(f64) -> String,
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

const WIDTH: f64 = 800.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 690.0;
const TOP: f64 = 64.0;
const PANEL: f64 = 220.0;
const GAP: f64 = 44.0;

/// The whole picture.
#[must_use]
pub fn svg(chart: &Chart) -> String {
    let height = chart.panels.iter().fold(TOP, |y, _| y + PANEL + GAP) + 36.0;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="13" fill="#222">
<title>{title}</title>
<rect width="100%" height="100%" fill="#fff"/>
<text x="16" y="24" font-size="16" font-weight="600">{title}</text>
<text x="16" y="44" fill="#555">{about}</text>
"##,
        title = escaped(&chart.title),
        about = escaped(&chart.about),
    );
    let all = chart
        .panels
        .iter()
        .flat_map(|panel| &panel.lines)
        .flat_map(|line| &line.dots);
    let x = Scale::over(all.map(|dot| dot.x), chart.x_is_log, LEFT, RIGHT);
    let mut top = TOP + 18.0;
    for (place, panel) in chart.panels.iter().enumerate() {
        draw(&mut svg, panel, &x, top);
        for (at, name) in &chart.marks {
            let px = x.place(*at);
            let _ = writeln!(
                svg,
                r##"<path d="M{px:.1} {top:.1}v{PANEL}" stroke="#222" stroke-dasharray="2 3"/>"##
            );
            if place == 0 {
                let _ = writeln!(
                    svg,
                    r##"<text x="{:.1}" y="{:.1}" text-anchor="end" font-size="12">{}</text>"##,
                    px - 4.0,
                    top + 13.0,
                    escaped(name)
                );
            }
        }
        top += PANEL + GAP;
    }
    let _ = writeln!(
        svg,
        r##"<text x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>
<text x="16" y="{:.1}" fill="#555" font-size="12">Each point: all runs there, their histograms merged. Hollow and grey: no run was valid.</text>
</svg>"##,
        f64::midpoint(LEFT, RIGHT),
        height - 34.0,
        escaped(&chart.x_title),
        height - 10.0
    );
    svg
}

fn draw(svg: &mut String, panel: &Panel, x: &Scale, top: f64) {
    let bottom = top + PANEL;
    let values = panel.lines.iter().flat_map(|line| &line.dots).map(|dot| dot.y);
    let y = Scale::over(
        values.chain(panel.limit.iter().map(|limit| limit.0)),
        panel.is_log,
        bottom,
        top,
    );
    let _ = writeln!(
        svg,
        r##"<text x="16" y="{:.1}" font-weight="600">{}</text>"##,
        top - 8.0,
        escaped(&panel.title)
    );
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
    for (place, line) in (0_u8..).zip(&panel.lines) {
        let path: Vec<String> = line
            .dots
            .iter()
            .map(|dot| format!("{:.1} {:.1}", x.place(dot.x), y.place(dot.y)))
            .collect();
        let _ = writeln!(
            svg,
            r#"<path d="M{}" stroke="{}" stroke-width="1.5" fill="none"/>"#,
            path.join("L"),
            line.colour
        );
        for dot in &line.dots {
            let style = if dot.valid {
                format!(r#"fill="{}""#, line.colour)
            } else {
                r##"fill="#fff" stroke="#999""##.to_string()
            };
            let _ = writeln!(
                svg,
                r#"<circle cx="{:.1}" cy="{:.1}" r="3.5" {style}/>"#,
                x.place(dot.x),
                y.place(dot.y)
            );
        }
        // A legend at the right, where no line can cross it.
        let py = top + 14.0 + 18.0 * f64::from(place);
        let _ = writeln!(
            svg,
            r#"<path d="M{:.1} {:.1}h14" stroke="{}" stroke-width="3"/><text x="{:.1}" y="{py:.1}">{}</text>"#,
            RIGHT + 12.0,
            py - 4.5,
            line.colour,
            RIGHT + 31.0,
            escaped(&line.name)
        );
    }
}

/// From values to places.
struct Scale {
    from: f64,
    to: f64,
    is_log: bool,
    begin: f64,
    end: f64,
}

impl Scale {
    /// Round numbers around all values; a scale that is not logarithmic begins at 0.
    fn over(values: impl Iterator<Item = f64>, is_log: bool, begin: f64, end: f64) -> Self {
        let values: Vec<f64> = values.filter(|value| value.is_finite() && *value > 0.0).collect();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        let (from, to) = match (values.is_empty(), is_log) {
            (true, _) => (if is_log { 1.0 } else { 0.0 }, 10.0),
            (false, true) => {
                let (from, to) = (10_f64.powf(least.log10().floor()), 10_f64.powf(most.log10().ceil()));
                (from, if to > from { to } else { from * 10.0 })
            }
            (false, false) => {
                let step = step_for(most);
                (0.0, (most / step).ceil() * step)
            }
        };
        Self {
            from,
            to,
            is_log,
            begin,
            end,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let share = if self.is_log {
            (value.max(self.from) / self.from).log10() / (self.to / self.from).log10()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        self.begin + (self.end - self.begin) * share.clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        let step = step_for(self.to);
        let next = |tick: &f64| if self.is_log { tick * 10.0 } else { tick + step };
        let end = self.to * 1.0001;
        std::iter::successors(Some(self.from), |tick| Some(next(tick)))
            .take_while(|tick| *tick <= end)
            .take(40)
            .collect()
    }
}

/// A round step that gives at most six ticks.
fn step_for(most: f64) -> f64 {
    let power = 10_f64.powf((most / 4.0).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|times| times * power)
        .into_iter()
        .find(|step| step * 5.0 >= most)
        .unwrap_or(power * 10.0)
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
    fn scales_end_at_round_numbers_and_keep_their_order() {
        let scale = Scale::over([3.0, 4700.0].into_iter(), true, 0.0, 100.0);
        assert_eq!((scale.from, scale.to), (1.0, 10_000.0));
        assert_eq!(scale.ticks(), [1.0, 10.0, 100.0, 1000.0, 10_000.0]);
        assert!((scale.place(100.0) - 50.0).abs() < 1e-9);
        let scale = Scale::over([97.0].into_iter(), false, 0.0, 100.0);
        assert_eq!((scale.from, scale.to), (0.0, 100.0));
        assert!(scale.place(97.0) > scale.place(3.0));
    }
}
