//! Letters for a table: two targets share one exactly when no difference between them is claimed. Pure.
//!
//! Insert and absorb, Piepho 2004, "An algorithm for a letter-based representation of all-pairwise comparisons".

/// The letters of `targets` targets, best first, given whether a difference between two of them (by place) is claimed. The best has
/// an `a`. After `z` come `a1`, `b1` ...
#[must_use]
pub fn letters(targets: usize, differ: impl Fn(usize, usize) -> bool) -> Vec<String> {
    // Each column holds targets among which nothing is claimed; together they hold every such pair.
    let mut columns: Vec<Vec<bool>> = vec![vec![true; targets]];
    for left in 0..targets {
        for right in left + 1..targets {
            if differ(left, right) {
                columns = split(columns, left, right);
            }
        }
    }
    columns.sort_by_key(|column| column.iter().position(|&held| held));
    (0..targets)
        .map(|target| {
            let held = (0..).zip(&columns).filter(|(_, column)| column[target]);
            held.map(|(place, _)| name(place)).collect()
        })
        .collect()
}

/// Every column that holds both becomes two that hold one of them each; a column that another one contains goes.
fn split(columns: Vec<Vec<bool>>, left: usize, right: usize) -> Vec<Vec<bool>> {
    let mut all = Vec::new();
    for column in columns {
        if column[left] && column[right] {
            for gone in [left, right] {
                let mut one = column.clone();
                one[gone] = false;
                all.push(one);
            }
        } else {
            all.push(column);
        }
    }
    let contains = |big: &[bool], small: &[bool]| big.iter().zip(small).all(|(big, small)| *big || !*small);
    let mut kept: Vec<Vec<bool>> = Vec::new();
    for column in all {
        if !kept.iter().any(|other| contains(other, &column)) {
            kept.retain(|other| !contains(&column, other));
            kept.push(column);
        }
    }
    kept
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

    proptest! {
        #[test]
        fn two_share_a_letter_exactly_when_they_are_not_told_apart(differ in proptest::collection::vec(any::<bool>(), 49)) {
            let differ = |left: usize, right: usize| differ[left * 7 + right];
            let found = letters(7, differ);
            for left in 0..7 {
                for right in left + 1..7 {
                    let shared = found[left].chars().any(|letter| found[right].contains(letter));
                    prop_assert_eq!(shared, !differ(left, right), "{:?} {} {}", found, left, right);
                }
            }
        }
    }
}
