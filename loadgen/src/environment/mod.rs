//! The machine and its settings, captured once per run: what cannot be read is null, never a guess.

mod machine;
pub mod network;
mod settings;
pub mod signals;

pub use machine::{Core, machine, physical_cores, usable_cpus};

use crate::record::{Environment, NetworkKind};
use crate::sampler::cgroup;
use machine::{cpu_list, online_cpus};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use procfs::{Current, Meminfo};
use settings::settings;
use std::fs;
use std::path::Path;

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
        memory_total_bytes: Meminfo::current().ok().map(|memory| memory.mem_total),
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
    use nix::sched::CpuSet;
    use nix::unistd::Pid;

    #[test]
    fn a_label_names_cpus_and_kernel_only() {
        assert_eq!(label_of(2, "6.18.44-fc-v595"), "2cpu-linux-6.18");
        assert_eq!(label_of(64, "7.0-rc1"), "64cpu-linux-7.0");
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
