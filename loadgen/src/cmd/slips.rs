//! Slips of the hand: reads the command line, and where it is wrong names the form that works. Who comes from wrk, hey, oha or
//! redis-benchmark finds loadgen's own flag.

use crate::cmd::arguments::Cli;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _};
use echo_contract::catalog;
use std::ffi::OsString;

/// Environment variables that stand for a flag, and the flag.
const VARIABLES: [(&str, &str); 1] = [("LOADGEN_SEED", "seed")];

/// Flags of other generators, and what does the same here.
const OTHERS: &[(&[&str], &str)] = &[
    (&["-z"], "a time is given with '--duration' (-d), as in '-d 10s'"),
    (
        &["--qps", "--rps", "--rate-limit", "--throughput"],
        "messages per second of all clients together are '--rate' (-R)",
    ),
    (&["--json", "-j"], "'--output-format json' prints the record as JSON"),
    (
        &["--requests", "--num-requests", "--number", "--iterations"],
        "messages of all clients together are '--total-messages' (-n)",
    ),
    (
        &["--concurrency", "--users", "--vus", "--sessions"],
        "connections in total are '--clients' (-c)",
    ),
    (
        &["-p", "--host", "--port", "--url", "--server", "-a", "--address"],
        "a server is named with '--target HOST:PORT' (-T)",
    ),
    (
        &["-k", "--keepalive", "--keep-alive"],
        "connections are kept; '--churn' makes a new one for every message",
    ),
    (
        &["-H", "--header", "-X", "--method", "-b", "--body", "--script"],
        "loadgen speaks no HTTP: it sends bytes to a TCP echo and checks that they come back; '--size' says how many",
    ),
];

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
    parsed.map_err(|mut error| {
        let typed: Vec<String> = words
            .iter()
            .skip(1)
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        if let Some(tip) = tip(&typed, &error) {
            error.insert(
                ContextKind::Suggested,
                ContextValue::StyledStrs(vec![StyledStr::from(tip)]),
            );
        }
        error
    })
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
    match error.kind() {
        ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument | ErrorKind::ArgumentConflict => {}
        _ => return None,
    }
    let wrong = named(ContextKind::InvalidSubcommand)
        .or(named(ContextKind::InvalidArg))
        .unwrap_or_default();
    let flag = wrong.split(['=', ' ']).next().unwrap_or_default();
    if let Some((_, text)) = OTHERS.iter().find(|(flags, _)| flags.contains(&flag)) {
        return Some((*text).to_string());
    }
    let (others, servers) = apart(typed);
    if typed.first().is_some_and(|word| word == "run") {
        return Some(format!(
            "measuring needs no verb: '{}'",
            rewritten(&others[1..], &servers)
        ));
    }
    if let Some(rate) = value_after(typed, "-q") {
        return Some(format!("-q is --quiet; messages per second are '--rate {rate}'"));
    }
    (!servers.is_empty()).then(|| format!("a server is named by a flag: '{}'", rewritten(&others, &servers)))
}

/// The number after a flag that takes none here.
fn value_after<'a>(typed: &'a [String], flag: &str) -> Option<&'a str> {
    let pair = typed.windows(2).find(|pair| pair[0] == flag)?;
    pair[1].parse::<f64>().is_ok().then_some(pair[1].as_str())
}

/// A name from the catalog, or an address.
fn is_server(word: &str) -> bool {
    let is_address = || {
        let (host, port) = word.trim_end_matches('/').rsplit_once(':').unwrap_or_default();
        !host.contains('=') && port.parse::<u16>().is_ok()
    };
    !word.starts_with('-') && (catalog::find(word).is_some() || is_address())
}

/// What was typed apart from servers that stand alone, and these.
fn apart(typed: &[String]) -> (Vec<&str>, Vec<&str>) {
    let is_value = |place: usize| place > 0 && ["-T", "--target", "--targets"].contains(&typed[place - 1].as_str());
    let places = 0..typed.len();
    let (servers, others): (Vec<usize>, Vec<usize>) =
        places.partition(|place| is_server(&typed[*place]) && !is_value(*place));
    let words = |places: Vec<usize>| places.into_iter().map(|place| typed[place].as_str()).collect();
    (words(others), words(servers))
}

/// The command line with the servers behind their flag.
fn rewritten(others: &[&str], servers: &[&str]) -> String {
    let bare = |server: &&str| {
        let address = server.split_once("://").map_or(*server, |(_, address)| address);
        address.trim_end_matches('/').to_string()
    };
    let servers: Vec<String> = servers.iter().map(bare).collect();
    let flag = if others.first() == Some(&"compare") {
        "--targets"
    } else {
        "--target"
    };
    let mut words = vec!["loadgen"];
    words.extend(others);
    let all = servers.join(",");
    let named = if flag == "--targets" {
        Some(&all)
    } else {
        servers.first()
    };
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        words.extend([flag, named]);
    }
    words.join(" ")
}
