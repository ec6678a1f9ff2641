//! What happened in each slice of the measured phase. All memory is taken when the series is made.
//!
//! Each window has a small histogram of its own, so that windows of several workers merge exactly: the bins of
//! [`coarse`], so a percentile of a window is within 5 % (the whole run's histogram is within 0.1 %).

use super::coarse::{self, BINS, bin};

/// Messages that were sent and that ended in one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowCount {
    /// Sent in this window; one that could not be sent for want of a connection counts where it failed.
    pub sent: u64,
    pub ok: u64,
    pub errors: u64,
    pub response_max_ns: u64,
}

/// Windows of equal length, but for the last of the phase where that is no multiple of it. One more is open-ended: what
/// happens after the phase is counted there.
#[derive(Clone, Debug)]
pub struct WindowSeries {
    length_ns: u64,
    /// Length of the phase.
    end_ns: u64,
    windows: Vec<WindowCount>,
    /// [`BINS`] for each window.
    bins: Vec<u32>,
}

impl WindowSeries {
    /// Room for `count` windows and the open-ended one, about 1.7 KiB each.
    #[must_use]
    pub fn new(length_ns: u64, count: usize) -> Self {
        Self {
            length_ns,
            end_ns: u64::MAX,
            windows: vec![WindowCount::default(); count + 1],
            bins: vec![0; (count + 1) * BINS],
        }
    }

    /// Sets how long the phase is.
    pub fn end_at(&mut self, end_ns: u64) {
        self.end_ns = end_ns;
    }

    #[inline]
    pub fn sent(&mut self, since_start_ns: u64) {
        let place = self.place(since_start_ns);
        self.windows[place].sent += 1;
    }

    #[inline]
    pub fn ok(&mut self, since_start_ns: u64, response_ns: u64) {
        let place = self.place(since_start_ns);
        let window = &mut self.windows[place];
        window.ok += 1;
        window.response_max_ns = window.response_max_ns.max(response_ns);
        self.bins[place * BINS + bin(response_ns)] += 1;
    }

    pub fn error(&mut self, since_start_ns: u64) {
        let place = self.place(since_start_ns);
        self.windows[place].errors += 1;
    }

    #[inline]
    fn place(&self, since_start_ns: u64) -> usize {
        let last = self.windows.len() - 1;
        if since_start_ns >= self.end_ns {
            return last;
        }
        usize::try_from(since_start_ns / self.length_ns)
            .unwrap_or(last)
            .min(last)
    }

    /// Adds another worker's series, window for window.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.windows.iter_mut().zip(&other.windows) {
            mine.sent += theirs.sent;
            mine.ok += theirs.ok;
            mine.errors += theirs.errors;
            mine.response_max_ns = mine.response_max_ns.max(theirs.response_max_ns);
        }
        for (mine, theirs) in self.bins.iter_mut().zip(&other.bins) {
            *mine += theirs;
        }
    }

    /// The windows to tell of: of the phase as many as `passed`, and further up to the last in which something happened, since
    /// whoever watched may have stood still; then the open-ended one, if something happened after the phase.
    pub fn told(&self, passed: usize) -> impl Iterator<Item = usize> + use<> {
        let last = self.windows.len() - 1;
        let is_used = |window: &WindowCount| window.sent + window.ok + window.errors > 0;
        let used = self.windows[..last]
            .iter()
            .rposition(is_used)
            .map_or(0, |place| place + 1);
        let after = is_used(&self.windows[last]).then_some(last);
        (0..used.max(passed.min(last))).chain(after)
    }

    /// All windows; the last one is open-ended.
    #[must_use]
    pub fn windows(&self) -> &[WindowCount] {
        &self.windows
    }

    /// The percentile, in hundredths of a percent, of the responses that ended in window `place`, in nanoseconds; none
    /// with fewer than ten samples beyond it.
    #[must_use]
    pub fn response_percentile(&self, place: usize, per_10_000: u64) -> Option<u64> {
        let bins = self.bins[place * BINS..(place + 1) * BINS].iter();
        // Never above what was really seen.
        let longest_ns = self.windows[place].response_max_ns;
        coarse::percentile(bins.map(|&count| u64::from(count)), per_10_000).map(|ns| ns.min(longest_ns))
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
        series.error(150);
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
                errors: 0,
                response_max_ns: 9
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
}
