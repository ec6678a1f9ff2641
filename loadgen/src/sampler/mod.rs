//! What the server costs, from cgroups and /proc: its whole process tree, children that ended included.
//!
//! Only this module and `environment` read /proc and cgroups. Nothing here starts, stops or signals a process.
//! CPU time is read by the first of these that works, and the record says which:
//!
//! 1. a cgroup that holds the server alone (`cgroup v1 cpuacct`, `cgroup v2 cpu.stat`): exact, a few microseconds;
//! 2. the live process tree (`/proc (live processes)`): children are counted when their parent reaps them.
//!
//! There is no perf task-clock between them: perf_event_open without cgroups works only for those who may make cgroups
//! too (root, CAP_PERFMON), and Docker's default profile forbids it, so it would add unsafe code and no machine.

pub mod cgroup;
pub mod distance;
pub mod hiccup;
pub mod loopback;
pub mod machine;
pub mod network;
pub mod own;
pub mod process;
pub mod pulse;
pub mod socket;
pub mod syscalls;
pub mod watcher;

pub use cgroup::{Cgroup, CpuTime as CpuReading};
pub use process::ContextSwitches;

use crate::units::duration_ns;
use cgroup::CpuCounter;
use process::{Entry, tree, tree_cpu};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Up to this many processes each is read; above, a sample.
const PROCESSES_READ_EACH: usize = 200;
/// Size of the sample.
const SAMPLE: usize = 100;
/// Kernel stack of a thread on x86-64 and ARM.
const KERNEL_STACK_BYTES: u64 = 16 << 10;

/// The server whose cost is read, as far as it can be seen.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// Its first process; `None` where it cannot be seen.
    pub pid: Option<u32>,
    /// Why [`Watched::pid`] is `None`, as one phrase.
    pub why_no_pid: String,
    /// A group that was made for it and holds nothing else.
    pub cgroup: Option<Arc<Cgroup>>,
    /// The container that its first process was found in.
    pub container_id: Option<String>,
    /// Whether it ran before the trial, so that its counters do not begin at zero.
    pub is_attached: bool,
}

/// Reads the cost of one server. Methods are chosen once, so that all readings of a trial compare.
#[derive(Debug)]
pub struct Sampler {
    root: Option<u32>,
    cpu: CpuMethod,
    /// A group that holds the server alone: knows its processes without a walk.
    group: Group,
    /// Switches when the sampler was made; only for a server that runs longer than the trial.
    switches_before: Option<ContextSwitches>,
    made: Instant,
    own_cpu_ns: AtomicU64,
}

#[derive(Debug)]
enum CpuMethod {
    Cgroup(CpuCounter),
    Processes(u32),
    /// Why there is none.
    None(String),
}

/// Directories of the server's group; the [`Cgroup`] itself stays with the one who removes it.
type Group = Option<Arc<Cgroup>>;

/// What a server holds while all clients are connected.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HoldReading {
    /// User memory, proportional set size.
    pub memory_bytes: Option<u64>,
    /// How, or why not, as `ServerCost::memory_method` says it.
    pub memory_method: String,
    pub memory_kernel_bytes: Option<u64>,
    pub memory_kernel_method: String,
    pub processes: Option<u64>,
    pub threads: Option<u64>,
    /// Switches of the live threads since the sampler was made; only for an attached server, a started one is counted
    /// exactly when it ends.
    pub context_switches: Option<ContextSwitches>,
}

impl Sampler {
    /// Decides how this server is read.
    #[must_use]
    pub fn new(server: &Watched) -> Self {
        let root = server.pid;
        let group = server.cgroup.clone().or_else(|| {
            let pid = root?;
            if let Some(id) = &server.container_id {
                return Cgroup::of_container(pid, id).ok().map(Into::into);
            }
            let members: Vec<u32> = tree(pid).iter().map(|entry| entry.pid).collect();
            Cgroup::of_server(pid, &members).ok().map(Into::into)
        });
        let counter = group.as_ref().and_then(|group| group.cpu_counter().ok());
        let cpu = match (counter, root) {
            (Some(counter), _) => CpuMethod::Cgroup(counter),
            (None, Some(pid)) => CpuMethod::Processes(pid),
            (None, None) => CpuMethod::None(server.why_no_pid.clone()),
        };
        let mut sampler = Self {
            root,
            cpu,
            group,
            switches_before: None,
            made: Instant::now(),
            own_cpu_ns: AtomicU64::new(0),
        };
        if server.is_attached {
            sampler.switches_before = root.map(|pid| sum_of_switches(&tree(pid)));
        }
        sampler
    }

    /// CPU time of the server so far. With a cgroup a few microseconds; else a walk over all processes.
    #[must_use]
    pub fn cpu(&self) -> Option<CpuReading> {
        self.counted(|| match &self.cpu {
            CpuMethod::Cgroup(counter) => counter.read(),
            CpuMethod::Processes(pid) => cpu_of_tree(&tree(*pid)),
            CpuMethod::None(_) => None,
        })
    }

    /// The same for 100 ms windows: nothing while sampling has cost more than 1 % of one CPU.
    #[must_use]
    pub fn cpu_within_budget(&self) -> Option<CpuReading> {
        let is_within = self.own_cpu_s() <= 0.01 * self.made.elapsed().as_secs_f64();
        (is_within || matches!(self.cpu, CpuMethod::Cgroup(_))).then(|| self.cpu())?
    }

    /// CPU time of the server on each CPU, in nanoseconds; only with cgroup v1.
    #[must_use]
    pub fn cpu_per_cpu_ns(&self) -> Option<Vec<u64>> {
        self.counted(|| match &self.cpu {
            CpuMethod::Cgroup(counter) => counter.read_per_cpu(),
            CpuMethod::Processes(_) | CpuMethod::None(_) => None,
        })
    }

    /// How CPU time is read, or why it is not, as `ServerCost::cpu_method` says it.
    #[must_use]
    pub fn cpu_method(&self) -> String {
        match &self.cpu {
            CpuMethod::Cgroup(counter) => counter.method().to_owned(),
            CpuMethod::Processes(_) => "/proc (live processes)".to_owned(),
            CpuMethod::None(reason) => reason.clone(),
        }
    }

    /// Memory, processes and threads now. Costs up to 50 us for each process read, so it is called only while all
    /// clients hold still.
    #[must_use]
    pub fn hold(&self) -> HoldReading {
        self.counted(|| self.read_hold())
    }

    /// CPU time that this sampler's calls have cost so far.
    #[must_use]
    pub fn own_cpu_s(&self) -> f64 {
        Duration::from_nanos(self.own_cpu_ns.load(Ordering::Relaxed)).as_secs_f64()
    }

    fn read_hold(&self) -> HoldReading {
        let Some(root) = self.root else {
            let CpuMethod::None(reason) = &self.cpu else {
                return HoldReading::default();
            };
            return HoldReading {
                memory_method: reason.clone(),
                memory_kernel_method: reason.clone(),
                ..HoldReading::default()
            };
        };
        let (pids, threads) = self.members(root);
        let sample = sample_of(&pids, root);
        let (memory_bytes, memory_method) = user_memory(&sample, pids.len());
        let (memory_kernel_bytes, memory_kernel_method) = self.kernel_memory(&sample, pids.len(), threads);
        let context_switches = self.switches_before.map(|before| {
            let now = sum_of_switches(&tree(root));
            ContextSwitches {
                voluntary: now.voluntary.saturating_sub(before.voluntary),
                involuntary: now.involuntary.saturating_sub(before.involuntary),
            }
        });
        HoldReading {
            memory_bytes,
            memory_method,
            memory_kernel_bytes,
            memory_kernel_method,
            processes: (!pids.is_empty()).then_some(pids.len() as u64),
            threads: (threads > 0).then_some(threads),
            context_switches,
        }
    }

    /// Processes of the server and the number of their threads.
    fn members(&self, root: u32) -> (Vec<u32>, u64) {
        if let Some(group) = &self.group
            && let Some(threads) = group.threads()
        {
            return (group.processes(), threads);
        }
        let tree: Vec<Entry> = tree(root).into_iter().filter(|entry| !entry.is_dead()).collect();
        (
            tree.iter().map(|entry| entry.pid).collect(),
            tree.iter().map(|entry| entry.threads).sum(),
        )
    }

    fn kernel_memory(&self, sample: &Sample, processes: usize, threads: u64) -> (Option<u64>, String) {
        if let Some(bytes) = self.group.as_ref().and_then(|group| group.kernel_memory_bytes()) {
            return (Some(bytes), "memory cgroup".to_owned());
        }
        let page_tables = sample.estimate(processes, |pid| process::page_table_bytes(pid).ok_or(String::new()));
        match page_tables {
            Ok((bytes, _)) => (
                Some(bytes + threads * KERNEL_STACK_BYTES),
                "page tables and kernel stacks from /proc".to_owned(),
            ),
            Err(_) => (None, "the server's processes cannot be read".to_owned()),
        }
    }

    /// Adds what `read` costs this thread to the sampler's own cost.
    fn counted<T>(&self, read: impl FnOnce() -> T) -> T {
        let before = own::thread_cpu();
        let value = read();
        let cost = own::thread_cpu().saturating_sub(before);
        self.own_cpu_ns.fetch_add(duration_ns(cost), Ordering::Relaxed);
        value
    }
}

/// The processes that are read: the first one always, since it alone may hold what all share.
#[derive(Debug, PartialEq, Eq)]
struct Sample {
    root: Option<u32>,
    others: Vec<u32>,
    is_whole: bool,
}

impl Sample {
    /// Sum over all `processes` of what `read` gives in bytes, with the number of processes read.
    fn estimate(&self, processes: usize, read: impl Fn(u32) -> Result<u64, String>) -> Result<(u64, usize), String> {
        let mut reason = String::from("the server has ended");
        let mut readings = |pids: &[u32]| -> Vec<u64> {
            pids.iter()
                .filter_map(|pid| read(*pid).map_err(|error| reason = error).ok())
                .collect()
        };
        let root = readings(self.root.as_slice());
        let others = readings(&self.others);
        let read = root.len() + others.len();
        if read == 0 {
            return Err(reason);
        }
        let of_others: u64 = others.iter().sum();
        let others_total = if self.is_whole || others.is_empty() {
            of_others
        } else {
            let unsampled_too = (processes - root.len()) as u128;
            u64::try_from(u128::from(of_others) * unsampled_too / others.len() as u128).unwrap_or(u64::MAX)
        };
        Ok((root.iter().sum::<u64>() + others_total, read))
    }
}

/// All processes up to [`PROCESSES_READ_EACH`], else the first and [`SAMPLE`] of the others, drawn with a fixed seed.
fn sample_of(pids: &[u32], root: u32) -> Sample {
    let mut others: Vec<u32> = pids.iter().copied().filter(|pid| *pid != root).collect();
    let root = pids.contains(&root).then_some(root);
    let is_whole = pids.len() <= PROCESSES_READ_EACH;
    if !is_whole {
        let mut random = ChaCha8Rng::seed_from_u64(pids.len() as u64);
        for place in 0..SAMPLE {
            let left = (others.len() - place) as u64;
            let drawn = usize::try_from(random.next_u64() % left).unwrap_or(0);
            others.swap(place, place + drawn);
        }
        others.truncate(SAMPLE);
    }
    Sample { root, others, is_whole }
}

fn user_memory(sample: &Sample, processes: usize) -> (Option<u64>, String) {
    let pss = sample.estimate(processes, |pid| {
        process::pss_bytes(pid).map_err(|error| format!("smaps_rollup of the server: {error}"))
    });
    match pss {
        Ok((bytes, 1)) => (Some(bytes), "PSS of 1 process".to_owned()),
        Ok((bytes, read)) if sample.is_whole => (Some(bytes), format!("PSS of {read} processes")),
        Ok((bytes, _)) => (
            Some(bytes),
            format!("PSS of a sample of {SAMPLE} of {processes} processes"),
        ),
        Err(reason) => (None, reason),
    }
}

/// CPU time of a tree from /proc; none when it is gone.
fn cpu_of_tree(tree: &[Entry]) -> Option<CpuReading> {
    if tree.is_empty() {
        return None;
    }
    // The split is cut to ticks for each process, the total is not.
    Some(cgroup::scaled(
        duration_ns(tree_cpu(tree)),
        Some(tree.iter().map(|entry| entry.user_ns).sum()),
        Some(tree.iter().map(|entry| entry.system_ns).sum()),
    ))
}

fn sum_of_switches(tree: &[Entry]) -> ContextSwitches {
    let mut sum = ContextSwitches::default();
    for switches in tree.iter().filter_map(|entry| process::context_switches(entry.pid)) {
        sum.voluntary += switches.voluntary;
        sum.involuntary += switches.involuntary;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn up_to_two_hundred_processes_each_is_read() {
        let pids: Vec<u32> = (1..=200).collect();
        let sample = sample_of(&pids, 7);
        assert!(sample.is_whole);
        assert_eq!((sample.root, sample.others.len()), (Some(7), 199));
    }

    #[test]
    fn above_that_a_hundred_children_are_drawn_once_each_and_the_same_again() {
        let pids: Vec<u32> = (1..=1001).collect();
        let sample = sample_of(&pids, 1);
        let distinct: HashSet<u32> = sample.others.iter().copied().collect();
        assert_eq!((sample.root, distinct.len()), (Some(1), 100));
        assert!(!distinct.contains(&1));
        assert_eq!(sample, sample_of(&pids, 1));
    }

    #[test]
    fn a_sample_stands_for_all_children_and_the_first_process_for_itself() {
        let pids: Vec<u32> = (1..=1001).collect();
        let sample = sample_of(&pids, 1);
        let bytes = |pid| Ok(if pid == 1 { 5_000 } else { 10 });
        assert_eq!(sample.estimate(1001, bytes), Ok((5_000 + 1000 * 10, 101)));
    }

    #[test]
    fn a_process_that_cannot_be_read_gives_the_reason() {
        let sample = sample_of(&[3], 3);
        assert_eq!(sample.estimate(1, |_| Err("denied".into())), Err("denied".into()));
    }
}
