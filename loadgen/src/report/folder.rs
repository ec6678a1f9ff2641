//! The files of a suite's folder that are made from its records.

use crate::measurement::store::{Stored, pretty_json};
use crate::quantity::{self, Place};
use crate::report::{chart, csv, markdown};
use crate::suite::matrix::SuiteFile;
use crate::suite::results::Results;

/// Name and text of each file: README.md, findings.json, summary.csv, trials.csv and a chart per workload and charted quantity.
#[must_use]
pub fn files(file: &SuiteFile, results: &Results, stored: &[Stored]) -> Vec<(String, String)> {
    let mut files = vec![
        ("README.md".to_string(), markdown::readme(file, results, stored)),
        ("findings.json".to_string(), pretty_json(&results.findings)),
        ("summary.csv".to_string(), csv::summary(results)),
        ("trials.csv".to_string(), csv::trials(stored)),
    ];
    for workload in &file.suite.workloads {
        let rows: Vec<_> = results.of_workload(&workload.name).collect();
        if rows.iter().any(|row| !row.points.is_empty()) {
            let charted = quantity::ALL.iter().filter(|each| each.is_shown_in(Place::Chart));
            files.extend(charted.map(|each| {
                (
                    chart::file_name(each, &workload.name),
                    chart::bars(each, workload, &rows),
                )
            }));
        }
    }
    files
}
