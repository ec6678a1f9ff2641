//! The same tables as on the terminal, as GitHub Markdown, and the README of a suite's folder.

use crate::measurement::store::Stored;
use crate::quantity::Place;
use crate::report::table::Grid;
use crate::report::{chart, columns, conclusions, dimension, facts, original, screen, sheets, terminal, varied};
use crate::suite::matrix::SuiteFile;
use crate::suite::results::{Results, Row};
use crate::text::workload as workload_line;
use std::fmt::Write as _;

/// README of the folder: what ran, where, when, the tables, how to read them, what was invalid.
#[must_use]
pub fn readme(file: &SuiteFile, results: &Results, stored: &[Stored]) -> String {
    let suite = &file.suite;
    let mut text = format!("# Comparison `{}` on `{}`\n\n", suite.name, file.label);
    let _ = writeln!(
        text,
        "{} Made by\n\n    {}\n\nand made again from `records/` by `loadgen report`. The same with charts and models: [report.html](report.html).\n",
        facts::how_it_went(file, results),
        command(&file.command),
    );
    text.push_str(&found(file, results));
    text.push_str(&over(file, results));
    for workload in suite.loads() {
        let rows: Vec<&Row> = results.of_workload(&workload.name).collect();
        let _ = writeln!(text, "## {}\n\n{}.\n", workload.name, workload_line(workload));
        if rows.iter().any(|row| !row.points.is_empty()) {
            let level = chart::level_image(results, workload, "");
            for image in level.into_iter().chain([chart::rate_image(&workload.name)]) {
                let _ = writeln!(text, "{image}\n");
            }
        }
        for places in [[Place::Speed, Place::Response], [Place::Cpu, Place::Memory]] {
            let _ = writeln!(text, "{}", columns::grid(&places, &rows).markdown(1));
        }
        for sentence in terminal::findings(results, &workload.name, &rows) {
            let _ = writeln!(text, "- {sentence}");
        }
        if let Some(scenario) = original::scenario(&workload.name) {
            let _ = writeln!(
                text,
                "\n{}\n\n{}",
                facts::capital(original::LABEL),
                original::grid(scenario).markdown(1)
            );
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
    if !results.conclusions.is_empty() {
        return format!(
            "## Conclusions\n\n{}",
            conclusions::markdown(file, &results.conclusions)
        );
    }
    let mut text = "## What was found\n\n".to_string();
    for sentence in screen::found(file, results).into_iter().chain(screen::left_out(file)) {
        let _ = writeln!(text, "- {sentence}");
    }
    let tables = match file.suite.dimension {
        None => sheets::markdown_tables(file, &results.findings),
        Some(_) => dimension::markdown_tables(file, &results.findings),
    };
    for (title, table) in tables {
        let _ = writeln!(text, "\n{title}\n\n{table}");
    }
    text
}

/// What was measured over clients, connections or load: charts, and a table of each figure.
fn over(file: &SuiteFile, results: &Results) -> String {
    let mut text = String::new();
    for varied in varied::all(file, results) {
        let _ = writeln!(text, "## {}", varied.along.title());
        for picture in chart::of_varied(file, &varied, &chart::Hues::of(results)) {
            let _ = writeln!(text, "\n![{}]({}.svg)", picture.title, picture.name);
        }
        text.push('\n');
        for (title, grid) in varied.tables() {
            let _ = writeln!(text, "{}:\n\n{}", facts::capital(&title), grid.markdown(1));
        }
    }
    text
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

fn how_to_read(results: &Results) -> String {
    let sentences = facts::how_to_read(results).into_iter();
    let list: String = sentences.map(|sentence| format!("- {sentence}\n")).collect();
    format!("## How to read this\n\n{list}\n")
}

fn machine(file: &SuiteFile, stored: &[Stored]) -> String {
    let targets = facts::targets(&file.suite, stored);
    let targets = match targets.rows.is_empty() {
        true => "\n".to_string(),
        false => format!("\n{}\n", targets.markdown(6)),
    };
    format!(
        "## Plan and machine\n\n{}{targets}",
        facts::plan_and_machine(file, stored).markdown(2)
    )
}

fn invalid(results: &Results) -> String {
    if results.invalid.is_empty() {
        return "## Trials with void figures\n\nNone.\n".to_string();
    }
    format!(
        "## Trials with void figures\n\nKept. What a gate takes away is not used for a figure above unless marked.\n\n{}",
        linked(facts::void(results)).markdown(5)
    )
}

/// The first column, which is the file of a record, as a link.
fn linked(mut grid: Grid) -> Grid {
    for row in &mut grid.rows {
        row[0] = format!("[{}]({})", facts::record_name(&row[0]), row[0]);
    }
    grid
}

/// Trials that are shown apart; nothing where none were far.
fn far(results: &Results) -> String {
    if results.far.is_empty() {
        return String::new();
    }
    format!(
        "\n## Trials with far CPUs\n\n{}\n\n{}",
        facts::about_far(results),
        linked(facts::far(results)).markdown(3)
    )
}
