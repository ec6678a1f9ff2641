//! A limit of processes and threads for a server that runs: what `loadgen verify --faults` needs, and no measurement.

use super::Cgroup;
use procfs::FromBufRead;
use procfs::process::MountInfos;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// The group that holds the limit. Dropping it removes a group that was made for it, once nobody is in it.
#[derive(Debug)]
pub struct ProcessLimit {
    directory: PathBuf,
    is_created: bool,
}

impl ProcessLimit {
    /// For these processes, with their threads and all that they will start. `group` is the server's own, which knows such
    /// limits in version 2 where the controller is on.
    ///
    /// # Errors
    /// Where there is no such controller, or it may not be used.
    pub fn of(processes: &[u32], group: Option<&Cgroup>) -> io::Result<Self> {
        let own = group.into_iter().flat_map(Cgroup::directories);
        if let Some(directory) = own.into_iter().find(|directory| directory.join("pids.max").exists()) {
            return Ok(Self {
                directory: directory.to_owned(),
                is_created: false,
            });
        }
        let first = processes.first().ok_or(io::ErrorKind::NotFound)?;
        let directory = own_directory()?.join(format!("loadgen-{}-{first}", std::process::id()));
        fs::create_dir(&directory).map_err(|error| named(&directory, &error))?;
        let limit = Self {
            directory,
            is_created: true,
        };
        for process in processes {
            let file = limit.directory.join("cgroup.procs");
            fs::write(&file, process.to_string()).map_err(|error| named(&file, &error))?;
        }
        Ok(limit)
    }

    /// So many more processes and threads than there are now; none lifts the limit.
    ///
    /// # Errors
    /// When the group's files cannot be read or written.
    pub fn set(&self, more: Option<u64>) -> io::Result<()> {
        let limit = match more {
            Some(more) => {
                let now = fs::read_to_string(self.directory.join("pids.current"))?;
                let now: u64 = now.trim().parse().map_err(io::Error::other)?;
                (now + more).to_string()
            }
            None => "max".to_owned(),
        };
        fs::write(self.directory.join("pids.max"), limit)
    }
}

impl Drop for ProcessLimit {
    fn drop(&mut self) {
        const LIMIT: Duration = Duration::from_secs(2);
        let deadline = Instant::now() + LIMIT;
        // The kernel lets a process that was just reaped go a moment later.
        while self.is_created && fs::remove_dir(&self.directory).is_err() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Where loadgen stands in version 1's hierarchy of this controller.
fn own_directory() -> io::Result<PathBuf> {
    let none = || io::Error::other("no cgroup controller for processes (pids) is at hand");
    let mounts = fs::read("/proc/self/mountinfo")?;
    let mounts = MountInfos::from_buf_read(mounts.as_slice())
        .map_err(io::Error::other)?
        .0;
    let mount = mounts
        .into_iter()
        .find(|mount| mount.fs_type == "cgroup" && mount.super_options.contains_key("pids"))
        .ok_or_else(none)?;
    let memberships = fs::read_to_string("/proc/self/cgroup")?;
    let path = memberships.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let is_ours = parts.next()?.split(',').any(|name| name == "pids");
        is_ours.then(|| parts.next())?
    });
    let path = path.ok_or_else(none)?;
    let below = Path::new(path).strip_prefix(&mount.root).unwrap_or(Path::new(""));
    Ok(mount.mount_point.join(below))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
