//! A smooth function, known at points an even step apart and read between them. Pure.

use crate::units::{floor_u64, len_f64};

/// A polynomial through six neighbours is as good as the function where a step is short beside what the function does.
const NEIGHBOURS: usize = 6;

/// Values of a function from one end to the other.
#[derive(Clone, Debug)]
pub(super) struct Tabulated {
    from: f64,
    step: f64,
    values: Vec<f64>,
}

impl Tabulated {
    /// `of` at `steps` + 1 points; `steps` is at least five.
    pub(super) fn new(from: f64, to: f64, steps: usize, of: impl Fn(f64) -> f64) -> Self {
        assert!(steps + 1 >= NEIGHBOURS, "{steps} steps have too few points");
        let step = (to - from) / len_f64(steps);
        Self {
            from,
            step,
            values: (0..=steps).map(|place| of(from + step * len_f64(place))).collect(),
        }
    }

    /// The function at `x` by Lagrange's polynomial; beyond the ends the value at the end.
    pub(super) fn at(&self, x: f64) -> f64 {
        let last = self.values.len() - 1;
        let place = ((x - self.from) / self.step).clamp(0.0, len_f64(last));
        // The neighbours lie on both sides of the place, but at the ends.
        let before = usize::try_from(floor_u64(place)).unwrap_or(last);
        let first = before.saturating_sub(NEIGHBOURS / 2 - 1).min(last + 1 - NEIGHBOURS);
        let near = &self.values[first..first + NEIGHBOURS];
        let offset = place - len_f64(first);
        let [a, b, c, d, e, f] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0].map(|neighbour| offset - neighbour);
        // Products of all differences but one, over those of the points themselves.
        let (ab, cd, ef) = (a * b, c * d, e * f);
        -near[0] * b * cd * ef / 120.0 + near[1] * a * cd * ef / 24.0 - near[2] * ab * d * ef / 12.0
            + near[3] * ab * c * ef / 12.0
            - near[4] * ab * cd * f / 24.0
            + near[5] * ab * cd * e / 120.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_its_points_and_at_them_it_is_the_function() {
        let sine = Tabulated::new(-1.0, 3.0, 64, f64::sin);
        for place in 0..=400 {
            let x = f64::from(place) / 100.0 - 1.0;
            assert!(
                (sine.at(x) - x.sin()).abs() < 1e-8,
                "{x}: {} and {}",
                sine.at(x),
                x.sin()
            );
        }
        // Beyond its ends it stays what it is there.
        assert!((sine.at(-5.0) - (-1.0_f64).sin()).abs() < 1e-12 && (sine.at(9.0) - 3.0_f64.sin()).abs() < 1e-12);
        // A polynomial of the fifth degree comes out exactly.
        let fifth = Tabulated::new(0.0, 10.0, 5, |x| x.powi(5) - 3.0 * x.powi(2));
        assert!((fifth.at(3.7) - (3.7_f64.powi(5) - 3.0 * 3.7_f64.powi(2))).abs() < 1e-8);
    }
}
