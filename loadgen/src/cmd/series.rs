//! `--series FILE`: a line for each window of the measured phase, written while the run goes on.

use crate::cmd::arguments::RunArgs;
use crate::engine::LONGEST_SERIES;
use crate::failure::Failure;
use crate::measurement::lines::LineFile;
use crate::record::WINDOW;
use crate::record::{Plan, Workload};
use crate::recorder::window::TimedWindow;
use crate::report::series::Format;
use std::sync::Once;
use std::time::Duration;

/// What a line takes at most, to be sure of room before measuring.
const BYTES_OF_A_LINE: u64 = 400;

/// The file and how its lines are written.
pub(super) struct Series {
    flag: String,
    format: Format,
    file: LineFile,
    begun: Once,
}

impl Series {
    /// Finds out before anything is measured whether the file can be written; none where it was not asked for.
    ///
    /// # Errors
    /// With the flag and its value.
    pub(super) fn prepare(args: &RunArgs, plan: &Plan) -> Result<Option<Self>, Failure> {
        let Some(path) = &args.series else { return Ok(None) };
        let flag = format!("--series {}", path.display());
        let named = |failure: Failure| Failure::new(failure.exit, format!("{flag}: {}", failure.text));
        let windows = windows(&plan.workload).map_err(named)?;
        let others = [
            ("--output", &args.output.output),
            ("--histogram", &args.output.histogram),
        ];
        if let Some((other, _)) = others.into_iter().find(|(_, other)| other.as_ref() == Some(path)) {
            return Err(Failure::usage(format!(
                "{flag}: {other} writes to this file too: name another one"
            )));
        }
        let format = Format::of(path).expect("the command line was checked");
        let file = LineFile::prepare(path, windows * BYTES_OF_A_LINE).map_err(named)?;
        Ok(Some(Self {
            flag,
            format,
            file,
            begun: Once::new(),
        }))
    }

    /// Empties the file: what it held stays until there is something to put in its place.
    fn begin(&self) {
        self.begun.call_once(|| self.file.begin(&self.format.head()));
    }

    pub(super) fn write(&self, window: &TimedWindow) {
        self.begin();
        self.file.write(&self.format.line(window));
    }

    /// Whether all lines could be written.
    ///
    /// # Errors
    /// With the flag and its value.
    pub(super) fn end(&self) -> Result<(), Failure> {
        self.begin();
        let named = |failure: Failure| Failure::new(failure.exit, format!("{}: {}", self.flag, failure.text));
        self.file.end().map_err(named)
    }
}

/// How many windows there will be.
fn windows(workload: &Workload) -> Result<u64, Failure> {
    let Some(duration) = workload.duration() else {
        return Err(Failure::usage(
            "a job of --messages or --total-messages has no windows: give a --duration instead",
        ));
    };
    if duration > LONGEST_SERIES {
        return Err(Failure::usage(format!(
            "windows are kept for {} at most: give a shorter --duration than {}",
            humantime::format_duration(LONGEST_SERIES),
            humantime::format_duration(Duration::from_secs(duration.as_secs()))
        )));
    }
    // And one for what ends after the phase.
    let windows = duration.as_nanos().div_ceil(WINDOW.as_nanos()) + 1;
    Ok(u64::try_from(windows).unwrap_or(u64::MAX))
}
