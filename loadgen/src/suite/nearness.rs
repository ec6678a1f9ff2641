//! Which trials of a comparison had their CPUs near each other: within 1.4 times the smallest median of a block. Pure.
//!
//! A virtual machine's CPUs move, and a server costs more while they are far. A far trial is run again once in its block; what
//! is far then enters no figure, and reports show it apart. Only where near blocks are too few for any claim while there
//! are rounds enough are all trials used: a block's targets still meet alike, and what a block has in common falls out.

use super::fit::ROUNDS_FOR_A_CLAIM;
use super::results::round_of;
use crate::measurement::store::Stored;
use crate::record::Measurement;
use crate::validity::gates::was_not_to_be_measured;
use std::collections::BTreeMap;

/// A distance is near within this many times the smallest block median.
const NEAR: f64 = 1.4;

/// Judges distances against the comparison that they belong to.
#[derive(Clone, Copy, Debug)]
pub struct Nearness {
    limit_ns: Option<f64>,
    far_are_used: bool,
}

impl Nearness {
    #[must_use]
    pub fn of(stored: &[Stored]) -> Self {
        let mut blocks: BTreeMap<(&str, u32), Vec<f64>> = BTreeMap::new();
        for trial in timed(stored) {
            if let Some(distance_ns) = distance_ns(trial) {
                let block = (trial.workload.as_str(), round_of(trial));
                blocks.entry(block).or_default().push(distance_ns);
            }
        }
        let medians: Vec<(&str, f64)> = (blocks.into_iter())
            .filter_map(|((workload, _), distances)| Some((workload, median(distances)?)))
            .collect();
        let smallest = medians.iter().map(|(_, median)| *median).reduce(f64::min);
        let limit_ns = smallest.map(|smallest| NEAR * smallest);
        let most_rounds = |kept: &dyn Fn(f64) -> bool| {
            let mut rounds: BTreeMap<&str, usize> = BTreeMap::new();
            for (workload, _) in medians.iter().filter(|(_, median)| kept(*median)) {
                *rounds.entry(workload).or_default() += 1;
            }
            rounds.into_values().max().unwrap_or(0)
        };
        let is_near = |median: f64| limit_ns.is_none_or(|limit_ns| median <= limit_ns);
        Self {
            limit_ns,
            far_are_used: most_rounds(&|_| true) >= ROUNDS_FOR_A_CLAIM && most_rounds(&is_near) < ROUNDS_FOR_A_CLAIM,
        }
    }

    /// None where no distance was measured.
    #[must_use]
    pub fn limit_ns(&self) -> Option<f64> {
        self.limit_ns
    }

    /// Whether too few rounds were near, so that distance decides nothing.
    #[must_use]
    pub fn far_are_used(&self) -> bool {
        self.far_are_used
    }

    #[must_use]
    pub fn is_far(&self, trial: &Measurement) -> bool {
        let known = self.limit_ns.zip(distance_ns(trial));
        known.is_some_and(|(limit_ns, distance_ns)| distance_ns > limit_ns)
    }

    /// Whether its distance lets the trial's figures be used.
    #[must_use]
    pub fn is_used(&self, trial: &Measurement) -> bool {
        self.far_are_used || !self.is_far(trial)
    }
}

/// The distance of the trial's CPUs, in nanoseconds, where it was measured.
pub(super) fn distance_ns(trial: &Measurement) -> Option<f64> {
    trial.cpu_distance.as_ref()?.ns()
}

/// Trials that were begun and timed.
pub(super) fn timed(stored: &[Stored]) -> impl Iterator<Item = &Measurement> {
    let trials = stored.iter().map(|stored| &stored.measurement);
    trials.filter(|trial| !trial.plan.counting && !was_not_to_be_measured(trial))
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{CpuDistance, SuitePlace};

    /// A block of three trials in each round, at these distances.
    fn rounds(distances: &[f64]) -> Vec<Stored> {
        let block = |(round, ns): (u32, &f64)| {
            let mut measurement = Measurement {
                workload: "steady".into(),
                cpu_distance: Some(CpuDistance {
                    before_ns: Some(*ns),
                    after_ns: Some(*ns),
                    ..CpuDistance::default()
                }),
                ..Measurement::default()
            };
            measurement.identity.suite = Some(SuitePlace {
                suite: "custom".into(),
                round,
                position: 1,
                seed: 1,
                attempt: 1,
                control: false,
                plan_hash: None,
                at: None,
            });
            let stored = Stored {
                file: format!("{round}"),
                measurement,
            };
            vec![stored; 3]
        };
        (1..).zip(distances).flat_map(block).collect()
    }

    fn used(distances: &[f64]) -> (usize, bool) {
        let stored = rounds(distances);
        let nearness = Nearness::of(&stored);
        let used = stored.iter().filter(|stored| nearness.is_used(&stored.measurement));
        (used.count() / 3, nearness.far_are_used())
    }

    #[test]
    fn what_is_far_is_left_out_while_near_rounds_are_enough() {
        assert_eq!(used(&[50.0, 52.0, 55.0, 60.0, 69.9, 168.0, 170.0]), (5, false));
    }

    #[test]
    fn before_there_are_rounds_enough_far_ones_wait_for_near_ones() {
        assert_eq!(used(&[50.0, 168.0, 170.0]), (1, false));
    }

    #[test]
    fn where_near_rounds_are_too_few_all_are_used_and_that_is_known() {
        assert_eq!(used(&[50.0, 168.0, 170.0, 172.0, 169.0, 168.0]), (6, true));
    }

    #[test]
    fn rounds_that_are_all_as_far_are_compared_with_each_other() {
        assert_eq!(used(&[168.0, 170.0, 172.0, 169.0, 168.0]), (5, false));
        assert_eq!(Nearness::of(&[]).limit_ns(), None);
    }
}
