//! Tells an observer of the windows of the measured phase while the run goes on.
//!
//! A window is told once the next one is over too: by then every worker has come past its end, so that what is told is what
//! the record will have. The last ones are told when the workers have ended. Allocates nothing while messages flow.

use super::conductor::MeasuredPhase;
use super::{Observer, as_ns};
use crate::record::WINDOW;
use crate::recorder::window::{MergedWindow, TimedWindow, WindowSeries, Windows};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The windows of all workers, and how many of them were told.
pub(super) struct Following {
    workers: Vec<Arc<Windows>>,
    /// Wall-clock time of the beginning of the measured phase; none before it.
    measured_from: Option<SystemTime>,
    told: usize,
}

impl Following {
    pub(super) fn new(workers: Vec<Arc<Windows>>) -> Self {
        Self {
            workers,
            measured_from: None,
            told: 0,
        }
    }

    pub(super) fn begin(&mut self, measured_from: SystemTime) {
        self.measured_from = Some(measured_from);
    }

    /// Tells what is final now that so many windows of full length are over.
    pub(super) fn passed(&mut self, windows: usize, observer: &mut dyn Observer) {
        if !observer.follows() {
            return;
        }
        let last = self.workers.first().map_or(0, |worker| worker.number() - 1);
        while self.told + 1 < windows.min(last) {
            self.tell(self.told, Some(as_ns(WINDOW)), observer);
            self.told += 1;
        }
    }

    /// Tells the rest; the workers have ended, and `series` is what they recorded together.
    pub(super) fn end(&mut self, series: &WindowSeries, phase: MeasuredPhase, observer: &mut dyn Observer) {
        if !observer.follows() {
            return;
        }
        let (length_ns, window_ns) = (as_ns(phase.length()), as_ns(WINDOW));
        let passed = usize::try_from(length_ns.div_ceil(window_ns)).unwrap_or(usize::MAX);
        let open_ended = series.windows().len() - 1;
        let told = self.told;
        // Merged into one of theirs, so that they are not to be added up again.
        self.workers = vec![series.shared()];
        for place in series.told(passed).filter(|place| *place >= told) {
            let left_ns = length_ns.saturating_sub(place as u64 * window_ns);
            let length_ns = (place < open_ended).then_some(left_ns.min(window_ns));
            self.tell(place, length_ns, observer);
        }
    }

    fn tell(&self, place: usize, length_ns: Option<u64>, observer: &mut dyn Observer) {
        let Some(measured_from) = self.measured_from else {
            return;
        };
        let from_ns = place as u64 * as_ns(WINDOW);
        observer.window(&TimedWindow {
            from_ns,
            length_ns,
            at: measured_from + Duration::from_nanos(from_ns),
            window: MergedWindow::of(&self.workers, place),
        });
    }
}
