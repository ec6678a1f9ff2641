//! How far a sample is from what it should be. Pure.

use crate::units::{len_f64, round_usize};

/// Order statistic: the smallest sample with at least a share `q` of all at or below it. `sorted` is not empty.
#[must_use]
pub fn quantile<T: Copy>(sorted: &[T], q: f64) -> T {
    let rank = round_usize((q * len_f64(sorted.len())).ceil());
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// Kolmogorov's distance: the greatest gap between the sample's distribution and the expected one.
#[must_use]
pub fn ks_distance(sample: &[f64], cdf: impl Fn(f64) -> f64) -> f64 {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = len_f64(sorted.len());
    sorted.iter().enumerate().fold(0.0, |worst: f64, (index, &x)| {
        let at = cdf(x);
        worst.max(at - len_f64(index) / n).max(len_f64(index + 1) / n - at)
    })
}

/// Anderson and Darling's A² against an exponential distribution of known rate (their case 0: nothing is estimated):
/// A² = -n - 1/n sum (2i - 1)(ln F(x_i) + ln(1 - F(x_{n+1-i}))). 0 for an empty sample.
/// Critical values: 2.492 at 5 %, 3.857 at 1 % (Stephens, JASA 69, 1974, table 1).
/// (statrs has it behind a feature that puts fifteen crates into the lock file.)
#[must_use]
pub fn anderson_darling_exponential(sample: &[f64], rate: f64) -> f64 {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = len_f64(sorted.len());
    // ln F(x) = ln(1 - e^-rx); ln(1 - F(x)) = -rx.
    let sum: f64 = sorted
        .iter()
        .zip(sorted.iter().rev())
        .enumerate()
        .map(|(index, (low, high))| len_f64(2 * index + 1) * ((-(-rate * low).exp_m1()).ln() - rate * high))
        .sum();
    if sorted.is_empty() { 0.0 } else { -n - sum / n }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_order_statistics() {
        let sorted: Vec<u64> = (1..=1000).collect();
        assert_eq!(
            [0.0, 0.5, 0.99, 0.999, 1.0].map(|q| quantile(&sorted, q)),
            [1, 500, 990, 999, 1000]
        );
    }

    #[test]
    fn the_distance_of_two_points_is_worked_by_hand() {
        // Uniform on [0, 1] against {0.1, 0.6}: steps to 0.5 and 1; the greatest gap is 0.5 - 0.1 and 1 - 0.6.
        let distance = ks_distance(&[0.6, 0.1], |x| x);
        assert!((distance - 0.4).abs() < 1e-12, "{distance}");
    }

    #[test]
    fn one_gap_at_the_median_is_worked_by_hand() {
        // F = 1/2: A² = -1 - 2 ln(1/2).
        let a2 = anderson_darling_exponential(&[2_f64.ln()], 1.0);
        assert!((a2 - (2.0 * 2_f64.ln() - 1.0)).abs() < 1e-12, "{a2}");
    }

    #[test]
    fn exponential_gaps_pass_and_even_gaps_do_not() {
        let exponential: Vec<f64> = (0..1000).map(|n| -(1.0 - (f64::from(n) + 0.5) / 1000.0).ln()).collect();
        assert!(anderson_darling_exponential(&exponential, 1.0) < 0.1);
        assert!(anderson_darling_exponential(&vec![1.0; 1000], 1.0) > 3.857);
        assert!(anderson_darling_exponential(&exponential, 1.2) > 3.857);
    }
}
