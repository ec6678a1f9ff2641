//! Obtains the server to be measured, started or attached to, and gives it back. The only place that starts or stops
//! processes; it opens sockets for the first echo only.

mod attach;
mod build;
mod container;
mod launch;
mod network;
mod owner;
mod probe;
mod resolve;
mod spawn;
mod truth;
mod verify;

pub use build::server_directory;
pub use launch::{VERB as LAUNCH_VERB, launch_server};
pub use network::{TRY_VERB, prepare_private, try_private};
pub use owner::run_as_owner_of;
pub use probe::Probes;
pub use resolve::{Resolved, resolve};
pub use spawn::Usage;
pub use truth::{TRUTH_VERB, TruthServer};
pub use verify::Launcher;

use crate::environment;
use crate::failure::Failure;
use crate::record::Start;
use crate::record::{self, Origin};
use crate::sampler::Watched;
use crate::sampler::cgroup::{self, Cgroup};
use crate::sampler::process::{self, Watch};
use crate::sampler::socket::Owner;
use crate::sampler::syscalls::{self, SyscallCounter};
use attach::Listener;
use container::Container;
use echo_contract::catalog::{self, TARGETS};
use echo_contract::stats::Stats;
use nix::sys::signal::Signal;
use sha2::{Digest, Sha256};
use spawn::Running;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Time a server gets beyond its drain timeout.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// Pause between two look-ups of a service that is not up yet.
const SERVICE_RETRY: Duration = Duration::from_millis(100);

/// Which server is wanted.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Catalog name, or `HOST:PORT`.
    pub target: &'a str,
    pub start: Start,
    /// `--workers` of a server that is started; none leaves it to the server.
    pub workers: Option<u32>,
    /// CPUs that a started server is pinned to; empty means none.
    pub server_cpus: &'a [usize],
    /// Longest wait for an address that refuses, and for the first echo.
    pub connect_timeout: Duration,
    /// Further flags of a server that is started.
    pub arguments: &'a [String],
    /// Whether an address outside of loopback and private networks may be loaded.
    pub allow_public: bool,
    /// Whether binaries are taken as they are.
    pub no_build: bool,
    /// Whether the system calls of a server that is started are counted, from its first instruction on.
    pub counts_syscalls: bool,
}

/// A server that echoes. Dropping it kills a server that was started; see [`Server::stop`] for the clean way.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    row: Option<&'static catalog::Target>,
    description: record::Target,
    probes: Probes,
    process: Process,
}

#[derive(Debug)]
enum Process {
    Started(Box<Running>),
    Attached {
        watch: Option<Watch>,
        /// Of the container whose first process is known.
        container_id: Option<String>,
        /// Why the process is not known; empty when it is.
        why_no_pid: String,
    },
}

/// How a server ended.
#[derive(Clone, Debug, Default)]
pub struct Stopped {
    /// Null for a server that was attached to, or one that printed none.
    pub stats: Option<Stats>,
    /// Its whole life; exact also for children, once the server has reaped them. Null when attached.
    pub usage: Option<Usage>,
    /// Exit code 0 and nothing left behind.
    pub clean: bool,
    /// How it ended, with the last lines of its stderr if that was not clean.
    pub text: String,
}

/// Finds or starts the server, and returns once it has echoed.
///
/// # Errors
/// Usage for a target that does not exist or may not be loaded, unreachable for one that does not answer or start,
/// corrupted for one that answers something else.
pub fn obtain(request: &Request<'_>) -> Result<Server, Failure> {
    let row = match resolve(request.target, request.allow_public)? {
        Resolved::Addresses(addresses) => return attach(request, &addresses, None),
        Resolved::Catalog(row) => row,
    };
    if request.start == Start::Always {
        return start(request, row);
    }
    let (address, holder) = match request.start {
        Start::Never => awaited(row, request.connect_timeout),
        Start::Auto | Start::Always => holder_of(row),
    };
    let held_by = |who: String| {
        Failure::unreachable(format!(
            "{address} is held by {who}, not by {}: use --start always",
            row.name
        ))
    };
    match holder {
        Holder::Nobody if request.start == Start::Auto => start(request, row),
        Holder::Container(container) if container.row() != Some(row) => Err(held_by(container.describe())),
        Holder::Process(owner) if attach::row_of(&owner) != Some(row) => {
            Err(held_by(format!("{} (pid {})", owner.name, owner.pid)))
        }
        Holder::Several(owners) => Err(Failure::unreachable(attach::shared_by(address, &owners))),
        Holder::Unseen(reason) if request.start == Start::Auto => Err(Failure::unreachable(format!(
            "{address} is held by a process that cannot be seen ({reason}), perhaps not by {}: use --start always",
            row.name
        ))),
        holder => attach(request, &[address], Some((row, holder))),
    }
}

/// The targets that are up on their own ports, here or in containers.
pub fn running() -> impl Iterator<Item = &'static catalog::Target> {
    TARGETS.iter().filter(|row| match holder_of(row).1 {
        Holder::Process(owner) => attach::row_of(&owner) == Some(row),
        Holder::Container(container) => container.row() == Some(row),
        Holder::Service => true,
        Holder::Nobody | Holder::Several(_) | Holder::Unseen(_) => false,
    })
}

/// Whether anybody, the target or not, is where the target is to be found.
#[must_use]
pub fn is_held(row: &'static catalog::Target) -> bool {
    !matches!(holder_of(row).1, Holder::Nobody)
}

/// Who answers at an address.
enum Holder {
    Nobody,
    Process(Owner),
    Container(Box<Container>),
    /// A service of that name in the container network that loadgen is in too.
    Service,
    Several(Vec<Owner>),
    /// Something may, but it cannot be told what; why.
    Unseen(String),
}

/// Where a target is to be found, and who is there: its port on this machine, or the service of its name.
fn holder_of(row: &'static catalog::Target) -> (SocketAddr, Holder) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, row.port));
    match holder_at(address) {
        Holder::Nobody => match container::service(row) {
            Some(address) => (address, Holder::Service),
            None => (address, Holder::Nobody),
        },
        holder => (address, holder),
    }
}

/// As [`holder_of`]. In a container it waits for a service of the target's name, which has no address before it is up.
fn awaited(row: &'static catalog::Target, limit: Duration) -> (SocketAddr, Holder) {
    let deadline = Instant::now() + limit;
    loop {
        let found = holder_of(row);
        let is_service_to_come = matches!(found.1, Holder::Nobody) && environment::is_container();
        if !is_service_to_come || Instant::now() >= deadline {
            return found;
        }
        thread::sleep(SERVICE_RETRY);
    }
}

/// Who answers at an address of this machine. The engine is asked where no process of a server is seen: a published port
/// is held by the engine's proxy, or by none at all.
fn holder_at(address: SocketAddr) -> Holder {
    let in_container = || container::publishing(address.port());
    match attach::listener(address) {
        Listener::Known(owner) if attach::row_of(&owner).is_some() => {
            // With `--network host` it is a process like any other, but for its groups.
            match cgroup::container_id(owner.pid)
                .filter(|id| cgroup::container_id(std::process::id()).as_ref() != Some(id))
            {
                Some(id) => {
                    container::with_id(&id).map_or(Holder::Process(owner), |found| Holder::Container(found.into()))
                }
                None => Holder::Process(owner),
            }
        }
        Listener::Known(owner) => match in_container() {
            Ok(Some(found)) => Holder::Container(found.into()),
            Ok(None) | Err(_) => Holder::Process(owner),
        },
        Listener::Several(owners) => Holder::Several(owners),
        Listener::None if !address.ip().is_loopback() || !container::is_answered(address) => Holder::Nobody,
        Listener::None => match in_container() {
            Ok(Some(found)) => Holder::Container(found.into()),
            Ok(None) => Holder::Unseen("no listening socket is seen here".into()),
            Err(reason) => Holder::Unseen(reason),
        },
        Listener::Unknown(reason) => match in_container() {
            Ok(Some(found)) => Holder::Container(found.into()),
            Ok(None) => Holder::Unseen(reason),
            Err(engine) => Holder::Unseen(format!("{reason}; {engine}")),
        },
    }
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub fn origin(&self) -> Origin {
        self.description.origin
    }

    /// Which row of the catalog it is; none for a foreign server.
    #[must_use]
    pub fn row(&self) -> Option<&'static catalog::Target> {
        self.row
    }

    /// What the record says of it.
    #[must_use]
    pub fn description(&self) -> record::Target {
        self.description.clone()
    }

    /// Its first process; none where it cannot be seen.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.description.pid
    }

    /// Why [`Server::pid`] is none, as one phrase.
    #[must_use]
    pub fn why_no_pid(&self) -> &str {
        match &self.process {
            Process::Started(_) => "",
            Process::Attached { why_no_pid, .. } => why_no_pid,
        }
    }

    /// What the sampler reads.
    #[must_use]
    pub fn watched(&self) -> Watched {
        let (cgroup, container_id) = match &self.process {
            Process::Started(running) => (running.cgroup().ok().cloned(), None),
            Process::Attached { container_id, .. } => (None, container_id.clone()),
        };
        Watched {
            pid: self.pid(),
            why_no_pid: self.why_no_pid().to_owned(),
            cgroup,
            container_id,
            is_attached: self.origin() == Origin::Attached,
        }
    }

    /// What counts the system calls of a server that was started, or why nothing does.
    ///
    /// # Errors
    /// The reason, as one phrase.
    pub fn syscalls(&self) -> Result<Arc<SyscallCounter>, String> {
        match &self.process {
            Process::Started(running) => running.syscalls().cloned().map_err(str::to_owned),
            Process::Attached { .. } => Err(syscalls::NOT_ASKED.to_owned()),
        }
    }

    /// What the first echoes added to the server's counters.
    #[must_use]
    pub fn probes(&self) -> Probes {
        self.probes
    }

    /// Whether its first process runs; a server whose process cannot be seen counts as alive. One system call.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        match &self.process {
            Process::Started(running) => running.is_alive(),
            Process::Attached { watch, .. } => watch.as_ref().is_none_or(Watch::is_alive),
        }
    }

    /// Stops a server that was started: SIGTERM, its drain timeout and two seconds, then SIGKILL for all of it.
    /// Leaves one that was attached to alone.
    #[must_use]
    pub fn stop(self) -> Stopped {
        match self.process {
            Process::Started(running) => stop(*running),
            Process::Attached { .. } => Stopped {
                clean: true,
                text: "left running".into(),
                ..Stopped::default()
            },
        }
    }
}

fn stop(mut running: Running) -> Stopped {
    let limit = Duration::from_millis(running.ready().drain_timeout_ms) + STOP_GRACE;
    // It may have ended by itself, which the wait finds out.
    let _ = running.signal(Signal::SIGTERM);
    let ended = running.wait(limit).ok().flatten();
    let is_in_time = ended.is_some();
    let killed = running.kill_rest();
    let ended = ended.or_else(|| running.wait(Duration::ZERO).ok().flatten());
    let mut text = match &ended {
        Some(ended) => format!("the server {}", spawn::how_ended(ended.status)),
        None => "the server did not end".to_owned(),
    };
    if !is_in_time {
        text += &format!(" after it ignored SIGTERM for {} s", limit.as_secs());
    } else if killed > 0 {
        text += &format!(", but left {killed} processes behind, which were killed");
    }
    let clean = killed == 0 && ended.as_ref().is_some_and(|ended| ended.status.success());
    if !clean {
        text += &last_lines(&running.stderr());
    }
    Stopped {
        stats: ended.as_ref().and_then(|ended| ended.stats),
        usage: ended.map(|ended| ended.usage),
        clean,
        text,
    }
}

/// The end of a server's stderr, to be put behind a sentence.
fn last_lines(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().collect();
    let last = &lines[lines.len().saturating_sub(5)..];
    if last.is_empty() {
        return String::new();
    }
    format!("; its last words: {}", last.join(" / "))
}

fn start(request: &Request<'_>, row: &'static catalog::Target) -> Result<Server, Failure> {
    let directory = server_directory(request.no_build)?;
    let binary = build::server_binary(&directory, row.binary)?;
    let arguments = arguments(row, request.workers, request.server_cpus, request.arguments);
    let launch = spawn::Launch {
        launcher: &build::loadgen_executable(&directory)?,
        binary: &binary,
        arguments: &arguments,
        nofile: None,
        target: row.name,
        workers: request.workers,
        counts_syscalls: request.counts_syscalls,
    };
    let failed = |text: String| Failure::unreachable(format!("{} could not be started: {text}", row.name));
    let running = Running::start(&launch, Cgroup::create()).map_err(failed)?;
    let ready = running.ready().clone();
    let address: SocketAddr = ready
        .address
        .parse()
        .map_err(|_| failed(format!("READY has no address but `{}`", ready.address)))?;
    let address = reachable(address);
    attach::prove_sole_owner(address, running.pid())
        .map_err(|text| Failure::unreachable(format!("{} was started, but {text}", row.name)))?;
    let echoes = probe::echoes_wanted(&ready);
    let probes = probe::echo(address, echoes, request.connect_timeout).map_err(|problem| {
        let stderr = last_lines(&running.stderr());
        Failure::new(
            problem.exit,
            format!("{} said READY, but {}{stderr}", row.name, problem.text),
        )
    })?;
    let command = std::iter::once(binary.display().to_string()).chain(arguments);
    Ok(Server {
        address,
        row: Some(row),
        description: record::Target {
            name: row.name.into(),
            model: Some(ready.model.as_str().into()),
            runtime: Some(ready.runtime.clone()),
            runtime_version: Some(ready.runtime_version.clone()),
            io_interface: Some(ready.io_interface.to_string()),
            accept_model: Some(ready.accept_model.clone()),
            workers: Some(ready.workers),
            address: address.to_string(),
            origin: Origin::Started,
            pid: Some(running.pid()),
            command: Some(command.collect()),
            // Of the file that runs, not of the one that a build may have put there since.
            binary_sha256: sha256_of(&process::executable_link(running.pid())),
            ready: Some(ready),
            container: None,
        },
        probes,
        process: Process::Started(Box::new(running)),
    })
}

/// Arguments that make a binary this target, on a free port.
fn arguments(row: &catalog::Target, workers: Option<u32>, cpus: &[usize], further: &[String]) -> Vec<String> {
    let mut arguments: Vec<String> = row.arguments.iter().map(|word| (*word).to_owned()).collect();
    arguments.extend(["--port".to_owned(), "0".to_owned()]);
    if let Some(workers) = workers {
        arguments.extend(["--workers".to_owned(), workers.to_string()]);
    }
    if !cpus.is_empty() {
        let cpus: Vec<String> = cpus.iter().map(ToString::to_string).collect();
        arguments.extend(["--cpus".to_owned(), cpus.join(",")]);
    }
    arguments.extend_from_slice(further);
    arguments
}

/// Attaches to the first address that takes connections; which row that is, and who listens, may be known already.
fn attach(
    request: &Request<'_>,
    addresses: &[SocketAddr],
    known: Option<(&'static catalog::Target, Holder)>,
) -> Result<Server, Failure> {
    let addresses: Vec<SocketAddr> = addresses.iter().copied().map(reachable).collect();
    let (address, probes) = probe::echo_at_first(&addresses, request.connect_timeout)?;
    let (row, holder) = match known {
        Some((row, holder)) => (Some(row), holder),
        None => (None, holder_at(address)),
    };
    let unknown = |reason: &str| format!("the server's process is not known: {reason}");
    let mut seen = Seen::default();
    match holder {
        Holder::Process(owner) => seen = Seen::process(owner),
        Holder::Container(container) => seen = Seen::container(*container),
        Holder::Service => {
            seen.container = row.map(container::seen_by_name);
            seen.why_no_pid = unknown("it runs in another container, whose cost only the host can see");
        }
        Holder::Several(owners) => return Err(Failure::unreachable(attach::shared_by(address, &owners))),
        Holder::Unseen(reason) => seen.why_no_pid = unknown(&reason),
        Holder::Nobody => seen.why_no_pid = unknown("no listening socket is seen here"),
    }
    // A server of ours at an address that was typed is still what it is.
    let row = row.or(seen.row);
    Ok(Server {
        address,
        row,
        description: record::Target {
            name: request.target.to_owned(),
            model: row.map(|row| row.model.as_str().into()),
            runtime: row.map(|row| row.runtime.into()),
            runtime_version: None,
            io_interface: row.map(|row| row.io_interface.to_string()),
            accept_model: None,
            workers: row
                .filter(|row| row.capacity == catalog::Capacity::OnePerWorker)
                .zip(seen.command.as_ref())
                .map(|(row, command)| attach::workers_of(row, command)),
            address: address.to_string(),
            origin: Origin::Attached,
            pid: seen.pid,
            command: seen.command,
            binary_sha256: seen.pid.and_then(|pid| sha256_of(&process::executable_link(pid))),
            ready: None,
            container: seen.container,
        },
        probes,
        process: Process::Attached {
            watch: seen.pid.and_then(Watch::new),
            container_id: seen.container_id,
            why_no_pid: seen.why_no_pid,
        },
    })
}

/// What can be seen of a server that was not started here.
#[derive(Default)]
struct Seen {
    row: Option<&'static catalog::Target>,
    pid: Option<u32>,
    command: Option<Vec<String>>,
    container: Option<record::Container>,
    container_id: Option<String>,
    why_no_pid: String,
}

impl Seen {
    fn process(owner: Owner) -> Self {
        Self {
            row: attach::row_of(&owner),
            pid: Some(owner.pid),
            command: process::command(owner.pid),
            ..Self::default()
        }
    }

    fn container(container: Container) -> Self {
        // An engine in a virtual machine numbers processes that are not this machine's.
        let is_here = cgroup::container_id(container.pid).as_ref() == Some(&container.id);
        Self {
            row: container.row(),
            pid: is_here.then_some(container.pid),
            why_no_pid: if is_here {
                String::new()
            } else {
                format!(
                    "the server's process is not known: {} runs outside of this machine's view",
                    container.describe()
                )
            },
            command: Some(container.command),
            container: Some(container.record),
            container_id: is_here.then_some(container.id),
        }
    }
}

/// An unspecified address means all of this machine's; loopback is the one to measure over.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// SHA-256 of a file in hex; none when it cannot be read. A file is hashed once in a process.
#[must_use]
pub fn sha256_of(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    type Known = HashMap<(u64, u64, u64, i64, i64), String>;
    static KNOWN: Mutex<Option<Known>> = Mutex::new(None);
    let hash = |path: &Path| -> io::Result<String> {
        let mut hasher = Sha256::new();
        io::copy(&mut File::open(path)?, &mut hasher)?;
        Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    };
    let about = fs::metadata(path).ok()?;
    let key = (about.dev(), about.ino(), about.len(), about.mtime(), about.mtime_nsec());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_with(HashMap::new);
    if let Some(hex) = known.get(&key) {
        return Some(hex.clone());
    }
    let hex = hash(path).ok()?;
    known.insert(key, hex.clone());
    Some(hex)
}
