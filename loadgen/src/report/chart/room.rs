//! What there is room for: of very many targets a chart draws the best and the worst, and says so; its table has them all.

use crate::quantity::Better;
use std::cmp::Ordering;

/// Rows of one chart that can be read without losing one's place.
pub(super) const ROWS: usize = 48;
/// Lines of one chart that can be told apart.
pub(super) const LINES: usize = 16;

/// Which of some targets a chart draws.
pub(super) struct Room {
    is_drawn: Vec<bool>,
    sentence: String,
}

impl Room {
    /// `figures` of the targets; those without one come last.
    pub(super) fn of(figures: &[Option<f64>], better: Better, most: usize) -> Self {
        let number = figures.len();
        if number <= most {
            return Self {
                is_drawn: vec![true; number],
                sentence: String::new(),
            };
        }
        let mut order: Vec<usize> = (0..number).collect();
        order.sort_by(|a, b| match (figures[*a], figures[*b]) {
            (Some(a), Some(b)) if better == Better::Less => a.total_cmp(&b),
            (Some(a), Some(b)) => b.total_cmp(&a),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        });
        let worst = most / 4;
        let best = most - worst;
        let mut is_drawn = vec![false; number];
        for place in order[..best].iter().chain(&order[number - worst..]) {
            is_drawn[*place] = true;
        }
        let (first, last) = match better {
            Better::More | Better::Less => ("best", "worst"),
            Better::Neither => ("largest", "smallest"),
        };
        Self {
            is_drawn,
            sentence: format!(
                " Of {number} targets the {best} {first} and the {worst} {last} are drawn; the table has them all."
            ),
        }
    }

    /// Those of the targets' things that are drawn, in their order.
    pub(super) fn keep<T>(&self, things: impl IntoIterator<Item = T>) -> Vec<T> {
        let drawn = things.into_iter().zip(&self.is_drawn);
        drawn
            .filter(|(_, is_drawn)| **is_drawn)
            .map(|(thing, _)| thing)
            .collect()
    }

    /// What a legend ends with; nothing where all are drawn.
    pub(super) fn sentence(&self) -> &str {
        &self.sentence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_and_the_worst_of_too_many_are_drawn_in_their_order() {
        let figures: Vec<Option<f64>> = (0..9_u32)
            .map(|place| (place != 4).then(|| f64::from(place * 7 % 9)))
            .collect();
        let drawn = |better| Room::of(&figures, better, 4).keep(0..9);
        // 0 7 5 3 - 8 6 4 2: the one without a figure is the worst.
        assert_eq!(drawn(Better::More), [1, 4, 5, 6]);
        assert_eq!(drawn(Better::Less), [0, 3, 4, 8]);
        assert_eq!(
            Room::of(&figures, Better::Less, 4).sentence(),
            " Of 9 targets the 3 best and the 1 worst are drawn; the table has them all."
        );
        let all = Room::of(&figures, Better::More, 9);
        assert_eq!((all.keep(0..9).len(), all.sentence()), (9, ""));
    }
}
