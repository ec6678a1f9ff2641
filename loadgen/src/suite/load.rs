//! Loads that are shares of what each target can do: first every target is saturated for some rounds, then the same targets are
//! measured at shares of the rates that they reached. The rates are stored with the suite, so that a comparison that is gone on
//! with offers the same loads. Pure.

use super::matrix::{Pair, Suite, label};
use super::nearness::Nearness;
use super::preset;
use super::results::pair_of;
use crate::measurement::store::Stored;
use crate::record::{Figure, Measurement, Pacing, Workload};
use crate::suite::statistics::Spread;
use crate::units::round_u64;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Rounds in which the targets are saturated: the median of three is no outlier's.
const SATURATING_ROUNDS: u32 = 3;

/// How the targets of a suite are saturated, and what they reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// The closed loop that saturates them; the suite's other workloads run in the rounds after those of this one.
    pub workload: String,
    /// How many rounds that takes, from the first on.
    pub rounds: u32,
    /// Messages per second by target (with its value of the dimension), once it is known. Targets of which nothing could be
    /// measured are not there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub saturated_per_s: BTreeMap<String, u64>,
}

impl Load {
    /// What saturates, and open loops at these shares of it in percent.
    #[must_use]
    pub fn workloads(shares: &[u32]) -> Vec<Workload> {
        let loads = shares.iter().copied().map(preset::at_load);
        std::iter::once(preset::saturated()).chain(loads).collect()
    }

    /// What a suite of these workloads needs; none where none is a share.
    #[must_use]
    pub fn of(workloads: &[Workload]) -> Option<Self> {
        workloads.iter().any(is_share).then(|| Self {
            workload: preset::saturated().name,
            rounds: SATURATING_ROUNDS,
            saturated_per_s: BTreeMap::new(),
        })
    }

    /// Without what was found: the plan of before.
    pub(super) fn as_planned(&self) -> Self {
        Self {
            saturated_per_s: BTreeMap::new(),
            ..self.clone()
        }
    }
}

fn is_share(workload: &Workload) -> bool {
    workload.percent_of_saturated.is_some()
}

impl Suite {
    /// Whether this round saturates the targets.
    #[must_use]
    pub fn is_saturating(&self, round: u32) -> bool {
        self.load.as_ref().is_some_and(|load| round <= load.rounds)
    }

    /// Rounds that come before those of the workloads that are compared.
    #[must_use]
    pub fn rounds_before(&self) -> u32 {
        self.load.as_ref().map_or(0, |load| load.rounds)
    }

    /// Whether the workload has a block in this round.
    pub(super) fn is_in_round(&self, workload: &Workload, round: u32) -> bool {
        match &self.load {
            None => true,
            Some(load) => (workload.name == load.workload) == (round <= load.rounds),
        }
    }

    /// Whether the load of a pair can be offered: not where its target could not be saturated.
    pub(super) fn has_rate(&self, pair: &Pair) -> bool {
        let Some(load) = &self.load else { return true };
        let is_known = load.saturated_per_s.is_empty() || self.saturated_per_s(pair).is_some();
        is_known || !self.workload(&pair.workload).is_some_and(is_share)
    }

    /// What the target of the pair reached saturated, in messages per second; none before that is known.
    #[must_use]
    pub fn saturated_per_s(&self, pair: &Pair) -> Option<u64> {
        let known = &self.load.as_ref()?.saturated_per_s;
        known.get(&label(&pair.target, pair.at)).copied()
    }

    /// The workload of the pair at the rate of its own target.
    pub(super) fn at_its_rate(&self, pair: &Pair, mut workload: Workload) -> Workload {
        if let (Some(percent), Pacing::OpenLoop(open)) = (workload.percent_of_saturated, &mut workload.pacing) {
            let saturated_per_s = self.saturated_per_s(pair).unwrap_or_default();
            open.rate_per_s = (saturated_per_s * u64::from(percent) / 100).max(1);
        }
        workload
    }

    /// Takes what the targets reached from the records, when the rounds for that are over and it is not known yet. Says whether
    /// anything is known now that was not.
    pub fn learn_rates(&mut self, round: u32, stored: &[Stored]) -> bool {
        let is_due = |load: &Load| load.rounds == round && load.saturated_per_s.is_empty();
        let Some(load) = self.load.as_ref().filter(|load| is_due(load)) else {
            return false;
        };
        let of_row = |(target, at): (&String, _)| {
            let label = label(target, at);
            Some((label.clone(), rate(stored, &load.workload, &label)?))
        };
        let known: BTreeMap<String, u64> = self.rows().filter_map(of_row).collect();
        let is_news = !known.is_empty();
        if let Some(load) = &mut self.load {
            load.saturated_per_s = known;
        }
        is_news
    }
}

/// The median over the rounds in which a rate stands near; over all trials that ran to their end where there is none.
fn rate(stored: &[Stored], workload: &str, target: &str) -> Option<u64> {
    let nearness = Nearness::of(stored);
    let is_of = |trial: &&Measurement| {
        let pair = pair_of(trial);
        pair.workload == workload && pair.label() == target && trial.complete
    };
    let all = || stored.iter().map(|stored| &stored.measurement).filter(is_of);
    let stands = |trial: &&Measurement| trial.stands(Figure::Rates) && nearness.is_used(trial);
    let median = |trials: &mut dyn Iterator<Item = &Measurement>| {
        Spread::of(trials.map(|trial| trial.throughput.messages_per_s)).map(|spread| spread.median)
    };
    let median = median(&mut all().filter(stands)).or_else(|| median(&mut all()))?;
    Some(round_u64(median)).filter(|rate| *rate > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SuitePlace;
    use crate::suite::sample::suite;

    fn loads() -> Suite {
        let workloads = Load::workloads(&[20, 95]);
        Suite {
            load: Load::of(&workloads),
            workloads,
            ..suite()
        }
    }

    fn saturated(target: &str, round: u32, messages_per_s: f64) -> Stored {
        let mut measurement = Measurement {
            workload: "saturated".into(),
            complete: true,
            ..Measurement::default()
        };
        measurement.plan.target = target.into();
        measurement.throughput.messages_per_s = messages_per_s;
        measurement.identity.suite = Some(SuitePlace {
            suite: "load".into(),
            round,
            position: 1,
            seed: 1,
            attempt: 1,
            control: false,
            plan_hash: None,
            at: None,
        });
        Stored {
            file: format!("{target}-{round}"),
            measurement,
        }
    }

    #[test]
    fn the_first_rounds_saturate_and_the_others_offer_shares() {
        let suite = loads();
        let of_round = |round| -> Vec<String> {
            let mut names: Vec<String> = suite
                .pairs_of_round(round)
                .into_iter()
                .map(|pair| pair.workload)
                .collect();
            names.dedup();
            names
        };
        assert_eq!(of_round(1), ["saturated"]);
        assert_eq!(of_round(3), ["saturated"]);
        assert_eq!(of_round(4), ["load-20", "load-95"]);
    }

    #[test]
    fn each_target_is_offered_a_share_of_its_own_median_and_what_was_not_saturated_nothing() {
        let mut suite = loads();
        let before = suite.plan_hash();
        let stored: Vec<Stored> = [(1, 90_000.0), (2, 100_000.0), (3, 170_000.0)]
            .into_iter()
            .map(|(round, rate)| saturated("thread", round, rate))
            .collect();
        assert!(!suite.learn_rates(2, &stored) && suite.learn_rates(3, &stored));
        // Once known they stay, whatever comes later.
        assert!(!suite.learn_rates(3, &[saturated("fork", 1, 1.0)]));
        assert_eq!(suite.plan_hash(), before, "the trials of before are of the same plan");
        let pairs = suite.pairs_of_round(4);
        assert!(pairs.iter().all(|pair| pair.target == "thread"), "{pairs:?}");
        let rates: Vec<u64> = pairs
            .iter()
            .filter(|pair| !pair.control)
            .map(|pair| suite.plan(pair, 4).workload.open_loop().unwrap().rate_per_s)
            .collect();
        assert_eq!(rates, [20_000, 95_000]);
    }
}
