//! Limits of this process: descriptors for the clients' sockets, and core dumps of servers that are to crash.

use crate::failure::Failure;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit to what is needed; the hard limit was checked with the plan.
///
/// # Errors
/// When the system refuses, with both numbers and what to do.
pub fn raise_descriptors(need: u64) -> Result<(), Failure> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)
        .map_err(|errno| Failure::fault(format!("reading RLIMIT_NOFILE: {errno}")))?;
    if soft >= need {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_NOFILE, need.min(hard), hard).map_err(|errno| {
        Failure::usage(format!(
            "{need} descriptors are needed, the soft limit is {soft}, and raising it failed ({errno}). Run \
             `ulimit -n {need}` before loadgen, or use fewer --clients"
        ))
    })
}

/// Does something while what is started in it, and dies, leaves no core: a limit of one byte, at which the kernel writes no file and,
/// unlike at none, starts no program that would hold up the end of the process.
pub fn without_cores<T>(does: impl FnOnce() -> T) -> T {
    let before = getrlimit(Resource::RLIMIT_CORE);
    if let Ok((_, hard)) = before {
        // A core that is written after all is an annoyance, and no wrong figure.
        let _ = setrlimit(Resource::RLIMIT_CORE, hard.min(1), hard);
    }
    let done = does();
    if let Ok((soft, hard)) = before {
        let _ = setrlimit(Resource::RLIMIT_CORE, soft, hard);
    }
    done
}
