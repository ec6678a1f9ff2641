//! The tables of the first screen: the closed workloads' capacity with letters, and beside it the paced ones.

use crate::report::claims::level;
use crate::report::table::{Column, Grid, Group, fitted};
use crate::report::terminal::wrapped;
use crate::suite::findings::{Findings, Judged, Table, has_rounds_enough};
use crate::suite::letters::each;
use crate::suite::matrix::{Suite, SuiteFile};
use crate::text::{count, figure, percent};
use std::collections::BTreeSet;

/// What one of them shows, and one column for each of some findings.
struct Sheet<'a> {
    name: String,
    legend: String,
    columns: Vec<(String, &'a Table)>,
}

/// The rows below the targets.
const WOULD_SHOW: [&str; 2] = ["would show", "rounds more"];

/// The closed workloads' capacity, then the paced ones: the same work for all, what it cost, how long the answers took.
fn sheets<'a>(file: &SuiteFile, findings: &'a Findings) -> Vec<Sheet<'a>> {
    let mut sheets = Vec::new();
    let capacity = findings
        .tables
        .iter()
        .filter(|table| table.quantity == Judged::Capacity);
    let columns: Vec<_> = capacity.map(|table| (table.workload.clone(), table)).collect();
    if !columns.is_empty() {
        sheets.push(Sheet {
            name: "capacity".to_string(),
            legend: match columns.iter().any(|(_, table)| has_rounds_enough(table)) {
                true => "messages per CPU second of the server; targets without a letter in common are told apart",
                false => "messages per CPU second of the server",
            }
            .to_string(),
            columns,
        });
    }
    for workload in &file.suite.workloads {
        let Some(open) = workload.open_loop() else { continue };
        let of_workload = findings.tables.iter().filter(|table| table.workload == workload.name);
        let heading = |table: &Table| match table.quantity {
            Judged::CpuUsPerMessage => "CPU us per\nmessage".to_string(),
            other => other.title().replace("response ", "response\n"),
        };
        sheets.push(Sheet {
            name: workload.name.clone(),
            legend: match workload.percent_of_saturated {
                None => format!("open loop, {} messages/s for every target", count(open.rate_per_s)),
                Some(percent) => format!("open loop, every target at {percent} % of what it reached saturated"),
            },
            columns: of_workload.map(|table| (heading(table), table)).collect(),
        });
    }
    sheets
}

/// For a terminal: side by side where that fits into the width, else one below the other, and as many as fit into `lines`,
/// but one at least. Of more targets than lines the best and the worst of the first table are shown.
#[must_use]
pub fn drawn(file: &SuiteFile, labels: &[String], findings: &Findings, width: u16, lines: usize) -> String {
    let sheets = sheets(file, findings);
    let targets: Vec<(&String, &String)> = file.suite.all_targets().zip(labels).collect();
    let (targets, left_out) = fewest(targets, &sheets, lines);
    let (names, labels): (Vec<&String>, Vec<&String>) = targets.into_iter().unzip();
    let tells = findings
        .tables
        .iter()
        .any(|table| has_rounds_enough(table) && table.would_have_shown.is_some());
    let mut stub: Vec<String> = labels.into_iter().cloned().collect();
    if tells {
        stub.extend(WOULD_SHOW.map(str::to_owned));
    }
    let group = |sheet: &Sheet<'_>| Group {
        name: sheet.name.clone(),
        columns: (sheet.columns.iter())
            .map(|(heading, table)| column(heading, table, &names, tells))
            .collect(),
    };
    let legend = |sheet: &Sheet<'_>| wrapped(&format!("{}: {}", sheet.name, sheet.legend), 2, 4, width);
    let last = match (tells, left_out) {
        (true, None) => wrapped(LEGEND, 2, 4, width),
        (true, Some(sentence)) => wrapped(LEGEND, 2, 4, width) + &wrapped(&sentence, 2, 4, width),
        (false, sentence) => sentence.map_or_else(String::new, |sentence| wrapped(&sentence, 2, 4, width)),
    };
    // In one table the name of each group but the first has to stand in its headings.
    let beside = (0..).zip(&sheets).map(|(place, sheet)| match place {
        0 => group(sheet),
        _ => short(group(sheet), &sheet.name),
    });
    if let [one] = &fitted(&stub, beside.collect(), width)[..] {
        let legends: String = sheets.iter().map(legend).collect();
        return format!("{one}\n{legends}{last}");
    }
    let mut text = String::new();
    for (place, sheet) in sheets.iter().enumerate() {
        let table = fitted(&stub, vec![group(sheet)], width).join("\n\n");
        let table = format!("{table}\n{}", legend(sheet));
        if place > 0 && text.lines().count() + table.lines().count() + last.lines().count() + 1 > lines {
            text.push_str(&wrapped(
                &format!("{}: in the folder, it does not fit here", sheet.name),
                2,
                4,
                width,
            ));
            continue;
        }
        text.push_str(if place > 0 { "\n" } else { "" });
        text.push_str(&table);
    }
    text + &last
}

/// Of more targets than `lines` as many as leave room for headings and legends, in their order, and what is said of the others.
fn fewest<'a>(
    targets: Vec<(&'a String, &'a String)>,
    sheets: &[Sheet<'_>],
    lines: usize,
) -> (Vec<(&'a String, &'a String)>, Option<String>) {
    const AROUND: usize = 12;
    let number = targets.len();
    let Some((_, table)) = sheets
        .first()
        .and_then(|sheet| sheet.columns.first())
        .filter(|_| number > lines)
    else {
        return (targets, None);
    };
    let most = lines.saturating_sub(AROUND).max(8);
    let worst = most / 4;
    let ranked = || {
        table
            .targets
            .iter()
            .filter(|target| target.level.is_some())
            .map(|target| &target.target)
    };
    let best = ranked().take(most - worst);
    let shown: BTreeSet<&String> = best.chain(ranked().rev().take(worst)).collect();
    let kept: Vec<_> = targets.into_iter().filter(|(name, _)| shown.contains(name)).collect();
    let left_out = number - kept.len();
    let sentence = format!(
        "of {number} targets the {} best and the {worst} worst under {}; the other {left_out} are in the folder",
        kept.len() - worst.min(kept.len()),
        table.workload
    );
    (kept, Some(sentence))
}

const LEGEND: &str = "would show: the difference that shows with a probability of 80 %; rounds more: for 5 % to show";

/// Headings of two lines, the first of which is the workload.
fn short(mut group: Group, workload: &str) -> Group {
    for column in &mut group.columns {
        let rest = column
            .heading
            .replace("CPU us per\nmessage", "CPU us")
            .replace("response\n", "");
        column.heading = format!("{workload}\n{rest}");
    }
    group
}

fn column(heading: &str, table: &Table, names: &[&String], tells: bool) -> Column {
    let mut cells: Vec<String> = names.iter().map(|name| cell(table, name, true)).collect();
    if tells {
        cells.extend(would_show(table));
    }
    Column {
        heading: heading.to_string(),
        cells,
    }
}

/// A table of the first screen.
pub struct Told {
    pub title: String,
    pub grid: Grid,
    /// Rows that are no target's: what would have shown.
    pub below: Vec<Vec<String>>,
}

/// Each table of the first screen.
#[must_use]
pub fn grids(file: &SuiteFile, findings: &Findings) -> Vec<Told> {
    let told = |sheet: &Sheet<'_>| {
        let mut headings = vec!["target".to_string()];
        headings.extend(sheet.columns.iter().map(|(heading, _)| heading.replace('\n', " ")));
        let rows = file.suite.all_targets().map(|name| {
            let cells = sheet.columns.iter().map(|(_, table)| cell(table, name, false));
            std::iter::once(label(&file.suite, name)).chain(cells).collect()
        });
        let below: Vec<[String; 2]> = sheet.columns.iter().map(|(_, table)| would_show(table)).collect();
        let would_show = (0..).zip(WOULD_SHOW).filter_map(|(place, name)| {
            let cells = below.iter().map(|cells: &[String; 2]| cells[place].clone());
            let is_told = below.iter().any(|cells| !cells[place].is_empty());
            is_told.then(|| std::iter::once(name.to_string()).chain(cells).collect::<Vec<_>>())
        });
        Told {
            title: format!("`{}`: {}.", sheet.name, sheet.legend),
            grid: Grid {
                headings,
                rows: rows.collect(),
            },
            below: would_show.collect(),
        }
    };
    sheets(file, findings).iter().map(told).collect()
}

/// A target's name, marked where it is a server of the user's own.
#[must_use]
pub fn label(suite: &Suite, name: &str) -> String {
    let mark = suite.external(name).map_or("", |_| " (external)");
    format!("{name}{mark}")
}

/// Title and table of each in Markdown.
#[must_use]
pub fn markdown_tables(file: &SuiteFile, findings: &Findings) -> Vec<(String, String)> {
    let of = |mut told: Told| {
        for row in &mut told.below {
            row[0] = format!("*{}*", row[0]);
        }
        told.grid.rows.extend(told.below);
        (told.title, told.grid.markdown(1))
    };
    grids(file, findings).into_iter().map(of).collect()
}

/// `185,300 ab`; on a terminal, where room is short, `185k ab`. What nothing is claimed about says so.
pub(super) fn cell(table: &Table, name: &str, is_short: bool) -> String {
    let target = table.targets.iter().find(|target| target.target == name);
    let Some((known, target)) = target.and_then(|target| Some((target.level?, target))) else {
        return "n/a".to_string();
    };
    let shown = match table.quantity {
        Judged::Capacity if is_short => format!("{}k", figure(known / 1000.0)),
        quantity => level(quantity, known),
    };
    if target.oversubscribed {
        return format!("{shown} oversubscribed");
    }
    if !has_rounds_enough(table) {
        return shown;
    }
    // Letters line up to the left, behind figures that line up to the right.
    let widest = || table.targets.iter().map(|target| run(&target.letters).len()).max();
    let widest = if is_short { widest().unwrap_or(0) } else { 0 };
    format!("{shown} {:<widest$}", run(&target.letters))
}

/// `c-g` for `cdefg`: with many targets a letter each would take more room than the figures. After `z` comes `a1`.
pub(super) fn run(letters: &str) -> String {
    let places: Vec<Option<u32>> = each(letters).map(place).collect();
    let follows = places
        .windows(2)
        .all(|pair| pair[0].is_some() && pair[1] == pair[0].map(|place| place + 1));
    let (first, last) = (each(letters).next(), each(letters).last());
    match (first, last) {
        (Some(first), Some(last)) if places.len() > 2 && follows => format!("{first}-{last}"),
        _ => letters.to_string(),
    }
}

/// Where a letter with its number stands among all: 0 for `a`, 26 for `a1`.
fn place(letter: &str) -> Option<u32> {
    let (name, number) = letter.split_at_checked(1)?;
    let number = if number.is_empty() {
        0
    } else {
        number.parse::<u32>().ok()?
    };
    Some(number * 26 + u32::from(name.bytes().next()?) - u32::from(b'a'))
}

/// `9.1 %` and `14`; empty where all are told apart, or nothing can be yet.
fn would_show(table: &Table) -> [String; 2] {
    let ratio = table.would_have_shown.filter(|_| has_rounds_enough(table));
    let more = table.more_rounds_to_show_5_percent.filter(|_| ratio.is_some());
    [
        ratio.map_or_else(String::new, |ratio| percent((ratio - 1.0) * 100.0)),
        more.map_or_else(String::new, |more| count(more as u64)),
    ]
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn letters_in_a_row_are_shortened_and_others_are_not() {
        let shown = ["", "a", "ab", "abc", "cdefg", "abd", "yza1", "yzb1", "y1z1a2b2"].map(run);
        assert_eq!(shown, ["", "a", "ab", "a-c", "c-g", "abd", "y-a1", "yzb1", "y1-b2"]);
    }
}
