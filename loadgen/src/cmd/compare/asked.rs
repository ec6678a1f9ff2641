//! From what was typed to the suite: a new one, or a stored one with the limits of this sitting.

use super::suites::{Chosen, chosen_suite};
use super::{CompareArgs, Here, dimension, label, milliseconds, same_place, without_path, workloads};
use crate::cmd::resolve::servers::servers;
use crate::cmd::resolve::{clients, reach};
use crate::failure::Failure;
use crate::notice::notice;
use crate::record::{External, NetworkChoice, NetworkKind, Reach, SCHEMA_VERSION, Start, Workload};
use crate::subject;
use crate::suite::load::Load;
use crate::suite::matrix::{self, PlanBase, Suite, SuiteFile};
use crate::suite::need::{self, LeftOut};
use crate::suite::preset;
use crate::suite::tracked;
use crate::text::count;
use std::time::Duration;

const DEFAULT_ROUNDS: u32 = 10;
pub(super) const MOST_ROUNDS: u32 = 1000;
/// Longest that a verdict on two builds is looked for.
const REGRESSION_BUDGET: Duration = Duration::from_secs(30 * 60);
/// How well the ratio must be known for a slowdown of the allowed size to be told with a probability of 80 %: with five
/// workloads the interval reaches 2.57 standard errors, and 0.84 more leave four chances in five.
const SHARE_TO_BE_SURE: f64 = 2.57 / (2.57 + 0.84);
/// With build and first table this keeps the whole default comparison within eight minutes.
pub(super) const DEFAULT_BUDGET: Duration = Duration::from_secs(7 * 60);

/// Whether time or precision is to end it, and no number of rounds.
pub(super) fn is_open_ended(args: &CompareArgs) -> bool {
    args.rounds.is_none() && (args.budget.is_some() || args.precision.is_some() || args.fail_on_regression.is_some())
}

/// A stored suite with the limits of this sitting.
pub(super) fn resumed(args: &CompareArgs, mut file: SuiteFile) -> SuiteFile {
    if let Some(rounds) = args.rounds.or(is_open_ended(args).then_some(MOST_ROUNDS)) {
        file.suite.rounds_max = file.suite.rounds_before() + rounds;
    }
    file.suite.precision = args.precision.or(file.suite.precision);
    if let Some(budget) = args.budget {
        file.suite.budget_ms = milliseconds(budget);
    }
    file
}

/// The suite that was asked for, with what this machine can have of it; what it cannot is told.
///
/// # Errors
/// Usage, with the flag, its value and the fix; or when nothing of the suite can be had here.
pub(super) fn new_suite(args: &CompareArgs, here: &Here, now: jiff::Timestamp) -> Result<SuiteFile, Failure> {
    let mut file = match chosen_suite(args)? {
        None => suite_file(args, None, here, now)?,
        Some(chosen) => suite_file(&chosen.over(args), Some(chosen), here, now)?,
    };
    let network = same_place::network(&file.suite, here);
    need::leave_out(&mut file.suite, &here.machine, network);
    let lacks = |left_out: &LeftOut| format!("{}: {}", left_out.workload, left_out.why);
    if file.suite.workloads.is_empty() {
        let all: Vec<String> = file.suite.left_out.iter().map(lacks).collect();
        return Err(Failure::usage(format!(
            "no workload can be had here: {}",
            all.join("; ")
        )));
    }
    if !args.quiet {
        for left_out in &file.suite.left_out {
            notice(format_args!("left out: {}", lacks(left_out)));
        }
    }
    Ok(fitting(file, here))
}

/// What was typed, before its first trial.
fn suite_file(
    args: &CompareArgs,
    suite: Option<Chosen>,
    here: &Here,
    now: jiff::Timestamp,
) -> Result<SuiteFile, Failure> {
    let is_running = args.targets.as_deref() == Some(RUNNING);
    let network = network(args, here)?;
    let (targets, externals) = chosen(args)?;
    let reach = checked_reach(args, &targets, here)?;
    check_two(args, &targets)?;
    let start = if is_running { Start::Never } else { Start::Always };
    let flags = dimension::of(args, &targets, &externals, start)?;
    check_crashes(suite.as_ref(), &targets, start)?;
    let has_control = suite.as_ref().is_none_or(|suite| suite.has_control);
    let (name, workloads, counting) = what_is_run(args, suite, flags.dimension.is_some())?;
    let load = Load::of(&workloads);
    let control = control(&targets).filter(|_| has_control && !args.no_control);
    let label_text = args.label.clone().unwrap_or_else(|| here.label.clone());
    Ok(SuiteFile {
        schema_version: SCHEMA_VERSION.to_string(),
        label: label(&label_text).map_err(Failure::usage)?,
        started_at: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        command: without_path(&here.command),
        spent_ms: 0,
        ended: None,
        suite: Suite {
            name,
            externals,
            targets,
            workloads,
            dimension: flags.dimension,
            rounds_max: rounds(args) + load.as_ref().map_or(0, |load| load.rounds),
            load,
            left_out: Vec::new(),
            budget_ms: milliseconds(args.budget.unwrap_or(match args.fail_on_regression {
                None => DEFAULT_BUDGET,
                Some(_) => REGRESSION_BUDGET,
            })),
            seed: args.seed.unwrap_or_else(|| now.as_second().unsigned_abs()),
            control,
            control_in_every_block: true,
            counting,
            precision: args
                .precision
                .or(args.fail_on_regression.map(|allowed| allowed * SHARE_TO_BE_SURE)),
            slowdown_allowed: args.fail_on_regression,
            additions: Vec::new(),
            base: PlanBase {
                workers: flags.workers,
                work_ns: flags.work_ns,
                network,
                reach,
                ..base(args, start, here)?
            },
        },
    })
}

/// Name of the suite, its workloads, and those under which system calls are counted.
fn what_is_run(
    args: &CompareArgs,
    suite: Option<Chosen>,
    has_dimension: bool,
) -> Result<(String, Vec<Workload>, Vec<Workload>), Failure> {
    let (name, workloads, counting) = match suite {
        Some(suite) => (suite.name, suite.workloads, suite.counting),
        None => (
            suite_name(args).to_string(),
            workloads::workloads(args, has_dimension)?,
            preset::counting(),
        ),
    };
    // System calls of a message are the same at any number of workers, and work adds none: at several values none are counted.
    let counting = if has_dimension { Vec::new() } else { counting };
    Ok((name, with_clients(args, workloads)?, with_clients(args, counting)?))
}

/// `thread` is steady and in every default suite; else the first target runs twice.
fn control(targets: &[String]) -> Option<String> {
    let thread = targets.iter().find(|target| *target == "thread");
    thread.or(targets.first()).cloned()
}

/// Of the workloads that are compared.
fn rounds(args: &CompareArgs) -> u32 {
    match args.rounds {
        Some(rounds) => rounds,
        None if is_open_ended(args) => MOST_ROUNDS,
        None => DEFAULT_ROUNDS,
    }
}

/// What is ended on purpose must be loadgen's own.
fn check_crashes(suite: Option<&Chosen>, targets: &[String], start: Start) -> Result<(), Failure> {
    let Some(suite) = suite.filter(|suite| suite.workloads.iter().any(|workload| workload.crash)) else {
        return Ok(());
    };
    let what = match targets.iter().find(|target| matrix::is_address(target)) {
        Some(address) => address.as_str(),
        None if start != Start::Always => "--targets running",
        None => return Ok(()),
    };
    Err(Failure::usage(format!(
        "--suite {} ends a process of each server, so it is for servers that loadgen starts, and {what} is not: name targets of \
         `loadgen list`, or give a --server of your own",
        suite.name
    )))
}

/// What all plans share.
fn base(args: &CompareArgs, start: Start, here: &Here) -> Result<PlanBase, Failure> {
    Ok(PlanBase {
        start,
        max_errors_percent: args.max_error_rate,
        connect_window: clients::connect_window(&args.client)?,
        connect_rate_per_s: args.client.connect_rate,
        ..here.base.clone()
    })
}

/// The workloads with what all their clients are told.
fn with_clients(args: &CompareArgs, mut workloads: Vec<Workload>) -> Result<Vec<Workload>, Failure> {
    for workload in &mut workloads {
        clients::apply(&args.client, args.load.size, workload)?;
    }
    Ok(workloads)
}

/// Whose network all trials share: what runs already, or is measured by its address, lives in the host's.
fn network(args: &CompareArgs, here: &Here) -> Result<NetworkChoice, Failure> {
    let names = args.targets.as_deref().unwrap_or_default();
    let has_addresses = names.split(',').any(|name| matrix::is_address(&subject::spelled(name)));
    let not_started = match (names == RUNNING, has_addresses) {
        (true, _) => Some("it is for servers that loadgen starts, and --targets running are not: leave it out"),
        (_, true) => Some("it is for servers that loadgen starts, and HOST:PORT is not: leave it out"),
        (false, false) => None,
    };
    match (args.network, not_started.or(here.no_private_network.as_deref())) {
        (NetworkChoice::Private, Some(why)) => Err(Failure::usage(format!("--network private: {why}"))),
        (NetworkChoice::Auto, _) if has_addresses => Ok(NetworkChoice::Host),
        (asked, _) => Ok(asked),
    }
}

/// How the addresses among the targets are reached. One that means nothing, or may not be loaded, is told before anything else
/// is done.
fn checked_reach(args: &CompareArgs, targets: &[String], here: &Here) -> Result<Reach, Failure> {
    if !targets.iter().any(|target| matrix::is_address(target)) {
        return Ok(Reach::default());
    }
    let reach = reach(&args.connections, targets);
    for address in targets.iter().filter(|target| matrix::is_address(target)) {
        subject::resolve(address, reach, &here.base.source_addresses)?;
    }
    Ok(reach)
}

/// A verdict on a regression is one on two builds.
fn check_two(args: &CompareArgs, targets: &[String]) -> Result<(), Failure> {
    if args.fail_on_regression.is_none() || targets.len() == 2 {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "--fail-on-regression judges the second of two targets by the first, and these are {}: name two, e.g. --server \
         'before=./echo-main {{port}}' --server 'after=./echo-patch {{port}}'",
        targets.len()
    )))
}

/// With a number of connections for `churn` that the network can track, where it tracks them; one line says so.
fn fitting(mut file: SuiteFile, here: &Here) -> SuiteFile {
    let tracking = here
        .tracking
        .filter(|_| same_place::network(&file.suite, here) == NetworkKind::Host);
    let fixed = tracking.and_then(|table| Some((table, tracked::fix_churn(&mut file.suite, table.room())?)));
    if let Some((table, connections)) = fixed {
        notice(format_args!(
            "this network tracks connections, {} at most, each for two minutes after its end (net.netfilter.nf_conntrack_max): \
             churn opens {} for every target",
            count(table.max),
            count(connections)
        ));
    }
    file
}

/// The names of the targets, and those of them that are not of the catalog.
fn chosen(args: &CompareArgs) -> Result<(Vec<String>, Vec<External>), Failure> {
    let mut externals = servers(&args.servers)?;
    let targets = match args.targets.as_deref() {
        Some(RUNNING) => running_targets()?,
        // Who brings servers wants those.
        None if !externals.is_empty() => externals.iter().map(|server| server.name.clone()).collect(),
        names => {
            let names: Vec<String> = names.unwrap_or("default").split(',').map(subject::spelled).collect();
            matrix::targets(&names.join(","), &externals).map_err(Failure::usage)?
        }
    };
    externals.retain(|server| targets.contains(&server.name));
    Ok((targets, externals))
}

fn suite_name(args: &CompareArgs) -> &'static str {
    let is_default = args.servers.is_empty()
        && args.client.is_empty()
        && args.workloads.as_deref().unwrap_or("default") == "default"
        && !workloads::are_changed(&args.load)
        && args.started_with.workers.is_empty()
        && args.started_with.work.is_empty();
    match args.targets.as_deref() {
        None | Some("default") if is_default => "default",
        Some("all") if is_default => "all",
        Some(RUNNING) if is_default => RUNNING,
        _ => "custom",
    }
}

/// `--targets` for servers that are up already.
const RUNNING: &str = "running";

fn running_targets() -> Result<Vec<String>, Failure> {
    let found: Vec<String> = subject::running().map(|row| row.name.to_string()).collect();
    if found.is_empty() {
        return Err(Failure::unreachable(
            "--targets running: no target listens on its port (`loadgen list` shows them); start some, for example with \
             `docker compose --profile all up -d`",
        ));
    }
    Ok(found)
}
