//! Why a trial did not run to its end. A record stores the sentence that people read; code asks for the kind.

use serde::{Deserialize, Serialize};
use std::fmt::{self, Display};

const INTERRUPTED: &str = "stopped by a signal";
const SERVER_DIED: &str = "the server died";
const FELL_SILENT: &str = "the server fell silent";
const START_MISSED: &str = "--start-at was missed";

/// Why not. All but the first hold their whole sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Incomplete {
    /// The user stopped it.
    Interrupted,
    ServerDied(String),
    /// The server answered nobody for `--timeout`, with messages outstanding.
    FellSilent(String),
    /// The common start of several generators had passed when the clients were connected.
    StartMissed(String),
    /// Anything else: the trial could not begin, or the record is a merged one.
    Other(String),
}

impl Incomplete {
    /// The server ended; `how` is empty where that is not known.
    #[must_use]
    pub fn server_died(how: &str) -> Self {
        Self::ServerDied(if how.is_empty() {
            SERVER_DIED.to_string()
        } else {
            format!("{SERVER_DIED}: {how}")
        })
    }

    /// Nothing was echoed for `silence_s` seconds; the last echo came `last_s` seconds after the first connect(), if there
    /// was one.
    #[must_use]
    pub fn fell_silent(silence_s: f64, last_s: Option<f64>) -> Self {
        let last = last_s.map_or("there never was one".to_string(), |last_s| {
            format!("the last one came {last_s:.1} s after the first connect()")
        });
        Self::FellSilent(format!("{FELL_SILENT}: no echo for {silence_s:.1} s, {last}"))
    }

    /// The start was missed by so many seconds.
    #[must_use]
    pub fn start_missed(late_s: f64) -> Self {
        Self::StartMissed(format!(
            "{START_MISSED} by {late_s:.1} s: the clients were connected too late for the warm-up before it; give a later time"
        ))
    }

    /// The sentence, without a full stop.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Interrupted => INTERRUPTED,
            Self::ServerDied(text) | Self::FellSilent(text) | Self::StartMissed(text) | Self::Other(text) => text,
        }
    }
}

impl Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<String> for Incomplete {
    fn from(text: String) -> Self {
        if text == INTERRUPTED {
            Self::Interrupted
        } else if text.starts_with(SERVER_DIED) {
            Self::ServerDied(text)
        } else if text.starts_with(FELL_SILENT) {
            Self::FellSilent(text)
        } else if text.contains(START_MISSED) {
            // Also of a merged record, which names the generator first.
            Self::StartMissed(text)
        } else {
            Self::Other(text)
        }
    }
}

impl From<&str> for Incomplete {
    fn from(text: &str) -> Self {
        text.to_string().into()
    }
}

impl From<Incomplete> for String {
    fn from(why: Incomplete) -> Self {
        why.as_str().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    #[test]
    fn every_kind_comes_back_from_its_sentence() {
        for why in [
            Incomplete::Interrupted,
            Incomplete::server_died(""),
            Incomplete::server_died("killed by signal 9"),
            Incomplete::fell_silent(10.4, Some(3.0)),
            Incomplete::fell_silent(10.4, None),
            Incomplete::start_missed(0.5),
            Incomplete::Other("no such target".into()),
        ] {
            assert_eq!(Incomplete::from(String::from(why.clone())), why);
        }
        assert_eq!(Incomplete::from(Failure::interrupted().text), Incomplete::Interrupted);
    }
}
