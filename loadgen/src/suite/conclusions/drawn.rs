//! What the records say about each conclusion: for every target its figures over the rounds, and what a neighbour made of them. Pure.
//!
//! A figure is the geometric mean of those of the rounds in which it stands, a ratio that of each round's own; the interval is
//! Student's of their logs (95 %), for each cell on its own, from as many rounds on as a claim needs.

use super::{ALONE, BESIDE_WORK, CHURN, CHURN_PACED, ISOLATION, switching_clients};
use crate::measurement::store::Stored;
use crate::quantity::{
    BESIDE_BYTES_PER_S, BESIDE_MESSAGES_PER_S, CLIENTS_LOST, CONNECTIONS_PER_S, CPU_PER_CONNECTION,
    MEMORY_KERNEL_PER_CONNECTION, MEMORY_PER_CONNECTION, MESSAGES_PER_S, PROCESSES, Quantity, RESPONSE_P50,
    RESPONSE_P99, SERVED_AGAIN, SWITCHES_PER_MESSAGE, THREADS,
};
use crate::record::{Isolation, Measurement, Workload};
use crate::suite::findings::Trials;
use crate::suite::fit::{ROUNDS_FOR_A_CLAIM, student};
use crate::suite::matrix::{Pair, Suite};
use crate::suite::neighbour::BESIDE_GREEDY;
use crate::suite::results::{pair_of, why_not};
use crate::units::len_f64;
use echo_contract::catalog;
use statrs::distribution::ContinuousCDF as _;
use std::collections::BTreeMap;

/// What is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// What a crash takes with it.
    Isolation,
    /// One client whose requests cost, and the others.
    Work,
    /// What a connection costs to make.
    Creation,
    /// What a silent client takes.
    Memory,
    /// Switching between clients.
    Switching,
    /// One client without pauses, and the others.
    Neighbour,
}

/// A claim and what was measured of it.
#[derive(Clone, Debug)]
pub struct Conclusion {
    pub claim: Claim,
    pub columns: Vec<Column>,
    /// In the order of the suite's targets.
    pub lines: Vec<Line>,
}

/// What is in a column.
#[derive(Clone, Debug)]
pub struct Column {
    pub quantity: Quantity,
    /// The workload that it is of; of a ratio the one above the line.
    pub workload: Workload,
    /// Of a ratio the workload below the line.
    pub over: Option<Workload>,
}

/// A target.
#[derive(Clone, Debug)]
pub struct Line {
    pub target: String,
    /// `fork`, `thread` or `event`; None where nobody said it.
    pub model: Option<String>,
    /// One for each column.
    pub cells: Vec<Cell>,
    /// Why a cell is empty, one sentence for each workload.
    pub missing: Vec<String>,
}

/// A figure of a target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell {
    Known(Known),
    /// It did not come, in any round: the server was gone.
    NeverServerGone,
    /// It did not come within this many milliseconds, in any round, though the server was there.
    NotWithinMs(u64),
    Missing,
}

/// A figure over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    pub figure: f64,
    /// 95 % interval; None below five rounds, and where each round has the same.
    pub interval: Option<(f64, f64)>,
    pub rounds: usize,
}

impl Cell {
    #[must_use]
    pub fn known(&self) -> Option<Known> {
        match self {
            Self::Known(known) => Some(*known),
            _ => None,
        }
    }
}

/// Every conclusion that the suite's workloads can tell; empty for a suite that has none of them.
#[must_use]
pub fn of(suite: &Suite, stored: &[Stored]) -> Vec<Conclusion> {
    let claims = [
        (Claim::Neighbour, beside(suite, BESIDE_GREEDY, BESIDE_BYTES_PER_S)),
        (Claim::Isolation, isolation(suite)),
        (Claim::Work, beside(suite, BESIDE_WORK, BESIDE_MESSAGES_PER_S)),
        (Claim::Creation, creation(suite)),
        (Claim::Memory, memory(suite)),
        (Claim::Switching, switching(suite)),
    ];
    if claims.iter().all(|(_, columns)| columns.is_empty()) {
        return Vec::new();
    }
    let records = Records {
        suite,
        stored,
        trials: Trials::of(stored),
    };
    let told = claims.into_iter().filter(|(_, columns)| !columns.is_empty());
    told.map(|(claim, columns)| Conclusion {
        claim,
        lines: suite
            .all_targets()
            .map(|target| records.line(target, &columns))
            .collect(),
        columns,
    })
    .collect()
}

/// Of these quantities under a workload; nothing where the suite does not have it.
fn columns(suite: &Suite, workload: &str, quantities: &[Quantity]) -> Vec<Column> {
    let Some(workload) = own(suite, workload) else {
        return Vec::new();
    };
    let column = |quantity: &Quantity| Column {
        quantity: *quantity,
        workload: workload.clone(),
        over: None,
    };
    quantities.iter().map(column).collect()
}

/// A workload of this name. Only of the suites whose workload it is: any other may have one of the same name.
fn own<'a>(suite: &'a Suite, workload: &str) -> Option<&'a Workload> {
    let is_ours = [super::NAME, crate::suite::neighbour::NAME].contains(&suite.name.as_str());
    suite.workload(workload).filter(|_| is_ours)
}

fn isolation(suite: &Suite) -> Vec<Column> {
    columns(suite, ISOLATION, &[CLIENTS_LOST, SERVED_AGAIN])
}

/// Percentiles of the others alone, beside somebody, and the ratio.
fn beside(suite: &Suite, workload: &str, of_neighbour: Quantity) -> Vec<Column> {
    let (Some(alone), Some(with)) = (own(suite, ALONE), own(suite, workload)) else {
        return Vec::new();
    };
    let column = |quantity, workload: &Workload, over: Option<&Workload>| Column {
        quantity,
        workload: workload.clone(),
        over: over.cloned(),
    };
    let of = |quantity| {
        [
            column(quantity, alone, None),
            column(quantity, with, None),
            column(quantity, with, Some(alone)),
        ]
    };
    let mut columns: Vec<Column> = [RESPONSE_P50, RESPONSE_P99].into_iter().flat_map(of).collect();
    columns.push(column(of_neighbour, with, None));
    columns
}

fn creation(suite: &Suite) -> Vec<Column> {
    let mut found = columns(suite, CHURN, &[CPU_PER_CONNECTION, CONNECTIONS_PER_S]);
    found.extend(columns(suite, CHURN_PACED, &[CPU_PER_CONNECTION, RESPONSE_P50]));
    found
}

/// With as many clients as the crash has, where there are so many.
fn memory(suite: &Suite) -> Vec<Column> {
    let crowd = own(suite, ISOLATION).map(|workload| workload.clients);
    let mut switching = suite
        .workloads
        .iter()
        .filter(|workload| switching_clients(workload) == crowd);
    let workload = crowd.and_then(|_| switching.next());
    let quantities = [MEMORY_PER_CONNECTION, MEMORY_KERNEL_PER_CONNECTION, PROCESSES, THREADS];
    workload.map_or_else(Vec::new, |workload| columns(suite, &workload.name, &quantities))
}

fn switching(suite: &Suite) -> Vec<Column> {
    let workloads: Vec<&Workload> = suite
        .workloads
        .iter()
        .filter(|one| switching_clients(one).is_some())
        .collect();
    let of = |quantity: Quantity| {
        workloads
            .iter()
            .flat_map(move |one| columns(suite, &one.name, &[quantity]))
    };
    of(SWITCHES_PER_MESSAGE).chain(of(MESSAGES_PER_S)).collect()
}

struct Records<'a> {
    suite: &'a Suite,
    stored: &'a [Stored],
    trials: Trials<'a>,
}

impl Records<'_> {
    fn line(&self, target: &str, columns: &[Column]) -> Line {
        let external = self.suite.external(target).map(|external| external.model);
        let model = catalog::find(target).map(|row| row.model.as_str().to_string());
        let cells: Vec<Cell> = columns.iter().map(|column| self.cell(target, column)).collect();
        let mut missing: Vec<String> = Vec::new();
        for (column, _) in columns.iter().zip(&cells).filter(|(_, cell)| **cell == Cell::Missing) {
            let workloads = column.over.iter().chain([&column.workload]);
            let why = workloads.filter_map(|workload| self.why_missing(target, workload, column));
            for sentence in why {
                if !missing.contains(&sentence) {
                    missing.push(sentence);
                }
            }
        }
        Line {
            target: target.to_string(),
            model: model.or(external.map(|model| model.as_str().to_string())),
            cells,
            missing,
        }
    }

    fn cell(&self, target: &str, column: &Column) -> Cell {
        let above = self.of_rounds(target, &column.workload, &column.quantity);
        let figures: Vec<f64> = match &column.over {
            None => above.into_values().collect(),
            Some(over) => {
                let below = self.of_rounds(target, over, &column.quantity);
                let both = above
                    .iter()
                    .filter_map(|(round, figure)| Some(figure / below.get(round)?));
                both.collect()
            }
        };
        match known(&figures) {
            Some(known) => Cell::Known(known),
            None if column.quantity.name == SERVED_AGAIN.name => self.not_served(target, &column.workload),
            None => Cell::Missing,
        }
    }

    /// The figure of each round in which it stands.
    fn of_rounds(&self, target: &str, workload: &Workload, quantity: &Quantity) -> BTreeMap<u32, f64> {
        let cells = self
            .trials
            .cells(&pair(target, workload), 0, quantity.kind(), &|trial| quantity.of(trial));
        cells.into_iter().map(|cell| (cell.round, cell.figure)).collect()
    }

    fn of_pair(&self, target: &str, workload: &Workload) -> impl DoubleEndedIterator<Item = &Measurement> {
        let wanted = pair(target, workload);
        let trials = self.stored.iter().map(|stored| &stored.measurement);
        trials.filter(move |trial| pair_of(trial) == wanted)
    }

    /// Why no new client was served in any round.
    fn not_served(&self, target: &str, workload: &Workload) -> Cell {
        let crashes: Vec<&Isolation> = (self.of_pair(target, workload))
            .filter(|trial| trial.complete)
            .map(|trial| &trial.isolation)
            .collect();
        let patience_ms = crashes.iter().filter_map(|crash| crash.patience_ms).max();
        match patience_ms {
            _ if crashes.is_empty() => Cell::Missing,
            _ if crashes.iter().all(|crash| crash.server_is_gone == Some(true)) => Cell::NeverServerGone,
            Some(patience_ms) => Cell::NotWithinMs(patience_ms),
            None => Cell::Missing,
        }
    }

    /// Why there is no figure, from the last trial.
    fn why_missing(&self, target: &str, workload: &Workload, column: &Column) -> Option<String> {
        let kind = column.quantity.kind();
        let Some(trial) = self.of_pair(target, workload).next_back() else {
            return Some(format!("{target} under {}: not yet run", workload.name));
        };
        let void = trial
            .reasons
            .iter()
            .find(|reason| reason.voids(kind))
            .map(|reason| reason.text.clone());
        let why = void.or_else(|| why_not(trial).into_iter().next());
        let why = match (why, column.quantity.of(trial)) {
            (Some(why), _) => why,
            (None, Some(_)) if column.over.is_none() => "its CPUs were far from each other".to_string(),
            (None, Some(_)) => return None,
            (None, None) => format!(
                "no {}: its trials have too few samples, or it could not be read",
                column.quantity.title()
            ),
        };
        Some(format!("{target} under {}: {why}", workload.name))
    }
}

fn pair(target: &str, workload: &Workload) -> Pair {
    Pair {
        target: target.to_string(),
        workload: workload.name.clone(),
        control: false,
        at: None,
    }
}

/// The geometric mean and its interval; of figures that may be 0 the mean, without one.
fn known(figures: &[f64]) -> Option<Known> {
    let rounds = figures.len();
    if rounds == 0 || figures.iter().any(|figure| !figure.is_finite()) {
        return None;
    }
    if figures.iter().any(|figure| *figure <= 0.0) {
        return Some(Known {
            figure: figures.iter().sum::<f64>() / len_f64(rounds),
            interval: None,
            rounds,
        });
    }
    let logs: Vec<f64> = figures.iter().map(|figure| figure.ln()).collect();
    let mean = logs.iter().sum::<f64>() / len_f64(rounds);
    let squares: f64 = logs.iter().map(|log| (log - mean).powi(2)).sum();
    let half = (rounds >= ROUNDS_FOR_A_CLAIM && squares > 0.0).then(|| {
        let freedom = len_f64(rounds - 1);
        let error = (squares / freedom / len_f64(rounds)).sqrt();
        student(freedom).map(|student| student.inverse_cdf(0.975) * error)
    });
    Some(Known {
        figure: mean.exp(),
        interval: half.flatten().map(|half| ((mean - half).exp(), (mean + half).exp())),
        rounds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_needs_five_rounds_and_a_spread() {
        assert_eq!(known(&[]), None);
        let same = known(&[3.0; 6]).unwrap();
        assert!((same.figure - 3.0).abs() < 1e-9);
        assert_eq!((same.interval, same.rounds), (None, 6));
        assert_eq!(known(&[1.0, 2.0, 4.0, 2.0]).unwrap().interval, None);
    }

    #[test]
    fn the_interval_is_students_of_the_logs() {
        // Logs -2, -1, 0, 1, 2: mean 0, deviation 1.5811, error 0.70711, t(4) 2.77645.
        let figures: Vec<f64> = [-2.0_f64, -1.0, 0.0, 1.0, 2.0].iter().map(|log| log.exp()).collect();
        let found = known(&figures).unwrap();
        let (low, high) = found.interval.unwrap();
        assert!((found.figure - 1.0).abs() < 1e-12);
        assert!(
            (high.ln() - 1.96324).abs() < 1e-4 && (low.ln() + 1.96324).abs() < 1e-4,
            "{low} {high}"
        );
    }

    #[test]
    fn what_may_be_nothing_has_a_mean_and_no_logs() {
        assert_eq!(known(&[0.0, 1.0]).unwrap().figure, 0.5);
    }
}
