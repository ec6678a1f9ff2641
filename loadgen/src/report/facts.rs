//! What a comparison was, where it ran, how to read it, and what was left out: the facts below every report of a folder, for
//! whatever draws them. Sentences may have words in backquotes.

use crate::measurement::store::Stored;
use crate::record::{At, Measurement, Target};
use crate::report::columns::{nothing, runtime};
use crate::report::table::Grid;
use crate::report::{claims, sheets, terminal};
use crate::suite::matrix::{Suite, SuiteFile};
use crate::suite::results::Results;
use crate::text::{bytes, counted, figure, milliseconds, minutes, percent};
use std::time::Duration;

/// When it ran, how much was measured, why it ended.
#[must_use]
pub fn how_it_went(file: &SuiteFile, results: &Results) -> String {
    format!(
        "Started {} (UTC). {} of at most {}, {}, {} of them with void figures; it {}.",
        file.started_at,
        counted(u64::from(results.rounds_done), "round", "rounds"),
        results.rounds_max,
        counted(results.trials as u64, "trial", "trials"),
        results.invalid.len(),
        ended(file)
    )
}

fn ended(file: &SuiteFile) -> String {
    let spent = minutes(Duration::from_millis(file.spent_ms));
    match file.ended.as_deref() {
        Some("rounds") => format!("took {spent}"),
        Some("budget") => format!(
            "ended after {spent} because another round would not have fitted into {}",
            minutes(file.suite.budget())
        ),
        Some("precision") => format!(
            "ended after {spent} because every ratio was known within {}",
            percent(file.suite.precision.unwrap_or_default() * 100.0)
        ),
        Some("interrupted") => format!("was interrupted after {spent}; `loadgen compare --resume` goes on"),
        Some(other) => format!("ended after {spent}: {other}"),
        None => format!("has run for {spent} and has not ended"),
    }
}

/// How figures came about and what they mean, one sentence or more each.
#[must_use]
pub fn how_to_read(results: &Results) -> Vec<String> {
    let counted = terminal::not_counted(results);
    let is_counted = results.rows.iter().any(|row| !row.syscalls_per_message.is_empty());
    let counted = match counted {
        Some(sentence) => capital(&sentence),
        None if is_counted => "Every target was counted".to_string(),
        None => "None was counted here".to_string(),
    };
    let control = capital(&claims::control(&results.findings));
    vec![
        "A figure is the median over the rounds in which it stands; `min..max` is its spread. Each round runs every workload as one block: every target once, in a seeded random order, on a fresh server.".to_string(),
        "A gate that a trial does not pass takes some of its figures away and leaves the others: other programs spoil rates and percentiles, not what a message costs the server.".to_string(),
        "Response percentiles are read from the merged histograms of all rounds in which they stand. One that fewer than 100 samples lie beyond is `n/a`.".to_string(),
        "In a job (a workload that stops by count) messages/s counts the time from the first connect() to the last reply, connecting included. The job is repeated on one server, and a round's figure is the median of its repetitions.".to_string(),
        "CPU, % of a core: CPU time of the server's whole process tree over the measured time. Its peak is the highest 100 ms, where there are at least ten.".to_string(),
        "Memory: `user` is the proportional set size of the process tree with all clients connected, `kernel` what the kernel holds for it besides: page tables, stacks, sockets. Of the former, `buffers` are the clients' read buffers, whose number is the server's policy (in the table of targets) and not its runtime's merit. An idle client's is the growth of both from before the first client, by clients.".to_string(),
        format!("System calls per message: counted by the kernel in trials of their own, with 1 and with 32 clients, because counting slows the server; nothing in those trials is timed. {counted}."),
        format!("`(again)` is the A/A control: the same server a second time in every block. {control}."),
        "Capacity is messages per CPU second of the server, 1,000,000 / (CPU us per message): the server's own, and the steadiest figure. Where the client sets the pace it is a lower bound.".to_string(),
        "Ratios: the logs of the figures are fitted to target + round by least squares; every pair of a table is judged by Games and Howell on what remains, so that any false claim in a table comes in 5 % of tables. Claimed is a difference whose interval excludes 1, of at least 2 %, from five rounds on. Targets that share a letter are not told apart. All of it is in `findings.json`.".to_string(),
        "Server and clients share this machine over the loopback interface; nothing here speaks about networks or other machines.".to_string(),
    ]
}

/// The plan and the machine, by name.
#[must_use]
pub fn plan_and_machine(file: &SuiteFile, stored: &[Stored]) -> Grid {
    let suite = &file.suite;
    let mut facts = vec![
        ("seed", Some(suite.seed.to_string())),
        ("time budget", Some(minutes(suite.budget()))),
        ("loadgen threads", Some(suite.base.threads.to_string())),
        ("server CPUs", cpus(&suite.base.placement.server_cpus)),
        ("loadgen CPUs", cpus(&suite.base.placement.loadgen_cpus)),
        ("message timeout", Some(milliseconds(suite.base.timeout_ms))),
    ];
    facts.extend(flags(suite));
    if let Some(first) = stored.first() {
        facts.extend(environment(&first.measurement));
    }
    let facts = facts.into_iter();
    let rows = facts.map(|(name, value)| vec![name.to_string(), value.unwrap_or_else(nothing)]);
    Grid::new(&["fact", "value"], rows.collect())
}

/// What the servers were started with, where that was asked for.
fn flags(suite: &Suite) -> Vec<(&'static str, Option<String>)> {
    let varied = suite.dimension.as_ref().map(|dimension| {
        let values: Vec<String> = dimension.values().iter().map(ToString::to_string).collect();
        ("compared at", Some(values.join(", ")))
    });
    let workers = suite
        .base
        .workers
        .map(|workers| ("workers of a server", Some(workers.to_string())));
    let work = (suite.base.work_ns).map(|work_ns| ("servers", Some(At::WorkNs(work_ns).to_string())));
    varied.into_iter().chain(workers).chain(work).collect()
}

fn environment(trial: &Measurement) -> Vec<(&'static str, Option<String>)> {
    let environment = &trial.environment;
    vec![
        ("loadgen version", Some(trial.identity.loadgen_version.clone())),
        ("kernel", environment.kernel.clone()),
        ("architecture", environment.architecture.clone()),
        ("CPU", environment.cpu_model.clone()),
        (
            "CPUs usable, online",
            environment
                .cpus_usable
                .zip(environment.cpus_online)
                .map(|(usable, online)| format!("{usable}, {online}")),
        ),
        (
            "two threads per core",
            environment
                .smt_active
                .map(|active| if active { "yes" } else { "no" }.to_string()),
        ),
        ("memory", environment.memory_total_bytes.map(bytes)),
        ("frequency governor", environment.governor.clone()),
        ("clock source", environment.clocksource.clone()),
        ("hypervisor", environment.hypervisor.clone()),
        ("container", environment.container.clone()),
    ]
}

/// The machine as one trial found it.
#[must_use]
pub fn machine(trial: &Measurement) -> Grid {
    let facts = environment(trial).into_iter();
    let rows = facts.map(|(name, value)| vec![name.to_string(), value.unwrap_or_else(nothing)]);
    Grid::new(&["fact", "value"], rows.collect())
}

/// What each target really was: from its first record that knows; no rows where none does.
#[must_use]
pub fn targets(suite: &Suite, stored: &[Stored]) -> Grid {
    let of = |name: &String| {
        let mut of = stored.iter().map(|stored| &stored.measurement.target);
        let was_seen = |target: &Target| match suite.external(name) {
            None => target.runtime.is_some(),
            Some(_) => target.command.is_some(),
        };
        of.find(|target| target.name == *name && was_seen(target))
    };
    let or_none = |fact: &Option<String>| fact.clone().unwrap_or_else(nothing);
    let rows = (suite.all_targets().filter_map(of)).map(|target| {
        vec![
            sheets::label(suite, &target.name),
            or_none(&target.model),
            runtime(target.runtime.as_deref(), target.runtime_version.as_deref()),
            or_none(&target.io_interface),
            or_none(&target.accept_model),
            or_none(&target.buffer_policy),
            target.workers.map_or_else(nothing, |workers| workers.to_string()),
        ]
    });
    let headings = [
        "target",
        "model",
        "runtime",
        "I/O interface",
        "accept",
        "buffers",
        "workers",
    ];
    Grid::new(&headings, rows.collect())
}

/// Trials of which some figure is void, and why; the first column is the record's file.
#[must_use]
pub fn void(results: &Results) -> Grid {
    let rows = results.invalid.iter().map(|trial| {
        vec![
            trial.file.clone(),
            trial.target.clone(),
            trial.workload.clone(),
            trial.round.to_string(),
            trial.reasons.join("; "),
        ]
    });
    Grid::new(&["record", "target", "workload", "round", "why"], rows.collect())
}

/// Trials whose CPUs were far from each other; the first column is the record's file.
#[must_use]
pub fn far(results: &Results) -> Grid {
    let rows = results.far.iter().map(|trial| {
        vec![
            trial.file.clone(),
            trial.target.clone(),
            trial.workload.clone(),
            trial.round.to_string(),
            format!("{:.0}", trial.distance_ns),
        ]
    });
    Grid::new(&["record", "target", "workload", "round", "ns"], rows.collect())
}

/// What far means here, and what became of such trials.
#[must_use]
pub fn about_far(results: &Results) -> String {
    let tally = &results.findings.trials;
    format!(
        "A cache line took longer than {} ns between the CPUs of server and loadgen. {}.",
        figure(tally.near_limit_ns.unwrap_or_default()),
        match tally.far_are_used {
            true =>
                "They are used all the same, because fewer than five rounds were near; what a block has in common falls out of every ratio",
            false => "Kept, and used for no figure above where the target has a near one",
        }
    )
}

/// Of a record, its name without the folder that all records are in.
#[must_use]
pub fn record_name(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

fn cpus(cpus: &[usize]) -> Option<String> {
    let list: Vec<String> = cpus.iter().map(ToString::to_string).collect();
    Some(if list.is_empty() {
        "not pinned".to_string()
    } else {
        list.join(", ")
    })
}

/// With a capital letter.
#[must_use]
pub fn capital(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}
