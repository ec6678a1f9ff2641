//! What the trials of a target under a workload show together: a row may lose figures that each of its trials, too short to
//! be judged alone, would keep. Pure.

use super::matrix::Pair;
use super::nearness::Nearness;
use super::results::usable;
use crate::record::{Figure, Measurement, Reason};
use crate::validity::together;
use std::collections::BTreeMap;

/// The gates that rows do not pass.
#[derive(Clone, Debug, Default)]
pub struct Together(BTreeMap<Pair, Vec<Reason>>);

impl Together {
    /// Judges the trials whose figures are used.
    #[must_use]
    pub fn of(trials: &BTreeMap<Pair, Vec<&Measurement>>, nearness: &Nearness) -> Self {
        let judged = trials.iter().map(|(pair, trials)| {
            let used = trials
                .iter()
                .copied()
                .filter(|trial| usable(trial) && nearness.is_used(trial));
            (pair.clone(), together::judge(&used.collect::<Vec<_>>()))
        });
        Self(judged.filter(|(_, reasons)| !reasons.is_empty()).collect())
    }

    #[must_use]
    pub fn reasons(&self, pair: &Pair) -> &[Reason] {
        self.0.get(pair).map_or(&[], Vec::as_slice)
    }

    #[must_use]
    pub fn voids(&self, pair: &Pair, figure: Figure) -> bool {
        self.reasons(pair).iter().any(|reason| reason.voids(figure))
    }
}
