//! What happened in each slice of the measured phase. All memory is taken when the series is made.
//!
//! Each window has a small histogram of its own, so that windows of several workers merge exactly: the bins of
//! [`coarse`], so a percentile of a window is within 5 % (the whole run's histogram is within 0.1 %).
//!
//! A worker is the only one that writes its windows; others may read them while it does: see [`Windows`].

use super::coarse::{self, BINS, bin};
use super::outcome::Kind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::SystemTime;

/// Messages that were sent and that ended in one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowCount {
    /// Sent in this window; one that could not be sent for want of a connection counts where it failed.
    pub sent: u64,
    pub ok: u64,
    /// Those that ended badly, of whatever kind.
    pub errors: u64,
    pub response_max_ns: u64,
    /// Of the errors, each kind at its place in [`Kind::ALL`].
    pub errors_by_kind: [u64; Kind::ALL.len()],
}

impl WindowCount {
    fn is_used(&self) -> bool {
        self.sent + self.ok + self.errors > 0
    }

    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.ok += other.ok;
        self.errors += other.errors;
        self.response_max_ns = self.response_max_ns.max(other.response_max_ns);
        for (mine, theirs) in self.errors_by_kind.iter_mut().zip(&other.errors_by_kind) {
            *mine += theirs;
        }
    }
}

/// One window of all workers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergedWindow {
    pub count: WindowCount,
    /// None with fewer than ten samples beyond it.
    pub response_p50_ns: Option<u64>,
    pub response_p99_ns: Option<u64>,
}

impl MergedWindow {
    /// The window at this place, over all workers. Allocates nothing.
    #[must_use]
    pub fn of(workers: &[Arc<Windows>], place: usize) -> Self {
        let mut count = WindowCount::default();
        let mut bins = [0_u64; BINS];
        for worker in workers {
            count.add(&worker.count(place));
            for (sum, bin) in bins.iter_mut().zip(worker.bins_of(place)) {
                *sum += bin;
            }
        }
        let percentile = |per_10_000| {
            let found = coarse::percentile(bins.iter().copied(), per_10_000);
            found.map(|ns| ns.min(count.response_max_ns))
        };
        Self {
            response_p50_ns: percentile(5_000),
            response_p99_ns: percentile(9_900),
            count,
        }
    }
}

/// A window of all workers together and where it lies in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedWindow {
    /// Start after the beginning of the measured phase.
    pub from_ns: u64,
    /// None for the open-ended one, in which is what ended after the phase.
    pub length_ns: Option<u64>,
    /// Wall-clock time of its start.
    pub at: SystemTime,
    pub window: MergedWindow,
}

/// The windows of one worker. A window that is over is final once the worker has come past its end; what is read of one that is
/// not may lack what is written at that moment.
#[derive(Debug)]
pub struct Windows {
    cells: Box<[Cell]>,
    /// [`BINS`] for each window.
    bins: Box<[AtomicU32]>,
}

#[derive(Debug, Default)]
struct Cell {
    sent: AtomicU64,
    ok: AtomicU64,
    response_max_ns: AtomicU64,
    errors: [AtomicU64; Kind::ALL.len()],
}

/// Adds to a number that nobody else writes: a load and a store are enough.
#[inline]
fn add_to(number: &AtomicU64, more: u64) {
    number.store(number.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

impl Windows {
    fn new(windows: usize) -> Self {
        Self {
            cells: (0..windows).map(|_| Cell::default()).collect(),
            bins: (0..windows * BINS).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// How many there are, the open-ended one included.
    #[must_use]
    pub fn number(&self) -> usize {
        self.cells.len()
    }

    fn count(&self, place: usize) -> WindowCount {
        let cell = &self.cells[place];
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let errors_by_kind = cell.errors.each_ref().map(read);
        WindowCount {
            sent: read(&cell.sent),
            ok: read(&cell.ok),
            errors: errors_by_kind.iter().sum(),
            response_max_ns: read(&cell.response_max_ns),
            errors_by_kind,
        }
    }

    fn bins_of(&self, place: usize) -> impl Iterator<Item = u64> + Clone {
        let bins = self.bins[place * BINS..(place + 1) * BINS].iter();
        bins.map(|bin| u64::from(bin.load(Ordering::Relaxed)))
    }
}

/// Windows of equal length, but for the last of the phase where that is no multiple of it. One more is open-ended: what
/// happens after the phase is counted there.
#[derive(Debug)]
pub struct WindowSeries {
    length_ns: u64,
    /// Length of the phase.
    end_ns: u64,
    windows: Arc<Windows>,
}

impl Clone for WindowSeries {
    /// A copy of its own: there is one writer for each.
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.length_ns, self.windows.number() - 1);
        copy.end_ns = self.end_ns;
        copy.add(self);
        copy
    }
}

impl WindowSeries {
    /// Room for `count` windows and the open-ended one, about 1.8 KiB each.
    #[must_use]
    pub fn new(length_ns: u64, count: usize) -> Self {
        Self {
            length_ns,
            end_ns: u64::MAX,
            windows: Arc::new(Windows::new(count + 1)),
        }
    }

    /// For whoever reads along.
    #[must_use]
    pub fn shared(&self) -> Arc<Windows> {
        Arc::clone(&self.windows)
    }

    /// Sets how long the phase is.
    pub fn end_at(&mut self, end_ns: u64) {
        self.end_ns = end_ns;
    }

    #[inline]
    pub fn sent(&mut self, since_start_ns: u64) {
        add_to(&self.windows.cells[self.place(since_start_ns)].sent, 1);
    }

    #[inline]
    pub fn ok(&mut self, since_start_ns: u64, response_ns: u64) {
        let place = self.place(since_start_ns);
        let cell = &self.windows.cells[place];
        add_to(&cell.ok, 1);
        if response_ns > cell.response_max_ns.load(Ordering::Relaxed) {
            cell.response_max_ns.store(response_ns, Ordering::Relaxed);
        }
        let bin = &self.windows.bins[place * BINS + bin(response_ns)];
        bin.store(bin.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    pub fn error(&mut self, since_start_ns: u64, kind: Kind) {
        add_to(&self.windows.cells[self.place(since_start_ns)].errors[kind as usize], 1);
    }

    #[inline]
    fn place(&self, since_start_ns: u64) -> usize {
        let last = self.windows.number() - 1;
        if since_start_ns >= self.end_ns {
            return last;
        }
        usize::try_from(since_start_ns / self.length_ns)
            .unwrap_or(last)
            .min(last)
    }

    /// Adds another worker's series, window for window.
    pub fn add(&mut self, other: &Self) {
        for (place, mine) in self.windows.cells.iter().enumerate().take(other.windows.number()) {
            let theirs = other.windows.count(place);
            add_to(&mine.sent, theirs.sent);
            add_to(&mine.ok, theirs.ok);
            for (mine, theirs) in mine.errors.iter().zip(theirs.errors_by_kind) {
                add_to(mine, theirs);
            }
            let longest = mine.response_max_ns.load(Ordering::Relaxed).max(theirs.response_max_ns);
            mine.response_max_ns.store(longest, Ordering::Relaxed);
        }
        for (mine, theirs) in self.windows.bins.iter().zip(&other.windows.bins) {
            let sum = mine.load(Ordering::Relaxed) + theirs.load(Ordering::Relaxed);
            mine.store(sum, Ordering::Relaxed);
        }
    }

    /// The windows to tell of: of the phase as many as `passed`, and further up to the last in which something happened, since
    /// whoever watched may have stood still; then the open-ended one, if something happened after the phase.
    pub fn told(&self, passed: usize) -> impl Iterator<Item = usize> + use<> {
        let last = self.windows.number() - 1;
        let is_used = |place: &usize| self.windows.count(*place).is_used();
        let used = (0..last).rev().find(is_used).map_or(0, |place| place + 1);
        let after = is_used(&last).then_some(last);
        (0..used.max(passed.min(last))).chain(after)
    }

    /// All windows; the last one is open-ended.
    #[must_use]
    pub fn windows(&self) -> Vec<WindowCount> {
        (0..self.windows.number())
            .map(|place| self.windows.count(place))
            .collect()
    }

    /// The percentile, in hundredths of a percent, of the responses that ended in window `place`, in nanoseconds; none
    /// with fewer than ten samples beyond it.
    #[must_use]
    pub fn response_percentile(&self, place: usize, per_10_000: u64) -> Option<u64> {
        // Never above what was really seen.
        let longest_ns = self.windows.count(place).response_max_ns;
        coarse::percentile(self.windows.bins_of(place), per_10_000).map(|ns| ns.min(longest_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_late_is_counted_in_the_open_ended_window() {
        let mut series = WindowSeries::new(100, 2);
        [0, 99, 100, 199, 200, 100_000]
            .into_iter()
            .for_each(|at| series.ok(at, at));
        series.error(150, Kind::Reset);
        let counts: Vec<_> = series
            .windows()
            .iter()
            .map(|window| (window.ok, window.errors))
            .collect();
        assert_eq!(counts, [(2, 0), (2, 1), (2, 0)]);
        assert_eq!(series.windows()[2].response_max_ns, 100_000);
    }

    #[test]
    fn a_phase_that_ends_within_a_window_ends_that_window() {
        let mut series = WindowSeries::new(100, 2);
        series.end_at(150);
        [149, 150, 199].into_iter().for_each(|at| series.ok(at, at));
        let ok: Vec<_> = series.windows().iter().map(|window| window.ok).collect();
        assert_eq!(ok, [0, 1, 2]);
    }

    #[test]
    fn two_workers_add_up() {
        let (mut one, mut two) = (WindowSeries::new(10, 1), WindowSeries::new(10, 1));
        one.sent(5);
        one.ok(5, 7);
        two.ok(5, 9);
        one.add(&two);
        assert_eq!(
            one.windows()[0],
            WindowCount {
                sent: 1,
                ok: 2,
                response_max_ns: 9,
                ..WindowCount::default()
            }
        );
    }

    #[test]
    fn a_windows_percentile_is_within_a_twentieth_also_when_merged() {
        let (mut one, mut two) = (WindowSeries::new(1, 0), WindowSeries::new(1, 0));
        for response_ns in (1..=100_000).map(|n: u64| n * 300) {
            if response_ns % 600 == 0 { &mut one } else { &mut two }.ok(0, response_ns);
        }
        one.add(&two);
        for (per_10_000, exact) in [(5_000_u64, 15_000_000_u64), (9_900, 29_700_000), (100, 300_000)] {
            let got = one.response_percentile(0, per_10_000).unwrap();
            assert!(got.abs_diff(exact) * 20 <= exact, "{got} for {exact}");
        }
    }

    #[test]
    fn a_percentile_of_a_window_needs_ten_samples_beyond_it() {
        let mut series = WindowSeries::new(1, 0);
        (0..999).for_each(|_| series.ok(0, 5_000));
        assert_eq!(series.response_percentile(0, 9_900), None);
        series.ok(0, 5_000);
        assert_eq!(series.response_percentile(0, 9_900), Some(5_000));
    }

    #[test]
    fn a_window_in_which_nothing_happened_hides_none_after_it() {
        let mut series = WindowSeries::new(100, 6);
        series.end_at(450);
        assert_eq!(series.told(2).collect::<Vec<_>>(), [0, 1], "passed, though empty");
        series.ok(50, 1);
        series.ok(350, 1);
        assert_eq!(
            series.told(1).collect::<Vec<_>>(),
            [0, 1, 2, 3],
            "the watcher stood still from 100 on"
        );
        series.ok(450, 1);
        assert_eq!(
            series.told(5).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4, 6],
            "the last one ended after the phase"
        );
    }

    #[test]
    fn who_reads_along_sees_what_the_worker_keeps_merged_over_workers() {
        let (mut one, mut two) = (WindowSeries::new(100, 2), WindowSeries::new(100, 2));
        (0..30).for_each(|_| one.ok(10, 5_000));
        (0..30).for_each(|_| two.ok(10, 9_000));
        two.error(20, Kind::Closed);
        two.error(120, Kind::Refused);
        let workers = [one.shared(), two.shared()];
        let first = MergedWindow::of(&workers, 0);
        one.add(&two);
        assert_eq!(first.count, one.windows()[0]);
        assert_eq!(first.response_p50_ns, one.response_percentile(0, 5_000));
        assert!(first.response_p50_ns.is_some() && first.response_p99_ns.is_none());
        assert_eq!(
            (first.count.errors, first.count.errors_by_kind),
            (1, [0, 0, 0, 1, 0, 0])
        );
        assert_eq!(
            MergedWindow::of(&[two.shared()], 1).count.errors_by_kind,
            [1, 0, 0, 0, 0, 0]
        );
    }

    #[test]
    fn a_copy_has_windows_of_its_own() {
        let mut series = WindowSeries::new(100, 1);
        series.ok(10, 5);
        let copy = series.clone();
        series.ok(10, 5);
        assert_eq!((copy.windows()[0].ok, series.windows()[0].ok), (1, 2));
    }
}
