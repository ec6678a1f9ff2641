//! The end of a server's processes: whether they run, killing what is left, and what they used.

use super::POLL;
use super::pipes::lock;
use crate::sampler::process::{self, Watch};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use std::collections::HashSet;
use std::io;
use std::process::{Child, ExitStatus};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// What a server used in its whole life, the launcher's first millisecond and all reaped children included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub user: Duration,
    pub system: Duration,
    pub context_switches_voluntary: u64,
    pub context_switches_involuntary: u64,
}

/// Kills these processes until none is left; how many that were.
pub(in crate::subject) fn kill_all(processes: impl Fn() -> Vec<u32>) -> usize {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut killed = HashSet::new();
    loop {
        // Without a group, children are only found while their parent lives: so all are listed before any is killed.
        let alive: Vec<u32> = processes().into_iter().filter(|pid| is_unfinished(*pid)).collect();
        if alive.is_empty() || Instant::now() >= deadline {
            return killed.len();
        }
        for pid in alive {
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
            killed.insert(pid);
        }
        thread::sleep(POLL);
    }
}

pub(super) fn tree_of(pid: Pid) -> Vec<u32> {
    process::tree(pid.as_raw().cast_unsigned())
        .iter()
        .map(|entry| entry.pid)
        .collect()
}

/// Whether a child of ours runs; a dead one stays for [`reap`].
pub(super) fn is_running(pid: Pid) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    matches!(waitid(Id::Pid(pid), flags), Ok(WaitStatus::StillAlive))
}

/// Whether a process has still to be killed: dead ones wait for their parent only.
pub(super) fn is_unfinished(pid: u32) -> bool {
    Watch::new(pid).is_some_and(|watch| watch.is_alive())
}

/// Waits for a child and tells what it and the children it had reaped used.
///
/// The kernel adds a child's usage to RUSAGE_CHILDREN when it is reaped; the lock keeps other servers of this process
/// out of the difference. (`wait4` would tell directly, but has no safe wrapper.)
pub(super) fn reap(child: &mut Child) -> io::Result<(ExitStatus, Usage)> {
    static REAPING: Mutex<()> = Mutex::new(());
    let _alone = lock(&REAPING);
    let before = usage_of_children()?;
    let status = child.wait()?;
    let after = usage_of_children()?;
    let usage = Usage {
        user: after.user.saturating_sub(before.user),
        system: after.system.saturating_sub(before.system),
        context_switches_voluntary: after.context_switches_voluntary - before.context_switches_voluntary,
        context_switches_involuntary: after.context_switches_involuntary - before.context_switches_involuntary,
    };
    Ok((status, usage))
}

fn usage_of_children() -> io::Result<Usage> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let time = |value: nix::sys::time::TimeVal| {
        let seconds = u64::try_from(value.tv_sec()).unwrap_or(0);
        Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(value.tv_usec()).unwrap_or(0))
    };
    Ok(Usage {
        user: time(usage.user_time()),
        system: time(usage.system_time()),
        context_switches_voluntary: u64::try_from(usage.voluntary_context_switches()).unwrap_or(0),
        context_switches_involuntary: u64::try_from(usage.involuntary_context_switches()).unwrap_or(0),
    })
}
