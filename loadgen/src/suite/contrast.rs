//! A difference of logs of levels and its error, which may come from several comparisons. Pure.

use super::fit::{Comparison, FALSE_ALARM, LEAST_RATIO, reach, student};
use crate::units::len_f64;
use statrs::distribution::ContinuousCDF;

/// A weighted sum of the logs of levels, such as one target's over the mean of others, and how well it is known.
#[derive(Clone, Debug)]
pub struct Contrast {
    pub log: f64,
    /// Independent parts of its variance, each with the degrees of freedom that it was estimated with.
    parts: Vec<(f64, f64)>,
}

impl Contrast {
    pub(super) fn new(log: f64, parts: Vec<(f64, f64)>) -> Self {
        Self { log, parts }
    }

    /// The difference to a contrast of other trials, which shares no noise with this one.
    #[must_use]
    pub fn minus(mut self, other: Self) -> Self {
        self.log -= other.log;
        self.parts.extend(other.parts);
        self
    }

    /// The same with a further source of noise.
    #[must_use]
    pub fn with_noise(mut self, variance: f64, freedom: f64) -> Self {
        self.parts.push((variance, freedom));
        self
    }

    #[must_use]
    pub fn variance(&self) -> f64 {
        self.parts.iter().map(|(variance, _)| variance).sum()
    }

    /// Standard error, and its Welch-Satterthwaite degrees of freedom.
    #[must_use]
    pub fn error(&self) -> (f64, f64) {
        let variance = self.variance();
        let parts = self.parts.iter();
        let spread: f64 = parts
            .map(|(part, freedom)| part.powi(2) / freedom.max(f64::MIN_POSITIVE))
            .sum();
        let freedom = if spread > 0.0 {
            variance.powi(2) / spread
        } else {
            f64::INFINITY
        };
        // Fewer than one degree has no distribution here; an exact match (no noise at all) needs none.
        (variance.sqrt(), freedom.clamp(1.0, 1e6))
    }

    /// Ratio, interval and the smallest ratio that would have been shown, as one of `number` that hold together
    /// by Sidak's bound. The interval is at least as wide as that of a `floor`: a variance and its degrees of freedom. Claimed by the
    /// interval alone: whether there are rounds enough is for the caller. No p-values.
    #[must_use]
    pub fn judged_among(&self, number: usize, floor: Option<(f64, f64)>) -> Option<Comparison> {
        let each = 1.0 - (1.0 - FALSE_ALARM).powf(1.0 / len_f64(number.max(1)));
        let of = |(error, freedom): (f64, f64)| {
            let critical = student(freedom)?.inverse_cdf(1.0 - each / 2.0);
            Some((critical * error, reach(critical, freedom, error)?))
        };
        let (own_half, own_reach) = of(self.error())?;
        let (half, reach) = match floor {
            None => (own_half, own_reach),
            Some((variance, freedom)) => {
                let (half, reach) = of((variance.sqrt(), freedom))?;
                (half.max(own_half), reach.max(own_reach))
            }
        };
        Some(Comparison {
            ratio: self.log.exp(),
            low: (self.log - half).exp(),
            high: (self.log + half).exp(),
            p_value: f64::NAN,
            p_value_alone: f64::NAN,
            claimed: self.log.abs() > half && self.log.abs() >= LEAST_RATIO.ln(),
            would_have_shown: reach.exp().max(LEAST_RATIO),
        })
    }
}
