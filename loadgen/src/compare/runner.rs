//! Rounds until the last one, the budget or Ctrl-C; every trial kept at once.
//!
//! Starts no process and opens no socket: that is what a [`Trials`] does. Prints nothing: that is what a [`View`] does.

use super::pace::Pace;
use crate::failure::Failure;
use crate::measurement::store::{SUITE_FILE, Store, pretty_json};
use crate::record::{External, Plan};
use crate::record::{Measurement, SuitePlace};
use crate::report::folder;
use crate::suite::estimate::{Rounds, rounds_that_fit};
use crate::suite::findings::Findings;
use crate::suite::matrix::{Pair, SuiteFile};
use crate::suite::nearness::Nearness;
use crate::suite::order;
use crate::suite::precision::Known;
use crate::suite::results::{Results, pair_of, round_of, usable, why_not};
use crate::validity::gates::was_not_to_be_measured;
use std::path::Path;
use std::time::{Duration, Instant};

/// Tries of one pair in one round: the first, and one more within its block where that was no use.
const ATTEMPTS_MAX: u32 = 2;

/// Runs trials. The real one starts servers; tests have one that does not.
pub trait Trials {
    /// Whatever must be there before the first trial, such as built servers. Called once, when the suite is checked. What servers print
    /// may be kept in the folder.
    ///
    /// # Errors
    /// When there is no point in beginning.
    fn prepare(&mut self, _externals: &[External], _folder: &Path) -> Result<(), Failure> {
        Ok(())
    }

    /// Runs one trial from a fresh server to its record. A fault of the trial is a record with `complete: false` and a
    /// reason, never a missing one.
    fn run(&mut self, plan: &Plan, place: &SuitePlace, progress: &mut dyn FnMut(TrialProgress)) -> Measurement;

    /// Whether the user has asked to stop (SIGINT or SIGTERM).
    fn interrupted(&self) -> bool;
}

/// How far a trial is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrialProgress {
    /// `starting`, `connect`, `warm-up`, `measured`, `hold` or `drain`.
    pub phase: &'static str,
    /// Share of that phase, 0 to 1.
    pub fraction: f64,
}

/// Shows what goes on.
pub trait View {
    fn trial_begins(&mut self, now: &Now);
    fn trial_moves(&mut self, now: &Now, progress: TrialProgress);
    fn trial_ends(&mut self, now: &Now, measurement: &Measurement);
    /// After each block with its extra tries.
    fn block_ends(&mut self, block: &Block, file: &SuiteFile, results: &Results);
}

/// A block that has ended.
#[derive(Clone, Debug)]
pub struct Block {
    pub workload: String,
    pub round: u32,
    /// Rounds that will fit into the budget, as far as can be told.
    pub rounds_expected: u32,
    /// Trials of the block, and how many of them have a capacity that stands.
    pub trials: usize,
    pub standing: usize,
    /// Why the others have none: the first one's reason.
    pub worst: Option<String>,
    /// Until the suite ends, as far as can be told.
    pub left: Duration,
}

/// The trial that runs now.
#[derive(Clone, Debug)]
pub struct Now {
    /// As in the tables.
    pub target: String,
    pub workload: String,
    /// From 1.
    pub attempt: u32,
    pub round: u32,
    /// Rounds that will fit into the budget, as far as can be told.
    pub rounds_expected: u32,
    /// Place in the round, from 1, and how many there are.
    pub position: u32,
    pub positions: u32,
    /// Until the suite ends, as far as can be told.
    pub left: Duration,
    /// Share of the suite that is done, 0 to 1.
    pub done: f64,
}

/// How a suite ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuiteEnd {
    /// All rounds are done.
    Rounds,
    /// Another round would not have ended within the budget.
    Budget,
    /// Every ratio is known as well as was asked for.
    Precision,
    /// The user asked to stop; `--resume` goes on.
    Interrupted,
    /// A whole round passed without one trial that ran to its end.
    NothingMeasured,
}

impl SuiteEnd {
    /// As stored in [`SuiteFile::ended`].
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rounds => "rounds",
            Self::Budget => "budget",
            Self::Precision => "precision",
            Self::Interrupted => "interrupted",
            Self::NothingMeasured => "nothing measured",
        }
    }
}

/// Runs what the folder still lacks. Reports and records are in the folder when it returns, also after an interruption.
///
/// # Errors
/// When results cannot be written; the records of this sitting are then still in `store`.
pub fn run_suite(
    file: &mut SuiteFile,
    trials: &mut dyn Trials,
    store: &mut Store,
    view: &mut dyn View,
) -> Result<SuiteEnd, Failure> {
    let begun = Instant::now();
    run_suite_by(file, trials, store, view, &|| begun.elapsed())
}

/// [`run_suite`] by another clock, which tells the time since this sitting began.
///
/// # Errors
/// As [`run_suite`].
pub fn run_suite_by(
    file: &mut SuiteFile,
    trials: &mut dyn Trials,
    store: &mut Store,
    view: &mut dyn View,
    clock: &dyn Fn() -> Duration,
) -> Result<SuiteEnd, Failure> {
    let spent_before = Duration::from_millis(file.spent_ms);
    let mut runner = Runner {
        pace: Pace::default(),
        file,
        trials,
        store,
        view,
        clock,
        spent_before,
    };
    let end = runner.rounds()?;
    runner.file.ended = Some(end.as_str().to_string());
    runner.write_suite_file()?;
    runner.write_reports()?;
    Ok(end)
}

struct Runner<'a> {
    file: &'a mut SuiteFile,
    trials: &'a mut dyn Trials,
    store: &'a mut Store,
    view: &'a mut dyn View,
    clock: &'a dyn Fn() -> Duration,
    spent_before: Duration,
    pace: Pace,
}

impl Runner<'_> {
    fn rounds(&mut self) -> Result<SuiteEnd, Failure> {
        self.file.ended = None;
        self.write_suite_file()?;
        for round in 1..=self.file.suite.rounds_max {
            let order: Vec<(u32, Pair)> = (1..).zip(order::of_round(&self.file.suite, round)).collect();
            let owed: Vec<&Pair> = order
                .iter()
                .map(|(_, pair)| pair)
                .filter(|pair| self.tries(pair, round) == 0)
                .collect();
            // The first round of all targets, and of an added one, always runs whole: without it there is no table at all.
            let suite = &self.file.suite;
            let is_first = round == 1 || round == suite.rounds_before() + 1 || suite.begins_addition(round);
            if !is_first && !owed.is_empty() && !self.fits(owed.iter().copied()) {
                return Ok(SuiteEnd::Budget);
            }
            let mut news = false;
            let mut later = &order[..];
            for block in order.chunk_by(|(_, one), (_, next)| one.workload == next.workload) {
                later = &later[block.len()..];
                news |= self.block(block, later, round)?;
                if self.trials.interrupted() {
                    return Ok(SuiteEnd::Interrupted);
                }
            }
            news |= is_first && self.count_syscalls()?;
            if self.trials.interrupted() {
                return Ok(SuiteEnd::Interrupted);
            }
            if self.file.suite.learn_rates(round, self.store.records()) {
                self.write_suite_file()?;
            }
            if news {
                self.write_reports()?;
            }
            if !self.store.records().iter().any(|stored| stored.measurement.complete) {
                return Ok(SuiteEnd::NothingMeasured);
            }
            if self.is_precise_after(round) {
                return Ok(SuiteEnd::Precision);
            }
        }
        Ok(SuiteEnd::Rounds)
    }

    /// Whether every ratio is known as well as was asked for. A whole round is the last one that has trials.
    fn is_precise_after(&self, round: u32) -> bool {
        let later = |trial: &Measurement| round_of(trial) > round;
        let Some(precision) = self.file.suite.precision else {
            return false;
        };
        if self.store.records().iter().any(|stored| later(&stored.measurement)) {
            return false;
        }
        let findings = Findings::of(&self.file.suite, self.store.records());
        Known::of(&findings).is_some_and(|known| known.is_within(precision))
    }

    /// One workload of one round: what it lacks, and at once, while the machine is in the same mood, what has to run again.
    /// `later` is what follows in the round. Says whether anything ran.
    fn block(&mut self, block: &[(u32, Pair)], later: &[(u32, Pair)], round: u32) -> Result<bool, Failure> {
        let mut ran = false;
        for (place, (position, pair)) in block.iter().enumerate() {
            if self.tries(pair, round) > 0 {
                continue;
            }
            if self.trials.interrupted() {
                return Ok(ran);
            }
            let rest = block[place..].iter().chain(later).map(|(_, pair)| pair);
            self.trial(pair, round, *position, rest)?;
            ran = true;
        }
        for attempt in 2..=ATTEMPTS_MAX {
            for (position, pair) in block {
                let is_owed = self.tries(pair, round) == attempt - 1 && !self.is_settled(pair, round);
                if self.trials.interrupted() || !is_owed || !self.fits([pair]) {
                    continue;
                }
                let rest = later.iter().map(|(_, pair)| pair);
                self.trial(pair, round, *position, [pair].into_iter().chain(rest))?;
                ran = true;
            }
        }
        if ran && !self.trials.interrupted() {
            let results = self.write_reports()?;
            let told = self.told(&block[0].1.workload, round, later);
            self.view.block_ends(&told, self.file, &results);
        }
        Ok(ran)
    }

    /// Runs the counting trials that are not there yet, each once, while there is time; says whether there were any. They
    /// are no part of a round's order: nothing in them is timed.
    fn count_syscalls(&mut self) -> Result<bool, Failure> {
        let mut counted = false;
        for pair in self.file.suite.counting_pairs() {
            if self.trials.interrupted() {
                return Ok(counted);
            }
            if self.tries(&pair, 1) == 0 && self.fits([&pair]) {
                let position = u32::try_from(self.store.records().len() + 1).unwrap_or(u32::MAX);
                self.trial(&pair, 1, position, [&pair])?;
                counted = true;
            }
        }
        Ok(counted)
    }

    /// Runs one trial and keeps it. `rest` is what the round still owes, this trial included.
    fn trial<'p>(
        &mut self,
        pair: &Pair,
        round: u32,
        position: u32,
        rest: impl IntoIterator<Item = &'p Pair>,
    ) -> Result<(), Failure> {
        let suite = &self.file.suite;
        let place = SuitePlace {
            suite: suite.name.clone(),
            round,
            position,
            seed: suite.seed,
            attempt: self.tries(pair, round) + 1,
            control: pair.control,
            plan_hash: Some(suite.plan_hash()),
            at: pair.at,
        };
        let plan = suite.plan(pair, round);
        let now = self.now(pair, &place, rest);
        self.view.trial_begins(&now);
        let begun = (self.clock)();
        let measurement = {
            let (view, clock) = (&mut *self.view, self.clock);
            self.trials.run(&plan, &place, &mut |progress| {
                let mut now = now.clone();
                now.left = now.left.saturating_sub(clock().saturating_sub(begun));
                view.trial_moves(&now, progress);
            })
        };
        let took = (self.clock)().saturating_sub(begun);
        // Cut short by the user, not by a fault: it is not kept, so that `--resume` runs it whole.
        if self.trials.interrupted() && !measurement.complete {
            return Ok(());
        }
        let measurement = placed(measurement, plan, place);
        if measurement.complete {
            self.pace.took(&self.file.suite, pair, took);
        }
        self.view.trial_ends(&now, &measurement);
        self.store.keep(measurement)?;
        self.write_suite_file()
    }

    fn now<'p>(&self, pair: &Pair, place: &SuitePlace, rest: impl IntoIterator<Item = &'p Pair>) -> Now {
        let suite = &self.file.suite;
        let rest = self.pace.expect(suite, rest);
        let more = self.rounds_that_fit(place.round, rest);
        let left = rest + more.time;
        let spent = self.spent();
        Now {
            target: pair.label(),
            workload: pair.workload.clone(),
            attempt: place.attempt,
            round: place.round,
            rounds_expected: place.round + more.number,
            position: place.position,
            positions: u32::try_from(suite.pairs_of_round(place.round).len())
                .unwrap_or(u32::MAX)
                .max(place.position),
            left,
            done: spent.as_secs_f64() / (spent + left).as_secs_f64().max(f64::MIN_POSITIVE),
        }
    }

    fn told(&self, workload: &str, round: u32, later: &[(u32, Pair)]) -> Block {
        let rest = self.pace.expect(&self.file.suite, later.iter().map(|(_, pair)| pair));
        let more = self.rounds_that_fit(round, rest);
        let of_block = |trial: &&Measurement| round_of(trial) == round && trial.workload == workload;
        let trials = self
            .store
            .records()
            .iter()
            .map(|stored| &stored.measurement)
            .filter(of_block);
        let (standing, void): (Vec<&Measurement>, Vec<&Measurement>) = trials.partition(|trial| usable(trial));
        Block {
            workload: workload.to_string(),
            round,
            rounds_expected: round + more.number,
            trials: standing.len() + void.len(),
            standing: standing.len(),
            worst: void.first().and_then(|trial| why_not(trial).into_iter().next()),
            left: rest + more.time,
        }
    }

    /// Reports are written after every block, so that even a kill leaves the tables of what came before.
    fn write_reports(&self) -> Result<Results, Failure> {
        let results = Results::of(&self.file.suite, self.store.records());
        for (name, text) in folder::files(self.file, &results, self.store.records()) {
            self.store.write_again(&name, &text)?;
        }
        Ok(results)
    }

    fn write_suite_file(&mut self) -> Result<(), Failure> {
        self.file.spent_ms = u64::try_from(self.spent().as_millis()).unwrap_or(u64::MAX);
        self.store.write_again(SUITE_FILE, &pretty_json(&*self.file))
    }

    fn spent(&self) -> Duration {
        self.spent_before + (self.clock)()
    }

    fn fits<'p>(&self, pairs: impl IntoIterator<Item = &'p Pair>) -> bool {
        self.spent() + self.pace.expect(&self.file.suite, pairs) <= self.file.suite.budget()
    }

    /// Rounds after `round` that fit into the budget once `rest` of this one is done.
    fn rounds_that_fit(&self, round: u32, rest: Duration) -> Rounds {
        let suite = &self.file.suite;
        let free = suite.budget().saturating_sub(self.spent() + rest);
        rounds_that_fit(suite, round, free, &|pairs| self.pace.expect(suite, pairs))
    }

    fn tries(&self, pair: &Pair, round: u32) -> u32 {
        u32::try_from(self.of(pair, round).count()).unwrap_or(u32::MAX)
    }

    /// Whether another try could change nothing.
    fn is_settled(&self, pair: &Pair, round: u32) -> bool {
        let nearness = Nearness::of(self.store.records());
        self.of(pair, round)
            .any(|trial| (usable(trial) && nearness.is_used(trial)) || was_not_to_be_measured(trial))
    }

    fn of<'s>(&'s self, pair: &'s Pair, round: u32) -> impl Iterator<Item = &'s Measurement> {
        self.store
            .records()
            .iter()
            .map(|stored| &stored.measurement)
            .filter(move |trial| round_of(trial) == round && pair_of(trial) == *pair)
    }
}

/// The record says where it stands even if the trial failed before it could be told.
fn placed(mut measurement: Measurement, plan: Plan, place: SuitePlace) -> Measurement {
    measurement.workload.clone_from(&plan.workload.name);
    measurement.plan.target = plan.target;
    measurement.identity.suite = Some(place);
    measurement
}
