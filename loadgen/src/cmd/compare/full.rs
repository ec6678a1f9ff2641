//! `compare --suite full`: all suites, one after another, each in a folder of its own inside one folder; and how they are gone on with.

use super::asked::{new_suite, resumed};
use super::{
    CompareArgs, Here, bytes_needed, dry_run, leftovers, measure, print, require_valid, same_place, without_path,
};
use crate::compare::runner::Trials;
use crate::failure::{Exit, Failure};
use crate::measurement::half_written::remove_half_written_below;
use crate::measurement::store::{SUITE_FILE, Store, pretty_json, write_atomically};
use crate::measurement::whole;
use crate::notice::notice;
use crate::record::SCHEMA_VERSION;
use crate::report;
use crate::suite::estimate;
use crate::suite::full::{FullFile, is_done};
use crate::suite::matrix::SuiteFile;
use crate::suite::results::{Results, check_one_mode};
use crate::suite::suites::{FULL, SUITES};
use crate::text::{counted, minutes};
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Whether all suites are wanted, or such a folder is to be gone on with.
pub(super) fn is_asked_for(args: &CompareArgs) -> bool {
    args.suite.as_deref() == Some(FULL) || args.resume.as_deref().is_some_and(whole::is_one)
}

/// Runs them, or with `--dry-run` says what it would do.
///
/// # Errors
/// As [`super::run`]. A suite that fails does not keep the next from running, an interruption and a full disk do.
pub(super) fn run(
    args: &CompareArgs,
    trials: &mut dyn Trials,
    here: &Here,
    now: jiff::Timestamp,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    if let Some(folder) = &args.resume {
        let parts = stored(args, folder, here)?;
        if args.dry_run {
            print(out, &dry_text(&parts));
            return Ok(());
        }
        leftovers::remove(|| remove_half_written_below(folder));
        return measure_all(args, folder, trials, here, out);
    }
    let parts = new(args, here, now)?;
    if args.dry_run {
        print(out, &dry_text(&parts));
        return Ok(());
    }
    if !args.quiet {
        notice(format_args!("{}", told(&parts)));
    }
    leftovers::remove(|| remove_half_written_below(&args.results));
    let first = &parts[0];
    let file = FullFile {
        schema_version: SCHEMA_VERSION.to_string(),
        label: first.label.clone(),
        started_at: first.started_at.clone(),
        command: without_path(&here.command),
        suites: parts.iter().map(|part| part.suite.name.clone()).collect(),
    };
    let bytes = parts.iter().map(|part| bytes_needed(&part.suite)).sum();
    let day = file.started_at.split('T').next().unwrap_or_default();
    let folder = whole::create(&args.results, &format!("{day}-{}-{FULL}", file.label), bytes)?;
    // All plans are there before the first trial, so that whoever goes on needs no flags.
    for part in &parts {
        let store = Store::create_inside(&folder, &part.suite.name)?;
        store.write_again(SUITE_FILE, &pretty_json(part))?;
    }
    whole::list(&folder, &file)?;
    measure_all(args, &folder, trials, here, out)
}

/// The plans of all suites.
fn new(args: &CompareArgs, here: &Here, now: jiff::Timestamp) -> Result<Vec<SuiteFile>, Failure> {
    let of = |name: &str| {
        let args = CompareArgs {
            suite: Some(name.to_string()),
            ..args.clone()
        };
        new_suite(&args, here, now)
    };
    SUITES.iter().map(|suite| of(suite.name)).collect()
}

/// The plans that the folder holds, each with the limits of this sitting.
fn stored(args: &CompareArgs, folder: &Path, here: &Here) -> Result<Vec<SuiteFile>, Failure> {
    let open = |name: &String| {
        let part = folder.join(name);
        let (file, store) = crate::cmd::open_suite(&part)?;
        same_place::check(&part, &file.suite, store.records(), here)?;
        Ok(resumed(args, file))
    };
    let full: FullFile = whole::open(folder)?;
    full.suites.iter().map(open).collect()
}

/// Runs what is left of each, and writes the list of all after each.
fn measure_all(
    args: &CompareArgs,
    folder: &Path,
    trials: &mut dyn Trials,
    here: &Here,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let parts = stored(args, folder, here)?;
    let has_new_limits = args.resume.is_some() && (args.rounds.is_some() || args.budget.is_some());
    let mut first_failure = None;
    for (place, mut file) in parts.into_iter().enumerate() {
        if is_done(&file) && !has_new_limits {
            // Its tables and its verdict were given when it ended.
            continue;
        }
        let name = file.suite.name.clone();
        if !args.quiet {
            notice(format_args!("suite {name}: {}", dry_run::takes(&file)));
        }
        let (_, store) = crate::cmd::open_suite(&folder.join(&name))?;
        check_one_mode(&file.suite, store.records())?;
        let mut store = store.probed(bytes_needed(&file.suite))?;
        print(out, &format!("{}suite {name}\n", if place > 0 { "\n" } else { "" }));
        let mut ended = measure(&mut file, &mut store, trials, args.quiet, out).map(|_| ());
        if args.require_valid {
            ended = ended.and_then(|()| require_valid(&file.suite, &store));
        }
        write_index(folder)?;
        match ended {
            Ok(()) => {}
            Err(failure) if failure.exit == Exit::Interrupted => return Err(interrupted(folder)),
            Err(failure) if failure.exit == Exit::Unwritable => return Err(failure),
            Err(failure) => {
                first_failure.get_or_insert(Failure::new(failure.exit, format!("suite {name}: {}", failure.text)));
            }
        }
    }
    write_index(folder)?;
    print(out, &format!("\nall suites: {}\n", folder.join("README.md").display()));
    first_failure.map_or(Ok(()), Err)
}

fn interrupted(folder: &Path) -> Failure {
    Failure::new(
        Exit::Interrupted,
        format!(
            "interrupted; what was measured is kept. Go on with: loadgen compare --resume {}",
            folder.display()
        ),
    )
}

/// Writes the README of the folder: each suite, how far it came, and where its tables are.
///
/// # Errors
/// When a folder cannot be read, or the file not be written.
pub(in crate::cmd) fn write_index(folder: &Path) -> Result<(), Failure> {
    let full: FullFile = whole::open(folder)?;
    let open = |name: &String| {
        let (file, store) = crate::cmd::open_suite(&folder.join(name))?;
        let results = Results::of(&file.suite, store.records());
        Ok((file, results))
    };
    let parts: Vec<(SuiteFile, Results)> = full.suites.iter().map(open).collect::<Result<_, Failure>>()?;
    write_atomically(&folder.join("README.md"), &report::full::readme(&full, &parts))
}

/// What all of it takes.
fn told(parts: &[SuiteFile]) -> String {
    let all = parts.iter().map(|part| estimate::whole(part).rounds);
    let (trials, time) = all.fold((0, Duration::ZERO), |(trials, time), rounds| {
        (trials + rounds.trials, time + rounds.time)
    });
    format!(
        "{} one after another: about {}, {}",
        counted(parts.len() as u64, "suite", "suites"),
        minutes(time),
        counted(trials, "trial", "trials")
    )
}

fn dry_text(parts: &[SuiteFile]) -> String {
    let mut text = String::new();
    for part in parts {
        let done = if is_done(part) { ", done already" } else { "" };
        let _ = writeln!(text, "{}  {}{done}\n", dry_run::head(&part.suite), dry_run::takes(part));
    }
    let left: Vec<SuiteFile> = parts.iter().filter(|part| !is_done(part)).cloned().collect();
    let _ = writeln!(text, "{}; nothing was measured", told(&left));
    text
}
