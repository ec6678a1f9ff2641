//! Did the server reach a steady state? Classes after Barrett et al. (OOPSLA 2017): flat, warm-up, slowdown, none.
//!
//! Three witnesses, because each alone is fooled by noise: change points of mean and variance (PELT; Killick, Fearnhead,
//! Eckley 2012) for steps, Spearman's rank correlation with time for creeping trends, and MSER-5 (White 1997) for where a
//! warm-up ends. A step or a trend must also be large: a busy machine wanders by several percent. Pure.

use crate::record::{Measurement, SteadyClass, SteadyState, WINDOW};
use crate::units::{count_f64, len_f64, per_second};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Fewest windows that are judged: 10 s. Of fewer seconds even a perfect order says little.
pub const WINDOWS_MIN: usize = 100;
/// Differences of level and trends below this share of the level are wandering.
pub const LEVEL_SHARE: f64 = 0.10;
/// A trend is believed below this probability of seeing it by chance. Noise that wanders slowly makes such orders more
/// often than noise without memory, hence not the usual hundredth.
pub const TREND_P: f64 = 0.001;
/// And so are differences below this many standard deviations of what is left over: a second may differ by 20 % from the
/// next on a busy virtual machine.
const TREND_DEVIATIONS: f64 = 3.0;
const STEP_DEVIATIONS: f64 = 2.0;
/// Windows of the shortest segment between two change points, and of a point of the trend: 1 s.
const SEGMENT_WINDOWS: usize = 10;
/// Half the width of the neighbourhood in which a window is an outlier, and how many median deviations make it one.
const NEIGHBOURS: usize = 7;
const OUTLIER_DEVIATIONS: f64 = 6.0;

/// Which way is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worse {
    /// Throughput.
    Less,
    /// Latency.
    More,
}

/// How fast the server was in each window, and which way is worse: in a closed loop by its rate; in an open one the rate is
/// planned, and what the server did is its response time. None where a window has too few messages to tell.
#[must_use]
pub fn speeds(measurement: &Measurement) -> Option<(Vec<f64>, Worse)> {
    let whole = measurement.windows.iter().filter(|window| window.length_s > 0.0);
    if measurement.plan.workload.open_loop().is_some() {
        let medians: Option<Vec<f64>> = whole.map(|window| window.response_p50_ns.map(count_f64)).collect();
        return Some((medians?, Worse::More));
    }
    // The last window is shorter where the phase is no multiple of it; `length_s` is when loadgen looked, not when it ended.
    let end_s = measurement.throughput.duration_s;
    let rate = |from_s: f64, ok: u64| per_second(ok, (end_s - from_s).min(WINDOW.as_secs_f64()));
    Some((
        whole.map(|window| rate(window.from_s, window.ok)).collect(),
        Worse::Less,
    ))
}

/// Judges a figure of equally long windows; none with fewer than [`WINDOWS_MIN`].
#[must_use]
pub fn assess(figures: &[f64], window_s: f64, worse: Worse) -> Option<SteadyState> {
    (figures.len() >= WINDOWS_MIN).then(|| classify(figures, window_s, worse))
}

fn classify(figures: &[f64], window_s: f64, worse: Worse) -> SteadyState {
    // A freeze of some windows is what is measured, not a change of state.
    let figures = without_outliers(figures);
    let n = figures.len();
    let segments = segments(&figures);
    let step = smallest_step(&figures, &segments);
    let (tail_from, tail_mean) = tail(&figures, &segments, step);
    let trend = trend(&figures);
    let sign = if worse == Worse::Less { -1.0 } else { 1.0 };
    let is_better_than_tail = |&(from, to): &(usize, usize)| (mean(&figures[from..to]) - tail_mean) * sign < -step;
    let before: Vec<(usize, usize)> = segments.into_iter().filter(|(_, to)| *to <= tail_from).collect();
    let drifts = trend.p_value < TREND_P && trend.share.abs() > LEVEL_SHARE.max(TREND_DEVIATIONS * trend.deviation);
    let (class, cut) = if drifts && trend.share * sign > 0.0 {
        (SteadyClass::Slowdown, None)
    } else if tail_from > n * 3 / 4 {
        (SteadyClass::None, None)
    } else if before.iter().any(is_better_than_tail) {
        (SteadyClass::Slowdown, None)
    } else if !before.is_empty() {
        (SteadyClass::WarmUp, Some(tail_from))
    } else if drifts {
        match mser_5(&figures) {
            cut if cut > n / 2 => (SteadyClass::None, None),
            cut => (SteadyClass::WarmUp, Some(cut)),
        }
    } else {
        (SteadyClass::Flat, Some(0))
    };
    SteadyState {
        class,
        cut_s: cut.map(|windows| len_f64(windows) * window_s),
        trend_percent: trend.share * 100.0,
        trend_p: trend.p_value,
    }
}

/// The figures with each lone outlier replaced by the median of its neighbourhood (Hampel's filter).
fn without_outliers(figures: &[f64]) -> Vec<f64> {
    (0..figures.len())
        .map(|place| {
            let from = place.saturating_sub(NEIGHBOURS);
            let around = &figures[from..(place + NEIGHBOURS + 1).min(figures.len())];
            let middle = median(around);
            let deviations: Vec<f64> = around.iter().map(|figure| (figure - middle).abs()).collect();
            if (figures[place] - middle).abs() > OUTLIER_DEVIATIONS * median(&deviations) {
                middle
            } else {
                figures[place]
            }
        })
        .collect()
}

/// Where the level of the end begins: the first window of the run of segments that are on the last one's level.
fn tail(figures: &[f64], segments: &[(usize, usize)], step: f64) -> (usize, f64) {
    let last = segments.last().map_or(figures, |&(from, to)| &figures[from..to]);
    let level = mean(last);
    let is_level = |&&(from, to): &&(usize, usize)| (mean(&figures[from..to]) - level).abs() <= step;
    let from = segments
        .iter()
        .rev()
        .take_while(is_level)
        .last()
        .map_or(0, |segment| segment.0);
    (from, mean(&figures[from..]))
}

/// Difference of levels that is more than wandering.
fn smallest_step(figures: &[f64], segments: &[(usize, usize)]) -> f64 {
    let squares = segments.iter().map(|&(from, to)| {
        let level = mean(&figures[from..to]);
        figures[from..to]
            .iter()
            .map(|figure| (figure - level).powi(2))
            .sum::<f64>()
    });
    let deviation = (squares.sum::<f64>() / len_f64(figures.len())).sqrt();
    (LEVEL_SHARE * mean(figures).abs()).max(STEP_DEVIATIONS * deviation)
}

/// Segments of equal mean and variance, each from..to, by PELT with a penalty of 15 ln n.
fn segments(figures: &[f64]) -> Vec<(usize, usize)> {
    let n = figures.len();
    let sums = Sums::of(figures);
    let penalty = 15.0 * len_f64(n).ln();
    // best[t]: least cost of the first t windows, and where its last segment begins.
    let mut best = vec![(-penalty, 0); n + 1];
    let mut candidates = vec![0];
    for to in SEGMENT_WINDOWS..=n {
        let cost = |from: usize| best[from].0 + sums.cost(from, to);
        let usable = candidates.iter().copied().filter(|from| to - from >= SEGMENT_WINDOWS);
        let (from, least) = usable
            .map(|from| (from, cost(from)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .unwrap_or((0, sums.cost(0, to) - penalty));
        let kept: Vec<usize> = candidates
            .iter()
            .copied()
            .filter(|&from| to - from < SEGMENT_WINDOWS || cost(from) <= least + penalty)
            .collect();
        best[to] = (least + penalty, from);
        candidates = kept;
        // A segment may begin here only if the windows before make whole segments.
        candidates.push(to);
    }
    let mut segments = Vec::new();
    let mut to = n;
    while to > 0 {
        let from = best[to].1;
        segments.push((from, to));
        to = from;
    }
    segments.reverse();
    segments
}

/// Running sums, for the cost of any segment at once.
struct Sums {
    figures: Vec<f64>,
    squares: Vec<f64>,
    /// Variance below which a segment counts as constant: a thousandth of the level.
    variance_min: f64,
}

impl Sums {
    fn of(figures: &[f64]) -> Self {
        let running = |of: fn(f64) -> f64| {
            std::iter::once(0.0)
                .chain(figures.iter().scan(0.0, move |sum, &figure| {
                    *sum += of(figure);
                    Some(*sum)
                }))
                .collect()
        };
        Self {
            figures: running(|figure| figure),
            squares: running(|figure| figure * figure),
            variance_min: (mean(figures) * 1e-3).powi(2).max(f64::MIN_POSITIVE),
        }
    }

    /// Twice the negative log likelihood of a normal distribution, fitted.
    fn cost(&self, from: usize, to: usize) -> f64 {
        let n = len_f64(to - from);
        let mean = (self.figures[to] - self.figures[from]) / n;
        let variance = ((self.squares[to] - self.squares[from]) / n - mean * mean).max(self.variance_min);
        n * ((std::f64::consts::TAU * variance).ln() + 1.0)
    }
}

struct Trend {
    /// Change from the first to the last second by the fitted line, as a share of the mean.
    share: f64,
    /// Standard deviation of the seconds around that line, as a share of the mean.
    deviation: f64,
    /// Of Spearman's correlation with time.
    p_value: f64,
}

fn trend(figures: &[f64]) -> Trend {
    let seconds: Vec<f64> = figures.chunks_exact(SEGMENT_WINDOWS).map(mean).collect();
    let times: Vec<f64> = (0..seconds.len()).map(len_f64).collect();
    let level = mean(&seconds);
    let (slope, linear) = slope_and_correlation(&times, &seconds);
    let around_mean = seconds
        .iter()
        .map(|figure| (figure - level).powi(2))
        .collect::<Vec<_>>();
    let deviation = (mean(&around_mean) * (1.0 - linear * linear)).max(0.0).sqrt();
    let correlation = slope_and_correlation(&times, &ranks(&seconds)).1;
    let length = len_f64(seconds.len() - 1);
    let share_of_level = |figure: f64| if level == 0.0 { 0.0 } else { figure / level };
    Trend {
        share: share_of_level(slope * length),
        deviation: share_of_level(deviation),
        p_value: p_value(correlation, seconds.len()),
    }
}

/// t = r sqrt((n-2)/(1-r²)), two-sided.
fn p_value(correlation: f64, n: usize) -> f64 {
    let freedom = len_f64(n) - 2.0;
    let Ok(distribution) = StudentsT::new(0.0, 1.0, freedom) else {
        return 1.0;
    };
    let t = correlation.abs() * (freedom / (1.0 - correlation * correlation).max(f64::MIN_POSITIVE)).sqrt();
    2.0 * (1.0 - distribution.cdf(t))
}

pub(super) fn slope_and_correlation(x: &[f64], y: &[f64]) -> (f64, f64) {
    let (mean_x, mean_y) = (mean(x), mean(y));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        xx += (x - mean_x).powi(2);
        yy += (y - mean_y).powi(2);
        xy += (x - mean_x) * (y - mean_y);
    }
    if xx == 0.0 || yy == 0.0 {
        return (0.0, 0.0);
    }
    (xy / xx, xy / (xx * yy).sqrt())
}

/// Ranks from 1, ties share the mean of theirs.
fn ranks(figures: &[f64]) -> Vec<f64> {
    figures
        .iter()
        .map(|figure| {
            let below = figures.iter().filter(|other| *other < figure).count();
            let equal = figures.iter().filter(|other| *other == figure).count();
            len_f64(below) + (len_f64(equal) + 1.0) / 2.0
        })
        .collect()
}

/// Windows to cut off at the beginning: d that makes the variance of the mean of the rest least, in batches of five.
fn mser_5(figures: &[f64]) -> usize {
    let batches: Vec<f64> = figures.chunks_exact(5).map(mean).collect();
    let error = |cut: usize| {
        let rest = &batches[cut..];
        let middle = mean(rest);
        rest.iter().map(|figure| (figure - middle).powi(2)).sum::<f64>() / len_f64(rest.len()).powi(2)
    };
    // The last five batches alone say nothing.
    let cuts = 0..batches.len().saturating_sub(5);
    5 * cuts.min_by(|&a, &b| error(a).total_cmp(&error(b))).unwrap_or(0)
}

pub(super) fn mean(figures: &[f64]) -> f64 {
    figures.iter().sum::<f64>() / len_f64(figures.len().max(1))
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    /// 100 ms windows of a level that changes by `shape` (of the place from 0 to 1), with noise of about this share.
    fn series(windows: usize, noise: f64, seed: u64, shape: impl Fn(f64) -> f64) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut uniform = || f64::from(random.next_u32()) / f64::from(u32::MAX) - 0.5;
        (0..windows)
            .map(|place| {
                // The sum of four has a deviation of 1/sqrt(3).
                let normal = (uniform() + uniform() + uniform() + uniform()) * 3.0_f64.sqrt();
                50_000.0 * shape(len_f64(place) / len_f64(windows)) * (1.0 + noise * normal)
            })
            .collect()
    }

    fn class(figures: &[f64]) -> SteadyClass {
        assess(figures, 0.1, Worse::Less).unwrap().class
    }

    #[test]
    fn fewer_than_a_hundred_windows_are_not_judged() {
        assert_eq!(assess(&[1.0; 99], 0.1, Worse::Less), None);
        assert_eq!(class(&[1.0; 100]), SteadyClass::Flat);
    }

    #[test]
    fn a_noisy_level_is_flat() {
        for seed in 0..200 {
            for noise in [0.001, 0.02, 0.1] {
                let figures = series(100, noise, seed, |_| 1.0);
                assert_eq!(class(&figures), SteadyClass::Flat, "seed {seed}, noise {noise}");
            }
        }
    }

    #[test]
    fn one_percent_a_second_for_twenty_seconds_is_a_slowdown() {
        for seed in 0..50 {
            let figures = series(200, 0.03, seed, |place| 1.0 / (1.0 + 0.01 * 20.0 * place));
            assert_eq!(class(&figures), SteadyClass::Slowdown, "seed {seed}");
            let latency: Vec<f64> = figures.iter().map(|rate| 1e9 / rate).collect();
            let judged = assess(&latency, 0.1, Worse::More).unwrap();
            assert_eq!(judged.class, SteadyClass::Slowdown);
            assert!(judged.trend_percent > 10.0, "{judged:?}");
        }
    }

    #[test]
    fn a_step_down_is_a_slowdown_and_a_step_up_a_warm_up_cut_where_it_ends() {
        for seed in 0..50 {
            let down = series(120, 0.03, seed, |place| if place < 0.5 { 1.0 } else { 0.8 });
            assert_eq!(class(&down), SteadyClass::Slowdown, "seed {seed}");
            let up = series(120, 0.03, seed, |place| if place < 0.25 { 0.6 } else { 1.0 });
            let judged = assess(&up, 0.1, Worse::Less).unwrap();
            assert_eq!(judged.class, SteadyClass::WarmUp, "seed {seed}");
            assert!((judged.cut_s.unwrap() - 3.0).abs() <= 0.3, "seed {seed}: {judged:?}");
        }
    }

    #[test]
    fn a_step_near_the_end_leaves_no_steady_state() {
        let figures = series(120, 0.03, 1, |place| if place < 0.85 { 0.6 } else { 1.0 });
        assert_eq!(class(&figures), SteadyClass::None);
    }

    #[test]
    fn a_freeze_is_what_is_measured_and_no_change_of_state() {
        for frozen in [10, 50, 90] {
            let mut figures = series(100, 0.03, 3, |_| 1.0);
            figures[frozen..frozen + 3].fill(0.0);
            assert_eq!(class(&figures), SteadyClass::Flat, "frozen at window {frozen}");
        }
    }

    #[test]
    fn the_parts_agree_with_figures_worked_by_hand() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0]), [2.5, 1.0, 2.5]);
        // r = 0.6, n = 10: t = 2.121, p = 0.0667 (tables of Student's t).
        assert!((p_value(0.6, 10) - 0.0667).abs() < 1e-3);
        let step = [[1.0; 10], [9.0; 10]].concat();
        let wave: Vec<f64> = step
            .iter()
            .enumerate()
            .map(|(place, level)| level + len_f64(place % 2))
            .collect();
        assert_eq!(segments(&wave), [(0, 10), (10, 20)]);
        // The first ten windows stand out, so they are cut.
        let warm: Vec<f64> = [vec![0.0; 10], vec![5.0; 40]].concat();
        assert_eq!(mser_5(&warm), 10);
    }
}
