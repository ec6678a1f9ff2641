//! For how long this machine held up a thread that wanted nothing but to wake up: what a time of a server's cannot be held
//! against it.

use crate::conformance::fault::{Fault, failed};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const NAP: Duration = Duration::from_millis(1);

/// A thread that sleeps a millisecond at a time and notes by how much that was too long.
pub(super) struct Watch {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Duration>>>,
}

impl Watch {
    pub(super) fn start() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let nap = move || {
            let mut late = Vec::new();
            while !ends.load(Relaxed) {
                let start = Instant::now();
                thread::sleep(NAP);
                late.push(start.elapsed().saturating_sub(NAP));
            }
            late
        };
        Self {
            is_over,
            thread: thread::Builder::new().spawn(nap).ok(),
        }
    }

    pub(super) fn end(mut self) -> HoldUps {
        self.is_over.store(true, Relaxed);
        let late = self.thread.take().and_then(|thread| thread.join().ok());
        let mut sorted = late.unwrap_or_default();
        sorted.sort_unstable();
        HoldUps { sorted }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
    }
}

/// What the watch noted, in ascending order.
pub(super) struct HoldUps {
    sorted: Vec<Duration>,
}

impl HoldUps {
    pub(super) fn longest(&self) -> Duration {
        self.sorted.last().copied().unwrap_or_default()
    }

    pub(super) fn p99(&self) -> Duration {
        percentile_99(&self.sorted)
    }
}

/// Of times in ascending order; zero of none.
pub(super) fn percentile_99(sorted: &[Duration]) -> Duration {
    let at = (sorted.len() * 99 / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

/// Fails where `took` is more than `limit`, unless the machine alone can be the reason: then nothing was shown.
pub(super) fn within(took: Duration, limit: Duration, hold_up: Duration, figure: &str) -> Result<(), Fault> {
    if took <= limit {
        Ok(())
    } else if hold_up >= limit / 2 {
        Err(Fault::NotChecked(format!(
            "{figure}, expected at most {limit:?}; but this machine held up an idle thread for {:.1} ms",
            hold_up.as_secs_f64() * 1e3
        )))
    } else {
        Err(failed(format!("{figure}, expected at most {limit:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_over_the_limit_is_the_servers_unless_the_machine_explains_it() {
        let ms = Duration::from_millis;
        assert!(within(ms(5), ms(5), ms(90), "5 ms").is_ok());
        assert!(matches!(within(ms(6), ms(5), ms(1), "6 ms"), Err(Fault::Failed(_))));
        assert!(matches!(within(ms(6), ms(5), ms(3), "6 ms"), Err(Fault::NotChecked(_))));
    }

    #[test]
    fn a_watch_notes_what_it_slept_too_long() {
        let watch = Watch::start();
        thread::sleep(Duration::from_millis(50));
        let hold_ups = watch.end();
        assert!(!hold_ups.sorted.is_empty());
        assert!(hold_ups.longest() >= hold_ups.p99());
    }

    #[test]
    fn a_percentile_is_one_of_the_times() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile_99(&times), Duration::from_millis(199));
        assert_eq!(percentile_99(&times[..1]), Duration::from_millis(1));
        assert_eq!(percentile_99(&[]), Duration::ZERO);
    }
}
