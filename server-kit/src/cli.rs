//! The flags all servers share, and which target of the catalog they make of a binary.

use clap::{Arg, CommandFactory, FromArgMatches, Parser};
use echo_contract::catalog::{TARGETS, Target};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What was typed, checked, with every default filled in.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) target: &'static Target,
    pub(crate) strategy: Option<String>,
    pub(crate) address: SocketAddr,
    pub(crate) workers: u32,
    pub(crate) backlog: u32,
    pub(crate) buffer_bytes: usize,
    pub(crate) max_connections: Option<u64>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) drain_timeout: Duration,
    pub(crate) cpus: Option<Cpus>,
    pub(crate) work: Duration,
    pub(crate) work_source: Option<IpAddr>,
    pub(crate) is_healthcheck: bool,
}

/// A list like `0,2-3`, as typed and as numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cpus {
    pub(crate) typed: String,
    pub(crate) numbers: Vec<usize>,
}

/// Reads the process's arguments. On a mistake clap prints what is wrong and ends the process with code 2.
pub(crate) fn parse(binary: &'static str) -> Settings {
    parse_from(binary, std::env::args_os()).unwrap_or_else(|error| error.exit())
}

fn parse_from<T>(binary: &'static str, arguments: impl IntoIterator<Item = T>) -> Result<Settings, clap::Error>
where
    T: Into<std::ffi::OsString> + Clone,
{
    let rows: Vec<&'static Target> = TARGETS.iter().filter(|target| target.binary == binary).collect();
    let strategies: Vec<&'static str> = rows.iter().filter_map(|target| strategy_of(target)).collect();
    let mut command = Flags::command().name(binary);
    if let [target] = rows[..] {
        command = command.about(target.about);
    }
    if let Some(default) = strategies.first().copied() {
        command = command.arg(
            Arg::new("strategy")
                .long("strategy")
                .value_parser(clap::builder::PossibleValuesParser::new(&strategies))
                .default_value(default)
                .help("How clients are shared out"),
        );
    }
    let matches = command.try_get_matches_from(arguments)?;
    let strategy = if strategies.is_empty() {
        None
    } else {
        matches.get_one::<String>("strategy").cloned()
    };
    let target = rows
        .into_iter()
        .find(|target| strategy_of(target) == strategy.as_deref())
        .unwrap_or_else(|| panic!("the catalog has no row for {binary} with strategy {strategy:?}"));
    Ok(Flags::from_arg_matches(&matches)?.into_settings(target, strategy))
}

/// The value after `--strategy` in the arguments that make a binary this target.
fn strategy_of(target: &'static Target) -> Option<&'static str> {
    let mut arguments = target.arguments.iter();
    arguments.find(|argument| **argument == "--strategy")?;
    arguments.next().copied()
}

/// A TCP echo server.
#[derive(Parser, Debug)]
struct Flags {
    /// Address to listen on; any but a loopback address opens an echo service to others
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// Port to listen on, 0 for any free one [default: the target's own]
    #[arg(long)]
    port: Option<u16>,
    /// Worker threads or processes; a server per client has none [default: the target's own, mostly 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    workers: Option<u32>,
    /// Listen backlog; the kernel caps it at net.core.somaxconn
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    backlog: u32,
    /// Read buffer of each connection: 16384, 16KiB, 1MiB
    #[arg(long, value_name = "SIZE", default_value = "16KiB", value_parser = parse_size)]
    buffer_size: usize,
    /// Most clients served at a time; more are closed with a FIN [default: as many as the system allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_connections: Option<u64>,
    /// Close a connection from which nothing came for so long, and which is owed nothing [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse_positive_time)]
    idle_timeout: Option<Duration>,
    /// How long a stop, or a close by the server, waits for clients
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time)]
    drain_timeout: Duration,
    /// CPUs to run on: 0,2-3 [default: all]
    #[arg(long, value_name = "LIST", value_parser = parse_cpus)]
    cpus: Option<Cpus>,
    /// CPU time to burn for each read before echoing it: 20us
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = parse_time)]
    work: Duration,
    /// Burn --work only for clients from this address
    #[arg(long, value_name = "IP")]
    work_source: Option<IpAddr>,
    /// Ask a running server at --bind and --port for an echo, and exit with 0 or 1
    #[arg(long)]
    healthcheck: bool,
}

impl Flags {
    fn into_settings(self, target: &'static Target, strategy: Option<String>) -> Settings {
        Settings {
            target,
            strategy,
            address: SocketAddr::new(self.bind, self.port.unwrap_or(target.port)),
            workers: self.workers.unwrap_or(target.workers),
            backlog: self.backlog,
            buffer_bytes: self.buffer_size,
            max_connections: self.max_connections,
            idle_timeout: self.idle_timeout,
            drain_timeout: self.drain_timeout,
            cpus: self.cpus,
            work: self.work,
            work_source: self.work_source,
            is_healthcheck: self.healthcheck,
        }
    }
}

const MAX_BUFFER_BYTES: usize = 1 << 30;

/// As loadgen's sizes: `16384`, `16KiB`, `16kB`.
fn parse_size(text: &str) -> Result<usize, String> {
    let size: bytesize::ByteSize = text
        .parse()
        .map_err(|_| "write a size like 16384, 16KiB or 1MiB".to_string())?;
    usize::try_from(size.as_u64())
        .ok()
        .filter(|bytes| (1..=MAX_BUFFER_BYTES).contains(bytes))
        .ok_or_else(|| "a buffer has 1 byte to 1GiB".to_string())
}

/// As loadgen's times: `10s`, `500ms`, `20us`, `1m 30s`. Longer than a day is a typing mistake.
fn parse_time(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(24 * 3600);
    if text.parse::<f64>().is_ok_and(|number| number != 0.0) {
        return Err(format!("no unit: write {text}s, {text}ms or {text}us"));
    }
    let time = humantime::parse_duration(text).map_err(|_| "write a time like 10s, 500ms or 20us".to_string())?;
    match time > LONGEST {
        true => Err("more than 24h".to_string()),
        false => Ok(time),
    }
}

fn parse_positive_time(text: &str) -> Result<Duration, String> {
    match parse_time(text)? {
        Duration::ZERO => Err("must be longer than 0; leave the flag out for never".to_string()),
        time => Ok(time),
    }
}

fn parse_cpus(text: &str) -> Result<Cpus, String> {
    let number = |word: &str| word.parse::<usize>().map_err(|_| "write a list like 0,2-3".to_string());
    let mut numbers = Vec::new();
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last {
            return Err(format!("the range {part} runs backwards"));
        }
        if last >= 4096 {
            return Err(format!("there is no CPU {last}"));
        }
        numbers.extend(first..=last);
    }
    Ok(Cpus {
        typed: text.to_string(),
        numbers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(binary: &'static str, arguments: &[&str]) -> Result<Settings, String> {
        let arguments = [&binary].into_iter().chain(arguments);
        parse_from(binary, arguments).map_err(|error| {
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        })
    }

    #[test]
    fn defaults_come_from_the_catalog_row() {
        for (binary, name, port) in [
            ("fork-server", "fork", 8001),
            ("thread-server", "thread", 8002),
            ("event-tokio", "event-tokio", 8003),
        ] {
            let settings = parse(binary, &[]).unwrap();
            assert_eq!(settings.target.name, name);
            assert_eq!(settings.address, SocketAddr::from(([127, 0, 0, 1], port)));
            assert_eq!((settings.workers, settings.buffer_bytes), (1, 16384));
            assert_eq!(settings.drain_timeout, Duration::from_secs(10));
        }
    }

    #[test]
    fn the_arguments_of_a_row_lead_to_that_row() {
        for target in TARGETS {
            assert_eq!(parse(target.binary, target.arguments).unwrap().target, target);
        }
    }

    #[test]
    fn a_row_has_its_own_number_of_workers_unless_told_otherwise() {
        let workers = |arguments: &[&str]| parse("event-tokio", arguments).unwrap().workers;
        assert_eq!(workers(&[]), 1);
        assert_eq!(workers(&["--strategy", "per-core"]), 2);
        assert_eq!(workers(&["--strategy", "per-core", "--workers", "4"]), 4);
    }

    #[test]
    fn only_servers_with_strategies_know_the_flag() {
        assert!(parse("event-epoll", &["--strategy", "per-connection"]).is_err());
        let error = parse("fork-server", &["--strategy", "magic"]).unwrap_err();
        assert!(error.contains("'magic'") && error.contains("--strategy") && error.contains("per-connection"));
    }

    #[test]
    fn sizes_times_and_cpus_are_read() {
        assert_eq!(parse_size("16KiB"), Ok(16384));
        assert_eq!(parse_size("16384"), Ok(16384));
        assert_eq!(parse_size("2MiB"), Ok(2 << 20));
        assert_eq!(parse_size("16kB"), Ok(16_000));
        assert_eq!(parse_time("20us"), Ok(Duration::from_micros(20)));
        assert_eq!(parse_time("0"), Ok(Duration::ZERO));
        assert_eq!(parse_time("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_time("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_cpus("0,2-3").unwrap().numbers, [0, 2, 3]);
    }

    #[test]
    fn a_mistake_names_flag_and_value_and_says_what_to_write() {
        for (flag, value, fix) in [
            ("--buffer-size", "16 cups", "KiB"),
            ("--buffer-size", "0", "1 byte"),
            ("--buffer-size", "99999999999999999999", "16384"),
            ("--buffer-size", "2GiB", "1GiB"),
            ("--drain-timeout", "10", "10s"),
            ("--drain-timeout", "25h", "24h"),
            ("--drain-timeout", "soon", "10s"),
            ("--idle-timeout", "0s", "leave the flag out"),
            ("--work", "20", "20us"),
            ("--work-source", "localhost", "IP"),
            ("--cpus", "3-1", "backwards"),
            ("--cpus", "a", "0,2-3"),
            ("--cpus", "99999", "no CPU"),
            ("--bind", "somewhere", "IP"),
            ("--port", "70000", "65535"),
            ("--workers", "0", "1..=4096"),
            ("--backlog", "0", "1.."),
            ("--max-connections", "0", "1.."),
        ] {
            let error = parse("event-tokio", &[flag, value]).unwrap_err();
            for expected in [flag, value, fix] {
                assert!(error.contains(expected), "{flag} {value}: no {expected} in {error}");
            }
        }
    }
}
