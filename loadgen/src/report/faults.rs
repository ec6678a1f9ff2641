//! The fault matrix in text: a table for each target, the matrix of all, and the page `results/faults.md`.

use crate::record::{FaultMatrix, FaultRow, FaultedTarget, RowResult};
use crate::report::table;
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use echo_contract::conformance::faults::{ABSENT, ROWS, Row};
use std::fmt::Write as _;

/// One target's rows for the terminal. What failed or was not tested is red there.
#[must_use]
pub fn of_target(target: &FaultedTarget) -> String {
    let mut rows = Table::new();
    rows.load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["row", &format!("{}: what was done", target.target), "result", "time"]);
    for row in &target.rows {
        rows.add_row([
            Cell::new(row.row),
            Cell::new(&row.title),
            coloured(&result(row), row.result),
            Cell::new(format!("{:.1} s", row.took_s)),
        ]);
    }
    format!("{rows}\n")
}

/// All targets beside each other, and how many rows came out how.
#[must_use]
pub fn matrix(matrix: &FaultMatrix) -> String {
    let numbers = numbers(matrix);
    let mut cells = Table::new();
    let headings = std::iter::once("target".to_owned()).chain(numbers.iter().map(u8::to_string));
    cells.load_style(presets::NOTHING).set_header(headings);
    for target in &matrix.targets {
        let signs = numbers.iter().map(|&number| {
            row_of(target, number).map_or_else(|| Cell::new(""), |row| coloured(row.result.sign(), row.result))
        });
        cells.add_row(std::iter::once(Cell::new(&target.target)).chain(signs));
    }
    format!("{cells}\n{}\n", summary(matrix))
}

/// `90 rows: 88 passed, 1 expected to fail, 1 NOT TESTED`.
#[must_use]
pub fn summary(matrix: &FaultMatrix) -> String {
    let count = |wanted| matrix.rows().filter(|row| row.result == wanted).count();
    let kinds = [
        RowResult::Passed,
        RowResult::Failed,
        RowResult::ExpectedFailure,
        RowResult::NotTested,
    ];
    let counted = kinds.into_iter().filter(|&kind| count(kind) > 0);
    let parts: Vec<String> = counted
        .map(|kind| format!("{} {}", count(kind), kind.as_str()))
        .collect();
    format!("{} rows: {}", matrix.rows().count(), parts.join(", "))
}

/// The page: the matrix, and for each row what it does, what it asks, and what was measured.
#[must_use]
pub fn page(matrix: &FaultMatrix) -> String {
    let mut text = String::from("# Fault matrix\n\n");
    let network = match matrix.network.as_str() {
        "private" => "each row in a network of its own".to_owned(),
        _ => format!(
            "in the host's network ({})",
            matrix.network_note.as_deref().unwrap_or("no reason is known")
        ),
    };
    let _ = writeln!(
        text,
        "What each server does when something goes wrong: the same rows for all, made on the real binaries, one row at a time. Made \
         by `loadgen verify --faults` in its {} form on {} (`{}`), {network}. {}.\n",
        matrix.form,
        matrix.started_at.split('T').next().unwrap_or_default(),
        matrix.label,
        summary(matrix),
    );
    if !matrix.complete {
        text.push_str("**It was interrupted: rows are missing.**\n\n");
    }
    text.push_str(
        "`ok` passed; `known` failed, and the catalog says why it must; **FAIL** failed; **n/t** could not be tested here, wholly or \
         in part, which is no pass.\n\n",
    );
    let numbers = numbers(matrix);
    let headings: Vec<String> = std::iter::once("target".into())
        .chain(numbers.iter().map(u8::to_string))
        .collect();
    let signs = matrix.targets.iter().map(|target| {
        let signs = numbers
            .iter()
            .map(|&number| row_of(target, number).map_or_else(String::new, |row| bold(row.result, row.result.sign())));
        std::iter::once(format!("`{}`", target.target)).chain(signs).collect()
    });
    text.push_str(&table::markdown(&headings, 1, signs));
    for row in ROWS.iter().filter(|row| numbers.contains(&row.number)) {
        text.push_str(&section(matrix, row));
    }
    text.push_str("\n## What is not in it\n\n");
    for (number, why) in ABSENT {
        let _ = writeln!(text, "- Row {number}: {why}.");
    }
    text
}

/// One row: what it does, what it asks, and what was seen of each target.
fn section(matrix: &FaultMatrix, row: &Row) -> String {
    let mut text = format!(
        "\n## {}. {}\n\nDone: {}. Asked: {}.\n\n",
        row.number, row.title, row.does, row.asked
    );
    let lines = matrix.targets.iter().filter_map(|target| {
        let made = row_of(target, row.number)?;
        Some(vec![
            format!("`{}`", target.target),
            bold(made.result, made.result.as_str()),
            seen(made),
        ])
    });
    text.push_str(&table::markdown(&["target", "result", "what was seen"], 3, lines));
    text
}

/// The numbers of the rows that were made of any target, in order.
fn numbers(matrix: &FaultMatrix) -> Vec<u8> {
    let mut numbers: Vec<u8> = matrix.rows().map(|row| row.row).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

fn row_of(target: &FaultedTarget, number: u8) -> Option<&FaultRow> {
    target.rows.iter().find(|row| row.row == number)
}

fn result(row: &FaultRow) -> String {
    match seen(row) {
        text if text.is_empty() => row.result.as_str().to_owned(),
        text => format!("{}: {text}", row.result.as_str()),
    }
}

/// Why, and the figures.
fn seen(row: &FaultRow) -> String {
    let parts = row.why.iter().chain(&row.figures).map(String::as_str);
    parts.collect::<Vec<_>>().join("; ")
}

fn coloured(text: &str, result: RowResult) -> Cell {
    match result {
        RowResult::Passed => Cell::new(text),
        RowResult::ExpectedFailure => Cell::new(text).fg(Color::Yellow),
        RowResult::Failed | RowResult::NotTested => Cell::new(text).fg(Color::Red),
    }
}

fn bold(result: RowResult, text: &str) -> String {
    match result {
        RowResult::Passed | RowResult::ExpectedFailure => text.to_owned(),
        RowResult::Failed | RowResult::NotTested => format!("**{text}**"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::FAULTS_VERSION;

    fn sample() -> FaultMatrix {
        let row = |row, result, why: Option<&str>| FaultRow {
            row,
            title: ROWS.iter().find(|known| known.number == row).unwrap().title.into(),
            result,
            why: why.map(str::to_owned),
            figures: vec!["0.3 % of a CPU".into()],
            took_s: 1.25,
        };
        let target = |name: &str, rows| FaultedTarget {
            target: name.into(),
            rows,
        };
        FaultMatrix {
            kind: FaultMatrix::KIND.into(),
            schema_version: FAULTS_VERSION.into(),
            started_at: "2026-11-26T22:00:00Z".into(),
            label: "2cpu-linux-6.18".into(),
            form: "short".into(),
            network: "private".into(),
            network_note: None,
            complete: true,
            targets: vec![
                target(
                    "fork",
                    vec![
                        row(1, RowResult::Passed, None),
                        row(13, RowResult::NotTested, Some("a | b")),
                    ],
                ),
                target("thread", vec![row(13, RowResult::Failed, Some("90 %"))]),
            ],
        }
    }

    #[test]
    fn what_was_not_tested_is_never_told_as_passed() {
        let text = page(&sample());
        assert!(text.contains("| `fork` | ok | **n/t** |"), "{text}");
        assert!(text.contains("| `thread` |  | **FAIL** |"), "{text}");
        assert!(
            text.contains("| `fork` | **NOT TESTED** | a \\| b; 0.3 % of a CPU |"),
            "{text}"
        );
        assert!(text.contains("3 rows: 1 passed, 1 FAILED, 1 NOT TESTED"), "{text}");
    }

    #[test]
    fn every_row_that_was_made_says_what_it_does_and_asks_and_the_others_are_left_out() {
        let text = page(&sample());
        for row in ROWS {
            let is_made = [1, 13].contains(&row.number);
            assert_eq!(
                text.contains(&format!("Done: {}. Asked: {}.", row.does, row.asked)),
                is_made,
                "{}",
                row.title
            );
        }
        assert!(text.contains("- Row 16: restart without loss is not built yet."));
    }

    #[test]
    fn an_interrupted_matrix_says_so() {
        let partial = FaultMatrix {
            complete: false,
            ..sample()
        };
        assert!(page(&partial).contains("rows are missing"));
        assert!(!page(&sample()).contains("rows are missing"));
    }

    #[test]
    fn the_terminal_has_a_line_for_each_row_and_a_sign_in_the_matrix() {
        let sample = sample();
        let text = of_target(&sample.targets[0]);
        assert!(text.contains("passed: 0.3 % of a CPU"), "{text}");
        assert!(text.contains("NOT TESTED: a | b; 0.3 % of a CPU"), "{text}");
        let text = matrix(&sample);
        assert!(text.contains("n/t") && text.contains("FAIL"), "{text}");
    }

    #[test]
    fn a_stored_matrix_reads_back_as_it_was() {
        let text = serde_json::to_string(&sample()).unwrap();
        assert_eq!(serde_json::from_str::<FaultMatrix>(&text).unwrap(), sample());
        assert!(text.contains(r#""result":"not_tested""#), "{text}");
    }
}
