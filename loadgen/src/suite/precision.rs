//! How sure a comparison is, by the pair that it knows least: what `--precision` ends by. Pure.
//!
//! It looks at the width of intervals and never at what they show: to stop as soon as a difference is significant would find
//! differences where there are none.

use super::findings::{Findings, Pairing, Table};
use super::fit::ROUNDS_FOR_A_CLAIM;
use crate::record::Figure;

/// How well the ratios of a comparison are known, by what messages cost its servers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Known<'a> {
    /// A target has too few rounds yet for its intervals to mean anything.
    TooFewRounds {
        table: &'a Table,
        target: &'a str,
        rounds: usize,
    },
    /// Every ratio is known within this share; the pair is the widest.
    Within {
        table: &'a Table,
        pair: &'a Pairing,
        share: f64,
    },
}

impl<'a> Known<'a> {
    /// None where no two targets have a figure under the same workload. A target without any figure under a workload cannot do
    /// it, and is not waited for.
    #[must_use]
    pub fn of(findings: &'a Findings) -> Option<Self> {
        let tables = || {
            findings
                .tables
                .iter()
                .filter(|table| table.quantity.kind() == Figure::Capacity)
        };
        let targets = tables().flat_map(|table| table.targets.iter().map(move |target| (table, target)));
        let fewest = targets
            .filter(|(_, target)| (1..ROUNDS_FOR_A_CLAIM).contains(&target.rounds))
            .min_by_key(|(_, target)| target.rounds);
        if let Some((table, target)) = fewest {
            return Some(Self::TooFewRounds {
                table,
                target: &target.target,
                rounds: target.rounds,
            });
        }
        let pairs = tables().flat_map(|table| table.pairs.iter().map(move |pair| (table, pair)));
        let widest = pairs.max_by(|(_, a), (_, b)| a.comparison.reach().total_cmp(&b.comparison.reach()));
        widest.map(|(table, pair)| Self::Within {
            table,
            pair,
            share: pair.comparison.reach(),
        })
    }

    /// Whether every ratio is known within `precision`.
    #[must_use]
    pub fn is_within(&self, precision: f64) -> bool {
        matches!(self, Self::Within { share, .. } if *share <= precision)
    }
}
