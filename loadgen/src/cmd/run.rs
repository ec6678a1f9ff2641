//! `loadgen --target NAME`: one measurement, summed up on stdout.

use super::output::{Output, print};
use super::series::Series;
use super::{leftovers, progress};
use crate::cmd::arguments::RunArgs;
use crate::compare::trial::{self, Context};
use crate::failure::{Exit, Failure};
use crate::interrupt;
use crate::measurement::store;
use crate::notice::notice;
use crate::record::Machine;
use crate::record::Plan;
use crate::recorder::window::TimedWindow;
use crate::subject;
use std::time::{Duration, SystemTime};

/// Measures, prints, writes. Ok with exit code 0, 1, 4, 5, 6, 7 or 130: what was measured is told in any case.
///
/// # Errors
/// When nothing could be measured, or there is no place for the results.
pub fn run(
    args: &RunArgs,
    machine: &Machine,
    command: &[String],
    no_private_network: Option<&str>,
) -> Result<Option<Exit>, Failure> {
    let plan = Plan::resolve(args, machine)?;
    if args.dry_run {
        print(&store::pretty_json(&plan))?;
        return Ok(None);
    }
    check_start(&plan, SystemTime::now())?;
    let output = Output::prepare(&args.output)?;
    let series = Series::prepare(args, &plan)?;
    if plan.external.is_none() {
        // A name that means nothing is told before anything else is done.
        subject::resolve(&plan.target, plan.reach, &plan.source_addresses)?;
    }
    leftovers::remove(|| output.remove_half_written());
    if let Some(external) = &plan.external
        && !args.machine.no_build
    {
        subject::prepare_external(external)?;
    }
    if echo_contract::catalog::find(&plan.target).is_some() && plan.start != crate::record::Start::Never {
        subject::server_directory(args.machine.no_build)?;
    }
    let windows = series
        .as_ref()
        .map(|series| |window: &TimedWindow| series.write(window));
    let context = Context {
        place: None,
        round_environment: None,
        workers: args.workers,
        no_build: true,
        command,
        interrupted: &interrupt::asked,
        no_private_network,
        output_folder: None,
        windows: windows
            .as_ref()
            .map(|windows| windows as &(dyn Fn(&TimedWindow) + Sync)),
    };
    let mut line = progress::run::Line::new(args.quiet);
    let measurement = trial::run(&plan, &context, &mut |progress| line.show(&progress))?;
    line.clear();
    let told = output.tell(&measurement);
    let Some(Err(failure)) = series.as_ref().map(Series::end) else {
        return Ok(told);
    };
    notice(format_args!("error: {failure}"));
    // What was found about the server is graver than a file.
    Ok(told.or(Some(failure.exit)))
}

/// Refuses a common start that this generator cannot keep.
fn check_start(plan: &Plan, now: SystemTime) -> Result<(), Failure> {
    let (Some(at), Some(asked)) = (plan.start_time(), &plan.start_at) else {
        return Ok(());
    };
    let Ok(ahead) = at.duration_since(now) else {
        let ago = now.duration_since(at).unwrap_or_default();
        return Err(Failure::usage(format!(
            "--start-at {asked} was {:.1} s ago: give a time to come, e.g. --start-at $(($(date +%s) + 30))",
            ago.as_secs_f64()
        )));
    };
    let needed = time_before_start(plan);
    if ahead < needed {
        return Err(Failure::usage(format!(
            "--start-at {asked} is {:.1} s ahead, and starting the server, connecting {} clients and {} s of warm-up need \
             at least {:.1} s: give a later time",
            ahead.as_secs_f64(),
            plan.workload.clients,
            Duration::from_millis(plan.workload.warmup_ms).as_secs_f64(),
            needed.as_secs_f64()
        )));
    }
    if ahead > LONGEST_WAIT {
        return Err(Failure::usage(format!(
            "--start-at {asked} is more than 24h ahead: give an earlier time"
        )));
    }
    Ok(())
}

/// What comes before the measured phase: one second for the server, 2,000 connections a second, the warm-up. A job
/// connects when it begins.
fn time_before_start(plan: &Plan) -> Duration {
    let connecting = if plan.workload.is_job() {
        Duration::ZERO
    } else {
        Duration::from_micros(500) * plan.workload.clients
    };
    Duration::from_secs(1) + connecting + Duration::from_millis(plan.workload.warmup_ms)
}

/// A start that is further away is a typing mistake.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::arguments::Cli;
    use clap::Parser as _;

    #[test]
    fn a_common_start_leaves_time_to_connect_and_to_warm_up() {
        let machine = Machine {
            cores: vec![vec![0], vec![1]],
            nofile_hard: 20_000,
            ports_per_source: 28_232,
        };
        let line = "loadgen --target fork --clients 2000 --warmup 2s --start-at 1769853600";
        let plan = Plan::resolve(&Cli::parse_from(line.split(' ')).run, &machine).unwrap();
        let before = |seconds| plan.start_time().unwrap() - Duration::from_secs(seconds);
        assert!(check_start(&plan, before(4)).is_ok());
        let text = check_start(&plan, before(3)).unwrap_err().text;
        assert!(
            text.contains("is 3.0 s ahead") && text.contains("at least 4.0 s"),
            "{text}"
        );
        let text = check_start(&plan, before(100_000)).unwrap_err().text;
        assert!(text.contains("more than 24h ahead"), "{text}");
        let text = check_start(&plan, plan.start_time().unwrap() + Duration::from_secs(1))
            .unwrap_err()
            .text;
        assert!(text.contains("was 1.0 s ago"), "{text}");
        // Beyond what nanoseconds in 64 bits can tell.
        let line = "loadgen --target fork --start-at 3000-01-01T00:00:00Z";
        let far = Plan::resolve(&Cli::parse_from(line.split(' ')).run, &machine).unwrap();
        let text = check_start(&far, plan.start_time().unwrap()).unwrap_err().text;
        assert!(text.contains("3000-01-01T00:00:00Z is more than 24h ahead"), "{text}");
    }
}
