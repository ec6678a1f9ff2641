//! Slips of the hand: reads the command line, and where it is wrong names the form that works. Who comes from wrk, hey, oha or
//! redis-benchmark finds loadgen's own flag.

use crate::cmd::arguments::Cli;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _};
use echo_contract::catalog::{self, TARGETS};
use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;

/// Environment variables that stand for a flag, and the flag.
const VARIABLES: [(&str, &str); 1] = [("LOADGEN_SEED", "seed")];

/// Flags of other generators, and what does the same here.
const OTHERS: &[(&[&str], &str)] = &[
    (
        &["-z", "-D", "--time", "--test-time"],
        "a time is given with '--duration' (-d), as in '-d 10s'",
    ),
    (
        &["--qps", "--rps", "-r", "--rate-limit", "--throughput", "--message-rate"],
        "messages per second of all clients together are '--rate' (-R)",
    ),
    (&["--json", "-j"], "'--output-format json' prints the record as JSON"),
    (&["--csv"], "'--output-format csv' prints one line of figures"),
    (&["-l", "--latencies"], "'--latency' (-L) prints every percentile"),
    (
        &["--requests", "--num-requests", "--number", "--iterations"],
        "messages of all clients together are '--total-messages' (-n)",
    ),
    (
        &["--concurrency", "--users", "-u", "--vus", "--sessions"],
        "connections in total are '--clients' (-c)",
    ),
    (
        &["-p", "--host", "--port", "--url", "-a", "--address"],
        "a server is named with '--target HOST:PORT' (-T)",
    ),
    (
        &["-k", "--keepalive", "--keep-alive", "--disable-keepalive"],
        "connections are kept; '--churn' makes a new one for every message",
    ),
    (
        &["-H", "--header", "-X", "--method", "-b", "--body", "--script"],
        "loadgen speaks no HTTP: it sends bytes to a TCP echo and checks that they come back; '--size' says how many",
    ),
];

/// What people type for the verb that measures, which has no name.
const RUNS: [&str; 7] = ["run", "bench", "benchmark", "test", "measure", "load", "attack"];

/// Flags that name servers.
const NAMING: [&str; 3] = ["-T", "--target", "--targets"];

/// Reads the command line. An environment variable that is empty is none.
///
/// # Errors
/// What clap says of it, with the form that works where that can be told; also help and version, which are no errors.
pub fn parse(words: &[OsString]) -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    for (variable, flag) in VARIABLES {
        if std::env::var_os(variable).is_some_and(|value| value.is_empty()) {
            command = command.mut_arg(flag, |argument| argument.env(None::<&str>));
        }
    }
    let read = command.try_get_matches_from_mut(words);
    let parsed = read.and_then(|matches| Cli::from_arg_matches(&matches));
    let typed: Vec<String> = words
        .iter()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    parsed.map_err(|mut error| {
        if error.kind() == ErrorKind::DisplayHelp && is_host_of_redis(&typed) {
            error = command.error(
                ErrorKind::UnknownArgument,
                "-h asks for help; a server is named with '--target HOST:PORT' (-T)",
            );
        } else if let Some(tip) = tip(&typed, &error) {
            error.insert(
                ContextKind::Suggested,
                ContextValue::StyledStrs(vec![StyledStr::from(tip)]),
            );
        }
        error
    })
}

/// `redis-benchmark -h 127.0.0.1 -p 8001`: nobody asks for help about an address.
fn is_host_of_redis(typed: &[String]) -> bool {
    let is_host = |word: &str| word == "localhost" || word.parse::<IpAddr>().is_ok() || is_address(word);
    typed.windows(2).any(|pair| pair[0] == "-h" && is_host(&pair[1]))
}

/// Whether stdout is to be read by a program, also when the rest of the command line is wrong.
#[must_use]
pub fn asks_for_json(words: &[OsString]) -> bool {
    let is_pair = |pair: &[OsString]| pair[0] == "--output-format" && pair[1] == "json";
    words.iter().any(|word| word == "--output-format=json") || words.windows(2).any(is_pair)
}

/// What clap says, as one sentence without the usage below it.
#[must_use]
pub fn sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    first.trim_start_matches("error: ").trim().to_string()
}

fn tip(typed: &[String], error: &clap::Error) -> Option<String> {
    let named = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let wrong = named(ContextKind::InvalidSubcommand)
        .or(named(ContextKind::InvalidArg))
        .unwrap_or_default();
    let flag = wrong.split(['=', ' ']).next().unwrap_or_default();
    match error.kind() {
        ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument | ErrorKind::ArgumentConflict => {}
        ErrorKind::ValueValidation => return of_environment(typed, flag),
        _ => return None,
    }
    if let Some((_, text)) = OTHERS.iter().find(|(flags, _)| flags.contains(&flag)) {
        return Some((*text).to_string());
    }
    let line = Line::of(typed);
    if typed.first().is_some_and(|verb| RUNS.contains(&verb.as_str())) {
        return Some(format!("measuring needs no verb: '{}'", Line::of(&typed[1..])));
    }
    if let Some(rate) = value_after(typed, "-q") {
        return Some(format!("-q is --quiet; messages per second are '--rate {rate}'"));
    }
    let is_of_run_only = flag == "-T" && !line.servers.is_empty();
    if line.has_bare_server || line.flags > 1 || is_of_run_only {
        return Some(format!("{}: '{line}'", line.rule()));
    }
    let half = near(wrong).filter(|_| error.kind() == ErrorKind::InvalidSubcommand)?;
    Some(format!("a server is named by a flag: 'loadgen --target {half}'"))
}

/// A value that nobody has typed is found where it comes from.
fn of_environment(typed: &[String], flag: &str) -> Option<String> {
    let (variable, _) = VARIABLES
        .into_iter()
        .find(|(_, name)| flag.trim_start_matches('-') == *name)?;
    let is_typed = typed.iter().any(|word| word.starts_with(flag));
    (!is_typed && std::env::var_os(variable).is_some())
        .then(|| format!("it comes from the environment variable {variable}"))
}

/// The number after a flag that takes none here.
fn value_after<'a>(typed: &'a [String], flag: &str) -> Option<&'a str> {
    let pair = typed.windows(2).find(|pair| pair[0] == flag)?;
    pair[1].parse::<f64>().is_ok().then_some(pair[1].as_str())
}

/// A name of the catalog that has this word in it: `event-tokio` for `tokio`.
fn near(word: &str) -> Option<&'static str> {
    let has = |name: &&str| word.len() > 2 && name.contains(word);
    TARGETS.iter().map(|row| row.name).find(has)
}

fn is_address(word: &str) -> bool {
    let (host, port) = word.trim_end_matches('/').rsplit_once(':').unwrap_or_default();
    !host.contains('=') && port.parse::<u16>().is_ok()
}

/// Names from the catalog or addresses, separated by commas.
fn is_server(word: &str) -> bool {
    let is_one = |word: &str| catalog::find(word).is_some() || is_address(word);
    !word.starts_with('-') && word.split(',').all(is_one)
}

/// A command line taken apart, to be written with its servers behind their flag.
struct Line<'a> {
    others: Vec<&'a str>,
    servers: Vec<&'a str>,
    /// Whether a server stood alone.
    has_bare_server: bool,
    /// How many flags named some.
    flags: usize,
}

impl<'a> Line<'a> {
    fn of(typed: &'a [String]) -> Self {
        let mut line = Self {
            others: Vec::new(),
            servers: Vec::new(),
            has_bare_server: false,
            flags: 0,
        };
        let mut words = typed.iter().map(String::as_str).peekable();
        // A number is a port only where nothing else stands, and these words may be another flag's value.
        let is_port = |word: &str| typed.len() == 1 && word.parse::<u16>().is_ok();
        let are_several = |word: &str, before: &str| ["all", "default"].contains(&word) && !before.starts_with('-');
        let mut before = "";
        while let Some(word) = words.next() {
            let joined = word.split_once('=').filter(|(flag, _)| NAMING.contains(flag));
            let value = joined.map(|(_, value)| value).or_else(|| {
                let follows = NAMING.contains(&word);
                words.next_if(|value| follows && !value.starts_with('-'))
            });
            if let Some(value) = value {
                line.servers.extend(value.split(','));
                line.flags += 1;
            } else if is_server(word) || is_port(word) || are_several(word, before) {
                line.servers.extend(word.split(','));
                line.has_bare_server = true;
            } else {
                line.others.push(word);
            }
            before = word;
        }
        line
    }

    /// Whether no verb stands first: `loadgen --target a` measures one.
    fn is_run(&self) -> bool {
        self.others.first().is_none_or(|first| first.starts_with('-'))
    }

    fn rule(&self) -> &'static str {
        match (self.is_of_several(), self.is_run()) {
            (false, _) => "a server is named by a flag",
            (true, true) => "a run measures one server, and a comparison several",
            (true, false) => "servers are named by one flag",
        }
    }

    fn is_of_several(&self) -> bool {
        self.servers.len() > 1 || ["all", "default"].iter().any(|several| self.servers == [*several])
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = |server: &&str| {
            let address = server.split_once("://").map_or(*server, |(_, address)| address);
            address.trim_end_matches('/').to_string()
        };
        let servers: Vec<String> = self.servers.iter().map(bare).collect();
        let compares = self.others.first() == Some(&"compare");
        let becomes_one = self.is_run() && self.is_of_several();
        let mut words = vec!["loadgen"];
        words.extend(becomes_one.then_some("compare"));
        words.extend(&self.others);
        let all = servers.join(",");
        if compares || becomes_one {
            words.extend(["--targets", &all]);
        } else if let Some(first) = servers.first() {
            words.extend(["--target", first]);
        }
        f.write_str(&words.join(" "))
    }
}
