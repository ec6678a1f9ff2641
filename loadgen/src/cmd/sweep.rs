//! `loadgen sweep`: the highest rate within a response-time limit, or the curve over clients; a folder in `results/`.

use super::leftovers;
use super::resolve::servers::target;
use super::resolve::sweep::{check_target, connection_flags, plan_at, word};
use crate::cmd::arguments::{self, ClientArgs, ConnectionArgs, ServerArgs, Size, Spacing};
use crate::cmd::compare::without_path;
use crate::compare::runner::{TrialProgress, Trials};
use crate::compare::sweep::{SweepNow, SweepView, run_sweep};
use crate::failure::{Exit, Failure};
use crate::measurement::half_written;
use crate::measurement::store::{self, SWEEP_FILE, Store};
use crate::notice::notice;
use crate::record::Machine;
use crate::record::{Measurement, NetworkChoice, SCHEMA_VERSION};
use crate::report::sweep as report;
use crate::suite::search::Limits;
use crate::suite::sweep::{Along, End, Slo, Sweep, SweepFile};
use crate::text::{count, figure, minutes, time_ns};
use crate::units::floor_u64;
use echo_contract::catalog;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;
use std::time::Duration;

/// What was typed.
#[derive(Clone, Debug, clap::Args)]
pub struct SweepArgs {
    /// What to measure: a name from `loadgen list`, or HOST:PORT of any TCP echo
    #[arg(short = 'T', long, value_name = "NAME|HOST:PORT", required_unless_present = "resume")]
    pub target: Option<String>,

    #[command(flatten)]
    pub servers: ServerArgs,

    /// Find the highest rate that keeps this limit on the response time, like p99<2ms (open loop)
    #[arg(long, value_name = "LIMIT", value_parser = slo)]
    pub slo: Option<Slo>,

    /// With --slo the clients of every trial [default: 50]; without it all numbers to measure (closed loop): 1,10,100,1k
    #[arg(short, long, value_name = "LIST", value_delimiter = ',', allow_hyphen_values = true, value_parser = arguments::count)]
    pub clients: Vec<u64>,

    /// First rate of the search, messages per second [default: 4000]
    #[arg(long, value_name = "N", value_parser = arguments::count, requires = "slo")]
    pub from: Option<u64>,

    /// Highest rate of the search [default: 10M]
    #[arg(long, value_name = "N", value_parser = arguments::count, requires = "slo")]
    pub to: Option<u64>,

    /// How close the search gets, as a percentage of the rate [default: 5]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=50), requires = "slo")]
    pub precision: Option<u32>,

    /// Runs of which the majority decides at both ends of a search; runs of each point of a curve
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(1..=99))]
    pub repeats: u32,

    /// Length of a trial's measured phase; a low rate takes longer, until its percentile can be told
    #[arg(short, long, value_name = "TIME", default_value = "3s", value_parser = arguments::duration)]
    pub duration: Duration,

    /// Time before the measured phase, not counted
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = arguments::duration)]
    pub warmup: Duration,

    /// Message length: 64, 1KiB, or 64..1024 [default: 64]
    #[arg(short, long, value_name = "BYTES", value_parser = arguments::size)]
    pub size: Option<Size>,

    /// Outstanding messages per client
    #[arg(short = 'P', long, value_name = "DEPTH", default_value = "1", value_parser = arguments::count)]
    pub pipeline: u64,

    /// A new connection after this many messages, for servers that close connections themselves
    #[arg(long, value_name = "N", value_parser = arguments::count)]
    pub messages_per_connection: Option<u64>,

    #[command(flatten)]
    pub client: ClientArgs,

    /// How the messages of a rate are spaced [default: poisson]
    #[arg(long, value_enum, value_name = "HOW", requires = "slo")]
    pub arrivals: Option<Spacing>,

    #[command(flatten)]
    pub connections: ConnectionArgs,

    /// Worker threads of loadgen [default: the CPUs not given to the server]
    #[arg(short, long, value_name = "N", allow_hyphen_values = true, value_parser = arguments::count)]
    pub threads: Option<u64>,

    /// Worker threads or processes of a server that loadgen starts
    #[arg(long, value_name = "N")]
    pub workers: Option<u32>,

    /// CPUs of each side: auto, off, or server=0,client=1
    #[arg(long, value_name = "HOW", default_value = "auto", value_parser = pin)]
    pub pin: String,

    /// Network of a server that is started: a private namespace for each trial where permitted, or the host's
    #[arg(long, value_enum, default_value = "auto")]
    pub network: NetworkChoice,

    /// Decides payload bytes, sizes, random arrivals and the order of a curve's points
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = crate::cmd::arguments::seed)]
    pub seed: u64,

    /// Name of this machine in folder and reports
    #[arg(long, value_name = "LABEL", value_parser = crate::cmd::compare::label)]
    pub label: Option<String>,

    /// Where the folder of this sweep is made
    #[arg(long, default_value = "results", value_name = "DIR")]
    pub results: PathBuf,

    /// Go on with an interrupted sweep
    #[arg(long, value_name = "DIR", conflicts_with_all = ["target", "slo", "clients", "network", "timeout", "connect_timeout", "source_addresses", "resolve", "allow_public", "threads", "workers"])]
    pub resume: Option<PathBuf>,

    /// Do not let cargo build the servers first
    #[arg(long)]
    pub no_build: bool,

    /// Print the result only, no progress
    #[arg(short, long)]
    pub quiet: bool,
}

/// What a record takes at most on disk, and how many a sweep may write.
const BYTES_NEEDED: u64 = 100 * 256 * 1024;

/// Runs the sweep, prints its curve to `out`, writes its folder.
///
/// # Errors
/// With the exit code for it: contradicting flags, a target that cannot be measured, results that cannot be written, an
/// interruption.
pub fn run(
    args: &SweepArgs,
    trials: &mut dyn Trials,
    machine: &Machine,
    here: (&str, &[String]),
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let (mut file, mut store) = match &args.resume {
        Some(folder) => {
            let store = Store::open_sweep(folder)?;
            (store.read_json(SWEEP_FILE)?, store.probed(BYTES_NEEDED)?)
        }
        None => new_sweep(args, machine, here)?,
    };
    leftovers::remove(|| match &args.resume {
        Some(folder) => half_written::remove_half_written_of(folder),
        None => half_written::remove_half_written_below(&args.results),
    });
    trials.prepare(file.sweep.external.as_slice(), store.folder())?;
    let ended = {
        let mut view = Progress::new(args.quiet);
        run_sweep(
            &mut file,
            trials,
            &mut store,
            &|sweep, at| plan_at(sweep, at, machine),
            &mut view,
        )
    };
    // Of a target that could not be measured at all there is nothing to keep.
    if ended.is_err() && args.resume.is_none() && store.records().is_empty() {
        store.discard();
        return ended.map(|_| ());
    }
    // Whatever happened, what was measured is told and written.
    let _ = out.write_all(report::text(&file, store.records(), super::progress::compare::width()).as_bytes());
    for (name, text) in report::files(&file, store.records()) {
        store.write_again(&name, &text)?;
    }
    let _ = writeln!(
        out,
        "  {:<12} {}",
        "results",
        store.folder().join("README.md").display()
    );
    match ended? {
        End::Interrupted => Err(Failure::new(
            Exit::Interrupted,
            format!(
                "interrupted; what was measured is kept. Go on with: loadgen sweep --resume {}",
                store.folder().display()
            ),
        )),
        End::Found(_) | End::Curve => Ok(()),
    }
}

/// The sweep that was asked for, and a folder for it.
fn new_sweep(args: &SweepArgs, machine: &Machine, here: (&str, &[String])) -> Result<(SweepFile, Store), Failure> {
    let now = jiff::Timestamp::now();
    let file = sweep_file(args, here, now)?;
    // A contradiction should be told before a folder is made.
    let at = match &file.sweep.along {
        Along::Rate { limits, .. } => vec![limits.from_per_s],
        Along::Clients { counts, .. } => counts.clone(),
    };
    for at in at {
        // So should a target that means nothing.
        check_target(&plan_at(&file.sweep, at, machine)?)?;
    }
    let name = format!("sweep-{}", store::file_name(&file.sweep.target));
    let date = now.strftime("%Y-%m-%d").to_string();
    let store = Store::create(&args.results, &date, &file.label, &name, BYTES_NEEDED)?;
    Ok((file, store))
}

/// The sweep that was asked for, before its first trial.
fn sweep_file(
    args: &SweepArgs,
    (label, command): (&str, &[String]),
    now: jiff::Timestamp,
) -> Result<SweepFile, Failure> {
    let (target, external) = target(&args.servers, args.target.as_deref())?;
    let mut flags = vec![
        format!("--warmup={}ms", args.warmup.as_millis()),
        format!("--pipeline={}", args.pipeline),
        format!("--pin={}", args.pin),
        format!("{NETWORK_FLAG}{}", word(args.network)),
    ];
    flags.extend(client_flags(args));
    flags.extend(connection_flags(&args.connections));
    flags.extend(args.threads.map(|threads| format!("--threads={threads}")));
    flags.extend(args.workers.map(|workers| format!("{WORKERS_FLAG}{workers}")));
    let along = along(args)?;
    if let Along::Rate { .. } = along {
        flags.push(format!("--clients={}", args.clients.first().copied().unwrap_or(50)));
        let arrivals = word(args.arrivals.unwrap_or(Spacing::Poisson));
        flags.push(format!("--arrivals={arrivals}"));
    }
    Ok(SweepFile {
        schema_version: SCHEMA_VERSION.to_string(),
        label: args.label.clone().unwrap_or_else(|| label.to_string()),
        started_at: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        command: without_path(command),
        sweep: Sweep {
            target,
            external,
            flags,
            duration_ms: u64::try_from(args.duration.as_millis()).unwrap_or(u64::MAX),
            seed: args.seed,
            along,
        },
        spent_ms: 0,
        ended: None,
    })
}

/// What was typed of the clients, as it was typed.
fn client_flags(args: &SweepArgs) -> impl Iterator<Item = String> {
    let client = &args.client;
    let flag = |name: &str, value: Option<String>| value.map(|value| format!("--{name}={value}"));
    [
        flag("size", args.size.map(|size| size.to_string())),
        flag(
            "messages-per-connection",
            args.messages_per_connection.map(|number| number.to_string()),
        ),
        flag("payload", client.payload.clone()),
        flag("close", client.close.map(word)),
        flag("connect-window", client.connect_window.map(|number| number.to_string())),
        flag("connect-rate", client.connect_rate.map(|number| number.to_string())),
    ]
    .into_iter()
    .flatten()
}

/// What changes from point to point.
fn along(args: &SweepArgs) -> Result<Along, Failure> {
    match (&args.slo, args.clients.as_slice()) {
        (None, []) => Err(Failure::usage(
            "sweep along what? Give --slo 'p99<2ms' for the highest rate within a limit, or --clients 1,10,100,1000 for \
             the curve over clients",
        )),
        (None, [one]) => Err(Failure::usage(format!(
            "--clients {one} is one point and no curve: give at least two, as in --clients 1,10,100,1000, or --slo for a \
             search along the rate"
        ))),
        (Some(_), [_, _, ..]) => Err(Failure::usage(
            "--slo searches along the rate and --clients with a list along the clients: give one number of clients, or \
             leave --slo out",
        )),
        (Some(slo), _) => Ok(Along::Rate {
            slo: *slo,
            limits: limits(args, slo)?,
        }),
        (None, counts) => {
            let mut counts = counts.to_vec();
            counts.sort_unstable();
            counts.dedup();
            Ok(Along::Clients {
                counts,
                repeats: args.repeats,
            })
        }
    }
}

/// Between which rates the highest one is searched.
fn limits(args: &SweepArgs, slo: &Slo) -> Result<Limits, Failure> {
    let least_per_s = slo.least_per_s();
    let limits = Limits {
        from_per_s: args.from.unwrap_or(4000.max(least_per_s)),
        least_per_s,
        most_per_s: args.to.unwrap_or(10_000_000),
        precision: f64::from(args.precision.unwrap_or(5)) / 100.0,
        repeats: args.repeats,
    };
    if limits.from_per_s < least_per_s {
        return Err(Failure::usage(format!(
            "--from {} is too slow for {slo}: within a minute a percentile needs 100 samples beyond it, so at least \
             {least_per_s} messages/s",
            limits.from_per_s
        )));
    }
    if limits.most_per_s < limits.from_per_s {
        return Err(Failure::usage(format!(
            "--to {} is below --from {}: give a higher one",
            limits.most_per_s, limits.from_per_s
        )));
    }
    Ok(limits)
}

/// Begins the flag that says whose network a sweep's trials run in.
const NETWORK_FLAG: &str = "--network=";
/// Begins the flag that says how many workers its servers have.
const WORKERS_FLAG: &str = "--workers=";

/// What is to be known of a sweep's servers before its first trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Servers {
    /// Whether trials may have networks of their own: only where a server is started and the host's was not asked for.
    pub may_be_private: bool,
    /// `--workers`.
    pub workers: Option<u32>,
}

/// As asked for now, or when the sweep was begun.
///
/// # Errors
/// Usage, for a target that means nothing; or when a sweep that is to be gone on with cannot be read.
pub fn servers_of(args: &SweepArgs) -> Result<Servers, Failure> {
    let (target, external, network, workers) = match &args.resume {
        None => {
            let (target, external) = target(&args.servers, args.target.as_deref())?;
            (target, external, word(args.network), args.workers)
        }
        Some(folder) => {
            let SweepFile { sweep, .. } = Store::open_sweep(folder)?.read_json(SWEEP_FILE)?;
            let stored = |flag: &str| sweep.flags.iter().find_map(|typed| typed.strip_prefix(flag));
            let network = stored(NETWORK_FLAG).unwrap_or("auto").to_string();
            let workers = stored(WORKERS_FLAG).and_then(|number| number.parse().ok());
            (sweep.target, sweep.external, network, workers)
        }
    };
    let is_started = external.is_some() || catalog::find(&target).is_some();
    Ok(Servers {
        may_be_private: network != word(NetworkChoice::Host) && is_started,
        workers,
    })
}

fn slo(text: &str) -> Result<Slo, String> {
    text.parse()
}

/// Checked here, kept as typed: every trial's plan reads it again.
fn pin(text: &str) -> Result<String, String> {
    text.parse::<arguments::Pin>().map(|_| text.to_string())
}

/// On stderr: a bar on a terminal, a line per trial elsewhere, nothing with `--quiet`.
struct Progress {
    bar: Option<ProgressBar>,
    is_quiet: bool,
}

impl Progress {
    fn new(is_quiet: bool) -> Self {
        let bar = (!is_quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{bar:24} {msg}").expect("the template is valid");
            bar.set_style(style.progress_chars("=> "));
            bar
        });
        Self { bar, is_quiet }
    }
}

impl SweepView for Progress {
    fn moves(&mut self, now: &SweepNow, progress: TrialProgress) {
        let Some(bar) = &self.bar else { return };
        let share = (f64::from(now.done) + progress.fraction.clamp(0.0, 1.0)) / f64::from(now.done + now.left.max(1));
        bar.set_position(floor_u64(share * 1000.0));
        bar.set_message(format!(
            "{} {}, run {}, {}, about {} left",
            now.stage,
            count(now.point.at),
            now.point.run,
            progress.phase,
            minutes(now.time_left)
        ));
    }

    fn ends(&mut self, now: &SweepNow, trial: &Measurement) {
        let p99 = trial.latency_ns.response.p99.map_or_else(|| "n/a".to_string(), time_ns);
        let verdict = match (trial.complete, trial.reasons.first()) {
            (true, None) => String::new(),
            (_, Some(reason)) => format!(", INVALID: {}", reason.text),
            (false, None) => ", incomplete".to_string(),
        };
        let line = format!(
            "{} {}, run {}: {} messages/s, p99 {p99}{verdict}, about {} left",
            now.stage,
            count(now.point.at),
            now.point.run,
            figure(trial.throughput.messages_per_s),
            minutes(now.time_left)
        );
        match &self.bar {
            Some(bar) => bar.suspend(|| notice(line)),
            None if !self.is_quiet => notice(line),
            None => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        args: SweepArgs,
    }

    fn typed(words: &str) -> SweepArgs {
        Typed::parse_from(["sweep"].into_iter().chain(words.split(' '))).args
    }

    #[test]
    fn a_private_network_is_prepared_only_for_servers_that_are_started_and_not_on_the_hosts() {
        for (words, may) in [
            ("--target thread --clients 1,2", true),
            ("--target thread --clients 1,2 --network host", false),
            ("--target 127.0.0.1:7 --clients 1,2", false),
        ] {
            assert_eq!(servers_of(&typed(words)).unwrap().may_be_private, may, "{words}");
        }
    }

    #[test]
    fn a_sweep_goes_on_in_the_network_that_it_was_begun_in() {
        let results = tempfile::tempdir().unwrap();
        let now = "2026-01-31T10:00:00Z".parse().unwrap();
        let args = typed("--target thread --clients 1,2 --network host --workers 2");
        let file = sweep_file(&args, ("2cpu", &[]), now).unwrap();
        let store = Store::create(results.path(), "2026-01-31", "2cpu", "sweep-thread", 0).unwrap();
        store.write_again(SWEEP_FILE, &store::pretty_json(&file)).unwrap();
        let resumed = typed(&format!("--resume {}", store.folder().display()));
        let servers = servers_of(&resumed).unwrap();
        assert_eq!((servers.may_be_private, servers.workers), (false, Some(2)));
        let machine = crate::environment::machine().unwrap();
        assert_eq!(plan_at(&file.sweep, 1, &machine).unwrap().network, NetworkChoice::Host);
    }
}
