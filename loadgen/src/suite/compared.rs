//! Any quantity under one workload, compared as findings are: the logs taken apart into target and round, each pair with an
//! interval that holds for all pairs of the targets together. For what explains a finding and is no table of its own. Pure.

use super::findings::Trials;
use super::fit::{Comparison, Fit};
use super::matrix::{Pair, Suite};
use crate::measurement::store::Stored;
use crate::quantity::Quantity;

/// The targets of a comparison by one quantity.
#[derive(Clone, Debug)]
pub struct Compared {
    targets: Vec<String>,
    fit: Fit,
    family: usize,
}

/// The figure of one target and its own 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    pub figure: f64,
    pub low: f64,
    pub high: f64,
}

impl Compared {
    #[must_use]
    pub fn of(suite: &Suite, stored: &[Stored], workload: &str, quantity: &Quantity) -> Self {
        let trials = Trials::of(stored);
        let targets: Vec<String> = suite.all_targets().cloned().collect();
        // Where values of a dimension are compared: at the first of them.
        let first = |target: &String| suite.rows().find(|(name, _)| *name == target).and_then(|(_, at)| at);
        let cells = (0..).zip(&targets).flat_map(|(place, target)| {
            let pair = Pair {
                target: target.clone(),
                workload: workload.to_string(),
                control: false,
                at: first(target),
            };
            trials.cells(&pair, place, quantity.kind(), &|trial| quantity.of(trial))
        });
        Self {
            fit: Fit::of(targets.len(), &cells.collect::<Vec<_>>()),
            family: suite.family(),
            targets,
        }
    }

    /// None where too few trials have it.
    #[must_use]
    pub fn known(&self, target: &str) -> Option<Known> {
        let place = self.place(target)?;
        let (low, high) = self.fit.interval(place)?;
        Some(Known {
            figure: self.fit.level(place)?.figure,
            low,
            high,
        })
    }

    /// The left one's figure over the right one's.
    #[must_use]
    pub fn ratio(&self, left: &str, right: &str) -> Option<Comparison> {
        self.fit.compare(self.place(left)?, self.place(right)?, self.family)
    }

    fn place(&self, target: &str) -> Option<usize> {
        self.targets.iter().position(|name| name == target)
    }
}
