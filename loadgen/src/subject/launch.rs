//! The hidden verb `launch-server`: puts itself into the server's cgroup, ties its life to loadgen's, then becomes the
//! server. Doing this in a process of its own, before exec, needs no code between fork and exec, hence no `unsafe`, and
//! every page, thread and child of the server is accounted from the start.

use crate::failure::Failure;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::getppid;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

/// The verb, for `main` and [`command`].
pub const VERB: &str = "launch-server";

/// The command that becomes `binary`. `launcher` is loadgen's executable. With `holds` it waits before that until its
/// stdin ends, so that it can be observed from the server's first instruction on.
pub(super) fn command<'a>(
    launcher: &Path,
    cgroup: impl Iterator<Item = &'a Path>,
    nofile: Option<u64>,
    holds: bool,
    binary: &Path,
    arguments: &[String],
) -> Command {
    let mut command = Command::new(launcher);
    command.arg(VERB).arg("--parent").arg(std::process::id().to_string());
    for directory in cgroup {
        command.arg("--cgroup").arg(directory);
    }
    if let Some(nofile) = nofile {
        command.arg("--nofile").arg(nofile.to_string());
    }
    if holds {
        command.arg("--hold").arg("stdin");
    }
    command.arg("--").arg(binary).args(arguments);
    command
}

/// Becomes the server; `arguments` are those after the verb. Returns only when that fails.
pub fn launch_server(arguments: impl IntoIterator<Item = OsString>) -> Failure {
    let launch = match Launch::parse(arguments) {
        Ok(launch) => launch,
        Err(reason) => return Failure::usage(format!("{VERB}: {reason}")),
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
    if let Some(nofile) = launch.nofile
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, nofile, nofile)
    {
        return Failure::usage(format!("{VERB}: the descriptor limit {nofile} cannot be set: {error}"));
    }
    if launch.holds {
        // Read to its end; what it says is of no interest.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
    }
    let error = Command::new(&launch.binary)
        .args(&launch.arguments)
        .stdin(Stdio::null())
        .exec();
    Failure::unreachable(format!("{} cannot be run: {error}", launch.binary.display()))
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Launch {
    cgroups: Vec<PathBuf>,
    parent: Option<i32>,
    nofile: Option<u64>,
    holds: bool,
    binary: PathBuf,
    arguments: Vec<OsString>,
}

impl Launch {
    fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let mut launch = Self::default();
        while let Some(flag) = arguments.next() {
            if flag == "--" {
                launch.binary = arguments.next().ok_or("which server?")?.into();
                launch.arguments = arguments.collect();
                return Ok(launch);
            }
            let value = arguments
                .next()
                .ok_or_else(|| format!("{} needs a value", flag.display()))?;
            let number = || value.to_str().ok_or("not a number");
            match flag.to_str() {
                Some("--cgroup") => launch.cgroups.push(value.into()),
                Some("--hold") => launch.holds = true,
                Some("--parent") => launch.parent = Some(number()?.parse().map_err(|_| "--parent needs a number")?),
                Some("--nofile") => launch.nofile = Some(number()?.parse().map_err(|_| "--nofile needs a number")?),
                _ => return Err(format!("unknown flag {}", flag.display())),
            }
        }
        Err("which server? (it is started by loadgen itself)".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Launch, String> {
        Launch::parse(words.iter().map(OsString::from))
    }

    #[test]
    fn what_the_command_says_is_what_the_verb_reads() {
        let cgroups = [Path::new("/a"), Path::new("/b")];
        let arguments = ["--port".to_owned(), "0".to_owned()];
        let command = command(
            Path::new("loadgen"),
            cgroups.into_iter(),
            Some(256),
            true,
            Path::new("/x"),
            &arguments,
        );
        let words: Vec<OsString> = command.get_args().map(OsString::from).collect();
        assert_eq!(words[0], VERB);
        let launch = Launch::parse(words.into_iter().skip(1)).unwrap();
        assert_eq!(launch.cgroups, ["/a", "/b"].map(PathBuf::from));
        assert_eq!((launch.nofile, launch.binary), (Some(256), "/x".into()));
        assert!(launch.holds);
        assert_eq!(launch.parent, i32::try_from(std::process::id()).ok());
        assert_eq!(launch.arguments, ["--port", "0"]);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(parse(&[]).is_err());
        assert!(parse(&["--"]).is_err());
        assert!(parse(&["--nofile", "many", "--", "x"]).is_err());
        assert!(parse(&["--colour", "blue", "--", "x"]).is_err());
    }
}
