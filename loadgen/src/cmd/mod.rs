//! One verb, one file: what was typed becomes a plan, the plan a measurement, the measurement a report.

pub mod arguments;
pub mod calibrate;
pub mod compare;
pub mod connect;
pub mod diff;
pub mod leftovers;
pub mod list;
pub mod merge;
pub mod output;
pub mod progress;
pub mod publish;
pub mod report;
pub mod reproduce;
pub mod resolve;
pub mod run;
mod series;
pub mod slips;
pub mod sweep;
pub mod verify;

use crate::failure::Failure;
use crate::measurement::store::{SUITE_FILE, Store};
use crate::measurement::whole;
use crate::suite::matrix::SuiteFile;
use crate::validity::gates;
use std::path::Path;

/// Opens a suite's folder; a record that was made for another plan than the folder's is not believed.
fn open_suite(folder: &Path) -> Result<(SuiteFile, Store), Failure> {
    if whole::is_one(folder) {
        return Err(Failure::usage(format!(
            "{0} holds several suites: name the folder of one, e.g. {0}/default",
            folder.display()
        )));
    }
    let mut store = Store::open(folder)?;
    let file: SuiteFile = store.read_json(SUITE_FILE)?;
    let plan_hash = file.suite.plan_hash();
    store.judge_again(|measurement| gates::judge_plan(measurement, &plan_hash));
    Ok((file, store))
}
