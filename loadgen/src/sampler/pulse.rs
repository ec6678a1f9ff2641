//! For how long loadgen itself did not run: stopped by a signal, frozen, or the machine suspended.
//!
//! A thread does nothing but wake every [`BEAT`]. What it misses and did not spend waiting for a CPU, all threads missed. So
//! a machine that is merely busy stops nothing, and no phase is left out, unlike with windows and hiccups.

use super::process;
use crate::units::duration_ns;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A hundred times a second cost less than 0.1 % of a CPU.
const BEAT: Duration = Duration::from_millis(10);
/// Less than this is a late timer or a hiccup of the machine.
const NOTICED: Duration = Duration::from_millis(20);

/// Beats until it is finished.
#[derive(Debug)]
pub struct Pulse {
    /// Dropping it ends the thread.
    goes_on: Sender<()>,
    thread: JoinHandle<Option<Duration>>,
    suspended_before: Duration,
}

impl Pulse {
    /// Begins to beat on loadgen's CPUs: a thread on the server's would stand in its context switches. None where there is
    /// no thread for it.
    #[must_use]
    pub fn start(cpus: &[usize]) -> Option<Self> {
        let (goes_on, ended) = channel();
        let cpus = cpus.to_vec();
        let thread = thread::Builder::new().name("pulse".into()).spawn(move || {
            let _ = pin(&cpus); // Anywhere is good enough.
            beat(&ended)
        });
        Some(Self {
            goes_on,
            thread: thread.ok()?,
            suspended_before: suspended(),
        })
    }

    /// Time that was missed since the start; None where the kernel does not tell how long a thread waited for its CPU.
    #[must_use]
    pub fn finish(self) -> Option<Duration> {
        drop(self.goes_on);
        let missed = self.thread.join().ok()??;
        Some(missed + suspended().saturating_sub(self.suspended_before))
    }
}

fn beat(ended: &Receiver<()>) -> Option<Duration> {
    let mut missed = Duration::ZERO;
    let mut waited_ns = waited_ns()?;
    loop {
        let due = Instant::now() + BEAT;
        if ended.recv_timeout(BEAT) == Err(RecvTimeoutError::Disconnected) {
            return Some(missed);
        }
        let late = due.elapsed();
        let waited_before_ns = std::mem::replace(&mut waited_ns, self::waited_ns()?);
        missed += stopped(late, Duration::from_nanos(waited_ns - waited_before_ns));
    }
}

/// Of a beat that came so late, after waiting for a CPU for so long: the time in which it could not run at all.
fn stopped(late: Duration, waited: Duration) -> Duration {
    let unexplained = late.saturating_sub(waited);
    if unexplained < NOTICED {
        Duration::ZERO
    } else {
        unexplained
    }
}

/// Time that this thread was ready and no CPU was free, in nanoseconds.
fn waited_ns() -> Option<u64> {
    Some(process::schedstat("/proc/thread-self/schedstat")?.run_delay_ns)
}

/// Time that this machine has been suspended since it started: only one of the two clocks goes on meanwhile.
fn suspended() -> Duration {
    let clock = |id| clock_gettime(id).map_or(Duration::ZERO, Duration::from);
    let since_boot = clock(ClockId::CLOCK_BOOTTIME);
    let difference = since_boot.saturating_sub(clock(ClockId::CLOCK_MONOTONIC));
    // Both are not read at the same moment.
    Duration::from_millis(duration_ns(difference) / 1_000_000)
}

fn pin(cpus: &[usize]) -> nix::Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu)?;
    }
    if cpus.is_empty() {
        return Ok(());
    }
    sched_setaffinity(Pid::from_raw(0), &set)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_is_late_without_waiting_for_a_cpu_was_stopped() {
        assert_eq!(stopped(ms(90), ms(0)), ms(90));
        assert_eq!(stopped(ms(300), ms(40)), ms(260));
        assert_eq!(stopped(ms(90), ms(85)), ms(0), "a busy machine is no stop");
        assert_eq!(stopped(ms(15), ms(0)), ms(0), "nor is a hiccup");
    }

    #[test]
    fn a_pulse_that_nobody_stops_misses_less_than_it_lives() {
        let began = Instant::now();
        let pulse = Pulse::start(&[]).expect("a thread");
        thread::sleep(ms(50)); // Some beats.
        let missed = pulse.finish().expect("this kernel tells waiting times");
        assert!(missed < began.elapsed(), "{missed:?}");
    }
}
