//! Whether what one comparison claimed holds in another one of the same plan. Pure: two findings in, a verdict on each claim out.
//!
//! A claim holds when the second comparison finds a ratio on the same side of 1 and the simultaneous intervals of both overlap.
//! Whether the second would have claimed it by itself is another question, and counted apart.

use super::findings::{Findings, Judged, Pairing, Table};
use super::fit::{Comparison, ROUNDS_FOR_A_CLAIM};
use crate::units::len_f64;
use serde::Serialize;

/// Every claim of a comparison, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reproduced {
    pub claims: Vec<Claim>,
}

/// One difference that the first comparison claimed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claim {
    pub workload: String,
    pub quantity: Judged,
    pub left: String,
    pub right: String,
    pub then: Interval,
    /// The same ratio in the second comparison; none where it was not measured there.
    pub now: Option<Interval>,
    pub verdict: Verdict,
    /// Whether the second comparison claims the same difference by itself.
    pub claimed_again: bool,
}

/// A ratio with its simultaneous interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    pub ratio: f64,
    pub low: f64,
    pub high: f64,
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Holds,
    /// On the same side of 1, but the intervals do not meet.
    OtherSize,
    /// On the other side of 1.
    OtherSign,
    /// A target has fewer rounds than a claim takes: its interval is so wide that it would meet any.
    TooFewRounds,
    /// The second comparison has no such pair.
    NotMeasured,
}

impl Verdict {
    /// The words in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::OtherSize => "another size",
            Self::OtherSign => "another sign",
            Self::TooFewRounds => "too few rounds",
            Self::NotMeasured => "not measured",
        }
    }

    /// Whether the second comparison could tell at all.
    #[must_use]
    pub fn is_judged(self) -> bool {
        matches!(self, Self::Holds | Self::OtherSize | Self::OtherSign)
    }
}

impl Reproduced {
    /// The claims of `first`, looked for in `second`.
    #[must_use]
    pub fn of(first: &Findings, second: &Findings) -> Self {
        let of_table = |table: &'_ Table| -> Vec<Claim> {
            let again = second.table(&table.workload, table.quantity);
            let claimed = table.pairs.iter().filter(|pair| pair.comparison.claimed);
            claimed.map(|pair| claim(table, pair, again)).collect()
        };
        Self {
            claims: first.tables.iter().flat_map(of_table).collect(),
        }
    }

    /// Tables that claimed something, in their order.
    #[must_use]
    pub fn by_table(&self) -> Vec<(&str, Judged, Tally)> {
        let same = |one: &Claim, next: &Claim| one.workload == next.workload && one.quantity == next.quantity;
        let tables = self.claims.chunk_by(same);
        tables
            .map(|claims| (claims[0].workload.as_str(), claims[0].quantity, Tally::of(claims)))
            .collect()
    }

    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally::of(&self.claims)
    }
}

/// How many of some claims became what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub claims: usize,
    /// That the second comparison could judge.
    pub judged: usize,
    pub hold: usize,
    pub claimed_again: usize,
}

impl Tally {
    fn of(claims: &[Claim]) -> Self {
        let count = |of: fn(&Claim) -> bool| claims.iter().filter(|claim| of(claim)).count();
        Self {
            claims: claims.len(),
            judged: count(|claim| claim.verdict.is_judged()),
            hold: count(|claim| claim.verdict == Verdict::Holds),
            claimed_again: count(|claim| claim.claimed_again),
        }
    }

    /// Those that hold among those that could be judged, in percent; none where none could.
    #[must_use]
    pub fn holding_percent(&self) -> Option<f64> {
        (self.judged > 0).then(|| 100.0 * len_f64(self.hold) / len_f64(self.judged))
    }
}

fn claim(table: &Table, pair: &Pairing, again: Option<&Table>) -> Claim {
    let then = pair.comparison;
    let now = again.and_then(|again| again.ratio(&pair.left, &pair.right));
    let rounds = |name: &str| {
        let target = again.and_then(|again| again.targets.iter().find(|target| target.target == name));
        target.map_or(0, |target| target.rounds)
    };
    let is_same_side = |now: &Comparison| (now.ratio > 1.0) == (then.ratio > 1.0);
    let verdict = match &now {
        None => Verdict::NotMeasured,
        Some(_) if rounds(&pair.left).min(rounds(&pair.right)) < ROUNDS_FOR_A_CLAIM => Verdict::TooFewRounds,
        Some(now) if !is_same_side(now) => Verdict::OtherSign,
        Some(now) if now.low <= then.high && then.low <= now.high => Verdict::Holds,
        Some(_) => Verdict::OtherSize,
    };
    Claim {
        workload: table.workload.clone(),
        quantity: table.quantity,
        left: pair.left.clone(),
        right: pair.right.clone(),
        then: Interval::of(&then),
        now: now.as_ref().map(Interval::of),
        verdict,
        claimed_again: now.is_some_and(|now| now.claimed && is_same_side(&now)),
    }
}

impl Interval {
    fn of(comparison: &Comparison) -> Self {
        Self {
            ratio: comparison.ratio,
            low: comparison.low,
            high: comparison.high,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::findings::{Tally as Trials, Target};

    fn target(name: &str, rounds: usize) -> Target {
        Target {
            target: name.into(),
            level: Some(1.0),
            letters: "a".into(),
            rounds,
            residual_deviation: Some(0.04),
            interval: None,
            at: None,
            oversubscribed: false,
            declared_model: None,
        }
    }

    /// One table in which `a` and `b` have this interval.
    fn findings(left: &str, right: &str, [low, high]: [f64; 2], claimed: bool, rounds: usize) -> Findings {
        let comparison = Comparison {
            ratio: (low * high).sqrt(),
            low,
            high,
            p_value: 0.01,
            p_value_alone: 0.01,
            claimed,
            would_have_shown: 1.05,
        };
        Findings {
            schema_version: String::new(),
            trials: Trials::default(),
            tables: vec![Table {
                workload: "steady".into(),
                open_loop: false,
                quantity: Judged::Capacity,
                targets: vec![target(left, rounds), target(right, rounds)],
                pairs: vec![Pairing {
                    left: left.into(),
                    right: right.into(),
                    comparison,
                    more_rounds_to_show_5_percent: None,
                }],
                control: None,
                would_have_shown: None,
                more_rounds_to_show_5_percent: None,
            }],
        }
    }

    fn became(second: &Findings) -> (Verdict, bool) {
        let first = findings("a", "b", [1.1, 1.3], true, 7);
        let found = Reproduced::of(&first, second);
        (found.claims[0].verdict, found.claims[0].claimed_again)
    }

    #[test]
    fn a_claim_holds_when_the_sign_is_the_same_and_the_intervals_meet() {
        assert_eq!(became(&findings("a", "b", [1.2, 1.4], true, 7)), (Verdict::Holds, true));
        // Not claimed again, but not contradicted either.
        assert_eq!(
            became(&findings("a", "b", [0.98, 1.2], false, 7)),
            (Verdict::Holds, false)
        );
        assert_eq!(
            became(&findings("a", "b", [1.31, 1.5], true, 7)),
            (Verdict::OtherSize, true)
        );
        assert_eq!(
            became(&findings("a", "b", [0.8, 1.15], false, 7)),
            (Verdict::OtherSign, false)
        );
    }

    #[test]
    fn a_pair_that_the_second_has_the_other_way_round_is_turned() {
        let turned = findings("b", "a", [1.0 / 1.4, 1.0 / 1.2], true, 7);
        assert_eq!(became(&turned), (Verdict::Holds, true));
        let reversed = findings("b", "a", [1.2, 1.4], true, 7);
        assert_eq!(became(&reversed), (Verdict::OtherSign, false));
    }

    #[test]
    fn what_the_second_could_not_judge_is_counted_apart() {
        let first = findings("a", "b", [1.1, 1.3], true, 7);
        let few = findings("a", "b", [0.5, 3.0], false, 4);
        assert_eq!(became(&few), (Verdict::TooFewRounds, false));
        let other = findings("a", "c", [1.1, 1.3], true, 7);
        assert_eq!(became(&other), (Verdict::NotMeasured, false));
        let tally = Reproduced::of(&first, &few).tally();
        assert_eq!((tally.claims, tally.judged, tally.holding_percent()), (1, 0, None));
    }

    #[test]
    fn what_was_not_claimed_is_no_claim() {
        let first = findings("a", "b", [0.9, 1.3], false, 7);
        let second = findings("a", "b", [1.1, 1.3], true, 7);
        assert_eq!(Reproduced::of(&first, &second).claims, []);
        let held = Reproduced::of(&second, &second);
        assert_eq!(held.tally().holding_percent(), Some(100.0));
        assert_eq!(held.by_table(), [("steady", Judged::Capacity, held.tally())]);
    }
}
