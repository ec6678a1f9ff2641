//! The fault matrix as it is stored: what came of each row on each target.

use serde::{Deserialize, Serialize};

/// Version of [`FaultMatrix`].
pub const FAULTS_VERSION: &str = "1.0.0";

/// What `loadgen verify --faults` made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultMatrix {
    /// Always `fault matrix`, which tells this file from a record.
    pub kind: String,
    pub schema_version: String,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// The kind of machine, e.g. `2cpu-linux-6.18`.
    pub label: String,
    /// Which numbers: `short` or `long`.
    pub form: String,
    /// `private` (each row in a network of its own) or `host`.
    pub network: String,
    /// Why it is the host's network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_note: Option<String>,
    /// False when it was interrupted: rows are missing.
    pub complete: bool,
    pub targets: Vec<FaultedTarget>,
}

impl FaultMatrix {
    /// What [`FaultMatrix::kind`] says.
    pub const KIND: &str = "fault matrix";

    /// All rows of all targets.
    pub fn rows(&self) -> impl Iterator<Item = &FaultRow> {
        self.targets.iter().flat_map(|target| &target.rows)
    }
}

/// The rows of one target, in the order in which they were made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultedTarget {
    pub target: String,
    pub rows: Vec<FaultRow>,
}

/// What came of one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultRow {
    /// Number of the row.
    pub row: u8,
    pub title: String,
    pub result: RowResult,
    /// Why it failed, was expected to, or was not tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What was measured, a phrase each.
    pub figures: Vec<String>,
    /// Starting the servers included, in seconds.
    pub took_s: f64,
}

/// The result of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowResult {
    Passed,
    Failed,
    /// Failed, and the target's row of the catalog says why.
    ExpectedFailure,
    /// Could not be made here, wholly or in part: never a pass.
    NotTested,
}

impl RowResult {
    /// In a table of rows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::ExpectedFailure => "expected to fail",
            Self::NotTested => "NOT TESTED",
        }
    }

    /// In the matrix, where there is little room.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Failed => "FAIL",
            Self::ExpectedFailure => "known",
            Self::NotTested => "n/t",
        }
    }
}
