//! When messages of an open loop are planned to leave: one seeded plan for all clients together. Pure: it knows message
//! numbers and times since its start, and reads no clock.
//!
//! The plan is drawn in units of messages and stretched over time: message i stands at `units(i)` (i itself, the start of
//! its burst, or a sum of exponential gaps), and leaves when the planned rate has summed up to that many messages. A ramp
//! only changes the stretching, so it works for every pattern of arrivals.

use crate::record::{Arrivals, OpenLoop};
use crate::units::{TWO_TO_THE_53, count_f64, floor_u64};
use echo_contract::splitmix;

/// The plan, standing at its next message. A copy is a second reader of the same plan.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    arrivals: Arrivals,
    rate_per_s: u64,
    ramp_ns: u64,
    seed: u64,
    index: u64,
    /// Poisson arrivals only: where message `index` stands, in messages.
    units: f64,
}

impl Schedule {
    /// The plan from its first message on.
    #[must_use]
    pub fn new(open: &OpenLoop, seed: u64) -> Self {
        Self {
            arrivals: open.arrivals,
            rate_per_s: open.rate_per_s,
            ramp_ns: open.ramp_ms * 1_000_000,
            seed,
            index: 0,
            units: gap(seed, 0),
        }
    }

    /// Number of the next message, from 0.
    #[inline]
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// When the next message is planned to leave, in nanoseconds after the start of the plan.
    #[inline]
    #[must_use]
    pub fn due_ns(&self) -> u64 {
        match self.arrivals {
            Arrivals::Constant => self.stretched(self.index),
            Arrivals::Burst(messages) => self.stretched(self.index - self.index % u64::from(messages)),
            Arrivals::Poisson => self.stretched_units(self.units),
        }
    }

    /// The planned time of the next message if it is due at `now_ns`; the plan then stands at the one after it.
    #[inline]
    pub fn next_due(&mut self, now_ns: u64) -> Option<u64> {
        let due_ns = self.due_ns();
        (due_ns <= now_ns).then(|| {
            self.advance();
            due_ns
        })
    }

    /// Leaves one message out.
    #[inline]
    pub fn advance(&mut self) {
        self.index += 1;
        if self.arrivals == Arrivals::Poisson {
            self.units += gap(self.seed, self.index);
        }
    }

    /// Goes on to message `index`; never back.
    #[inline]
    pub fn advance_to(&mut self, index: u64) {
        if self.arrivals == Arrivals::Poisson {
            while self.index < index {
                self.advance();
            }
        }
        self.index = self.index.max(index);
    }

    /// Messages planned before this time that are not passed yet.
    #[must_use]
    pub fn count_before(mut self, until_ns: u64) -> u64 {
        let from = self.index;
        if self.arrivals == Arrivals::Poisson {
            while self.due_ns() < until_ns {
                self.advance();
            }
            return self.index - from;
        }
        // Planned times only grow, so the first one that is not before the time can be looked for by halves.
        let is_before = |index| Self { index, ..self }.due_ns() < until_ns;
        let (mut low, mut high) = (from, from + 1);
        while is_before(high) {
            (low, high) = (high, high.saturating_mul(2));
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low - from
    }

    /// Exact to the nanosecond as long as the rate is constant.
    #[inline]
    fn stretched(&self, units: u64) -> u64 {
        if self.ramp_ns > 0 {
            return self.stretched_units(count_f64(units));
        }
        let ns = u128::from(units) * 1_000_000_000 / u128::from(self.rate_per_s);
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    /// The inverse of the summed rate: R t²/2D during a ramp of length D, R (t - D/2) after it.
    #[inline]
    fn stretched_units(&self, units: f64) -> u64 {
        let (rate_per_ns, ramp_ns) = (count_f64(self.rate_per_s) / 1e9, count_f64(self.ramp_ns));
        let in_ramp = rate_per_ns * ramp_ns / 2.0;
        let ns = if units < in_ramp {
            (2.0 * ramp_ns * units / rate_per_ns).sqrt()
        } else {
            units / rate_per_ns + ramp_ns / 2.0
        };
        floor_u64(ns)
    }
}

/// The exponential gap of mean 1 before message `index`: -ln(1 - u), with u from SplitMix64 at that place of its sequence.
#[inline]
fn gap(seed: u64, index: u64) -> f64 {
    let uniform = count_f64(splitmix::at(seed, index) >> 11) / TWO_TO_THE_53;
    -(1.0 - uniform).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Waiting;
    use crate::units::len_f64;

    const SECOND: u64 = 1_000_000_000;

    fn schedule(arrivals: Arrivals, rate_per_s: u64, ramp_ms: u64) -> Schedule {
        let open = OpenLoop {
            rate_per_s,
            arrivals,
            ramp_ms,
            waiting: Waiting::Hybrid,
        };
        Schedule::new(&open, 7)
    }

    #[test]
    fn a_seed_gives_the_same_gaps_for_ever() {
        let gaps = [0, 1, 2].map(|index| floor_u64(gap(7, index) * 1e9));
        assert_eq!(gaps, [494_017_259, 16_930_815, 2_310_220_978]);
    }

    /// Planned times as a reader sees them whose clock moves in steps.
    fn stepped(mut schedule: Schedule, until_ns: u64, step_ns: u64) -> Vec<u64> {
        let mut planned = Vec::new();
        for now_ns in (0..=until_ns).step_by(usize::try_from(step_ns).unwrap()) {
            while let Some(due_ns) = schedule.next_due(now_ns) {
                assert!(due_ns <= now_ns, "nothing leaves before its time");
                planned.push(due_ns);
            }
        }
        planned
    }

    #[test]
    fn a_constant_rate_is_exact_and_does_not_drift() {
        let mut schedule = schedule(Arrivals::Constant, 3, 0);
        let planned: Vec<_> = std::iter::from_fn(|| schedule.next_due(SECOND)).collect();
        assert_eq!(planned, [0, 333_333_333, 666_666_666, SECOND]);
        schedule.advance_to(3_000_000_000);
        assert_eq!(schedule.due_ns(), SECOND * SECOND);
    }

    #[test]
    fn the_plan_does_not_depend_on_when_it_is_looked_at() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson, Arrivals::Burst(4)] {
            let fine = stepped(schedule(arrivals, 1000, 300), SECOND, 1_000);
            let coarse = stepped(schedule(arrivals, 1000, 300), SECOND, 250_000_000);
            assert_eq!(fine, coarse, "{arrivals:?}");
        }
    }

    #[test]
    fn requests_due_during_a_stall_keep_their_planned_times() {
        let mut schedule = schedule(Arrivals::Constant, 1000, 0);
        assert_eq!(schedule.next_due(0), Some(0));
        // Nobody looks for 5 ms; what was due meanwhile is handed out with the times it was planned for.
        let late: Vec<_> = std::iter::from_fn(|| schedule.next_due(5_000_000)).collect();
        assert_eq!(late, [1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000]);
    }

    #[test]
    fn a_burst_leaves_at_one_time_and_keeps_the_mean_rate() {
        let planned = stepped(schedule(Arrivals::Burst(4), 1000, 0), 7_999_999, 1);
        assert_eq!(planned, [0, 0, 0, 0, 4_000_000, 4_000_000, 4_000_000, 4_000_000]);
        assert_eq!(schedule(Arrivals::Burst(10), 1000, 0).count_before(10 * SECOND), 10_000);
    }

    #[test]
    fn what_is_planned_before_a_time_is_what_a_reader_gets_until_then() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson, Arrivals::Burst(7)] {
            let mut schedule = schedule(arrivals, 1000, 250);
            schedule.advance_to(13);
            for until_ns in [1, 99_999_999, 500_000_000, SECOND] {
                let mut reader = schedule;
                let all = std::iter::from_fn(|| reader.next_due(until_ns - 1)).count() as u64;
                assert_eq!(schedule.count_before(until_ns), all, "{arrivals:?} {until_ns}");
            }
        }
    }

    #[test]
    fn a_ramp_sends_half_of_what_the_full_rate_would() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            let schedule = schedule(arrivals, 10_000, 2_000);
            let in_ramp = schedule.count_before(2 * SECOND);
            assert!(in_ramp.abs_diff(10_000) < 400, "{arrivals:?}: {in_ramp}");
            let first_half = schedule.count_before(SECOND);
            assert!(first_half.abs_diff(2_500) < 200, "{arrivals:?}: {first_half}");
            let after = schedule.count_before(3 * SECOND) - in_ramp;
            assert!(after.abs_diff(10_000) < 400, "{arrivals:?}: {after}");
        }
    }

    /// Kolmogorov and Smirnov's distance of the gaps from an exponential of the planned rate.
    #[test]
    fn poisson_gaps_are_exponential() {
        let planned = stepped(schedule(Arrivals::Poisson, 1000, 0), 100 * SECOND, 100 * SECOND);
        assert!(planned.len().abs_diff(100_000) < 1_300, "{}", planned.len());
        let mut gaps: Vec<u64> = planned.windows(2).map(|pair| pair[1] - pair[0]).collect();
        gaps.sort_unstable();
        let distance = gaps
            .iter()
            .enumerate()
            .map(|(place, &gap)| (1.0 - (-count_f64(gap) / 1e6).exp() - len_f64(place) / len_f64(gaps.len())).abs())
            .fold(0.0, f64::max);
        assert!(distance < 0.005, "{distance}");
    }

    #[test]
    fn another_seed_is_another_plan_and_the_same_seed_the_same() {
        let open = OpenLoop {
            rate_per_s: 1000,
            arrivals: Arrivals::Poisson,
            ramp_ms: 0,
            waiting: Waiting::Hybrid,
        };
        let planned = |seed| stepped(Schedule::new(&open, seed), SECOND, SECOND);
        assert_eq!(planned(1), planned(1));
        assert_ne!(planned(1), planned(2));
    }
}
