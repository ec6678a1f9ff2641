//! The first screen of a comparison: what was found, at most 40 lines on 100 columns. Everything else is in the folder.

use crate::quantity::{CPU_PER_MESSAGE, MESSAGES_PER_S, Quantity};
use crate::report::claims::{between_models, control, not_told_apart};
use crate::report::columns::{self, nothing};
use crate::report::conclusions;
use crate::report::dimension;
use crate::report::sheets;
use crate::report::table::{Column, Group, fitted};
use crate::report::terminal::wrapped;
use crate::report::varied;
use crate::suite::findings::{Findings, Judged, Table, has_rounds_enough};
use crate::suite::fit::ROUNDS_FOR_A_CLAIM;
use crate::suite::matrix::{SuiteFile, label};
use crate::suite::precision::Known;
use crate::suite::results::Results;
use crate::text::{count, counted, minutes, percent};
use crate::units::round_u64;
use std::path::Path;
use std::time::Duration;

/// Widest screen that is used; longer lines read badly.
const WIDTH: u16 = 100;
/// Lines of a screen; the one that says where the rest is comes last.
const LINES: usize = 40 - 1;

/// The whole screen, for a terminal of this width. What does not fit is left to the folder, the last sentences first.
#[must_use]
pub fn screen(file: &SuiteFile, results: &Results, width: u16) -> String {
    let width = width.min(WIDTH);
    let mut head = wrapped(&place(file, results), 0, 2, width);
    if let Some(sentence) = how_sure(file, &results.findings) {
        head.push_str(&wrapped(&sentence, 0, 2, width));
    }
    if !results.conclusions.is_empty() {
        // More than a screen: it is what was asked for.
        let missing: String = missing(results).iter().map(|line| wrapped(line, 0, 2, width)).collect();
        return format!(
            "{head}\n{}\n{missing}",
            conclusions::drawn(file, &results.conclusions, width)
        );
    }
    let lines = |text: &str| text.lines().count();
    // Room for a finding of two lines and for the blank lines around what was found.
    let room_for_tables = LINES - lines(&head) - 4;
    let varied = varied::all(file, results);
    let tables = match file.suite.dimension {
        Some(_) => dimension::drawn(file, &results.findings, width, room_for_tables),
        None if varied.is_empty() => {
            sheets::drawn(file, &labels(file, results), &results.findings, width, room_for_tables)
        }
        None => varied::drawn(&varied, width, room_for_tables),
    };
    let mut room = LINES.saturating_sub(lines(&head) + lines(&tables) + 2);
    let mut fitting = |sentences: Vec<String>| -> String {
        let wrapped = sentences.iter().map(|sentence| wrapped(sentence, 0, 2, width));
        wrapped
            .take_while(|text| {
                let fits = lines(text) <= room;
                room -= if fits { lines(text) } else { 0 };
                fits
            })
            .collect()
    };
    let found = found(file, results);
    let found = fitting(found.iter().map(|sentence| format!("- {sentence}")).collect());
    let missing = fitting(left_out(file).into_iter().chain(missing(results)).collect());
    format!("{head}\n{found}\n{tables}\n{missing}")
}

/// One line that names the folder and the command for all tables.
#[must_use]
pub fn where_the_rest_is(folder: &Path) -> String {
    let folder = folder.display();
    format!("all tables: {folder}/README.md (or `loadgen report --full`)\n")
}

/// Whether every ratio is known as well as was asked for, one sentence; none where nothing was asked.
#[must_use]
pub fn how_sure(file: &SuiteFile, findings: &Findings) -> Option<String> {
    let asked = percent(file.suite.precision? * 100.0);
    Some(match Known::of(findings)? {
        known if known.is_within(file.suite.precision?) => {
            format!("Every ratio of what servers cost is known within {asked}, as asked for.")
        }
        Known::Within { table, pair, share } => format!(
            "Not every ratio is known within {asked}: {} against {} under {} only within {}.",
            pair.left,
            pair.right,
            table.workload,
            percent(share * 100.0)
        ),
        Known::TooFewRounds { table, target, rounds } => format!(
            "Not every ratio is known within {asked}: {target} under {} has {}, and it takes {ROUNDS_FOR_A_CLAIM}.",
            table.workload,
            counted(rounds as u64, "round that stands", "rounds that stand")
        ),
    })
}

/// Machine, network, distance, rounds, trials and time, one sentence.
#[must_use]
pub fn place(file: &SuiteFile, results: &Results) -> String {
    let tally = &results.findings.trials;
    let trials = |number: usize| counted(number as u64, "trial", "trials");
    let distance = match (tally.distance_ns, tally.near_limit_ns) {
        (Some((least, most)), Some(limit)) => format!(
            ", a cache line {} to {} ns away{}",
            count(round_u64(least)),
            count(round_u64(most)),
            match (tally.far, tally.far_are_used) {
                (0, _) => String::new(),
                (far, false) => format!(
                    " ({} farther than {} ns left out)",
                    trials(far),
                    count(round_u64(limit))
                ),
                (far, true) => format!(
                    " ({} farther than {} ns are used, for lack of near ones)",
                    trials(far),
                    count(round_u64(limit))
                ),
            }
        ),
        _ => String::new(),
    };
    let network = match tally.in_private_network {
        0 => "the host's network",
        all if all == tally.run => "private networks",
        _ => "private networks and the host's",
    };
    format!(
        "{}, {network}{distance}: {}{} in {}, {}; capacity stands in {}, rates in {}, percentiles in {}.",
        file.label,
        counted(u64::from(results.rounds_done), "round", "rounds"),
        added(file),
        minutes(Duration::from_millis(file.spent_ms)),
        counted(tally.run as u64, "trial", "trials"),
        count(tally.capacity_stands as u64),
        count(tally.rates_stand as u64),
        count(tally.percentiles_stand as u64),
    )
}

/// ` and 7 more for event-mio`, for targets that came later.
fn added(file: &SuiteFile) -> String {
    let more = file.suite.additions.iter();
    more.map(|addition| format!(" and at most {} more for {}", addition.rounds, addition.target))
        .collect()
}

/// What was found, the most important first: of a comparison at several values what they do to the targets, else the headlines.
#[must_use]
pub fn found(file: &SuiteFile, results: &Results) -> Vec<String> {
    let findings = &results.findings;
    if file.suite.dimension.is_none() {
        let varied = varied::all(file, results);
        let over = varied.iter().flat_map(|varied| varied.sentences(file));
        return over.chain(headlines(findings)).collect();
    }
    let mut found = dimension::sentences(file, findings);
    found.push(control(findings));
    found
}

/// Workloads that this machine cannot have, one sentence each.
#[must_use]
pub fn left_out(file: &SuiteFile) -> Vec<String> {
    let all = file.suite.left_out.iter();
    all.map(|left_out| format!("{} was left out: {}", left_out.workload, left_out.why))
        .collect()
}

/// Three to five sentences, the most important first.
#[must_use]
pub fn headlines(findings: &Findings) -> Vec<String> {
    const MOST: usize = 5;
    let enough = |table: &&Table| has_rounds_enough(table);
    let closed = |name: &str| findings.table(name, Judged::Capacity).filter(enough);
    let first = ["steady", "medium", "light"].into_iter().find_map(closed);
    let first = first.or_else(|| {
        let mut capacity = findings
            .tables
            .iter()
            .filter(|table| table.quantity == Judged::Capacity);
        capacity.find(enough)
    });
    let mut found = Vec::new();
    let under = |table: &Table, sentence: String| format!("{}: {sentence}", table.workload);
    if let Some(table) = first {
        found.extend(between_models(table).into_iter().map(|sentence| under(table, sentence)));
        found.extend(not_told_apart(table).map(|sentence| under(table, sentence)));
    }
    if let Some(churn) = closed("churn").filter(|churn| first.is_none_or(|first| first.workload != churn.workload)) {
        found.extend(
            between_models(churn)
                .into_iter()
                .take(1)
                .map(|sentence| under(churn, sentence)),
        );
    }
    if let Some(p99) = findings
        .tables
        .iter()
        .find(|table| table.quantity == Judged::ResponseP99Ns)
        .filter(enough)
    {
        let sentence = between_models(p99).into_iter().next_back();
        found.extend(sentence.map(|sentence| format!("{}, p99 of the response: {sentence}", p99.workload)));
    }
    found.truncate(MOST);
    if found.is_empty() {
        let rounds = findings
            .tables
            .iter()
            .flat_map(|table| &table.targets)
            .map(|target| target.rounds)
            .max();
        found.push(format!(
            "no difference is claimed before {} rounds ({} so far)",
            ROUNDS_FOR_A_CLAIM,
            rounds.unwrap_or(0)
        ));
    }
    found.push(control(findings));
    found
}

/// The capacity of every target under one workload, from whatever is there: the first table while a comparison runs.
#[must_use]
pub fn overview(file: &SuiteFile, results: &Results, workload: &str, width: u16) -> String {
    let names: Vec<String> = file.suite.rows().map(|(target, at)| label(target, at)).collect();
    let rows: Vec<_> = results.of_workload(workload).filter(|row| !row.control).collect();
    let of = |quantity: &Quantity| Column {
        heading: quantity.heading.to_string(),
        cells: names
            .iter()
            .map(|name| rows.iter().find(|row| row.target == *name))
            .map(|row| row.map_or_else(nothing, |row| columns::cell(row, quantity)))
            .collect(),
    };
    let group = Group {
        name: workload.to_string(),
        columns: [CPU_PER_MESSAGE, MESSAGES_PER_S].iter().map(of).collect(),
    };
    fitted(&names, vec![group], width).join("\n\n")
}

/// The targets with what is special about them: a server of the user's own, or one in a container.
fn labels(file: &SuiteFile, results: &Results) -> Vec<String> {
    let label = |name: &String| {
        let mut rows = results.rows.iter().filter(|row| row.name == *name);
        let in_container = rows.any(|row| row.target.ends_with(" (container)"));
        let mark = if in_container { " (container)" } else { "" };
        format!("{}{mark}", sheets::label(&file.suite, name))
    };
    file.suite.all_targets().map(label).collect()
}

/// What a reader would look for and not find.
#[must_use]
pub fn missing(results: &Results) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for row in &results.rows {
        let together = row.void_together.iter();
        lines.extend(together.map(|why| format!("{} under {}: {why}", row.target, row.workload)));
        if let Some(reason) = &row.not_measured {
            lines.push(format!("{} under {}: {reason}", row.target, row.workload));
        }
    }
    if let Some((gate, trials, worst)) = results.invalid_by_gate().into_iter().next() {
        let trials = counted(trials as u64, "trial", "trials");
        lines.push(format!("most often void by {gate}: {trials}, at worst: {worst}"));
    }
    lines.truncate(4);
    lines
}
