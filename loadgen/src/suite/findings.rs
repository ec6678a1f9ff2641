//! What a comparison found: for each workload and quantity the level of every target, every pair with its interval, and
//! letters. Stored as `findings.json`, from which reports, `diff` and other programs read. Pure.
//!
//! Only figures that stand enter (see `record::gate`), and only those of trials whose CPUs were near each other (see
//! [`super::nearness`]), and only what they do not void together (see [`super::together`]). Several tries of one round count once, as the first that serves.

use super::dimension::is_oversubscribed;
use super::fit::{Cell, Comparison, Fit, ROUNDS_FOR_A_CLAIM};
pub use super::judged::Judged;
use super::letters::letters;
use super::matrix::{Pair, Suite};
use super::nearness::{Nearness, distance_ns, timed};
use super::results::{pair_of, round_of};
use super::together::Together;
use crate::measurement::store::Stored;
use crate::record::{At, CpuDistance, ExternalModel, Figure, Measurement, NetworkKind, SCHEMA_VERSION, Workload};
use crate::units::len_f64;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Not;

/// The ratio of which every table says how many rounds would show it.
const WORTH_SHOWING: f64 = 1.05;

/// All that a comparison found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    pub schema_version: String,
    pub trials: Tally,
    /// In the order of the suite's workloads, capacity first.
    pub tables: Vec<Table>,
}

/// How many timed trials there are, and of how many which figures stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    pub run: usize,
    pub capacity_stands: usize,
    pub rates_stand: usize,
    pub percentiles_stand: usize,
    /// Trials that had a network of their own.
    #[serde(default)]
    pub in_private_network: usize,
    /// Trials in which a cache line took longer than [`Tally::near_limit_ns`]; their figures enter no claim.
    pub far: usize,
    /// None where no distance was measured: then all count as near.
    pub near_limit_ns: Option<f64>,
    /// Whether trials beyond it were used all the same, because too few rounds were near.
    #[serde(default)]
    pub far_are_used: bool,
    /// Smallest and largest distance, in nanoseconds.
    pub distance_ns: Option<(f64, f64)>,
}

/// One quantity under one workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    pub workload: String,
    pub open_loop: bool,
    pub quantity: Judged,
    /// Best first; targets without a level last, in the order of the suite.
    pub targets: Vec<Target>,
    /// Every pair of targets, the better one left.
    pub pairs: Vec<Pairing>,
    /// The A/A control against itself; its `p_value_alone` is the one to look at.
    pub control: Option<Pairing>,
    /// Smallest ratio that would have been claimed with 80 % probability between any two targets that are not told apart.
    pub would_have_shown: Option<f64>,
    /// Rounds more that would show a ratio of 1.05 between any of them.
    pub more_rounds_to_show_5_percent: Option<usize>,
}

/// A target in a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    pub target: String,
    /// Its figure in an average round (geometric mean); None where too few trials stand.
    pub level: Option<f64>,
    /// Two targets share a letter exactly when no difference is claimed; empty without a level.
    pub letters: String,
    /// Rounds with a figure that stands.
    pub rounds: usize,
    /// Standard deviation of what remains of its logs.
    pub residual_deviation: Option<f64>,
    /// 95 % interval of the level on its own; None where it has no deviation. Two targets are compared by their pair.
    #[serde(default)]
    pub interval: Option<(f64, f64)>,
    /// The value of the comparison's dimension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<At>,
    /// Whether it had more workers than CPUs where numbers of workers are compared: nothing is claimed about it then.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub oversubscribed: bool,
    /// The model that a server which is not of the catalog was declared to be of; none of the catalog's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared_model: Option<ExternalModel>,
}

/// Two targets and what is known of their ratio.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pairing {
    pub left: String,
    pub right: String,
    #[serde(flatten)]
    pub comparison: Comparison,
    /// Rounds more that would show a ratio of 1.05 with 80 % probability; 0 where these would, null where no number would.
    #[serde(default)]
    pub more_rounds_to_show_5_percent: Option<usize>,
}

impl Findings {
    #[must_use]
    pub fn of(suite: &Suite, stored: &[Stored]) -> Self {
        let trials = Trials::of(stored);
        let tables = suite.workloads.iter().flat_map(|workload| {
            let of = Judged::of(workload).iter();
            of.map(|quantity| trials.table(suite, workload, *quantity))
                .collect::<Vec<_>>()
        });
        Self {
            schema_version: SCHEMA_VERSION.to_string(),
            tables: tables.collect(),
            trials: trials.tally(),
        }
    }

    #[must_use]
    pub fn table(&self, workload: &str, quantity: Judged) -> Option<&Table> {
        let mut tables = self.tables.iter();
        tables.find(|table| table.workload == workload && table.quantity == quantity)
    }
}

impl Table {
    /// The pairing of two targets, whichever is left.
    #[must_use]
    pub fn pair(&self, one: &str, other: &str) -> Option<&Pairing> {
        let is_both =
            |pair: &&Pairing| (pair.left == one && pair.right == other) || (pair.left == other && pair.right == one);
        self.pairs.iter().find(is_both)
    }

    /// The figure of one over that of the other, whichever is left in the table.
    #[must_use]
    pub fn ratio(&self, one: &str, other: &str) -> Option<Comparison> {
        let pair = self.pair(one, other)?;
        let is_upright = pair.left == one;
        Some(if is_upright {
            pair.comparison
        } else {
            pair.comparison.turned()
        })
    }
}

fn is_private(trial: &Measurement) -> bool {
    let network = trial.environment.network.as_ref();
    network.is_some_and(|network| network.kind == NetworkKind::Private)
}

/// The timed trials of a comparison by pair.
pub(super) struct Trials<'a> {
    by_pair: BTreeMap<Pair, Vec<&'a Measurement>>,
    nearness: Nearness,
    together: Together,
}

/// One quantity under one workload, targets and rounds told apart.
pub(super) struct Fitted {
    /// The targets, and behind them the A/A control.
    pub(super) rows: Vec<Pair>,
    /// Of each row.
    pub(super) cells: Vec<Vec<Cell>>,
    /// Whether a row had more workers than CPUs; it has no part in the fit, so that nothing is claimed about it.
    pub(super) oversubscribed: Vec<bool>,
    pub(super) fit: Fit,
}

impl Fitted {
    /// The figure of a row in an average round; the mean where there are too few rounds for a fit.
    pub(super) fn level(&self, row: usize) -> Option<f64> {
        let fitted = self.fit.level(row).map(|level| level.figure);
        fitted.or_else(|| mean(&self.cells[row]))
    }

    /// The pairs that more rounds might tell apart: of targets with rounds enough for a claim.
    fn open_among<'p>(&self, pairs: &'p [PairOfRows]) -> impl Iterator<Item = &'p Pairing> {
        let has_enough = |row: usize| self.cells[row].len() >= ROUNDS_FOR_A_CLAIM;
        let open = pairs.iter().filter(|pair| !pair.pairing.comparison.claimed);
        open.filter(move |pair| has_enough(pair.left) && has_enough(pair.right))
            .map(|pair| &pair.pairing)
    }
}

/// Two rows that were compared.
struct PairOfRows {
    left: usize,
    right: usize,
    pairing: Pairing,
}

impl<'a> Trials<'a> {
    pub(super) fn of(stored: &'a [Stored]) -> Self {
        let mut by_pair: BTreeMap<Pair, Vec<&Measurement>> = BTreeMap::new();
        for trial in timed(stored) {
            by_pair.entry(pair_of(trial)).or_default().push(trial);
        }
        let nearness = Nearness::of(stored);
        Self {
            together: Together::of(&by_pair, &nearness),
            by_pair,
            nearness,
        }
    }

    fn tally(&self) -> Tally {
        let all = || self.by_pair.values().flatten();
        let standing = |figure| {
            let together = |pair: &&Pair| !self.together.voids(pair, figure);
            let pairs = self.by_pair.iter().filter(|(pair, _)| together(pair));
            pairs
                .flat_map(|(_, trials)| trials)
                .filter(|trial| trial.stands(figure))
                .count()
        };
        let distances = || all().filter_map(|trial| distance_ns(trial));
        Tally {
            run: all().count(),
            capacity_stands: standing(Figure::Capacity),
            rates_stand: standing(Figure::Rates),
            percentiles_stand: standing(Figure::Percentiles),
            in_private_network: all().filter(|trial| is_private(trial)).count(),
            far: all().filter(|trial| self.nearness.is_far(trial)).count(),
            near_limit_ns: self.nearness.limit_ns(),
            far_are_used: self.nearness.far_are_used(),
            distance_ns: distances().reduce(f64::min).zip(distances().reduce(f64::max)),
        }
    }

    /// The figure of a pair in each round that has one.
    pub(super) fn cells(
        &self,
        pair: &Pair,
        target: usize,
        kind: Figure,
        read: &dyn Fn(&Measurement) -> Option<f64>,
    ) -> Vec<Cell> {
        let mut of_round = BTreeMap::new();
        for trial in self.by_pair.get(pair).into_iter().flatten() {
            let serves = trial.stands(kind) && self.nearness.is_used(trial) && !self.together.voids(pair, kind);
            if let Some(figure) = read(trial).filter(|_| serves) {
                let round_trip_ns = trial.cpu_distance.as_ref().and_then(CpuDistance::round_trip_cpu_ns);
                of_round.entry(round_of(trial)).or_insert((figure, round_trip_ns));
            }
        }
        let cell = |(round, (figure, round_trip_ns))| Cell {
            target,
            round,
            figure,
            round_trip_ns,
        };
        of_round.into_iter().map(cell).collect()
    }

    fn is_oversubscribed(&self, pair: &Pair) -> bool {
        let mut trials = self.by_pair.get(pair).into_iter().flatten();
        trials.any(|trial| is_oversubscribed(pair, trial))
    }

    pub(super) fn fitted(&self, suite: &Suite, workload: &Workload, quantity: Judged) -> Fitted {
        let rows = rows(suite, workload);
        let cells: Vec<Vec<Cell>> = (0..)
            .zip(&rows)
            .map(|(place, row)| self.cells(row, place, quantity.kind(), &|trial| quantity.read(trial)))
            .collect();
        let oversubscribed: Vec<bool> = rows.iter().map(|row| self.is_oversubscribed(row)).collect();
        let claimable = oversubscribed.iter().zip(&cells).filter(|(over, _)| !**over);
        let claimable: Vec<Cell> = claimable.flat_map(|(_, cells)| cells.iter().copied()).collect();
        let fit = Fit::of(rows.len(), &claimable);
        Fitted {
            rows,
            cells,
            oversubscribed,
            fit,
        }
    }

    fn table(&self, suite: &Suite, workload: &Workload, quantity: Judged) -> Table {
        let fitted = self.fitted(suite, workload, quantity);
        let Fitted { rows, cells, fit, .. } = &fitted;
        let targets = suite.rows().count();
        let oversubscribed = fitted.oversubscribed[..targets].iter().filter(|over| **over).count();
        let family = suite.family().saturating_sub(oversubscribed);
        let compare = |left: usize, right: usize| {
            Some(Pairing {
                left: rows[left].label(),
                right: rows[right].label(),
                comparison: fit.compare(left, right, family)?,
                more_rounds_to_show_5_percent: fit.more_rounds_to_show(left, right, family, WORTH_SHOWING),
            })
        };
        let order = ranked(fit, targets, quantity);
        let pairs = pairs_of(&order, &compare);
        let letters = letters_of(&order, &pairs);
        let without = (0..targets)
            .filter(|place| !order.contains(place))
            .map(|place| (place, String::new()));
        let target = |(place, letters): (usize, String)| Target {
            target: rows[place].label(),
            level: fitted.level(place),
            letters,
            rounds: cells[place].len(),
            residual_deviation: fit.level(place).map(|level| level.residual_deviation),
            interval: fit.interval(place),
            at: rows[place].at,
            oversubscribed: fitted.oversubscribed[place],
            declared_model: suite.external(&rows[place].target).map(|server| server.model),
        };
        let control = suite.control_of(&workload.name).and_then(|control| {
            let is_once = |row: &Pair| row.target == control.target && row.at == control.at;
            compare(rows.iter().position(is_once)?, targets)
        });
        let open_pairs = || fitted.open_among(&pairs);
        let (would_have_shown, more_rounds) = (
            open_pairs()
                .map(|pair| pair.comparison.would_have_shown)
                .reduce(f64::max),
            open_pairs().filter_map(|pair| pair.more_rounds_to_show_5_percent).max(),
        );
        Table {
            workload: workload.name.clone(),
            open_loop: workload.open_loop().is_some(),
            quantity,
            control,
            would_have_shown,
            more_rounds_to_show_5_percent: more_rounds,
            targets: order.iter().copied().zip(letters).chain(without).map(target).collect(),
            pairs: pairs.into_iter().map(|pair| pair.pairing).collect(),
        }
    }
}

/// The targets, and behind them the A/A control.
fn rows(suite: &Suite, workload: &Workload) -> Vec<Pair> {
    let pair = |(target, at): (&String, Option<At>)| Pair {
        target: target.clone(),
        workload: workload.name.clone(),
        control: false,
        at,
    };
    suite.rows().map(pair).chain(suite.control_of(&workload.name)).collect()
}

/// Geometric mean: the level where there are too few rounds for a fit.
fn mean(cells: &[Cell]) -> Option<f64> {
    let logs: f64 = cells.iter().map(|cell| cell.figure.ln()).sum();
    (!cells.is_empty()).then(|| (logs / len_f64(cells.len())).exp())
}

/// The targets that have a level, best first.
fn ranked(fit: &Fit, targets: usize, quantity: Judged) -> Vec<usize> {
    let level = |place: &usize| fit.level(*place).map(|level| level.figure);
    let mut order: Vec<usize> = (0..targets).filter(|place| level(place).is_some()).collect();
    order.sort_by(|a, b| match quantity.more_is_better() {
        true => level(b).partial_cmp(&level(a)).unwrap_or(std::cmp::Ordering::Equal),
        false => level(a).partial_cmp(&level(b)).unwrap_or(std::cmp::Ordering::Equal),
    });
    order
}

fn pairs_of(order: &[usize], compare: &dyn Fn(usize, usize) -> Option<Pairing>) -> Vec<PairOfRows> {
    let of = |left: usize, right: usize| {
        let pairing = compare(left, right)?;
        Some(PairOfRows { left, right, pairing })
    };
    let places = order.iter().enumerate();
    let pairs = places.flat_map(|(place, left)| order[place + 1..].iter().map(|right| (*left, *right)));
    pairs.filter_map(|(left, right)| of(left, right)).collect()
}

/// The letters of the rows in this order.
fn letters_of(order: &[usize], pairs: &[PairOfRows]) -> Vec<String> {
    let claimed = pairs.iter().filter(|pair| pair.pairing.comparison.claimed);
    let claimed: BTreeSet<_> = claimed.map(|pair| (pair.left, pair.right)).collect();
    letters(order.len(), |left, right| {
        claimed.contains(&(order[left], order[right]))
    })
}

/// Whether a table can claim anything yet.
#[must_use]
pub fn has_rounds_enough(table: &Table) -> bool {
    let with_enough = table
        .targets
        .iter()
        .filter(|target| target.rounds >= ROUNDS_FOR_A_CLAIM && !target.oversubscribed);
    with_enough.count() >= 2
}
