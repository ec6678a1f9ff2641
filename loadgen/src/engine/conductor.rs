//! Leads the workers through the phases: gives commands, waits, looks at their gauges, and tells the observer.

use super::clock::{BothClocks, now_ns};
use super::control::{Command, Control, Sums};
use super::event_loop::Milestone;
use super::following::Following;
use super::live::Live;
use super::silence::Silence;
use super::worker::Report;
use super::{Directive, JobRun, Moment, Observer, Phase, Progress, as_ns};
use crate::failure::Failure;
use crate::record::{Incomplete, Plan, WINDOW};
use crate::units::{ns_to_s, share};
use nix::unistd::Pid;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, SystemTime};

/// How long a stopped run waits for what is outstanding, and then for the server's FINs: all in all it ends within 3 s.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// How long a run that came to its end waits for the server's FINs: ten thousand processes take their time to go.
const DRAIN_WAIT: Duration = Duration::from_secs(20);

/// Leads the workers through the phases.
pub(super) struct Conductor<'a> {
    plan: &'a Plan,
    control: &'a Control,
    reports: Receiver<Report>,
    workers: usize,
    observer: &'a mut dyn Observer,
    following: &'a mut Following,
    live: Live,
    silence: Silence,
    begun_ns: u64,
    /// Why the run is to end early.
    stopped: Option<Directive>,
    /// The last command given, and how many workers have reached its milestone.
    command: Command,
    reached: usize,
    /// Of these workers: earliest connect() and latest end of a message.
    first_connect_ns: u64,
    last_end_ns: u64,
}

/// What the conductor has gathered; the workers have their own records.
#[derive(Default)]
pub(super) struct Conducted {
    pub(super) job_runs: Vec<JobRun>,
    pub(super) connect_phase: Option<Duration>,
    /// None for a job, and when it never began.
    pub(super) phase: Option<MeasuredPhase>,
    /// Wall-clock time of the beginning of the measured phase, or of the job.
    pub(super) measured_from: Option<SystemTime>,
    pub(super) stopped: Option<Incomplete>,
}

/// The measured phase: from, and to; less than planned when it was stopped.
#[derive(Clone, Copy)]
pub(super) struct MeasuredPhase {
    pub(super) from_ns: u64,
    pub(super) ended_ns: u64,
}

impl MeasuredPhase {
    pub(super) fn length(self) -> Duration {
        Duration::from_nanos(self.ended_ns - self.from_ns)
    }
}

/// How a wait for the workers ended.
enum Waited {
    /// All have reached the milestone.
    All,
    /// The wait's own limit ran out.
    GaveUp,
    /// The run is to end, or to end faster.
    Stopped,
}

impl<'a> Conductor<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        control: &'a Control,
        reports: Receiver<Report>,
        workers: usize,
        observer: &'a mut dyn Observer,
        following: &'a mut Following,
    ) -> Self {
        let now = now_ns();
        Self {
            plan,
            control,
            reports,
            workers,
            observer,
            following,
            live: Live::new(now),
            silence: Silence::new(plan.timeout_ms * 1_000_000, plan.workload.clients, now),
            begun_ns: now,
            stopped: None,
            command: Command::Rest,
            reached: 0,
            first_connect_ns: u64::MAX,
            last_end_ns: 0,
        }
    }

    /// Leads a whole run; the workers are at rest when it returns.
    pub(super) fn conduct(&mut self) -> Result<Conducted, Failure> {
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
        let took = Duration::from_nanos(now_ns() - begun_ns);
        conducted.connect_phase = Some(took);
        self.observer.moment(Moment::Connected { took });
        let warmup_ns = self.plan.workload.warmup_ms * 1_000_000;
        let start_ns = self.wait_for_start(warmup_ns)?;
        if self.stopped.is_none() {
            let from_ns = start_ns + warmup_ns;
            let to_ns = from_ns + self.plan.workload.duration().map_or(0, as_ns);
            self.control.measure_between(start_ns, from_ns, to_ns);
            self.silence.begin(start_ns);
            self.give(Command::RunUntil);
            self.sleep_until(from_ns, start_ns, Phase::WarmUp)?;
            if self.stopped.is_none() {
                let measured_from = BothClocks::read().wall_at(from_ns);
                conducted.measured_from = Some(measured_from);
                self.following.begin(measured_from);
                conducted.phase = Some(self.measured(from_ns, to_ns)?);
            }
            self.finish()?;
        }
        self.hold_and_drain()?;
        Ok(conducted)
    }

    /// The measured phase, window by window, until its end or until the run is stopped.
    fn measured(&mut self, from_ns: u64, to_ns: u64) -> Result<MeasuredPhase, Failure> {
        self.observer.moment(Moment::MeasuredFrom);
        let (mut window_ns, mut passed) = (from_ns, 0);
        while window_ns < to_ns && self.stopped.is_none() {
            window_ns = (window_ns + as_ns(WINDOW)).min(to_ns);
            self.sleep_until(window_ns, from_ns, Phase::Measured)?;
            self.observer.moment(Moment::WindowPassed);
            if self.stopped.is_none() {
                passed += 1;
                self.following.passed(passed, self.observer);
            }
        }
        let ended_ns = now_ns().clamp(from_ns, to_ns);
        self.control.end_at(ended_ns);
        self.observer.moment(Moment::MeasuredTo);
        Ok(MeasuredPhase { from_ns, ended_ns })
    }

    /// Waits until `before_ns` before `--start-at`, with all clients silent, and returns that moment; without it, now.
    /// A common start that has passed is none: the run ends without a measured phase.
    fn wait_for_start(&mut self, before_ns: u64) -> Result<u64, Failure> {
        let now = now_ns();
        let Some(at) = self.plan.start_time().filter(|_| self.stopped.is_none()) else {
            return Ok(now);
        };
        let begin = at - Duration::from_nanos(before_ns);
        let start_ns = || {
            let clocks = BothClocks::read();
            let ahead = begin.duration_since(clocks.wall);
            ahead.map(|ahead| clocks.now_ns + as_ns(ahead))
        };
        let first = match start_ns() {
            Ok(start_ns) => start_ns,
            Err(late) => {
                let why = Incomplete::start_missed(late.duration().as_secs_f64());
                self.stopped = Some(Directive::Stop(why));
                return Ok(now);
            }
        };
        // The wall clock may be adjusted meanwhile, so it is asked again shortly before.
        self.sleep_until(first.saturating_sub(as_ns(WINDOW)).max(now), now, Phase::WaitForStart)?;
        let start_ns = start_ns().unwrap_or(first);
        self.sleep_until(start_ns, now, Phase::WaitForStart)?;
        Ok(start_ns)
    }

    /// Waits for the connections; goes on with those there are when none has come for `--connect-timeout`.
    fn connect(&mut self) -> Result<(), Failure> {
        let patience = Duration::from_millis(self.plan.connect_timeout_ms);
        let asked = u64::from(self.plan.workload.clients);
        let (mut served, mut since_ns) = (0, now_ns());
        loop {
            match self.wait(WINDOW, Phase::Connect, |sums| ratio(sums.served, asked))? {
                Waited::GaveUp => {}
                Waited::All | Waited::Stopped => return Ok(()),
            }
            let now_served = self.control.sums().served;
            if now_served > served {
                (served, since_ns) = (now_served, now_ns());
            } else if now_ns() - since_ns > as_ns(patience) {
                return Ok(());
            }
        }
    }

    /// A workload that stops by count, run once or until enough time has been measured.
    fn job(&mut self) -> Result<Conducted, Failure> {
        let mut conducted = Conducted::default();
        let repeat_for = Duration::from_millis(self.plan.repeat_for_ms);
        self.wait_for_start(0)?;
        let mut measured = Duration::ZERO;
        while self.stopped.is_none() {
            conducted.measured_from = conducted.measured_from.or_else(|| Some(SystemTime::now()));
            let run = self.job_run()?;
            measured += run.duration;
            conducted.job_runs.push(run);
            if measured >= repeat_for {
                break;
            }
            if self.stopped.is_none() {
                self.drain()?;
            }
        }
        self.hold_and_drain()?;
        Ok(conducted)
    }

    /// From the first connect() to the last reply.
    fn job_run(&mut self) -> Result<JobRun, Failure> {
        let planned = self.plan.workload.messages_planned().unwrap_or(0);
        let before = self.control.sums();
        let begun_ns = now_ns();
        self.observer.moment(Moment::BeforeConnect);
        self.silence.begin(begun_ns);
        self.give(Command::RunJob);
        let is_answered = loop {
            let ended = |sums: &Sums| sums.ok + sums.errors - before.ok - before.errors;
            match self.wait(WINDOW, Phase::Measured, |sums| ratio(ended(sums), planned))? {
                Waited::GaveUp => self.observer.moment(Moment::WindowPassed),
                Waited::All => break true,
                Waited::Stopped => break false,
            }
        };
        let (first_connect_ns, last_end_ns) = if is_answered {
            (self.first_connect_ns, self.last_end_ns)
        } else {
            (begun_ns, now_ns())
        };
        self.observer.moment(Moment::MeasuredTo);
        if !is_answered {
            self.finish()?;
        }
        let after = self.control.sums();
        Ok(JobRun {
            duration: Duration::from_nanos(last_end_ns.saturating_sub(first_connect_ns)),
            ok: after.ok - before.ok,
            errors: after.errors - before.errors,
            connections: after.connections - before.connections,
        })
    }

    /// Waits until nothing is outstanding; a stopped run does not wait for long.
    fn finish(&mut self) -> Result<(), Failure> {
        let limit = match &self.stopped {
            Some(Directive::Abort(_)) => return Ok(()),
            Some(_) => {
                self.give(Command::Stop);
                LAST_WAIT
            }
            // Each message ends by its own timeout; before that it may have waited in the plan for as long.
            None => 2 * Duration::from_millis(self.plan.timeout_ms) + LAST_WAIT,
        };
        match self.wait(limit, Phase::Drain, |_| 0.0)? {
            Waited::Stopped => self.finish(),
            Waited::All | Waited::GaveUp => {
                self.silence.look(self.control.sums(), now_ns());
                if self.stopped.is_none() && self.silence.all_failed() {
                    self.give_the_server_up();
                }
                Ok(())
            }
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
        while matches!(self.wait(limit + LAST_WAIT, Phase::Drain, |_| 0.0)?, Waited::Stopped) {
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

    fn sleep_until(&mut self, until_ns: u64, phase_from_ns: u64, phase: Phase) -> Result<(), Failure> {
        let whole_ns = match phase {
            Phase::Measured => self.plan.workload.duration().map_or(0, as_ns),
            _ => until_ns - phase_from_ns,
        };
        loop {
            let now = now_ns();
            if now >= until_ns || self.stopped.is_some() {
                return Ok(());
            }
            let left = Duration::from_nanos(until_ns - now).min(WINDOW);
            self.listen(left)?;
            self.look(phase, |_| ratio(now_ns() - phase_from_ns, whole_ns));
        }
    }

    /// Waits until all workers have reached their milestone, looking around meanwhile.
    fn wait(&mut self, limit: Duration, phase: Phase, fraction: impl Fn(&Sums) -> f64) -> Result<Waited, Failure> {
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
            self.look(phase, &fraction);
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

    fn look(&mut self, phase: Phase, fraction: impl Fn(&Sums) -> f64) {
        let now = now_ns();
        let sums = self.control.sums();
        let (elapsed_ns, live) = self.live.look(self.control, phase, now);
        let directive = self.observer.look(Progress {
            phase,
            fraction: fraction(&sums).min(1.0),
            ok: sums.ok,
            errors: sums.errors,
            connected: sums.proven,
            elapsed: Duration::from_nanos(elapsed_ns),
            rate_per_s: live.rate_per_s,
            response_p50_ns: live.p50_ns,
            response_p99_ns: live.p99_ns,
        });
        if directive != Directive::Continue && !matches!(self.stopped, Some(Directive::Abort(_))) {
            self.stopped = Some(directive);
        }
        self.silence.look(sums, now);
        // Connecting has a patience of its own, and what is outstanding at the end its timeouts.
        let must_answer = matches!(phase, Phase::WarmUp | Phase::Measured);
        if must_answer && self.stopped.is_none() && self.silence.is_over() {
            self.give_the_server_up();
        }
    }

    /// Ends the run for all clients at once: nobody is answered any more.
    fn give_the_server_up(&mut self) {
        let last_s = self.silence.last_echo_ns().map(|at_ns| ns_to_s(at_ns - self.begun_ns));
        let why = Incomplete::fell_silent(self.silence.waited().as_secs_f64(), last_s);
        self.stopped = Some(Directive::Abort(why));
    }
}

/// A fraction to look at; nothing of nothing is all of it.
fn ratio(part: u64, whole: u64) -> f64 {
    share(part, whole).unwrap_or(1.0)
}
