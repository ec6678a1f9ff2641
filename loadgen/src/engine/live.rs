//! Rate and percentiles of the last second or so, for a live display. Allocates only on construction.

use super::Phase;
use super::control::Control;
use crate::recorder::coarse::{BINS, percentile};
use crate::units::{ns_to_s, per_second};
use std::sync::atomic::{AtomicU64, Ordering};

/// Time between two states that are kept.
const STEP_NS: u64 = 250_000_000;
/// States that are kept: the figures are over at most this many steps.
const STEPS: usize = 4;

/// One worker's response times since its beginning, in the bins of [`coarse`](crate::recorder::coarse).
pub(super) struct LiveBins([AtomicU64; BINS]);

impl Default for LiveBins {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; BINS])
    }
}

impl LiveBins {
    /// Only its own worker may call this: without a second writer a load and a store are enough.
    #[inline]
    pub(super) fn add(&self, response_ns: u64) {
        let bin = &self.0[crate::recorder::coarse::bin(response_ns)];
        bin.store(bin.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

/// What has come back up to a moment.
#[derive(Clone)]
struct State {
    at_ns: u64,
    ok: u64,
    bins: [u64; BINS],
}

impl State {
    const NOTHING: Self = Self {
        at_ns: 0,
        ok: 0,
        bins: [0; BINS],
    };

    fn read(&mut self, control: &Control, now_ns: u64) {
        self.at_ns = now_ns;
        self.ok = control.sums().ok;
        self.bins.fill(0);
        for worker in &control.gauges {
            for (sum, bin) in self.bins.iter_mut().zip(&worker.responses.0) {
                *sum += bin.load(Ordering::Relaxed);
            }
        }
    }
}

/// Figures of the last second or so.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) rate_per_s: Option<f64>,
    pub(super) p50_ns: Option<u64>,
    pub(super) p99_ns: Option<u64>,
}

/// The states of the last second of one phase.
pub(super) struct Live {
    /// None before the first look.
    phase: Option<Phase>,
    phase_from_ns: u64,
    looked_ns: u64,
    now: Box<State>,
    /// A ring; `kept` of them are there, the oldest of a full one comes next.
    states: Box<[State]>,
    next: usize,
    kept: usize,
}

impl Live {
    pub(super) fn new(now_ns: u64) -> Self {
        Self {
            phase: None,
            phase_from_ns: now_ns,
            looked_ns: now_ns,
            now: Box::new(State::NOTHING),
            states: vec![State::NOTHING; STEPS].into_boxed_slice(),
            next: 0,
            kept: 0,
        }
    }

    /// Looks at all workers; says how long the phase has lasted and what its last second was like.
    pub(super) fn look(&mut self, control: &Control, phase: Phase, now_ns: u64) -> (u64, Figures) {
        if self.phase != Some(phase) {
            // It began when the one before was last looked at.
            (self.phase, self.phase_from_ns) = (Some(phase), self.looked_ns);
            (self.next, self.kept) = (0, 0);
        }
        self.looked_ns = now_ns;
        self.now.read(control, now_ns);
        let figures = self.figures();
        let newest = &self.states[(self.next + STEPS - 1) % STEPS];
        if self.kept == 0 || now_ns - newest.at_ns >= STEP_NS {
            self.states[self.next].clone_from(&self.now);
            self.next = (self.next + 1) % STEPS;
            self.kept = (self.kept + 1).min(STEPS);
        }
        (now_ns - self.phase_from_ns, figures)
    }

    fn figures(&self) -> Figures {
        if self.kept == 0 {
            return Figures::default();
        }
        let (now, then) = (&self.now, &self.states[(self.next + STEPS - self.kept) % STEPS]);
        let span_s = ns_to_s(now.at_ns - then.at_ns);
        // A worker may be writing while it is read, so its bins and its count need not be of the same moment.
        let bins = now.bins.iter().zip(&then.bins).map(|(now, then)| now - then);
        Figures {
            rate_per_s: (span_s > 0.0).then(|| per_second(now.ok - then.ok, span_s)),
            p50_ns: percentile(bins.clone(), 5_000),
            p99_ns: percentile(bins, 9_900),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::turnstile::Turnstile;

    const MS: u64 = 1_000_000;

    fn control(workers: usize) -> Control {
        Control::new(workers, Turnstile::new(1, None)).unwrap()
    }

    fn answers(control: &Control, worker: usize, count: u64, response_ns: u64) {
        let gauges = &control.gauges[worker];
        (0..count).for_each(|_| gauges.responses.add(response_ns));
        gauges.ok.fetch_add(count, Ordering::Relaxed);
    }

    #[test]
    fn the_figures_are_of_the_last_second_over_all_workers() {
        let (control, mut live) = (control(2), Live::new(7_000 * MS));
        answers(&control, 0, 5_000, 50 * MS);
        let (elapsed_ns, figures) = live.look(&control, Phase::Measured, 7_000 * MS);
        assert_eq!((elapsed_ns, figures), (0, Figures::default()));
        for step in 1..=40 {
            // Slow for three seconds, then fast; one worker has the slow hundredth.
            let response_ns = if step <= 30 { 9 * MS } else { MS };
            answers(&control, 0, 98, response_ns);
            answers(&control, 1, 2, 20 * MS);
            let (elapsed_ns, figures) = live.look(&control, Phase::Measured, (7_000 + step * 100) * MS);
            assert_eq!(elapsed_ns, step * 100 * MS);
            assert!((figures.rate_per_s.unwrap() - 1_000.0).abs() < 1e-6, "{figures:?}");
            let near = |got: Option<u64>, exact: u64| got.is_some_and(|got| got.abs_diff(exact) * 20 <= exact);
            if step == 30 || step == 40 {
                assert!(near(figures.p50_ns, response_ns), "{figures:?}");
                assert!(figures.p99_ns.is_none() || near(figures.p99_ns, 20 * MS), "{figures:?}");
            }
        }
    }

    #[test]
    fn a_new_phase_begins_with_nothing() {
        let (control, mut live) = (control(1), Live::new(0));
        live.look(&control, Phase::WarmUp, 0);
        answers(&control, 0, 5_000, MS);
        assert!(live.look(&control, Phase::WarmUp, 500 * MS).1.p99_ns.is_some());
        assert_eq!(
            live.look(&control, Phase::Measured, 600 * MS),
            (100 * MS, Figures::default())
        );
    }
}
