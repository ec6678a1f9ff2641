//! The README of a folder that holds several suites: what each was, how far it came, what it found first.

use crate::report::markdown::command;
use crate::report::table::markdown;
use crate::suite::full::{FullFile, is_done};
use crate::suite::matrix::SuiteFile;
use crate::suite::results::Results;
use crate::suite::suites;
use crate::text::{count, minutes};
use std::fmt::Write as _;
use std::time::Duration;

/// The whole text.
#[must_use]
pub fn readme(full: &FullFile, parts: &[(SuiteFile, Results)]) -> String {
    let mut text = format!("# All suites on `{}`\n\n", full.label);
    let spent: u64 = parts.iter().map(|(file, _)| file.spent_ms).sum();
    let done = parts.iter().filter(|(file, _)| is_done(file)).count();
    let _ = writeln!(
        text,
        "Started {} (UTC). {done} of {} suites are done, after {}. Made by\n\n    {}\n",
        full.started_at,
        parts.len(),
        minutes(Duration::from_millis(spent)),
        command(&full.command),
    );
    let rows = parts.iter().map(|(file, results)| {
        let name = &file.suite.name;
        vec![
            format!("[{name}]({name}/README.md)"),
            suites::find(name).map_or_else(String::new, |suite| suite.about.to_string()),
            state(file).to_string(),
            results.rounds_done.to_string(),
            count(results.trials as u64),
            count(results.invalid.len() as u64),
            minutes(Duration::from_millis(file.spent_ms)),
        ]
    });
    let headings = [
        "suite",
        "what it shows",
        "state",
        "rounds",
        "trials",
        "with void figures",
        "time",
    ];
    text.push_str(&markdown(&headings, 3, rows));
    text.push_str("\nEach folder is that of one comparison: `loadgen report`, `diff` and `reproduce` take it alone. Figures of two suites never share a table.\n");
    text
}

fn state(file: &SuiteFile) -> &str {
    match file.ended.as_deref() {
        Some("rounds" | "budget" | "precision") => "done",
        Some(other) => other,
        None if file.spent_ms == 0 => "not begun",
        None => "not ended",
    }
}
