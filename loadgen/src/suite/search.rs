//! Finds the highest rate that a limit on the response time allows: bracket, bisect, confirm. Pure: it is asked which rate to
//! measure next, and is told how each ended. So an interrupted search goes on from its records alone.
//!
//! - bracket: double the rate until the limit is broken, or halve it until it is kept
//! - bisect: geometric middle of the highest kept and the lowest broken rate, until they are close
//! - confirm: both are measured again until a majority of the repeats says the same; a rate whose majority turns moves the
//!   bracket, and the search goes on
//!
//! Above the lowest broken rate nothing counts as kept: a lucky run beyond the knee proves nothing.

use crate::units::{count_f64, floor_u64};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is searched, and how finely.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// First rate measured, messages per second.
    pub from_per_s: u64,
    /// No rate outside these is tried.
    pub least_per_s: u64,
    pub most_per_s: u64,
    /// How far the lowest broken rate may lie above the highest kept one, as a share of it.
    pub precision: f64,
    /// Runs of which the majority decides at both ends.
    pub repeats: u32,
}

/// The search so far.
#[derive(Clone, Debug)]
pub struct Search {
    limits: Limits,
    /// Runs that kept and that broke the limit, by rate.
    tallies: BTreeMap<u64, Tally>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    kept: u32,
    broken: u32,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Measure { rate_per_s: u64, stage: Stage },
    Done(Outcome),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Bracket,
    Bisect,
    Confirm,
}

impl Stage {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bracket => "bracket",
            Self::Bisect => "bisect",
            Self::Confirm => "confirm",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The highest rate that keeps the limit, and the lowest that breaks it.
    Found { kept_per_s: u64, broken_per_s: u64 },
    /// The limit was kept even at the highest rate that may be tried.
    NeverBroken { kept_per_s: u64 },
    /// The limit was broken even at the lowest rate tried.
    NeverKept { broken_per_s: u64 },
}

impl Search {
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            tallies: BTreeMap::new(),
        }
    }

    /// Tells how a run ended.
    pub fn tell(&mut self, rate_per_s: u64, kept: bool) {
        let tally = self.tallies.entry(rate_per_s).or_default();
        if kept {
            tally.kept += 1;
        } else {
            tally.broken += 1;
        }
    }

    /// What the runs so far ask for.
    #[must_use]
    pub fn next(&self) -> Next {
        let measure = |rate_per_s, stage| Next::Measure { rate_per_s, stage };
        let broken = self.lowest_broken();
        let kept = self.highest_kept();
        let (kept, broken) = match (kept, broken) {
            (None, None) => return measure(self.limits.from_per_s.min(self.limits.most_per_s), Stage::Bracket),
            (Some(kept), None) if kept < self.limits.most_per_s => {
                return measure((kept * 2).min(self.limits.most_per_s), Stage::Bracket);
            }
            (Some(kept), None) => {
                return if self.is_confirmed(kept) {
                    Next::Done(Outcome::NeverBroken { kept_per_s: kept })
                } else {
                    measure(kept, Stage::Confirm)
                };
            }
            (None, Some(broken)) if broken > self.limits.least_per_s => {
                return measure((broken / 2).max(self.limits.least_per_s), Stage::Bracket);
            }
            (None, Some(broken)) => {
                return if self.is_confirmed(broken) {
                    Next::Done(Outcome::NeverKept { broken_per_s: broken })
                } else {
                    measure(broken, Stage::Confirm)
                };
            }
            (Some(kept), Some(broken)) => (kept, broken),
        };
        if let Some(middle) = self.middle(kept, broken) {
            return measure(middle, Stage::Bisect);
        }
        // The broken end first: if it does not hold, what lies below need not be repeated.
        for rate_per_s in [broken, kept] {
            if !self.is_confirmed(rate_per_s) {
                return measure(rate_per_s, Stage::Confirm);
            }
        }
        Next::Done(Outcome::Found {
            kept_per_s: kept,
            broken_per_s: broken,
        })
    }

    /// Runs that are still to come if nothing turns, at least.
    #[must_use]
    pub fn runs_left(&self) -> u32 {
        let (mut ahead, mut runs) = (self.clone(), 0);
        // Assumed: the limit lies where it is known to lie, or soon above what was kept.
        let turn = match (self.highest_kept(), self.lowest_broken()) {
            (Some(kept), None) => kept.saturating_mul(3),
            (None, Some(broken)) => broken / 3,
            (Some(kept), Some(_)) => kept,
            (None, None) => self.limits.from_per_s.saturating_mul(3),
        };
        while let Next::Measure { rate_per_s, .. } = ahead.next() {
            ahead.tell(rate_per_s, rate_per_s <= turn);
            runs += 1;
            if runs >= 200 {
                break;
            }
        }
        runs
    }

    fn lowest_broken(&self) -> Option<u64> {
        let mut broken = self.tallies.iter().filter(|(_, tally)| tally.broken > tally.kept);
        broken.next().map(|(rate, _)| *rate)
    }

    fn highest_kept(&self) -> Option<u64> {
        let below = self.lowest_broken().unwrap_or(u64::MAX);
        let kept = self
            .tallies
            .range(..below)
            .rev()
            .find(|(_, tally)| tally.kept >= tally.broken);
        kept.map(|(rate, _)| *rate)
    }

    /// The geometric middle, in three digits; none when both ends are close enough.
    fn middle(&self, kept: u64, broken: u64) -> Option<u64> {
        let (low, high) = (count_f64(kept), count_f64(broken));
        if high <= low * (1.0 + self.limits.precision) {
            return None;
        }
        let middle = rounded((low * high).sqrt());
        (kept < middle && middle < broken).then_some(middle)
    }

    /// Whether more runs could not turn the majority.
    fn is_confirmed(&self, rate_per_s: u64) -> bool {
        let tally = self.tallies.get(&rate_per_s).copied().unwrap_or_default();
        let majority = self.limits.repeats / 2 + 1;
        tally.kept >= majority || tally.broken >= majority
    }
}

/// Three digits are enough for a rate.
fn rounded(rate: f64) -> u64 {
    let unit = 10_f64.powf((rate.log10().floor() - 2.0).max(0.0));
    floor_u64((rate / unit).round() * unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

    const LIMITS: Limits = Limits {
        from_per_s: 4000,
        least_per_s: 10,
        most_per_s: 10_000_000,
        precision: 0.05,
        repeats: 3,
    };

    /// Runs the search against a server; returns how it ended and the rates in their order.
    fn searched(limits: Limits, mut keeps: impl FnMut(u64) -> bool) -> (Outcome, Vec<u64>) {
        let mut search = Search::new(limits);
        let mut rates = Vec::new();
        loop {
            match search.next() {
                Next::Done(outcome) => return (outcome, rates),
                Next::Measure { rate_per_s, .. } => {
                    search.tell(rate_per_s, keeps(rate_per_s));
                    rates.push(rate_per_s);
                }
            }
            assert!(rates.len() < 200, "it does not end: {rates:?}");
        }
    }

    /// p99 of a single-server queue with exponential service, ln(100) / (capacity - rate), below 2 ms.
    fn queue_keeps(capacity: f64, rate: u64) -> bool {
        let spare = capacity - count_f64(rate);
        spare > 0.0 && 100_f64.ln() / spare < 0.002
    }

    #[test]
    fn the_limit_of_a_queue_is_found_within_the_precision() {
        for capacity in [3_000.0, 5_000.0, 97_000.0, 1_234_567.0] {
            // ln(100) / 2 ms = 2302.6 messages/s of head room.
            let exact = capacity - 100_f64.ln() / 0.002;
            let (outcome, rates) = searched(LIMITS, |rate| queue_keeps(capacity, rate));
            let Outcome::Found {
                kept_per_s,
                broken_per_s,
            } = outcome
            else {
                panic!("{outcome:?}");
            };
            assert!(
                count_f64(kept_per_s) <= exact && exact <= count_f64(broken_per_s),
                "{outcome:?} {exact}"
            );
            // Three digits may leave the ends a little further apart.
            assert!(count_f64(broken_per_s) / count_f64(kept_per_s) < 1.06, "{outcome:?}");
            assert!(rates.len() < 30, "{rates:?}");
        }
    }

    #[test]
    fn one_run_in_ten_that_lies_moves_the_result_little() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut far = 0;
        for _ in 0..200 {
            let (outcome, _) = searched(LIMITS, |rate| {
                let truth = queue_keeps(60_000.0, rate);
                truth != random.next_u32().is_multiple_of(10)
            });
            let Outcome::Found { kept_per_s, .. } = outcome else {
                far += 1;
                continue;
            };
            far += u32::from(!(45_000..65_000).contains(&kept_per_s));
        }
        // The repeats at both ends mend most lies of the bracket, not all.
        assert!(far < 30, "{far} of 200");
    }

    #[test]
    fn both_ends_are_confirmed_by_a_majority() {
        let mut runs: BTreeMap<u64, u32> = BTreeMap::new();
        let (outcome, _) = searched(LIMITS, |rate| {
            *runs.entry(rate).or_default() += 1;
            rate <= 30_000
        });
        let Outcome::Found {
            kept_per_s,
            broken_per_s,
        } = outcome
        else {
            panic!("{outcome:?}");
        };
        assert_eq!((runs[&kept_per_s], runs[&broken_per_s]), (2, 2));
    }

    #[test]
    fn a_broken_run_that_repeats_overturn_moves_the_bracket_up() {
        let mut first = true;
        let (outcome, _) = searched(LIMITS, |rate| {
            let unlucky = rate == 8000 && std::mem::take(&mut first);
            rate <= 20_000 && !unlucky
        });
        assert!(
            matches!(
                outcome,
                Outcome::Found {
                    kept_per_s: 19_000..=20_000,
                    ..
                }
            ),
            "{outcome:?}"
        );
    }

    #[test]
    fn a_limit_that_is_never_broken_or_never_kept_says_so() {
        let limits = Limits {
            most_per_s: 50_000,
            ..LIMITS
        };
        let (outcome, rates) = searched(limits, |_| true);
        assert_eq!(outcome, Outcome::NeverBroken { kept_per_s: 50_000 });
        assert_eq!(rates, [4000, 8000, 16_000, 32_000, 50_000, 50_000]);
        let (outcome, _) = searched(limits, |_| false);
        assert_eq!(outcome, Outcome::NeverKept { broken_per_s: 10 });
    }

    #[test]
    fn the_same_runs_in_any_order_ask_for_the_same_next_one() {
        let (mut one, mut other) = (Search::new(LIMITS), Search::new(LIMITS));
        let runs = [(4000, true), (8000, true), (16_000, false), (11_300, true)];
        runs.iter().for_each(|&(rate, kept)| one.tell(rate, kept));
        runs.iter().rev().for_each(|&(rate, kept)| other.tell(rate, kept));
        assert_eq!(one.next(), other.next());
        assert_eq!(
            one.next(),
            Next::Measure {
                rate_per_s: 13_400,
                stage: Stage::Bisect
            }
        );
        assert!((4..12).contains(&one.runs_left()), "{}", one.runs_left());
    }
}
