//! One record as JSON, and the schema of records.

use crate::measurement::store::pretty_json;
use crate::record::Measurement;

/// The record, indented, with a newline at the end.
#[must_use]
pub fn record(trial: &Measurement) -> String {
    pretty_json(trial)
}

/// JSON Schema of a record; `loadgen/schema/record.schema.json` is this text.
#[must_use]
pub fn schema() -> String {
    pretty_json(&schemars::schema_for!(Measurement))
}
