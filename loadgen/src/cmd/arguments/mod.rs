//! What was typed. Nothing is checked against the machine or filled in here: that is `plan`'s work.

use crate::cmd::calibrate::CalibrateArgs;
use crate::cmd::compare::CompareArgs;
use crate::cmd::merge::MergeArgs;
use crate::cmd::publish::PublishArgs;
use crate::cmd::report::ReportArgs;
use crate::cmd::sweep::SweepArgs;
use crate::record::{NetworkChoice, Start, Waiting};
use crate::report::hdr;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

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
    /// Put a results folder into the tracked tables: README.md, results/models.md, results/runtimes.md
    Publish(PublishArgs),
    /// Check that a server keeps the echo contract, rule by rule
    Verify(VerifyArgs),
    /// Prove the generator on this machine, against a server of known behaviour
    Calibrate(CalibrateArgs),
    /// Type lines to a server by hand and see them come back
    Connect(ConnectArgs),
    /// Find the highest rate within a response-time limit, or the curve over clients
    Sweep(SweepArgs),
    /// Add the records of several generators that pressed at the same time, exactly
    Merge(MergeArgs),
    /// List targets and workloads
    List,
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
    LaunchServer {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// One measurement.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Who is measured: a name from `loadgen list`, or HOST:PORT of any TCP echo
    #[arg(short = 'T', long, value_name = "NAME|HOST:PORT")]
    pub target: Option<String>,

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

    /// Longest wait for the echo of one message
    #[arg(long, value_name = "TIME", default_value = "5s", allow_hyphen_values = true, value_parser = duration)]
    pub timeout: Duration,

    /// Longest wait for a connection, and for a target that does not listen yet
    #[arg(long, value_name = "TIME", default_value = "5s", allow_hyphen_values = true, value_parser = duration)]
    pub connect_timeout: Duration,

    /// Addresses to connect from, in turn: 127.0.0.2-127.0.0.9 or a comma-separated list
    #[arg(long, value_name = "ADDRESSES", value_parser = addresses)]
    pub source_addresses: Option<Addresses>,

    /// Begin the measured phase at this time, together with other generators: RFC 3339 or Unix seconds
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = time_of_day)]
    pub start_at: Option<jiff::Timestamp>,

    /// Allow a target outside loopback and private networks
    #[arg(long)]
    pub allow_public: bool,

    /// Write the record (JSON; CSV or text by the suffix .csv or .txt) to this file, - for stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// What to print, or to write with --output
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub output_format: Option<OutputFormat>,

    /// Write the histograms for HdrHistogram tools: response times as FILE.hgrm, all as FILE.hlog
    #[arg(long, value_name = "FILE", value_parser = histogram_file)]
    pub histogram: Option<PathBuf>,

    /// Print every percentile that the sample carries, with its 95 % interval
    #[arg(short = 'L', long)]
    pub latency: bool,

    /// Print nothing but results and errors
    #[arg(short, long)]
    pub quiet: bool,

    /// Exit with code 7 when the measurement is invalid
    #[arg(long)]
    pub require_valid: bool,

    /// Count the server's system calls per message; this slows it, so the rate is then no timing
    #[arg(long)]
    pub count_syscalls: bool,

    /// Print the plan and measure nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What the clients do.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Workload")]
pub struct WorkloadArgs {
    /// A workload from `loadgen list`, or a TOML file; other flags override its fields
    #[arg(long, value_name = "NAME|FILE")]
    pub workload: Option<String>,

    /// Clients connected at the same time, in total [default: 50]
    #[arg(short, long, visible_alias = "connections", value_name = "N", allow_hyphen_values = true, value_parser = count)]
    pub clients: Option<u64>,

    /// Messages of each client; the run ends when all are answered
    #[arg(short, long, value_name = "N", allow_hyphen_values = true, value_parser = count, conflicts_with_all = ["total_messages", "duration"])]
    pub messages: Option<u64>,

    /// Messages of all clients together; the run ends when all are answered
    #[arg(short = 'n', long, value_name = "N", allow_hyphen_values = true, value_parser = count, conflicts_with = "duration")]
    pub total_messages: Option<u64>,

    /// Length of the measured phase [default: 10s]
    #[arg(short, long, value_name = "TIME", allow_hyphen_values = true, value_parser = duration)]
    pub duration: Option<Duration>,

    /// Time before it that does not count; 0 for a job of --messages [default: 2s, or --ramp where that is longer]
    #[arg(short, long, value_name = "TIME", allow_hyphen_values = true, value_parser = duration)]
    pub warmup: Option<Duration>,

    /// Message length: 64, 1KiB, or 64..1024 to draw each message's own [default: 64]
    #[arg(short, long, value_name = "BYTES", allow_hyphen_values = true, value_parser = size)]
    pub size: Option<Size>,

    /// Messages of one client under way at the same time [default: 1]
    #[arg(short = 'P', long, value_name = "DEPTH", allow_hyphen_values = true, value_parser = count)]
    pub pipeline: Option<u64>,

    /// A new connection for every message
    #[arg(long)]
    pub churn: bool,

    /// Messages per second of all clients together, sent by plan whatever the server does (open loop)
    #[arg(short = 'R', long, value_name = "N", allow_hyphen_values = true, value_parser = count)]
    pub rate: Option<u64>,

    /// How the messages of --rate are spaced [default: constant]
    #[arg(long, value_enum, value_name = "HOW")]
    pub arrivals: Option<Spacing>,

    /// Messages of one burst of --arrivals burst [default: 10]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = count)]
    pub burst_size: Option<u64>,

    /// Time in which --rate climbs from 0, from the start of the warm-up on [default: 0]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = duration)]
    pub ramp: Option<Duration>,

    /// How a thread waits for the next planned time of --rate [default: hybrid]
    #[arg(long, value_enum, value_name = "HOW")]
    pub pacing: Option<Waiting>,

    /// Decides payload bytes, sizes, random arrivals and the order of a comparison
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 1,
        env = "LOADGEN_SEED",
        hide_env_values = true
    )]
    pub seed: u64,
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
    /// A name from `loadgen list`, `all`, or HOST:PORT of any TCP echo
    #[arg(short = 'T', long, value_name = "NAME|all|HOST:PORT")]
    pub target: String,
    /// Worker threads or processes of the server
    #[arg(long, value_name = "N")]
    pub workers: Option<u32>,
    /// Do not build missing or outdated servers
    #[arg(long)]
    pub no_build: bool,
}

/// The interactive client.
#[derive(Clone, Debug, Args)]
pub struct ConnectArgs {
    /// Host of any TCP echo
    #[arg(value_name = "HOST", required_unless_present = "target", requires = "port")]
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

/// A message length or a range of them, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub min_bytes: u64,
    pub max_bytes: u64,
}

/// Source addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses(pub Vec<Ipv4Addr>);

/// `--pin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    Auto,
    Off,
    /// Lists of CPUs.
    Cpus {
        server: Vec<usize>,
        client: Vec<usize>,
    },
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |cpus: &[usize]| cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join("+");
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Off => f.write_str("off"),
            Self::Cpus { server, client } => write!(f, "server={},client={}", list(server), list(client)),
        }
    }
}

impl FromStr for Pin {
    type Err = String;

    /// `auto`, `off`, `server=0,client=1`, `server=0-1,client=2+5`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => return Ok(Self::Auto),
            "off" => return Ok(Self::Off),
            _ => {}
        }
        let wrong = || format!("'{text}' is neither auto, off, nor like server=0,client=1 or server=0-1,client=2+5");
        let (mut server, mut client) = (None, None);
        for part in text.split(',') {
            let (side, cpus) = part.split_once('=').ok_or_else(wrong)?;
            let side = match side {
                "server" => &mut server,
                "client" => &mut client,
                _ => return Err(wrong()),
            };
            *side = Some(cpu_list(cpus).ok_or_else(wrong)?);
        }
        let (server, client) = server.zip(client).ok_or_else(wrong)?;
        Ok(Self::Cpus { server, client })
    }
}

/// `0`, `0-3`, `0-1+5`.
fn cpu_list(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in text.split('+') {
        match part.split_once('-') {
            Some((from, to)) => {
                let (from, to) = (from.parse::<usize>().ok()?, to.parse::<usize>().ok()?);
                if from > to || to >= 4096 {
                    return None;
                }
                cpus.extend(from..=to);
            }
            None => cpus.push(part.parse().ok().filter(|&cpu| cpu < 4096)?),
        }
    }
    Some(cpus)
}

/// `10s`, `500ms`, `2m`. Longer than a day is a typing mistake.
pub fn duration(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(24 * 3600);
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.parse::<f64>().is_ok() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(format!("'{text}' has no unit: write {text}s or {text}ms"));
    }
    let duration =
        humantime::parse_duration(text).map_err(|_| format!("'{text}' is not a time like 10s, 500ms or 2m"))?;
    if duration > LONGEST {
        return Err(format!("'{text}' is more than 24h"));
    }
    if !duration.is_zero() && duration < Duration::from_millis(1) {
        return Err(format!("'{text}' is less than 1ms"));
    }
    Ok(duration)
}

/// `2026-01-31T10:00:00Z` or Unix seconds, `1769853600` or `1769853600.5`.
fn time_of_day(text: &str) -> Result<jiff::Timestamp, String> {
    let wrong =
        || format!("'{text}' is neither a time like 2026-01-31T10:00:00Z nor Unix seconds, as `date +%s` prints them");
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().map_err(|_| wrong())?;
    let nanoseconds = match fraction.len() {
        0 if text.ends_with('.') => return Err(wrong()),
        0..=9 if fraction.bytes().all(|digit| digit.is_ascii_digit()) => format!("{fraction:0<9}").parse(),
        _ => return Err(wrong()),
    };
    jiff::Timestamp::new(seconds, nanoseconds.map_err(|_| wrong())?).map_err(|_| wrong())
}

/// A path that ends in `.hgrm` or `.hlog`.
pub fn histogram_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    hdr::Format::of(&path)
        .map(|_| path)
        .ok_or_else(|| format!("'{text}' ends in neither .hgrm (response times, as text) nor .hlog (all histograms)"))
}

/// `1000`, `10k`, `2M`; at least 1.
pub fn count(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is not a whole number of at least 1, like 1000, 10k or 2M");
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1_000),
        None => match text.strip_suffix('M') {
            Some(digits) => (digits, 1_000_000),
            None => (text, 1),
        },
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number
        .checked_mul(factor)
        .filter(|&number| number > 0)
        .ok_or_else(wrong)
}

/// `64`, `1KiB`, `64..1024`.
pub fn size(text: &str) -> Result<Size, String> {
    const LARGEST: u64 = 1 << 30;
    let wrong = || format!("'{text}' is not a length of at least 1 byte, like 64, 1KiB or 64..1024");
    let one = |text: &str| -> Result<u64, String> {
        let size = text.trim().parse::<bytesize::ByteSize>().map_err(|_| wrong())?.as_u64();
        match size {
            0 => Err(wrong()),
            1..=LARGEST => Ok(size),
            _ => Err(format!("'{text}' is more than 1GiB")),
        }
    };
    match text.split_once("..") {
        None => one(text).map(|bytes| Size {
            min_bytes: bytes,
            max_bytes: bytes,
        }),
        Some((min, max)) => {
            let (min_bytes, max_bytes) = (one(min)?, one(max)?);
            if min_bytes > max_bytes {
                return Err(format!("'{text}' ends before it begins: write {max}..{min}"));
            }
            Ok(Size { min_bytes, max_bytes })
        }
    }
}

/// `127.0.0.2-127.0.0.9`, `127.0.0.2,127.0.0.5`.
fn addresses(text: &str) -> Result<Addresses, String> {
    let one = |text: &str| -> Result<u32, String> {
        text.trim()
            .parse::<Ipv4Addr>()
            .map(u32::from)
            .map_err(|_| format!("'{text}' is not an IPv4 address; write 127.0.0.2-127.0.0.9 or a list"))
    };
    let mut addresses = Vec::new();
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (one(from)?, one(to)?);
        if from > to || to - from > 255 {
            return Err(format!(
                "'{part}' is not a range of at most 256 addresses, lowest first"
            ));
        }
        addresses.extend((from..=to).map(Ipv4Addr::from));
    }
    Ok(Addresses(addresses))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_need_a_unit() {
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert!(duration("10").unwrap_err().contains("write 10s"));
        assert!(
            ["inf", "-1"]
                .iter()
                .all(|text| !duration(text).unwrap_err().contains("no unit"))
        );
        assert!(
            ["", "s", "-1s", "-1", "inf", "10 parsecs", "25h", "1us"]
                .into_iter()
                .all(|text| duration(text).is_err())
        );
    }

    #[test]
    fn a_start_is_rfc_3339_or_unix_seconds() {
        let at = |text| time_of_day(text).map(|at| at.to_string());
        for text in ["2026-01-31T10:00:00.5Z", "2026-01-31T11:00:00.5+01:00", "1769853600.5"] {
            assert_eq!(at(text).as_deref(), Ok("2026-01-31T10:00:00.5Z"), "{text}");
        }
        for text in [
            "",
            "soon",
            "10:00",
            "1769853600.",
            ".5",
            "1769853600.x",
            "99999999999999",
            "1e9",
        ] {
            assert!(at(text).unwrap_err().contains("date +%s"), "{text}");
        }
    }

    #[test]
    fn counts_take_si_suffixes() {
        assert_eq!(
            [count("7"), count("10k"), count("2M")],
            [Ok(7), Ok(10_000), Ok(2_000_000)]
        );
        assert!(
            ["0", "", "k", "-1", "1.5k", "1G", "99999999999999999999k"]
                .into_iter()
                .all(|text| count(text).is_err())
        );
    }

    #[test]
    fn sizes_are_one_length_or_a_range() {
        assert_eq!(
            size("1KiB"),
            Ok(Size {
                min_bytes: 1024,
                max_bytes: 1024
            })
        );
        assert_eq!(
            size("64..1024"),
            Ok(Size {
                min_bytes: 64,
                max_bytes: 1024
            })
        );
        assert!(size("1024..64").unwrap_err().contains("write 64..1024"));
        assert!(
            ["0", "", "x", "..", "64..", "2GiB", "0..5"]
                .into_iter()
                .all(|text| size(text).is_err())
        );
    }

    #[test]
    fn source_addresses_are_ranges_and_lists() {
        let Addresses(range) = addresses("127.0.0.2-127.0.0.4,127.0.0.9").unwrap();
        assert_eq!(
            range.iter().map(|address| address.octets()[3]).collect::<Vec<_>>(),
            [2, 3, 4, 9]
        );
        assert!(
            ["", "127.0.0.9-127.0.0.2", "10.0.0.0-10.255.0.0", "::1"]
                .into_iter()
                .all(|t| addresses(t).is_err())
        );
    }

    #[test]
    fn pins_name_both_sides() {
        assert_eq!(
            "server=0-1,client=2+5".parse(),
            Ok(Pin::Cpus {
                server: vec![0, 1],
                client: vec![2, 5]
            })
        );
        assert_eq!(
            "server=0-1,client=2+5".parse::<Pin>().unwrap().to_string(),
            "server=0+1,client=2+5"
        );
        assert!(
            [
                "on",
                "server=0",
                "client=1",
                "server=x,client=1",
                "server=3-1,client=0",
                "server=0;client=1"
            ]
            .into_iter()
            .all(|text| text.parse::<Pin>().is_err())
        );
    }
}
