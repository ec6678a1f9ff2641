//! Records of a suite become rows: one per target and workload, with what may be said about their differences.
//!
//! Only figures that stand are shown. Where no trial of a row stands at all, its complete trials are shown, marked, and never
//! compared: a reader on a busy machine should see what was measured and why not to believe it.

mod rows;
mod void;

pub use rows::{Point, Row, label_of};
pub use void::void_cells;

use crate::failure::Failure;
use crate::measurement::store::Stored;
use crate::record::{At, Figure, Incomplete, Measurement, NetworkKind, Reason};
use crate::suite::conclusions::drawn::{self, Conclusion};
use crate::suite::findings::Findings;
use crate::suite::matrix::{Pair, Suite};
use crate::suite::nearness::{Nearness, distance_ns};
use crate::suite::together::Together;
use crate::validity::gates::was_not_to_be_measured;
use echo_contract::catalog;
use std::collections::BTreeMap;

/// All that the tables of a suite say.
#[derive(Clone, Debug)]
pub struct Results {
    /// In table order: by workload, then by target, the control last.
    pub rows: Vec<Row>,
    /// What may be said about the differences.
    pub findings: Findings,
    /// What the suite was made to show, where it is one of those; else empty.
    pub conclusions: Vec<Conclusion>,
    /// Rounds of all targets in which every pair has at least one trial.
    pub rounds_done: u32,
    pub rounds_max: u32,
    pub trials: usize,
    /// Why system calls were not counted: the target and the reason.
    pub not_counted: Vec<(String, String)>,
    /// Trials of which some figure is void, in the order of their files.
    pub invalid: Vec<InvalidTrial>,
    /// Trials whose CPUs were far from each other.
    pub far: Vec<FarTrial>,
}

/// A trial whose figures are not used because its CPUs were far from each other.
#[derive(Clone, Debug)]
pub struct FarTrial {
    pub file: String,
    pub target: String,
    pub workload: String,
    pub round: u32,
    pub distance_ns: f64,
}

/// A trial of which some figure is not used, and why.
#[derive(Clone, Debug)]
pub struct InvalidTrial {
    pub file: String,
    pub round: u32,
    pub target: String,
    pub workload: String,
    pub attempt: u32,
    /// One sentence each.
    pub reasons: Vec<String>,
    /// The gates it did not pass, as recorded.
    pub gates: Vec<Reason>,
}

impl Results {
    #[must_use]
    pub fn of(suite: &Suite, stored: &[Stored]) -> Self {
        let trials = by_pair(stored);
        let nearness = Nearness::of(stored);
        let together = Together::of(&trials, &nearness);
        let counted = counted_syscalls(suite, stored);
        let mut rows = Vec::new();
        for workload in &suite.workloads {
            let pair = |(target, at): (&String, Option<At>)| Pair {
                target: target.clone(),
                workload: workload.name.clone(),
                control: false,
                at,
            };
            for pair in suite.rows().map(pair).chain(suite.control_of(&workload.name)) {
                let of_pair = trials.get(&pair).map_or(&[][..], Vec::as_slice);
                // The control visits one workload per round: where it has not been, it is not missing.
                if !(pair.control && of_pair.is_empty()) {
                    let mut row = Row::of(&pair, of_pair, &nearness, &together);
                    row.syscalls_per_message = counted.get(&pair.target).cloned().unwrap_or_default();
                    rows.push(row);
                }
            }
        }
        Self {
            findings: Findings::of(suite, stored),
            conclusions: drawn::of(suite, stored),
            rounds_done: rounds_done(suite, &trials),
            rounds_max: suite.whole_rounds_max(),
            // What was never begun has a row, but is no trial that went wrong.
            trials: stored.iter().filter(|stored| is_timed(stored)).count(),
            invalid: stored
                .iter()
                .filter(|stored| {
                    is_timed(stored) && !(stored.measurement.complete && stored.measurement.reasons.is_empty())
                })
                .map(invalid)
                .collect(),
            far: stored
                .iter()
                .filter(|stored| is_timed(stored) && nearness.is_far(&stored.measurement))
                .filter_map(far)
                .collect(),
            not_counted: why_not_counted(stored),
            rows,
        }
    }

    /// The rows of one workload.
    pub fn of_workload<'a>(&'a self, workload: &'a str) -> impl Iterator<Item = &'a Row> {
        self.rows.iter().filter(move |row| row.workload == workload)
    }

    /// What made trials invalid, commonest first: the gate, in how many trials, and its worst text.
    #[must_use]
    pub fn invalid_by_gate(&self) -> Vec<(&str, usize, &str)> {
        let mut found: Vec<(&Reason, usize)> = Vec::new();
        for reason in self.invalid.iter().flat_map(|trial| &trial.gates) {
            match found.iter_mut().find(|(known, _)| known.gate == reason.gate) {
                Some((worst, trials)) => {
                    *trials += 1;
                    if reason.observed > worst.observed {
                        *worst = reason;
                    }
                }
                None => found.push((reason, 1)),
            }
        }
        found.sort_by_key(|(_, trials)| std::cmp::Reverse(*trials));
        found
            .into_iter()
            .map(|(worst, trials)| (worst.gate.as_str(), trials, worst.text.as_str()))
            .collect()
    }

    /// Whether some round of all targets, and one of each that was added, has a valid trial of every target under every workload
    /// that it can do. A warning row, which breaks the contract by its nature, may be invalid.
    #[must_use]
    pub fn has_whole_valid_round(&self, suite: &Suite, stored: &[Stored]) -> bool {
        let trials = by_pair(stored);
        let is_whole = |round: &u32| {
            suite
                .pairs_of_round(*round)
                .iter()
                .filter(|pair| !pair.control && suite.is_measurable(pair) && !is_warning(&pair.target))
                .all(|pair| {
                    let mut of_pair = trials.get(pair).into_iter().flatten();
                    // A server of the user's own whose tool is missing here has a row that says so.
                    let is_external = suite.external(&pair.target).is_some();
                    let is_done = |trial: &Measurement| usable(trial) || is_external && was_not_to_be_measured(trial);
                    of_pair.any(|trial| is_done(trial) && round_of(trial) == *round)
                })
        };
        let whole: Vec<u32> = (1..=last_round(&trials)).filter(is_whole).collect();
        let has = |addition| whole.iter().any(|round| suite.addition_of(*round) == addition);
        has(None) && suite.additions.iter().all(|addition| has(Some(addition)))
    }
}

/// Refuses a suite whose records were not all measured the same way; see [`Suite::check_one_mode`].
///
/// # Errors
/// A usage failure that names an open and a closed workload.
pub fn check_one_mode(suite: &Suite, stored: &[Stored]) -> Result<(), Failure> {
    // System calls are counted in closed loops; no time of theirs stands in a table.
    let timed = stored.iter().filter(|stored| !stored.measurement.plan.counting);
    suite
        .check_one_mode(timed.map(|stored| &stored.measurement.plan.workload))
        .map_err(Failure::usage)
}

/// Refuses records of different networks: what the host's costs (connection tracking alone 14 % of a rate) is no server's doing.
///
/// # Errors
/// A usage failure that names a record of each.
pub fn check_one_network(stored: &[Stored]) -> Result<(), Failure> {
    let of_kind = |kind: NetworkKind| {
        let mut stored = stored.iter();
        stored.find(|stored| network_of(&stored.measurement) == Some(kind))
    };
    match (of_kind(NetworkKind::Private), of_kind(NetworkKind::Host)) {
        (Some(private), Some(host)) => Err(Failure::usage(format!(
            "{} was measured in a private network and {} on the host's: their figures may not share a table. Compare them in \
             two runs",
            private.file, host.file
        ))),
        _ => Ok(()),
    }
}

/// The network that a trial ran in; none for one that could not begin. Before there were private ones it was the host's.
#[must_use]
pub fn network_of(trial: &Measurement) -> Option<NetworkKind> {
    let environment = &trial.environment;
    let told = environment.network.as_ref().map(|network| network.kind);
    told.or(environment.kernel.as_ref().map(|_| NetworkKind::Host))
}

fn is_warning(target: &str) -> bool {
    catalog::find(target).is_some_and(|row| row.may_starve)
}

/// The pair that a record belongs to.
#[must_use]
pub fn pair_of(measurement: &Measurement) -> Pair {
    let place = measurement.identity.suite.as_ref();
    Pair {
        target: measurement.plan.target.clone(),
        workload: measurement.workload.clone(),
        control: place.is_some_and(|place| place.control),
        at: place.and_then(|place| place.at),
    }
}

/// The round that a record belongs to; 0 for a record of no suite.
#[must_use]
pub fn round_of(measurement: &Measurement) -> u32 {
    measurement.identity.suite.as_ref().map_or(0, |place| place.round)
}

/// Whether the trial counts: what the server itself cost stands. Its rates and percentiles may not.
#[must_use]
pub fn usable(measurement: &Measurement) -> bool {
    measurement.stands(Figure::Capacity)
}

type Trials<'a> = BTreeMap<Pair, Vec<&'a Measurement>>;

fn by_pair(stored: &[Stored]) -> Trials<'_> {
    let mut trials = Trials::new();
    for Stored { measurement, .. } in stored.iter().filter(|stored| !stored.measurement.plan.counting) {
        trials.entry(pair_of(measurement)).or_default().push(measurement);
    }
    trials
}

fn rounds_done(suite: &Suite, trials: &Trials<'_>) -> u32 {
    let done = |round: &u32| {
        suite.pairs_of_round(*round).iter().all(|pair| {
            trials
                .get(pair)
                .is_some_and(|trials| trials.iter().any(|trial| round_of(trial) == *round))
        })
    };
    let of_all = |round: &u32| suite.addition_of(*round).is_none();
    let rounds = (1..=last_round(trials)).filter(of_all).filter(done);
    u32::try_from(rounds.count()).unwrap_or(u32::MAX)
}

fn last_round(trials: &Trials<'_>) -> u32 {
    let rounds = trials.values().flatten().map(|trial| round_of(trial));
    rounds.max().unwrap_or(0)
}

/// Why a trial is not used, one sentence each.
#[must_use]
pub fn why_not(trial: &Measurement) -> Vec<String> {
    let incomplete = (!trial.complete && !was_not_to_be_measured(trial)).then(|| {
        let reason = (trial.incomplete_reason.as_ref()).map_or("no reason was recorded", Incomplete::as_str);
        format!("incomplete: {reason}")
    });
    incomplete
        .into_iter()
        // The gate says the same of an incomplete trial in other words.
        .chain(
            trial
                .reasons
                .iter()
                .filter(|reason| reason.gate != "incomplete")
                .map(|reason| reason.text.clone()),
        )
        .collect()
}

/// Whether it is a trial that was begun, and no counting one.
fn is_timed(stored: &Stored) -> bool {
    !was_not_to_be_measured(&stored.measurement) && !stored.measurement.plan.counting
}

/// System calls per message of each target, in the order of the suite's counting workloads; a target without any
/// counting trial is not there.
fn counted_syscalls(suite: &Suite, stored: &[Stored]) -> BTreeMap<String, Vec<(u32, Option<f64>)>> {
    let mut counted: BTreeMap<String, Vec<(u32, Option<f64>)>> = BTreeMap::new();
    for pair in suite.counting_pairs() {
        let of_pair = |stored: &&Stored| stored.measurement.plan.counting && pair_of(&stored.measurement) == pair;
        let Some(Stored { measurement, .. }) = stored.iter().rfind(of_pair) else {
            continue;
        };
        let calls = measurement
            .server_cost
            .syscalls_per_message
            .filter(|_| usable(measurement));
        let clients = measurement.plan.workload.clients;
        counted.entry(pair.target).or_default().push((clients, calls));
    }
    counted
}

fn why_not_counted(stored: &[Stored]) -> Vec<(String, String)> {
    let mut reasons: Vec<(String, String)> = Vec::new();
    for trial in stored.iter().map(|stored| &stored.measurement) {
        let is_missing = trial.server_cost.syscalls_per_message.is_none() || !usable(trial);
        let is_told = reasons.iter().any(|(target, _)| *target == trial.plan.target);
        if trial.plan.counting && is_missing && !is_told {
            let reason = why_not(trial)
                .into_iter()
                .next()
                .unwrap_or_else(|| trial.server_cost.syscalls_method.clone());
            reasons.push((trial.plan.target.clone(), reason));
        }
    }
    reasons
}

fn far(stored: &Stored) -> Option<FarTrial> {
    let trial = &stored.measurement;
    Some(FarTrial {
        file: stored.file.clone(),
        target: label_of(&pair_of(trial), &[trial]),
        workload: trial.workload.clone(),
        round: round_of(trial),
        distance_ns: distance_ns(trial)?,
    })
}

fn invalid(stored: &Stored) -> InvalidTrial {
    let trial = &stored.measurement;
    InvalidTrial {
        file: stored.file.clone(),
        round: round_of(trial),
        target: label_of(&pair_of(trial), &[trial]),
        workload: trial.workload.clone(),
        attempt: trial.identity.suite.as_ref().map_or(1, |place| place.attempt),
        reasons: why_not(trial),
        gates: trial.reasons.clone(),
    }
}
