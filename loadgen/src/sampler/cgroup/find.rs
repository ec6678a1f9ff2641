//! Where a process stands in the mounted hierarchies of control groups.

use procfs::FromBufRead;
use procfs::process::MountInfos;
use std::fs;
use std::path::{Path, PathBuf};

/// One directory of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) hierarchy: Hierarchy,
    /// The highest group of the hierarchy that is seen from here.
    pub(super) mount: PathBuf,
    pub(super) directory: PathBuf,
}

/// The mounted hierarchies that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hierarchy {
    CpuacctV1,
    /// Quotas; often one mount with `CpuacctV1`.
    CpuV1,
    MemoryV1,
    V2,
}

/// cgroup version in use for CPU accounting, if any is mounted.
#[must_use]
pub fn version() -> Option<u8> {
    let places = places_of_process("self").ok()?;
    let has_v1 = places.iter().any(|place| place.hierarchy == Hierarchy::CpuacctV1);
    (!places.is_empty()).then_some(if has_v1 { 1 } else { 2 })
}

/// The directory that accounts for the whole machine, with its version; none inside a container, which sees itself only.
pub(in crate::sampler) fn machine_directory() -> Option<(u8, PathBuf)> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    hierarchies(&mounts)
        .into_iter()
        .filter(|mount| matches!(mount.hierarchy, Hierarchy::CpuacctV1 | Hierarchy::V2) && is_root(&mount.point))
        .map(|mount| (if mount.hierarchy == Hierarchy::V2 { 2 } else { 1 }, mount.point))
        .next()
}

/// Whether a directory is the true root of its hierarchy and not that of a cgroup namespace: only the root of
/// version 1 has `release_agent`, and only the root of version 2 lacks `cgroup.type`.
pub(super) fn is_root(directory: &Path) -> bool {
    let has = |name: &str| directory.join(name).exists();
    has("release_agent") || (has("cgroup.controllers") && !has("cgroup.type"))
}

/// Where a process (`self` or an id) stands in each hierarchy we know; version 1 first.
pub(super) fn places_of_process(process: &str) -> Result<Vec<Place>, String> {
    let read = |path: String| fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"));
    let mounts = read("/proc/self/mountinfo".into())?;
    let memberships = read(format!("/proc/{process}/cgroup"))?;
    Ok(places(&mounts, &memberships))
}

/// The id of the container that a process is in, from the names of its groups; none for one outside of containers.
#[must_use]
pub fn container_id(pid: u32) -> Option<String> {
    container_id_of(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

/// Engines name groups after the 64 hexadecimal digits of the id: `/docker/ID`, `docker-ID.scope`.
fn container_id_of(memberships: &str) -> Option<String> {
    memberships
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .find(|word| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .map(str::to_owned)
}

/// A mounted hierarchy.
#[derive(Debug)]
struct Mount {
    hierarchy: Hierarchy,
    /// The group that the mount point shows; `/` unless a part was mounted or a cgroup namespace is in force.
    root: String,
    point: PathBuf,
}

/// Hierarchies in the text of `/proc/self/mountinfo`, version 1 first.
fn hierarchies(mountinfo: &str) -> Vec<Mount> {
    let mounts = MountInfos::from_buf_read(mountinfo.as_bytes()).map_or_else(|_| Vec::new(), |mounts| mounts.0);
    let find = |hierarchy: Hierarchy| {
        let mount = mounts.iter().find(|mount| match hierarchy {
            Hierarchy::V2 => mount.fs_type == "cgroup2",
            Hierarchy::CpuacctV1 => mount.fs_type == "cgroup" && mount.super_options.contains_key("cpuacct"),
            Hierarchy::CpuV1 => mount.fs_type == "cgroup" && mount.super_options.contains_key("cpu"),
            Hierarchy::MemoryV1 => mount.fs_type == "cgroup" && mount.super_options.contains_key("memory"),
        })?;
        Some(Mount {
            hierarchy,
            root: mount.root.clone(),
            point: mount.mount_point.clone(),
        })
    };
    [
        Hierarchy::CpuacctV1,
        Hierarchy::CpuV1,
        Hierarchy::MemoryV1,
        Hierarchy::V2,
    ]
    .into_iter()
    .filter_map(find)
    .collect()
}

/// Directories of a process from the texts of `/proc/self/mountinfo` and `/proc/PID/cgroup`.
fn places(mountinfo: &str, memberships: &str) -> Vec<Place> {
    let place = |mount: Mount| {
        // Lines are `4:memory:/path`, `2:cpu,cpuacct:/path`, and `0::/path` for version 2.
        let path = memberships.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let mut controllers = parts.next()?.split(',');
            let is_ours = match mount.hierarchy {
                Hierarchy::V2 => controllers.all(str::is_empty),
                Hierarchy::CpuacctV1 => controllers.any(|name| name == "cpuacct"),
                Hierarchy::CpuV1 => controllers.any(|name| name == "cpu"),
                Hierarchy::MemoryV1 => controllers.any(|name| name == "memory"),
            };
            is_ours.then(|| parts.next())?
        })?;
        let below = path.strip_prefix(mount.root.trim_end_matches('/'))?;
        // `/../x`: the process is outside of what is mounted here.
        if below.starts_with("/..") {
            return None;
        }
        let directory = match below.trim_start_matches('/') {
            "" => mount.point.clone(),
            below => mount.point.join(below),
        };
        Some(Place {
            hierarchy: mount.hierarchy,
            mount: mount.point.clone(),
            directory,
        })
    };
    hierarchies(mountinfo).into_iter().filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    const UNIFIED: &str =
        "35 24 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    const DOCKER_V1: &str = "\
700 690 0:31 /docker/4f1e /sys/fs/cgroup/cpu,cpuacct ro,nosuid - cgroup cgroup rw,cpu,cpuacct
";

    fn directories(mounts: &str, memberships: &str) -> Vec<(Hierarchy, String)> {
        places(mounts, memberships)
            .into_iter()
            .map(|place| (place.hierarchy, place.directory.display().to_string()))
            .collect()
    }

    #[test]
    fn a_process_is_found_in_each_hierarchy_of_a_hybrid_mount() {
        let memberships = "4:memory:/app/7\n2:cpuacct:/\n0::/\n";
        assert_eq!(
            directories(HYBRID, memberships),
            [
                (Hierarchy::CpuacctV1, "/sys/fs/cgroup/cpuacct".into()),
                (Hierarchy::MemoryV1, "/sys/fs/cgroup/memory/app/7".into()),
                (Hierarchy::V2, "/sys/fs/cgroup/unified".into()),
            ]
        );
    }

    #[test]
    fn a_process_is_found_in_a_unified_mount() {
        assert_eq!(
            directories(UNIFIED, "0::/user.slice/session-3.scope\n"),
            [(Hierarchy::V2, "/sys/fs/cgroup/user.slice/session-3.scope".into())]
        );
    }

    #[test]
    fn the_mounted_part_of_a_hierarchy_is_not_repeated_in_the_path() {
        let place = |path: &str| directories(DOCKER_V1, &format!("3:cpu,cpuacct:{path}\n"));
        assert_eq!(
            place("/docker/4f1e/sub"),
            [
                (Hierarchy::CpuacctV1, "/sys/fs/cgroup/cpu,cpuacct/sub".into()),
                (Hierarchy::CpuV1, "/sys/fs/cgroup/cpu,cpuacct/sub".into()),
            ]
        );
        assert_eq!(
            place("/system.slice"),
            [],
            "a group outside of the mount cannot be reached"
        );
        assert_eq!(directories(UNIFIED, "0::/../other\n"), []);
    }

    #[test]
    fn a_container_is_known_by_its_id_in_the_names_of_its_groups() {
        let id = "4f1e".repeat(16);
        assert_eq!(
            container_id_of(&format!("4:memory:/docker/{id}\n0::/\n")),
            Some(id.clone())
        );
        assert_eq!(
            container_id_of(&format!("0::/system.slice/docker-{id}.scope\n")),
            Some(id)
        );
        assert_eq!(container_id_of("0::/system.slice/ssh.service\n"), None);
    }
}
