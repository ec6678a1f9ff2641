//! How a run may end badly, and the exit code of each. One function prints and exits: `main`.

/// A failure that ends the program: what to say and which code to exit with.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    pub exit: Exit,
    /// One paragraph: what was asked, what was found, what to do about it.
    pub text: String,
}

/// Exit codes; scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A fault of loadgen.
    Fault = 1,
    /// The command line or a workload file is wrong, or this machine's limits cannot carry what it asks for.
    Usage = 2,
    /// The target cannot be reached or started.
    Unreachable = 3,
    /// An echo came back corrupted or truncated.
    Corrupted = 4,
    /// The server died during the run; what was measured is kept.
    ServerDied = 5,
    /// Results cannot be written.
    Unwritable = 6,
    /// The measurement is invalid and `--require-valid` was given.
    Invalid = 7,
    /// The second of two servers is slower than `--fail-on-regression` allows.
    Slower = 8,
    /// Stopped by SIGINT, SIGTERM or SIGHUP; the report is written.
    Interrupted = 130,
}

impl Failure {
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self {
            exit,
            text: text.into(),
        }
    }

    pub fn fault(text: impl Into<String>) -> Self {
        Self::new(Exit::Fault, text)
    }

    pub fn usage(text: impl Into<String>) -> Self {
        Self::new(Exit::Usage, text)
    }

    pub fn unreachable(text: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, text)
    }

    /// The user stopped it; in the words of a record that was cut short.
    #[must_use]
    pub fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "stopped by a signal")
    }

    pub fn unwritable(text: impl Into<String>) -> Self {
        Self::new(Exit::Unwritable, text)
    }
}
