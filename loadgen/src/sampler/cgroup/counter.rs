//! CPU time of a control group, read from files that stay open, and the figures in such files.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// CPU time of a group since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    pub total_ns: u64,
    pub user_ns: Option<u64>,
    pub system_ns: Option<u64>,
}

/// Open CPU counters of a group.
#[derive(Debug)]
pub enum CpuCounter {
    V1 {
        usage: File,
        user: Option<File>,
        system: Option<File>,
        per_cpu: Option<File>,
    },
    V2 {
        stat: File,
    },
}

impl CpuCounter {
    /// How it counts, as records say it.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self::V1 { .. } => "cgroup v1 cpuacct",
            Self::V2 { .. } => "cgroup v2 cpu.stat",
        }
    }

    /// CPU time so far; none when the group is gone.
    #[must_use]
    pub fn read(&self) -> Option<CpuTime> {
        match self {
            Self::V1 {
                usage, user, system, ..
            } => {
                let total_ns = parse_number(&read_open(usage)?)?;
                let split = |file: &Option<File>| parse_number(&read_open(file.as_ref()?)?);
                Some(scaled(total_ns, split(user), split(system)))
            }
            Self::V2 { stat } => parse_cpu_stat(&read_open(stat)?),
        }
    }

    /// CPU time on each CPU in nanoseconds; version 1 only.
    #[must_use]
    pub fn read_per_cpu(&self) -> Option<Vec<u64>> {
        match self {
            Self::V1 { per_cpu, .. } => parse_numbers(&read_open(per_cpu.as_ref()?)?),
            Self::V2 { .. } => None,
        }
    }
}

/// The content of an open file from its start, up to 16 KiB (`usage_percpu` of a thousand CPUs).
pub(super) fn read_open(file: &File) -> Option<String> {
    let mut buffer = [0; 16 << 10];
    let length = file.read_at(&mut buffer, 0).ok()?;
    std::str::from_utf8(&buffer[..length]).ok().map(str::to_owned)
}

pub(super) fn parse_number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

pub(in crate::sampler) fn parse_numbers(text: &str) -> Option<Vec<u64>> {
    text.split_whitespace().map(|word| word.parse().ok()).collect()
}

/// A `name value` line of `cpu.stat` or `memory.stat`.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .and_then(parse_number)
}

/// The text of a version 2 `cpu.stat`.
fn parse_cpu_stat(text: &str) -> Option<CpuTime> {
    let ns = |name| field(text, name).map(|us| us * 1000);
    Some(CpuTime {
        total_ns: ns("usage_usec")?,
        user_ns: ns("user_usec"),
        system_ns: ns("system_usec"),
    })
}

/// User and kernel time such that their sum is the precise total. Version 1 takes the split from the tick and the
/// total from the scheduler's clock; version 2 and rusage are scaled like this by the kernel (`cputime_adjust`).
pub(in crate::sampler) fn scaled(total_ns: u64, user_ns: Option<u64>, system_ns: Option<u64>) -> CpuTime {
    let (Some(user), Some(system)) = (user_ns, system_ns) else {
        return CpuTime {
            total_ns,
            user_ns: None,
            system_ns: None,
        };
    };
    let sum = u128::from(user) + u128::from(system);
    let share = (u128::from(total_ns) * u128::from(user)).checked_div(sum);
    // Before the first tick all is user time. A share of the total fits where the total fits.
    let user = share.and_then(|share| u64::try_from(share).ok()).unwrap_or(total_ns);
    CpuTime {
        total_ns,
        user_ns: Some(user),
        system_ns: Some(total_ns - user),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_stat_of_version_2_is_in_microseconds() {
        let text = "usage_usec 4215\nuser_usec 3000\nsystem_usec 1215\nnice_usec 0\n";
        assert_eq!(
            parse_cpu_stat(text),
            Some(CpuTime {
                total_ns: 4_215_000,
                user_ns: Some(3_000_000),
                system_ns: Some(1_215_000)
            })
        );
        assert_eq!(parse_cpu_stat("nr_periods 0\n"), None);
    }

    #[test]
    fn the_split_of_version_1_is_scaled_to_the_precise_total() {
        let time = scaled(1_000, Some(300), Some(100));
        assert_eq!((time.user_ns, time.system_ns), (Some(750), Some(250)));
        assert_eq!(scaled(5, Some(0), Some(0)).user_ns, Some(5), "no tick seen yet");
        assert_eq!(scaled(5, None, Some(1)).system_ns, None);
    }

    #[test]
    fn per_cpu_usage_is_one_number_for_each_cpu() {
        assert_eq!(
            parse_numbers("307211224559 331529317568 \n"),
            Some(vec![307_211_224_559, 331_529_317_568])
        );
        assert_eq!(parse_numbers("1 x"), None);
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "kernel_stack 16384\nkernel 1048576\nsock 4096\n";
        assert_eq!(field(text, "kernel"), Some(1_048_576));
        assert_eq!(field(text, "slab"), None);
    }
}
