//! Control groups: where the server is accounted, whatever it forks and whatever has ended already.
//!
//! Version 1 (`cpuacct`, `memory`), version 2 and mixtures of both. A group is created below loadgen's own, so limits
//! that hold for loadgen hold for the server too. Only accounting is used: no controller is switched on, and no limit set but
//! that of processes by `pids.rs`, for `loadgen verify --faults`.

mod counter;
mod find;
mod pids;
mod quota;

pub use counter::{CpuCounter, CpuTime};
pub(super) use counter::{parse_numbers, scaled};
pub(super) use find::machine_directory;
pub use find::{container_id, version};
pub use pids::ProcessLimit;
pub use quota::{QuotaWatch, Throttled};

use super::process;
use counter::{field, parse_number};
use find::{Hierarchy, Place, is_root, places_of_process};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A group that holds one server and nothing else, in each hierarchy that accounts something we want.
#[derive(Debug)]
pub struct Cgroup {
    places: Vec<Place>,
    /// Whether the directories are ours to remove.
    is_created: bool,
    /// Kept open for the locks on the directories that this process made: the kernel gives them up with it, however it ends.
    held: Vec<File>,
}

impl Cgroup {
    /// Makes a fresh, empty group below loadgen's own.
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
            held: Vec::new(),
        };
        let mut refusal = String::from("no cgroup hierarchy with CPU accounting is mounted");
        for parent in own {
            let is_needed = match parent.hierarchy {
                Hierarchy::CpuacctV1 | Hierarchy::MemoryV1 => true,
                // Version 2 comes last in the list. Beside version 1 it adds nothing.
                Hierarchy::V2 => group.place(Hierarchy::CpuacctV1).is_none(),
                // A quota of the server's own would be a limit.
                Hierarchy::CpuV1 => false,
            };
            if !is_needed {
                continue;
            }
            let directory = parent.directory.join(&name);
            match make_and_hold(&parent.directory, &directory) {
                Ok(held) => {
                    group.places.push(Place { directory, ..parent });
                    group.held.push(held);
                }
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
            held: Vec::new(),
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
            held: Vec::new(),
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
            Hierarchy::CpuacctV1 | Hierarchy::CpuV1 | Hierarchy::MemoryV1 => "tasks",
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
            Hierarchy::CpuacctV1 | Hierarchy::CpuV1 | Hierarchy::MemoryV1 => Ok(CpuCounter::V1 {
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

/// Limits that hold for loadgen and all it starts, by file name, e.g. `cpu.max`; those that are not set are left out.
#[must_use]
pub fn limits() -> Vec<(String, String)> {
    let of_place = |place: Place| {
        let files: &[&str] = match place.hierarchy {
            Hierarchy::V2 => &["cpu.max", "memory.max", "pids.max", "cpuset.cpus.effective"],
            Hierarchy::MemoryV1 => &["memory.limit_in_bytes"],
            Hierarchy::CpuV1 => &["cpu.cfs_quota_us"],
            Hierarchy::CpuacctV1 => &[],
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

/// Makes a group and locks it. Until that is done whoever looks for groups of dead loadgens is kept out by the parent's lock.
fn make_and_hold(parent: &Path, directory: &Path) -> io::Result<File> {
    let made = File::open(parent)?;
    made.lock_shared()?;
    fs::create_dir(directory)?;
    let held = File::open(directory)?;
    held.lock()?;
    Ok(held)
}

/// A group that a loadgen made and may have left behind.
#[derive(Debug)]
pub struct Leftover {
    directory: PathBuf,
}

impl Leftover {
    fn maker(&self) -> Option<u32> {
        maker_of(self.directory.file_name()?.to_str()?)
    }

    /// What still runs in it.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        processes_in(&self.directory)
    }

    /// Removes it once it is empty; whether it is gone.
    #[must_use]
    pub fn remove(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            match fs::remove_dir(&self.directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound && Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(2));
                }
                removed => return removed.is_ok(),
            }
        }
    }
}

/// The groups below loadgen's own that dead loadgens left there. A living one holds a lock on each of its own.
#[must_use]
pub fn leftovers() -> Vec<Leftover> {
    parents().iter().flat_map(|parent| left_in(parent)).collect()
}

fn left_in(parent: &Path) -> Vec<Leftover> {
    let is_free = |directory: &Path| File::open(directory).is_ok_and(|group| group.try_lock().is_ok());
    // While somebody makes a group there, it is not locked yet.
    if !is_free(parent) {
        return Vec::new();
    }
    // A loadgen of an earlier version holds no lock, but its id.
    let is_dead = |maker: u32| maker == std::process::id() || !process::exists(maker);
    let is_left = |group: &Leftover| group.maker().is_some_and(is_dead) && is_free(&group.directory);
    groups_in(parent).into_iter().filter(is_left).collect()
}

/// The groups that a process, dead or alive, has made below this one's own.
#[must_use]
pub fn of_process(pid: u32) -> Vec<Leftover> {
    let all = parents().into_iter().flat_map(|parent| groups_in(&parent));
    all.filter(|group| group.maker() == Some(pid)).collect()
}

fn parents() -> Vec<PathBuf> {
    places_of_process("self")
        .unwrap_or_default()
        .into_iter()
        .map(|place| place.directory)
        .collect()
}

fn groups_in(parent: &Path) -> Vec<Leftover> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let all = entries.map(|entry| Leftover {
        directory: entry.path(),
    });
    all.filter(|group| group.maker().is_some()).collect()
}

/// `loadgen-4711-0` was made by process 4711.
fn maker_of(name: &str) -> Option<u32> {
    let (pid, number) = name.strip_prefix("loadgen-")?.split_once('-')?;
    number.parse::<u32>().ok()?;
    pid.parse().ok()
}

fn processes_in(directory: &Path) -> Vec<u32> {
    let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    pids.sort_unstable();
    pids.dedup(); // version 1 promises neither order nor uniqueness
    pids
}

fn read_number(path: &Path) -> Option<u64> {
    parse_number(&fs::read_to_string(path).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_groups_of_loadgen_name_a_maker() {
        assert_eq!(maker_of("loadgen-4711-0"), Some(4711));
        assert!(
            ["loadgen-x-0", "loadgen-1", "docker", "loadgen-1-0.scope"]
                .into_iter()
                .all(|name| maker_of(name).is_none())
        );
    }

    #[test]
    fn a_group_is_left_over_once_nobody_holds_it() {
        let parent = tempfile::tempdir().unwrap();
        let group = parent.path().join("loadgen-4194305-0"); // no process has an id above 2^22
        fs::create_dir(parent.path().join("loadgen-other")).unwrap();
        let held = make_and_hold(parent.path(), &group).unwrap();
        assert!(left_in(parent.path()).is_empty(), "its loadgen lives");
        drop(held);
        let left = left_in(parent.path());
        assert_eq!(
            left.iter().map(|left| left.directory.as_path()).collect::<Vec<_>>(),
            [group.as_path()]
        );
        assert!(left.iter().all(|left| left.remove(Duration::ZERO)) && !group.exists());
    }
}
