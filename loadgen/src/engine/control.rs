//! What the conductor tells the workers, and what it sees of them while they run.

use super::dealer::SharedPlan;
use super::live::LiveBins;
use super::turnstile::Turnstile;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What the workers are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Command {
    /// Wait with all connections as they are.
    Rest = 0,
    /// Open all connections and prove each with one echo that does not count.
    Connect = 1,
    /// Send messages until `to_ns`; those planned from `from_ns` on count.
    RunUntil = 2,
    /// Open all connections and send each client's messages.
    RunJob = 3,
    /// Plan nothing more; wait for what is outstanding.
    Stop = 4,
    /// Give up what is outstanding, say FIN on every connection, wait for the server's, close.
    Drain = 5,
    /// End the thread.
    Exit = 6,
}

impl Command {
    fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Rest,
            1 => Self::Connect,
            2 => Self::RunUntil,
            3 => Self::RunJob,
            4 => Self::Stop,
            5 => Self::Drain,
            _ => Self::Exit,
        }
    }
}

/// Shared by the conductor and all workers.
pub(super) struct Control {
    command: AtomicU8,
    from_ns: AtomicU64,
    to_ns: AtomicU64,
    plan_start_ns: AtomicU64,
    drain_ns: AtomicU64,
    /// What the workers share of an open loop's plan.
    pub(super) plan: SharedPlan,
    /// Lets connections be opened.
    pub(super) turnstile: Turnstile,
    wakers: Vec<EventFd>,
    pub(super) gauges: Vec<Gauges>,
}

/// One worker's live figures, on cache lines of its own: the conductor's looking must not slow the worker.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Gauges {
    /// Messages echoed whole, all phases.
    pub(super) ok: AtomicU64,
    /// Messages of the measured phase that failed.
    pub(super) errors: AtomicU64,
    /// Messages and attempts to connect that failed, all phases.
    pub(super) failures: AtomicU64,
    /// Messages under way now.
    pub(super) in_flight: AtomicU64,
    /// Connections that have echoed and are open.
    pub(super) proven: AtomicU64,
    /// Clients that have had an echo.
    pub(super) served: AtomicU64,
    /// Connections made so far.
    pub(super) connections: AtomicU64,
    /// Response times of the messages echoed whole, all phases.
    pub(super) responses: LiveBins,
}

/// [`Gauges`] of all workers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) ok: u64,
    pub(super) errors: u64,
    pub(super) failures: u64,
    pub(super) in_flight: u64,
    pub(super) proven: u64,
    pub(super) served: u64,
    pub(super) connections: u64,
}

impl Control {
    pub(super) fn new(workers: usize, turnstile: Turnstile) -> io::Result<Self> {
        let wakers = (0..workers)
            .map(|_| EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            command: AtomicU8::new(Command::Rest as u8),
            from_ns: AtomicU64::new(u64::MAX),
            to_ns: AtomicU64::new(u64::MAX),
            plan_start_ns: AtomicU64::new(u64::MAX),
            drain_ns: AtomicU64::new(0),
            plan: SharedPlan::new(workers),
            turnstile,
            wakers,
            gauges: (0..workers).map(|_| Gauges::default()).collect(),
        })
    }

    /// Gives the next command and wakes all workers.
    pub(super) fn give(&self, command: Command) {
        self.command.store(command as u8, Ordering::Release);
        for waker in &self.wakers {
            // It can only fail when the counter is full, and then the worker is awake anyway.
            let _ = waker.write(1);
        }
    }

    /// Sets when the plan begins and the measured phase, for the next [`Command::RunUntil`].
    pub(super) fn measure_between(&self, start_ns: u64, from_ns: u64, to_ns: u64) {
        self.plan_start_ns.store(start_ns, Ordering::Relaxed);
        self.from_ns.store(from_ns, Ordering::Relaxed);
        self.to_ns.store(to_ns, Ordering::Relaxed);
    }

    /// Ends the measured phase before its time; the workers hear of it with the next command.
    pub(super) fn end_at(&self, to_ns: u64) {
        self.to_ns.store(to_ns, Ordering::Relaxed);
    }

    /// Sets how long the next [`Command::Drain`] may wait for the server's FINs.
    pub(super) fn drain_within(&self, limit_ns: u64) {
        self.drain_ns.store(limit_ns, Ordering::Relaxed);
    }

    pub(super) fn drain_limit_ns(&self) -> u64 {
        self.drain_ns.load(Ordering::Relaxed)
    }

    pub(super) fn command(&self) -> Command {
        Command::from_u8(self.command.load(Ordering::Acquire))
    }

    /// The measured phase, from and to.
    pub(super) fn measured(&self) -> (u64, u64) {
        (self.from_ns.load(Ordering::Relaxed), self.to_ns.load(Ordering::Relaxed))
    }

    /// Start of the plan of an open loop.
    pub(super) fn plan_start_ns(&self) -> u64 {
        self.plan_start_ns.load(Ordering::Relaxed)
    }

    pub(super) fn waker(&self, worker: usize) -> &EventFd {
        &self.wakers[worker]
    }

    /// The gauges of all workers, as they are now.
    pub(super) fn sums(&self) -> Sums {
        let sum = |of: fn(&Gauges) -> &AtomicU64| -> u64 {
            let gauges = self.gauges.iter();
            gauges.map(|gauges| of(gauges).load(Ordering::Relaxed)).sum()
        };
        Sums {
            ok: sum(|gauges| &gauges.ok),
            errors: sum(|gauges| &gauges.errors),
            failures: sum(|gauges| &gauges.failures),
            in_flight: sum(|gauges| &gauges.in_flight),
            proven: sum(|gauges| &gauges.proven),
            served: sum(|gauges| &gauges.served),
            connections: sum(|gauges| &gauges.connections),
        }
    }
}
