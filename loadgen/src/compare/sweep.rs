//! Runs a sweep: one trial after the other, as `suite::sweep` asks for them, each kept at once. Starts no process: that
//! is what a [`Trials`] does. Prints nothing: that is what a [`SweepView`] does.

use super::runner::{TrialProgress, Trials};
use crate::failure::Failure;
use crate::measurement::store::{SWEEP_FILE, Store, pretty_json};
use crate::record::{Incomplete, Measurement, Plan, SuitePlace};
use crate::suite::sweep::{End, Point, Step, Sweep, SweepFile};
use std::time::{Duration, Instant};

/// Shows what goes on.
pub trait SweepView {
    fn moves(&mut self, now: &SweepNow, progress: TrialProgress);
    fn ends(&mut self, now: &SweepNow, trial: &Measurement);
}

/// The trial that runs now.
#[derive(Clone, Debug)]
pub struct SweepNow {
    pub point: Point,
    /// `bracket`, `bisect`, `confirm`, `curve`, or `again`.
    pub stage: &'static str,
    /// Trials done, and still to come at least.
    pub done: u32,
    pub left: u32,
    pub time_left: Duration,
}

/// Runs the sweep to its end, or until the user stops it.
///
/// # Errors
/// When the target cannot be measured at all, or results cannot be written.
pub fn run_sweep(
    file: &mut SweepFile,
    trials: &mut dyn Trials,
    store: &mut Store,
    plan_at: &dyn Fn(&Sweep, u64) -> Result<Plan, Failure>,
    view: &mut dyn SweepView,
) -> Result<End, Failure> {
    let begun = Instant::now();
    let before_ms = file.spent_ms;
    let mut done = 0;
    loop {
        let (point, stage) = match file.sweep.next(store.records()) {
            Step::Measure { point, stage } if !trials.interrupted() => (point, stage),
            Step::Measure { .. } => break finish(file, store, End::Interrupted),
            Step::End(end) => break finish(file, store, end),
        };
        let plan = plan_at(&file.sweep, point.at)?;
        let left = file.sweep.trials_left(store.records());
        let each = match done {
            0 => expected(&plan),
            trials => begun.elapsed() / trials,
        };
        let now = SweepNow {
            point,
            stage,
            done,
            left,
            time_left: each * left,
        };
        let place = place(&file.sweep, point, store.records().len());
        let trial = trials.run(&plan, &place, &mut |progress| view.moves(&now, progress));
        view.ends(&now, &trial);
        let was_interrupted = trial.incomplete_reason == Some(Incomplete::Interrupted);
        if trial.totals.connections == 0 && !was_interrupted {
            let why = (trial.incomplete_reason.as_ref()).map_or("nobody answered", Incomplete::as_str);
            return Err(Failure::unreachable(format!(
                "{} could not be measured at {}: {why}",
                file.sweep.target, trial.workload
            )));
        }
        // Cut short, it is no run, and its name belongs to the one that will be whole.
        if was_interrupted {
            break finish(file, store, End::Interrupted);
        }
        store.keep(trial)?;
        done += 1;
        file.spent_ms = before_ms + u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        store.write_again(SWEEP_FILE, &pretty_json(file))?;
    }
}

/// Start, connect, hold and stop of a trial.
const AROUND_MS: u64 = 1200;

/// How long a trial will take, before one was seen.
fn expected(plan: &Plan) -> Duration {
    plan.workload.duration().unwrap_or_default() + Duration::from_millis(plan.workload.warmup_ms + AROUND_MS)
}

/// Where a trial stands among `kept` earlier ones.
fn place(sweep: &Sweep, point: Point, kept: usize) -> SuitePlace {
    SuitePlace {
        suite: "sweep".to_string(),
        round: point.run,
        position: u32::try_from(kept + 1).unwrap_or(u32::MAX),
        seed: sweep.seed,
        attempt: point.attempt,
        control: false,
        plan_hash: None,
        at: None,
    }
}

fn finish(file: &mut SweepFile, store: &Store, end: End) -> Result<End, Failure> {
    file.ended = Some(end.as_str().to_string());
    store.write_again(SWEEP_FILE, &pretty_json(file))?;
    Ok(end)
}
