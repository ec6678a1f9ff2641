//! How long this machine keeps a thread from running that nothing of ours keeps waiting: the floor under every latency.
//!
//! After jHiccup (G. Tene, azul.com): a thread on each of loadgen's CPUs sleeps for [`INTERVAL`] and notes by how much
//! longer it slept. It has real-time priority, so the trial's own load does not hold it up; what does is the hypervisor,
//! an interrupt, or the kernel itself. It is not on the server's CPUs: a thread that wakes there a thousand times a
//! second would stand in the server's context switches.

use crate::recorder::latency::LatencyHistogram;
use crate::units::duration_ns;
use nix::errno::Errno;
use nix::libc;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};
use nix::unistd::Pid;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long the thread means to sleep. At a thousand times a second it costs its CPU about 0.3 %.
pub const INTERVAL: Duration = Duration::from_millis(1);
/// How a record says that it was measured.
pub const METHOD: &str = "SCHED_FIFO threads on loadgen's CPUs, 1 ms";

/// Threads that measure hiccups until they are ended; dropping it ends them too.
#[derive(Debug)]
pub struct HiccupMeter {
    told: Arc<Told>,
    threads: Vec<JoinHandle<LatencyHistogram>>,
}

#[derive(Debug, Default)]
struct Told {
    records: AtomicBool,
    ends: AtomicBool,
}

impl HiccupMeter {
    /// Starts a thread on each of these CPUs, of which loadgen uses the first `used`; with none, one that may run anywhere.
    /// Nothing is recorded yet.
    ///
    /// # Errors
    /// Why hiccups cannot be measured here, as the record says it.
    pub fn start(cpus: &[usize], used: u32) -> Result<Self, String> {
        let mut meter = Self {
            told: Arc::default(),
            threads: Vec::new(),
        };
        let places = if cpus.is_empty() {
            vec![None]
        } else {
            cpus.iter().copied().take(used as usize).map(Some).collect()
        };
        for place in places {
            let (told, (ready, is_ready)) = (meter.told.clone(), channel());
            let thread = thread::Builder::new()
                .name("hiccup".into())
                .spawn(move || measure(place, &told, &ready))
                .map_err(|error| format!("not measured: no thread for it: {error}"))?;
            meter.threads.push(thread);
            match is_ready.recv() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(format!("not measured: real-time priority: {error}")),
                Err(_) => return Err("not measured: its thread ended".into()),
            }
        }
        Ok(meter)
    }

    /// Whether what is seen from now on counts.
    pub fn record(&self, yes: bool) {
        self.told.records.store(yes, Ordering::Relaxed);
    }

    /// Ends the threads; what they recorded, of all CPUs together.
    #[must_use]
    pub fn finish(mut self) -> LatencyHistogram {
        self.told.ends.store(true, Ordering::Relaxed);
        let mut all = LatencyHistogram::default();
        for thread in self.threads.drain(..) {
            if let Ok(hiccups) = thread.join() {
                all.add(&hiccups);
            }
        }
        all
    }
}

impl Drop for HiccupMeter {
    fn drop(&mut self) {
        self.told.ends.store(true, Ordering::Relaxed);
    }
}

fn measure(cpu: Option<usize>, told: &Told, ready: &Sender<io::Result<()>>) -> LatencyHistogram {
    let mut hiccups = LatencyHistogram::default();
    let is_set_up = set_up(cpu, 1);
    let goes_on = is_set_up.is_ok();
    let _ = ready.send(is_set_up);
    while goes_on && !told.ends.load(Ordering::Relaxed) {
        let due = now() + INTERVAL;
        // A signal that cuts the sleep short is waited out.
        while clock_nanosleep(
            ClockId::CLOCK_MONOTONIC,
            ClockNanosleepFlags::TIMER_ABSTIME,
            &TimeSpec::from(due),
        ) == Err(Errno::EINTR)
        {}
        if told.records.load(Ordering::Relaxed) {
            let late = now().saturating_sub(due);
            record_with_what_it_swallowed(&mut hiccups, late);
        }
    }
    hiccups
}

/// A thread that was held up for 90 ms should have woken ninety times meanwhile, and each time it would have been late: one
/// sample would make the longest hiccups the rarest (coordinated omission).
fn record_with_what_it_swallowed(hiccups: &mut LatencyHistogram, late: Duration) {
    hiccups.record(duration_ns(late));
    let mut left = late;
    while left > INTERVAL {
        left -= INTERVAL;
        hiccups.record(duration_ns(left));
    }
}

fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

fn set_up(cpu: Option<usize>, priority: i32) -> io::Result<()> {
    if let Some(cpu) = cpu {
        let mut set = CpuSet::new();
        set.set(cpu)?;
        sched_setaffinity(Pid::from_raw(0), &set)?;
    }
    let priority = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: the parameter is a live struct of the type that the call reads; 0 is the calling thread.
    Errno::result(unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sched::sched_getaffinity;
    use server_testkit::not_tested;
    use std::time::Instant;

    /// None only where real-time priority is not permitted, told by name.
    fn permitted(meter: Result<HiccupMeter, String>) -> Option<HiccupMeter> {
        let why = match meter {
            Ok(meter) => return Some(meter),
            Err(why) => why,
        };
        assert!(why.starts_with("not measured: real-time priority"), "{why}");
        not_tested(&format!("the hiccup meter: {why}; it needs CAP_SYS_NICE"));
        None
    }

    #[test]
    fn a_long_hiccup_counts_for_all_the_wake_ups_that_it_swallowed() {
        // Stopped for 90 ms in every 1.2 s: of 1,110 wake-ups one is late.
        let mut hiccups = LatencyHistogram::default();
        for _ in 0..1110 {
            record_with_what_it_swallowed(&mut hiccups, Duration::from_micros(5));
        }
        record_with_what_it_swallowed(&mut hiccups, Duration::from_millis(90));
        let percent = hiccups.percent_beyond(1_000_000, 1).unwrap();
        assert!((percent - 100.0 * 89.0 / 1200.0).abs() < 0.2, "{percent} %");
    }

    #[test]
    fn it_records_what_it_is_told_to_or_says_why_it_cannot() {
        let Some(meter) = permitted(HiccupMeter::start(&[], 1)) else {
            return;
        };
        let began = Instant::now();
        meter.record(true);
        thread::sleep(Duration::from_millis(50));
        meter.record(false);
        let most = began.elapsed().as_millis() + 1;
        let count = meter.finish().count();
        assert!(count >= 1 && u128::from(count) <= most, "{count} in {most} ms");
    }

    #[test]
    fn a_cpu_that_does_not_exist_is_named_as_the_reason() {
        let why = HiccupMeter::start(&[1023], 1).unwrap_err();
        assert!(why.starts_with("not measured: "), "{why}");
    }

    #[test]
    fn what_holds_its_cpu_up_is_seen() {
        let cpu = sched_getaffinity(Pid::from_raw(0)).unwrap();
        let cpu = (0..CpuSet::count()).find(|&place| cpu.is_set(place).unwrap()).unwrap();
        let Some(meter) = permitted(HiccupMeter::start(&[cpu], 1)) else {
            return;
        };
        meter.record(true);
        let hog = thread::spawn(move || {
            set_up(Some(cpu), 2).unwrap();
            let until = now() + Duration::from_millis(30);
            while now() < until {}
        });
        hog.join().unwrap();
        // It waits for the wake-up that was held up.
        let hiccups = meter.finish();
        assert!(hiccups.summary().max >= Some(20_000_000), "{:?}", hiccups.summary());
        assert!(hiccups.percent_beyond(1_000_000, 1) > Some(0.0));
    }
}
