//! How messages and connections ended: exact counts, and the first failure of each kind.

use crate::record::{Connections, Counts, FirstFailure};

/// A message that did not come back as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Refused,
    Reset,
    Timeout,
    /// An orderly end of the stream before the first byte of the reply.
    Closed,
    Truncated,
    Corrupted,
}

impl Kind {
    /// In the order of their declaration.
    pub const ALL: [Self; 6] = [
        Self::Refused,
        Self::Reset,
        Self::Timeout,
        Self::Closed,
        Self::Truncated,
        Self::Corrupted,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Truncated => "truncated",
            Self::Corrupted => "corrupted",
        }
    }
}

/// Counts of one worker, or of all.
#[derive(Clone, Debug, Default)]
pub struct Outcomes {
    pub counts: Counts,
    pub connections: Connections,
    first: Vec<FirstFailure>,
}

impl Outcomes {
    /// Counts a message of the measured phase that came back whole, in it or later.
    #[inline]
    pub fn ok(&mut self, is_late: bool) {
        self.counts.planned += 1;
        self.counts.sent += 1;
        self.counts.ok += 1;
        self.counts.ok_late += u64::from(is_late);
    }

    /// Counts a message of the measured phase that failed.
    pub fn failed(&mut self, kind: Kind) {
        self.counts.planned += 1;
        self.counts.sent += 1;
        match kind {
            Kind::Refused => self.counts.refused += 1,
            Kind::Reset => self.counts.reset += 1,
            Kind::Timeout => self.counts.timeout += 1,
            Kind::Closed => self.counts.closed += 1,
            Kind::Truncated => self.counts.truncated += 1,
            Kind::Corrupted => self.counts.corrupted += 1,
        }
    }

    /// Counts a message of the measured phase that the stop cut off.
    pub fn in_flight_at_stop(&mut self) {
        self.counts.planned += 1;
        self.counts.sent += 1;
        self.counts.in_flight_at_stop += 1;
    }

    /// Counts messages of the measured phase that were planned and never sent.
    pub fn dropped(&mut self, messages: u64) {
        self.counts.planned += messages;
        self.counts.dropped += messages;
    }

    /// Keeps the failure if it is the first of its kind; the text is only made then.
    pub fn tell_first(&mut self, kind: Kind, make: impl FnOnce() -> FirstFailure) {
        if !self.first.iter().any(|first| first.kind == kind.as_str()) {
            self.first.push(make());
        }
    }

    /// Adds another worker's counts; of two first failures the earlier one stays.
    pub fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        self.connections.add(&other.connections);
        for theirs in &other.first {
            match self.first.iter_mut().find(|mine| mine.kind == theirs.kind) {
                Some(mine) if theirs.at_s < mine.at_s => *mine = theirs.clone(),
                Some(_) => {}
                None => self.first.push(theirs.clone()),
            }
        }
    }

    /// First failures in the order of time.
    #[must_use]
    pub fn first_failures(mut self) -> Vec<FirstFailure> {
        self.first.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        self.first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: Kind, at_s: f64) -> FirstFailure {
        FirstFailure {
            kind: kind.as_str().into(),
            at_s,
            client: 0,
            offset: 0,
            text: String::new(),
        }
    }

    #[test]
    fn planned_and_sent_are_the_sum_of_the_ends() {
        let mut outcomes = Outcomes::default();
        outcomes.ok(false);
        [
            Kind::Refused,
            Kind::Reset,
            Kind::Timeout,
            Kind::Closed,
            Kind::Truncated,
            Kind::Corrupted,
        ]
        .into_iter()
        .for_each(|kind| outcomes.failed(kind));
        outcomes.in_flight_at_stop();
        let counts = outcomes.counts;
        assert_eq!((counts.planned, counts.sent), (8, 8));
        assert_eq!(counts.ok + counts.errors() + counts.in_flight_at_stop, counts.sent);
    }

    #[test]
    fn of_two_workers_first_failures_the_earlier_stays() {
        let (mut one, mut two) = (Outcomes::default(), Outcomes::default());
        one.tell_first(Kind::Reset, || failure(Kind::Reset, 2.0));
        one.tell_first(Kind::Reset, || panic!("not the first"));
        two.tell_first(Kind::Reset, || failure(Kind::Reset, 1.0));
        two.tell_first(Kind::Timeout, || failure(Kind::Timeout, 3.0));
        one.add(&two);
        let first: Vec<_> = one
            .first_failures()
            .into_iter()
            .map(|first| (first.kind, first.at_s))
            .collect();
        assert_eq!(first, [("reset".to_string(), 1.0), ("timeout".to_string(), 3.0)]);
    }
}
