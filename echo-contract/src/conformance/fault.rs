//! How a check ends before its last line, and waits that always end.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Why a check did not pass.
#[derive(Debug)]
pub(super) enum Fault {
    /// What was seen and what was expected.
    Failed(String),
    /// Why it could not be made.
    NotChecked(String),
}

/// What a check returns: a figure worth telling, or nothing more than that it passed.
pub(super) type Verdict = Result<Option<String>, Fault>;

/// For checks with no figure to tell.
pub(super) const PASSED: Verdict = Ok(None);

pub(super) fn failed(text: impl Into<String>) -> Fault {
    Fault::Failed(text.into())
}

impl Fault {
    /// Says in which situation it was seen.
    pub(super) fn when(self, situation: &str) -> Self {
        match self {
            Self::Failed(text) => Self::Failed(format!("{situation}: {text}")),
            other => other,
        }
    }
}

/// What lent means cannot do, the server is not blamed for.
impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::NotChecked(error.to_string())
    }
}

/// The system, not the server, stood in the way.
pub(super) fn not_told(error: impl Display) -> Fault {
    Fault::NotChecked(format!("the system does not tell: {error}"))
}

/// Fails with `text` unless the claim holds.
pub(super) fn ensure(claim: bool, text: impl FnOnce() -> String) -> Result<(), Fault> {
    if claim { Ok(()) } else { Err(failed(text())) }
}

/// A moment after which waiting ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    end: Instant,
}

impl Deadline {
    pub(super) fn after(limit: Duration) -> Self {
        Self {
            end: Instant::now() + limit,
        }
    }

    /// What is left; none when nothing is.
    pub(super) fn remaining(self) -> Option<Duration> {
        self.end
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
    }
}

/// Pause between two looks at a condition that nothing announces.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Looks until the condition holds; how long that took, or none when `limit` ran out first.
pub(super) fn until(
    limit: Duration,
    mut condition: impl FnMut() -> Result<bool, Fault>,
) -> Result<Option<Duration>, Fault> {
    let start = Instant::now();
    let deadline = Deadline::after(limit);
    loop {
        if condition()? {
            return Ok(Some(start.elapsed()));
        }
        if deadline.remaining().is_none() {
            return Ok(None);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}
