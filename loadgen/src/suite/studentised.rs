//! The studentised range: how far apart the smallest and the largest of several equal means come to lie by chance, in
//! standard errors of one. Needed to judge all pairs of targets at once (Tukey 1949, Games and Howell 1976). Pure.
//!
//! P(Q <= q) = ∫ f(s) W(qs) ds, where W(w) = k ∫ φ(z) [Φ(z) - Φ(z - w)]^(k-1) dz is the range of k standard normals and s²
//! is χ² with `freedom` degrees over its degrees (Copenhaver and Holland 1988, formula 1.1). Both integrals are
//! Gauss-Legendre sums over the stretch in which the density is not negligible; quantiles agree with published tables
//! to three decimals. W depends on the number of means alone and is tabulated once for each: a table of two hundred targets
//! asks for twenty thousand probabilities.

use super::tabulated::Tabulated;
use statrs::distribution::{Continuous, ContinuousCDF, Normal};
use statrs::function::gamma::ln_gamma;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The range of `means` independent standard normals over an independent estimate of their deviation.
#[derive(Clone, Debug)]
pub struct StudentisedRange {
    freedom: f64,
    /// Probability that the range of the means alone is at most so much.
    range_cdf: Arc<Tabulated>,
    /// Log of what the density of the deviation has in common at all places.
    log_scale: f64,
}

impl StudentisedRange {
    /// Of `means` means, with `freedom` degrees of freedom, which need not be whole. None below two means or one degree.
    #[must_use]
    pub fn new(means: usize, freedom: f64) -> Option<Self> {
        let means = u32::try_from(means).ok().filter(|&means| means >= 2)?;
        let half = freedom / 2.0;
        (freedom >= 1.0).then(|| Self {
            freedom,
            range_cdf: range_of(means),
            log_scale: std::f64::consts::LN_2 + half * half.ln() - ln_gamma(half),
        })
    }

    /// Probability of a range above `q`.
    #[must_use]
    pub fn sf(&self, q: f64) -> f64 {
        (1.0 - self.cdf(q)).max(0.0)
    }

    /// Probability of a range of at most `q`.
    #[must_use]
    pub fn cdf(&self, q: f64) -> f64 {
        if q <= 0.0 {
            return 0.0;
        }
        // Beyond this the estimate of the deviation is as good as exact.
        if self.freedom > 5_000.0 {
            return self.range_cdf.at(q);
        }
        // s has mean about 1 and deviation about 1/√(2 freedom): ten of them on either side hold all but 1e-20. The
        // density's own sum stands in for 1, so that what the rule misses of it cancels.
        let deviation = 1.0 / (2.0 * self.freedom).sqrt();
        let (from, to) = ((1.0 - 10.0 * deviation).max(1e-6), 1.0 + 10.0 * deviation);
        let mut all = 0.0;
        let below = integral(from, to, PIECES, |s, weight| {
            let density = self.deviation_density(s) * weight;
            all += density;
            density * self.range_cdf.at(q * s)
        });
        (below / all).min(1.0)
    }

    /// The range that is exceeded with probability `1 - p`, for `p` between 0 and 1: by false position (Illinois), to 1e-6.
    #[must_use]
    pub fn inverse_cdf(&self, p: f64) -> f64 {
        let (mut low, mut high) = (0.0, 4.0);
        let (mut below, mut above) = (-p, self.cdf(high) - p);
        while above < 0.0 && high < 1e6 {
            (low, below) = (high, above);
            high *= 2.0;
            above = self.cdf(high) - p;
        }
        let mut side = 0;
        for _ in 0..60 {
            let middle = (low * above - high * below) / (above - below);
            let at = self.cdf(middle) - p;
            if at.abs() < 1e-9 || (high - low) < 1e-6 {
                return middle;
            }
            // An end that stays twice is given half its weight, so that it moves.
            if at < 0.0 {
                (low, below) = (middle, at);
                above = if side == -1 { above / 2.0 } else { above };
                side = -1;
            } else {
                (high, above) = (middle, at);
                below = if side == 1 { below / 2.0 } else { below };
                side = 1;
            }
        }
        f64::midpoint(low, high)
    }

    /// Density of the estimated deviation s: that of χ with `freedom` degrees over √freedom.
    fn deviation_density(&self, s: f64) -> f64 {
        (self.log_scale + (self.freedom - 1.0) * s.ln() - self.freedom * s * s / 2.0).exp()
    }
}

/// Widest range that is tabulated: beyond it the probability is 1 but for what the sums themselves miss.
const WIDEST: f64 = 20.0;
/// Points to a deviation: interpolation then misses less than a ten-millionth, with two hundred means as with two.
const POINTS: usize = 32;

/// The distribution of the range of so many standard normals, from nothing to [`WIDEST`]; tabulated when it is first asked for.
fn range_of(means: u32) -> Arc<Tabulated> {
    static KNOWN: Mutex<BTreeMap<u32, Arc<Tabulated>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let tabulated = || {
        let steps = POINTS * 20;
        Arc::new(Tabulated::new(0.0, WIDEST, steps, |w| range_cdf(f64::from(means), w)))
    };
    Arc::clone(known.entry(means).or_insert_with(tabulated))
}

/// Probability that the range of `means` standard normals is at most `w`.
fn range_cdf(means: f64, w: f64) -> f64 {
    let normal = Normal::standard();
    let inner = |z: f64, weight: f64| weight * normal.pdf(z) * (normal.cdf(z) - normal.cdf(z - w)).powf(means - 1.0);
    (means * integral(-8.0, 8.0 + w.min(8.0), PIECES, inner)).min(1.0)
}

/// Pieces that an integral is cut into.
const PIECES: u32 = 12;
/// Positive nodes and weights of the Gauss-Legendre rule of order eight (Abramowitz and Stegun, table 25.4).
const NODES: [(f64, f64); 4] = [
    (0.183_434_642_495_649_8, 0.362_683_783_378_361_96),
    (0.525_532_409_916_329, 0.313_706_645_877_887_3),
    (0.796_666_477_413_626_7, 0.222_381_034_453_374_48),
    (0.960_289_856_497_536_3, 0.101_228_536_290_376_26),
];

/// The sum of what `weighed` makes of each node and its weight.
fn integral(from: f64, to: f64, pieces: u32, mut weighed: impl FnMut(f64, f64) -> f64) -> f64 {
    let half = (to - from) / f64::from(pieces) / 2.0;
    let mut sum = 0.0;
    for piece in 0..pieces {
        let middle = from + half * (2.0 * f64::from(piece) + 1.0);
        for (node, weight) in NODES {
            sum += weighed(middle - half * node, half * weight) + weighed(middle + half * node, half * weight);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_agree_with_published_tables() {
        // Upper 5 % points: Harter 1960; Pearson and Hartley, table 29.
        for (means, freedom, q) in [
            (2, 5.0, 3.635),
            (3, 10.0, 3.877),
            (5, 20.0, 4.232),
            (8, 14.0, 4.990),
            (8, 7.0, 5.815),
            (10, 60.0, 4.646),
            (20, 5.0, 8.208),
            (2, 2.0, 6.085),
        ] {
            let range = StudentisedRange::new(means, freedom).unwrap();
            let found = range.inverse_cdf(0.95);
            assert!(
                (found - q).abs() < 0.003,
                "{means} means, {freedom} degrees: {found}, not {q}"
            );
            assert!((range.cdf(q) - 0.95).abs() < 5e-4);
        }
    }

    #[test]
    fn two_means_are_a_t_test() {
        // q = √2 t: t(0.975, 7.5) = 2.333..2.336 lies between t of 7 (2.3646) and 8 (2.3060) degrees.
        let of = |freedom| StudentisedRange::new(2, freedom).unwrap().inverse_cdf(0.95) / 2.0_f64.sqrt();
        assert!((of(7.0) - 2.3646).abs() < 1e-3 && (of(8.0) - 2.3060).abs() < 1e-3);
        assert!((2.306..2.3646).contains(&of(7.5)));
    }

    #[test]
    fn the_tails_add_up_and_nothing_lies_below_nothing() {
        let range = StudentisedRange::new(8, 12.25).unwrap();
        assert_eq!((range.cdf(0.0), range.cdf(-1.0), range.sf(0.0)), (0.0, 0.0, 1.0));
        assert!((range.cdf(3.0) + range.sf(3.0) - 1.0).abs() < 1e-12);
        assert!(range.sf(60.0) < 1e-6, "{}", range.sf(60.0));
        assert!(StudentisedRange::new(1, 10.0).is_none() && StudentisedRange::new(3, 0.5).is_none());
    }

    /// Means, degrees of freedom, range, and the probability of more by both integrals node by node, without a table.
    const STORED: [(usize, f64, f64, f64); 10] = [
        (2, 4.0, 8.9442, 0.003_198_297_181_948_528_4),
        (3, 2.3, 3.1, 0.254_143_619_300_167_6),
        (8, 12.25, 4.5, 0.099_844_738_684_868_1),
        (8, 7.0, 5.815, 0.050_012_684_219_976_955),
        (13, 9.4, 6.2, 0.042_315_618_924_160_47),
        (13, 41.0, 3.3, 0.507_433_374_456_411_5),
        (40, 17.5, 5.9, 0.104_466_404_179_733_3),
        (200, 9.0, 7.4, 0.174_628_283_747_405_8),
        (200, 98.0, 5.6, 0.429_134_830_418_004_8),
        (200, 6000.0, 5.3, 0.605_876_395_732_681),
    ];

    #[test]
    fn probabilities_are_those_of_the_double_integral_to_a_ten_millionth() {
        for (means, freedom, q, sf) in STORED {
            let found = StudentisedRange::new(means, freedom).unwrap().sf(q);
            assert!(
                (found - sf).abs() < 1e-7,
                "{means} means, {freedom} degrees, {q}: {found}, not {sf}"
            );
        }
    }
}
