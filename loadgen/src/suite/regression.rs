//! Two servers against each other: whether the second answers fewer messages per CPU second than the first. Pure.

use super::findings::{Findings, Judged, Table};
use super::matrix::Suite;
use crate::record::Figure;

/// The second server against the first under one workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Change<'a> {
    pub table: &'a Table,
    /// Messages per CPU second of the second over those of the first, with the interval that holds for all workloads together.
    pub ratio: f64,
    pub low: f64,
    pub high: f64,
    /// The smallest slowdown that would have been told with a probability of 80 %, as a share: 0.03 for 3 %.
    pub would_have_caught: f64,
}

impl Change<'_> {
    /// Whether the second is slower by more than `allowed` (0.03 for 3 %) beyond doubt.
    #[must_use]
    pub fn is_slower_than(&self, allowed: f64) -> bool {
        self.high < 1.0 - allowed
    }
}

/// Each workload in which both have a figure, in the order of the suite.
#[must_use]
pub fn changes<'a>(findings: &'a Findings, first: &str, second: &str) -> Vec<Change<'a>> {
    let tables = findings.tables.iter();
    let of_cost = tables.filter(|table| table.quantity.kind() == Figure::Capacity);
    of_cost.filter_map(|table| change(table, first, second)).collect()
}

fn change<'a>(table: &'a Table, first: &str, second: &str) -> Option<Change<'a>> {
    // Of an open loop it is the cost of a message that is compared: less is more.
    let comparison = match table.quantity {
        Judged::Capacity => table.ratio(second, first),
        _ => table.ratio(first, second),
    }?;
    Some(Change {
        table,
        ratio: comparison.ratio,
        low: comparison.low,
        high: comparison.high,
        would_have_caught: 1.0 - 1.0 / comparison.would_have_shown,
    })
}

/// How many equal targets have at least as many pairs as this suite has in all workloads together: with it the studentised range
/// holds for all of them. (For independent pairs it is Sidak's bound: 2.57 standard errors for the six pairs of four targets,
/// as for five workloads of two.)
#[must_use]
pub fn family_over_workloads(suite: &Suite) -> usize {
    let targets = suite.rows().count();
    let pairs = targets * targets.saturating_sub(1) / 2 * suite.workloads.len();
    (2..)
        .find(|family| family * (family - 1) / 2 >= pairs)
        .unwrap_or(targets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::findings::Pairing;
    use crate::suite::fit::Comparison;
    use crate::suite::sample::suite;

    fn table(quantity: Judged, left: &str, right: &str) -> Table {
        Table {
            workload: "steady".into(),
            open_loop: quantity != Judged::Capacity,
            quantity,
            targets: Vec::new(),
            pairs: vec![Pairing {
                left: left.into(),
                right: right.into(),
                comparison: Comparison {
                    ratio: 1.25,
                    low: 1.2,
                    high: 1.3,
                    p_value: 0.001,
                    p_value_alone: 0.001,
                    claimed: true,
                    would_have_shown: 1.04,
                },
                more_rounds_to_show_5_percent: None,
            }],
            control: None,
            would_have_shown: None,
            more_rounds_to_show_5_percent: None,
        }
    }

    #[test]
    fn the_second_is_told_against_the_first_whichever_is_better() {
        let slower = table(Judged::Capacity, "before", "after");
        let change_of = |table| change(table, "before", "after").map(|change| (change.ratio, change.low, change.high));
        let (ratio, low, high) = change_of(&slower).unwrap();
        assert_eq!((ratio, low, high), (1.0 / 1.25, 1.0 / 1.3, 1.0 / 1.2));
        let faster = table(Judged::Capacity, "after", "before");
        assert_eq!(change_of(&faster), Some((1.25, 1.2, 1.3)));
        // 1.25 times the CPU for a message is four fifths of the messages.
        let dearer = table(Judged::CpuUsPerMessage, "after", "before");
        assert_eq!(change_of(&dearer), change_of(&slower));
    }

    #[test]
    fn only_an_interval_that_is_wholly_beyond_is_beyond_doubt() {
        let slower = table(Judged::Capacity, "before", "after");
        let change = change(&slower, "before", "after").unwrap();
        assert!(
            change.is_slower_than(0.16) && !change.is_slower_than(0.17),
            "{change:?}"
        );
        assert!((change.would_have_caught - 0.038).abs() < 0.001);
    }

    #[test]
    fn the_family_has_a_pair_for_each_workload_of_each_pair() {
        let mut suite = suite();
        suite.targets.truncate(2);
        let workload = suite.workloads[0].clone();
        suite.workloads = vec![workload; 5];
        assert_eq!(family_over_workloads(&suite), 4);
        suite.workloads.truncate(1);
        assert_eq!(family_over_workloads(&suite), 2);
    }
}
