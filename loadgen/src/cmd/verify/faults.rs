//! `loadgen verify --faults`: the fault matrix, row by row, each alone and, where that is permitted, in a network of its own.

use super::servers::{Served, WORKERS_OF_A_POOL, attached};
use crate::cmd::arguments::VerifyArgs;
use crate::cmd::leftovers;
use crate::cmd::output::print;
use crate::engine::limits;
use crate::environment::{self, network};
use crate::failure::{Exit, Failure};
use crate::interrupt;
use crate::measurement::destination::Destination;
use crate::measurement::store::pretty_json;
use crate::notice::notice;
use crate::record::{FAULTS_VERSION, FaultMatrix, FaultRow, FaultedTarget, Machine, RowResult};
use crate::report::faults as report;
use crate::subject;
use echo_contract::catalog::{self, Capacity, ExpectedFailure, TARGETS, Target};
use echo_contract::conformance::faults::{self, ROWS, Row, RowFinding};
use echo_contract::conformance::{Outcome, Profile, Subject};
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What a matrix of all targets takes at most, in bytes.
const MATRIX_BYTES: u64 = 1 << 20;
/// Clients of the long form, two descriptors each, and what loadgen has open beside them.
const DESCRIPTORS: u64 = 4096;

/// What `--faults` may be told.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Fault matrix")]
pub struct FaultArgs {
    /// Put the server through the rows of the fault matrix instead: limits, floods, stops, leaks
    #[arg(long)]
    pub faults: bool,
    /// Only these rows, by number
    #[arg(long, value_name = "ROW,ROW", value_delimiter = ',', requires = "faults", value_parser = row_number)]
    pub only: Vec<u8>,
    /// The long form, up to an hour for each target: 1,000 clients, 1 GiB, 50 stops, 1,000,000 connections, a soak of 30 min
    #[arg(long, requires = "faults")]
    pub long: bool,
    /// How long row 19 soaks the server [default: 6s, or 30m with --long]
    #[arg(long, value_name = "TIME", requires = "faults", allow_hyphen_values = true, value_parser = crate::cmd::arguments::duration)]
    pub soak: Option<Duration>,
    /// Exit with code 7 when a row could not be tested
    #[arg(long, requires = "faults")]
    pub require_tested: bool,
    /// Write the matrix (JSON; Markdown by the suffix .md) to this file, - for stdout
    #[arg(short, long, value_name = "FILE", requires = "faults")]
    pub output: Option<std::path::PathBuf>,
    /// What to print, or to write with --output
    #[arg(long, value_enum, value_name = "FORMAT", requires = "faults")]
    pub output_format: Option<Format>,
}

/// How the matrix is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table for each target
    Text,
    /// One object with all figures
    Json,
    /// The page results/faults.md
    Markdown,
}

fn row_number(typed: &str) -> Result<u8, String> {
    let known = || {
        ROWS.iter()
            .map(|row| row.number.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let number = typed.trim().parse().ok();
    number
        .filter(|number| ROWS.iter().any(|row| row.number == *number))
        .ok_or_else(|| format!("no such row; there are {}", known()))
}

/// Makes the rows of each target, tells them as they come, and writes the matrix.
///
/// # Errors
/// When a target cannot be had, or the file cannot be written.
pub fn run(args: &VerifyArgs, machine: &Machine, no_private_network: Option<&str>) -> Result<Option<Exit>, Failure> {
    let options = &args.faults;
    let destination = options.output.as_deref().map(prepare).transpose()?;
    limits::raise_descriptors(DESCRIPTORS.min(machine.nofile_hard))?;
    let contestants = contestants(args)?;
    let mut matrix = empty(options, &contestants, no_private_network);
    let rows: Vec<&'static Row> = ROWS
        .iter()
        .filter(|row| options.only.is_empty() || options.only.contains(&row.number))
        .collect();
    let total = rows.len() * contestants.len();
    let tells_tables = told_as(options) == Format::Text || destination.as_ref().is_some_and(|to| !to.is_stdout());
    for contestant in &contestants {
        let mut target = FaultedTarget {
            target: contestant.name.clone(),
            rows: Vec::new(),
        };
        for &row in &rows {
            let done = matrix.rows().count() + target.rows.len() + 1;
            notice(format_args!(
                "{} {done}/{total}: row {}, {}",
                contestant.name, row.number, row.title
            ));
            match make(contestant, row, no_private_network.is_none()) {
                Some(finding) => target.rows.push(stored(finding)),
                None => matrix.complete = false,
            }
            if !matrix.complete {
                break;
            }
        }
        if tells_tables {
            print(&format!("{}\n", report::of_target(&target)))?;
        }
        matrix.targets.push(target);
        if !matrix.complete {
            break;
        }
    }
    tell(options, destination, &matrix, tells_tables)?;
    Ok(exit_of(options, &matrix))
}

/// A matrix without a row.
fn empty(options: &FaultArgs, contestants: &[Contestant], no_private_network: Option<&str>) -> FaultMatrix {
    let network = match no_private_network {
        Some(_) => "host",
        // Of a server that runs already, or one of the user's own, the network is the host's.
        None if contestants
            .iter()
            .any(|who| matches!(who.servers, Servers::Attached(_))) =>
        {
            "host"
        }
        None => "private",
    };
    FaultMatrix {
        kind: FaultMatrix::KIND.into(),
        schema_version: FAULTS_VERSION.into(),
        started_at: jiff::Timestamp::now().to_string(),
        label: environment::label(),
        form: if options.long { "long" } else { "short" }.into(),
        network: network.into(),
        network_note: no_private_network.map(str::to_owned),
        complete: true,
        targets: Vec::new(),
    }
}

/// A target, and how its servers are come by.
struct Contestant {
    name: String,
    profile: Profile,
    expected_failures: &'static [ExpectedFailure],
    servers: Servers,
}

enum Servers {
    Started(Arc<subject::Launcher>),
    Attached(Box<Served>),
}

fn contestants(args: &VerifyArgs) -> Result<Vec<Contestant>, Failure> {
    let mut named: Vec<&'static Target> = Vec::new();
    for name in args.target.split(',').map(str::trim) {
        match (name, catalog::find(name)) {
            ("all", _) => named.extend(TARGETS),
            (_, Some(target)) => named.push(target),
            _ if !args.target.contains(',') => {}
            _ => {
                return Err(Failure::usage(format!(
                    "--target {}: no target `{name}` in a list of several",
                    args.target
                )));
            }
        }
    }
    let sized = |profile: Profile| {
        let mut profile = if args.faults.long { profile.long() } else { profile };
        profile.soak = args.faults.soak.unwrap_or(profile.soak);
        profile
    };
    if named.is_empty() {
        let served = attached(args)?;
        return Ok(vec![Contestant {
            name: args.target.clone(),
            profile: sized(served.profile.clone()),
            expected_failures: served.expected_failures,
            servers: Servers::Attached(Box::new(served)),
        }]);
    }
    leftovers::remove(|| 0);
    let contestant = |target: &'static Target| {
        let workers = args.workers.or(match target.capacity {
            Capacity::Unbounded => None,
            Capacity::OnePerWorker => Some(WORKERS_OF_A_POOL),
        });
        Ok(Contestant {
            name: target.name.to_owned(),
            profile: sized(Profile::of(target, workers.unwrap_or(1) as usize)),
            expected_failures: target.expected_failures,
            servers: Servers::Started(Arc::new(subject::Launcher::new(target, workers, args.no_build)?)),
        })
    };
    named.into_iter().map(contestant).collect()
}

/// The row on a thread of its own, which may wait for a server when the user wants to stop; none then.
fn make(contestant: &Contestant, row: &'static Row, is_private: bool) -> Option<RowFinding> {
    let (profile, expected) = (contestant.profile.clone(), contestant.expected_failures);
    let name = contestant.name.clone();
    let mut on_part = move |part: &str| {
        if !interrupt::asked() {
            notice(format_args!("{name}   {part}"));
        }
    };
    let finding = match &contestant.servers {
        Servers::Started(launcher) => {
            let launcher = Arc::clone(launcher);
            interrupt::unless_asked(move || {
                if is_private && let Err(why) = network::enter_private() {
                    return not_tested(row, why);
                }
                let subject = Subject::started(&*launcher, profile)
                    .expecting(expected)
                    .by(Arc::new(subject::Means));
                faults::make_row(row, &subject, &mut on_part)
            })
        }
        Servers::Attached(served) => {
            let address: SocketAddr = served.server.address();
            interrupt::unless_asked(move || {
                let subject = Subject::attached(address, profile)
                    .expecting(expected)
                    .by(Arc::new(subject::Means));
                faults::make_row(row, &subject, &mut on_part)
            })
        }
    };
    // A server that was killed because the user wants to stop has failed nothing.
    let finding = finding.filter(|_| !interrupt::asked());
    if finding.is_none() {
        subject::end_servers();
    }
    finding
}

fn not_tested(row: &Row, why: String) -> RowFinding {
    RowFinding {
        number: row.number,
        title: row.title,
        outcome: Outcome::NotChecked(why),
        figures: Vec::new(),
        took: Duration::ZERO,
    }
}

fn stored(finding: RowFinding) -> FaultRow {
    let (result, why) = match finding.outcome {
        Outcome::Passed => (RowResult::Passed, None),
        Outcome::Failed(why) => (RowResult::Failed, Some(why)),
        Outcome::FailedAsExpected(seen, expected) => {
            (RowResult::ExpectedFailure, Some(format!("{}; {seen}", expected.why)))
        }
        Outcome::PassedUnexpectedly(expected) => (
            RowResult::Passed,
            Some(format!("passed each time, though expected to fail: {}", expected.why)),
        ),
        Outcome::NotChecked(why) => (RowResult::NotTested, Some(why)),
    };
    FaultRow {
        row: finding.number,
        title: finding.title.into(),
        result,
        why,
        figures: finding.figures,
        took_s: finding.took.as_secs_f64(),
    }
}

fn prepare(path: &Path) -> Result<Destination, Failure> {
    Destination::prepare(path, MATRIX_BYTES)
        .map_err(|failure| Failure::unwritable(format!("--output {}: {}", path.display(), failure.text)))
}

/// What was asked for, else what the file's name says.
fn told_as(options: &FaultArgs) -> Format {
    let suffix = options.output.as_deref().map(Path::extension);
    options.output_format.unwrap_or(match suffix {
        None => Format::Text,
        Some(Some(suffix)) if suffix == OsStr::new("md") => Format::Markdown,
        Some(_) => Format::Json,
    })
}

fn tell(
    options: &FaultArgs,
    destination: Option<Destination>,
    matrix: &FaultMatrix,
    tells_tables: bool,
) -> Result<(), Failure> {
    let table = report::matrix(matrix);
    let text = match told_as(options) {
        Format::Text => table.clone(),
        Format::Json => format!("{}\n", pretty_json(matrix).trim_end()),
        Format::Markdown => report::page(matrix),
    };
    let Some(destination) = destination else {
        return print(&text);
    };
    if tells_tables {
        print(&table)?;
    } else {
        notice(table.trim_end());
    }
    destination.write(&text)
}

/// What scripts hear: the gravest thing that happened. Which rows they were stands in the tables.
fn exit_of(options: &FaultArgs, matrix: &FaultMatrix) -> Option<Exit> {
    let has = |wanted| matrix.rows().any(|row| row.result == wanted);
    if !matrix.complete {
        notice("error: stopped by a signal");
        Some(Exit::Interrupted)
    } else if has(RowResult::Failed) {
        notice("error: rows of the fault matrix failed");
        Some(Exit::Fault)
    } else if options.require_tested && has(RowResult::NotTested) {
        notice("error: rows of the fault matrix could not be tested, and --require-tested");
        Some(Exit::Invalid)
    } else {
        None
    }
}
