//! Which cells of the tables have no figure that stands.

use super::by_pair;
use crate::measurement::store::Stored;
use crate::record::{Figure, Measurement};
use crate::suite::matrix::Pair;
use crate::suite::matrix::Suite;
use crate::suite::nearness::Nearness;
use crate::suite::together::Together;

/// A target under a workload, and the kinds of figures that none of its trials could give though the machine can:
/// `fork under light (rates, percentiles)`, in the order of the tables. A target that cannot do a workload at all has no cells.
#[must_use]
pub fn void_cells(suite: &Suite, stored: &[Stored]) -> Vec<String> {
    let trials = by_pair(stored);
    let together = Together::of(&trials, &Nearness::of(stored));
    let told = |pair: &Pair| {
        let of_pair = trials.get(pair).map_or(&[][..], Vec::as_slice);
        let void: Vec<&str> = void_figures(pair, of_pair, &together).map(Figure::as_str).collect();
        (!void.is_empty()).then(|| format!("{} under {} ({})", pair.label(), pair.workload, void.join(", ")))
    };
    let of_round = suite.pairs_of_round(1);
    // Targets that were added later have rounds of their own.
    let added = trials.keys().filter(|pair| !of_round.contains(pair));
    of_round
        .iter()
        .chain(added)
        .filter(|pair| suite.is_measurable(pair))
        .filter_map(told)
        .collect()
}

fn void_figures(pair: &Pair, trials: &[&Measurement], together: &Together) -> impl Iterator<Item = Figure> {
    let possible = trials
        .first()
        .map_or(&Figure::ALL[..], |trial| trial.possible_figures());
    let stands = move |figure: Figure| !together.voids(pair, figure) && trials.iter().any(|trial| trial.stands(figure));
    possible.iter().copied().filter(move |&figure| !stands(figure))
}
