//! `loadgen reproduce DIR`: runs a stored plan again and tells which of its claims hold; `--against` only tells.

use super::arguments::OutputFormat;
use super::compare::same_place::check_cpus_and_network;
use super::compare::{Here, budget, dry_run, label, measure, new_folder, print, without_path};
use super::leftovers;
use super::progress::compare as progress;
use crate::compare::runner::Trials;
use crate::failure::Failure;
use crate::measurement::half_written::remove_half_written_below;
use crate::measurement::store::Store;
use crate::notice::notice;
use crate::record::SCHEMA_VERSION;
use crate::report::reproduced::{self as report, Heading};
use crate::suite::alike::{self, Side};
use crate::suite::findings::Findings;
use crate::suite::matrix::SuiteFile;
use crate::suite::reproduced::Reproduced;
use crate::suite::results::{check_one_mode, check_one_network, network_of, round_of};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Name of the file that holds what a comparison found.
const FINDINGS: &str = "findings.json";

/// What was typed.
#[derive(Clone, Debug, clap::Args)]
pub struct ReproduceArgs {
    /// A folder that `loadgen compare` made
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,

    /// Measure nothing: show which of its claims hold in this existing folder
    #[arg(long, value_name = "DIR", conflicts_with_all = ["rounds", "budget", "label", "results", "no_build", "dry_run", "quiet"])]
    pub against: Option<PathBuf>,

    /// Rounds at most [default: as many as DIR has]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: Option<u32>,

    /// No round starts that would not end within this time [default: half as much again as DIR took]
    #[arg(long, value_name = "TIME", value_parser = budget)]
    pub budget: Option<Duration>,

    /// Name of this machine in folder and tables
    #[arg(long, value_name = "LABEL", value_parser = label)]
    pub label: Option<String>,

    /// Where the new folder is made
    #[arg(long, default_value = "results", value_name = "DIR")]
    pub results: PathBuf,

    /// Print only the findings, no progress
    #[arg(short, long)]
    pub quiet: bool,

    /// Do not let cargo build the servers first
    #[arg(long)]
    pub no_build: bool,

    /// Print what would run and the time it should take; measure nothing
    #[arg(long)]
    pub dry_run: bool,

    /// How it is printed what became of the claims
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub output_format: OutputFormat,
}

/// A comparison that is there.
struct There {
    name: String,
    file: SuiteFile,
    store: Store,
}

impl There {
    fn open(folder: &Path) -> Result<Self, Failure> {
        let (file, store) = super::open_suite(folder)?;
        check_one_mode(&file.suite, store.records())?;
        check_one_network(store.records())?;
        Ok(Self {
            name: folder.display().to_string(),
            file,
            store,
        })
    }

    fn side(&self) -> Side<'_> {
        Side {
            name: &self.name,
            suite: &self.file.suite,
            stored: self.store.records(),
        }
    }

    /// As stored; of a folder that is older than its file, from the records.
    fn findings(&self) -> Result<Findings, Failure> {
        if self.store.folder().join(FINDINGS).is_file() {
            return self.store.read_json(FINDINGS);
        }
        Ok(Findings::of(&self.file.suite, self.store.records()))
    }
}

/// Tells which claims of `args.folder` hold in the folder `against`, to `out`.
///
/// # Errors
/// When a folder cannot be read, or the two may not be compared.
pub fn hold_against(args: &ReproduceArgs, against: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    tell(args, &There::open(&args.folder)?, &There::open(against)?, out)
}

/// Runs the plan of `args.folder` again, into a folder of its own, and tells which claims hold, to `out`.
///
/// # Errors
/// As `compare`, and usage where the plan cannot be run here.
pub fn run(args: &ReproduceArgs, trials: &mut dyn Trials, here: &Here, out: &mut dyn Write) -> Result<(), Failure> {
    let there = There::open(&args.folder)?;
    let before = there
        .store
        .records()
        .iter()
        .find_map(|stored| network_of(&stored.measurement));
    check_cpus_and_network(&args.folder, &there.file.suite, before, here)?;
    let mut file = again(args, &there, here)?;
    if args.dry_run {
        print(out, &dry_run(&file));
        return Ok(());
    }
    if let Some(environment) = there.side().environment() {
        for (what, there, here) in alike::machine_differences(environment, &here.environment) {
            notice(format_args!(
                "another machine: the {what} there is {there}, here it is {here}"
            ));
        }
    }
    leftovers::remove(|| remove_half_written_below(&args.results));
    let mut store = new_folder(&args.results, &file)?;
    // Who reads JSON or CSV gets nothing else.
    let mut unread = std::io::sink();
    let screen: &mut dyn Write = match args.output_format {
        OutputFormat::Text => out,
        OutputFormat::Json | OutputFormat::Csv => &mut unread,
    };
    measure(&mut file, &mut store, trials, args.quiet, screen)?;
    let now = There {
        name: store.folder().display().to_string(),
        file,
        store,
    };
    tell(args, &there, &now, out)
}

/// The stored plan before its first trial, with as many rounds as were run.
fn again(args: &ReproduceArgs, there: &There, here: &Here) -> Result<SuiteFile, Failure> {
    let mut suite = there.file.suite.clone();
    if args.rounds.is_some() && !suite.additions.is_empty() {
        return Err(Failure::usage(
            "--rounds: targets were added to this comparison in rounds of their own, which are run again as they were: leave \
             --rounds out",
        ));
    }
    let rounds = there
        .store
        .records()
        .iter()
        .map(|stored| round_of(&stored.measurement))
        .max();
    let rounds = args.rounds.or(rounds).filter(|rounds| *rounds > 0);
    suite.rounds_max = rounds.ok_or_else(|| {
        Failure::usage(format!(
            "{} has no trial: there is nothing to be reproduced",
            there.name
        ))
    })?;
    suite.budget_ms = match args.budget {
        Some(budget) => u64::try_from(budget.as_millis()).unwrap_or(u64::MAX),
        None => suite.budget_ms.max(there.file.spent_ms.saturating_mul(3) / 2),
    };
    // It ended the first by what it saw; the second is to be as long.
    suite.precision = None;
    let label_text = args.label.clone().unwrap_or_else(|| here.label.clone());
    Ok(SuiteFile {
        schema_version: SCHEMA_VERSION.to_string(),
        label: label(&label_text).map_err(Failure::usage)?,
        started_at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        command: without_path(&here.command),
        spent_ms: 0,
        ended: None,
        suite,
    })
}

fn tell(args: &ReproduceArgs, first: &There, second: &There, out: &mut dyn Write) -> Result<(), Failure> {
    let (then, now) = (first.side(), second.side());
    alike::check(&then, &now).map_err(Failure::usage)?;
    let found = Reproduced::of(&first.findings()?, &second.findings()?);
    let mut remarks = alike::remarks(&then, &now);
    remarks.extend(rebuilt(&then, &now));
    let heading = Heading {
        first: &first.name,
        second: &second.name,
        remarks,
    };
    let text = match args.output_format {
        OutputFormat::Text => report::text(&heading, &found, progress::width()),
        OutputFormat::Json => report::json(&heading, &found),
        OutputFormat::Csv => report::csv(&found),
    };
    print(out, &text);
    Ok(())
}

/// Targets whose binary is known to be another one, one sentence.
fn rebuilt(then: &Side<'_>, now: &Side<'_>) -> Option<String> {
    let binaries = now.binaries();
    let is_other = |(name, old): &(&str, Option<&str>)| match (old, binaries.get(name)) {
        (Some(old), Some(Some(new))) => old != new,
        _ => false,
    };
    let rebuilt: Vec<&str> = then
        .binaries()
        .into_iter()
        .filter(is_other)
        .map(|(name, _)| name)
        .collect();
    (!rebuilt.is_empty()).then(|| format!("another binary than then: {}", rebuilt.join(", ")))
}
