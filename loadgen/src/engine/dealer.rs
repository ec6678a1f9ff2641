//! Deals the one plan of an open loop to the workers.
//!
//! All workers read the same seeded plan; a shared counter says which message is next, and whoever advances it sends that
//! message. So no message is sent twice, none is lost, and a stalled connection or worker holds none back. That two
//! workers do not wake for the same message, message i belongs to worker i mod W as long as that worker has a free client.
//! Another worker takes it at once when its owner has told that all its clients are busy, at the latest [`GRACE_NS`]
//! after its time, or when a later message of its own is due. The counter advances in the order of the plan.

use crate::workload::schedule::Schedule;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How late a message must be before another worker takes it from an owner that did not say it was busy.
const GRACE_NS: u64 = 100_000;

/// What the workers share of the plan.
pub(super) struct SharedPlan {
    next: Counter,
    busy: Vec<Flag>,
}

#[derive(Default)]
#[repr(align(128))]
struct Counter(AtomicU64);

#[derive(Default)]
#[repr(align(128))]
struct Flag(AtomicBool);

impl SharedPlan {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            next: Counter::default(),
            busy: (0..workers).map(|_| Flag::default()).collect(),
        }
    }

    /// Number of the first message that nobody has taken.
    pub(super) fn next(&self) -> u64 {
        self.next.0.load(Ordering::Relaxed)
    }
}

/// A message of the plan that is to be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// Its number in the plan.
    pub(super) index: u64,
    /// When it was planned to leave, in nanoseconds of the monotonic clock.
    pub(super) planned_ns: u64,
    /// From when on it could leave: its planned time, or later when no client was free then.
    pub(super) could_ns: u64,
}

/// One worker's view of the plan.
pub(super) struct Dealer<'a> {
    shared: &'a SharedPlan,
    worker: u64,
    schedule: Schedule,
    start_ns: u64,
    /// No message is planned from here on.
    end_ns: u64,
    /// When the next message is planned; kept because it is asked for in every turn of the loop.
    due_ns: u64,
    is_busy: bool,
}

impl<'a> Dealer<'a> {
    /// A plan that has not begun.
    pub(super) fn new(shared: &'a SharedPlan, worker: usize, schedule: Schedule) -> Self {
        Self {
            shared,
            worker: worker as u64,
            schedule,
            start_ns: 0,
            end_ns: 0,
            due_ns: 0,
            is_busy: false,
        }
    }

    /// Begins the plan at `start_ns`; messages planned for `end_ns` or later do not exist.
    pub(super) fn begin(&mut self, start_ns: u64, end_ns: u64) {
        (self.start_ns, self.end_ns) = (start_ns, end_ns);
        self.due_ns = self.absolute(&self.schedule);
    }

    /// Takes the next message of the plan if it is due and this worker's to send.
    #[inline]
    pub(super) fn take(&mut self, now_ns: u64) -> Option<Due> {
        loop {
            self.catch_up();
            if self.due_ns > now_ns || self.due_ns >= self.end_ns || self.when_ours() > now_ns {
                return None;
            }
            let index = self.schedule.index();
            let taken = self
                .shared
                .next
                .0
                .compare_exchange(index, index + 1, Ordering::Relaxed, Ordering::Relaxed);
            let planned_ns = self.due_ns;
            if taken.is_ok() {
                self.schedule.advance();
                self.due_ns = self.absolute(&self.schedule);
                return Some(Due {
                    index,
                    planned_ns,
                    could_ns: planned_ns,
                });
            }
        }
    }

    /// When this worker should look again; none when the plan is over.
    #[inline]
    pub(super) fn wake_ns(&mut self) -> Option<u64> {
        self.catch_up();
        (self.due_ns < self.end_ns).then(|| self.when_ours())
    }

    /// Whether all messages have been taken.
    pub(super) fn is_over(&mut self) -> bool {
        self.wake_ns().is_none()
    }

    /// Whether all clients of this worker are busy, as it told last.
    #[inline]
    pub(super) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Tells the other workers whether all clients of this one are busy.
    #[inline]
    pub(super) fn say_busy(&mut self, is_busy: bool) {
        if self.is_busy != is_busy {
            self.is_busy = is_busy;
            let worker = usize::try_from(self.worker).expect("it came from a usize");
            self.shared.busy[worker].0.store(is_busy, Ordering::Relaxed);
        }
    }

    #[inline]
    fn catch_up(&mut self) {
        let next = self.shared.next();
        if self.schedule.index() != next {
            self.schedule.advance_to(next);
            self.due_ns = self.absolute(&self.schedule);
        }
    }

    /// When the next message of the plan is this worker's to send.
    #[inline]
    fn when_ours(&self) -> u64 {
        let workers = self.shared.busy.len() as u64;
        let owner = self.schedule.index() % workers;
        if owner == self.worker {
            return self.due_ns;
        }
        let owner = usize::try_from(owner).expect("below the number of workers");
        if self.shared.busy[owner].0.load(Ordering::Relaxed) {
            return self.due_ns;
        }
        let mut own = self.schedule;
        while own.index() % workers != self.worker {
            own.advance();
        }
        self.absolute(&own).min(self.due_ns + GRACE_NS)
    }

    fn absolute(&self, schedule: &Schedule) -> u64 {
        self.start_ns.saturating_add(schedule.due_ns())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Arrivals, OpenLoop, Waiting};

    /// A message every microsecond, from 1,000,000 on, ten of them.
    fn dealers(shared: &SharedPlan) -> Vec<Dealer<'_>> {
        let open = OpenLoop {
            rate_per_s: 1_000_000,
            arrivals: Arrivals::Constant,
            ramp_ms: 0,
            waiting: Waiting::Hybrid,
        };
        (0..shared.busy.len())
            .map(|worker| {
                let mut dealer = Dealer::new(shared, worker, Schedule::new(&open, 1));
                dealer.begin(1_000_000, 1_010_000);
                dealer
            })
            .collect()
    }

    fn taken(dealer: &mut Dealer<'_>, now_ns: u64) -> Vec<u64> {
        std::iter::from_fn(|| dealer.take(now_ns))
            .map(|due| due.index)
            .collect()
    }

    #[test]
    fn one_worker_takes_every_message_at_its_time() {
        let shared = SharedPlan::new(1);
        let mut dealer = dealers(&shared).remove(0);
        assert_eq!(dealer.wake_ns(), Some(1_000_000));
        assert!(taken(&mut dealer, 999_999).is_empty());
        assert_eq!(taken(&mut dealer, 1_002_500), [0, 1, 2]);
        assert_eq!(dealer.wake_ns(), Some(1_003_000));
        assert_eq!(taken(&mut dealer, 9_000_000).len(), 7);
        assert!(dealer.is_over());
    }

    #[test]
    fn workers_take_turns_and_none_takes_a_message_twice() {
        let shared = SharedPlan::new(2);
        let mut dealers = dealers(&shared);
        assert_eq!(dealers[1].wake_ns(), Some(1_001_000), "message 0 belongs to worker 0");
        assert!(taken(&mut dealers[1], 1_000_000).is_empty());
        assert_eq!(taken(&mut dealers[0], 1_000_000), [0]);
        assert_eq!(taken(&mut dealers[1], 1_001_500), [1]);
        assert!(taken(&mut dealers[0], 1_001_500).is_empty());
    }

    #[test]
    fn a_busy_workers_messages_go_to_another_at_once() {
        let shared = SharedPlan::new(2);
        let mut dealers = dealers(&shared);
        dealers[0].say_busy(true);
        assert_eq!(dealers[1].wake_ns(), Some(1_000_000));
        assert_eq!(taken(&mut dealers[1], 1_002_000), [0, 1, 2]);
        dealers[0].say_busy(false);
        assert_eq!(taken(&mut dealers[0], 1_004_500), [3, 4]);
    }

    #[test]
    fn a_worker_that_does_not_come_loses_its_messages_to_another() {
        let shared = SharedPlan::new(2);
        let mut dealers = dealers(&shared);
        assert_eq!(taken(&mut dealers[1], 2_000_000).len(), 10);
        assert!(dealers[0].is_over() && dealers[1].is_over());
    }
}
