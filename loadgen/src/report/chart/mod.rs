//! The charts of a comparison: which there are, and the one colour of each model. Every chart is a list of rows on one axis
//! ([`rows`]) or lines over a common one ([`crate::report::curve`]).

mod bars;
mod distance;
mod forest;
mod levels;
mod over;
mod room;
mod rows;
mod series;
mod spectrum;

use crate::measurement::store::{Stored, file_name};
use crate::quantity::{self, MESSAGES_PER_S, Place, Quantity};
use crate::record::Workload;
use crate::report::svg::{Hue, Picture};
use crate::report::varied::{self, Varied};
use crate::suite::findings::Table;
use crate::suite::matrix::SuiteFile;
use crate::suite::results::{Results, Row};
use std::collections::BTreeMap;

/// The colour of each target.
pub struct Hues(BTreeMap<String, Hue>);

impl Hues {
    #[must_use]
    pub fn of(results: &Results) -> Self {
        // Tables of findings have the plain name, rows may say `(external)` or `(again)`.
        let names = |row: &Row| [row.target.clone(), row.name.clone()];
        let hues = |row: &Row| names(row).map(|name| (name, Hue::of(row.model.as_deref())));
        Self(results.rows.iter().flat_map(hues).collect())
    }

    #[must_use]
    pub fn target(&self, name: &str) -> Hue {
        self.0.get(name).copied().unwrap_or(Hue::Other)
    }
}

/// All charts of one workload, the most telling first.
#[must_use]
pub fn of_workload(results: &Results, workload: &Workload, hues: &Hues) -> Vec<Picture> {
    let rows: Vec<&Row> = results.of_workload(&workload.name).collect();
    if rows.iter().all(|row| row.points.is_empty()) {
        return Vec::new();
    }
    let tables = || {
        let all = results.findings.tables.iter();
        all.filter(|table| table.workload == workload.name)
    };
    let mut pictures: Vec<Picture> = tables()
        .filter_map(|table| levels::picture(table, workload, hues))
        .collect();
    pictures.extend(
        tables()
            .take(1)
            .filter_map(|table| forest::picture(table, workload, hues)),
    );
    let charted = quantity::ALL.iter().filter(|each| each.is_shown_in(Place::Chart));
    pictures.extend(charted.map(|each| bars::picture(each, workload, &rows)));
    pictures.extend(spectrum::picture(workload, &rows));
    pictures
}

/// Charts over clients, connections and offered load, of suites that vary them.
#[must_use]
pub fn over_workloads(file: &SuiteFile, results: &Results, hues: &Hues) -> Vec<Picture> {
    let all = varied::all(file, results);
    all.iter().flat_map(|varied| of_varied(file, varied, hues)).collect()
}

/// The charts over one thing that a suite varies.
#[must_use]
pub fn of_varied(file: &SuiteFile, varied: &Varied<'_>, hues: &Hues) -> Vec<Picture> {
    over::pictures(file, varied, hues)
}

/// Charts of the run as a whole: how far the CPUs were apart, and one trial over time.
#[must_use]
pub fn of_run(file: &SuiteFile, results: &Results, stored: &[Stored]) -> Vec<Picture> {
    let distance = distance::picture(file, &results.findings, stored);
    distance.into_iter().chain(series::picture(results, stored)).collect()
}

/// The chart of messages per second as an image in Markdown.
#[must_use]
pub fn rate_image(workload: &str) -> String {
    format!(
        "![messages per second, {workload}]({}.svg)",
        name_of(&MESSAGES_PER_S, workload)
    )
}

/// The chart of what is judged first under a workload as an image in Markdown; none where no target has a level. `folder` is the
/// way to the files, with a slash behind it, or nothing in the folder itself.
#[must_use]
pub fn level_image(results: &Results, workload: &Workload, folder: &str) -> Option<String> {
    let table = first_table(results, workload).filter(|table| has_level(table))?;
    Some(format!(
        "![{} of every target, {}]({folder}{}.svg)",
        table.quantity.title(),
        workload.name,
        levels::name(table)
    ))
}

/// Whether there is anything to draw of it.
fn has_level(table: &Table) -> bool {
    table.targets.iter().any(|target| target.level.is_some())
}

/// What is judged first under a workload.
#[must_use]
pub fn first_table<'a>(results: &'a Results, workload: &Workload) -> Option<&'a Table> {
    let mut tables = results.findings.tables.iter();
    tables.find(|table| table.workload == workload.name)
}

/// `messages per second`: in full where the columns are short.
#[must_use]
pub fn title(quantity: &Quantity) -> String {
    if quantity.name == MESSAGES_PER_S.name {
        "messages per second".to_string()
    } else {
        quantity.title()
    }
}

fn name_of(quantity: &Quantity, workload: &str) -> String {
    format!("{}-{}", quantity.name.replace('_', "-"), file_name(workload))
}
