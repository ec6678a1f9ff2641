//! What all charts share: the picture and its text alternatives, scales with round numbers, marks, text that cannot break out
//! of its element. Places across are shares of the width and places down are pixels, so that one drawing fits a phone and a
//! desk and its letters keep their size. Colours are classes, which one style sheet gives: light, dark and on paper.

use crate::report::table::Grid;
use std::fmt::Write as _;

/// Width of a chart in a file of its own.
const WIDTH: f64 = 800.0;
const MARGIN: f64 = 16.0;
/// Where what is drawn begins, below the two lines of the head.
const TOP: f64 = 64.0;
/// Letters of a legend that fit into a line of a file.
const LEGEND: usize = 125;
/// Of one name in the key of a file.
const KEY_WIDTH: f64 = 190.0;

/// The style sheet of charts; a page that has charts has it once, a chart's own file within.
pub const STYLE: &str = include_str!("../../templates/chart.css");

/// One chart, for a page or for a file of its own.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Of its file, without the ending.
    pub name: String,
    pub title: String,
    /// What was done.
    pub about: String,
    /// How to read it.
    pub legend: String,
    /// What it shows, in words: for who cannot see it.
    pub summary: String,
    pub height: f64,
    /// Height of a row where it has rows that may be left out; 0 where it has none.
    pub row_height: f64,
    pub keys: Vec<Key>,
    pub body: String,
    /// The same on a logarithmic axis, where that shows more.
    pub log_body: Option<String>,
    pub data: Grid,
}

/// A line's name and look.
#[derive(Clone, Debug)]
pub struct Key {
    pub name: String,
    pub hue: Hue,
    pub dash: usize,
}

/// One colour and one shape for each model, in every chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hue {
    Fork,
    Thread,
    Event,
    Other,
}

impl Hue {
    #[must_use]
    pub fn of(model: Option<&str>) -> Self {
        match model {
            Some("fork") => Self::Fork,
            Some("thread") => Self::Thread,
            Some("event") => Self::Event,
            _ => Self::Other,
        }
    }

    /// As in the style sheet.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Thread => "thread",
            Self::Event => "event",
            Self::Other => "other",
        }
    }
}

impl Picture {
    /// The whole file.
    #[must_use]
    pub fn file(&self) -> String {
        let legend: Vec<_> = textwrap::wrap(&self.legend, LEGEND);
        let keys = self.keys_drawn(TOP + self.height + 18.0);
        let legend_from = TOP + self.height + 20.0 + keys.1;
        let mut tail = String::new();
        let mut y = legend_from;
        for line in &legend {
            let _ = writeln!(
                tail,
                r#"<text class="soft" x="{MARGIN}" y="{y:.1}">{}</text>"#,
                escaped(line)
            );
            y += 16.0;
        }
        let height = y + 2.0;
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" class="chart" width="{WIDTH}" height="{height}" role="img">
<title>{title}</title>
<desc>{}</desc>
<style>{STYLE}</style>
<rect class="ground" width="100%" height="100%"/>
<text class="head" x="{MARGIN}" y="24">{title}</text>
<text class="soft" x="{MARGIN}" y="44">{}</text>
<svg x="{MARGIN}" y="{TOP}" width="{}" height="{}">
{}</svg>
{}{tail}</svg>
"#,
            escaped(&self.summary),
            escaped(&self.about),
            WIDTH - 2.0 * MARGIN,
            self.height,
            self.body,
            keys.0,
            title = escaped(&self.title),
        )
    }

    /// The keys in columns from `y` on, and the height that they take.
    fn keys_drawn(&self, y: f64) -> (String, f64) {
        let mut text = String::new();
        let (mut x, mut line) = (MARGIN, y);
        if self.keys.is_empty() {
            return (text, 0.0);
        }
        for key in &self.keys {
            if x + KEY_WIDTH > WIDTH {
                (x, line) = (MARGIN, line + 18.0);
            }
            let _ = writeln!(
                text,
                r#"<svg x="{x}" y="{:.1}" width="24" height="10">{}</svg><text x="{:.1}" y="{line:.1}">{}</text>"#,
                line - 9.0,
                swatch(key),
                x + 30.0,
                escaped(&key.name)
            );
            x += KEY_WIDTH;
        }
        (text, line - y + 22.0)
    }
}

/// A piece of a key's line with its mark, 24 by 10.
#[must_use]
pub fn swatch(key: &Key) -> String {
    let mut text = format!(
        r#"<path class="line {} dash{}" d="M0 5H24"/>"#,
        key.hue.class(),
        key.dash
    );
    mark(&mut text, ("12", 5.0), key.hue, Fill::Solid, "");
    text
}

/// How a mark is filled: hollow is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    Solid,
    Hollow,
}

/// A square for fork, a diamond for thread, a circle for event, a triangle for others; `tip` is shown when pointed at.
pub fn mark(svg: &mut String, (x, y): (&str, f64), hue: Hue, fill: Fill, tip: &str) {
    let class = match fill {
        Fill::Solid => "mark",
        Fill::Hollow => "mark hollow",
    };
    let (hue, shape) = (
        hue.class(),
        match hue {
            Hue::Fork => "M-4-4H4V4H-4Z",
            Hue::Thread => "M0-5.5L5.5 0L0 5.5L-5.5 0Z",
            Hue::Event => "",
            Hue::Other => "M0-5L5 4H-5Z",
        },
    );
    let tip = told(tip);
    let _ = if shape.is_empty() {
        writeln!(
            svg,
            r#"<circle class="{class} {hue}" cx="{x}" cy="{y:.1}" r="4.5"{tip}/>"#
        )
    } else {
        writeln!(
            svg,
            r#"<svg x="{x}" y="{y:.1}"><path class="{class} {hue}" d="{shape}"{tip}/></svg>"#
        )
    };
}

/// The attribute that holds what is shown when an element is pointed at.
#[must_use]
pub fn told(tip: &str) -> String {
    match tip {
        "" => String::new(),
        tip => format!(r#" data-tip="{}""#, escaped(tip)),
    }
}

/// A place across.
#[must_use]
pub fn across(share: f64) -> String {
    format!("{share:.2}%")
}

/// From values to places, with round numbers at both ends.
#[derive(Clone, Debug)]
pub struct Scale {
    from: f64,
    to: f64,
    is_log: bool,
    begin: f64,
    end: f64,
    ticks: Vec<f64>,
}

impl Scale {
    /// Over all values; a scale that is not logarithmic begins at 0, as bars must.
    pub fn over(values: impl Iterator<Item = f64>, is_log: bool, begin: f64, end: f64) -> Self {
        let values: Vec<f64> = values.filter(|value| value.is_finite() && *value > 0.0).collect();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        let ticks = match (values.is_empty(), is_log) {
            (true, true) => vec![1.0, 10.0],
            (true, false) => multiples(0.2, 5.0),
            (false, true) => powers(least, most),
            (false, false) => {
                let step = step_for(most);
                multiples(step, (most / step - 1e-9).ceil())
            }
        };
        let (from, to) = (ticks[0], ticks[ticks.len() - 1]);
        Self {
            from,
            to,
            is_log,
            begin,
            end,
            ticks,
        }
    }

    /// From 0 to `to` in whole steps of 1.
    #[must_use]
    pub fn whole(to: f64, begin: f64, end: f64) -> Self {
        Self {
            from: 0.0,
            to: to.max(1.0),
            is_log: false,
            begin,
            end,
            ticks: multiples(1.0, to.max(1.0)),
        }
    }

    #[must_use]
    pub fn place(&self, value: f64) -> f64 {
        let share = if self.is_log {
            (value.max(self.from) / self.from).log10() / (self.to / self.from).log10()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        self.begin + (self.end - self.begin) * share.clamp(0.0, 1.0)
    }

    /// Round values from end to end: six at most, or powers of ten and, where these are few, twice and five times them.
    #[must_use]
    pub fn ticks(&self) -> &[f64] {
        &self.ticks
    }

    /// Where the text of a tick is held: at its middle, at the ends so that it does not stand out.
    #[must_use]
    pub fn anchor(&self, tick: f64) -> &'static str {
        match tick {
            first if first == self.from => "start",
            last if last == self.to => "end",
            _ => "middle",
        }
    }
}

/// 0, `step`, ... `times` times.
fn multiples(step: f64, times: f64) -> Vec<f64> {
    let place = (0_u32..).map(f64::from).take_while(|place| *place <= times);
    place.map(|place| place * step).collect()
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

/// 1, 2, 5, 10 ... around the values; powers of ten alone where these are more than two apart.
fn powers(least: f64, most: f64) -> Vec<f64> {
    let steps: &[f64] = if most / least > 100.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let (first, last) = (least.log10().floor(), most.log10().ceil());
    let decades = (0_u32..)
        .map(|place| first + f64::from(place))
        .take_while(|decade| *decade <= last);
    let all: Vec<f64> = decades
        .flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powf(decade)))
        .collect();
    let begin = all.iter().rposition(|tick| *tick <= least * 1.000_001).unwrap_or(0);
    let end = all.iter().position(|tick| *tick >= most * 0.999_999);
    let mut ticks = all[begin..=end.unwrap_or(all.len() - 1)].to_vec();
    if ticks.len() < 2 {
        ticks.push(ticks[0] * 10.0);
    }
    ticks
}

#[must_use]
pub fn escaped(text: &str) -> String {
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

    #[test]
    fn a_logarithmic_scale_of_near_values_has_ticks_between_powers_of_ten() {
        let ticks = |values: [f64; 2]| Scale::over(values.into_iter(), true, 0.0, 1.0).ticks().to_vec();
        assert_eq!(ticks([33.0, 185.0]), [20.0, 50.0, 100.0, 200.0]);
        assert_eq!(ticks([50.0, 50.0]), [50.0, 500.0]);
        assert_eq!(ticks([0.52, 1.0]), [0.5, 1.0]);
    }

    #[test]
    fn a_scale_from_zero_ends_at_a_round_number_above_the_largest_value() {
        for (largest, end, ticks) in [(0.0, 1.0, 6), (97.0, 100.0, 6), (123_456.0, 150_000.0, 4)] {
            let scale = Scale::over([largest].into_iter(), false, 0.0, 1.0);
            assert!((scale.to - end).abs() < 1e-9, "{largest} {}", scale.to);
            assert_eq!(scale.ticks().len(), ticks, "{largest}");
        }
    }

    #[test]
    fn text_stays_inside_its_element() {
        assert_eq!(escaped(r#"<a b="c">&"#), "&lt;a b=&quot;c&quot;&gt;&amp;");
    }
}
