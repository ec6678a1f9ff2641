//! What all charts share: the page, scales with round numbers, text that cannot break out of its element. No script, no
//! font of its own, a white ground: a chart looks the same on any page.

use std::fmt::Write as _;

pub const WIDTH: f64 = 800.0;
/// Where what is drawn begins, below the two lines of the head.
pub const TOP: f64 = 64.0;
/// Of figures that are shown and not counted, and of scales.
pub const GREY: &str = "#999";

/// A picture: `heading` in its first line, `about` in its second, `body` below, and how to read it in the last.
#[must_use]
pub fn page(height: f64, title: &str, heading: &str, about: &str, body: &str, legend: &str) -> String {
    let (title, heading, about) = (escaped(title), escaped(heading), escaped(about));
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="13" fill="#222">
<title>{title}</title>
<rect width="100%" height="100%" fill="#fff"/>
<text x="16" y="24" font-size="16" font-weight="600">{heading}</text>
<text x="16" y="44" fill="#555">{about}</text>
{body}<text x="16" y="{:.1}" fill="#555" font-size="12">{legend}</text>
</svg>
"##,
        height - 14.0
    )
}

/// A circle for one value; one that is not valid is hollow and grey.
pub fn dot(svg: &mut String, (x, y): (f64, f64), radius: f64, colour: Option<&str>) {
    let style = match colour {
        Some(colour) => format!(r#"fill="{colour}""#),
        None => format!(r##"fill="#fff" stroke="{GREY}""##),
    };
    let _ = writeln!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" {style}/>"#);
}

/// From values to places, with round numbers at both ends.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    from: f64,
    to: f64,
    is_log: bool,
    begin: f64,
    end: f64,
}

impl Scale {
    /// Over all values; a scale that is not logarithmic begins at 0, as bars must.
    pub fn over(values: impl Iterator<Item = f64>, is_log: bool, begin: f64, end: f64) -> Self {
        let values: Vec<f64> = values.filter(|value| value.is_finite() && *value > 0.0).collect();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        let (from, to) = match (values.is_empty(), is_log) {
            (true, true) => (1.0, 10.0),
            (true, false) => (0.0, 1.0),
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

    #[must_use]
    pub fn place(&self, value: f64) -> f64 {
        let share = if self.is_log {
            (value.max(self.from) / self.from).log10() / (self.to / self.from).log10()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        self.begin + (self.end - self.begin) * share.clamp(0.0, 1.0)
    }

    /// Round values from end to end: six at most, or every power of ten.
    pub fn ticks(&self) -> impl Iterator<Item = f64> + use<> {
        let (is_log, step, end) = (self.is_log, step_for(self.to), self.to * 1.0001);
        let next = move |tick: &f64| Some(if is_log { tick * 10.0 } else { tick + step });
        std::iter::successors(Some(self.from), next).take_while(move |tick| *tick <= end)
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
        assert_eq!(scale.ticks().collect::<Vec<_>>(), [1.0, 10.0, 100.0, 1000.0, 10_000.0]);
        assert!((scale.place(100.0) - 50.0).abs() < 1e-9);
        let scale = Scale::over([97.0].into_iter(), false, 0.0, 100.0);
        assert_eq!((scale.from, scale.to), (0.0, 100.0));
        assert!(scale.place(97.0) > scale.place(3.0));
    }

    #[test]
    fn a_scale_from_zero_ends_at_a_round_number_above_the_largest_value() {
        for (largest, end, ticks) in [(0.0, 1.0, 6), (97.0, 100.0, 6), (123_456.0, 150_000.0, 4)] {
            let scale = Scale::over([largest].into_iter(), false, 0.0, 1.0);
            assert!((scale.to - end).abs() < 1e-9, "{largest} {}", scale.to);
            assert_eq!(scale.ticks().count(), ticks, "{largest}");
        }
    }

    #[test]
    fn text_stays_inside_its_element() {
        assert_eq!(escaped(r#"<a b="c">&"#), "&lt;a b=&quot;c&quot;&gt;&amp;");
    }
}
