//! Letters for a table: two targets share one exactly when no difference between them is claimed. Pure.
//!
//! Insert and absorb, Piepho 2004, "An algorithm for a letter-based representation of all-pairwise comparisons".

/// The letters of `targets` targets, best first, given whether a difference between two of them (by place) is claimed. The best has
/// an `a`. After `z` come `a1`, `b1` ...
#[must_use]
pub fn letters(targets: usize, differ: impl Fn(usize, usize) -> bool) -> Vec<String> {
    // Each column holds targets among which nothing is claimed; together they hold every such pair, and none holds another.
    let mut columns = vec![Column::of_all(targets)];
    for left in 0..targets {
        for right in left + 1..targets {
            if differ(left, right) {
                columns = split(columns, left, right);
            }
        }
    }
    columns.sort_by_key(|column| (0..targets).position(|target| column.holds(target)));
    (0..targets)
        .map(|target| {
            let held = (0..).zip(&columns).filter(|(_, column)| column.holds(target));
            held.map(|(place, _)| name(place)).collect()
        })
        .collect()
}

/// Whether two texts of letters have one in common.
#[must_use]
pub fn share(one: &str, other: &str) -> bool {
    each(one).any(|letter| each(other).any(|another| letter == another))
}

/// The letters of a text, each with its number: `z` and `a1` of `za1`.
pub fn each(text: &str) -> impl Iterator<Item = &str> {
    let begins = |place: &usize| text.as_bytes()[*place].is_ascii_lowercase();
    let begins = (0..text.len()).filter(begins);
    begins.map(move |from| {
        let behind = &text[from + 1..];
        let numbers = behind.bytes().take_while(u8::is_ascii_digit).count();
        &text[from..=from + numbers]
    })
}

/// A set of targets, one bit each.
#[derive(Clone, PartialEq)]
struct Column(Vec<u64>);

impl Column {
    fn of_all(targets: usize) -> Self {
        let mut all = Self(vec![0; targets.div_ceil(64)]);
        (0..targets).for_each(|target| all.0[target / 64] |= 1 << (target % 64));
        all
    }

    fn holds(&self, target: usize) -> bool {
        self.0[target / 64] >> (target % 64) & 1 == 1
    }

    fn without(&self, target: usize) -> Self {
        let mut less = self.clone();
        less.0[target / 64] &= !(1 << (target % 64));
        less
    }

    fn is_within(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(own, others)| own & !others == 0)
    }
}

/// Every column that holds both becomes two that hold one of them each; of those a column that another one contains goes. One
/// that does not hold both stays: it is within none of the others, and so within no part of them.
fn split(columns: Vec<Column>, left: usize, right: usize) -> Vec<Column> {
    let mut all: Vec<(Column, bool)> = Vec::with_capacity(columns.len() + 1);
    for column in columns {
        if column.holds(left) && column.holds(right) {
            all.extend([left, right].map(|gone| (column.without(gone), true)));
        } else {
            all.push((column, false));
        }
    }
    let is_redundant = |place: usize| {
        let column = &all[place].0;
        let mut others = all.iter().enumerate().filter(|(other, _)| *other != place);
        // Of two that are the same the first stays.
        others.any(|(other, (big, _))| column.is_within(big) && (other < place || column != big))
    };
    let stays: Vec<bool> = (0..all.len())
        .map(|place| !all[place].1 || !is_redundant(place))
        .collect();
    let kept = all.into_iter().zip(stays).filter(|(_, stays)| *stays);
    kept.map(|((column, _), _)| column).collect()
}

fn name(place: u32) -> String {
    let letter = char::from_u32(u32::from('a') + place % 26).unwrap_or('?');
    match place / 26 {
        0 => letter.to_string(),
        again => format!("{letter}{again}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn neighbours_that_are_not_told_apart_share_a_letter() {
        // 0 and 1, 1 and 2 are not told apart; 0 and 2 are, and 3 is below all.
        let found = letters(4, |left, right| right == 3 || (left, right) == (0, 2));
        assert_eq!(found, ["a", "ab", "b", "c"]);
        assert_eq!(letters(3, |_, _| false), ["a", "a", "a"]);
        assert_eq!(letters(3, |_, _| true), ["a", "b", "c"]);
        assert_eq!(letters(0, |_, _| true), Vec::<String>::new());
    }

    #[test]
    fn behind_z_a_letter_is_told_by_its_number_too() {
        let found = letters(60, |_, _| true);
        assert_eq!(
            (found[25].as_str(), found[26].as_str(), found[59].as_str()),
            ("z", "a1", "h2")
        );
        assert_eq!(each("yza1b12").collect::<Vec<_>>(), ["y", "z", "a1", "b12"]);
        assert!(share("za1", "a1b1") && !share("a1", "b1") && !share("a", "a1") && !share("", "a"));
    }

    #[test]
    fn two_hundred_targets_of_which_neighbours_are_not_told_apart_take_no_time() {
        // Each is told apart from those that are ten places away: every column is a run of ten.
        let found = letters(200, |left, right| right - left >= 10);
        assert_eq!(each(&found[0]).count(), 1);
        assert_eq!(each(&found[100]).count(), 10);
        assert!(share(&found[100], &found[109]) && !share(&found[100], &found[110]));
    }

    proptest! {
        #[test]
        fn two_share_a_letter_exactly_when_they_are_not_told_apart(differ in proptest::collection::vec(any::<bool>(), 49)) {
            let differ = |left: usize, right: usize| differ[left * 7 + right];
            let found = letters(7, differ);
            for left in 0..7 {
                for right in left + 1..7 {
                    let shared = share(&found[left], &found[right]);
                    prop_assert_eq!(shared, !differ(left, right), "{:?} {} {}", found, left, right);
                }
            }
        }
    }
}
