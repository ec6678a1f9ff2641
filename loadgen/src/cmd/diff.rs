//! `loadgen diff A B`: what became of each target between two comparisons.

use super::arguments::OutputFormat;
use super::compare::{precision, print};
use super::progress::compare as progress;
use crate::failure::{Exit, Failure};
use crate::report::diff as report;
use crate::report::reproduced::Heading;
use crate::suite::alike::{self, Side};
use crate::suite::diff::Diff;
use crate::suite::results::{check_one_mode, check_one_network};
use crate::text::percent;
use std::io::Write;
use std::path::PathBuf;

/// What was typed.
#[derive(Clone, Debug, clap::Args)]
pub struct DiffArgs {
    /// The comparison of before: a folder that `loadgen compare` made, such as a published one in results/
    #[arg(value_name = "BEFORE")]
    pub before: PathBuf,

    /// The comparison of now
    #[arg(value_name = "NOW")]
    pub now: PathBuf,

    /// Exit with code 8 when a target answers fewer messages per CPU second than before by more than this beyond doubt
    #[arg(long, value_name = "PERCENT", value_parser = precision)]
    pub fail_on_regression: Option<f64>,

    /// How it is printed
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub output_format: OutputFormat,
}

/// Prints what became of each target to `out`.
///
/// # Errors
/// Usage where the two may not be compared, and where `--fail-on-regression` has nothing that it could judge;
/// [`Exit::Slower`] where it found something.
pub fn run(args: &DiffArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let (file_before, before) = super::open_suite(&args.before)?;
    let (file_now, now) = super::open_suite(&args.now)?;
    for (file, store) in [(&file_before, &before), (&file_now, &now)] {
        check_one_mode(&file.suite, store.records())?;
        check_one_network(store.records())?;
    }
    let names = [&args.before, &args.now].map(|folder| folder.display().to_string());
    let side = |name, suite, stored| Side { name, suite, stored };
    let then = side(&names[0], &file_before.suite, before.records());
    let here = side(&names[1], &file_now.suite, now.records());
    alike::check(&then, &here).map_err(Failure::usage)?;
    alike::check_machine(&then, &here).map_err(Failure::usage)?;
    let found = Diff::of(&then, &here);
    let heading = Heading {
        first: &names[0],
        second: &names[1],
        remarks: alike::remarks(&then, &here),
    };
    let text = match args.output_format {
        OutputFormat::Text => report::text(&heading, &found, args.fail_on_regression, progress::width()),
        OutputFormat::Json => report::json(&heading, &found),
        OutputFormat::Csv => report::csv(&found),
    };
    print(out, &text);
    match args.fail_on_regression {
        Some(allowed) => check_regression(&found, allowed),
        None => Ok(()),
    }
}

fn check_regression(found: &Diff, allowed: f64) -> Result<(), Failure> {
    if found.capacity_changes().next().is_none() {
        let why = match found.references.is_empty() {
            true => {
                "no target has the same binary in both, so a change of a server cannot be told from one of the machine"
            }
            false => "no target has five rounds that stand in both",
        };
        return Err(Failure::usage(format!(
            "--fail-on-regression: nothing can be judged: {why}. `loadgen compare` with two `--server` flags judges two builds \
             in one comparison"
        )));
    }
    let slower = found.slower_than(allowed);
    if slower.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Slower,
        format!(
            "--fail-on-regression: slower than before by more than {}: {}",
            percent(allowed * 100.0),
            slower.join(", ")
        ),
    ))
}
