//! The committed JSON Schema is the one of the code.

use crate::golden::expect;
use loadgen::report::json;
use std::path::Path;

#[test]
fn the_committed_schema_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/record.schema.json");
    expect(&path, &json::schema());
}
