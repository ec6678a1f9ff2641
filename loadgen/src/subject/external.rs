//! Servers that are not of the catalog: built, started on a free port, and up with their first echo.

use super::attach::{self, Listener};
use super::build;
use super::container;
use super::fingerprint::sha256_of;
use super::leftovers::Mark;
use super::obtain::{Request, Seen};
use super::probe::{Probe, Probes};
use super::server::{Process, Server, last_lines};
use super::spawn::{Launch, Running, Starting, Stdout, how_ended};
use crate::environment::network;
use crate::failure::{Exit, Failure};
use crate::interrupt;
use crate::notice::notice;
use crate::record::{self, External, NetworkChoice, Origin, Placeholders, Tool};
use crate::sampler::cgroup::Cgroup;
use crate::sampler::process;
use crate::sampler::socket::Owner;
use echo_contract::ready::Ready;
use regex::Regex;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Pause between two looks at a server that is not up yet.
const RETRY: Duration = Duration::from_millis(5);
/// Longest wait for one echo of a server that takes connections before it is up.
const ONE_ECHO: Duration = Duration::from_secs(1);

/// What was found out about servers: asked once in a process, not again before each trial.
type Known<T> = Mutex<Vec<(External, T)>>;

fn once<T: Clone>(known: &Known<T>, external: &External, ask: impl FnOnce() -> T) -> T {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, answer)) = known.iter().find(|(asked, _)| asked == external) {
        return answer.clone();
    }
    let answer = ask();
    known.push((external.clone(), answer.clone()));
    answer
}

/// Why this server cannot be started here; none when it can.
#[must_use]
pub fn what_is_missing(external: &External) -> Option<String> {
    static KNOWN: Known<Option<String>> = Mutex::new(Vec::new());
    once(&KNOWN, external, || look_for_tool(external))
}

fn look_for_tool(external: &External) -> Option<String> {
    let Tool { program, version_min } = external.needs.as_ref()?;
    let output = match Command::new(program).arg("--version").stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(_) => return Some(format!("not here: `{program}` not found")),
    };
    let least = (*version_min)?;
    // Java prints its version to stderr when it is old.
    let text = [output.stdout, output.stderr].concat();
    let found = first_number(&String::from_utf8_lossy(&text));
    match found {
        Some(found) if found >= least => None,
        Some(found) => Some(format!("not here: `{program}` {least} or later, this is {found}")),
        None => Some(format!("not here: `{program} --version` names no version")),
    }
}

fn first_number(text: &str) -> Option<u64> {
    let from = text.find(|letter: char| letter.is_ascii_digit())?;
    let digits = text[from..].split(|letter: char| !letter.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// Builds a server that says how; once in a process.
///
/// # Errors
/// Unreachable, with the command, when that fails.
pub fn prepare(external: &External) -> Result<(), Failure> {
    if let Some(missing) = what_is_missing(external) {
        return Err(Failure::unreachable(format!("{}: {missing}", external.name)));
    }
    static BUILT: Mutex<Vec<External>> = Mutex::new(Vec::new());
    let Some((program, arguments)) = external.build.as_ref().and_then(|words| words.split_first()) else {
        return Ok(());
    };
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if built.contains(external) {
        return Ok(());
    }
    let line = external
        .build
        .as_ref()
        .map_or_else(String::new, |words| words.join(" "));
    notice(format_args!("{}: {line}", external.name));
    // What it prints must not mix with tables or records on stdout.
    let status = command(program, arguments, external).stdout(Stdio::null()).status();
    let failed = |why: String| Failure::unreachable(format!("{} could not be built: `{line}` {why}", external.name));
    match status {
        Ok(status) if status.success() => {
            built.push(external.clone());
            Ok(())
        }
        Ok(status) => Err(failed(how_ended(status))),
        Err(error) => Err(failed(format!("cannot be run: {error}"))),
    }
}

fn command(program: &str, arguments: &[String], external: &External) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    if let Some(folder) = &external.folder {
        command.current_dir(folder);
    }
    command
}

/// What the version command says; none without one, or when it fails.
fn version_of(external: &External) -> Option<String> {
    static KNOWN: Known<Option<String>> = Mutex::new(Vec::new());
    let (program, arguments) = external.version.as_ref()?.split_first()?;
    once(&KNOWN, external, || {
        let output = command(program, arguments, external).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        text.lines()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .map(str::to_owned)
    })
}

/// Starts the server on a free port and returns once it has echoed.
pub(super) fn start(request: &Request<'_>, external: &External) -> Result<Server, Failure> {
    if let Some(missing) = what_is_missing(external) {
        return Err(Failure::unreachable(format!("{}: {missing}", external.name)));
    }
    let failed = |text: String| Failure::unreachable(format!("{} could not be started: {text}", external.name));
    let address = free_address().map_err(|error| failed(format!("no free port: {error}")))?;
    let cpus: Vec<String> = request.server_cpus.iter().map(ToString::to_string).collect();
    let placeholders = Placeholders {
        port: address.port(),
        host: address.ip().to_string(),
        workers: request.workers.unwrap_or(1),
        cpus: cpus.join(","),
    };
    let words: Vec<String> = external.command.iter().map(|word| placeholders.fill(word)).collect();
    let (binary, arguments) = words
        .split_first()
        .ok_or_else(|| failed("its command is empty".into()))?;
    let environment: Vec<(String, String)> = external
        .environment
        .iter()
        .map(|(name, value)| (name.clone(), placeholders.fill(value)))
        .chain([(
            Mark::VARIABLE.to_owned(),
            Mark::of(&external.name, address.port()).to_string(),
        )])
        .collect();
    let folder = external.folder.as_ref().map(|folder| placeholders.fill(folder));
    let launch = Launch {
        launcher: &build::loadgen_executable(&build::server_directory(true)?)?,
        binary: Path::new(binary),
        arguments,
        environment: &environment,
        folder: folder.as_deref().map(Path::new),
        cpus: request.server_cpus,
        nofile: None,
        target: &external.name,
        workers: request.workers,
        counts_syscalls: request.counts_syscalls,
    };
    let is_up = |starting: &mut Starting| await_echo(starting, external, address, request);
    let (running, (probes, ready)) =
        Running::start_until(&launch, Cgroup::create(), Stdout::Kept, is_up).map_err(|failure| {
            end_container(external, address);
            Failure::new(failure.exit, format!("{}: {}", external.name, failure.text))
        })?;
    let up = Up {
        running,
        address,
        probes,
        ready,
        command: words,
    };
    Ok(up.server(request, external))
}

/// A server that has echoed.
struct Up {
    running: Running,
    address: SocketAddr,
    probes: Probes,
    ready: Option<Ready>,
    command: Vec<String>,
}

impl Up {
    fn server(self, request: &Request<'_>, external: &External) -> Server {
        let seen = seen_elsewhere(&self.running, self.address);
        let pid = seen.as_ref().map_or(Some(self.running.pid()), |seen| seen.pid);
        Server {
            addresses: vec![self.address],
            row: None,
            description: record::Target {
                name: external.name.clone(),
                model: Some(external.model.as_str().into()),
                runtime_version: version_of(external),
                workers: request.workers,
                address: self.address.to_string(),
                origin: Origin::Started,
                pid,
                command: Some(self.command),
                ready: self.ready,
                binary_sha256: pid.and_then(|pid| sha256_of(&process::executable_link(pid))),
                container: seen.as_ref().and_then(|seen| seen.container.clone()),
                ..record::Target::default()
            },
            probes: self.probes,
            process: match seen {
                None => Process::Started(Box::new(self.running)),
                Some(seen) => Process::StartedElsewhere {
                    running: Box::new(self.running),
                    container_id: seen.container_id,
                    why_no_pid: seen.why_no_pid,
                },
            },
        }
    }
}

/// Who serves, where it is none of the command's own processes: a container that `docker run` has started is the engine's child.
/// None where it is one of them, as always in a private network, where nobody else can be.
fn seen_elsewhere(running: &Running, address: SocketAddr) -> Option<Seen> {
    if network::is_private() {
        return None;
    }
    let own = running.processes();
    let is_own = |owner: &Owner| own.contains(&owner.pid);
    let who = match attach::listener(address) {
        Listener::Known(owner) if is_own(&owner) => return None,
        Listener::Several(owners) if owners.iter().all(is_own) => return None,
        // It cannot be told here whose a socket is; the command's cost still can.
        Listener::Unknown(_) => return None,
        Listener::Known(owner) => format!("{} (pid {})", owner.name, owner.pid),
        Listener::Several(_) => "several processes".to_owned(),
        Listener::None => "a process that is not seen here".to_owned(),
    };
    let why = |engine: &str| format!("{who} answers at {address}, and is none of the command's processes{engine}");
    Some(match container::answering(address) {
        Ok(Some(container)) => Seen::container(container),
        Ok(None) => Seen::unknown(&why("")),
        Err(engine) => Seen::unknown(&why(&format!("; {engine}"))),
    })
}

/// Ends the container of a command that was given up, which may have outlived the command.
fn end_container(external: &External, address: SocketAddr) {
    if external.network == Some(NetworkChoice::Host)
        && let Ok(Some(container)) = container::answering(address)
        && let Err(why) = container::end(&container.id)
    {
        notice(format_args!(
            "{}: its {} runs on: {why}",
            external.name,
            container.describe()
        ));
    }
}

/// Adds what a server printed to `FOLDER/NAME.log`, under a line that says which trial it was.
///
/// # Errors
/// When that file cannot be written.
pub fn keep_output(folder: &Path, name: &str, title: &str, output: &str) -> Result<(), Failure> {
    if output.is_empty() {
        return Ok(());
    }
    let path = folder.join(format!("{name}.log"));
    fs::create_dir_all(folder)
        .and_then(|()| fs::OpenOptions::new().create(true).append(true).open(&path))
        .and_then(|mut file| writeln!(file, "== {title}\n{}", output.trim_end()))
        .map_err(|error| Failure::unwritable(format!("{}: {error}", path.display())))
}

/// READY of a server that says what ours say.
fn said_ready(output: &str) -> Option<Ready> {
    output.lines().find_map(|line| Ready::from_line(line).ok())
}

/// A port of loopback that nobody listens on at this moment. The server is the next to ask for it, in a private network
/// the only one.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Waits for the line that says so, where there is one, and for the first echo.
fn await_echo(
    starting: &mut Starting,
    external: &External,
    address: SocketAddr,
    request: &Request<'_>,
) -> Result<(Probes, Option<Ready>), Failure> {
    let limit = request.connect_timeout;
    let deadline = Instant::now() + limit;
    let ready = external.ready.as_deref().map(Regex::new).transpose();
    let ready = ready.map_err(|error| Failure::usage(format!("`ready`: {error}")))?;
    let with_output = |starting: &Starting, failure: Failure| {
        Failure::new(failure.exit, failure.text + &last_lines(&starting.output()))
    };
    // Attempts without an echo reach the server too.
    let mut probes = Probes::default();
    loop {
        if let Some(status) = starting.end() {
            let hint = match status.success() {
                true => ": its command has to stay as long as the server does (of `docker run`, leave out --detach)",
                false => "",
            };
            let text = format!("it {} before its first echo{hint}", how_ended(status));
            return Err(with_output(starting, Failure::unreachable(text)));
        }
        let says_so = ready
            .as_ref()
            .is_none_or(|ready| starting.output().lines().any(|line| ready.is_match(line)));
        let left = deadline.saturating_duration_since(Instant::now());
        let missing = if says_so {
            let (of_attempt, echoed) = Probe::of(request).within(left.min(ONE_ECHO)).echo_counted(address, 1);
            probes.add(of_attempt);
            match echoed {
                Ok(()) => return Ok((probes, said_ready(&starting.output()))),
                Err(failure) if failure.exit != Exit::Unreachable => return Err(with_output(starting, failure)),
                Err(_) => "no echo came back",
            }
        } else {
            "no line that matches `ready` was printed"
        };
        if interrupt::asked() {
            return Err(Failure::interrupted());
        }
        if left.is_zero() {
            let text = format!(
                "it was started, and {missing} within {} s: give it more with --connect-timeout",
                limit.as_secs_f64()
            );
            return Err(with_output(starting, Failure::unreachable(text)));
        }
        thread::sleep(RETRY);
    }
}
