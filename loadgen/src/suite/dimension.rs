//! A dimension of a comparison: the same targets at several numbers of workers, or at several amounts of work for each read. Pure.
//!
//! Each target runs at each value within the same block, so that its values are compared as closely as targets are. A target that
//! has no such values (a process or a thread for each client has no workers) runs once in a block, as it is.

use super::matrix::{Pair, Suite};
use crate::record::{At, External, Measurement};
use crate::validity::gates::server_cpus;
use crate::workload::pool;
use echo_contract::catalog::{self, Model};
use serde::{Deserialize, Serialize};

/// What is varied, and its values in the order of the columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// `--workers` of the servers.
    Workers(Vec<u32>),
    /// `--work` of the servers, in nanoseconds.
    WorkNs(Vec<u64>),
}

impl Dimension {
    #[must_use]
    pub fn values(&self) -> Vec<At> {
        match self {
            Self::Workers(values) => values.iter().copied().map(At::Workers).collect(),
            Self::WorkNs(values) => values.iter().copied().map(At::WorkNs).collect(),
        }
    }

    /// The flag that sets it.
    #[must_use]
    pub fn flag(&self) -> &'static str {
        match self {
            Self::Workers(_) => "--workers",
            Self::WorkNs(_) => "--work",
        }
    }

    /// Why a target has no such values; none for one that has.
    #[must_use]
    pub fn why_not(&self, target: &str, external: Option<&External>) -> Option<&'static str> {
        match self {
            Self::Workers(_) => why_no_workers(target, external),
            Self::WorkNs(_) => why_no_work(target),
        }
    }
}

/// Why `--workers` changes nothing about a server; none where it does.
fn why_no_workers(target: &str, external: Option<&External>) -> Option<&'static str> {
    if let Some(external) = external {
        let is_told = external.takes_workers();
        return (!is_told).then_some("its command has no {workers}");
    }
    match catalog::find(target).map(|row| row.model) {
        _ if pool::is_pool(target) => Some("its workers are as many as the clients"),
        Some(Model::Fork) => Some("a process for each client"),
        Some(Model::Thread) => Some("a thread for each client"),
        Some(Model::Event) => None,
        None => Some("it is not started by loadgen"),
    }
}

/// Why a server does no `--work`; none where it does.
fn why_no_work(target: &str) -> Option<&'static str> {
    match catalog::find(target) {
        Some(_) => None,
        None => Some("it is not of the catalog and has no --work"),
    }
}

impl Suite {
    /// The values at which a target runs in each block; a single none where there is no dimension or the target has no values of it.
    #[must_use]
    pub fn values_of(&self, target: &str) -> Vec<Option<At>> {
        match &self.dimension {
            Some(dimension) if dimension.why_not(target, self.external(target)).is_none() => {
                dimension.values().into_iter().map(Some).collect()
            }
            _ => vec![None],
        }
    }

    /// Every target at each of its values, in the order of the tables.
    pub fn rows(&self) -> impl Iterator<Item = (&String, Option<At>)> {
        self.all_targets()
            .flat_map(move |target| self.values_of(target).into_iter().map(move |at| (target, at)))
    }

    /// Each target at each of its values, under one workload.
    pub(super) fn pairs_of<'a>(&self, targets: impl Iterator<Item = &'a String>, workload: &str) -> Vec<Pair> {
        let of = |target: &'a String| self.values_of(target).into_iter().map(move |at| (target, at));
        let pair = |(target, at): (&String, Option<At>)| Pair {
            target: target.clone(),
            workload: workload.to_string(),
            control: false,
            at,
        };
        targets.flat_map(of).map(pair).collect()
    }

    /// The pair that runs a second time in each block: the control at its first value.
    #[must_use]
    pub fn control_of(&self, workload: &str) -> Option<Pair> {
        let target = self.control.as_ref()?;
        Some(Pair {
            target: target.clone(),
            workload: workload.to_string(),
            control: true,
            at: self.values_of(target)[0],
        })
    }

    /// `--workers` of a pair's server; none leaves it to the server.
    #[must_use]
    pub fn workers_of(&self, pair: &Pair) -> Option<u32> {
        match pair.at {
            Some(At::Workers(workers)) => Some(workers),
            _ => {
                let asked = self.base.workers;
                asked.filter(|_| why_no_workers(&pair.target, self.external(&pair.target)).is_none())
            }
        }
    }

    /// `--work` of a pair's server, in nanoseconds.
    #[must_use]
    pub fn work_ns_of(&self, pair: &Pair) -> Option<u64> {
        match pair.at {
            Some(At::WorkNs(work_ns)) => Some(work_ns),
            _ => self.base.work_ns.filter(|_| why_no_work(&pair.target).is_none()),
        }
    }

    /// Targets without values of the dimension, and why; none where there is no dimension.
    #[must_use]
    pub fn without_values(&self) -> Vec<(&str, &'static str)> {
        let Some(dimension) = &self.dimension else {
            return Vec::new();
        };
        self.all_targets()
            .filter_map(|target| Some((target.as_str(), dimension.why_not(target, self.external(target))?)))
            .collect()
    }
}

/// Whether a trial's server had more workers than CPUs, in a comparison of numbers of workers: what it did says nothing about
/// scaling.
#[must_use]
pub fn is_oversubscribed(pair: &Pair, trial: &Measurement) -> bool {
    match (pair.at, server_cpus(trial)) {
        (Some(At::Workers(workers)), Some(cpus)) => workers > cpus,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::sample::suite;

    fn workers() -> Suite {
        Suite {
            targets: ["fork", "event-epoll", "thread-pool", "thread"]
                .map(str::to_owned)
                .to_vec(),
            dimension: Some(Dimension::Workers(vec![1, 2])),
            ..suite()
        }
    }

    #[test]
    fn each_target_that_has_the_dimension_runs_at_each_value_within_one_block() {
        let suite = workers();
        let pairs = suite.pairs_of_round(1).into_iter();
        let labels: Vec<String> = pairs
            .filter(|pair| pair.workload == "steady")
            .map(|pair| pair.label())
            .collect();
        assert_eq!(
            labels,
            [
                "fork",
                "event-epoll (1 worker)",
                "event-epoll (2 workers)",
                "thread-pool",
                "thread",
                "thread (again)"
            ]
        );
    }

    #[test]
    fn who_has_no_workers_is_told_with_the_reason() {
        let told = workers();
        assert_eq!(
            told.without_values(),
            [
                ("fork", "a process for each client"),
                ("thread-pool", "its workers are as many as the clients"),
                ("thread", "a thread for each client")
            ]
        );
        assert_eq!(suite().without_values(), []);
    }

    #[test]
    fn every_server_of_the_catalog_does_work_and_the_control_does_the_first() {
        let suite = Suite {
            dimension: Some(Dimension::WorkNs(vec![0, 10_000])),
            ..suite()
        };
        let pairs = suite.pairs_of_round(1).into_iter();
        let labels: Vec<String> = pairs
            .filter(|pair| pair.workload == "steady")
            .map(|pair| pair.label())
            .collect();
        assert_eq!(
            labels,
            [
                "fork (work 0)",
                "fork (work 10us)",
                "thread (work 0)",
                "thread (work 10us)",
                "thread (work 0) (again)"
            ]
        );
    }

    #[test]
    fn a_plan_says_what_its_server_is_started_with() {
        let mut suite = workers();
        suite.base.work_ns = Some(20_000);
        let pairs = suite.pairs_of_round(1);
        let plan = |label: &str| {
            let pair = pairs
                .iter()
                .find(|pair| pair.label() == label && pair.workload == "steady")
                .unwrap();
            let plan = suite.plan(pair, 1);
            (plan.workers, plan.work_ns)
        };
        assert_eq!(plan("event-epoll (2 workers)"), (Some(2), Some(20_000)));
        assert_eq!(plan("fork"), (None, Some(20_000)));
        // One value is no dimension: who has workers gets them.
        suite.dimension = None;
        suite.base.workers = Some(2);
        let of = |target: &str| {
            let pairs = suite.pairs_of_round(1);
            let pair = pairs.iter().find(|pair| pair.target == target).unwrap();
            suite.plan(pair, 1).workers
        };
        assert_eq!(
            [of("fork"), of("event-epoll"), of("thread-pool")],
            [None, Some(2), None]
        );
    }

    #[test]
    fn a_plan_of_before_has_the_same_hash() {
        let text = serde_json::to_string(&suite()).unwrap();
        for field in ["\"dimension\"", "\"workers\"", "\"work_ns\""] {
            assert!(!text.contains(field), "{text}");
        }
    }

    #[test]
    fn more_workers_than_cpus_are_oversubscribed_only_where_workers_are_compared() {
        let suite = workers();
        let pairs = suite.pairs_of_round(1);
        let of = |label: &str| {
            let pair = pairs.iter().find(|pair| pair.label() == label).unwrap();
            let mut trial = Measurement::default();
            trial.plan.placement.server_cpus = vec![0];
            is_oversubscribed(pair, &trial)
        };
        assert_eq!(
            [of("event-epoll (1 worker)"), of("event-epoll (2 workers)"), of("fork")],
            [false, true, false]
        );
    }
}
