//! Cells of targets and rounds as a least-squares problem: the log of each is its target's level plus its round's deviation from the
//! average round. A row of the design has two entries, or one for each round, and so only those are kept. Pure.
//!
//! Where each trial knows how fast the kernel was around it, what follows from that is taken out too (analysis of covariance): one
//! slope for all targets, estimated within targets and rounds, so that no target gains or loses by its luck with the machine.

use super::fit::Cell;
use crate::units::len_f64;
use std::collections::BTreeMap;

/// The cells that tell something about differences, and what each is made of.
pub(super) struct Design {
    pub(super) cells: Vec<Cell>,
    /// In rising order; their columns come first.
    pub(super) targets: Vec<usize>,
    rows: Vec<Row>,
    /// One for each target and for each round but the last: rounds are deviations that add up to nothing.
    columns: usize,
}

/// Fewer degrees of freedom than this, beside targets and rounds, carry no slope of their own.
const FREEDOM_FOR_A_SLOPE: usize = 20;
/// Standard deviation of the logs of round trips within targets and rounds below which there is nothing to see.
const LEAST_SPREAD: f64 = 0.005;

/// The problem solved.
pub(super) struct Solved {
    /// Of each column the weights of all cells' logs that it is made of: (X'X)⁻¹X'.
    pub(super) weights: Vec<Vec<f64>>,
    pub(super) coefficients: Vec<f64>,
    /// What remains of each cell's log.
    pub(super) residuals: Vec<f64>,
    /// What each cell contributes to its own fitted value.
    pub(super) leverage: Vec<f64>,
}

impl Design {
    /// None where fewer than two targets and two rounds are left.
    pub(super) fn of(cells: &[Cell]) -> Option<Self> {
        let cells = comparable(cells);
        let mut targets: Vec<usize> = cells.iter().map(|cell| cell.target).collect();
        targets.sort_unstable();
        targets.dedup();
        let mut rounds: Vec<u32> = cells.iter().map(|cell| cell.round).collect();
        rounds.sort_unstable();
        rounds.dedup();
        (targets.len() > 1 && rounds.len() > 1).then(|| Self {
            rows: cells.iter().map(|cell| row(cell, &targets, &rounds)).collect(),
            columns: targets.len() + rounds.len() - 1,
            cells,
            targets,
        })
    }

    /// None for two groups of targets that never met in a round.
    pub(super) fn solve(&self) -> Option<Solved> {
        let inverse = inverse(&normal_matrix(&self.rows, self.columns))?;
        let logs: Vec<f64> = self.cells.iter().map(|cell| cell.figure.ln()).collect();
        let of_column = |of: &Vec<f64>| self.rows.iter().map(|row| row.dot(of)).collect();
        let weights: Vec<Vec<f64>> = inverse.iter().map(of_column).collect();
        let coefficients: Vec<f64> = weights.iter().map(|of| dot(of, &logs)).collect();
        let residual = |(row, log): (&Row, &f64)| log - row.dot(&coefficients);
        let leverage = |(place, row): (usize, &Row)| {
            let entries = row.0.iter();
            entries.map(|(column, entry)| entry * weights[*column][place]).sum()
        };
        let solved = Solved {
            residuals: self.rows.iter().zip(&logs).map(residual).collect(),
            leverage: self.rows.iter().enumerate().map(leverage).collect(),
            weights,
            coefficients,
        };
        Some(match self.round_trips(&solved) {
            Some(slowness) => solved.without(&slowness, &logs),
            None => solved,
        })
    }

    /// Of each cell the log of its round trip against the average one, and what targets and rounds leave of it. None where a cell
    /// has none, or where there is too little to estimate a slope from.
    fn round_trips(&self, solved: &Solved) -> Option<Slowness> {
        let round_trips = self.cells.iter().map(|cell| cell.round_trip_ns.filter(|ns| *ns > 0.0));
        let mut logs: Vec<f64> = round_trips.map(|ns| ns.map(f64::ln)).collect::<Option<_>>()?;
        let mean = logs.iter().sum::<f64>() / len_f64(logs.len());
        logs.iter_mut().for_each(|log| *log -= mean);
        let coefficients: Vec<f64> = solved.weights.iter().map(|of| dot(of, &logs)).collect();
        let within: Vec<f64> = (self.rows.iter().zip(&logs))
            .map(|(row, log)| log - row.dot(&coefficients))
            .collect();
        let squares = dot(&within, &within);
        let freedom = self.cells.len().checked_sub(self.columns)?;
        let is_enough = freedom >= FREEDOM_FOR_A_SLOPE && squares > LEAST_SPREAD.powi(2) * len_f64(freedom);
        is_enough.then_some(Slowness {
            coefficients,
            within,
            squares,
        })
    }

    /// Of each target the places of its cells.
    pub(super) fn places(&self) -> Vec<(usize, Vec<usize>)> {
        let mut places: Vec<_> = self.targets.iter().map(|&target| (target, Vec::new())).collect();
        for (place, cell) in self.cells.iter().enumerate() {
            let target = self.targets.binary_search(&cell.target).expect("a target of the cells");
            places[target].1.push(place);
        }
        places
    }
}

/// How slow the machine was around each cell, as far as targets and rounds do not explain it.
struct Slowness {
    /// What they explain, column by column.
    coefficients: Vec<f64>,
    within: Vec<f64>,
    /// Sum of squares of these.
    squares: f64,
}

impl Solved {
    /// The same with one column more, the slowness of the machine, by Frisch, Waugh and Lovell: each weight, and so each
    /// coefficient, loses what it owes to it.
    fn without(mut self, slowness: &Slowness, logs: &[f64]) -> Self {
        let Slowness {
            coefficients,
            within,
            squares,
        } = slowness;
        let slope = dot(within, logs) / squares;
        for (weights, owed) in self.weights.iter_mut().zip(coefficients) {
            subtract(weights, owed / squares, within);
        }
        for (coefficient, owed) in self.coefficients.iter_mut().zip(coefficients) {
            *coefficient -= slope * owed;
        }
        subtract(&mut self.residuals, slope, within);
        for (leverage, within) in self.leverage.iter_mut().zip(within) {
            *leverage += within * within / squares;
        }
        self
    }
}

/// Cells of rounds and targets that tell something about differences: taken away until nothing changes.
fn comparable(cells: &[Cell]) -> Vec<Cell> {
    let mut kept: Vec<Cell> = cells
        .iter()
        .copied()
        .filter(|cell| cell.figure > 0.0 && cell.figure.is_finite())
        .collect();
    loop {
        let before = kept.len();
        let of_round = counted(&kept, |cell| cell.round);
        kept.retain(|cell| of_round[&cell.round] > 1);
        let of_target = counted(&kept, |cell| cell.target);
        kept.retain(|cell| of_target[&cell.target] > 1);
        if kept.len() == before {
            return kept;
        }
    }
}

/// How many cells there are of each.
fn counted<K: Ord>(cells: &[Cell], of: impl Fn(&Cell) -> K) -> BTreeMap<K, usize> {
    let mut counted = BTreeMap::new();
    for cell in cells {
        *counted.entry(of(cell)).or_insert(0) += 1;
    }
    counted
}

/// A row of the design by its entries that are not nothing, the column first.
struct Row(Vec<(usize, f64)>);

impl Row {
    fn dot(&self, of: &[f64]) -> f64 {
        self.0.iter().map(|(column, entry)| entry * of[*column]).sum()
    }
}

/// 1 for the cell's target, and the round as a deviation from the average round.
fn row(cell: &Cell, targets: &[usize], rounds: &[u32]) -> Row {
    let last = rounds.len() - 1;
    let round = rounds.binary_search(&cell.round).expect("a round of the cells");
    let target = targets.binary_search(&cell.target).expect("a target of the cells");
    let column_of_round = |round: usize| targets.len() + round;
    let mut entries = vec![(target, 1.0)];
    match round {
        of_last if of_last == last => entries.extend((0..last).map(|round| (column_of_round(round), -1.0))),
        round => entries.push((column_of_round(round), 1.0)),
    }
    Row(entries)
}

fn normal_matrix(design: &[Row], columns: usize) -> Vec<Vec<f64>> {
    let mut matrix = vec![vec![0.0; columns]; columns];
    for row in design {
        for (a, of_a) in &row.0 {
            for (b, of_b) in &row.0 {
                matrix[*a][*b] += of_a * of_b;
            }
        }
    }
    matrix
}

/// The inverse by Gauss and Jordan with partial pivoting; none where the matrix has none. At most some hundred columns.
fn inverse(matrix: &[Vec<f64>]) -> Option<Vec<Vec<f64>>> {
    let size = matrix.len();
    let mut left = matrix.to_vec();
    let mut right: Vec<Vec<f64>> = (0..size)
        .map(|row| (0..size).map(|column| f64::from(u8::from(row == column))).collect())
        .collect();
    for column in 0..size {
        let pivot = (column..size).max_by(|a, b| left[*a][column].abs().total_cmp(&left[*b][column].abs()))?;
        if left[pivot][column].abs() < 1e-9 {
            return None;
        }
        left.swap(column, pivot);
        right.swap(column, pivot);
        let scale = left[column][column];
        left[column]
            .iter_mut()
            .chain(&mut right[column])
            .for_each(|entry| *entry /= scale);
        let (pivot_left, pivot_right) = (left[column].clone(), right[column].clone());
        for row in (0..size).filter(|&row| row != column) {
            let factor = left[row][column];
            subtract(&mut left[row], factor, &pivot_left);
            subtract(&mut right[row], factor, &pivot_right);
        }
    }
    Some(right)
}

fn subtract(row: &mut [f64], factor: f64, of: &[f64]) {
    row.iter_mut()
        .zip(of)
        .for_each(|(entry, other)| *entry -= factor * other);
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}
