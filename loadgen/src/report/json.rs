//! One record as JSON, and the schema of records.

use crate::failure::Failure;
use crate::measurement::store::pretty_json;
use crate::record::{Measurement, SCHEMA_VERSION};

/// The record, indented, with a newline at the end.
#[must_use]
pub fn record(trial: &Measurement) -> String {
    pretty_json(trial)
}

/// What stands in the place of a record where there is none: neither complete nor valid, and why.
#[must_use]
pub fn failure(failure: &Failure) -> String {
    #[derive(serde::Serialize)]
    struct NoRecord<'a> {
        schema_version: &'static str,
        complete: bool,
        valid: bool,
        error: &'a str,
        exit_code: u8,
    }
    pretty_json(&NoRecord {
        schema_version: SCHEMA_VERSION,
        complete: false,
        valid: false,
        error: &failure.text,
        exit_code: failure.exit as u8,
    })
}

/// JSON Schema of a record; `loadgen/schema/record.schema.json` is this text.
#[must_use]
pub fn schema() -> String {
    pretty_json(&schemars::schema_for!(Measurement))
}
