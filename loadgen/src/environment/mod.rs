//! The machine and its settings, captured once per run: what cannot be read is null, never a guess.

pub mod network;

use crate::record::Environment;
use crate::record::{Machine, NetworkKind};
use crate::sampler::{cgroup, process};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

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

/// What this machine is and how it is set, now.
#[must_use]
pub fn capture() -> Environment {
    let nofile = getrlimit(Resource::RLIMIT_NOFILE).ok();
    let memlock = getrlimit(Resource::RLIMIT_MEMLOCK).ok();
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let count = |cpus: Vec<usize>| u32::try_from(cpus.len()).ok().filter(|count| *count > 0);
    Environment {
        kernel: line("/proc/sys/kernel/osrelease"),
        architecture: Some(std::env::consts::ARCH.to_owned()),
        cpu_model: cpu_model(&cpuinfo).or_else(|| line("/sys/firmware/devicetree/base/model")),
        cpus_usable: count(usable_cpus()),
        cpus_online: count(online_cpus()),
        smt_active: smt_active(),
        memory_total_bytes: fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|text| process::kib_field(&text, "MemTotal")),
        governor: line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        clocksource: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        hypervisor: hypervisor(&cpuinfo),
        container: Some(container()),
        network: Some(network::of_thread()),
        cgroup_version: cgroup::version(),
        load_average_1min: line("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok()),
        nofile_soft: nofile.map(|(soft, _)| soft),
        nofile_hard: nofile.map(|(_, hard)| hard),
        memlock_bytes: memlock.map(|(soft, _)| soft).filter(|soft| *soft != RLIM_INFINITY),
        settings: settings(),
    }
}

/// What loadgen itself changes while it runs, or what changes by itself: no reason to doubt a trial.
const VOLATILE: &[&str] = &["uptime_and_idle_s", "cpus_allowed"];

/// Settings that differ between two captures, one phrase each. Those of a network (`net.`) are compared only where both were
/// read in the same kind of network: a private one is set up by loadgen and not like the host's. What loadgen changes itself, such as its own limits and
/// where it may run, is left out.
#[must_use]
pub fn changes(before: &Environment, after: &Environment) -> Vec<String> {
    let mut changes = Vec::new();
    let mut compare = |name: &str, before: Option<&str>, after: Option<&str>| {
        if before != after {
            let shown = |value: Option<&str>| value.unwrap_or("not readable").to_owned();
            changes.push(format!("{name} went from {} to {}", shown(before), shown(after)));
        }
    };
    compare("the governor", before.governor.as_deref(), after.governor.as_deref());
    compare(
        "the clock source",
        before.clocksource.as_deref(),
        after.clocksource.as_deref(),
    );
    for name in before.settings.keys().chain(
        after
            .settings
            .keys()
            .filter(|name| !before.settings.contains_key(*name)),
    ) {
        let is_of_another_network = name.starts_with("net.") && network_kind(before) != network_kind(after);
        if !VOLATILE.contains(&name.as_str()) && !is_of_another_network {
            let of = |environment: &Environment| environment.settings.get(name).cloned();
            compare(name, of(before).as_deref(), of(after).as_deref());
        }
    }
    changes
}

fn network_kind(environment: &Environment) -> Option<NetworkKind> {
    environment.network.as_ref().map(|network| network.kind)
}

/// A short name of this kind of machine, e.g. `2cpu-linux-6.18`; never a host name.
#[must_use]
pub fn label() -> String {
    let kernel = line("/proc/sys/kernel/osrelease").unwrap_or_default();
    label_of(usable_cpus().len(), &kernel)
}

fn label_of(cpus: usize, kernel: &str) -> String {
    let version: Vec<&str> = kernel.split(['.', '-']).take(2).collect();
    format!("{cpus}cpu-linux-{}", version.join("."))
}

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

fn online_cpus() -> Vec<usize> {
    line("/sys/devices/system/cpu/online").map_or_else(Vec::new, |list| cpu_list(&list))
}

/// `0-2,5` as numbers; nothing of a list that is not one.
fn cpu_list(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<usize>().ok()?..=last.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

fn smt_active() -> Option<bool> {
    match line("/sys/devices/system/cpu/smt/active").as_deref() {
        Some("1") => return Some(true),
        Some("0") => return Some(false),
        _ => {}
    }
    let siblings = |cpu| {
        line(format!(
            "/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        ))
    };
    let lists: Vec<Vec<usize>> = online_cpus()
        .into_iter()
        .filter_map(siblings)
        .map(|list| cpu_list(&list))
        .collect();
    (!lists.is_empty()).then(|| lists.iter().any(|list| list.len() > 1))
}

fn cpu_model(cpuinfo: &str) -> Option<String> {
    let value = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    // ARM has no name there, but numbers that name the core.
    value("model name").or_else(|| {
        let (implementer, part) = (value("CPU implementer")?, value("CPU part")?);
        Some(format!("implementer {implementer} part {part}"))
    })
}

fn hypervisor(cpuinfo: &str) -> Option<String> {
    let firmware = || {
        let vendor = line("/sys/class/dmi/id/sys_vendor")?;
        let known = [
            "QEMU",
            "VMware",
            "Microsoft",
            "innotek",
            "Xen",
            "Amazon",
            "Google",
            "Parallels",
            "OpenStack",
        ];
        known.iter().any(|name| vendor.contains(name)).then_some(vendor)
    };
    let is_virtual = || {
        let mut flags = cpuinfo.lines().filter(|line| line.starts_with("flags"));
        let is_flagged = flags.any(|line| line.split_whitespace().any(|flag| flag == "hypervisor"));
        is_flagged.then(|| "unnamed".to_owned())
    };
    // A guest is offered its host's clock, whether it uses it or not.
    let clock = || {
        let clocks = line("/sys/devices/system/clocksource/clocksource0/available_clocksource")?;
        let known = [("kvm-clock", "kvm"), ("hyperv", "hyper-v"), ("xen", "xen")];
        known
            .into_iter()
            .find(|(clock, _)| clocks.contains(clock))
            .map(|(_, name)| name.to_owned())
    };
    line("/sys/hypervisor/type")
        .or_else(clock)
        .or_else(firmware)
        .or_else(is_virtual)
}

/// Whether this process runs in a container.
#[must_use]
pub fn is_container() -> bool {
    container() != "host"
}

/// Whether this runs in a container, and in whose.
fn container() -> String {
    let exists = |path: &str| Path::new(path).exists();
    let named = std::env::var("container").ok().filter(|name| !name.is_empty());
    if let Some(name) = named {
        return format!("container ({name})");
    }
    if exists("/.dockerenv") {
        return "container (docker)".to_owned();
    }
    if exists("/run/.containerenv") {
        return "container (podman)".to_owned();
    }
    match fs::read_to_string("/proc/1/cgroup")
        .ok()
        .and_then(|text| container_of_cgroup(&text))
    {
        Some(name) => format!("container ({name})"),
        None => "host".to_owned(),
    }
}

/// Container runtimes give the first process a group of their own.
fn container_of_cgroup(text: &str) -> Option<&'static str> {
    ["kubepods", "docker", "libpod", "containerd", "lxc"]
        .into_iter()
        .find(|name| text.contains(name))
}

fn settings() -> BTreeMap<String, String> {
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

/// A file of one line, blanks made single.
fn line(path: impl AsRef<Path>) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let words: Vec<&str> = text.trim_matches(['\0', '\n']).split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::NetworkPlace;

    #[test]
    fn a_label_names_cpus_and_kernel_only() {
        assert_eq!(label_of(2, "6.18.44-fc-v595"), "2cpu-linux-6.18");
        assert_eq!(label_of(64, "7.0-rc1"), "64cpu-linux-7.0");
    }

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

    #[test]
    fn the_model_is_read_on_both_architectures() {
        assert_eq!(
            cpu_model("processor\t: 0\nmodel name\t: Fast CPU @ 3 GHz\n").as_deref(),
            Some("Fast CPU @ 3 GHz")
        );
        assert_eq!(
            cpu_model("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n").as_deref(),
            Some("implementer 0x41 part 0xd40")
        );
    }

    #[test]
    fn containers_are_told_by_the_group_of_the_first_process() {
        assert_eq!(container_of_cgroup("0::/kubepods/pod7/x\n"), Some("kubepods"));
        assert_eq!(container_of_cgroup("3:cpuacct:/docker/4f\n"), Some("docker"));
        assert_eq!(container_of_cgroup("0::/init.scope\n"), None);
    }

    #[test]
    fn of_the_kernel_command_line_only_what_moves_figures_is_told() {
        let told = kernel_parameters("root=UUID=4f ip=10.0.0.9 isolcpus=2-3 quiet mitigations=off host=secret nosmt\n");
        assert_eq!(told, "isolcpus=2-3 mitigations=off nosmt");
    }

    #[test]
    fn a_setting_of_the_network_is_compared_only_with_the_same_kind_of_network() {
        let capture = |kind, ports: &str| Environment {
            network: Some(NetworkPlace { kind, note: None }),
            settings: [
                ("net.ipv4.ip_local_port_range".to_owned(), ports.to_owned()),
                ("vm.overcommit_memory".to_owned(), ports.to_owned()),
            ]
            .into(),
            ..Environment::default()
        };
        let host = capture(NetworkKind::Host, "32768 60999");
        let changed = |after| changes(&host, &after).len();
        assert_eq!(changed(capture(NetworkKind::Host, "1024 65535")), 2);
        assert_eq!(
            changed(capture(NetworkKind::Private, "1024 65535")),
            1,
            "another network's ports"
        );
    }

    #[test]
    fn a_pinned_thread_does_not_make_the_machine_smaller() {
        let before = capture().cpus_usable;
        let pinned = std::thread::spawn(|| {
            let mut one = CpuSet::new();
            one.set(usable_cpus()[0]).unwrap();
            nix::sched::sched_setaffinity(Pid::from_raw(0), &one).unwrap();
            capture().cpus_usable
        });
        assert_eq!(pinned.join().unwrap(), before);
    }

    #[test]
    fn this_machine_is_captured() {
        let environment = capture();
        assert!(environment.kernel.is_some());
        assert!(environment.cpus_usable.is_some_and(|cpus| cpus >= 1));
        assert!(environment.cpus_usable <= environment.cpus_online);
        assert!(environment.memory_total_bytes.is_some_and(|bytes| bytes > 1 << 20));
        assert!(environment.settings.contains_key("net.core.somaxconn"));
        assert!(!physical_cores().is_empty());
        assert!(label().contains("cpu-linux-"));
    }
}
