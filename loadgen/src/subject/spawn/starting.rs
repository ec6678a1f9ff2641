//! A server between its spawn and the moment it is up.

use super::pipes::{Kept, keep_end, read_lines, text_of};
use super::reap::{is_running, kill_all, reap, tree_of};
use super::{Launch, POLL};
use crate::failure::Failure;
use crate::interrupt;
use crate::sampler::Cgroup;
use echo_contract::ready::Ready;
use nix::unistd::Pid;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for READY, and how much longer for each worker: a pool forks all of them first.
const READY_LIMIT: Duration = Duration::from_secs(10);
const READY_LIMIT_PER_WORKER: Duration = Duration::from_millis(20);

/// A process that is not up yet; dropping it kills and reaps it.
pub(in crate::subject) struct Starting {
    child: Option<Child>,
    pid: Pid,
    cgroup: Result<Cgroup, String>,
    stdout: Receiver<String>,
    stderr: Kept,
}

/// What is done with a server's stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::subject) enum Stdout {
    /// READY is awaited on it, then STATS.
    Lines,
    /// It is kept with stderr, as it comes.
    Kept,
}

impl Starting {
    pub(super) fn new(mut child: Child, cgroup: Result<Cgroup, String>, stdout: Stdout, kept: &Kept) -> Self {
        if let Some(stderr) = child.stderr.take() {
            keep_end(stderr, kept);
        }
        // Without a pipe the channel is closed at once, and waiting for READY says so.
        let none = || mpsc::channel().1;
        let lines = match (child.stdout.take(), stdout) {
            (Some(pipe), Stdout::Lines) => read_lines(pipe),
            (Some(pipe), Stdout::Kept) => {
                keep_end(pipe, kept);
                none()
            }
            (None, _) => none(),
        };
        Self {
            pid: Pid::from_raw(child.id().cast_signed()),
            child: Some(child),
            cgroup,
            stdout: lines,
            stderr: Arc::clone(kept),
        }
    }

    /// Lets a launcher that holds become the server.
    pub(super) fn go(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.stdin.take());
        }
    }

    /// The READY line of a catalog's target.
    pub(super) fn await_ready(&mut self, launch: &Launch<'_>) -> Result<Ready, String> {
        let target = launch.target;
        let limit = READY_LIMIT + READY_LIMIT_PER_WORKER * launch.workers.unwrap_or(0);
        let deadline = Instant::now() + limit;
        let line = loop {
            match self.stdout.recv_timeout(Duration::from_millis(10)) {
                Ok(line) => break line,
                Err(RecvTimeoutError::Timeout) if !is_running(self.pid) => return Err(self.early_exit()),
                Err(RecvTimeoutError::Disconnected) => return Err(self.early_exit()),
                Err(RecvTimeoutError::Timeout) if interrupt::asked() => return Err(Failure::interrupted().text),
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.with_stderr(format!("it printed no READY line within {} s", limit.as_secs())));
                }
            }
        };
        let ready = Ready::from_line(&line)
            .map_err(|error| self.with_stderr(format!("its first line is not READY ({error}): {line}")))?;
        if ready.target != target {
            return Err(format!("it says it is `{}`, not `{target}`", ready.target));
        }
        if ready.pid != self.pid() && !self.processes().contains(&ready.pid) {
            return Err(format!(
                "READY names process {}, but process {} was started",
                ready.pid, self.pid
            ));
        }
        Ok(ready)
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw().cast_unsigned()
    }

    /// What it has said so far.
    pub(in crate::subject) fn output(&self) -> String {
        text_of(&self.stderr)
    }

    /// How it ended, if it has.
    pub(in crate::subject) fn end(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok().flatten()
    }

    /// What a server that is up goes on with.
    pub(super) fn take(mut self) -> Option<(Child, Receiver<String>, Result<Cgroup, String>)> {
        let cgroup = std::mem::replace(&mut self.cgroup, Err(String::new()));
        let stdout = std::mem::replace(&mut self.stdout, mpsc::channel().1);
        Some((self.child.take()?, stdout, cgroup))
    }

    pub(super) fn processes(&self) -> Vec<u32> {
        let of_group = self.cgroup.as_ref().map_or_else(|_| Vec::new(), Cgroup::processes);
        // The group is empty also when joining it was not permitted.
        if of_group.is_empty() {
            tree_of(self.pid)
        } else {
            of_group
        }
    }

    fn early_exit(&mut self) -> String {
        let deadline = Instant::now() + Duration::from_secs(1);
        while is_running(self.pid) && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        let how = match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => format!("it ended before READY ({status})"),
            _ => "it closed its stdout before READY".to_owned(),
        };
        // Its last words are on their way through the reader thread.
        thread::sleep(Duration::from_millis(50));
        self.with_stderr(how)
    }

    fn with_stderr(&self, text: String) -> String {
        match text_of(&self.stderr).trim_end() {
            "" => text,
            stderr => format!("{text}:\n{stderr}"),
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        kill_all(|| self.processes());
        let _ = reap(&mut child);
        if let Ok(group) = &self.cgroup {
            group.remove(Duration::from_secs(2));
        }
    }
}
