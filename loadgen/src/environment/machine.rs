//! What plans depend on: cores, CPUs that may be used, descriptors and ports.

use super::line;
use crate::record::Machine;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::Pid;
use std::sync::OnceLock;

/// A physical core: the CPUs on it that this process may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Core {
    /// Threads of the core, ascending; at least one.
    pub cpus: Vec<usize>,
    pub package: Option<u32>,
    /// Speed relative to other cores of this machine: the kernel's capacity, else the highest frequency in kHz.
    /// Cores of different values are of different kinds; null where the system does not tell.
    pub capacity: Option<u64>,
}

/// The cores this process may use, fastest kind first, then by number: what `--pin auto` chooses from.
#[must_use]
pub fn physical_cores() -> Vec<Core> {
    cores_of(&usable_cpus(), |cpu| {
        let folder = format!("/sys/devices/system/cpu/cpu{cpu}");
        let number = |file: &str| line(format!("{folder}/{file}")).and_then(|text| text.parse().ok());
        Topology {
            siblings: line(format!("{folder}/topology/thread_siblings_list")).map(|list| cpu_list(&list)),
            package: number("topology/physical_package_id").and_then(|package| u32::try_from(package).ok()),
            capacity: number("cpu_capacity").or_else(|| number("cpufreq/cpuinfo_max_freq")),
        }
    })
}

/// What plans depend on.
///
/// # Errors
/// When this process's own limits cannot be read.
pub fn machine() -> Result<Machine, String> {
    let (_, nofile_hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|errno| format!("RLIMIT_NOFILE: {errno}"))?;
    Ok(Machine {
        cores: physical_cores().into_iter().map(|core| core.cpus).collect(),
        nofile_hard,
        ports_per_source: line("/proc/sys/net/ipv4/ip_local_port_range")
            .and_then(|range| port_count(&range))
            .unwrap_or(DEFAULT_PORTS),
    })
}

/// Ports of the kernel's default range, 32768 to 60999.
const DEFAULT_PORTS: u64 = 28_232;

fn port_count(range: &str) -> Option<u64> {
    let mut ends = range.split_whitespace().map(str::parse::<u64>);
    let (from, to) = (ends.next()?.ok()?, ends.next()?.ok()?);
    (to >= from).then(|| to - from + 1)
}

/// CPUs this process may use, ascending: as it was when this was first asked, before loadgen pinned a thread of its own.
#[must_use]
pub fn usable_cpus() -> Vec<usize> {
    static USABLE: OnceLock<Vec<usize>> = OnceLock::new();
    let ask = || match sched_getaffinity(Pid::from_raw(0)) {
        Ok(set) => (0..CpuSet::count())
            .filter(|cpu| set.is_set(*cpu).unwrap_or(false))
            .collect(),
        // More than 1024 CPUs.
        Err(_) => online_cpus(),
    };
    USABLE.get_or_init(ask).clone()
}

/// What the system says of one CPU.
struct Topology {
    siblings: Option<Vec<usize>>,
    package: Option<u32>,
    capacity: Option<u64>,
}

fn cores_of(usable: &[usize], topology: impl Fn(usize) -> Topology) -> Vec<Core> {
    let mut cores: Vec<Core> = Vec::new();
    for &cpu in usable {
        if cores.iter().any(|core| core.cpus.contains(&cpu)) {
            continue;
        }
        let about = topology(cpu);
        let siblings = about.siblings.unwrap_or_else(|| vec![cpu]);
        let mut cpus: Vec<usize> = siblings
            .into_iter()
            .filter(|sibling| usable.contains(sibling))
            .collect();
        if !cpus.contains(&cpu) {
            cpus.push(cpu);
        }
        cpus.sort_unstable();
        cores.push(Core {
            cpus,
            package: about.package,
            capacity: about.capacity,
        });
    }
    cores.sort_by_key(|core| (std::cmp::Reverse(core.capacity), core.cpus.first().copied()));
    cores
}

pub(super) fn online_cpus() -> Vec<usize> {
    line("/sys/devices/system/cpu/online").map_or_else(Vec::new, |list| cpu_list(&list))
}

/// `0-2,5` as numbers; nothing of a list that is not one.
pub(super) fn cpu_list(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<usize>().ok()?..=last.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_may_have_ranges() {
        assert_eq!(cpu_list("0-2,5,7-8"), [0, 1, 2, 5, 7, 8]);
        assert_eq!(cpu_list(""), Vec::<usize>::new());
    }

    #[test]
    fn threads_of_one_core_are_one_core_and_fast_cores_come_first() {
        let topology = |cpu: usize| Topology {
            siblings: Some(vec![cpu % 2, cpu % 2 + 2]),
            package: Some(0),
            capacity: Some(if cpu.is_multiple_of(2) { 512 } else { 1024 }),
        };
        let cores = cores_of(&[0, 1, 2], topology);
        let cpus: Vec<_> = cores.iter().map(|core| core.cpus.clone()).collect();
        assert_eq!(cpus, [vec![1], vec![0, 2]], "CPU 3 may not be used");
        assert_eq!(cores[0].capacity, Some(1024));
    }

    #[test]
    fn a_cpu_of_which_nothing_is_known_is_a_core() {
        let nothing = |_| Topology {
            siblings: None,
            package: None,
            capacity: None,
        };
        assert_eq!(cores_of(&[4, 6], nothing).len(), 2);
    }
}
