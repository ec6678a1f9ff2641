//! What was typed. Nothing is checked against the machine or filled in here: that is `resolve`'s work.

mod clients;
mod connections;
mod values;

pub use clients::ClientArgs;
pub use connections::{ConnectionArgs, ReachArgs};
pub use values::{Addresses, Pin, Size, count, duration, histogram_file, seed, series_file, share_in_percent, size};

use crate::cmd::calibrate::CalibrateArgs;
use crate::cmd::compare::CompareArgs;
use crate::cmd::diff::DiffArgs;
use crate::cmd::merge::MergeArgs;
use crate::cmd::publish::PublishArgs;
use crate::cmd::report::ReportArgs;
use crate::cmd::reproduce::ReproduceArgs;
use crate::cmd::sweep::SweepArgs;
use crate::cmd::verify::faults::FaultArgs;
use crate::record::{NetworkChoice, Start, Waiting};
use crate::subject::LaunchArgs;
use clap::{Args, Parser, Subcommand, ValueEnum};
use echo_contract::catalog;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use values::time_of_day;

/// Measures TCP echo servers under identical workloads and proves its own numbers.
///
/// Without a verb it measures one target: `loadgen --target event-tokio --clients 1000` starts the server if nothing
/// listens, measures, stops it and prints a summary.
#[derive(Debug, Parser)]
#[command(
    name = "loadgen",
    version,
    args_conflicts_with_subcommands = true,
    max_term_width = 100
)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Option<Verb>,
    #[command(flatten)]
    pub run: RunArgs,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Measure several targets under several workloads, round by round, and write the tables
    Compare(CompareArgs),
    /// Make the tables of a results folder again from its records
    Report(ReportArgs),
    /// Copy the tables of a results folder into README.md, results/models.md, results/runtimes.md
    Publish(PublishArgs),
    /// Show how each target changed between two comparisons
    Diff(DiffArgs),
    /// Run the plan of a results folder again and show which of its claims hold
    Reproduce(ReproduceArgs),
    /// Check that a server keeps the echo contract, rule by rule
    Verify(VerifyArgs),
    /// Test the generator on this machine against a server of known behaviour
    Calibrate(CalibrateArgs),
    /// Type lines to a server by hand and see them come back
    Connect(ConnectArgs),
    /// Find the highest rate within a response-time limit, or the curve over clients
    Sweep(SweepArgs),
    /// Add up the records of several generators that ran at the same time, exactly
    Merge(MergeArgs),
    /// List targets, workloads and suites
    List(ServerArgs),
    /// Print the completion script for a shell
    Completions { shell: clap_complete::Shell },
    /// Print the manual page
    Man,
    /// Serve with known behaviour; used by `loadgen calibrate`
    #[command(hide = true)]
    TruthServer {
        /// What it does, as JSON
        behaviour: String,
        /// CPU to run on
        #[arg(long)]
        cpu: Vec<usize>,
    },
    /// Run as the user who owns a folder; used by the container image
    #[command(hide = true, disable_help_flag = true)]
    AsOwnerOf {
        folder: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Enter a network namespace of its own and end; used by loadgen itself
    #[command(hide = true)]
    TryPrivateNetwork,
    /// Start a server in its own cgroup; used by loadgen itself
    #[command(hide = true, disable_help_flag = true)]
    LaunchServer(LaunchArgs),
}

/// One measurement.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// What to measure: a name from `loadgen list`, or HOST:PORT of any TCP echo
    #[arg(short = 'T', long, value_name = "NAME|HOST:PORT")]
    pub target: Option<String>,

    #[command(flatten)]
    pub servers: ServerArgs,

    #[command(flatten)]
    pub workload: WorkloadArgs,

    /// Start the server if nothing listens, always, or never
    #[arg(long, value_enum, default_value = "auto")]
    pub start: Start,

    #[command(flatten)]
    pub machine: MachineArgs,

    /// Worker threads or processes of a server that loadgen starts
    #[arg(long, value_name = "N")]
    pub workers: Option<u32>,

    #[command(flatten)]
    pub connections: ConnectionArgs,

    /// Share of the messages that may fail in a valid run
    #[arg(long, value_name = "PERCENT", default_value = "0.1%", allow_hyphen_values = true, value_parser = share_in_percent)]
    pub max_error_rate: f64,

    /// Begin the measured phase at this time, together with other generators: RFC 3339 or Unix seconds
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = time_of_day)]
    pub start_at: Option<jiff::Timestamp>,

    #[command(flatten)]
    pub output: OutputArgs,

    /// Write a line for each 0.1 s of the measured phase to this file while the run goes on: FILE.ndjson or FILE.csv
    #[arg(long, value_name = "FILE", value_parser = series_file)]
    pub series: Option<PathBuf>,

    /// Print nothing but results and errors
    #[arg(short, long)]
    pub quiet: bool,

    /// Count the server's system calls per message; this slows the server, so the rates of such a run mean nothing
    #[arg(long)]
    pub count_syscalls: bool,

    /// Print the plan and measure nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Where the record of a run, or of several runs merged, goes.
#[derive(Clone, Debug, Args)]
pub struct OutputArgs {
    /// Write the record (JSON; CSV or text by the suffix .csv or .txt) to this file, - for stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// What to print, or to write with --output
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub output_format: Option<OutputFormat>,

    /// Write the histograms for HdrHistogram tools: response times as FILE.hgrm, all as FILE.hlog
    #[arg(long, value_name = "FILE", value_parser = histogram_file)]
    pub histogram: Option<PathBuf>,

    /// Print every percentile that the sample supports, with its 95 % interval
    #[arg(short = 'L', long)]
    pub latency: bool,

    /// Exit with code 7 when the measurement is invalid
    #[arg(long)]
    pub require_valid: bool,
}

/// What the clients do.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Workload")]
pub struct WorkloadArgs {
    /// A workload from `loadgen list`, or a TOML file; other flags override its fields
    #[arg(long, value_name = "NAME|FILE")]
    pub workload: Option<String>,

    /// Clients connected at the same time, in total [default: 50]
    #[arg(short, long, visible_alias = "connections", value_name = "N", allow_hyphen_values = true, value_parser = count)]
    pub clients: Option<u64>,

    /// Of the clients, those that a plan (--rate) deals messages to; the others stay connected and silent [default: all]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = count)]
    pub active_clients: Option<u64>,

    /// Messages of each client; the run ends when all are answered
    #[arg(short, long, value_name = "N", allow_hyphen_values = true, value_parser = count, conflicts_with_all = ["total_messages", "duration"])]
    pub messages: Option<u64>,

    /// Messages of all clients together; the run ends when all are answered
    #[arg(short = 'n', long, value_name = "N", allow_hyphen_values = true, value_parser = count, conflicts_with = "duration")]
    pub total_messages: Option<u64>,

    /// Length of the measured phase [default: 10s]
    #[arg(short, long, value_name = "TIME", allow_hyphen_values = true, value_parser = duration)]
    pub duration: Option<Duration>,

    /// Time before the measured phase, not counted; 0 for a job of --messages [default: 2s, or --ramp where that is longer]
    #[arg(short, long, value_name = "TIME", allow_hyphen_values = true, value_parser = duration)]
    pub warmup: Option<Duration>,

    /// Message length: 64, 1KiB, or 64..1024 to draw each message's own [default: 64]
    #[arg(short, long, value_name = "BYTES", allow_hyphen_values = true, value_parser = size)]
    pub size: Option<Size>,

    /// Outstanding messages per client [default: 1]
    #[arg(short = 'P', long, value_name = "DEPTH", allow_hyphen_values = true, value_parser = count)]
    pub pipeline: Option<u64>,

    /// A new connection for every message
    #[arg(long)]
    pub churn: bool,

    /// A new connection after this many messages, for servers that close connections themselves; 1 is --churn
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = count)]
    pub messages_per_connection: Option<u64>,

    #[command(flatten)]
    pub client: ClientArgs,

    /// Messages per second of all clients together, sent by plan, whatever the server does (open loop)
    #[arg(short = 'R', long, value_name = "N", allow_hyphen_values = true, value_parser = count)]
    pub rate: Option<u64>,

    /// How the messages of --rate are spaced [default: constant]
    #[arg(long, value_enum, value_name = "HOW")]
    pub arrivals: Option<Spacing>,

    /// Messages of one burst of --arrivals burst [default: 10]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = count)]
    pub burst_size: Option<u64>,

    /// Time in which --rate climbs from 0, beginning with the warm-up [default: 0]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = duration)]
    pub ramp: Option<Duration>,

    /// How a thread waits for the next planned time of --rate, and for answers [default: hybrid]
    #[arg(long, value_enum, value_name = "HOW")]
    pub pacing: Option<Waiting>,

    /// Determines payload bytes, sizes, random arrivals and the order of a comparison
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 1,
        env = "LOADGEN_SEED",
        hide_env_values = true,
        value_parser = seed
    )]
    pub seed: u64,
}

/// Servers of the user's own.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Your own servers")]
pub struct ServerArgs {
    /// A server of your own: its name, and the command that starts it on {port}; repeatable
    #[arg(long, value_name = "NAME=COMMAND")]
    pub server: Vec<String>,

    /// Servers of your own from a TOML file (examples/servers.toml shows the fields); repeatable
    #[arg(long, value_name = "FILE")]
    pub servers: Vec<PathBuf>,
}

impl ServerArgs {
    /// Whether no server was brought.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.server.is_empty() && self.servers.is_empty()
    }
}

/// How the machine is divided.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Machine")]
pub struct MachineArgs {
    /// Worker threads of loadgen [default: the CPUs not given to the server]
    #[arg(short, long, value_name = "N", allow_hyphen_values = true, value_parser = count)]
    pub threads: Option<u64>,

    /// CPUs of each side: auto, off, or server=0,client=1 (ranges: server=0-1,client=2-3)
    #[arg(long, value_name = "HOW", default_value = "auto", value_parser = Pin::from_str)]
    pub pin: Pin,

    /// Network of a server that loadgen starts: a private namespace for each trial, or the host's
    #[arg(long, value_enum, default_value = "auto")]
    pub network: NetworkChoice,

    /// Do not build missing or outdated servers
    #[arg(long)]
    pub no_build: bool,
}

/// The conformance list.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// A name from `loadgen list` (of --faults also several, with commas), `all`, or HOST:PORT of any TCP echo
    #[arg(short = 'T', long, value_name = "NAME|all|HOST:PORT")]
    pub target: String,
    #[command(flatten)]
    pub servers: ServerArgs,
    /// Worker threads or processes of the server
    #[arg(long, value_name = "N")]
    pub workers: Option<u32>,
    #[command(flatten)]
    pub reach: ReachArgs,
    /// Do not build missing or outdated servers
    #[arg(long)]
    pub no_build: bool,
    #[command(flatten)]
    pub faults: FaultArgs,
}

impl VerifyArgs {
    /// Whether servers of the catalog are started, which may be in networks of their own.
    #[must_use]
    pub fn starts_servers(&self) -> bool {
        let mut names = self.target.split(',').map(str::trim);
        names.any(|name| name == "all" || catalog::find(name).is_some())
    }
}

/// The interactive client.
#[derive(Clone, Debug, Args)]
pub struct ConnectArgs {
    /// Host of any TCP echo, or HOST:PORT
    #[arg(value_name = "HOST", required_unless_present = "target")]
    pub host: Option<String>,
    /// Its port
    #[arg(value_name = "PORT")]
    pub port: Option<u16>,
    /// A name from `loadgen list`, or HOST:PORT
    #[arg(short = 'T', long, value_name = "NAME|HOST:PORT", conflicts_with = "host")]
    pub target: Option<String>,
    /// Longest wait for an answer
    #[arg(long, value_name = "TIME", default_value = "5s", allow_hyphen_values = true, value_parser = duration)]
    pub timeout: Duration,
    /// Longest wait for a connection, and for a target that does not listen yet
    #[arg(long, value_name = "TIME", default_value = "5s", allow_hyphen_values = true, value_parser = duration)]
    pub connect_timeout: Duration,
    /// Do not build a missing or outdated server
    #[arg(long)]
    pub no_build: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// The summary
    Text,
    /// The record
    Json,
    /// One line of figures with a header
    Csv,
}

/// How messages of an open loop are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Spacing {
    /// Evenly
    Constant,
    /// At random and independent of each other
    Poisson,
    /// Several at the same time
    Burst,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
