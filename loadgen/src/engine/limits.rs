//! Descriptors for the clients' sockets.

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
