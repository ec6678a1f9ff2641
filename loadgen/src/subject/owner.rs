//! The hidden verb `as-owner-of FOLDER ARGUMENTS`: gives up root for the user who owns a folder, then runs loadgen again with
//! the arguments. In a container the caller's user id is not known before `./results` is mounted, and what is written there
//! should be the caller's.

use crate::failure::Failure;
use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Becomes loadgen with `arguments`, as the owner of `folder`. Returns only when that fails. Who is not root stays who he is;
/// so does root where the folder is root's.
#[must_use]
pub fn run_as_owner_of(folder: &Path, arguments: &[String]) -> Failure {
    if geteuid().is_root()
        && let Err(failure) = become_owner_of(folder)
    {
        return failure;
    }
    match std::env::current_exe() {
        Ok(own) => {
            let error = Command::new(own).args(arguments).exec();
            Failure::fault(format!("loadgen cannot be run again: {error}"))
        }
        Err(error) => Failure::fault(format!("own executable: {error}")),
    }
}

fn become_owner_of(folder: &Path) -> Result<(), Failure> {
    let failed = |what: &str, error: std::io::Error| Failure::fault(format!("{}: {what}: {error}", folder.display()));
    let about = fs::metadata(folder).map_err(|error| failed("the folder of the results", error))?;
    if about.uid() == 0 {
        return Ok(());
    }
    setgroups(&[]).map_err(|error| failed("giving up groups", error.into()))?;
    setgid(Gid::from_raw(about.gid())).map_err(|error| failed("becoming its group", error.into()))?;
    setuid(Uid::from_raw(about.uid())).map_err(|error| failed("becoming its owner", error.into()))
}
