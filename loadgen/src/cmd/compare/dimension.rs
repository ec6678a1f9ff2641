//! `compare --workers 1,2,4` and `--work 0,10us`: one value for all servers, or a dimension of the comparison.

use super::CompareArgs;
use super::suites::chosen_suite;
use crate::failure::Failure;
use crate::notice::notice;
use crate::record::{At, External, Start};
use crate::suite::dimension::Dimension;
use crate::suite::estimate::whole;
use crate::suite::fit::ROUNDS_FOR_A_CLAIM;
use crate::suite::matrix::{Suite, SuiteFile};
use crate::text::{counted, minutes};
use std::time::Duration;

/// What servers that loadgen starts are started with.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Servers that loadgen starts")]
pub struct ServerFlagArgs {
    /// Worker threads or processes of each server that has any; several values, like 1,2,4, are compared with each other
    #[arg(long, value_name = "N[,N]", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub workers: Vec<u32>,

    /// CPU time that each server burns per read; several values, like 0,10us,100us, are compared with each other
    #[arg(long, value_name = "TIME[,TIME]", value_delimiter = ',', value_parser = work_ns)]
    pub work: Vec<u64>,
}

impl CompareArgs {
    /// The most workers that a server is to have: as many CPUs it gets, where there are so many.
    #[must_use]
    pub fn most_workers(&self) -> u32 {
        // What is wrong with a suite is told when it is read to be run.
        let of_suite = chosen_suite(self).ok().flatten();
        let of_suite = of_suite.map_or(1, |suite| suite.most_workers());
        self.started_with.workers.iter().copied().max().unwrap_or(of_suite)
    }
}

/// What the servers are started with.
pub(super) struct Flags {
    pub(super) dimension: Option<Dimension>,
    /// The same for every server that has workers.
    pub(super) workers: Option<u32>,
    /// The same for every server of the catalog, in nanoseconds.
    pub(super) work_ns: Option<u64>,
}

/// From what was typed. Says on stderr for whom a single value changes nothing.
///
/// # Errors
/// Usage, naming the flag, its values and the fix.
pub(super) fn of(
    args: &CompareArgs,
    targets: &[String],
    externals: &[External],
    start: Start,
) -> Result<Flags, Failure> {
    let (workers, work) = (&args.started_with.workers, &args.started_with.work);
    check_twice("--workers", workers)?;
    check_twice("--work", work)?;
    let of_workers = (!workers.is_empty()).then(|| Dimension::Workers(workers.clone()));
    let of_work = (!work.is_empty()).then(|| Dimension::WorkNs(work.clone()));
    for asked in of_workers.iter().chain(&of_work) {
        if start != Start::Always {
            return Err(Failure::usage(format!(
                "{} is for servers that loadgen starts, and --targets running are not: leave it out",
                asked.flag()
            )));
        }
        check_targets(asked, targets, externals, args.quiet)?;
    }
    let dimension = match (of_workers.filter(has_several), of_work.filter(has_several)) {
        (Some(_), Some(_)) => {
            return Err(Failure::usage(
                "--workers and --work with several values each: a comparison has one dimension. Give one of them a single value",
            ));
        }
        (one, other) => one.or(other),
    };
    if let (Some(dimension), Some(_)) = (&dimension, args.fail_on_regression) {
        return Err(Failure::usage(format!(
            "--fail-on-regression judges two targets at one value: give {} a single value",
            dimension.flag()
        )));
    }
    Ok(Flags {
        dimension,
        workers: workers.first().copied().filter(|_| workers.len() == 1),
        work_ns: work.first().copied().filter(|_| work.len() == 1),
    })
}

/// Tells what a dimension takes before anything is measured: trials, time, and what nothing will be claimed about.
pub(super) fn tell(file: &SuiteFile) {
    for line in told(file) {
        notice(line);
    }
}

fn told(file: &SuiteFile) -> Vec<String> {
    let suite = &file.suite;
    let Some(dimension) = &suite.dimension else {
        return Vec::new();
    };
    let values: Vec<String> = dimension.values().iter().map(ToString::to_string).collect();
    let whole = whole(file);
    let (each, rounds) = (whole.first_time, whole.rounds.number);
    let trials = suite.pairs_of_round(whole.first).len() as u64;
    let mut lines = vec![format!(
        "compared at {}: {} a round, about {} each; about {} for {}",
        values.join(", "),
        counted(trials, "trial", "trials"),
        minutes(each),
        minutes(whole.rounds.time),
        counted(rounds.into(), "round", "rounds")
    )];
    let needed = u32::try_from(ROUNDS_FOR_A_CLAIM).unwrap_or(u32::MAX);
    if rounds < needed && suite.additions.is_empty() {
        lines.push(format!(
            "no difference is claimed before {needed} rounds, which take about {}: give --rounds and --budget for that, or fewer \
             --targets, --workloads or values",
            minutes(each * needed)
        ));
    }
    lines.extend(oversubscribed(suite));
    for (target, why) in suite.without_values() {
        lines.push(format!("{} changes nothing for {target}: {why}", dimension.flag()));
    }
    lines
}

/// The numbers of workers that are more than the server's CPUs, one sentence.
fn oversubscribed(suite: &Suite) -> Option<String> {
    let cpus = suite.base.placement.server_cpus.len() as u64;
    let Some(Dimension::Workers(workers)) = suite.dimension.as_ref().filter(|_| cpus > 0) else {
        return None;
    };
    let more = workers.iter().filter(|workers| u64::from(**workers) > cpus);
    let more: Vec<String> = more.map(|workers| At::Workers(*workers).to_string()).collect();
    (!more.is_empty()).then(|| {
        format!(
            "{} on {} of the server are marked oversubscribed, and nothing is claimed about them",
            more.join(", "),
            counted(cpus, "CPU", "CPUs")
        )
    })
}

fn has_several(dimension: &Dimension) -> bool {
    dimension.values().len() > 1
}

fn check_twice<T: PartialEq>(flag: &str, values: &[T]) -> Result<(), Failure> {
    let is_twice = |place: usize| values[..place].contains(&values[place]);
    match (0..values.len()).any(is_twice) {
        true => Err(Failure::usage(format!("{flag} has a value twice: give each once"))),
        false => Ok(()),
    }
}

/// Refuses a flag that changes nothing for any target.
fn check_targets(asked: &Dimension, targets: &[String], externals: &[External], quiet: bool) -> Result<(), Failure> {
    let external = |target: &String| externals.iter().find(|server| server.name == *target);
    let without: Vec<String> = targets
        .iter()
        .filter_map(|target| Some(format!("{target} ({})", asked.why_not(target, external(target))?)))
        .collect();
    let flag = asked.flag();
    if without.len() == targets.len() {
        return Err(Failure::usage(format!(
            "{flag} would change nothing for any target: {}. Leave it out, or choose others with --targets",
            without.join(", ")
        )));
    }
    // Of several values it is told with the time they take.
    if !without.is_empty() && !has_several(asked) && !quiet {
        notice(format_args!("{flag} changes nothing for {}", without.join(", ")));
    }
    Ok(())
}

/// `0`, `10us`, `1ms`, in nanoseconds; at most a second for each read.
pub(super) fn work_ns(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is no time like 0, 10us or 1ms");
    let time = match text.trim() {
        "0" => Duration::ZERO,
        text => humantime::parse_duration(text).map_err(|_| wrong())?,
    };
    if time > Duration::from_secs(1) {
        return Err(format!("'{text}' is more than 1s for each read"));
    }
    u64::try_from(time.as_nanos()).map_err(|_| wrong())
}
