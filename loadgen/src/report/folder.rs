//! The files of a suite's folder that are made from its records.

use crate::measurement::store::{Stored, pretty_json};
use crate::report::chart::{self, Hues};
use crate::report::svg::Picture;
use crate::report::{csv, html, markdown};
use crate::suite::matrix::SuiteFile;
use crate::suite::results::Results;

/// Name and text of each file: README.md, report.html, findings.json, summary.csv, trials.csv and every chart.
#[must_use]
pub fn files(file: &SuiteFile, results: &Results, stored: &[Stored]) -> Vec<(String, String)> {
    let charts = Charts::of(file, results, stored);
    let mut files = vec![
        ("README.md".to_string(), markdown::readme(file, results, stored)),
        ("report.html".to_string(), html::suite(file, results, stored, &charts)),
        ("findings.json".to_string(), pretty_json(&results.findings)),
        ("summary.csv".to_string(), csv::summary(results)),
        ("trials.csv".to_string(), csv::trials(stored)),
    ];
    files.extend(
        charts
            .all()
            .map(|picture| (format!("{}.svg", picture.name), picture.file())),
    );
    files
}

/// Every chart of a folder, drawn once.
pub struct Charts {
    /// In the order of the suite's workloads, those that are no load left out.
    pub of_workloads: Vec<Vec<Picture>>,
    pub over_workloads: Vec<Picture>,
    pub of_run: Vec<Picture>,
}

impl Charts {
    #[must_use]
    pub fn of(file: &SuiteFile, results: &Results, stored: &[Stored]) -> Self {
        let hues = Hues::of(results);
        let workloads = file.suite.loads();
        Self {
            of_workloads: workloads
                .map(|workload| chart::of_workload(results, workload, &hues))
                .collect(),
            over_workloads: chart::over_workloads(file, results, &hues),
            of_run: chart::of_run(file, results, stored),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Picture> {
        let of_workloads = self.of_workloads.iter().flatten();
        of_workloads.chain(&self.over_workloads).chain(&self.of_run)
    }
}
