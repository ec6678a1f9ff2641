//! The same tables as on the terminal, as GitHub Markdown, and the README of a suite's folder.

use crate::measurement::store::Stored;
use crate::quantity::{MESSAGES_PER_S, Place};
use crate::record::Measurement;
use crate::report::columns::one_line;
use crate::report::columns::{columns, name, nothing};
use crate::report::{chart, claims, original, screen, sheets, table, terminal};
use crate::suite::matrix::{Suite, SuiteFile};
use crate::suite::results::{Results, Row};
use crate::text::{bytes, counted, figure, milliseconds, minutes, percent, workload as workload_line};
use std::fmt::Write as _;
use std::time::Duration;

/// README of the folder: what ran, where, when, the tables, how to read them, what was invalid.
#[must_use]
pub fn readme(file: &SuiteFile, results: &Results, stored: &[Stored]) -> String {
    let suite = &file.suite;
    let mut text = format!("# Comparison `{}` on `{}`\n\n", suite.name, file.label);
    let _ = writeln!(
        text,
        "Started {} (UTC). {} of at most {}, {}, {} of them with void figures; it {}. Made by\n\n    {}\n\nand made again from `records/` by `loadgen report`.\n",
        file.started_at,
        counted(u64::from(results.rounds_done), "round", "rounds"),
        results.rounds_max,
        counted(results.trials as u64, "trial", "trials"),
        results.invalid.len(),
        ended(file),
        command(&file.command),
    );
    text.push_str(&found(file, results));
    for workload in &suite.workloads {
        let rows: Vec<&Row> = results.of_workload(&workload.name).collect();
        let _ = writeln!(text, "## {}\n\n{}.\n", workload.name, workload_line(workload));
        if rows.iter().any(|row| !row.points.is_empty()) {
            let _ = writeln!(
                text,
                "![messages per second, {0}]({1})\n",
                workload.name,
                chart::file_name(&MESSAGES_PER_S, &workload.name)
            );
        }
        for places in [[Place::Speed, Place::Response], [Place::Cpu, Place::Memory]] {
            let _ = writeln!(text, "{}", figures(&places, &rows));
        }
        for sentence in terminal::findings(results, &workload.name, &rows) {
            let _ = writeln!(text, "- {sentence}");
        }
        if let Some(scenario) = original::scenario(&workload.name) {
            let _ = writeln!(text, "\n{}\n\n{}", capital(original::LABEL), quoted(scenario));
        }
        text.push('\n');
    }
    text.push_str(&how_to_read(results));
    text.push_str(&machine(file, stored));
    text.push_str(&invalid(results));
    text.push_str(&far(results));
    text
}

/// What was found, as on the first screen: sentences, capacity with its letters, and the paced workload.
fn found(file: &SuiteFile, results: &Results) -> String {
    let mut text = "## What was found\n\n".to_string();
    for sentence in screen::headlines(&results.findings) {
        let _ = writeln!(text, "- {sentence}");
    }
    for (title, table) in sheets::markdown_tables(file, &results.findings) {
        let _ = writeln!(text, "\n{title}\n\n{table}");
    }
    text
}

/// One table of a workload: the columns of these places side by side.
fn figures(places: &[Place], rows: &[&Row]) -> String {
    let columns: Vec<_> = places.iter().flat_map(|place| columns(*place)).collect();
    let mut headings = vec!["target".to_string()];
    headings.extend(columns.iter().map(|column| one_line(column.heading)));
    let cells = rows.iter().map(|row| {
        let figures = columns.iter().map(|column| (column.cell)(row));
        std::iter::once(name(row)).chain(figures).collect()
    });
    table::markdown(&headings, 1, cells)
}

/// The original's figures of one scenario, as it printed them.
fn quoted(scenario: &original::Scenario) -> String {
    let mut headings = vec!["metric"];
    headings.extend(original::COLUMNS.map(|(_, word)| word));
    let rows = scenario.rows.iter().map(|row| {
        let figures = original::COLUMNS.map(|(model, _)| row.of(model).to_string());
        std::iter::once(row.metric.to_string()).chain(figures).collect()
    });
    table::markdown(&headings, 1, rows)
}

/// The command as it may be typed again: the program's name without the path it was started by.
#[must_use]
pub fn command(words: &[String]) -> String {
    words
        .iter()
        .enumerate()
        .map(|(place, word)| match place {
            0 => word.rsplit('/').next().unwrap_or(word).to_string(),
            _ if word.is_empty() || word.contains([' ', '\'', '"', '$', '*', '|', ';']) => {
                format!("'{}'", word.replace('\'', r"'\''"))
            }
            _ => word.clone(),
        })
        .collect::<Vec<_>>()
        .join(" ")
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

fn how_to_read(results: &Results) -> String {
    format!(
        "## How to read this

- A figure is the median over the rounds in which it stands; `min..max` is its spread. Each round runs every workload as one block: every target once, in a seeded random order, on a fresh server.
- A gate that a trial does not pass takes some of its figures away and leaves the others: other programs spoil rates and percentiles, not what a message costs the server.
- Response percentiles are read from the merged histograms of all rounds in which they stand. One that fewer than 100 samples lie beyond is `n/a`.
- In a job (a workload that stops by count) messages/s counts the time from the first connect() to the last reply, connecting included. The job is repeated on one server, and a round's figure is the median of its repetitions.
- CPU, % of a core: CPU time of the server's whole process tree over the measured time. Its peak is the highest 100 ms, where there are at least ten.
- Memory: `user` is the proportional set size of the process tree with all clients connected, `kernel` what the kernel holds for it besides: page tables, stacks, sockets. Of the former, `buffers` are the clients' read buffers, whose number is the server's policy (in the table of targets) and not its runtime's merit. An idle client's is the growth of both from before the first client, by clients.
- System calls per message: counted by the kernel in trials of their own, with 1 and with 32 clients, because counting slows the server; nothing in those trials is timed. {}.
- `(again)` is the A/A control: the same server a second time in every block. {}.
- Capacity is messages per CPU second of the server, 1,000,000 / (CPU us per message): the server's own, and the steadiest figure. Where the client sets the pace it is a lower bound.
- Ratios: the logs of the figures are fitted to target + round by least squares; every pair of a table is judged by Games and Howell on what remains, so that any false claim in a table comes in 5 % of tables. Claimed is a difference whose interval excludes 1, of at least 2 %, from five rounds on. Targets that share a letter are not told apart. All of it is in `findings.json`.
- Server and clients share this machine over the loopback interface; nothing here speaks about networks or other machines.

",
        terminal::not_counted(results).map_or_else(|| "Every target was counted".to_string(), |sentence| capital(&sentence)),
        capital(&claims::control(&results.findings))
    )
}

fn machine(file: &SuiteFile, stored: &[Stored]) -> String {
    let suite = &file.suite;
    let mut facts = vec![
        ("seed", Some(suite.seed.to_string())),
        ("time budget", Some(minutes(suite.budget()))),
        ("loadgen threads", Some(suite.base.threads.to_string())),
        ("server CPUs", cpus(&suite.base.placement.server_cpus)),
        ("loadgen CPUs", cpus(&suite.base.placement.loadgen_cpus)),
        ("message timeout", Some(milliseconds(suite.base.timeout_ms))),
    ];
    let first = stored.first().map(|stored| &stored.measurement);
    if let Some(trial) = first {
        facts.extend(environment(trial));
    }
    let facts = facts.into_iter();
    let rows = facts.map(|(name, value)| vec![name.to_string(), value.unwrap_or_else(nothing)]);
    let mut text = format!("## Plan and machine\n\n{}", table::markdown(&["", ""], 2, rows));
    text.push_str(&targets(suite, stored));
    text
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

/// What each target really was: from its first record that knows.
fn targets(suite: &Suite, stored: &[Stored]) -> String {
    let of = |name: &String| {
        let mut of = stored.iter().map(|stored| &stored.measurement.target);
        of.find(|target| target.name == *name && target.runtime.is_some())
    };
    let or_none = |fact: &Option<String>| fact.clone().unwrap_or_else(nothing);
    let rows: Vec<Vec<String>> = (suite.all_targets().filter_map(of))
        .map(|target| {
            vec![
                target.name.clone(),
                or_none(&target.model),
                format!(
                    "{} {}",
                    or_none(&target.runtime),
                    target.runtime_version.as_deref().unwrap_or_default()
                ),
                or_none(&target.io_interface),
                or_none(&target.accept_model),
                or_none(&target.buffer_policy),
                target.workers.map_or_else(nothing, |workers| workers.to_string()),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "\n".to_string();
    }
    let headings = [
        "target",
        "model",
        "runtime",
        "I/O interface",
        "accept",
        "buffers",
        "workers",
    ];
    format!("\n{}\n", table::markdown(&headings, 6, rows))
}

fn invalid(results: &Results) -> String {
    if results.invalid.is_empty() {
        return "## Trials with void figures\n\nNone.\n".to_string();
    }
    let rows = results.invalid.iter().map(|trial| {
        vec![
            link(&trial.file),
            trial.target.clone(),
            trial.workload.clone(),
            trial.round.to_string(),
            trial.reasons.join("; "),
        ]
    });
    format!(
        "## Trials with void figures\n\nKept. What a gate takes away is not used for a figure above unless marked.\n\n{}",
        table::markdown(&["record", "target", "workload", "round", "why"], 5, rows)
    )
}

/// A record by its name, without the folder that all records are in.
fn link(file: &str) -> String {
    format!("[{}]({file})", file.rsplit('/').next().unwrap_or(file))
}

/// Trials that are shown apart; nothing where none were far.
fn far(results: &Results) -> String {
    if results.far.is_empty() {
        return String::new();
    }
    let tally = &results.findings.trials;
    let rows = results.far.iter().map(|trial| {
        vec![
            link(&trial.file),
            trial.target.clone(),
            trial.workload.clone(),
            trial.round.to_string(),
            format!("{:.0}", trial.distance_ns),
        ]
    });
    format!(
        "\n## Trials with far CPUs\n\nA cache line took longer than {} ns between the CPUs of server and loadgen. {}.\n\n{}",
        figure(tally.near_limit_ns.unwrap_or_default()),
        match tally.far_are_used {
            true =>
                "They are used all the same, because fewer than five rounds were near; what a block has in common falls out of every ratio",
            false => "Kept, and used for no figure above where the target has a near one",
        },
        table::markdown(&["record", "target", "workload", "round", "ns"], 3, rows)
    )
}

fn cpus(cpus: &[usize]) -> Option<String> {
    let list: Vec<String> = cpus.iter().map(ToString::to_string).collect();
    Some(if list.is_empty() {
        "not pinned".to_string()
    } else {
        list.join(", ")
    })
}

fn capital(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}
