//! What nobody needs any more: servers and control groups of loadgens that were killed, and of this one when it has to end
//! before its own order of things is through.

use super::spawn::kill_all;
use crate::sampler::{cgroup, process};
use std::collections::BTreeSet;
use std::time::Duration;

/// Longest wait for a group to become empty once its processes are dead.
const REMOVE_LIMIT: Duration = Duration::from_secs(2);

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub groups: usize,
    pub processes: usize,
}

/// Ends servers that still run in groups of dead loadgens, and removes the groups. What a living loadgen made is not touched.
#[must_use]
pub fn remove_leftovers() -> Removed {
    let mut removed = Removed::default();
    let leftovers = cgroup::leftovers();
    // The same process is in a group of each hierarchy.
    let processes = || {
        let all: BTreeSet<u32> = leftovers.iter().flat_map(cgroup::Leftover::processes).collect();
        all.into_iter().collect()
    };
    removed.processes = kill_all(processes);
    removed.groups = leftovers.into_iter().filter(|group| group.remove(REMOVE_LIMIT)).count();
    removed
}

/// Kills the servers that this process has started, whoever waits for them, and removes their groups.
pub fn end_servers() {
    let own = std::process::id();
    kill_all(|| {
        process::tree(own)
            .iter()
            .map(|entry| entry.pid)
            .filter(|pid| *pid != own)
            .collect()
    });
    for group in cgroup::of_process(own) {
        let _ = group.remove(REMOVE_LIMIT);
    }
}
