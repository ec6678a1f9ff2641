//! Control groups: where the server is accounted, whatever it forks and whatever has ended already.
//!
//! Version 1 (`cpuacct`, `memory`), version 2 and mixtures of both. A group is created below loadgen's own, so limits
//! that hold for loadgen hold for the server too. Only accounting is used: no controller is switched on, no limit set.

use procfs::FromBufRead;
use procfs::process::MountInfos;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::process;

/// A group that holds one server and nothing else, in each hierarchy that accounts something we want.
#[derive(Debug)]
pub struct Cgroup {
    places: Vec<Place>,
    /// Whether the directories are ours to remove.
    is_created: bool,
}

/// One directory of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    hierarchy: Hierarchy,
    directory: PathBuf,
}

/// The mounted hierarchies that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hierarchy {
    CpuacctV1,
    MemoryV1,
    V2,
}

/// CPU time of a group since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    pub total_ns: u64,
    pub user_ns: Option<u64>,
    pub system_ns: Option<u64>,
}

impl Cgroup {
    /// Makes a fresh, empty group below loadgen's own, and removes what dead loadgens left there.
    ///
    /// # Errors
    /// Why none can be had, as one phrase: nothing mounted, or not permitted.
    pub fn create() -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let own = places_of_process("self")?;
        let name = format!(
            "loadgen-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let mut group = Self {
            places: Vec::new(),
            is_created: true,
        };
        let mut refusal = String::from("no cgroup hierarchy with CPU accounting is mounted");
        for parent in own {
            let is_needed = match parent.hierarchy {
                Hierarchy::CpuacctV1 | Hierarchy::MemoryV1 => true,
                // Version 2 comes last in the list. Beside version 1 it adds nothing.
                Hierarchy::V2 => group.place(Hierarchy::CpuacctV1).is_none(),
            };
            if !is_needed {
                continue;
            }
            remove_stale(&parent.directory);
            let directory = parent.directory.join(&name);
            match fs::create_dir(&directory) {
                Ok(()) => group.places.push(Place { directory, ..parent }),
                Err(error) => refusal = format!("no cgroup can be made: {error}"),
            }
        }
        if group.cpu_place().is_none() {
            return Err(refusal);
        }
        Ok(group)
    }

    /// The group a running process is in, if it holds only `members` (a server's tree) and is not the root.
    ///
    /// # Errors
    /// Why its group does not account for the server alone.
    pub fn of_server(pid: u32, members: &[u32]) -> Result<Self, String> {
        let places = places_of_process(&pid.to_string())?;
        let places: Vec<Place> = places
            .into_iter()
            .filter(|place| {
                let inside = processes_in(&place.directory);
                !is_root(&place.directory) && !inside.is_empty() && inside.iter().all(|pid| members.contains(pid))
            })
            .collect();
        let group = Self {
            places,
            is_created: false,
        };
        match group.cpu_place() {
            Some(_) => Ok(group),
            None => Err("the server shares its cgroup with other processes".into()),
        }
    }

    /// The group of a container, whose first process is `pid` here: all that is in it, also what the engine runs there
    /// (health checks).
    ///
    /// # Errors
    /// Why it cannot be read, or that `pid` is something else on this machine: an engine may run in a virtual machine.
    pub fn of_container(pid: u32, id: &str) -> Result<Self, String> {
        let places: Vec<Place> = places_of_process(&pid.to_string())?
            .into_iter()
            .filter(|place| !is_root(&place.directory) && place.directory.to_string_lossy().contains(id))
            .collect();
        let group = Self {
            places,
            is_created: false,
        };
        match group.cpu_place() {
            Some(_) => Ok(group),
            None => Err(format!(
                "the container's cgroup is not seen here (process {pid} is in another one)"
            )),
        }
    }

    /// The directories that a process joins by writing its id to `cgroup.procs`.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.places.iter().map(|place| place.directory.as_path())
    }

    /// Gives up the directories that `pid` is not in: joining them was not permitted.
    ///
    /// # Errors
    /// When no CPU accounting is left.
    pub(crate) fn keep_joined(mut self, pid: u32) -> Result<Self, String> {
        let (joined, refused): (Vec<_>, Vec<_>) = std::mem::take(&mut self.places)
            .into_iter()
            .partition(|place| processes_in(&place.directory).contains(&pid));
        for place in refused {
            let _ = fs::remove_dir(place.directory);
        }
        self.places = joined;
        match self.cpu_place() {
            Some(_) => Ok(self),
            None => Err("the server could not be put into its cgroup".into()),
        }
    }

    /// All live processes inside, in ascending order; the kernel leaves out dead ones that wait for their parent.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        self.cpu_place()
            .map_or_else(Vec::new, |place| processes_in(&place.directory))
    }

    /// Threads inside.
    #[must_use]
    pub fn threads(&self) -> Option<u64> {
        let place = self.cpu_place()?;
        let file = match place.hierarchy {
            Hierarchy::V2 => "cgroup.threads",
            Hierarchy::CpuacctV1 | Hierarchy::MemoryV1 => "tasks",
        };
        let text = fs::read_to_string(place.directory.join(file)).ok()?;
        Some(text.lines().count() as u64)
    }

    /// Kernel memory charged now, in bytes: page tables, stacks, slab objects, socket buffers.
    #[must_use]
    pub fn kernel_memory_bytes(&self) -> Option<u64> {
        if let Some(directory) = self.place(Hierarchy::MemoryV1) {
            let kernel = read_number(&directory.join("memory.kmem.usage_in_bytes"))?;
            // Socket buffers are charged to a counter of their own.
            return Some(kernel + read_number(&directory.join("memory.kmem.tcp.usage_in_bytes")).unwrap_or(0));
        }
        let text = fs::read_to_string(self.place(Hierarchy::V2)?.join("memory.stat")).ok()?;
        Some(field(&text, "kernel")? + field(&text, "sock").unwrap_or(0))
    }

    /// Opens the CPU counters, so that a reading is one to three reads of open files.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn cpu_counter(&self) -> io::Result<CpuCounter> {
        let place = self.cpu_place().ok_or(io::ErrorKind::NotFound)?;
        let open = |name: &str| File::open(place.directory.join(name));
        match place.hierarchy {
            Hierarchy::V2 => Ok(CpuCounter::V2 {
                stat: open("cpu.stat")?,
            }),
            Hierarchy::CpuacctV1 | Hierarchy::MemoryV1 => Ok(CpuCounter::V1 {
                usage: open("cpuacct.usage")?,
                user: open("cpuacct.usage_user").ok(),
                system: open("cpuacct.usage_sys").ok(),
                per_cpu: open("cpuacct.usage_percpu").ok(),
            }),
        }
    }

    /// Removes the directories once the last process has gone; what is still in use at the deadline stays, and the
    /// next loadgen removes it.
    pub(crate) fn remove(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.try_remove() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Tries once; whether something is left.
    fn try_remove(&self) -> bool {
        let is_left = |place: &&Place| {
            fs::remove_dir(&place.directory).is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
        };
        self.places.iter().filter(is_left).count() > 0
    }

    fn place(&self, hierarchy: Hierarchy) -> Option<&Path> {
        let place = self.places.iter().find(|place| place.hierarchy == hierarchy)?;
        Some(&place.directory)
    }

    /// Where CPU time is accounted: version 1 first, its clock has nanoseconds.
    fn cpu_place(&self) -> Option<&Place> {
        [Hierarchy::CpuacctV1, Hierarchy::V2]
            .into_iter()
            .find_map(|hierarchy| self.places.iter().find(|place| place.hierarchy == hierarchy))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if self.is_created {
            self.try_remove();
        }
    }
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

/// cgroup version in use for CPU accounting, if any is mounted.
#[must_use]
pub fn version() -> Option<u8> {
    let places = places_of_process("self").ok()?;
    let has_v1 = places.iter().any(|place| place.hierarchy == Hierarchy::CpuacctV1);
    (!places.is_empty()).then_some(if has_v1 { 1 } else { 2 })
}

/// Limits that hold for loadgen and all it starts, by file name, e.g. `cpu.max`; those that are not set are left out.
#[must_use]
pub fn limits() -> Vec<(String, String)> {
    let of_place = |place: Place| {
        let files: &[&str] = match place.hierarchy {
            Hierarchy::V2 => &["cpu.max", "memory.max", "pids.max", "cpuset.cpus.effective"],
            Hierarchy::MemoryV1 => &["memory.limit_in_bytes"],
            Hierarchy::CpuacctV1 => &["cpu.cfs_quota_us"],
        };
        let read = move |file: &&str| {
            let text = fs::read_to_string(place.directory.join(file)).ok()?;
            let text = text.trim();
            let is_set =
                !text.is_empty() && !text.starts_with("max") && text != "-1" && !text.starts_with("922337203685");
            is_set.then(|| ((*file).to_owned(), text.to_owned()))
        };
        files.iter().filter_map(read).collect::<Vec<_>>()
    };
    places_of_process("self")
        .unwrap_or_default()
        .into_iter()
        .flat_map(of_place)
        .collect()
}

/// The directory that accounts for the whole machine, with its version; none inside a container, which sees itself only.
pub(super) fn machine_directory() -> Option<(u8, PathBuf)> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    hierarchies(&mounts)
        .into_iter()
        .filter(|mount| mount.hierarchy != Hierarchy::MemoryV1 && is_root(&mount.point))
        .map(|mount| (if mount.hierarchy == Hierarchy::V2 { 2 } else { 1 }, mount.point))
        .next()
}

/// Whether a directory is the true root of its hierarchy and not that of a cgroup namespace: only the root of
/// version 1 has `release_agent`, and only the root of version 2 lacks `cgroup.type`.
fn is_root(directory: &Path) -> bool {
    let has = |name: &str| directory.join(name).exists();
    has("release_agent") || (has("cgroup.controllers") && !has("cgroup.type"))
}

/// Removes groups whose loadgen is dead. A group that still holds a process cannot be removed, so a wrong guess
/// (the id belongs to another pid namespace) does no harm.
fn remove_stale(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(owner_of_group);
        if owner.is_some_and(|pid| !process::exists(pid)) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// The loadgen that made a group of this name.
fn owner_of_group(name: &str) -> Option<u32> {
    name.strip_prefix("loadgen-")?.split_once('-')?.0.parse().ok()
}

/// Where a process (`self` or an id) stands in each hierarchy we know; version 1 first.
fn places_of_process(process: &str) -> Result<Vec<Place>, String> {
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
            Hierarchy::MemoryV1 => mount.fs_type == "cgroup" && mount.super_options.contains_key("memory"),
        })?;
        Some(Mount {
            hierarchy,
            root: mount.root.clone(),
            point: mount.mount_point.clone(),
        })
    };
    [Hierarchy::CpuacctV1, Hierarchy::MemoryV1, Hierarchy::V2]
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
            "" => mount.point,
            below => mount.point.join(below),
        };
        Some(Place {
            hierarchy: mount.hierarchy,
            directory,
        })
    };
    hierarchies(mountinfo).into_iter().filter_map(place).collect()
}

fn processes_in(directory: &Path) -> Vec<u32> {
    let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    pids.sort_unstable();
    pids.dedup(); // version 1 promises neither order nor uniqueness
    pids
}

/// The content of an open file from its start, up to 16 KiB (`usage_percpu` of a thousand CPUs).
fn read_open(file: &File) -> Option<String> {
    let mut buffer = [0; 16 << 10];
    let length = file.read_at(&mut buffer, 0).ok()?;
    std::str::from_utf8(&buffer[..length]).ok().map(str::to_owned)
}

fn read_number(path: &Path) -> Option<u64> {
    parse_number(&fs::read_to_string(path).ok()?)
}

fn parse_number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

pub(super) fn parse_numbers(text: &str) -> Option<Vec<u64>> {
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
fn scaled(total_ns: u64, user_ns: Option<u64>, system_ns: Option<u64>) -> CpuTime {
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
            [(Hierarchy::CpuacctV1, "/sys/fs/cgroup/cpu,cpuacct/sub".into())]
        );
        assert_eq!(
            place("/system.slice"),
            [],
            "a group outside of the mount cannot be reached"
        );
        assert_eq!(directories(UNIFIED, "0::/../other\n"), []);
    }

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

    #[test]
    fn only_groups_of_loadgen_name_an_owner() {
        assert_eq!(owner_of_group("loadgen-4711-0"), Some(4711));
        assert_eq!(owner_of_group("loadgen-x-0"), None);
        assert_eq!(owner_of_group("docker"), None);
    }
}
