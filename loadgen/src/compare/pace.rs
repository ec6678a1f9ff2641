//! How long a comparison takes. Reads no clock: times come from the caller.

use crate::suite::matrix::{Pair, Suite, label};
use std::collections::HashMap;
use std::time::Duration;

/// How long trials take, learnt from those that ran.
#[derive(Default)]
pub(super) struct Pace {
    /// Time and number of trials by target, at its value, and workload.
    seen: HashMap<(String, String), (Duration, u32)>,
    /// Time taken and time expected of all of them, to correct the expectation of what has not run yet.
    taken: Duration,
    expected: Duration,
}

impl Pace {
    pub(super) fn took(&mut self, suite: &Suite, pair: &Pair, time: Duration) {
        let seen = self.seen.entry(key(pair)).or_default();
        seen.0 += time;
        seen.1 += 1;
        self.taken += time;
        self.expected += suite.expected_duration(pair);
    }

    pub(super) fn expect<'p>(&self, suite: &Suite, pairs: impl IntoIterator<Item = &'p Pair>) -> Duration {
        pairs
            .into_iter()
            .map(|pair| match self.seen.get(&key(pair)) {
                Some((time, trials)) => *time / *trials,
                None if self.expected.is_zero() => suite.expected_duration(pair),
                None => suite
                    .expected_duration(pair)
                    .mul_f64(self.taken.as_secs_f64() / self.expected.as_secs_f64()),
            })
            .sum()
    }
}

/// The control is the same server, and takes as long.
fn key(pair: &Pair) -> (String, String) {
    (label(&pair.target, pair.at), pair.workload.clone())
}
