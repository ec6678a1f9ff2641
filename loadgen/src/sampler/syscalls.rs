//! System calls of a server, its threads and its children, counted by the kernel: the tracepoint `raw_syscalls:sys_enter`
//! as a perf event that new threads and children inherit.
//!
//! Counting costs the server up to a third of its rate, so it is done in trials of their own and never in a timed one.

use super::process;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit};
use perf_event::events::Tracepoint;
use perf_event::{Builder, Counter};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

/// How the record says that it was counted.
pub const METHOD: &str = "perf event raw_syscalls:sys_enter, inherited";
/// Why there is no figure in a trial that did not count.
pub const NOT_ASKED: &str = "not counted: only a counting trial does (--count-syscalls)";

/// Counts since it was attached.
#[derive(Debug)]
pub struct SyscallCounter {
    /// One for each task that was there when counting began; what these start later is counted with them.
    counters: Mutex<Vec<Counter>>,
}

impl SyscallCounter {
    /// Counts a process that has one thread and no child yet: from now on it and whatever comes of it.
    ///
    /// # Errors
    /// Why that is not possible here, as one phrase.
    pub fn of_new_process(pid: u32) -> Result<Self, String> {
        let counter = counter(tracepoint()?, pid)?;
        Ok(Self {
            counters: Mutex::new(vec![counter]),
        })
    }

    /// Counts a server that runs already, thread by thread. Each takes a descriptor; `descriptors_kept` are left free.
    ///
    /// # Errors
    /// Why that is not possible here, as one phrase.
    pub fn of_running_tree(root: u32, descriptors_kept: u64) -> Result<Self, String> {
        let tracepoint = tracepoint()?;
        let soft = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
        let mut counters = Vec::new();
        let mut known = HashSet::new();
        // A thread that comes while its parent is not yet attached to is found by the next look.
        loop {
            let new: Vec<u32> = threads_of(root).into_iter().filter(|id| known.insert(*id)).collect();
            if new.is_empty() {
                break;
            }
            let need = known.len() as u64 + descriptors_kept;
            if need > soft {
                return Err(format!(
                    "not counted: the running server has {} threads, each takes a descriptor, and with the clients' {need} are \
                     more than the limit of {soft}",
                    known.len()
                ));
            }
            for thread in new {
                match counter(tracepoint, thread) {
                    Ok(counter) => counters.push(counter),
                    // It may have ended meanwhile.
                    Err(reason) if threads_of(root).contains(&thread) => return Err(reason),
                    Err(_) => {}
                }
            }
        }
        if counters.is_empty() {
            return Err("not counted: the server's process is gone".to_owned());
        }
        Ok(Self {
            counters: Mutex::new(counters),
        })
    }

    /// Calls so far; none when the kernel does not tell.
    #[must_use]
    pub fn read(&self) -> Option<u64> {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters.iter_mut().map(|counter| counter.read().ok()).sum()
    }
}

/// Whether system calls can be counted here at all.
///
/// # Errors
/// Why not, as one phrase.
pub fn available() -> Result<(), String> {
    SyscallCounter::of_new_process(std::process::id()).map(drop)
}

fn counter(tracepoint: Tracepoint, thread: u32) -> Result<Counter, String> {
    Builder::new(tracepoint)
        .observe_pid(thread.cast_signed())
        .any_cpu()
        .inherit(true)
        // The tracepoint fires in the kernel, on behalf of the process.
        .include_kernel()
        .enabled(true)
        .build()
        .map_err(|error| format!("not counted: perf_event_open of raw_syscalls:sys_enter: {error}"))
}

/// The tracepoint's number, which the kernel gives it once for all.
fn tracepoint() -> Result<Tracepoint, String> {
    static NUMBER: OnceLock<Result<u64, String>> = OnceLock::new();
    let number = NUMBER.get_or_init(|| {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        match tracefs(&mounts) {
            Some(root) => number_in(&root),
            None => number_in_private_mount(),
        }
    });
    number.clone().map(Tracepoint::with_id)
}

fn number_in(tracefs: &Path) -> Result<u64, String> {
    let file = tracefs.join("events/raw_syscalls/sys_enter/id");
    let text = fs::read_to_string(&file).map_err(|error| format!("not counted: {}: {error}", file.display()))?;
    let number = text.trim().parse();
    number.map_err(|_| format!("not counted: {} holds no number", file.display()))
}

/// Mounts tracefs where only one thread sees it, and only until it has read the number: nothing of the machine changes.
fn number_in_private_mount() -> Result<u64, String> {
    let read = || {
        let nothing = None::<&str>;
        let mounted = unshare(CloneFlags::CLONE_NEWNS)
            // What is mounted here must not appear in the namespace that this one was copied from.
            .and_then(|()| mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing))
            .and_then(|()| mount(Some("tracefs"), TRACEFS, Some("tracefs"), MsFlags::empty(), nothing));
        mounted.map_err(|errno| {
            format!(
                "not counted: tracefs is not mounted, so the number of raw_syscalls:sys_enter is not known, and loadgen may not \
                 mount it for itself: {errno} (as root: mount -t tracefs tracefs {TRACEFS})"
            )
        })?;
        number_in(Path::new(TRACEFS))
    };
    let ended = thread::spawn(read).join();
    ended.unwrap_or_else(|_| Err("not counted: the thread that looked for the tracepoint panicked".to_owned()))
}

/// The kernel makes this directory where it can trace.
const TRACEFS: &str = "/sys/kernel/tracing";

/// Where the tracing files are: tracefs itself, else below debugfs, which mounts it on the first look.
fn tracefs(mounts: &str) -> Option<PathBuf> {
    let mounted = |kind: &str| {
        mounts.lines().find_map(|line| {
            let mut words = line.split(' ');
            let (_, place, this) = (words.next()?, words.next()?, words.next()?);
            (this == kind).then(|| PathBuf::from(place))
        })
    };
    mounted("tracefs").or_else(|| mounted("debugfs").map(|debugfs| debugfs.join("tracing")))
}

/// All threads of a server, children's too.
fn threads_of(root: u32) -> Vec<u32> {
    process::tree(root)
        .iter()
        .flat_map(|entry| fs::read_dir(format!("/proc/{}/task", entry.pid)).into_iter().flatten())
        .filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use server_testkit::not_tested;

    #[test]
    fn tracefs_is_found_where_it_is_mounted_and_else_below_debugfs() {
        let mounts =
            "proc /proc proc rw 0 0\ndebugfs /sys/kernel/debug debugfs rw 0 0\ntracefs /mnt/t tracefs rw 0 0\n";
        assert_eq!(tracefs(mounts), Some("/mnt/t".into()));
        let without = mounts.replace(" tracefs rw", " ext4 rw");
        assert_eq!(tracefs(&without), Some("/sys/kernel/debug/tracing".into()));
        assert_eq!(tracefs("proc /proc proc rw 0 0\n"), None);
    }

    #[test]
    fn a_private_mount_tells_the_same_number_and_is_gone_afterwards() {
        let mounts = || fs::read_to_string("/proc/self/mounts").unwrap();
        let before = mounts();
        match (tracefs(&before).map(|root| number_in(&root)), number_in_private_mount()) {
            (Some(Ok(mounted)), Ok(private)) => assert_eq!(mounted, private),
            (_, Ok(private)) => assert!(private > 0),
            (_, Err(why)) => assert!(why.starts_with("not counted: "), "{why}"),
        }
        assert_eq!(mounts(), before);
    }

    /// Whether calls can be counted in this process.
    fn can_count() -> bool {
        let available = available();
        if let Err(why) = &available {
            assert!(why.starts_with("not counted: "), "{why}");
            not_tested(&format!("system calls: {why}"));
        }
        available.is_ok()
    }

    #[test]
    fn every_system_call_counts() {
        if can_count() {
            let counter = SyscallCounter::of_running_tree(std::process::id(), 64).unwrap();
            let before = counter.read().unwrap();
            for _ in 0..1000 {
                let _ = nix::unistd::getppid();
            }
            assert!(counter.read().unwrap() >= before + 1000);
        }
    }

    #[test]
    fn without_descriptors_a_running_server_is_not_counted_and_told_why() {
        if can_count() {
            let reason = SyscallCounter::of_running_tree(std::process::id(), u64::MAX / 2).unwrap_err();
            assert!(reason.contains("descriptor"), "{reason}");
        }
    }
}
