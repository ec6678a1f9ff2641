//! The load itself: worker threads that open, drive and close connections, and a conductor that leads them
//! through the phases. The only place that opens measuring sockets.
//!
//! The conductor ([`run`]) is the caller's thread. It never touches a connection: it gives commands, waits, and tells
//! an [`Observer`] when a phase begins or ends, so that costs can be read at those moments.

mod clock;
mod connection;
mod control;
mod dealer;
mod event_loop;
pub mod limits;
mod live;
mod pacer;
mod socket;
pub mod timestamps;
mod worker;

use crate::failure::Failure;
use crate::record::Plan;
use crate::recorder::Recorder;
use crate::recorder::trace::Trace;
use crate::workload::payload::Payload;
use crate::workload::schedule::Schedule;
use clock::now_ns;
use control::{Command, Control};
use event_loop::{Milestone, Setup};
use live::Live;
use nix::unistd::Pid;
use socket::SocketMaker;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, SystemTime};
use worker::{Ended, Report};

/// How [`Recorded::stopped`] begins when the common start could not be kept.
pub const TOO_LATE: &str = "--start-at was missed";
/// Length of a window of the measured phase.
pub const WINDOW: Duration = Duration::from_millis(100);
/// Windows for which memory is taken in advance; what comes later is counted in the last one.
const MOST_WINDOWS: usize = 36_000;
/// How long an interrupted run waits for what is outstanding, and for the server's FINs.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// How long a run that came to its end waits for the server's FINs: ten thousand processes take their time to go.
const DRAIN_WAIT: Duration = Duration::from_secs(20);

/// A moment between two phases, told to the observer while the clients wait for nothing but the clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Moment<'a> {
    /// The workers run, under these thread ids; nothing is connected.
    Started { threads: &'a [Pid] },
    /// The first connect() comes next.
    BeforeConnect,
    /// All clients that could be connected are; in a job this moment does not exist.
    Connected { took: Duration },
    /// The measured phase begins.
    MeasuredFrom,
    /// Another window of the measured phase has passed; told at least every [`WINDOW`], also in a job.
    WindowPassed,
    /// The measured phase has ended; in a job the last reply is there.
    MeasuredTo,
    /// All clients are connected and silent. What takes long may be read now.
    Hold,
    /// All connections are closed.
    Drained,
}

/// What goes on, for a progress line.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// `connect`, `warm-up`, `measured`, `drain`.
    pub phase: &'static str,
    /// Of this phase, 0 to 1.
    pub fraction: f64,
    /// Messages echoed whole so far, all phases.
    pub ok: u64,
    pub errors: u64,
    /// Connections that have echoed and are open.
    pub connected: u64,
    /// Of this phase.
    pub elapsed: Duration,
    /// Messages echoed per second in the last second or so; none at the beginning of a phase.
    pub rate_per_s: Option<f64>,
    /// Their response times over all workers, in nanoseconds, within 5 %; each needs ten samples beyond it.
    pub response_p50_ns: Option<u64>,
    pub response_p99_ns: Option<u64>,
}

/// What the observer wants after a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Directive {
    Continue,
    /// Stop planning, wait a little for what is outstanding, end in order.
    Stop(String),
    /// There is nothing left to wait for.
    Abort(String),
}

/// Watches a run: reads costs at the moments, shows progress, and may stop it.
pub trait Observer {
    fn moment(&mut self, moment: Moment<'_>);
    /// Called at least every 100 ms.
    fn look(&mut self, progress: Progress) -> Directive;
}

/// One run of a job, as the workers saw it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JobRun {
    /// First connect() to the end of the last message.
    pub duration: Duration,
    pub ok: u64,
    pub errors: u64,
    pub connections: u64,
}

/// All that was recorded.
pub struct Recorded {
    /// Of all workers, merged exactly.
    pub recorder: Recorder,
    /// A job's runs; empty for a workload that stops by time.
    pub job_runs: Vec<JobRun>,
    /// How long clients took to connect, where that is a phase of its own.
    pub connect_phase: Option<Duration>,
    /// Length of the measured phase; less than planned when it was stopped. Zero for a job.
    pub measured: Duration,
    /// Wall-clock time of its beginning; of a job, of its first connect().
    pub measured_from: Option<SystemTime>,
    /// Time that each worker thread spent looking at the clock before planned sends of the measured phase.
    pub spinning: Vec<(Pid, Duration)>,
    /// Why the run ended before its plan, if it did.
    pub stopped: Option<String>,
    /// Connections that ended otherwise than by both FINs after their last echo.
    pub unclean_closes: u64,
    /// Bytes that came when nothing was outstanding.
    pub surplus_bytes: u64,
    /// Failed attempts to connect that are this machine's fault: no source port, no descriptor, no memory.
    pub local_failures: u64,
}

/// Runs the plan's workload against the address.
///
/// # Errors
/// When a worker cannot be set up or its event loop fails; a fault of ours, never of the server.
pub fn run(plan: &Plan, address: SocketAddr, observer: &mut dyn Observer) -> Result<Recorded, Failure> {
    run_traced(plan, address, observer, 0)
}

/// The same, and keeps the times of the first `messages` messages of each worker.
///
/// # Errors
/// As [`run`].
pub fn run_traced(
    plan: &Plan,
    address: SocketAddr,
    observer: &mut dyn Observer,
    messages: usize,
) -> Result<Recorded, Failure> {
    let threads = plan.threads.min(plan.workload.clients).max(1);
    let cpus = &plan.placement.loadgen_cpus;
    if !cpus.is_empty() {
        // The conductor too: its looks must not cost the server.
        worker::pin(cpus).map_err(|error| Failure::fault(format!("pinning to CPUs {cpus:?}: {error}")))?;
    }
    let control = Control::new(threads as usize).map_err(|error| Failure::fault(format!("eventfd: {error}")))?;
    let payload = Payload::new(plan.seed);
    let sockets = SocketMaker::new(address, plan.source_addresses.clone());
    let begun_ns = now_ns();
    let (sender, reports) = channel();
    thread::scope(|scope| {
        let workers: Vec<_> = shares(plan.workload.clients, threads)
            .enumerate()
            .map(|(worker, (first_client, clients))| {
                let setup = Setup {
                    plan,
                    payload: &payload,
                    sockets: sockets.clone(),
                    first_client,
                    clients,
                    window: (plan.connect_window / threads).max(1) as usize,
                };
                let mut recorder = Recorder::new(
                    clients as usize,
                    as_ns(WINDOW),
                    windows_of(plan),
                    plan.timeout_ms * 1_000_000,
                    plan.workload.open_loop().is_some(),
                );
                recorder.trace = Trace::of(messages);
                let cpu = (!cpus.is_empty()).then(|| cpus[worker % cpus.len()]);
                let (control, sender) = (&control, sender.clone());
                scope.spawn(move || worker::run(setup, control, worker, recorder, begun_ns, cpu, &sender))
            })
            .collect();
        drop(sender);
        let mut conductor = Conductor {
            plan,
            control: &control,
            reports,
            workers: workers.len(),
            observer,
            live: Live::new(now_ns()),
            stopped: None,
            command: Command::Rest,
            reached: 0,
            first_connect_ns: u64::MAX,
            last_end_ns: 0,
        };
        let conducted = conductor.conduct();
        control.give(Command::Exit);
        let ended: Vec<Ended> = workers
            .into_iter()
            .filter_map(|worker| worker.join().ok().flatten())
            .collect();
        let mut conducted = conducted?;
        if ended.len() < threads as usize {
            return Err(Failure::fault("a worker thread ended before its time"));
        }
        for worker in ended {
            let spun = Duration::from_nanos(worker.recorder.spin_ns);
            conducted.spinning.push((worker.thread, spun));
            match &mut conducted.recorder {
                None => conducted.recorder = Some(worker.recorder),
                Some(merged) => merged.add(&worker.recorder),
            }
            conducted.unclean_closes += worker.unclean_closes;
            conducted.surplus_bytes += worker.surplus_bytes;
            conducted.local_failures += worker.local_failures;
        }
        if let (Some(recorder), Some(phase)) = (&mut conducted.recorder, conducted.phase) {
            recorder.outcomes.dropped(never_sent(plan, &control, phase));
        }
        Ok(conducted.recorded())
    })
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

/// Messages of an open loop that were planned in the measured phase and that nobody has taken.
fn never_sent(plan: &Plan, control: &Control, phase: Phase) -> u64 {
    plan.workload.open_loop().map_or(0, |open| {
        let mut rest = Schedule::new(open, plan.seed);
        rest.advance_to(control.plan.next());
        let before = |time_ns: u64| rest.count_before(time_ns.saturating_sub(control.plan_start_ns()));
        before(phase.ended_ns).saturating_sub(before(phase.from_ns))
    })
}

/// A job's runs overlap in their times: it has one window for all.
fn windows_of(plan: &Plan) -> usize {
    let windows = plan
        .workload
        .duration()
        .map_or(1, |duration| duration.as_nanos().div_ceil(WINDOW.as_nanos()));
    usize::try_from(windows).unwrap_or(MOST_WINDOWS).clamp(1, MOST_WINDOWS)
}

/// The measured phase: from, and to; less than planned when it was stopped.
#[derive(Clone, Copy)]
struct Phase {
    from_ns: u64,
    ended_ns: u64,
}

/// What the conductor has gathered; the workers' records are added when they have ended.
#[derive(Default)]
struct Conducted {
    recorder: Option<Recorder>,
    job_runs: Vec<JobRun>,
    connect_phase: Option<Duration>,
    measured: Duration,
    measured_from: Option<SystemTime>,
    phase: Option<Phase>,
    spinning: Vec<(Pid, Duration)>,
    stopped: Option<String>,
    unclean_closes: u64,
    surplus_bytes: u64,
    local_failures: u64,
}

impl Conducted {
    fn recorded(self) -> Recorded {
        Recorded {
            recorder: self.recorder.expect("there is at least one worker"),
            job_runs: self.job_runs,
            connect_phase: self.connect_phase,
            measured: self.measured,
            measured_from: self.measured_from,
            spinning: self.spinning,
            stopped: self.stopped,
            unclean_closes: self.unclean_closes,
            surplus_bytes: self.surplus_bytes,
            local_failures: self.local_failures,
        }
    }
}

/// Leads the workers through the phases.
struct Conductor<'a> {
    plan: &'a Plan,
    control: &'a Control,
    reports: Receiver<Report>,
    workers: usize,
    observer: &'a mut dyn Observer,
    live: Live,
    /// Why the run is to end early.
    stopped: Option<Directive>,
    /// The last command given, and how many workers have reached its milestone.
    command: Command,
    reached: usize,
    /// Of these workers: earliest connect() and latest end of a message.
    first_connect_ns: u64,
    last_end_ns: u64,
}

/// How a wait for the workers ended.
enum Waited {
    /// All have reached the milestone.
    All,
    /// The wait's own limit ran out.
    GaveUp,
    /// The observer wants the run to end, or to end faster.
    Stopped,
}

impl Conductor<'_> {
    fn conduct(&mut self) -> Result<Conducted, Failure> {
        let threads = self.started()?;
        self.observer.moment(Moment::Started { threads: &threads });
        let mut conducted = if self.plan.workload.is_job() {
            self.job()?
        } else {
            self.timed()?
        };
        conducted.stopped = match self.stopped.take() {
            Some(Directive::Stop(why) | Directive::Abort(why)) => Some(why),
            Some(Directive::Continue) | None => None,
        };
        Ok(conducted)
    }

    fn started(&mut self) -> Result<Vec<Pid>, Failure> {
        let mut threads = Vec::with_capacity(self.workers);
        while threads.len() < self.workers {
            match self.reports.recv() {
                Ok(Report::Started(thread)) => threads.push(thread),
                Ok(Report::Failed(text)) => return Err(Failure::fault(text)),
                Ok(Report::Reached(..)) => {}
                Err(_) => return Err(Failure::fault("a worker thread ended before its time")),
            }
        }
        Ok(threads)
    }

    /// A workload that stops by time.
    fn timed(&mut self) -> Result<Conducted, Failure> {
        let mut conducted = Conducted::default();
        let begun_ns = now_ns();
        self.observer.moment(Moment::BeforeConnect);
        self.give(Command::Connect);
        self.connect()?;
        let connect_phase = Duration::from_nanos(now_ns() - begun_ns);
        conducted.connect_phase = Some(connect_phase);
        self.observer.moment(Moment::Connected { took: connect_phase });
        let start_ns = self.wait_for_start(self.plan.workload.warmup_ms * 1_000_000)?;
        if self.stopped.is_none() {
            let from_ns = start_ns + self.plan.workload.warmup_ms * 1_000_000;
            let to_ns = from_ns + self.plan.workload.duration().map_or(0, as_ns);
            self.control.measure_between(start_ns, from_ns, to_ns);
            self.give(Command::RunUntil);
            self.sleep_until(from_ns, start_ns, "warm-up")?;
            if self.stopped.is_none() {
                conducted.measured_from = Some(wall_clock_at(from_ns));
                self.observer.moment(Moment::MeasuredFrom);
                let mut window_ns = from_ns;
                while window_ns < to_ns && self.stopped.is_none() {
                    window_ns = (window_ns + as_ns(WINDOW)).min(to_ns);
                    self.sleep_until(window_ns, from_ns, "measured")?;
                    self.observer.moment(Moment::WindowPassed);
                }
                let ended_ns = now_ns().min(to_ns);
                conducted.measured = Duration::from_nanos(ended_ns - from_ns);
                conducted.phase = Some(Phase { from_ns, ended_ns });
                self.observer.moment(Moment::MeasuredTo);
            }
            self.finish("drain")?;
        }
        self.hold_and_drain()?;
        Ok(conducted)
    }

    /// Waits until `before_ns` before `--start-at`, with all clients silent, and returns that moment; without it, now.
    /// A common start that has passed is none: the run ends without a measured phase.
    fn wait_for_start(&mut self, before_ns: u64) -> Result<u64, Failure> {
        let now = now_ns();
        let Some(at) = self.plan.start_time().filter(|_| self.stopped.is_none()) else {
            return Ok(now);
        };
        let begin = at - Duration::from_nanos(before_ns);
        let ahead = match begin.duration_since(SystemTime::now()) {
            Ok(ahead) => ahead,
            Err(late) => {
                self.stopped = Some(Directive::Stop(format!(
                    "{TOO_LATE} by {:.1} s: the clients were connected too late for the warm-up before it; give a later time",
                    late.duration().as_secs_f64()
                )));
                return Ok(now);
            }
        };
        let start_ns = now + as_ns(ahead);
        self.sleep_until(start_ns, now, "waiting for --start-at")?;
        Ok(start_ns)
    }

    /// Waits for the connections; goes on with those there are when none has come for `--connect-timeout`.
    fn connect(&mut self) -> Result<(), Failure> {
        let patience = Duration::from_millis(self.plan.connect_timeout_ms);
        let asked = u64::from(self.plan.workload.clients);
        let (mut proven, mut since_ns) = (0, now_ns());
        loop {
            match self.wait(WINDOW, "connect", |_, _, proven| ratio(proven, asked))? {
                Waited::GaveUp => {}
                Waited::All | Waited::Stopped => return Ok(()),
            }
            let now_proven = self.control.sums().2;
            if now_proven > proven {
                (proven, since_ns) = (now_proven, now_ns());
            } else if now_ns() - since_ns > as_ns(patience) {
                return Ok(());
            }
        }
    }

    /// A workload that stops by count, run once or until enough time has been measured.
    fn job(&mut self) -> Result<Conducted, Failure> {
        let mut conducted = Conducted::default();
        let repeat_for = Duration::from_millis(self.plan.repeat_for_ms);
        let planned = self.plan.workload.messages_planned().unwrap_or(0);
        let mut measured = Duration::ZERO;
        self.wait_for_start(0)?;
        if self.stopped.is_some() {
            self.hold_and_drain()?;
            return Ok(conducted);
        }
        loop {
            let before = self.control.sums();
            let begun_ns = now_ns();
            conducted.measured_from = conducted.measured_from.or_else(|| Some(wall_clock_at(begun_ns)));
            self.observer.moment(Moment::BeforeConnect);
            self.give(Command::RunJob);
            let answered = loop {
                let waited = self.wait(WINDOW, "measured", |ok, errors, _| {
                    ratio(ok + errors - before.0 - before.1, planned)
                })?;
                match waited {
                    Waited::GaveUp => self.observer.moment(Moment::WindowPassed),
                    Waited::All => break Some((self.first_connect_ns, self.last_end_ns)),
                    Waited::Stopped => break None,
                }
            };
            self.observer.moment(Moment::MeasuredTo);
            let (first_connect_ns, last_end_ns) = answered.unwrap_or((begun_ns, now_ns()));
            if answered.is_none() {
                self.finish("drain")?;
            }
            let after = self.control.sums();
            let duration = Duration::from_nanos(last_end_ns.saturating_sub(first_connect_ns));
            measured += duration;
            conducted.job_runs.push(JobRun {
                duration,
                ok: after.0 - before.0,
                errors: after.1 - before.1,
                connections: after.2,
            });
            if self.stopped.is_some() || measured >= repeat_for {
                self.hold_and_drain()?;
                return Ok(conducted);
            }
            self.drain()?;
        }
    }

    /// Waits until nothing is outstanding; a stopped run does not wait for long.
    fn finish(&mut self, phase: &'static str) -> Result<(), Failure> {
        let limit = match &self.stopped {
            Some(Directive::Abort(_)) => return Ok(()),
            Some(_) => {
                self.give(Command::Stop);
                LAST_WAIT
            }
            // Each message ends by its own timeout; before that it may have waited in the plan for as long.
            None => 2 * Duration::from_millis(self.plan.timeout_ms) + LAST_WAIT,
        };
        match self.wait(limit, phase, |_, _, _| 0.0)? {
            Waited::Stopped => self.finish(phase),
            Waited::All | Waited::GaveUp => Ok(()),
        }
    }

    fn hold_and_drain(&mut self) -> Result<(), Failure> {
        if !matches!(self.stopped, Some(Directive::Abort(_))) {
            self.give(Command::Rest);
            self.observer.moment(Moment::Hold);
        }
        self.drain()
    }

    fn drain(&mut self) -> Result<(), Failure> {
        let limit = if self.stopped.is_some() { LAST_WAIT } else { DRAIN_WAIT };
        self.control.drain_within(as_ns(limit));
        self.give(Command::Drain);
        // The workers themselves close what is still open then; the conductor waits a little longer than they do.
        while matches!(self.wait(limit + LAST_WAIT, "drain", |_, _, _| 0.0)?, Waited::Stopped) {
            self.control.drain_within(as_ns(LAST_WAIT));
        }
        self.observer.moment(Moment::Drained);
        Ok(())
    }

    fn give(&mut self, command: Command) {
        (self.command, self.reached) = (command, 0);
        (self.first_connect_ns, self.last_end_ns) = (u64::MAX, 0);
        self.control.give(command);
    }

    fn sleep_until(&mut self, until_ns: u64, phase_from_ns: u64, phase: &'static str) -> Result<(), Failure> {
        let whole_ns = match phase {
            "measured" => self.plan.workload.duration().map_or(0, as_ns),
            _ => until_ns - phase_from_ns,
        };
        loop {
            let now = now_ns();
            if now >= until_ns || self.stopped.is_some() {
                return Ok(());
            }
            let left = Duration::from_nanos(until_ns - now).min(WINDOW);
            self.listen(left)?;
            self.look(phase, ratio(now_ns() - phase_from_ns, whole_ns));
        }
    }

    /// Waits until all workers have reached their milestone, looking around meanwhile.
    fn wait(
        &mut self,
        limit: Duration,
        phase: &'static str,
        fraction: impl Fn(u64, u64, u64) -> f64,
    ) -> Result<Waited, Failure> {
        let until_ns = now_ns() + as_ns(limit);
        let before = self.stopped.clone();
        loop {
            let now = now_ns();
            if self.reached == self.workers {
                return Ok(Waited::All);
            } else if self.stopped != before {
                return Ok(Waited::Stopped);
            } else if now >= until_ns {
                return Ok(Waited::GaveUp);
            }
            self.listen(Duration::from_nanos(until_ns - now).min(WINDOW))?;
            let (ok, errors, proven) = self.control.sums();
            self.look(phase, fraction(ok, errors, proven));
        }
    }

    /// Takes one report, if one comes in time.
    fn listen(&mut self, limit: Duration) -> Result<(), Failure> {
        match self.reports.recv_timeout(limit) {
            Ok(Report::Failed(text)) => Err(Failure::fault(text)),
            Err(RecvTimeoutError::Disconnected) => Err(Failure::fault("all worker threads ended before their time")),
            Ok(Report::Reached(command, milestone)) if command == self.command => {
                self.reached += 1;
                if let Milestone::Finished {
                    first_connect_ns,
                    last_end_ns,
                } = milestone
                {
                    self.first_connect_ns = self.first_connect_ns.min(first_connect_ns);
                    self.last_end_ns = self.last_end_ns.max(last_end_ns);
                }
                Ok(())
            }
            Ok(Report::Started(_) | Report::Reached(..)) | Err(RecvTimeoutError::Timeout) => Ok(()),
        }
    }

    fn look(&mut self, phase: &'static str, fraction: f64) {
        let (ok, errors, connected) = self.control.sums();
        let (elapsed_ns, live) = self.live.look(self.control, phase, now_ns());
        let directive = self.observer.look(Progress {
            phase,
            fraction: fraction.min(1.0),
            ok,
            errors,
            connected,
            elapsed: Duration::from_nanos(elapsed_ns),
            rate_per_s: live.rate_per_s,
            response_p50_ns: live.p50_ns,
            response_p99_ns: live.p99_ns,
        });
        if directive != Directive::Continue && !matches!(self.stopped, Some(Directive::Abort(_))) {
            self.stopped = Some(directive);
        }
    }
}

/// Wall-clock time of a moment of the engine's clock.
fn wall_clock_at(moment_ns: u64) -> SystemTime {
    let (now, wall) = (now_ns(), SystemTime::now());
    if moment_ns >= now {
        wall + Duration::from_nanos(moment_ns - now)
    } else {
        wall - Duration::from_nanos(now - moment_ns)
    }
}

fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a fraction to look at")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}
