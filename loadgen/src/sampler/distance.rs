//! How far server and load generator are apart on this machine: the round trip of one cache line between two CPUs.
//!
//! A virtual machine's CPUs move, and nothing else shows it: neither steal time nor the speed of arithmetic or of a system call
//! changes when the hypervisor puts one of them on another part of the chip, but a message costs a third more.

use super::loopback;
use crate::record::CpuDistance;
use crate::units::{count_f64, duration_ns};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::fs;
use std::hint::spin_loop;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The least of so many batches is what the hardware takes; all others are held up by something.
const BATCHES: u32 = 20;
/// Round trips of a batch: 25 us where CPUs are near, so about 1 ms in all.
const ROUND_TRIPS: u64 = 500;
/// Pairs of CPUs that are measured at most; of more, as many in even steps.
const PAIRS_MAX: usize = 16;
/// Looks after which a thread lets others run: its partner may be waiting for this very CPU.
const LOOKS: u32 = 20_000;
/// Longest wait for the partner in all; on a machine so busy no batch says anything.
const LIMIT: Duration = Duration::from_millis(200);
const NOT_DONE: &str = "not measured: the two CPUs were not both free within 200 ms";
/// What stands in place of a number when one side has left.
const GONE: u64 = u64::MAX;

/// What the CPUs of a trial were like at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct CpuState {
    /// Round trip of a cache line in nanoseconds, the largest over the pairs of CPUs in use; or why it is not known.
    pub distance_ns: Result<f64, String>,
    /// CPU time of a round trip over loopback on the server's first CPU, in nanoseconds; `None` where it is not pinned.
    pub round_trip_cpu_ns: Option<f64>,
    /// Lowest current frequency of the CPUs in use; `None` where the machine does not tell.
    pub frequency_mhz: Option<f64>,
    /// Times that any of these CPUs was slowed down because of its heat, since boot; `None` where the machine does not tell.
    pub thermal_throttles: Option<u64>,
}

/// Measures now, which takes some milliseconds: before and after a trial, never in it. An empty list means that this side
/// is not pinned.
#[must_use]
pub fn measure(server_cpus: &[usize], loadgen_cpus: &[usize]) -> CpuState {
    let cpus = || server_cpus.iter().chain(loadgen_cpus);
    CpuState {
        distance_ns: distance(server_cpus, loadgen_cpus),
        round_trip_cpu_ns: server_cpus.first().and_then(|cpu| loopback::round_trip_cpu_ns(*cpu)),
        frequency_mhz: cpus().filter_map(|cpu| frequency_mhz(*cpu)).reduce(f64::min),
        thermal_throttles: cpus().map(|cpu| throttles(*cpu)).sum(),
    }
}

/// What the record says of a trial between two moments.
#[must_use]
pub fn between(before: &CpuState, after: &CpuState) -> CpuDistance {
    CpuDistance {
        before_ns: before.distance_ns.as_ref().ok().copied(),
        after_ns: after.distance_ns.as_ref().ok().copied(),
        reason: before
            .distance_ns
            .as_ref()
            .err()
            .or(after.distance_ns.as_ref().err())
            .cloned(),
        round_trip_cpu_ns_before: before.round_trip_cpu_ns,
        round_trip_cpu_ns_after: after.round_trip_cpu_ns,
        frequency_mhz_before: before.frequency_mhz,
        frequency_mhz_after: after.frequency_mhz,
        thermal_throttles: before
            .thermal_throttles
            .zip(after.thermal_throttles)
            .map(|(before, after)| after.saturating_sub(before)),
    }
}

fn distance(server_cpus: &[usize], loadgen_cpus: &[usize]) -> Result<f64, String> {
    let pairs = pairs(server_cpus, loadgen_cpus);
    if pairs.is_empty() {
        return Err("not measured: server and loadgen have no CPUs of their own".into());
    }
    let mut largest = 0.0_f64;
    for (one, other) in pairs {
        largest = largest.max(round_trip_ns(one, other)?);
    }
    Ok(largest)
}

/// Pairs of different CPUs, one of each side.
fn pairs(server_cpus: &[usize], loadgen_cpus: &[usize]) -> Vec<(usize, usize)> {
    let all: Vec<(usize, usize)> = server_cpus
        .iter()
        .flat_map(|one| loadgen_cpus.iter().map(move |other| (*one, *other)))
        .filter(|(one, other)| one != other)
        .collect();
    let step = all.len().div_ceil(PAIRS_MAX).max(1);
    all.into_iter().step_by(step).collect()
}

/// Two threads hand a number to and fro: odd ones go there, even ones come back.
fn round_trip_ns(one: usize, other: usize) -> Result<f64, String> {
    let ball = Ball::default();
    let deadline = Instant::now() + LIMIT;
    let pinned = Barrier::new(2);
    // Nobody plays alone: a side that cannot be where it should be gives the ball away for good.
    let place = |cpu: usize| {
        let place = pin(cpu).inspect_err(|_| ball.0.store(GONE, Ordering::Release));
        pinned.wait();
        place
    };
    thread::scope(|scope| {
        let partner = scope.spawn(|| place(other).and_then(|()| ball.send_back(deadline)));
        let server = scope.spawn(|| place(one).and_then(|()| ball.serve(deadline)));
        let ended = |_| "not measured: a thread ended".to_string();
        let (served, sent_back) = (server.join().map_err(ended)?, partner.join().map_err(ended)?);
        match (served, sent_back) {
            // Whoever could not be placed knows why; the other one only waited.
            (Err(why), _) if why != NOT_DONE => Err(why),
            (served, sent_back) => sent_back.and(served),
        }
    })
}

/// The cache line, alone on it: 128 bytes, since neighbours are fetched in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Ball(AtomicU64);

impl Ball {
    /// Time of a round trip in the fastest batch, in nanoseconds.
    fn serve(&self, deadline: Instant) -> Result<f64, String> {
        let mut least = Duration::MAX;
        for batch in 0..u64::from(BATCHES) {
            let first = batch * ROUND_TRIPS * 2;
            let begun = Instant::now();
            for number in (first..first + ROUND_TRIPS * 2).step_by(2) {
                self.0.store(number + 1, Ordering::Release);
                self.await_number(number + 2, deadline)?;
            }
            least = least.min(begun.elapsed());
        }
        Ok(count_f64(duration_ns(least)) / count_f64(ROUND_TRIPS))
    }

    fn send_back(&self, deadline: Instant) -> Result<(), String> {
        for number in (0..u64::from(BATCHES) * ROUND_TRIPS * 2).step_by(2) {
            self.await_number(number + 1, deadline)?;
            self.0.store(number + 2, Ordering::Release);
        }
        Ok(())
    }

    fn await_number(&self, number: u64, deadline: Instant) -> Result<(), String> {
        let mut looks = 0;
        loop {
            match self.0.load(Ordering::Acquire) {
                now if now == number => return Ok(()),
                GONE => return Err(NOT_DONE.into()),
                _ => looks += 1,
            }
            if looks % LOOKS == 0 {
                if Instant::now() > deadline {
                    return Err(NOT_DONE.into());
                }
                thread::yield_now();
            }
            spin_loop();
        }
    }
}

/// Binds this thread to one CPU.
pub(super) fn pin(cpu: usize) -> Result<(), String> {
    let mut set = CpuSet::new();
    set.set(cpu)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|errno| format!("not measured: CPU {cpu}: {errno}"))
}

fn frequency_mhz(cpu: usize) -> Option<f64> {
    let khz = number(&format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq"))?;
    Some(count_f64(khz) / 1e3)
}

fn throttles(cpu: usize) -> Option<u64> {
    number(&format!(
        "/sys/devices/system/cpu/cpu{cpu}/thermal_throttle/core_throttle_count"
    ))
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sched::sched_getaffinity;
    use server_testkit::not_tested;

    #[test]
    fn two_cpus_of_this_machine_are_apart_by_more_than_nothing_and_less_than_a_switch_of_threads() {
        let usable = sched_getaffinity(Pid::from_raw(0)).unwrap();
        let cpus: Vec<usize> = (0..CpuSet::count())
            .filter(|cpu| usable.is_set(*cpu).unwrap())
            .collect();
        let [one, other, ..] = cpus[..] else {
            assert!(measure(&cpus, &cpus).distance_ns.is_err(), "one CPU has no distance");
            return not_tested("the distance of two CPUs: this process may use one only");
        };
        // Where others compile, a measurement may not come to its end.
        let found = (0..20).find_map(|_| measure(&[one], &[other]).distance_ns.ok());
        let ns = found.expect("one of twenty measurements is done");
        assert!(ns > 5.0 && ns < 20_000.0, "{ns} ns");
    }

    #[test]
    fn every_pair_of_different_cpus_counts_and_of_many_an_even_choice() {
        assert_eq!(pairs(&[0], &[1, 2]), [(0, 1), (0, 2)]);
        assert_eq!(pairs(&[0, 1], &[0, 1]), [(0, 1), (1, 0)]);
        assert!(pairs(&[3], &[3]).is_empty() && pairs(&[], &[1]).is_empty());
        let many: Vec<usize> = (0..32).collect();
        let chosen = pairs(&many, &[40, 41, 42]);
        assert!(chosen.len() <= PAIRS_MAX && chosen.len() > PAIRS_MAX / 2, "{chosen:?}");
    }

    #[test]
    fn a_cpu_that_does_not_exist_is_named() {
        let why = measure(&[1000], &[0]).distance_ns.unwrap_err();
        assert!(why.contains("CPU 1000"), "{why}");
        let none = measure(&[], &[0]).distance_ns.unwrap_err();
        assert!(none.contains("no CPUs of their own"), "{none}");
    }

    #[test]
    fn what_grew_in_between_is_told_and_what_is_not_known_stays_null() {
        let state = |distance_ns: Result<f64, String>, thermal_throttles| CpuState {
            distance_ns,
            round_trip_cpu_ns: None,
            frequency_mhz: None,
            thermal_throttles,
        };
        let distance = between(&state(Ok(50.0), Some(3)), &state(Err("busy".into()), Some(5)));
        assert_eq!((distance.before_ns, distance.after_ns), (Some(50.0), None));
        assert_eq!(
            (distance.thermal_throttles, distance.frequency_mhz_after),
            (Some(2), None)
        );
        assert_eq!(distance.reason.as_deref(), Some("busy"));
    }
}
