//! Fresh servers for the conformance checks: what [`echo_contract::conformance`] may ask of a process.

use super::build;
use super::spawn::{Launch, Running};
use crate::failure::Failure;
use crate::interrupt;
use crate::sampler::cgroup::ProcessLimit;
use crate::sampler::{Cgroup, process};
use echo_contract::catalog::Target;
use echo_contract::conformance::{self, Exit, Process, Signal};
use echo_contract::ready::Ready;
use nix::sys::signal;
use nix::sys::socket::{MsgFlags, send};
use std::collections::BTreeSet;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;

/// Starts servers of one target.
#[derive(Debug)]
pub struct Launcher {
    target: &'static Target,
    workers: Option<u32>,
    binary: PathBuf,
    launcher: PathBuf,
}

impl Launcher {
    /// Prepares servers of `target` with `--workers`.
    ///
    /// # Errors
    /// When its binary is missing and cannot be built.
    pub fn new(target: &'static Target, workers: Option<u32>, no_build: bool) -> Result<Self, Failure> {
        let directory = build::server_directory(no_build)?;
        Ok(Self {
            target,
            workers,
            binary: build::server_binary(&directory, target.binary)?,
            launcher: build::loadgen_executable(&directory)?,
        })
    }
}

impl conformance::Launcher for Launcher {
    fn launch(&self, launch: &conformance::Launch) -> io::Result<Box<dyn Process>> {
        if interrupt::asked() {
            return Err(io::Error::other(Failure::interrupted().text));
        }
        let arguments = super::obtain::arguments(self.target, self.workers, &[], &launch.arguments);
        let launch = Launch {
            launcher: &self.launcher,
            binary: &self.binary,
            arguments: &arguments,
            environment: &[],
            folder: None,
            cpus: &[],
            nofile: launch.nofile,
            target: self.target.name,
            workers: self.workers,
            counts_syscalls: false,
        };
        let (running, ready) = Running::start(&launch, Cgroup::create())
            .map_err(|text| io::Error::other(format!("{}: {text}", self.target.name)))?;
        Ok(Box::new(Checked {
            running,
            ready,
            limit: None,
        }))
    }
}

/// A server under test.
struct Checked {
    running: Running,
    ready: Ready,
    /// After `running`, which must have left it before it is dropped.
    limit: Option<ProcessLimit>,
}

impl Process for Checked {
    fn ready(&self) -> &Ready {
        &self.ready
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        self.running.signal(match signal {
            Signal::Terminate => signal::SIGTERM,
            Signal::Interrupt => signal::SIGINT,
            Signal::Kill => signal::SIGKILL,
            Signal::Pipe => signal::SIGPIPE,
            Signal::Stop => signal::SIGSTOP,
            Signal::Continue => signal::SIGCONT,
        })
    }

    fn wait(&mut self, limit: Duration) -> io::Result<Option<Exit>> {
        let ended = self.running.wait(limit)?;
        Ok(ended.map(|ended| Exit {
            code: ended.status.code(),
            signal: ended.status.signal(),
            stats: ended.stats,
            stderr: self.running.stderr(),
        }))
    }

    fn cpu_time(&self) -> io::Result<Duration> {
        let counter = self.running.cgroup().ok().and_then(|group| group.cpu_counter().ok());
        match counter.and_then(|counter| counter.read()) {
            Some(reading) => Ok(Duration::from_nanos(reading.total_ns)),
            None => match process::tree(self.running.pid()) {
                tree if tree.is_empty() => Err(io::ErrorKind::NotFound.into()),
                tree => Ok(process::tree_cpu(&tree)),
            },
        }
    }

    fn children(&self) -> io::Result<Vec<(u32, char)>> {
        // By parent: a dead child that nobody has reaped is in no cgroup. By cgroup: a child whose parent has ended.
        let first = self.running.pid();
        let by_parent = process::tree(first).into_iter().map(|entry| entry.pid);
        let all: BTreeSet<u32> = by_parent
            .chain(self.running.processes())
            .filter(|pid| *pid != first)
            .collect();
        Ok(all
            .into_iter()
            .filter_map(|pid| Some((pid, process::state(pid)?)))
            .collect())
    }

    fn memory_bytes(&self) -> io::Result<u64> {
        process::tree(self.running.pid())
            .iter()
            .map(|entry| process::anonymous_bytes(entry.pid).map_err(io::Error::other))
            .sum()
    }

    fn send_urgent(&self, client: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(client.as_raw_fd(), bytes, MsgFlags::MSG_OOB)?)
    }

    fn descriptors(&self) -> io::Result<usize> {
        process::descriptors(self.running.pid()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn limit_processes(&mut self, more: Option<u64>) -> io::Result<()> {
        if self.limit.is_none() {
            let processes = self.running.processes();
            let limit = ProcessLimit::of(&processes, self.running.cgroup().ok().map(AsRef::as_ref))?;
            self.limit = Some(limit);
        }
        self.limit.as_ref().map_or(Ok(()), |limit| limit.set(more))
    }
}
