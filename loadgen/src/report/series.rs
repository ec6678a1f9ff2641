//! The windows of a run as lines, for `--series`: JSON (an object a line) or CSV, whole after every line.

use crate::recorder::outcome::Kind;
use crate::recorder::window::TimedWindow;
use crate::units::{ns_to_s, per_second};
use serde::Serialize;
use std::ffi::OsStr;
use std::path::Path;
use std::time::SystemTime;

/// How the lines are written, by the file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON object for each window.
    Ndjson,
    /// The names of the columns, then a line for each window; a figure that could not be had is left empty.
    Csv,
}

impl Format {
    /// None where the name ends in neither `.ndjson` nor `.csv`.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension().and_then(OsStr::to_str) {
            Some("ndjson") => Some(Self::Ndjson),
            Some("csv") => Some(Self::Csv),
            _ => None,
        }
    }

    /// What stands before the first window.
    #[must_use]
    pub fn head(self) -> String {
        match self {
            Self::Ndjson => String::new(),
            Self::Csv => format!("{HEAD}\n"),
        }
    }

    /// The line of a window, its end included.
    ///
    /// # Panics
    /// Never: a line is plain data.
    #[must_use]
    pub fn line(self, window: &TimedWindow) -> String {
        let line = Line::of(window);
        match self {
            Self::Ndjson => serde_json::to_string(&line).expect("a line is plain data") + "\n",
            Self::Csv => line.csv() + "\n",
        }
    }
}

/// The columns of a CSV file; in JSON the same names. Scripts rely on them.
const HEAD: &str = "at,from_s,length_s,sent,ok,messages_per_s,response_p50_ns,response_p99_ns,response_max_ns,errors,refused,reset,\
    timeout,closed,truncated,corrupted";

/// The fields of a line in their order.
#[derive(Serialize)]
struct Line {
    at: String,
    from_s: f64,
    length_s: Option<f64>,
    sent: u64,
    ok: u64,
    messages_per_s: Option<f64>,
    response_p50_ns: Option<u64>,
    response_p99_ns: Option<u64>,
    response_max_ns: Option<u64>,
    errors: u64,
    refused: u64,
    reset: u64,
    timeout: u64,
    closed: u64,
    truncated: u64,
    corrupted: u64,
}

impl Line {
    fn of(timed: &TimedWindow) -> Self {
        let (window, count) = (&timed.window, &timed.window.count);
        let length_s = timed.length_ns.map(ns_to_s);
        let errors = |kind: Kind| count.errors_by_kind[kind as usize];
        Self {
            at: rfc3339(timed.at),
            from_s: ns_to_s(timed.from_ns),
            length_s,
            sent: count.sent,
            ok: count.ok,
            messages_per_s: length_s
                .filter(|length_s| *length_s > 0.0)
                .map(|length_s| per_second(count.ok, length_s)),
            response_p50_ns: window.response_p50_ns,
            response_p99_ns: window.response_p99_ns,
            response_max_ns: (count.ok > 0).then_some(count.response_max_ns),
            errors: count.errors,
            refused: errors(Kind::Refused),
            reset: errors(Kind::Reset),
            timeout: errors(Kind::Timeout),
            closed: errors(Kind::Closed),
            truncated: errors(Kind::Truncated),
            corrupted: errors(Kind::Corrupted),
        }
    }

    /// No field holds a comma, a quote or a line break.
    fn csv(&self) -> String {
        let float = |figure: Option<f64>| figure.map_or_else(String::new, |figure| figure.to_string());
        let whole = |figure: Option<u64>| figure.map_or_else(String::new, |figure| figure.to_string());
        [
            self.at.clone(),
            self.from_s.to_string(),
            float(self.length_s),
            self.sent.to_string(),
            self.ok.to_string(),
            float(self.messages_per_s),
            whole(self.response_p50_ns),
            whole(self.response_p99_ns),
            whole(self.response_max_ns),
            self.errors.to_string(),
            self.refused.to_string(),
            self.reset.to_string(),
            self.timeout.to_string(),
            self.closed.to_string(),
            self.truncated.to_string(),
            self.corrupted.to_string(),
        ]
        .join(",")
    }
}

/// To the microsecond, always, so that lines sort and align.
fn rfc3339(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).map_or_else(|_| String::new(), |at| format!("{at:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_have_the_same_columns_in_the_same_order() {
        let timed = TimedWindow {
            from_ns: 0,
            length_ns: None,
            at: SystemTime::UNIX_EPOCH,
            window: crate::recorder::window::MergedWindow::default(),
        };
        let json = Format::Ndjson.line(&timed);
        let names: Vec<&str> = json
            .split('"')
            .skip(1)
            .step_by(2)
            .filter(|word| !word.contains(':'))
            .collect();
        assert_eq!(names.join(","), HEAD);
        let csv = Format::Csv.line(&timed);
        assert_eq!(csv.split(',').count(), HEAD.split(',').count());
        assert_eq!(Format::Csv.head().lines().count(), 1);
    }

    #[test]
    fn the_format_is_told_by_the_files_name() {
        let of = |name: &str| Format::of(Path::new(name));
        assert_eq!(
            [of("a.ndjson"), of("b/c.csv")],
            [Some(Format::Ndjson), Some(Format::Csv)]
        );
        assert_eq!([of("-"), of("/dev/stdout"), of("a.json"), of("csv")], [None; 4]);
    }
}
