//! What the rounds together say. Pure: figures in, figures out; no clock, no file.
//!
//! The unit of replication is the trial. Targets are compared in pairs within a round, on log ratios, with a t interval:
//! below thirty rounds the percentile bootstrap is too narrow (measured: 19 % false positives at five rounds where the
//! t interval had 5 %). Percentiles of several trials are read from their merged histogram (`recorder::latency`), never averaged.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// Rounds below which no difference is claimed.
pub const ROUNDS_FOR_A_CLAIM: usize = 5;

/// The middle of some figures and how far they spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub count: usize,
}

impl Spread {
    /// None for no figures.
    #[must_use]
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().filter(|figure| figure.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let middle = count / 2;
        let median = match count {
            0 => return None,
            odd if odd % 2 == 1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        };
        Some(Self {
            median,
            min: sorted[0],
            max: sorted[count - 1],
            count,
        })
    }
}

/// The ratio of two targets from figures paired by round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedRatio {
    /// Geometric mean of the ratios.
    pub ratio: f64,
    /// 95 % confidence interval of the ratio.
    pub low: f64,
    pub high: f64,
    pub rounds: usize,
    /// Standard deviation of the log ratios.
    pub log_deviation: f64,
    /// Of the hypothesis that both are equal, two-sided.
    pub p_value: f64,
}

/// `left / right` over rounds; none with fewer than two, or where a figure is not above 0.
///
/// d = ln(left / right) per round; ratio = exp(mean d); interval = exp(mean d ± t(0.975, B-1) s / √B).
#[must_use]
pub fn paired_ratio(pairs: &[(f64, f64)]) -> Option<PairedRatio> {
    let rounds = pairs.len();
    if rounds < 2 || pairs.iter().any(|(left, right)| !(*left > 0.0 && *right > 0.0)) {
        return None;
    }
    let logs: Vec<f64> = pairs.iter().map(|(left, right)| (left / right).ln()).collect();
    let mean = logs.iter().sum::<f64>() / float(rounds);
    let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / float(rounds - 1);
    let log_deviation = variance.sqrt();
    let standard_error = log_deviation / float(rounds).sqrt();
    let t = student(rounds);
    let half = t.inverse_cdf(0.975) * standard_error;
    let p_value = if standard_error > 0.0 {
        2.0 * t.sf((mean / standard_error).abs())
    } else {
        f64::from(u8::from(mean == 0.0))
    };
    Some(PairedRatio {
        ratio: mean.exp(),
        low: (mean - half).exp(),
        high: (mean + half).exp(),
        rounds,
        log_deviation,
        p_value,
    })
}

/// What may be said about a ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Claim {
    /// Fewer than [`ROUNDS_FOR_A_CLAIM`] rounds.
    TooFewRounds,
    /// The interval lies outside the noise floor, and the difference survives Holm's correction.
    Different,
    /// Not shown. A difference of this share, 0.05 for 5 %, would have been seen with 80 % probability.
    NotShown { smallest_detectable: f64 },
}

/// Judges a ratio against the noise floor of the A/A control; `adjusted_p` is from [`holm`].
///
/// Smallest detectable difference: the floor plus (t(0.975) + t(0.80)) s / √B, on the log scale.
#[must_use]
pub fn judge(ratio: &PairedRatio, adjusted_p: f64, noise_floor: f64) -> Claim {
    if ratio.rounds < ROUNDS_FOR_A_CLAIM {
        return Claim::TooFewRounds;
    }
    let outside = ratio.low > 1.0 + noise_floor || ratio.high < 1.0 / (1.0 + noise_floor);
    if outside && adjusted_p < 0.05 {
        return Claim::Different;
    }
    let t = student(ratio.rounds);
    let reach = (t.inverse_cdf(0.975) + t.inverse_cdf(0.80)) * ratio.log_deviation / float(ratio.rounds).sqrt();
    Claim::NotShown {
        smallest_detectable: (noise_floor.ln_1p() + reach).exp_m1(),
    }
}

/// How different the same server looks from itself: the 95th percentile (nearest rank) of the ratios of the A/A control,
/// as a share. Below twenty pairs that is the largest one. None with fewer than [`ROUNDS_FOR_A_CLAIM`] pairs.
#[must_use]
pub fn noise_floor(pairs: &[(f64, f64)]) -> Option<f64> {
    let mut shares: Vec<f64> = pairs
        .iter()
        .filter(|(once, again)| *once > 0.0 && *again > 0.0)
        .map(|(once, again)| (once / again).ln().abs().exp_m1())
        .collect();
    if shares.len() < ROUNDS_FOR_A_CLAIM {
        return None;
    }
    shares.sort_by(f64::total_cmp);
    // Nearest rank: ceil(0.95 n), counted from 1.
    let rank = (shares.len() * 95).div_ceil(100);
    Some(shares[rank - 1])
}

/// Holm's step-down correction for looking at several comparisons at once; the order of the input is kept.
#[must_use]
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut highest: f64 = 0.0;
    for (place, index) in order.into_iter().enumerate() {
        highest = highest.max((p_values[index] * float(p_values.len() - place)).min(1.0));
        adjusted[index] = highest;
    }
    adjusted
}

fn student(rounds: usize) -> StudentsT {
    StudentsT::new(0.0, 1.0, float(rounds - 1)).expect("two rounds or more")
}

/// Counts here are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of rounds are small")]
fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-4
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(
            (spread.median, spread.min, spread.max, spread.count),
            (2.5, 1.0, 4.0, 4)
        );
        assert_eq!(Spread::of([7.0, 1.0, 2.0]).unwrap().median, 2.0);
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn the_interval_of_a_ratio_matches_numbers_worked_by_hand() {
        // ln ratios 0.1 0.2 0.3 0.2 0.2: mean 0.2, s = 0.0707107, s/√5 = 0.0316228, t(0.975, 4) = 2.776445, half 0.0877990.
        let pairs = [0.1_f64, 0.2, 0.3, 0.2, 0.2].map(|log| (log.exp() * 10.0, 10.0));
        let found = paired_ratio(&pairs).unwrap();
        assert!(close(found.ratio, 0.2_f64.exp()), "{found:?}");
        assert!(close(found.low, (0.2_f64 - 0.087_799_0).exp()), "{found:?}");
        assert!(close(found.high, (0.2_f64 + 0.087_799_0).exp()), "{found:?}");
        // t = 0.2 / 0.0316228 = 6.324555 with 4 degrees of freedom: p = 0.0031984.
        assert!(close(found.p_value, 0.003_198), "{found:?}");
    }

    #[test]
    fn turning_a_ratio_round_turns_its_interval_round() {
        let pairs = [(3.0, 2.0), (5.0, 4.0), (7.0, 4.5), (2.0, 1.9)];
        let turned = pairs.map(|(left, right)| (right, left));
        let (one, other) = (paired_ratio(&pairs).unwrap(), paired_ratio(&turned).unwrap());
        assert!(close(one.ratio * other.ratio, 1.0) && close(one.low * other.high, 1.0));
    }

    #[test]
    fn a_ratio_needs_two_rounds_and_figures_above_nothing() {
        assert_eq!(paired_ratio(&[(1.0, 2.0)]), None);
        assert_eq!(paired_ratio(&[(1.0, 2.0), (0.0, 2.0)]), None);
    }

    #[test]
    fn a_difference_is_claimed_only_outside_the_noise_floor_and_with_rounds_enough() {
        let of = |logs: &[f64]| paired_ratio(&logs.iter().map(|log| (log.exp(), 1.0)).collect::<Vec<_>>()).unwrap();
        let steady = of(&[0.2, 0.21, 0.19, 0.2, 0.2]);
        assert_eq!(judge(&steady, 0.001, 0.05), Claim::Different);
        assert_eq!(
            judge(&of(&[-0.2, -0.21, -0.19, -0.2, -0.2]), 0.001, 0.05),
            Claim::Different
        );
        assert!(matches!(judge(&steady, 0.001, 0.30), Claim::NotShown { .. }));
        assert!(matches!(judge(&steady, 0.2, 0.05), Claim::NotShown { .. }));
        assert_eq!(judge(&of(&[0.2, 0.21, 0.19, 0.2]), 0.001, 0.05), Claim::TooFewRounds);
    }

    #[test]
    fn the_smallest_detectable_difference_matches_numbers_worked_by_hand() {
        // s = 0.0707107, s/√5 = 0.0316228, t(0.975, 4) + t(0.80, 4) = 2.776445 + 0.940965 = 3.717410: reach 0.117555.
        let logs = [-0.1_f64, 0.0, 0.1, 0.0, 0.0].map(|log| (log.exp(), 1.0));
        let Claim::NotShown { smallest_detectable } = judge(&paired_ratio(&logs).unwrap(), 1.0, 0.02) else {
            panic!("nothing is shown");
        };
        assert!(
            close(smallest_detectable, (1.02_f64.ln() + 0.117_555).exp() - 1.0),
            "{smallest_detectable}"
        );
    }

    #[test]
    fn the_noise_floor_is_the_largest_of_few_and_the_95th_percentile_of_many() {
        assert_eq!(noise_floor(&[(1.0, 1.0); 4]), None);
        let few = [(1.0, 1.0), (1.0, 1.1), (1.02, 1.0), (1.0, 1.0), (1.0, 1.0)];
        assert!(close(noise_floor(&few).unwrap(), 0.1));
        let many: Vec<_> = (1..=40).map(|n| (1.0 + f64::from(n) / 1000.0, 1.0)).collect();
        assert!(close(noise_floor(&many).unwrap(), 0.038));
    }

    #[test]
    fn holm_matches_numbers_worked_by_hand() {
        // Sorted 0.01 0.02 0.03 0.04 times 4 3 2 1: 0.04 0.06 0.06 0.04, made monotone: 0.04 0.06 0.06 0.06.
        let adjusted = holm(&[0.03, 0.01, 0.04, 0.02]);
        let expected = [0.06, 0.04, 0.06, 0.06];
        assert!(adjusted.iter().zip(expected).all(|(a, b)| close(*a, b)), "{adjusted:?}");
        assert_eq!(holm(&[]), Vec::<f64>::new());
    }
}
