//! `loadgen report DIR`: a comparison's README.md, tables and charts again from its records.

use super::compare::write_index;
use super::progress::compare as progress;
use crate::failure::Failure;
use crate::measurement::store::{SWEEP_FILE, Store};
use crate::measurement::whole;
use crate::report::{self, folder, screen, terminal};
use crate::suite::full::FullFile;
use crate::suite::results::{Results, check_one_mode, check_one_network};
use crate::suite::sweep::SweepFile;
use std::io::Write;
use std::path::PathBuf;

/// What was typed.
#[derive(Clone, Debug, clap::Args)]
pub struct ReportArgs {
    /// A folder that `loadgen compare` or `loadgen sweep` made
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,

    /// Print every table, not only the findings
    #[arg(long)]
    pub full: bool,
}

/// Writes the reports of the folder and prints its tables to `out`.
///
/// # Errors
/// When the folder cannot be read, or not be written.
pub fn run(args: &ReportArgs, out: &mut dyn Write) -> Result<(), Failure> {
    if args.folder.join(SWEEP_FILE).is_file() {
        return sweep(args, out);
    }
    if whole::is_one(&args.folder) {
        return full(args, out);
    }
    let (file, store) = super::open_suite(&args.folder)?;
    check_one_mode(&file.suite, store.records())?;
    check_one_network(store.records())?;
    let results = Results::of(&file.suite, store.records());
    let text = match args.full {
        true => terminal::suite(&file, &results, progress::width()),
        false => screen::screen(&file, &results, progress::width()) + &screen::where_the_rest_is(&args.folder),
    };
    // A closed stdout (`| head`) is a quiet end.
    let _ = out.write_all(text.as_bytes());
    for (name, text) in folder::files(&file, &results, store.records()) {
        store.write_again(&name, &text)?;
    }
    Ok(())
}

/// The same for each suite of a folder that holds several.
fn full(args: &ReportArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let full: FullFile = whole::open(&args.folder)?;
    for name in &full.suites {
        let of_suite = ReportArgs {
            folder: args.folder.join(name),
            full: args.full,
        };
        let _ = writeln!(out, "suite {name}");
        run(&of_suite, out)?;
        let _ = writeln!(out);
    }
    write_index(&args.folder)
}

/// The same for a sweep's folder.
fn sweep(args: &ReportArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let store = Store::open_sweep(&args.folder)?;
    let file: SweepFile = store.read_json(SWEEP_FILE)?;
    check_one_network(store.records())?;
    let _ = out.write_all(report::sweep::text(&file, store.records(), progress::width()).as_bytes());
    for (name, text) in report::sweep::files(&file, store.records()) {
        store.write_again(&name, &text)?;
    }
    Ok(())
}
