//! Settings of the machine that can move the figures, by the name they have in the record.

use super::line;
use crate::sampler::cgroup;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use std::collections::BTreeMap;
use std::fs;

/// Files whose one line can move the figures, by the name they get in the record.
const SETTINGS: &[(&str, &str)] = &[
    ("kernel.io_uring_disabled", "/proc/sys/kernel/io_uring_disabled"),
    ("kernel.perf_event_paranoid", "/proc/sys/kernel/perf_event_paranoid"),
    ("kernel.pid_max", "/proc/sys/kernel/pid_max"),
    ("kernel.randomize_va_space", "/proc/sys/kernel/randomize_va_space"),
    (
        "kernel.sched_autogroup_enabled",
        "/proc/sys/kernel/sched_autogroup_enabled",
    ),
    ("kernel.sched_schedstats", "/proc/sys/kernel/sched_schedstats"),
    ("kernel.threads-max", "/proc/sys/kernel/threads-max"),
    ("net.core.default_qdisc", "/proc/sys/net/core/default_qdisc"),
    ("net.core.somaxconn", "/proc/sys/net/core/somaxconn"),
    ("net.ipv4.ip_local_port_range", "/proc/sys/net/ipv4/ip_local_port_range"),
    (
        "net.ipv4.tcp_allowed_congestion_control",
        "/proc/sys/net/ipv4/tcp_allowed_congestion_control",
    ),
    (
        "net.ipv4.tcp_available_congestion_control",
        "/proc/sys/net/ipv4/tcp_available_congestion_control",
    ),
    (
        "net.ipv4.tcp_congestion_control",
        "/proc/sys/net/ipv4/tcp_congestion_control",
    ),
    ("net.ipv4.tcp_fin_timeout", "/proc/sys/net/ipv4/tcp_fin_timeout"),
    ("net.ipv4.tcp_max_syn_backlog", "/proc/sys/net/ipv4/tcp_max_syn_backlog"),
    ("net.ipv4.tcp_max_tw_buckets", "/proc/sys/net/ipv4/tcp_max_tw_buckets"),
    ("net.ipv4.tcp_rmem", "/proc/sys/net/ipv4/tcp_rmem"),
    ("net.ipv4.tcp_syncookies", "/proc/sys/net/ipv4/tcp_syncookies"),
    ("net.ipv4.tcp_tw_reuse", "/proc/sys/net/ipv4/tcp_tw_reuse"),
    ("net.ipv4.tcp_wmem", "/proc/sys/net/ipv4/tcp_wmem"),
    ("net.lo.mtu", "/sys/class/net/lo/mtu"),
    ("vm.overcommit_memory", "/proc/sys/vm/overcommit_memory"),
    ("vm.max_map_count", "/proc/sys/vm/max_map_count"),
    ("fs.file-max", "/proc/sys/fs/file-max"),
    ("fs.nr_open", "/proc/sys/fs/nr_open"),
    ("transparent_hugepage", "/sys/kernel/mm/transparent_hugepage/enabled"),
    (
        "clocksource.available",
        "/sys/devices/system/clocksource/clocksource0/available_clocksource",
    ),
    ("cpu.online", "/sys/devices/system/cpu/online"),
    ("cpu.microcode", "/sys/devices/system/cpu/cpu0/microcode/version"),
    ("cpu.boost", "/sys/devices/system/cpu/cpufreq/boost"),
    ("cpu.no_turbo", "/sys/devices/system/cpu/intel_pstate/no_turbo"),
    ("cpufreq.driver", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver"),
    (
        "cpufreq.min_khz",
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq",
    ),
    (
        "cpufreq.max_khz",
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq",
    ),
    ("cpuidle.driver", "/sys/devices/system/cpu/cpuidle/current_driver"),
    ("cpuidle.governor", "/sys/devices/system/cpu/cpuidle/current_governor"),
    ("numa.nodes_online", "/sys/devices/system/node/online"),
    ("lsm", "/sys/kernel/security/lsm"),
    ("uptime_and_idle_s", "/proc/uptime"),
];

/// Kernel parameters that can move the figures, by how their names begin. The rest of the command line stays out of the
/// record: it may name disks, hosts and addresses.
const KERNEL_PARAMETERS: &[&str] = &[
    "amd_pstate",
    "audit",
    "clocksource",
    "cpufreq",
    "cpuidle",
    "elevator",
    "haltpoll",
    "idle",
    "init_on_",
    "intel_idle",
    "intel_pstate",
    "irqaffinity",
    "isolcpus",
    "kpti",
    "l1tf",
    "maxcpus",
    "mds",
    "mitigations",
    "nohz",
    "nokaslr",
    "nopti",
    "nosmt",
    "nospectre",
    "nr_cpus",
    "page_alloc",
    "preempt",
    "processor.",
    "psi",
    "rcu_nocb",
    "retbleed",
    "skew_tick",
    "slab",
    "spec_",
    "spectre",
    "swiotlb",
    "threadirqs",
    "transparent_hugepage",
    "tsc",
    "tsx",
];

pub(super) fn settings() -> BTreeMap<String, String> {
    let mut settings: BTreeMap<String, String> = SETTINGS
        .iter()
        .filter_map(|(name, path)| Some(((*name).to_owned(), line(path)?)))
        .collect();
    for entry in fs::read_dir("/sys/devices/system/cpu/vulnerabilities")
        .into_iter()
        .flatten()
        .flatten()
    {
        if let (Some(name), Some(state)) = (entry.file_name().to_str(), line(entry.path())) {
            settings.insert(format!("vulnerability.{name}"), state);
        }
    }
    let parameters = kernel_parameters(&fs::read_to_string("/proc/cmdline").unwrap_or_default());
    settings.insert("kernel.parameters".to_owned(), parameters);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (name, key) in [("Seccomp", "seccomp"), ("Cpus_allowed_list", "cpus_allowed")] {
        if let Some(value) = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        {
            settings.insert(key.to_owned(), value.trim().to_owned());
        }
    }
    for (name, resource) in [
        ("limit.nproc", Resource::RLIMIT_NPROC),
        ("limit.stack_bytes", Resource::RLIMIT_STACK),
    ] {
        if let Ok((soft, _)) = getrlimit(resource) {
            let text = if soft == RLIM_INFINITY {
                "unlimited".to_owned()
            } else {
                soft.to_string()
            };
            settings.insert(name.to_owned(), text);
        }
    }
    settings.extend(
        cgroup::limits()
            .into_iter()
            .map(|(name, value)| (format!("cgroup.{name}"), value)),
    );
    settings
}

fn kernel_parameters(command_line: &str) -> String {
    let is_told = |word: &&str| KERNEL_PARAMETERS.iter().any(|name| word.starts_with(name));
    let told: Vec<&str> = command_line.split_whitespace().filter(is_told).collect();
    told.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_kernel_command_line_only_what_moves_figures_is_told() {
        let told = kernel_parameters("root=UUID=4f ip=10.0.0.9 isolcpus=2-3 quiet mitigations=off host=secret nosmt\n");
        assert_eq!(told, "isolcpus=2-3 mitigations=off nosmt");
    }
}
