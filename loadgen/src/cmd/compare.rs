//! `loadgen compare`: targets x workloads in rounds, tables on stdout, a folder in `results/`.

mod add;
mod asked;
mod dimension;
mod dry_run;
mod full;
pub(super) mod same_place;
mod suites;
mod workloads;

use super::arguments::{ClientArgs, ConnectionArgs, ServerArgs, seed, share_in_percent};
use super::leftovers;
use super::progress::compare as progress;
use crate::compare::runner::{SuiteEnd, Trials, run_suite};
use crate::failure::{Exit, Failure};
use crate::measurement::half_written::{remove_half_written_below, remove_half_written_of};
use crate::measurement::store::Store;
use crate::record::{Environment, Incomplete, Machine, Measurement, NetworkChoice};
use crate::report::{screen, two};
use crate::sampler::network::Tracking;
use crate::suite::matrix::{PlanBase, Suite, SuiteFile};
use crate::suite::regression;
use crate::suite::results::{Results, check_one_mode, void_cells};
use crate::text::{counted, percent};
use crate::validity::invariants;
use asked::{MOST_ROUNDS, new_suite, resumed};
pub use dimension::ServerFlagArgs;
pub(super) use dry_run::text as dry_run;
pub(super) use full::write_index;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
pub use workloads::LoadArgs;

/// What a record takes at most on disk, to be sure of room before measuring.
const BYTES_OF_A_RECORD: u64 = 256 * 1024;

/// What was typed.
#[derive(Clone, Debug, clap::Args)]
pub struct CompareArgs {
    /// Targets, separated by commas; `default` and `all` stand for theirs (`loadgen list` shows them), `running` alone for those that
    /// are up already, here or in containers; also HOST:PORT of any TCP echo [default: your own servers where you bring some, else `default`]
    #[arg(long, value_name = "NAMES")]
    pub targets: Option<String>,

    #[command(flatten)]
    pub servers: ServerArgs,

    #[command(flatten)]
    pub client: ClientArgs,

    /// What is compared and for how long: a suite from `loadgen list`, a TOML file of your own, or `full` for all suites one after
    /// another, each in a folder of its own inside one [default: `default`]
    #[arg(long, value_name = "NAME|FILE", conflicts_with_all = ["workloads", "workload", "clients", "size", "pipeline", "rate", "duration", "workers", "work", "payload", "source_addresses", "fail_on_regression"])]
    pub suite: Option<String>,

    /// Workloads, separated by commas, or `default` [default: those of --workload where there are some; `steady` with several
    /// --workers or --work; else `default`]
    #[arg(long, value_name = "NAMES")]
    pub workloads: Option<String>,

    #[command(flatten)]
    pub load: LoadArgs,

    #[command(flatten)]
    pub started_with: ServerFlagArgs,

    /// Rounds at most [default: those of the suite, with --budget or --precision as many as fit]; with --resume, instead of those of the first
    /// sitting; with --add, for the added target [default: as many as the others have]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_ROUNDS)))]
    pub rounds: Option<u32>,

    /// No round starts that would not end within this time [default: that of the suite, or 7m]; the first always runs
    #[arg(long, value_name = "TIME", value_parser = budget)]
    pub budget: Option<Duration>,

    /// End after the first whole round in which every ratio of what servers cost is known within this much, like 3%; by the
    /// width of the intervals, whatever they show
    #[arg(long, value_name = "PERCENT", value_parser = precision)]
    pub precision: Option<f64>,

    /// Determines the order of every round and the payload [default: from the clock]
    #[arg(long, value_name = "NUMBER", value_parser = seed)]
    pub seed: Option<u64>,

    /// Share of a trial's messages that may fail, or its figures are void
    #[arg(long, value_name = "PERCENT", default_value = "0.1%", value_parser = share_in_percent)]
    pub max_error_rate: f64,

    /// Name of this machine in folder and tables, e.g. `2cpu-linux-6.18`
    #[arg(long, value_name = "LABEL", value_parser = label)]
    pub label: Option<String>,

    /// Where the folder of this comparison is made
    #[arg(long, default_value = "results", value_name = "DIR")]
    pub results: PathBuf,

    /// Continue an interrupted comparison; what has been measured is not repeated
    #[arg(long, value_name = "DIR", conflicts_with_all = ["suite", "targets", "server", "servers", "workloads", "workload", "clients", "size", "pipeline", "rate", "duration", "workers", "work", "payload", "close", "connect_window", "connect_rate", "seed", "max_error_rate", "label", "results", "pin", "threads", "timeout", "connect_timeout", "source_addresses", "resolve", "allow_public", "no_control"])]
    pub resume: Option<PathBuf>,

    /// Measure a further target under the plan of a comparison that is there, two of its targets beside it in rounds of
    /// their own; what is found joins its folder
    #[arg(long, num_args = 2, value_names = ["TARGET", "DIR"], conflicts_with_all = ["resume", "suite", "targets", "workloads", "workload", "clients", "size", "pipeline", "rate", "duration", "workers", "work", "payload", "close", "connect_window", "connect_rate", "seed", "label", "results", "pin", "threads", "timeout", "connect_timeout", "source_addresses", "resolve", "allow_public", "no_control"])]
    pub add: Option<Vec<String>>,

    /// Print only the tables, no progress
    #[arg(short, long)]
    pub quiet: bool,

    /// Do not let cargo build the servers first
    #[arg(long)]
    pub no_build: bool,

    /// Placement: `auto`, `off`, or `server=0,client=1`
    #[arg(long, default_value = "auto", value_name = "PLACEMENT")]
    pub pin: String,

    /// Worker threads of loadgen [default: the CPUs not given to the server]
    #[arg(short, long, value_name = "NUMBER")]
    pub threads: Option<u32>,

    #[command(flatten)]
    pub connections: ConnectionArgs,

    /// Network of the servers: a private namespace for each trial where permitted, or the host's
    #[arg(long, value_enum, default_value = "auto")]
    pub network: NetworkChoice,

    /// Exit with code 8 when the second of two targets is slower than the first by more than this beyond doubt, under any
    /// workload; as many rounds are run as that needs
    #[arg(long, value_name = "PERCENT", value_parser = precision, conflicts_with_all = ["resume", "add", "precision"])]
    pub fail_on_regression: Option<f64>,

    /// Do not run one target a second time in each round as A/A control
    #[arg(long)]
    pub no_control: bool,

    /// Exit with code 7 when a cell of the tables has no figure that stands, of those that this machine can give
    #[arg(long)]
    pub require_valid: bool,

    /// Print what would run, the order of round 1, and how many trials and minutes it should take; measure nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What `main` found out about this machine and this moment.
#[derive(Clone, Debug)]
pub struct Here {
    /// `2cpu-linux-6.18`: used where `--label` is not given.
    pub label: String,
    /// Placement, threads and limits, checked: from `--pin` and `--threads`.
    pub base: PlanBase,
    /// loadgen's command line.
    pub command: Vec<String>,
    /// This machine, to be compared with the one that a folder was measured on.
    pub environment: Environment,
    /// CPUs that loadgen may use.
    pub cpus: Vec<usize>,
    /// Why no trial can have a private network; none where it can.
    pub no_private_network: Option<String>,
    /// Descriptors and ports that a trial may use.
    pub machine: Machine,
    /// The table of tracked connections of the host's network; none where it tracks none.
    pub tracking: Option<Tracking>,
}

/// Runs the comparison and prints its tables to `out`, or with `--dry-run` says what it would do.
///
/// # Errors
/// With the exit code for it: names that are not known, results that cannot be written, an interruption, echoes that came
/// back wrong, or no trial at all that ran to its end.
pub fn run(args: &CompareArgs, trials: &mut dyn Trials, here: &Here, out: &mut dyn Write) -> Result<(), Failure> {
    let now = jiff::Timestamp::now();
    if full::is_asked_for(args) {
        return full::run(args, trials, here, now, out);
    }
    let (mut file, store) = match (&args.resume, &args.add.as_deref()) {
        (Some(folder), _) => {
            let (file, store) = super::open_suite(folder)?;
            same_place::check(folder, &file.suite, store.records(), here)?;
            (resumed(args, file), Some(store))
        }
        (None, Some([target, folder])) => {
            let (file, store) = super::open_suite(Path::new(folder))?;
            same_place::check(Path::new(folder), &file.suite, store.records(), here)?;
            let file = add::added(target, args, file, store.records())?;
            (file, Some(store))
        }
        _ => (new_suite(args, here, now)?, None),
    };
    check_one_mode(&file.suite, store.as_ref().map_or(&[], Store::records))?;
    if !args.quiet {
        dimension::tell(&file);
    }
    if args.dry_run {
        print(out, &dry_run::text(&file));
        return Ok(());
    }
    leftovers::remove(|| match &args.resume {
        Some(folder) => remove_half_written_of(folder),
        None => remove_half_written_below(&args.results),
    });
    let mut store = match store {
        Some(store) => store.probed(bytes_needed(&file.suite))?,
        None => new_folder(&args.results, &file)?,
    };
    let results = measure(&mut file, &mut store, trials, args.quiet, out)?;
    fail_on_regression(&file.suite, &results)?;
    if args.require_valid {
        require_valid(&file.suite, &store)?;
    }
    Ok(())
}

/// Runs what the folder still lacks, and prints what was found.
///
/// # Errors
/// As [`run`].
pub(super) fn measure(
    file: &mut SuiteFile,
    store: &mut Store,
    trials: &mut dyn Trials,
    quiet: bool,
    out: &mut dyn Write,
) -> Result<Results, Failure> {
    trials.prepare(&file.suite.externals, store.folder())?;
    let ended = {
        let mut view = progress::view(quiet);
        run_suite(file, trials, store, view.as_mut())
    };
    // The tables go to stdout however it ended: what was measured is never lost, even if it could not be written.
    let results = Results::of(&file.suite, store.records());
    print(out, &screen::screen(file, &results, progress::width()));
    print(out, &two::second_against_first(&file.suite, &results.findings));
    let end = ended?;
    print(out, &screen::where_the_rest_is(store.folder()));
    outcome(end, store)?;
    Ok(results)
}

/// A folder of its own for a new comparison.
///
/// # Errors
/// When it cannot be written.
pub(super) fn new_folder(results: &Path, file: &SuiteFile) -> Result<Store, Failure> {
    // `2026-01-31T10:00:00Z`: the day is in the folder's name.
    let day = file.started_at.split('T').next().unwrap_or_default();
    Store::create(results, day, &file.label, &file.suite.name, bytes_needed(&file.suite))
}

/// Whether the second target is slower than is allowed, under whichever workload.
fn fail_on_regression(suite: &Suite, results: &Results) -> Result<(), Failure> {
    let (Some(allowed), [first, second]) = (suite.slowdown_allowed, &suite.targets[..]) else {
        return Ok(());
    };
    let changes = regression::changes(&results.findings, first, second);
    let slower: Vec<&str> = changes
        .iter()
        .filter(|change| change.is_slower_than(allowed))
        .map(|change| change.table.workload.as_str())
        .collect();
    if slower.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Slower,
        format!(
            "--fail-on-regression: {second} is slower than {first} by more than {} under {}",
            percent(allowed * 100.0),
            slower.join(", ")
        ),
    ))
}

/// Whether every cell has a figure that stands; says which have none.
fn require_valid(suite: &Suite, store: &Store) -> Result<(), Failure> {
    let void = void_cells(suite, store.records());
    if void.is_empty() {
        return Ok(());
    }
    let number = counted(void.len() as u64, "row has cells", "rows have cells");
    Err(Failure::new(
        Exit::Invalid,
        format!(
            "--require-valid: {number} without any figure that stands: {}. The reasons are in {}",
            void.join(", "),
            store.folder().display()
        ),
    ))
}

/// The program by its name only: where it lies on this machine is nobody's business.
pub(super) fn without_path(command: &[String]) -> Vec<String> {
    let mut words = command.to_vec();
    if let Some(program) = words.first_mut() {
        *program = program.rsplit('/').next().unwrap_or_default().to_string();
    }
    words
}

/// How the program should exit: a fault of a trial is a row, and the exit code tells.
fn outcome(end: SuiteEnd, store: &Store) -> Result<(), Failure> {
    let trials = || store.records().iter().map(|stored| &stored.measurement);
    let wrong: u64 = trials()
        .map(|trial| trial.counts.corrupted + trial.counts.truncated)
        .sum();
    if end == SuiteEnd::Interrupted {
        return Err(Failure::new(
            Exit::Interrupted,
            format!(
                "interrupted; what was measured is kept. Go on with: loadgen compare --resume {}",
                store.folder().display()
            ),
        ));
    }
    if let Some(violated) = trials().find(|trial| invariants::is_violated(trial)) {
        let reason = violated.reasons.iter().find(|reason| reason.gate == invariants::GATE);
        return Err(Failure::fault(format!(
            "{} under {}: {}",
            violated.target.name,
            violated.workload,
            reason.map_or("", |reason| reason.text.as_str())
        )));
    }
    if wrong > 0 {
        return Err(Failure::new(
            Exit::Corrupted,
            format!(
                "{wrong} echoes came back corrupted or truncated: see errors in the tables and first_failures in the records"
            ),
        ));
    }
    if !trials().any(|trial| trial.complete) {
        let reason = trials().filter_map(reason).next();
        return Err(Failure::unreachable(format!(
            "not one trial ran to its end; the first said: {}",
            reason.unwrap_or("nothing")
        )));
    }
    Ok(())
}

fn reason(trial: &Measurement) -> Option<&str> {
    trial.incomplete_reason.as_ref().map(Incomplete::as_str)
}

fn bytes_needed(suite: &Suite) -> u64 {
    let pairs = suite.pairs_of_round(1);
    let each: Duration = pairs.iter().map(|pair| suite.expected_duration(pair)).sum();
    let fitting = suite.budget().as_millis() / each.as_millis().max(1) + 1;
    let rounds = u64::try_from(fitting).map_or(MOST_ROUNDS.into(), |fitting| fitting.min(suite.rounds_max.into()));
    let trials = rounds * pairs.len() as u64 + suite.counting_pairs().len() as u64;
    trials * BYTES_OF_A_RECORD
}

pub(super) fn budget(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| format!("{error}; write it like 7m or 90s"))?;
    if duration.is_zero() {
        return Err("a comparison needs some time; write it like 7m or 90s".to_string());
    }
    Ok(duration)
}

/// As a share: 0.03 for `3%`.
pub(super) fn precision(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%').trim_end();
    let percent: f64 = number
        .parse()
        .map_err(|_| format!("`{text}` is no percentage: write it like 3%"))?;
    if !(0.5..=50.0).contains(&percent) {
        return Err(format!("{text} is not within 0.5% and 50%: write it like 3%"));
    }
    Ok(percent / 100.0)
}

/// A label becomes part of a folder's name.
pub(super) fn label(text: &str) -> Result<String, String> {
    let fitting = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if text.is_empty() || text.len() > 60 || text.starts_with('.') || !text.chars().all(fitting) {
        return Err(format!(
            "`{text}` cannot be part of a folder's name: use 1 to 60 letters, digits, dots, dashes or underscores, no dot first"
        ));
    }
    Ok(text.to_string())
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A closed stdout (`| head`) is a quiet end, not a panic.
pub(super) fn print(out: &mut dyn Write, text: &str) {
    let _ = out.write_all(text.as_bytes());
}
