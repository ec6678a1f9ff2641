//! A server between its spawn and its READY.

use super::pipes::text_of;
use super::reap::{is_running, kill_all, reap, tree_of};
use super::{Launch, POLL};
use crate::failure::Failure;
use crate::interrupt;
use crate::sampler::Cgroup;
use echo_contract::ready::Ready;
use nix::unistd::Pid;
use std::collections::VecDeque;
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for READY, and how much longer for each worker: a pool forks all of them first.
const READY_LIMIT: Duration = Duration::from_secs(10);
const READY_LIMIT_PER_WORKER: Duration = Duration::from_millis(20);

/// A process that has not said READY; dropping it kills and reaps it.
pub(super) struct Starting {
    pub(super) child: Option<Child>,
    pub(super) pid: Pid,
    pub(super) cgroup: Result<Cgroup, String>,
    pub(super) stderr: Arc<Mutex<VecDeque<u8>>>,
}

impl Starting {
    pub(super) fn await_ready(&mut self, lines: &Receiver<String>, launch: &Launch<'_>) -> Result<Ready, String> {
        let target = launch.target;
        let limit = READY_LIMIT + READY_LIMIT_PER_WORKER * launch.workers.unwrap_or(0);
        let deadline = Instant::now() + limit;
        let line = loop {
            match lines.recv_timeout(Duration::from_millis(10)) {
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
        Ok(ready)
    }

    /// What a server that said READY goes on with.
    pub(super) fn take(mut self) -> Option<(Child, Result<Cgroup, String>)> {
        let cgroup = std::mem::replace(&mut self.cgroup, Err(String::new()));
        Some((self.child.take()?, cgroup))
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
