//! Which worker processes of a pool serve a client now. Each seat is one shared word that holds the process id of the
//! worker in it, so that what a killed worker held can be told and given back.

use crate::{Server, shared};
use nix::unistd::{Pid, getpid};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

const FREE: u64 = 0;

/// As many seats as clients may be served at a time.
pub(crate) struct Seats(&'static [AtomicU64]);

impl Seats {
    pub(crate) fn new(count: usize) -> io::Result<Self> {
        Ok(Self(shared::words(count.max(1))?))
    }

    /// A seat for this process; none when all are taken.
    pub(crate) fn take(&self) -> Option<&'static AtomicU64> {
        let own = word(getpid());
        // Each worker begins at another seat, so that it mostly finds the first one free.
        let first = usize::try_from(own).unwrap_or(0) % self.0.len();
        let (before, after) = self.0.split_at(first);
        after
            .iter()
            .chain(before)
            .find(|seat| seat.compare_exchange(FREE, own, SeqCst, Relaxed).is_ok())
    }

    /// Leaves a seat that was taken.
    pub(crate) fn leave(seat: &AtomicU64) {
        seat.store(FREE, SeqCst);
    }

    /// Frees the seat of a process that has ended; whether it had one.
    fn vacate(&self, ended: Pid) -> bool {
        let ended = word(ended);
        let mut seats = self.0.iter();
        seats.any(|seat| seat.compare_exchange(ended, FREE, SeqCst, Relaxed).is_ok())
    }
}

impl Server {
    /// Gives back what a forked worker held when it ended, however it ended. To be called once for each worker,
    /// before its process id can be anyone else's: with its wait status in hand, before the next fork.
    pub fn reclaim(&self, worker: Pid) {
        if self.inner().seats.vacate(worker) {
            self.inner().counters.closed.fetch_add(1, Relaxed);
        }
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
        assert!(seats.vacate(getpid()) && seats.vacate(getpid()) && !seats.vacate(getpid()));
        seats.take().unwrap();
    }
}
