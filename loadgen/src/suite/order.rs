//! The order of a round: workload after workload, the targets of each in a seeded permutation. Pure.
//!
//! Every workload of a round is a complete block in a fresh random order, so slow drift of the machine (heat, neighbours)
//! falls on all targets alike and the paired statistics cancel it; the shorter the block, the less drift there is within
//! it. Running all of A before all of B would not.

use crate::suite::matrix::{Pair, Suite};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The trials of round `round` (from 1) in the order in which they run.
#[must_use]
pub fn of_round(suite: &Suite, round: u32) -> Vec<Pair> {
    let mut order = Order::of_round(suite.seed, round);
    let pairs = suite.pairs_of_round(round);
    let workloads = order.shuffled(suite.workloads.iter().map(|workload| &workload.name).collect());
    let of = |workload: &str| -> Vec<Pair> {
        let of = pairs.iter().filter(|pair| pair.workload == workload);
        of.cloned().collect()
    };
    workloads
        .into_iter()
        .flat_map(|workload| order.shuffled(of(workload)))
        .collect()
}

/// `items` in the order of this round of a suite with this seed.
#[must_use]
pub fn shuffled<T>(items: Vec<T>, seed: u64, round: u32) -> Vec<T> {
    Order::of_round(seed, round).shuffled(items)
}

/// The random choices of one round.
struct Order(ChaCha8Rng);

impl Order {
    fn of_round(seed: u64, round: u32) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(u64::from(round));
        Self(random)
    }

    /// Fisher-Yates on ChaCha8: both are written down for good, so a seed gives the same order on every machine and with
    /// every later version of the random crates.
    fn shuffled<T>(&mut self, mut items: Vec<T>) -> Vec<T> {
        for last in (1..items.len()).rev() {
            items.swap(last, below(&mut self.0, last + 1));
        }
        items
    }
}

/// A number below `bound`, without the modulo's bias: draws that fall into the incomplete last stretch are drawn again.
fn below(random: &mut ChaCha8Rng, bound: usize) -> usize {
    let bound = bound as u64;
    let whole = u64::MAX - u64::MAX % bound;
    loop {
        let drawn = random.next_u64();
        if drawn < whole {
            return usize::try_from(drawn % bound).expect("below a usize");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_is_a_permutation() {
        for round in 1..200 {
            let mut order = shuffled((0..13).collect(), 42, round);
            order.sort_unstable();
            assert_eq!(order, (0..13).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_same_seed_and_round_give_the_same_order() {
        assert_eq!(shuffled((0..12).collect(), 42, 3), shuffled((0..12).collect(), 42, 3));
        assert_ne!(shuffled((0..12).collect(), 42, 3), shuffled((0..12).collect(), 42, 4));
        assert_ne!(shuffled((0..12).collect(), 42, 3), shuffled((0..12).collect(), 43, 3));
    }

    #[test]
    fn the_order_of_a_seed_is_pinned_for_good() {
        assert_eq!(shuffled((0..8).collect(), 1, 1), [0, 4, 6, 3, 5, 2, 1, 7]);
    }

    #[test]
    fn every_item_comes_first_about_equally_often() {
        let mut first = [0_u32; 6];
        for round in 0..6000 {
            first[shuffled((0..6).collect::<Vec<usize>>(), 9, round)[0]] += 1;
        }
        // Binomial with n = 6000, p = 1/6: 1000 with a standard deviation of 29; five of them are allowed.
        assert!(first.iter().all(|count| (855..1145).contains(count)), "{first:?}");
    }

    #[test]
    fn none_and_one_need_no_order() {
        assert!(shuffled(Vec::<u8>::new(), 1, 1).is_empty());
        assert_eq!(shuffled(vec![5], 1, 1), [5]);
    }
}
