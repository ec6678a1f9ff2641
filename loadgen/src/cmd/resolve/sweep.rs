//! The plan of one point of a sweep.

use crate::cmd::arguments::Cli;
use crate::failure::Failure;
use crate::record::{Machine, Plan, Start};
use crate::suite::sweep::{Along, Sweep};
use clap::Parser as _;

/// The plan of one point, through the same door as a single run's.
///
/// # Errors
/// What a single run with these flags would be told.
pub fn plan_at(sweep: &Sweep, at: u64, machine: &Machine) -> Result<Plan, Failure> {
    let words = ["loadgen".to_string()].into_iter().chain(sweep.flags_at(at));
    let cli = Cli::try_parse_from(words).map_err(|error| {
        let text = error.to_string();
        let text = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Failure::usage(text.to_string())
    })?;
    let mut plan = Plan::resolve(&cli.run, machine)?;
    plan.external.clone_from(&sweep.external);
    if echo_contract::catalog::find(&plan.target).is_some() {
        plan.start = Start::Always;
    }
    plan.workload.name = match &sweep.along {
        Along::Rate { .. } => format!("{at}-per-s"),
        Along::Clients { .. } => format!("{at}-clients"),
    };
    Ok(plan)
}
