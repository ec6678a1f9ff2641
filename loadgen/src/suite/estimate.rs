//! How long a comparison takes: which rounds fit into its budget, and the time of all of them. What is told before it starts and what
//! its progress shows while it runs come from here. Pure: how long a trial takes is the caller's to know.

use super::matrix::{Pair, Suite, SuiteFile};
use std::collections::BTreeMap;
use std::time::Duration;

/// Rounds to come, and the time they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rounds {
    pub number: u32,
    pub trials: u64,
    pub time: Duration,
}

/// A whole comparison, before it begins or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// The round that comes first.
    pub first: u32,
    /// What that one takes.
    pub first_time: Duration,
    /// All of them, those that count system calls included.
    pub rounds: Rounds,
}

/// The rounds after `round` that end within `free`.
#[must_use]
pub fn rounds_that_fit(suite: &Suite, round: u32, free: Duration, expect: &dyn Fn(&[Pair]) -> Duration) -> Rounds {
    let mut known: BTreeMap<Alike, (u64, Duration)> = BTreeMap::new();
    let mut fitting = Rounds::default();
    for next in round + 1..=suite.rounds_max {
        let (trials, time) = *known.entry(alike(suite, next)).or_insert_with(|| {
            let pairs = suite.pairs_of_round(next);
            (pairs.len() as u64, expect(&pairs))
        });
        if fitting.time + time > free {
            break;
        }
        fitting.number += 1;
        fitting.trials += trials;
        fitting.time += time;
    }
    fitting
}

/// What a comparison takes from its next round on, as far as can be told before a trial of it has been timed.
#[must_use]
pub fn whole(file: &SuiteFile) -> Whole {
    let suite = &file.suite;
    let expect = |pairs: &[Pair]| pairs.iter().map(|pair| suite.expected_duration(pair)).sum::<Duration>();
    // An added target's rounds are what is left to do.
    let first = suite.additions.last().map_or(1, |addition| addition.first_round);
    let of_first = suite.pairs_of_round(first);
    let first_time = expect(&of_first);
    let counting = suite.counting_pairs();
    let counting_time = expect(&counting);
    let spent = Duration::from_millis(file.spent_ms) + first_time + counting_time;
    let free = suite.budget().saturating_sub(spent);
    let later = rounds_that_fit(suite, first, free, &expect);
    Whole {
        first,
        first_time,
        rounds: Rounds {
            number: 1 + later.number,
            trials: of_first.len() as u64 + counting.len() as u64 + later.trials,
            time: first_time + counting_time + later.time,
        },
    }
}

/// Rounds with the same trials: whether they saturate, and whose addition they are.
type Alike = (bool, Option<u32>, usize);

fn alike(suite: &Suite, round: u32) -> Alike {
    let addition = suite.addition_of(round).map(|addition| addition.first_round);
    // The control of older comparisons visits one workload after the other.
    let turn = match suite.control_in_every_block {
        true => 0,
        false => round as usize % suite.workloads.len().max(1),
    };
    (suite.is_saturating(round), addition, turn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::load::Load;
    use crate::suite::sample::suite;

    fn of_a_second_each(pairs: &[Pair]) -> Duration {
        Duration::from_secs(pairs.len() as u64)
    }

    #[test]
    fn rounds_are_counted_until_the_next_would_not_end_in_time() {
        let suite = suite();
        let fits = |free| rounds_that_fit(&suite, 1, Duration::from_secs(free), &of_a_second_each);
        assert_eq!((fits(5).number, fits(6).number, fits(17).number), (0, 1, 2));
        assert_eq!(fits(6000).number, suite.rounds_max - 1);
        assert_eq!((fits(17).trials, fits(17).time), (12, Duration::from_secs(12)));
    }

    #[test]
    fn rounds_that_saturate_and_rounds_of_loads_take_their_own_time() {
        let workloads = Load::workloads(&[20, 95]);
        let suite = Suite {
            load: Load::of(&workloads),
            workloads,
            rounds_max: 5,
            ..suite()
        };
        let all = rounds_that_fit(&suite, 0, Duration::from_secs(600), &of_a_second_each);
        assert_eq!((all.number, all.trials), (5, 3 * 3 + 2 * 6));
    }
}
