//! AC8: quantiles of a histogram against the exact sort, and parts merged against the whole.

use super::distribution::quantile;
use super::scorecard::{Check, Finding};
use crate::recorder::latency::LatencyHistogram;
use crate::units::{TWO_TO_THE_53, count_f64, floor_u64};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Three significant digits (HdrHistogram's promise).
const RELATIVE_ERROR: f64 = 1e-3;
const PARTS: usize = 16;
const QUANTILES: [f64; 8] = [0.01, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 0.9999];

/// Judges three shapes of distribution with so many samples each.
#[must_use]
pub fn ac8(samples: usize, seed: u64) -> Finding {
    let mut checks = Vec::new();
    for (shape, draw) in SHAPES {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let drawn: Vec<u64> = (0..samples).map(|_| draw(&mut random)).collect();
        checks.extend(against_the_sort(shape, &drawn));
    }
    Finding::new(
        "AC8",
        format!("histogram: {samples} samples of three shapes against the exact sort, and {PARTS} merged parts"),
        checks,
        None,
    )
}

type Draw = fn(&mut ChaCha8Rng) -> u64;

const SHAPES: [(&str, Draw); 3] = [
    // 1 us to 10 s, every decade as often.
    ("log-uniform", |random| floor_u64(1e3 * 10_f64.powf(7.0 * unit(random)))),
    // 20 us at least, index 1.2: the mean is there, the variance is not.
    ("Pareto", |random| {
        floor_u64((20e3 * unit(random).powf(-1.0 / 1.2)).min(3.6e12))
    }),
    // A cache that hits 95 times in 100, and a disk.
    ("bimodal", |random| {
        let centre = if unit(random) < 0.95 { 30e3 } else { 8e6 };
        floor_u64(centre * (0.8 + 0.4 * unit(random)))
    }),
];

fn against_the_sort(shape: &str, drawn: &[u64]) -> [Check; 2] {
    let whole = recorded(drawn.iter());
    let mut merged = LatencyHistogram::default();
    for part in 0..PARTS {
        merged.add(&recorded(drawn.iter().skip(part).step_by(PARTS)));
    }
    let mut sorted = drawn.to_vec();
    sorted.sort_unstable();
    let worst = QUANTILES
        .map(|q| {
            let exact = count_f64(quantile(&sorted, q));
            (count_f64(whole.value_at_share(q)) - exact).abs() / exact
        })
        .into_iter()
        .fold(0.0, f64::max);
    [
        Check::at_most(
            format!("{shape}: worst relative error of {} quantiles", QUANTILES.len()),
            "",
            0.0,
            worst,
            RELATIVE_ERROR,
        )
        .exact(),
        Check::count(
            format!("{shape}: merged parts that differ from the whole"),
            0,
            u64::from(merged.encode() != whole.encode()),
        ),
    ]
}

fn recorded<'a>(values: impl Iterator<Item = &'a u64>) -> LatencyHistogram {
    let mut histogram = LatencyHistogram::default();
    values.for_each(|&value| histogram.record(value));
    histogram
}

/// In (0, 1].
fn unit(random: &mut ChaCha8Rng) -> f64 {
    count_f64((random.next_u64() >> 11) + 1) / TWO_TO_THE_53
}
