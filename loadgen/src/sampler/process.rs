//! Processes from /proc: who belongs to a server's tree, what each uses. Everything here may vanish while it is read;
//! a process that does is left out.

use crate::units::duration_ns;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use procfs::process::{Schedstat, SmapsRollup, Stat, Status};
use procfs::{FromRead, ProcResult};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// /proc counts memory in these.
const KIB: u64 = 1024;

/// One line of a process table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub pid: u32,
    pub parent: u32,
    /// Process group.
    pub group: i32,
    /// `R`, `S`, `D`, `Z` ...
    pub state: char,
    pub threads: u64,
    /// CPU time of the process itself, threads that ended included, cut to the clock tick (10 ms).
    pub own_cpu_ns: u64,
    /// The same of the children it has reaped.
    pub reaped_cpu_ns: u64,
    pub user_ns: u64,
    pub system_ns: u64,
    /// Ticks after boot; tells a process from a later one with the same id.
    pub started_ticks: u64,
}

/// A process and all its descendants, the first process first; empty when it is gone.
///
/// This kernel may lack `/proc/PID/task/TID/children`, so the whole process table is walked: about 15 us a process.
#[must_use]
pub fn tree(root: u32) -> Vec<Entry> {
    descendants(root, &table())
}

impl Entry {
    /// Whether this very process exists still, and not another with its id.
    #[must_use]
    pub fn is_still_there(&self) -> bool {
        entry(self.pid).is_some_and(|now| now.started_ticks == self.started_ticks)
    }

    /// Whether it has ended and waits for its parent.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// All processes of a process group.
#[must_use]
pub fn of_group(group: u32) -> Vec<Entry> {
    let is_member = |entry: &Entry| u32::try_from(entry.group) == Ok(group);
    table().into_iter().filter(is_member).collect()
}

/// Every process there is.
fn table() -> Vec<Entry> {
    pids().filter_map(entry).collect()
}

/// Ids of all processes.
pub(super) fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// `root` and what descends from it.
fn descendants(root: u32, table: &[Entry]) -> Vec<Entry> {
    let mut children: HashMap<u32, Vec<&Entry>> = HashMap::new();
    for entry in table {
        children.entry(entry.parent).or_default().push(entry);
    }
    let mut found: Vec<Entry> = table.iter().filter(|entry| entry.pid == root).copied().collect();
    let mut known: HashSet<u32> = found.iter().map(|entry| entry.pid).collect();
    let mut next = 0;
    while let Some(pid) = found.get(next).map(|entry| entry.pid) {
        for child in children.get(&pid).into_iter().flatten() {
            if known.insert(child.pid) {
                found.push(**child);
            }
        }
        next += 1;
    }
    found
}

/// The process table's line of one process.
#[must_use]
pub fn entry(pid: u32) -> Option<Entry> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The state letter of a process: `R`, `S`, `D`, `Z` ...
#[must_use]
pub fn state(pid: u32) -> Option<char> {
    Some(entry(pid)?.state)
}

/// Whether there is a process with this id, dead ones not yet reaped included.
#[must_use]
pub fn exists(pid: u32) -> bool {
    fs::exists(format!("/proc/{pid}")).unwrap_or(false)
}

/// CPU time of a tree: its live and dead members, and all children they have reaped.
///
/// `stat` counts in ticks, so a thousand short-lived children could lose a thousand times 10 ms, and a second of light
/// load could count as nothing. The clock of a process counts nanoseconds, threads that ended included. Neither can be
/// too high, so the higher one is taken for each process.
#[must_use]
pub fn tree_cpu(tree: &[Entry]) -> Duration {
    let of_one = |entry: &Entry| entry.own_cpu_ns.max(clock_ns(entry.pid)) + entry.reaped_cpu_ns;
    Duration::from_nanos(tree.iter().map(of_one).sum())
}

/// CPU time by the process's own clock, in nanoseconds; 0 when it is gone.
fn clock_ns(pid: u32) -> u64 {
    let clock = i32::try_from(pid)
        .ok()
        .and_then(|pid| clock_getcpuclockid(Pid::from_raw(pid)).ok());
    let time = clock.and_then(|clock| clock_gettime(clock).ok());
    duration_ns(time.map_or(Duration::ZERO, Duration::from))
}

/// Proportional set size, in bytes: each shared page counts by its share. About 43 us.
///
/// # Errors
/// When the process is gone or belongs to someone else.
pub fn pss_bytes(pid: u32) -> ProcResult<u64> {
    Ok(bytes_of(&smaps_rollup(pid)?, "Pss"))
}

/// The part of it that no file backs, in bytes.
///
/// # Errors
/// As [`pss_bytes`].
pub fn anonymous_bytes(pid: u32) -> ProcResult<u64> {
    smaps_rollup(pid).map(|rollup| anonymous_of(&rollup))
}

fn anonymous_of(rollup: &SmapsRollup) -> u64 {
    bytes_of(rollup, "Pss_Anon") + bytes_of(rollup, "Pss_Shmem")
}

fn smaps_rollup(pid: u32) -> ProcResult<SmapsRollup> {
    SmapsRollup::from_file(format!("/proc/{pid}/smaps_rollup"))
}

/// An exiting process has no memory left and an empty file.
fn bytes_of(rollup: &SmapsRollup, name: &str) -> u64 {
    let map = rollup.memory_map_rollup.0.first();
    map.and_then(|map| map.extension.map.get(name)).copied().unwrap_or(0)
}

/// Page tables of a process, in bytes.
#[must_use]
pub fn page_table_bytes(pid: u32) -> Option<u64> {
    let status = Status::from_file(format!("/proc/{pid}/status")).ok()?;
    Some(status.vmpte? * KIB)
}

/// Highest resident memory of this process so far, in bytes.
#[must_use]
pub fn own_peak_bytes() -> Option<u64> {
    Some(Status::from_file("/proc/self/status").ok()?.vmhwm? * KIB)
}

/// How often the threads of a process were switched out, threads that ended not included. About 40 us a thread: for the
/// moments in which all clients hold still.
#[must_use]
pub fn context_switches(pid: u32) -> Option<ContextSwitches> {
    let mut sum = ContextSwitches::default();
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let Ok(status) = Status::from_file(task.path().join("status")) else {
            continue;
        };
        sum.voluntary += status.voluntary_ctxt_switches.unwrap_or(0);
        sum.involuntary += status.nonvoluntary_ctxt_switches.unwrap_or(0);
    }
    Some(sum)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContextSwitches {
    pub voluntary: u64,
    pub involuntary: u64,
}

/// Open descriptors of a process.
#[must_use]
pub fn descriptors(pid: u32) -> Option<usize> {
    Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())
}

/// The executable of a process; its path as it was when the file has been replaced since.
#[must_use]
pub fn executable(pid: u32) -> Option<PathBuf> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    match path.to_str().and_then(|path| path.strip_suffix(" (deleted)")) {
        Some(path) => Some(path.into()),
        None => Some(path),
    }
}

/// The path that opens the very file a process runs, replaced or not.
#[must_use]
pub fn executable_link(pid: u32) -> PathBuf {
    format!("/proc/{pid}/exe").into()
}

/// Command line of a process.
#[must_use]
pub fn command(pid: u32) -> Option<Vec<String>> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = bytes
        .split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned());
    let mut words: Vec<String> = words.collect();
    words.pop_if(|last| last.is_empty());
    Some(words)
}

/// Processes that have this variable in their environment, and its value: those of this process's own pid namespace, since an id
/// means another process in another one, and of them those whose environment may be read.
#[must_use]
pub fn with_variable(name: &str) -> Vec<(u32, String)> {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/pid")).ok();
    let own = namespace("self");
    let prefix = format!("{name}=");
    let value_of = |pid: u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let mut variables = environment.split(|byte| *byte == 0);
        let value = variables.find_map(|variable| variable.strip_prefix(prefix.as_bytes()))?;
        Some((pid, String::from_utf8_lossy(value).into_owned()))
    };
    let is_here = |found: &(u32, String)| namespace(&found.0.to_string()) == own;
    pids().filter_map(value_of).filter(is_here).collect()
}

/// What users call a process: the file name of its executable, or the 15 letters the kernel keeps.
#[must_use]
pub fn name(pid: u32) -> Option<String> {
    let of_executable = || executable(pid)?.file_name()?.to_str().map(str::to_owned);
    let of_kernel = || {
        Some(
            fs::read_to_string(format!("/proc/{pid}/comm"))
                .ok()?
                .trim_end()
                .to_owned(),
        )
    };
    of_executable().or_else(of_kernel)
}

/// Watches one process; unlike a process id, the open file never comes to mean another process.
#[derive(Debug)]
pub struct Watch {
    stat: File,
}

impl Watch {
    #[must_use]
    pub fn new(pid: u32) -> Option<Self> {
        let stat = File::open(format!("/proc/{pid}/stat")).ok()?;
        Some(Self { stat })
    }

    /// Whether it runs; a dead process that nobody has reaped does not.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let mut buffer = [0; 4096];
        let entry = self
            .stat
            .read_at(&mut buffer, 0)
            .ok()
            .and_then(|length| parse_stat(&buffer[..length]));
        entry.is_some_and(|entry| !entry.is_dead())
    }
}

/// CPU time and waiting time of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedTimes {
    pub cpu_ns: u64,
    /// Time it could have run but no CPU was free.
    pub run_delay_ns: u64,
}

/// Of the first thread of a process; none when it is gone or the kernel does not count.
#[must_use]
pub fn first_thread_times(pid: u32) -> Option<SchedTimes> {
    schedstat(format!("/proc/{pid}/schedstat")).filter(|times| *times != SchedTimes::default())
}

pub(super) fn schedstat(path: impl AsRef<Path>) -> Option<SchedTimes> {
    let times = Schedstat::from_file(path).ok()?;
    Some(SchedTimes {
        cpu_ns: times.sum_exec_runtime,
        run_delay_ns: times.run_delay,
    })
}

fn parse_stat(text: &[u8]) -> Option<Entry> {
    let stat = Stat::from_read(text).ok()?;
    let tick_ns = 1_000_000_000 / procfs::ticks_per_second();
    let reaped_ticks = stat.cutime.max(0).unsigned_abs() + stat.cstime.max(0).unsigned_abs();
    Some(Entry {
        pid: stat.pid.try_into().ok()?,
        parent: stat.ppid.try_into().ok()?,
        group: stat.pgrp,
        state: stat.state,
        threads: stat.num_threads.try_into().ok()?,
        own_cpu_ns: (stat.utime + stat.stime) * tick_ns,
        reaped_cpu_ns: reaped_ticks * tick_ns,
        user_ns: (stat.utime + stat.cutime.max(0).unsigned_abs()) * tick_ns,
        system_ns: (stat.stime + stat.cstime.max(0).unsigned_abs()) * tick_ns,
        started_ticks: stat.starttime,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::time::Instant;

    const STAT: &[u8] = b"10296 (fork ) server) S 1 10296 10296 0 -1 4194560 868 4106 0 0 12 34 56 78 20 0 3 0 4711 \
        8056832 930 18446744073709551615 1 1 0 0 0 0 65536 4 65538 1 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";
    const ROLLUP: &str = "557e3d7fc000-7fffecc53000 ---p 00000000 00:00 0                          [rollup]\n\
        Rss:                1676 kB\nPss:                 351 kB\nPss_Dirty:           112 kB\n\
        Pss_Anon:             103 kB\nPss_Shmem:              4 kB\n";

    fn process(pid: u32, parent: u32) -> Entry {
        Entry {
            pid,
            parent,
            ..parse_stat(STAT).unwrap()
        }
    }

    #[test]
    fn a_stat_line_is_read_past_brackets_in_the_name() {
        let entry = parse_stat(STAT).unwrap();
        assert_eq!(
            (entry.pid, entry.parent, entry.state, entry.threads),
            (10296, 1, 'S', 3)
        );
        assert_eq!((entry.own_cpu_ns, entry.reaped_cpu_ns), (460_000_000, 1_340_000_000));
        assert_eq!((entry.user_ns, entry.system_ns), (680_000_000, 1_120_000_000));
        assert_eq!(entry.started_ticks, 4711);
    }

    #[test]
    fn memory_is_in_bytes_and_an_exiting_process_has_none() {
        let rollup = SmapsRollup::from_read(ROLLUP.as_bytes()).unwrap();
        assert_eq!(
            (bytes_of(&rollup, "Pss"), anonymous_of(&rollup)),
            (351 << 10, (103 + 4) << 10)
        );
        assert_eq!(bytes_of(&SmapsRollup::from_read("".as_bytes()).unwrap(), "Pss"), 0);
        let own = std::process::id();
        // No process has less than a page of them, and none here as much as a hundredth of its memory.
        let tables = page_table_bytes(own).unwrap();
        assert!(tables >= 4096 && tables < own_peak_bytes().unwrap(), "{tables}");
    }

    #[test]
    fn a_process_that_goes_to_sleep_is_switched_out_by_its_own_will() {
        let mut sleeper = Command::new("sleep").arg("60").spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        let is_seen = || context_switches(sleeper.id()).is_some_and(|switches| switches.voluntary > 0);
        while !is_seen() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        let seen = is_seen();
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert!(seen);
        assert_eq!(context_switches(sleeper.id()), None, "it is gone");
    }

    #[test]
    fn run_queue_delay_is_the_second_number() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "113471 82294 2\n").unwrap();
        let times = schedstat(file.path()).unwrap();
        assert_eq!((times.cpu_ns, times.run_delay_ns), (113_471, 82_294));
        fs::write(file.path(), "0\n").unwrap();
        assert_eq!(schedstat(file.path()), None);
    }

    #[test]
    fn descendants_are_found_at_any_depth_and_strangers_are_not() {
        let table = [
            process(9, 7),
            process(5, 1),
            process(7, 5),
            process(8, 1),
            process(6, 5),
        ];
        let mut pids: Vec<u32> = descendants(5, &table).iter().map(|entry| entry.pid).collect();
        assert_eq!(pids[0], 5, "the first process comes first");
        pids.sort_unstable();
        assert_eq!(pids, [5, 6, 7, 9]);
        assert_eq!(descendants(4, &table), []);
    }

    #[test]
    fn this_process_is_seen() {
        let own = std::process::id();
        assert!(tree(own).iter().any(|entry| entry.pid == own));
        assert!(Watch::new(own).unwrap().is_alive());
        assert!(pss_bytes(own).unwrap() > 0 && anonymous_bytes(own).unwrap() > 0);
        assert!(own_peak_bytes().unwrap() > 0);
        assert_eq!(command(own).unwrap().first().cloned(), std::env::args().next());
    }
}
