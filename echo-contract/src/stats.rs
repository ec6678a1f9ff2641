//! STATS: the last stdout line of a server, printed on exit.

use serde::{Deserialize, Serialize};

/// What the server did in its whole life, all its processes and threads together.
///
/// One JSON object on one line: `{"event":"stats","accepted":...}`. After a clean stop
/// `bytes_in = bytes_out + bytes_unsent`, and `bytes_unsent` is 0 unless a client went away while it was owed bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename = "stats")]
pub struct Stats {
    /// Connections taken from the listener and served.
    pub accepted: u64,
    /// Served connections that ended.
    pub closed: u64,
    /// Connections taken and closed at once: over `--max-connections`, or no process or thread could be had.
    pub refused: u64,
    /// Failed accept calls, of whatever kind.
    pub accept_errors: u64,
    /// Bytes read to be echoed.
    pub bytes_in: u64,
    /// Bytes echoed.
    pub bytes_out: u64,
    /// Bytes read to be echoed whose client went away first.
    pub bytes_unsent: u64,
    /// Bytes read and dropped after the server had said FIN.
    pub bytes_discarded: u64,
    /// Lines for stderr that could not be written at once, and of which no later line tells.
    #[serde(default)]
    pub notices_lost: u64,
    /// Memory that the buffers of its pools took at its end, for they only grow, in bytes; absent in a server that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffers_bytes: Option<u64>,
}

impl Stats {
    /// The line without its newline.
    ///
    /// # Panics
    /// Never in practice: the struct holds nothing that JSON cannot express.
    #[must_use]
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("a STATS line is plain data")
    }

    /// Reads a line.
    ///
    /// # Errors
    /// When the line is not a STATS line.
    pub fn from_line(line: &str) -> Result<Self, serde_json::Error> {
        // A tagged struct writes its tag but does not look at it when read; a tagged enum does.
        #[derive(Deserialize)]
        #[serde(tag = "event", rename_all = "lowercase")]
        enum Line {
            Stats(Stats),
        }
        serde_json::from_str(line).map(|Line::Stats(stats)| stats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stats_line_survives_the_round_trip() {
        let stats = Stats {
            accepted: 7,
            closed: 6,
            refused: 2,
            accept_errors: 1,
            bytes_in: u64::MAX,
            bytes_out: 3,
            bytes_unsent: 1,
            bytes_discarded: 9,
            notices_lost: 4,
            buffers_bytes: Some(262_144),
        };
        let line = stats.to_line();
        assert!(line.starts_with(r#"{"event":"stats","accepted":7,"#), "{line}");
        assert_eq!(Stats::from_line(&line).unwrap(), stats);
    }

    #[test]
    fn a_ready_line_is_not_a_stats_line() {
        assert!(Stats::from_line(r#"{"event":"ready","target":"fork"}"#).is_err());
        let line = Stats::default().to_line();
        assert!(Stats::from_line(&line.replace(r#""event":"stats""#, r#""event":"ready""#)).is_err());
    }
}
