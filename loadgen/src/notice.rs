//! What is told beside the result.

use std::fmt::Display;
use std::io::{self, Write as _};

/// A line on stderr. A reader that has gone away is no fault: what is measured must not be lost over it.
pub fn notice(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
