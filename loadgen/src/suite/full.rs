//! Several suites in one run: which, and how far each came. Pure.

use super::matrix::SuiteFile;
use serde::{Deserialize, Serialize};

/// What is stored beside the folders of the suites.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FullFile {
    pub schema_version: String,
    /// The machine's label.
    pub label: String,
    /// Wall-clock time at the start, RFC 3339, UTC.
    pub started_at: String,
    /// loadgen's command line.
    pub command: Vec<String>,
    /// Names of the suites, which are those of their folders, in the order in which they run.
    pub suites: Vec<String>,
}

/// Whether a suite came to its end, so that nothing of it is left to do.
#[must_use]
pub fn is_done(file: &SuiteFile) -> bool {
    matches!(file.ended.as_deref(), Some("rounds" | "budget" | "precision"))
}
