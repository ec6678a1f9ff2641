//! A comparison at several values of a dimension: one table for each workload and quantity, targets down, values across.

use super::sheets::cell;
use super::table::{Column, Group, fitted, markdown};
use super::terminal::wrapped;
use crate::record::At;
use crate::suite::dimension::Dimension;
use crate::suite::findings::{Findings, Judged, Table, has_rounds_enough};
use crate::suite::fit::{Comparison, ROUNDS_FOR_A_CLAIM};
use crate::suite::matrix::{Suite, SuiteFile, label};
use crate::text::percent;

/// Most sentences about one workload.
const MOST_SENTENCES: usize = 5;

/// For a terminal: one table below the other, and as many as fit into `lines`, but one at least.
#[must_use]
pub fn drawn(file: &SuiteFile, findings: &Findings, width: u16, lines: usize) -> String {
    let names: Vec<String> = file.suite.all_targets().cloned().collect();
    let mut text = String::new();
    for (place, table) in findings.tables.iter().enumerate() {
        let columns = columns(&file.suite, table, true).into_iter();
        let group = Group {
            name: title(table),
            columns: columns.map(|(heading, cells)| Column { heading, cells }).collect(),
        };
        let shown = format!(
            "{}\n{}",
            fitted(&names, vec![group], width).join("\n\n"),
            wrapped(&legend(table), 2, 4, width)
        );
        if place > 0 && text.lines().count() + shown.lines().count() + 1 > lines {
            let left_out = format!("{}: in the folder, it does not fit here", title(table));
            text.push_str(&wrapped(&left_out, 2, 4, width));
            continue;
        }
        text.push_str(if place > 0 { "\n" } else { "" });
        text.push_str(&shown);
    }
    text
}

/// Title and table of each in Markdown.
#[must_use]
pub fn markdown_tables(file: &SuiteFile, findings: &Findings) -> Vec<(String, String)> {
    let of = |table: &Table| {
        let columns = columns(&file.suite, table, false);
        let headings: Vec<&str> = std::iter::once("target")
            .chain(columns.iter().map(|(heading, _)| heading.as_str()))
            .collect();
        let rows = file.suite.all_targets().enumerate().map(|(place, name)| {
            let cells = columns.iter().map(|(_, cells)| cells[place].clone());
            std::iter::once(name.clone()).chain(cells).collect()
        });
        (
            format!("{}: {}.", title(table), legend(table)),
            markdown(&headings, 1, rows),
        )
    };
    findings.tables.iter().map(of).collect()
}

/// What was found: how the targets scale or what work does to them, which cells nothing is claimed about, and who has no values.
#[must_use]
pub fn sentences(file: &SuiteFile, findings: &Findings) -> Vec<String> {
    let suite = &file.suite;
    let Some(dimension) = &suite.dimension else {
        return Vec::new();
    };
    let mut told: Vec<String> = judged(findings, dimension)
        .into_iter()
        .flat_map(|table| match dimension {
            Dimension::Workers(values) => scaling(suite, table, values),
            Dimension::WorkNs(values) => under_work(table, values),
        })
        .take(MOST_SENTENCES)
        .collect();
    told.extend(oversubscribed(suite, findings));
    told.extend(without(suite, dimension));
    told
}

/// Where it is read: how much is answered for workers, what it costs for work; of open loops the cost.
fn judged<'a>(findings: &'a Findings, dimension: &Dimension) -> Vec<&'a Table> {
    let wanted = match dimension {
        Dimension::Workers(_) => Judged::MessagesPerS,
        Dimension::WorkNs(_) => Judged::Capacity,
    };
    let is_wanted = |table: &&Table| table.quantity == wanted || table.quantity == Judged::CpuUsPerMessage;
    findings.tables.iter().filter(is_wanted).collect()
}

/// Each target against itself with its first number of workers.
fn scaling(suite: &Suite, table: &Table, values: &[u32]) -> Vec<String> {
    let Some((first, more)) = values.split_first() else {
        return Vec::new();
    };
    if !has_rounds_enough(table) {
        return vec![too_early(table)];
    }
    let workload = &table.workload;
    let of = |target: &String, workers: u32| {
        let [now, then] = [workers, *first].map(At::Workers);
        let comparison = table.ratio(&label(target, Some(now)), &label(target, Some(then)))?;
        let shown = interval(&comparison);
        Some(match (comparison.claimed, table.quantity) {
            (false, _) => format!("{workload}: {target} with {now} is not shown to differ from {then}: {shown}"),
            (true, Judged::CpuUsPerMessage) => {
                format!("{workload}: with {now} a message costs {target} {shown} the CPU that it costs with {then}")
            }
            (true, _) => {
                format!("{workload}: {target} with {now} answers {shown} as many messages a second as with {then}")
            }
        })
    };
    let of_target =
        |target: &String| -> Vec<String> { more.iter().filter_map(|workers| of(target, *workers)).collect() };
    suite.all_targets().flat_map(of_target).collect()
}

/// At each amount of work the best target against the worst.
fn under_work(table: &Table, values: &[u64]) -> Vec<String> {
    if !has_rounds_enough(table) {
        return vec![too_early(table)];
    }
    let of = |work_ns: &u64| {
        let at = At::WorkNs(*work_ns);
        let mut ranked = table
            .targets
            .iter()
            .filter(|target| target.at == Some(at) && !target.letters.is_empty());
        let (best, worst) = (ranked.next()?, ranked.next_back()?);
        let comparison = table.ratio(&best.target, &worst.target)?;
        let comparison = if comparison.ratio >= 1.0 {
            comparison
        } else {
            comparison.turned()
        };
        let (workload, shown) = (&table.workload, interval(&comparison));
        let (best, worst) = (&best.target, &worst.target);
        Some(match (comparison.claimed, table.quantity) {
            (false, _) => format!("{workload}: {best} and {worst} are not shown to differ: {shown}"),
            (true, Judged::CpuUsPerMessage) => {
                format!("{workload}: a message costs {worst} {shown} the CPU that it costs {best}")
            }
            (true, _) => format!("{workload}: {best} answers {shown} as many messages per CPU second as {worst}"),
        })
    };
    values.iter().filter_map(of).collect()
}

fn too_early(table: &Table) -> String {
    let most = table.targets.iter().map(|target| target.rounds).max().unwrap_or(0);
    format!(
        "{}: no difference is claimed before {ROUNDS_FOR_A_CLAIM} rounds ({most} so far)",
        title(table)
    )
}

/// The numbers of workers that nothing is claimed about, one sentence.
fn oversubscribed(suite: &Suite, findings: &Findings) -> Option<String> {
    let mut values: Vec<At> = (findings.tables.iter())
        .flat_map(|table| &table.targets)
        .filter(|target| target.oversubscribed)
        .filter_map(|target| target.at)
        .collect();
    values.sort_unstable();
    values.dedup();
    if values.is_empty() {
        return None;
    }
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    let cpus = match suite.base.placement.server_cpus.len() {
        0 => "more than the CPUs that there are".to_string(),
        1 => "more than the server's 1 CPU".to_string(),
        cpus => format!("more than the server's {cpus} CPUs"),
    };
    Some(format!(
        "oversubscribed: {} ({cpus}). It says nothing about scaling, and nothing is claimed about it",
        values.join(", ")
    ))
}

/// Targets that have no values of the dimension, one sentence.
fn without(suite: &Suite, dimension: &Dimension) -> Option<String> {
    let targets: Vec<String> = (suite.without_values().iter())
        .map(|(target, why)| format!("{target} ({why})"))
        .collect();
    let flag = dimension.flag();
    (!targets.is_empty()).then(|| format!("{flag} changes nothing for {}", targets.join(", ")))
}

/// Heading and one cell for each target: those without values in a column of their own.
fn columns(suite: &Suite, table: &Table, is_short: bool) -> Vec<(String, Vec<String>)> {
    let values = suite.dimension.iter().flat_map(Dimension::values).map(Some);
    let without = (!suite.without_values().is_empty()).then_some(None);
    let column = |at: Option<At>| {
        let heading = at.map_or_else(|| "as it is".to_string(), |at| at.to_string());
        let cells = suite
            .all_targets()
            .map(|target| match suite.values_of(target).contains(&at) {
                true => cell(table, &label(target, at), is_short),
                false => String::new(),
            });
        (heading, cells.collect())
    };
    without.into_iter().chain(values).map(column).collect()
}

fn title(table: &Table) -> String {
    format!("{}, {}", table.workload, table.quantity.title())
}

fn legend(table: &Table) -> String {
    let what = match table.quantity {
        Judged::Capacity => "messages per CPU second of the server",
        Judged::MessagesPerS => "what clients and server reached together",
        Judged::CpuUsPerMessage => "of the server, at the rate of the plan",
        Judged::ResponseP50Ns | Judged::ResponseP99Ns => "of each round",
    };
    if !has_rounds_enough(table) {
        return what.to_string();
    }
    let shown = table.would_have_shown.map_or_else(String::new, |ratio| {
        let shown = percent((ratio - 1.0) * 100.0);
        format!("; a difference of {shown} would have shown with a probability of 80 %")
    });
    format!("{what}; cells without a letter in common are told apart{shown}")
}

fn interval(comparison: &Comparison) -> String {
    format!(
        "{:.2}x ({:.2}..{:.2})",
        comparison.ratio, comparison.low, comparison.high
    )
}
