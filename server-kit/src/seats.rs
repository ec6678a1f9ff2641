//! Which processes of a forking server serve a client now. Each seat is one shared word that holds the process id of who
//! is in it, so that what a killed process held can be found and given back.

use crate::shared;
use nix::unistd::{Pid, getpid};
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};

const FREE: u64 = 0;

/// As many seats as clients may be served at a time.
pub(crate) struct Seats {
    words: &'static [AtomicU64],
    /// Where this process looks first: behind the seat that it took last, so that it mostly finds a free one at once.
    next: AtomicUsize,
    /// How many seats, from the first, this process has had need of; only then are others touched.
    span: AtomicUsize,
}

impl Seats {
    pub(crate) fn new(count: usize) -> io::Result<Self> {
        Ok(Self {
            words: shared::values(count.max(1))?,
            next: AtomicUsize::new(0),
            span: AtomicUsize::new(0),
        })
    }

    /// A seat for this process; None when all are taken.
    pub(crate) fn take(&self) -> Option<&'static AtomicU64> {
        let (own, next, span) = (word(getpid()), self.next.load(Relaxed), self.span.load(Relaxed));
        // What is taken is only read: a write would take the cache line from its owner.
        let is_taken_now = |&index: &usize| {
            let seat = &self.words[index];
            seat.load(Relaxed) == FREE && seat.compare_exchange(FREE, own, SeqCst, Relaxed).is_ok()
        };
        let index = (next..span)
            .chain(0..next)
            .chain(span..self.words.len())
            .find(is_taken_now)?;
        self.span.store(span.max(index + 1), Relaxed);
        self.next.store(if index + 1 < span { index + 1 } else { 0 }, Relaxed);
        Some(&self.words[index])
    }

    /// Hands a seat on to another process, if `from` is still in it.
    pub(crate) fn hand_on(seat: &AtomicU64, from: Pid, to: Pid) {
        let _ = seat.compare_exchange(word(from), word(to), SeqCst, Relaxed);
    }

    /// Leaves a seat that was taken.
    pub(crate) fn leave(seat: &AtomicU64) {
        seat.store(FREE, SeqCst);
    }

    /// Frees the seat of a process that has ended, if it was still in it; whether it was.
    pub(crate) fn vacate(seat: &AtomicU64, ended: Pid) -> bool {
        seat.compare_exchange(word(ended), FREE, SeqCst, Relaxed).is_ok()
    }

    /// As [`Seats::vacate`], wherever it sat.
    pub(crate) fn vacate_any(&self, ended: Pid) -> bool {
        self.words.iter().any(|seat| Self::vacate(seat, ended))
    }
}

fn word(pid: Pid) -> u64 {
    u64::try_from(pid.as_raw()).unwrap_or(FREE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_seats_as_clients_and_a_dead_workers_seat_is_free_again() {
        let seats = Seats::new(2).unwrap();
        let first = seats.take().unwrap();
        seats.take().unwrap();
        assert!(seats.take().is_none());
        Seats::leave(first);
        seats.take().unwrap();
        assert!(seats.vacate_any(getpid()) && seats.vacate_any(getpid()) && !seats.vacate_any(getpid()));
        seats.take().unwrap();
    }

    #[test]
    fn a_seat_that_was_handed_on_is_the_other_processs() {
        let (seats, other) = (Seats::new(1).unwrap(), Pid::from_raw(1));
        let seat = seats.take().unwrap();
        Seats::hand_on(seat, getpid(), other);
        assert!(!Seats::vacate(seat, getpid()) && seats.take().is_none());
        assert!(Seats::vacate(seat, other));
        seats.take().unwrap();
    }
}
