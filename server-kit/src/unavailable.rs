//! The one failure that is this system's and not the server's: what the backend is built on cannot be had here.

use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::process::ExitCode;

/// EX_UNAVAILABLE of sysexits.h.
const EXIT_CODE: u8 = 69;

/// Why this system cannot run this backend; as the payload of an [`io::Error`] it ends the server with exit code 69.
#[derive(Debug)]
pub struct Unavailable(String);

impl Unavailable {
    /// `why` names what was denied or is missing, and the way out.
    #[must_use]
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl Display for Unavailable {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Error for Unavailable {}

impl From<Unavailable> for io::Error {
    fn from(unavailable: Unavailable) -> Self {
        Self::new(io::ErrorKind::Unsupported, unavailable)
    }
}

/// What a server that failed with this error exits with.
pub(crate) fn exit_code(error: &io::Error) -> ExitCode {
    if error.get_ref().is_some_and(|payload| payload.is::<Unavailable>()) {
        ExitCode::from(EXIT_CODE)
    } else {
        ExitCode::FAILURE
    }
}
