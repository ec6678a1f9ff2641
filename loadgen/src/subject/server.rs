//! A server while it is measured: what it is, whether it lives, and how it is stopped.

use super::container;
use super::probe::Probes;
use super::spawn::{self, Running, Usage};
use crate::interrupt;
use crate::record::{self, Origin};
use crate::sampler::Watched;
use crate::sampler::process::{self, Watch};
use crate::sampler::syscalls::{self, SyscallCounter};
use echo_contract::catalog;
use echo_contract::stats::Stats;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time a server gets beyond its drain timeout.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// Time that is kept for the rest, when loadgen is to end soon: killing a server that still drains, and writing the record.
const KEPT_FOR_THE_END: Duration = Duration::from_millis(700);

/// A server that echoes. Dropping it kills a server that was started; see [`Server::stop`] for the clean way.
#[derive(Debug)]
pub struct Server {
    /// At least one; several of a name that has them.
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) row: Option<&'static catalog::Target>,
    pub(super) description: record::Target,
    pub(super) probes: Probes,
    pub(super) process: Process,
}

#[derive(Debug)]
pub(super) enum Process {
    Started(Box<Running>),
    /// Started by a command whose child it is not: the engine's, in a container, or nobody knows whose.
    StartedElsewhere {
        running: Box<Running>,
        /// See [`Process::Attached`]; also ended when the command has ended.
        container_id: Option<String>,
        why_no_pid: String,
    },
    Attached {
        watch: Option<Watch>,
        /// Of the container whose first process is known.
        container_id: Option<String>,
        /// Why the process is not known; empty when it is.
        why_no_pid: String,
    },
}

/// How a server ended.
#[derive(Clone, Debug, Default)]
pub struct Stopped {
    /// Null for a server that was attached to, or one that printed none.
    pub stats: Option<Stats>,
    /// Its whole life; exact also for children, once the server has reaped them. Null when attached.
    pub usage: Option<Usage>,
    /// Exit code 0 and nothing left behind.
    pub clean: bool,
    /// How it ended, with the last lines of its stderr if that was not clean.
    pub text: String,
    /// What a server that is not of the catalog printed, its end if that was much.
    pub output: Option<String>,
}

impl Server {
    /// Where it listens; of several addresses the first.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Where clients connect to, in turn; at least one.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    #[must_use]
    pub fn origin(&self) -> Origin {
        self.description.origin
    }

    /// Which row of the catalog it is; none for a foreign server.
    #[must_use]
    pub fn row(&self) -> Option<&'static catalog::Target> {
        self.row
    }

    /// What the record says of it.
    #[must_use]
    pub fn description(&self) -> record::Target {
        self.description.clone()
    }

    /// Its first process; none where it cannot be seen.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.description.pid
    }

    /// Why [`Server::pid`] is none, as one phrase.
    #[must_use]
    pub fn why_no_pid(&self) -> &str {
        match &self.process {
            Process::Started(_) => "",
            Process::StartedElsewhere { why_no_pid, .. } | Process::Attached { why_no_pid, .. } => why_no_pid,
        }
    }

    /// What the sampler reads.
    #[must_use]
    pub fn watched(&self) -> Watched {
        let (cgroup, container_id) = match &self.process {
            Process::Started(running) => (running.cgroup().ok().cloned(), None),
            Process::StartedElsewhere { container_id, .. } | Process::Attached { container_id, .. } => {
                (None, container_id.clone())
            }
        };
        Watched {
            pid: self.pid(),
            why_no_pid: self.why_no_pid().to_owned(),
            cgroup,
            container_id,
            is_attached: !matches!(self.process, Process::Started(_)),
        }
    }

    /// What counts the system calls of a server that was started, or why nothing does.
    ///
    /// # Errors
    /// The reason, as one phrase.
    pub fn syscalls(&self) -> Result<Arc<SyscallCounter>, String> {
        match &self.process {
            Process::Started(running) => running.syscalls().cloned().map_err(str::to_owned),
            Process::StartedElsewhere { why_no_pid, .. } => Err(match why_no_pid.as_str() {
                "" => "not counted: the server's processes are not those of its command".into(),
                why => format!("not counted: {why}"),
            }),
            Process::Attached { .. } => Err(syscalls::NOT_ASKED.to_owned()),
        }
    }

    /// What the first echoes added to the server's counters.
    #[must_use]
    pub fn probes(&self) -> Probes {
        self.probes
    }

    /// Whether its first process runs; a server whose process cannot be seen counts as alive. One system call.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        match &self.process {
            Process::Started(running) | Process::StartedElsewhere { running, .. } => running.is_alive(),
            Process::Attached { watch, .. } => watch.as_ref().is_none_or(Watch::is_alive),
        }
    }

    /// Its live processes; empty where they cannot be seen.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        match &self.process {
            Process::Started(running) => running.processes(),
            Process::StartedElsewhere { .. } | Process::Attached { .. } => {
                let tree = self.pid().map(process::tree).unwrap_or_default();
                tree.iter()
                    .filter(|entry| !entry.is_dead())
                    .map(|entry| entry.pid)
                    .collect()
            }
        }
    }

    /// Ends one of its processes by SIGABRT, as a fault of its own would. Only of a server that loadgen started.
    ///
    /// # Errors
    /// When the process is none of the server's.
    pub fn abort(&self, pid: u32) -> Result<(), String> {
        if self.origin() != Origin::Started {
            return Err("loadgen ends no process of a server that it did not start".into());
        }
        if !self.processes().contains(&pid) {
            return Err(format!(
                "process {pid}, which holds the connection, is none of the server's"
            ));
        }
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGABRT).map_err(|errno| format!("SIGABRT to {pid}: {errno}"))
    }

    /// Stops a server that was started: SIGTERM, its drain timeout and two seconds, then SIGKILL for all of it.
    /// Leaves one that was attached to alone.
    #[must_use]
    pub fn stop(self) -> Stopped {
        match self.process {
            Process::Started(running) => stop(*running),
            Process::StartedElsewhere {
                running, container_id, ..
            } => stop_elsewhere(*running, container_id.as_deref()),
            Process::Attached { watch, .. } => Stopped {
                clean: true,
                text: match watch {
                    Some(watch) if !watch.is_alive() => {
                        "its process is gone, and how it ended only its parent knows".into()
                    }
                    _ => "left running".into(),
                },
                ..Stopped::default()
            },
        }
    }
}

pub(super) fn stop(mut running: Running) -> Stopped {
    let is_external = running.ready().is_none();
    let drain_timeout_ms = running.ready().map_or(0, |ready| ready.drain_timeout_ms);
    let limit = Duration::from_millis(drain_timeout_ms) + STOP_GRACE;
    // It may have ended by itself, which the wait finds out.
    let _ = running.signal(Signal::SIGTERM);
    let begun = Instant::now();
    let has_time = || interrupt::time_left().is_none_or(|left| left > KEPT_FOR_THE_END);
    let ended = running.wait_while(limit, &has_time).ok().flatten();
    let waited = begun.elapsed();
    let is_in_time = ended.is_some();
    let killed = running.kill_rest();
    let ended = ended.or_else(|| running.wait(Duration::ZERO).ok().flatten());
    let mut text = match &ended {
        Some(ended) => format!("the server {}", spawn::how_ended(ended.status)),
        None => "the server did not end".to_owned(),
    };
    if !is_in_time && waited < limit {
        text += &format!(
            " {:.1} s after SIGTERM, while it still drained: loadgen was stopped by a signal",
            waited.as_secs_f64()
        );
    } else if !is_in_time {
        text += &format!(" after it ignored SIGTERM for {} s", limit.as_secs());
    } else if killed > 0 {
        text += &format!(", but left {killed} processes behind, which were killed");
    }
    let is_orderly = |ended: &spawn::Ended| ended.status.success() || (is_external && is_sigterm(ended.status));
    let clean = killed == 0 && ended.as_ref().is_some_and(is_orderly);
    if !clean {
        text += &last_lines(&running.stderr());
    }
    Stopped {
        stats: ended.as_ref().and_then(|ended| ended.stats),
        usage: ended.map(|ended| ended.usage),
        clean,
        text,
        output: is_external.then(|| running.stderr()),
    }
}

/// Stops the command, and the container that has outlived it. What the command used is not what the server used.
fn stop_elsewhere(running: Running, container_id: Option<&str>) -> Stopped {
    let mut stopped = Stopped {
        usage: None,
        ..stop(running)
    };
    match container_id.map_or(Ok(false), container::end) {
        Ok(false) => {}
        Ok(true) => {
            stopped.clean = false;
            stopped.text += "; its container ran on and was killed (`docker run --init` lets SIGTERM end it)";
        }
        Err(why) => {
            stopped.clean = false;
            stopped.text += &format!("; its container runs on: {why}");
        }
    }
    stopped
}

/// Whether SIGTERM ended it, as it does with a server that has no handler; a virtual machine says so by its exit code.
fn is_sigterm(status: ExitStatus) -> bool {
    const SIGTERM: i32 = Signal::SIGTERM as i32;
    status.signal() == Some(SIGTERM) || status.code() == Some(128 + SIGTERM)
}

/// The end of a server's stderr, to be put behind a sentence.
pub(super) fn last_lines(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().collect();
    let last = &lines[lines.len().saturating_sub(5)..];
    if last.is_empty() {
        return String::new();
    }
    format!("; its last words: {}", last.join(" / "))
}
