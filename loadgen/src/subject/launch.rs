//! The hidden verb `launch-server`: puts itself into the server's cgroup, ties its life to loadgen's, then becomes the
//! server. Doing this in a process of its own, before exec, needs no code between fork and exec, hence no `unsafe`, and
//! every page, thread and child of the server is accounted from the start.

use crate::failure::Failure;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

/// The verb, as `cmd::arguments` names it.
const VERB: &str = "launch-server";

/// The command that becomes the server. Where system calls are counted it waits before that until its stdin ends, so that it
/// can be observed from the server's first instruction on.
pub(super) fn command<'a>(launch: &super::spawn::Launch<'_>, cgroup: impl Iterator<Item = &'a Path>) -> Command {
    let mut command = Command::new(launch.launcher);
    command.arg(VERB).arg("--parent").arg(std::process::id().to_string());
    for directory in cgroup {
        command.arg("--cgroup").arg(directory);
    }
    for cpu in launch.cpus {
        command.arg("--cpu").arg(cpu.to_string());
    }
    if let Some(nofile) = launch.nofile {
        command.arg("--nofile").arg(nofile.to_string());
    }
    if launch.counts_syscalls {
        command.arg("--hold");
    }
    command.arg("--").arg(launch.binary).args(launch.arguments);
    command.envs(launch.environment.iter().map(|(name, value)| (name, value)));
    if let Some(folder) = launch.folder {
        command.current_dir(folder);
    }
    command
}

/// What the verb is given by [`command`].
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct LaunchArgs {
    /// Directory of a cgroup to join
    #[arg(long = "cgroup")]
    cgroups: Vec<PathBuf>,
    /// Process that must still be there
    #[arg(long)]
    parent: Option<i32>,
    /// CPU to run on
    #[arg(long = "cpu")]
    cpus: Vec<usize>,
    /// Descriptor limit
    #[arg(long)]
    nofile: Option<u64>,
    /// Wait for the end of stdin
    #[arg(long)]
    hold: bool,
    /// The server and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Becomes the server. Returns only when that fails.
pub fn launch_server(launch: &LaunchArgs) -> Failure {
    let Some((binary, arguments)) = launch.command.split_first() else {
        return Failure::usage(format!("{VERB}: which server?"));
    };
    for directory in &launch.cgroups {
        // Not permitted is no failure: loadgen looks who has joined and measures in another way.
        let _ = fs::write(directory.join("cgroup.procs"), std::process::id().to_string());
    }
    // The server must not outlive a loadgen that was killed. SIGTERM lets it clean up its own children.
    if let Err(error) = prctl::set_pdeathsig(Signal::SIGTERM) {
        return Failure::fault(format!("{VERB}: PR_SET_PDEATHSIG: {error}"));
    }
    // It may have died before that took effect.
    if launch.parent.is_some_and(|parent| getppid().as_raw() != parent) {
        return Failure::fault(format!("{VERB}: loadgen is gone"));
    }
    if let Err(error) = pin_to(&launch.cpus) {
        return Failure::usage(format!("{VERB}: CPUs {:?} cannot be had: {error}", launch.cpus));
    }
    if let Some(nofile) = launch.nofile
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, nofile, nofile)
    {
        return Failure::usage(format!("{VERB}: the descriptor limit {nofile} cannot be set: {error}"));
    }
    if launch.hold {
        // Read to its end; what it says is of no interest.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
    }
    let error = Command::new(binary).args(arguments).stdin(Stdio::null()).exec();
    Failure::unreachable(format!("{} cannot be run: {error}", binary.display()))
}

/// Keeps this process, and what it starts, on these CPUs; on all it may have where none is named.
fn pin_to(cpus: &[usize]) -> nix::Result<()> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::spawn;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Typed {
        #[command(flatten)]
        launch: LaunchArgs,
    }

    fn parse(words: impl IntoIterator<Item = OsString>) -> Result<LaunchArgs, clap::Error> {
        Typed::try_parse_from([VERB.into()].into_iter().chain(words)).map(|typed| typed.launch)
    }

    #[test]
    fn what_the_command_says_is_what_the_verb_reads() {
        let cgroups = [Path::new("/a"), Path::new("/b")];
        let arguments = ["--port".to_owned(), "0".to_owned()];
        let launch = spawn::Launch {
            launcher: Path::new("loadgen"),
            binary: Path::new("/x"),
            arguments: &arguments,
            environment: &[],
            folder: None,
            cpus: &[0, 2],
            nofile: Some(256),
            target: "stand-in",
            workers: None,
            counts_syscalls: true,
        };
        let command = command(&launch, cgroups.into_iter());
        let words: Vec<OsString> = command.get_args().map(OsString::from).collect();
        assert_eq!(words[0], VERB);
        let expected = LaunchArgs {
            cgroups: ["/a", "/b"].map(PathBuf::from).into(),
            cpus: vec![0, 2],
            parent: i32::try_from(std::process::id()).ok(),
            nofile: Some(256),
            hold: true,
            command: ["/x", "--port", "0"].map(OsString::from).into(),
        };
        assert_eq!(parse(words.into_iter().skip(1)).unwrap(), expected);
    }

    #[test]
    fn nonsense_is_refused() {
        let is_refused = |words: &[&str]| parse(words.iter().map(OsString::from)).is_err();
        assert!(is_refused(&[]));
        assert!(is_refused(&["--"]));
        assert!(is_refused(&["--nofile", "many", "--", "x"]));
        assert!(is_refused(&["--colour", "blue", "--", "x"]));
    }
}
