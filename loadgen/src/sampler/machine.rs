//! CPU time of everything on this machine, to find out what neither server nor loadgen used:
//! foreign = machine - server - loadgen.

use super::{cgroup, process};
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

/// CPU time of the whole machine since boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineReading {
    /// Where the figures come from, with their resolution; readings of different sources must not be compared.
    pub source: &'static str,
    /// Busy time of all CPUs together.
    pub total_ns: Option<u64>,
    /// Busy time of each CPU by its number; null where only the total is known.
    pub per_cpu_ns: Option<Vec<u64>>,
    /// Time in which some task waited for a CPU (pressure stall information), in microseconds.
    pub pressure_some_us: Option<u64>,
}

const CPUACCT: &str = "cgroup v1 root cpuacct (ns)";
const STAT: &str = "/proc/stat (10 ms ticks)";

/// Reads now. About 20 us; call it at phase boundaries.
#[must_use]
pub fn read() -> MachineReading {
    let pressure_some_us = fs::read_to_string("/proc/pressure/cpu")
        .ok()
        .and_then(|text| parse_pressure(&text));
    // The root of version 2 takes its figure from the same ticks as /proc/stat and knows no CPUs, so it adds nothing.
    static USAGE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let usage = USAGE.get_or_init(|| match cgroup::machine_directory() {
        Some((1, directory)) => Some(directory.join("cpuacct.usage_percpu")),
        _ => None,
    });
    if let Some(usage) = usage
        && let Ok(text) = fs::read_to_string(usage)
        && let Some(per_cpu_ns) = cgroup::parse_numbers(&text)
    {
        return MachineReading {
            source: CPUACCT,
            total_ns: Some(per_cpu_ns.iter().sum()),
            per_cpu_ns: Some(per_cpu_ns),
            pressure_some_us,
        };
    }
    let per_cpu_ns = fs::read_to_string("/proc/stat")
        .ok()
        .map(|text| parse_stat(&text, procfs::ticks_per_second()))
        .filter(|cpus| !cpus.is_empty());
    MachineReading {
        source: STAT,
        total_ns: per_cpu_ns.as_ref().map(|cpus| cpus.iter().sum()),
        per_cpu_ns,
        pressure_some_us,
    }
}

/// The kernel's own threads. Their work is in a [`MachineReading`], and it is nobody's program: network processing for the
/// trial's traffic, scanning of the pages that the trial's processes map.
#[derive(Debug)]
pub struct KernelThreads(Vec<u32>);

impl KernelThreads {
    /// Those that run now, a walk over all processes; none where they cannot be seen, as in a container. One that
    /// begins later is not known and counts as foreign.
    #[must_use]
    pub fn find() -> Self {
        // kthreadd is process 2, and the parent of all others.
        let is_kernel = |pid: &u32| *pid == 2 || process::entry(*pid).is_some_and(|entry| entry.parent == 2);
        Self(process::pids().filter(is_kernel).collect())
    }

    /// CPU time of all of them since boot, in nanoseconds. About 10 us a thread.
    #[must_use]
    pub fn cpu_ns(&self) -> u64 {
        let of = |pid: &u32| process::schedstat(format!("/proc/{pid}/schedstat")).map_or(0, |times| times.cpu_ns);
        self.0.iter().map(of).sum()
    }
}

/// Busy time of each CPU from the text of `/proc/stat`; a CPU that is offline has 0. Time stolen by the hypervisor is
/// busy too: whoever has it, it is neither server nor loadgen. (procfs' `KernelStats` drops the numbers of the CPUs, so that
/// after one that is offline all others would be taken for their neighbours.)
fn parse_stat(text: &str, ticks_per_second: u64) -> Vec<u64> {
    let tick_ns = 1_000_000_000 / ticks_per_second;
    let mut cpus = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(Ok(cpu)) = words
            .next()
            .and_then(|word| word.strip_prefix("cpu"))
            .map(str::parse::<usize>)
        else {
            continue;
        };
        // user nice system idle iowait irq softirq steal; guest time is in user already.
        let ticks: Vec<u64> = words.take(8).filter_map(|word| word.parse().ok()).collect();
        let busy: u64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|place| ticks.get(*place)).sum();
        if cpus.len() <= cpu {
            cpus.resize(cpu + 1, 0);
        }
        cpus[cpu] = busy * tick_ns;
    }
    cpus
}

/// The line `some` alone: kernels before 5.13 have no other for CPUs, without which procfs' `CpuPressure` is none.
fn parse_pressure(text: &str) -> Option<u64> {
    let some = text.lines().find(|line| line.starts_with("some "))?;
    Some(procfs::parse_pressure_record(some).ok()?.total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_time_is_everything_but_idle_and_waiting() {
        let text = "cpu  52505 0 10107 286273 1115 0 443 4617 0 0\n\
            cpu0 25598 1 4705 144753 254 2 27 2205 7 0\ncpu2 10 0 0 99 0 0 0 0 0 0\nintr 5\n";
        assert_eq!(
            parse_stat(text, 100),
            [(25598 + 1 + 4705 + 2 + 27 + 2205) * 10_000_000, 0, 100_000_000]
        );
    }

    #[test]
    fn pressure_is_the_total_of_some() {
        let text = "some avg10=0.07 avg60=0.12 avg300=1.71 total=62286326\nfull avg10=0.00 avg60=0.00 total=3\n";
        assert_eq!(parse_pressure(text), Some(62_286_326));
        assert_eq!(parse_pressure(""), None);
    }

    #[test]
    fn the_machine_used_some_cpu_since_boot() {
        assert!(read().total_ns.is_some_and(|total| total > 0));
    }
}
