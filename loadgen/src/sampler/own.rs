//! What loadgen itself uses: per thread, because one busy worker hides behind idle ones.

use super::process::{self, SchedTimes};
use nix::time::{ClockId, clock_gettime};
use std::fs;
use std::time::Duration;

/// One thread of loadgen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadTimes {
    pub id: u32,
    pub cpu_ns: u64,
    /// Time it was runnable but not running; null where the kernel keeps no schedstat.
    pub run_delay_ns: Option<u64>,
}

/// All threads that run now. About 20 us a thread; call it at phase boundaries.
#[must_use]
pub fn threads() -> Vec<ThreadTimes> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks
        .filter_map(|task| {
            let times = process::schedstat(task.path().join("schedstat"))?;
            Some(ThreadTimes {
                id: task.file_name().to_str()?.parse().ok()?,
                cpu_ns: times.cpu_ns,
                // All zero means that the kernel does not count.
                run_delay_ns: (times != SchedTimes::default()).then_some(times.run_delay_ns),
            })
        })
        .collect()
}

/// CPU time of all threads of loadgen, ended ones included.
#[must_use]
pub fn process_cpu() -> Duration {
    clock(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

/// CPU time of the calling thread.
#[must_use]
pub fn thread_cpu() -> Duration {
    clock(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// Highest resident memory so far, in bytes.
#[must_use]
pub fn memory_peak_bytes() -> Option<u64> {
    process::own_peak_bytes()
}

fn clock(id: ClockId) -> Duration {
    clock_gettime(id).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::gettid;

    #[test]
    fn a_thread_that_works_is_seen_with_its_cpu_time() {
        let work = || {
            let until = thread_cpu() + Duration::from_millis(5);
            while thread_cpu() < until {}
            (gettid().as_raw().cast_unsigned(), threads())
        };
        let (id, seen) = std::thread::spawn(work).join().unwrap();
        let thread = seen.iter().find(|thread| thread.id == id).unwrap();
        assert!(thread.cpu_ns >= 1_000_000, "{thread:?}");
        assert!(process_cpu() >= Duration::from_millis(5));
    }
}
