//! The plan of one point of a sweep, and the flags that every point has.

use crate::cmd::arguments::{Cli, ConnectionArgs};
use crate::failure::Failure;
use crate::record::{Machine, Plan, Start};
use crate::subject;
use crate::suite::sweep::{Along, Sweep};
use clap::{Parser as _, ValueEnum};

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
    plan.target.clone_from(&sweep.target);
    if let Some(external) = &sweep.external {
        plan.network = external.network_of(plan.network);
        plan.workload.warmup_ms = external.warmup_ms_of(&plan.workload);
        plan.external = Some(external.clone());
    }
    if echo_contract::catalog::find(&plan.target).is_some() {
        plan.start = Start::Always;
    }
    plan.workload.name = match &sweep.along {
        Along::Rate { .. } => format!("{at}-per-s"),
        Along::Clients { .. } => format!("{at}-clients"),
    };
    Ok(plan)
}

/// Whether there is such a target, and it may be measured.
///
/// # Errors
/// Usage for a name that means nothing or an address that may not be loaded, unreachable for a server whose tool is not here.
pub fn check_target(plan: &Plan) -> Result<(), Failure> {
    let Some(external) = &plan.external else {
        return subject::resolve(&plan.target, plan.reach, &plan.source_addresses).map(drop);
    };
    match subject::what_is_missing(external) {
        Some(missing) => Err(Failure::unreachable(format!("{}: {missing}", external.name))),
        None => Ok(()),
    }
}

/// The flags that say how clients connect, as a run takes them.
#[must_use]
pub fn connection_flags(connections: &ConnectionArgs) -> Vec<String> {
    let mut flags = vec![
        format!("--timeout={}ms", connections.timeout.as_millis()),
        format!("--connect-timeout={}ms", connections.reach.connect_timeout.as_millis()),
    ];
    if let Some(sources) = &connections.source_addresses {
        let list: Vec<String> = sources.0.iter().map(ToString::to_string).collect();
        flags.push(format!("--source-addresses={}", list.join(",")));
    }
    flags.extend(connections.resolve.map(|which| format!("--resolve={}", word(which))));
    flags.extend(connections.reach.allow_public.then(|| "--allow-public".to_string()));
    flags
}

/// A value as it is typed.
///
/// # Panics
/// Never: no value is hidden.
#[must_use]
pub fn word(value: impl ValueEnum) -> String {
    let value = value.to_possible_value().expect("no value is hidden");
    value.get_name().to_string()
}
