//! Starts the worker threads, has the conductor lead them, and puts their records together.

use super::clock::now_ns;
use super::conductor::{Conducted, Conductor, MeasuredPhase};
use super::control::{Command, Control};
use super::event_loop::Setup;
use super::following::Following;
use super::socket::SocketMaker;
use super::turnstile::Turnstile;
use super::worker::{self, Ended, Pinned, Report};
use super::{LONGEST_SERIES, Observer, Recorded, as_ns};
use crate::failure::Failure;
use crate::record::{Beside, Plan, WINDOW};
use crate::recorder::Recorder;
use crate::recorder::trace::Trace;
use crate::workload::payload::Payload;
use crate::workload::schedule::Schedule;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

/// What all workers have in common.
struct Crew<'a> {
    plan: &'a Plan,
    control: &'a Control,
    payload: &'a Payload,
    sockets: SocketMaker,
    threads: u32,
    /// When the run began.
    begun_ns: u64,
    /// Messages that each worker traces.
    traced: usize,
}

/// Runs the plan's workload against the addresses, at least one; each worker traces so many messages.
///
/// # Errors
/// When a worker cannot be set up or its event loop fails.
pub(super) fn run(
    plan: &Plan,
    payload: &Payload,
    addresses: &[SocketAddr],
    observer: &mut dyn Observer,
    traced: usize,
) -> Result<Recorded, Failure> {
    let cpus = &plan.placement.loadgen_cpus;
    // The conductor too: its looks must not cost the server.
    let pinned = (!cpus.is_empty()).then(|| Pinned::to(cpus)).transpose();
    let _pinned = pinned.map_err(|error| Failure::fault(format!("pinning to CPUs {cpus:?}: {error}")))?;
    let threads = plan.threads.min(plan.workload.clients).max(1);
    let turnstile = Turnstile::new(plan.connect_window, plan.connect_rate_per_s);
    let control =
        Control::new(threads as usize, turnstile).map_err(|error| Failure::fault(format!("eventfd: {error}")))?;
    let crew = Crew {
        plan,
        control: &control,
        payload,
        sockets: SocketMaker::new(addresses, plan.source_addresses.clone()).with_apart(apart(plan)),
        threads,
        begun_ns: now_ns(),
        traced,
    };
    let (sender, reports) = channel();
    let recorders: Vec<Recorder> = shares(plan.workload.clients, threads)
        .map(|share| crew.recorder(share))
        .collect();
    let mut following = Following::new(recorders.iter().map(|recorder| recorder.windows.shared()).collect());
    thread::scope(|scope| {
        let workers: Vec<_> = shares(plan.workload.clients, threads)
            .zip(recorders)
            .enumerate()
            .map(|(worker, (share, recorder))| crew.start(scope, worker, share, recorder, sender.clone()))
            .collect();
        // When all workers have ended, so have the reports.
        drop(sender);
        let conducted = Conductor::new(plan, &control, reports, workers.len(), observer, &mut following).conduct();
        control.give(Command::Exit);
        let ended: Vec<Ended> = workers
            .into_iter()
            .filter_map(|worker| worker.join().ok().flatten())
            .collect();
        let conducted = conducted?;
        let phase = conducted.phase;
        let recorded = crew.recorded(conducted, ended)?;
        if let Some(phase) = phase {
            following.end(&recorded.recorder.windows, phase, observer);
        }
        Ok(recorded)
    })
}

impl<'a> Crew<'a> {
    /// The recorder of a worker with this share, with all its memory.
    fn recorder(&self, (first_client, clients): (u32, u32)) -> Recorder {
        let measured = self.plan.workload.measured_clients().saturating_sub(first_client);
        let mut recorder = Recorder::new(
            clients.min(measured) as usize,
            as_ns(WINDOW),
            windows_of(self.plan),
            self.plan.timeout_ms * 1_000_000,
            self.plan.workload.open_loop().is_some(),
        );
        recorder.trace = Trace::of(self.traced);
        recorder
    }

    /// Starts a worker for its share: first client and number of clients.
    fn start<'scope>(
        &self,
        scope: &'scope Scope<'scope, 'a>,
        worker: usize,
        (first_client, clients): (u32, u32),
        recorder: Recorder,
        reports: Sender<Report>,
    ) -> ScopedJoinHandle<'scope, Option<Ended>>
    where
        'a: 'scope,
    {
        let setup = Setup {
            plan: self.plan,
            payload: self.payload,
            sockets: self.sockets.clone(),
            first_client,
            clients,
        };
        let cpus = &self.plan.placement.loadgen_cpus;
        let cpu = (!cpus.is_empty()).then(|| cpus[worker % cpus.len()]);
        let (control, begun_ns) = (self.control, self.begun_ns);
        scope.spawn(move || worker::run(setup, control, worker, recorder, begun_ns, cpu, &reports))
    }

    /// All that was recorded, by the conductor and by the workers.
    fn recorded(&self, conducted: Conducted, ended: Vec<Ended>) -> Result<Recorded, Failure> {
        let all_ended = ended.len() == self.threads as usize;
        let spinning = ended
            .iter()
            .map(|worker| (worker.thread, Duration::from_nanos(worker.recorder.spin_ns)))
            .collect();
        let mut ended = ended.into_iter();
        let Some(first) = ended.next().filter(|_| all_ended) else {
            return Err(Failure::fault("a worker thread ended before its time"));
        };
        let mut recorded = Recorded {
            recorder: first.recorder,
            job_runs: conducted.job_runs,
            connect_phase: conducted.connect_phase,
            measured: conducted.phase.map_or(Duration::ZERO, MeasuredPhase::length),
            measured_from: conducted.measured_from,
            spinning,
            stopped: conducted.stopped,
            unclean_closes: first.unclean_closes,
            surplus_bytes: first.surplus_bytes,
            local_failures: first.local_failures,
            port_failures: first.port_failures,
        };
        for worker in ended {
            recorded.recorder.add(&worker.recorder);
            recorded.unclean_closes += worker.unclean_closes;
            recorded.surplus_bytes += worker.surplus_bytes;
            recorded.local_failures += worker.local_failures;
            recorded.port_failures += worker.port_failures;
        }
        if let Some(phase) = conducted.phase {
            recorded.recorder.outcomes.dropped(self.never_sent(phase));
        }
        Ok(recorded)
    }

    /// Messages of an open loop that were planned in the measured phase and that nobody has taken.
    fn never_sent(&self, phase: MeasuredPhase) -> u64 {
        let Some(open) = self.plan.workload.open_loop() else {
            return 0;
        };
        let mut rest = Schedule::new(open, self.plan.seed);
        rest.advance_to(self.control.plan.next());
        let before = |time_ns: u64| rest.count_before(time_ns.saturating_sub(self.control.plan_start_ns()));
        before(phase.ended_ns).saturating_sub(before(phase.from_ns))
    }
}

/// Clients that a server works for come from an address of their own, by which it knows them.
fn apart(plan: &Plan) -> Option<(u32, Ipv4Addr)> {
    let works = plan.workload.beside.is_some_and(|beside| beside.work_ns.is_some());
    works.then(|| (plan.workload.measured_clients(), Beside::SOURCE))
}

/// Deals clients to threads: first client and number of clients of each.
fn shares(clients: u32, threads: u32) -> impl Iterator<Item = (u32, u32)> {
    (0..threads).scan(0, move |first, thread| {
        let share = clients / threads + u32::from(thread < clients % threads);
        let from = *first;
        *first += share;
        Some((from, share))
    })
}

/// A job's runs overlap in their times: it has one window for all.
fn windows_of(plan: &Plan) -> usize {
    let measured = plan
        .workload
        .duration()
        .map_or(WINDOW, |duration| duration.min(LONGEST_SERIES));
    let windows = measured.as_nanos().div_ceil(WINDOW.as_nanos());
    usize::try_from(windows).unwrap_or(1).max(1)
}
