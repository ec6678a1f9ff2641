//! Where the record of a run, or of several merged, goes: a file, stdout, histograms, an exit code.

use crate::cmd::arguments::{OutputArgs, OutputFormat};
use crate::failure::{Exit, Failure};
use crate::measurement::destination::Destination;
use crate::measurement::{half_written, store};
use crate::notice::notice;
use crate::record::{Incomplete, Measurement};
use crate::report::{self, hdr};
use crate::validity::invariants;
use std::ffi::OsStr;
use std::io::Write as _;
use std::path::Path;

/// Room that a record with its histograms may take.
const BYTES_OF_A_RECORD: u64 = 1 << 20;

/// What was asked for, its places found writable.
pub(super) struct Output<'a> {
    args: &'a OutputArgs,
    record: Option<Destination>,
    histogram: Option<Destination>,
}

impl<'a> Output<'a> {
    /// Finds out whether the places that the flags name can be written: before anything is measured.
    ///
    /// # Errors
    /// With the flag and its value where one cannot.
    pub(super) fn prepare(args: &'a OutputArgs) -> Result<Self, Failure> {
        Ok(Self {
            args,
            record: prepare("--output", args.output.as_deref())?,
            histogram: prepare("--histogram", args.histogram.as_deref())?,
        })
    }

    /// Tells and writes everything, and says what scripts should hear. The histograms are written also where the record
    /// could not be.
    /// What cannot be written after all is said on stderr, and is the exit code.
    pub(super) fn tell(self, measurement: &Measurement) -> Option<Exit> {
        let args = self.args;
        let format = format_of(args.output_format, args.output.as_deref());
        // Whoever reads stdout may take a long time over it.
        let saved = save_histogram(self.histogram, args.histogram.as_deref(), measurement);
        let told = tell_record(self.record, format, args.latency, measurement);
        match saved.and(told) {
            Ok(()) => exit_code(args.require_valid, measurement),
            Err(failure) => {
                notice(format_args!("error: {failure}"));
                Some(failure.exit)
            }
        }
    }

    /// Removes what a loadgen that was killed has left half-written where this one will write; how many files that were.
    pub(super) fn remove_half_written(&self) -> usize {
        let files = [&self.args.output, &self.args.histogram];
        let mut folders: Vec<&Path> = files.into_iter().flatten().map(|file| store::folder_of(file)).collect();
        folders.dedup();
        folders.into_iter().map(half_written::remove_half_written).sum()
    }
}

/// What scripts hear: the gravest thing that happened.
fn exit_code(require_valid: bool, measurement: &Measurement) -> Option<Exit> {
    if invariants::is_violated(measurement) {
        // The numbers stand in the verdict, and in the record.
        return Some(Exit::Fault);
    }
    let counts = &measurement.counts;
    let wrong_bytes = measurement.reasons.iter().any(|reason| reason.gate == "payload");
    match &measurement.incomplete_reason {
        Some(Incomplete::Interrupted) => Some(Exit::Interrupted),
        Some(Incomplete::StartMissed(_)) => Some(Exit::Usage),
        Some(_) => Some(Exit::ServerDied),
        None if counts.corrupted + counts.truncated > 0 || wrong_bytes => Some(Exit::Corrupted),
        None if require_valid && !measurement.valid => Some(Exit::Invalid),
        None => None,
    }
}

/// Finds out whether the place that a flag names can be written.
fn prepare(flag: &str, path: Option<&Path>) -> Result<Option<Destination>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let prepared = Destination::prepare(path, BYTES_OF_A_RECORD);
    prepared
        .map(Some)
        .map_err(|failure| Failure::unwritable(format!("{flag} {}: {}", path.display(), failure.text)))
}

/// What was asked for, else what the file's name says: `.csv` and `.txt`, JSON by any other name, text without a file.
fn format_of(asked: Option<OutputFormat>, path: Option<&Path>) -> OutputFormat {
    asked.unwrap_or_else(|| match path.map(|path| path.extension().and_then(OsStr::to_str)) {
        Some(Some("csv")) => OutputFormat::Csv,
        None | Some(Some("txt")) => OutputFormat::Text,
        Some(_) => OutputFormat::Json,
    })
}

/// The record goes where it was asked for, the summary to stdout, or to stderr where the record is on stdout. A record
/// that cannot be written after all is printed: it must not be lost.
fn tell_record(
    output: Option<Destination>,
    format: OutputFormat,
    spectrum: bool,
    measurement: &Measurement,
) -> Result<(), Failure> {
    let record = render(format, measurement, spectrum);
    let Some(output) = output else {
        return print(&record);
    };
    if output.is_stdout() {
        notice(text(measurement, spectrum).trim_end());
        return output.write(&record);
    }
    match output.write(&record) {
        Ok(()) => print(&text(measurement, spectrum)),
        Err(unwritable) => {
            notice(text(measurement, spectrum).trim_end());
            print(&record)?;
            Err(unwritable)
        }
    }
}

/// Writes the histograms in the format of the file's name.
fn save_histogram(to: Option<Destination>, path: Option<&Path>, measurement: &Measurement) -> Result<(), Failure> {
    let Some((to, path)) = to.zip(path) else {
        return Ok(());
    };
    let format = hdr::Format::of(path).expect("the command line was checked");
    to.write(&hdr::text(format, measurement).map_err(Failure::fault)?)
}

/// The summary, with the whole spectrum of latencies where it is asked for.
fn text(measurement: &Measurement, spectrum: bool) -> String {
    let mut text = report::terminal::summary(measurement);
    if spectrum {
        text.push_str(&report::spectrum::spectrum(measurement));
    }
    text
}

/// The measurement in this format.
fn render(format: OutputFormat, measurement: &Measurement, spectrum: bool) -> String {
    match format {
        OutputFormat::Text => text(measurement, spectrum),
        OutputFormat::Json => report::json::record(measurement),
        OutputFormat::Csv => report::csv::record(measurement),
    }
}

/// Prints to stdout. A reader that has gone (`| head`) is a quiet end, not a failure.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::unwritable(format!("printing to stdout: {error}")))
        }
        _ => Ok(()),
    }
}
