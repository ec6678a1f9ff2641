//! Limits the process sets on itself: descriptors and CPUs.

use crate::notice::notice;
use crate::registry;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;
use std::io;

/// More descriptors than this are of no use here, and container engines set limits of a thousand million,
/// for which the kit's table of descriptors would need 4 GiB of address space.
const MAX_NOFILE: u64 = registry::MAX_DESCRIPTOR as u64 + 1;

/// Raises the soft RLIMIT_NOFILE to the hard one and returns what is in force. A limit that stays low is a
/// warning, not an error: the server works, for fewer clients.
pub(crate) fn raise_nofile() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = hard.min(MAX_NOFILE);
    if soft != wanted
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)
    {
        notice(&format!(
            "warning: the descriptor limit stays at {soft} of {hard} possible: {}; about {} clients can connect",
            io::Error::from(error),
            soft.saturating_sub(16)
        ));
    }
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

/// Pins the process, and the threads and children it will have, to these CPUs.
pub(crate) fn pin(cpus: &[usize], typed: &str) -> io::Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu)
            .map_err(|_| no_such_cpu(typed, &format!("CPU {cpu} is above {}", CpuSet::count() - 1)))?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).map_err(|error| no_such_cpu(typed, &io::Error::from(error).to_string()))
}

fn no_such_cpu(typed: &str, reason: &str) -> io::Error {
    io::Error::other(format!(
        "cannot pin to --cpus {typed}: {reason}. Name CPUs that exist and that this process may use: \
         `taskset -pc $$` prints them."
    ))
}
