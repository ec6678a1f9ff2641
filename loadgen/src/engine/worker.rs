//! A worker thread: pinned, one event loop, its share of the clients.

use super::control::{Command, Control};
use super::event_loop::{EventLoop, Milestone, Setup};
use crate::recorder::Recorder;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::prctl::set_timerslack;
use nix::unistd::{Pid, gettid};
use std::io;
use std::sync::mpsc::Sender;

/// What a worker tells the conductor.
pub(super) enum Report {
    /// The thread runs, under this id.
    Started(Pid),
    /// It has done what this command wanted.
    Reached(Command, Milestone),
    /// The event loop itself failed; not a fault of the server.
    Failed(String),
}

/// What is left when a worker has ended.
pub(super) struct Ended {
    pub(super) thread: Pid,
    pub(super) recorder: Recorder,
    pub(super) unclean_closes: u64,
    pub(super) surplus_bytes: u64,
    pub(super) local_failures: u64,
    pub(super) port_failures: u64,
}

/// Runs one worker until the conductor ends it. `cpus` empty means not pinned.
pub(super) fn run(
    setup: Setup<'_>,
    control: &Control,
    worker: usize,
    recorder: Recorder,
    begun_ns: u64,
    cpu: Option<usize>,
    reports: &Sender<Report>,
) -> Option<Ended> {
    // The conductor holds the other end for as long as it waits for reports.
    let tell = |report| drop(reports.send(report));
    tell(Report::Started(gettid()));
    let ended = (|| -> io::Result<Ended> {
        if let Some(cpu) = cpu {
            pin(&[cpu])?;
        }
        // The default of 50 us would make every wait that much longer. Where it may not be set, the send lag shows it.
        let _ = set_timerslack(1);
        let mut events = EventLoop::new(setup, control, worker, recorder, begun_ns)?;
        events.run(|command, milestone| tell(Report::Reached(command, milestone)))?;
        Ok(Ended {
            thread: gettid(),
            unclean_closes: events.unclean_closes,
            surplus_bytes: events.surplus_bytes,
            local_failures: events.local_failures,
            port_failures: events.port_failures,
            recorder: events.recorder,
        })
    })();
    ended
        .map_err(|error| tell(Report::Failed(format!("worker {worker}: {error}"))))
        .ok()
}

/// Keeps the calling thread on some CPUs until dropped: the conductor's thread is the caller's, who goes on to other things.
pub(super) struct Pinned {
    /// None where the kernel has more CPUs than a set holds.
    before: Option<CpuSet>,
}

impl Pinned {
    pub(super) fn to(cpus: &[usize]) -> io::Result<Self> {
        let before = sched_getaffinity(Pid::from_raw(0)).ok();
        pin(cpus)?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // A CPU that has gone offline meanwhile is the machine's doing.
            let _ = sched_setaffinity(Pid::from_raw(0), before);
        }
    }
}

/// Keeps the calling thread on these CPUs.
pub(super) fn pin(cpus: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}
