//! From a request to a server that has echoed: one that is there is attached to, else one is started.

use super::attach;
use super::build::{self, server_directory};
use super::container::{self, Container};
use super::external;
use super::fingerprint::sha256_of;
use super::holder::{Holder, awaited, holder_at_all, holder_of};
use super::probe::{Probe, Probes, echoes_wanted};
use super::resolve::{Resolved, resolve};
use super::server::{Process, Server, last_lines};
use super::spawn::{self, Running};
use crate::failure::{Exit, Failure};
use crate::interrupt;
use crate::record::{self, AddressChoice, External, Origin, Reach, Start};
use crate::sampler::cgroup::{self, Cgroup};
use crate::sampler::process::{self, Watch};
use crate::sampler::socket::Owner;
use crate::workload::opening::Opening;
use echo_contract::catalog;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// Which server is wanted.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Catalog name, or `HOST:PORT`.
    pub target: &'a str,
    /// The server of that name, where it is not one of the catalog.
    pub external: Option<&'a External>,
    pub start: Start,
    /// `--workers` of a server that is started; none leaves it to the server.
    pub workers: Option<u32>,
    /// CPUs that a started server is pinned to; empty means none.
    pub server_cpus: &'a [usize],
    /// Longest wait for an address that refuses, and for the first echo.
    pub connect_timeout: Duration,
    /// What the first echo is of; none takes a line of random bytes.
    pub opening: Option<&'a Opening>,
    /// Further flags of a server that is started.
    pub arguments: &'a [String],
    /// How an address is reached.
    pub reach: Reach,
    /// Addresses that clients connect from, whose family the server's must be; empty leaves the choice to the kernel.
    pub source_addresses: &'a [Ipv4Addr],
    /// Whether binaries are taken as they are.
    pub no_build: bool,
    /// Whether the system calls of a server that is started are counted, from its first instruction on.
    pub counts_syscalls: bool,
}

impl<'a> Request<'a> {
    /// A fresh server of this target, built if it is missing, with five seconds for its first echo.
    #[must_use]
    pub fn start(target: &'a str) -> Self {
        Self {
            target,
            external: None,
            start: Start::Always,
            workers: None,
            server_cpus: &[],
            connect_timeout: Duration::from_secs(5),
            opening: None,
            arguments: &[],
            reach: Reach::default(),
            source_addresses: &[],
            no_build: false,
            counts_syscalls: false,
        }
    }

    /// Whoever is there already.
    #[must_use]
    pub fn attach(target: &'a str) -> Self {
        Self {
            start: Start::Never,
            no_build: true,
            ..Self::start(target)
        }
    }
}

/// Finds or starts the server, and returns once it has echoed.
///
/// # Errors
/// Usage for a target that does not exist or may not be loaded, unreachable for one that does not answer or start,
/// corrupted for one that answers something else.
pub fn obtain(request: &Request<'_>) -> Result<Server, Failure> {
    // Whatever a wait that was cut short says of the server, it is not the server's fault.
    find_or_start(request).map_err(|failure| {
        if interrupt::asked() {
            Failure::interrupted()
        } else {
            failure
        }
    })
}

fn find_or_start(request: &Request<'_>) -> Result<Server, Failure> {
    if let Some(external) = request.external {
        return external::start(request, external);
    }
    let row = match resolve(request.target, request.reach, request.source_addresses)? {
        Resolved::Addresses(addresses) => return attach(request, &addresses, None),
        Resolved::Catalog(row) => row,
    };
    if request.start == Start::Always {
        return start(request, row);
    }
    let begun = Instant::now();
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
        holder => {
            // One limit for both waits: until somebody is there, and until it echoes.
            let left = Request {
                connect_timeout: request.connect_timeout.saturating_sub(begun.elapsed()),
                ..request.clone()
            };
            attach(&left, &[address], Some((row, holder)))
        }
    }
}

fn start(request: &Request<'_>, row: &'static catalog::Target) -> Result<Server, Failure> {
    let directory = server_directory(request.no_build)?;
    let binary = build::server_binary(&directory, row.binary)?;
    let arguments = arguments(row, request.workers, request.server_cpus, request.arguments);
    let launch = spawn::Launch {
        launcher: &build::loadgen_executable(&directory)?,
        binary: &binary,
        arguments: &arguments,
        environment: &[],
        folder: None,
        cpus: &[], // its own flag, which READY tells
        nofile: None,
        target: row.name,
        workers: request.workers,
        counts_syscalls: request.counts_syscalls,
    };
    let failed = |text: String| Failure::unreachable(format!("{} could not be started: {text}", row.name));
    let (running, ready) = Running::start(&launch, Cgroup::create()).map_err(failed)?;
    let address: SocketAddr = ready
        .address
        .parse()
        .map_err(|_| failed(format!("READY has no address but `{}`", ready.address)))?;
    let address = reachable(address);
    attach::prove_sole_owner(address, running.pid())
        .map_err(|text| Failure::unreachable(format!("{} was started, but {text}", row.name)))?;
    let echoes = echoes_wanted(&ready);
    let probes = Probe::of_known(request).echo(address, echoes).map_err(|problem| {
        let stderr = last_lines(&running.stderr());
        Failure::new(
            problem.exit,
            format!("{} said READY, but {}{stderr}", row.name, problem.text),
        )
    })?;
    let command = std::iter::once(binary.display().to_string()).chain(arguments);
    Ok(Server {
        addresses: vec![address],
        row: Some(row),
        description: record::Target {
            name: row.name.into(),
            model: Some(ready.model.as_str().into()),
            runtime: Some(ready.runtime.clone()),
            runtime_version: Some(ready.runtime_version.clone()),
            io_interface: Some(ready.io_interface.to_string()),
            accept_model: Some(ready.accept_model.clone()),
            buffer_policy: ready.buffer_policy.map(|policy| policy.as_str().to_string()),
            workers: Some(ready.workers),
            address: address.to_string(),
            origin: Origin::Started,
            pid: Some(running.pid()),
            command: Some(command.collect()),
            // Of the file that runs, not of the one that a build may have put there since.
            binary_sha256: sha256_of(&process::executable_link(running.pid())),
            ready: Some(ready),
            ..record::Target::default()
        },
        probes,
        process: Process::Started(Box::new(running)),
    })
}

/// Arguments that make a binary this target, on a free port.
pub(super) fn arguments(
    row: &catalog::Target,
    workers: Option<u32>,
    cpus: &[usize],
    further: &[String],
) -> Vec<String> {
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

/// Attaches to the addresses that take connections; which row that is, and who listens, may be known already.
fn attach(
    request: &Request<'_>,
    addresses: &[SocketAddr],
    known: Option<(&'static catalog::Target, Holder)>,
) -> Result<Server, Failure> {
    let addresses: Vec<SocketAddr> = addresses.iter().copied().map(reachable).collect();
    let answering = answering(&addresses, request)?;
    let (row, holder) = match known {
        Some((row, holder)) => (Some(row), holder),
        None => (None, holder_at_all(&answering.addresses)),
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
        Holder::Several(owners) => {
            return Err(Failure::unreachable(attach::shared_by(answering.addresses[0], &owners)));
        }
        Holder::Unseen(reason) => seen.why_no_pid = unknown(&reason),
        Holder::Nobody => seen.why_no_pid = unknown("no listening socket is seen here"),
    }
    // A server of ours at an address that was typed is still what it is.
    let row = row.or(seen.row);
    let texts = |addresses: &[SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
    let several = (answering.addresses.len() > 1).then(|| texts(&answering.addresses));
    Ok(Server {
        row,
        description: record::Target {
            name: request.target.to_owned(),
            model: row.map(|row| row.model.as_str().into()),
            runtime: row.map(|row| row.runtime.into()),
            io_interface: row.map(|row| row.io_interface.to_string()),
            workers: row
                .filter(|row| row.capacity == catalog::Capacity::OnePerWorker)
                .zip(seen.command.as_ref())
                .map(|(row, command)| attach::workers_of(row, command)),
            address: answering.addresses[0].to_string(),
            addresses: several.unwrap_or_default(),
            addresses_silent: texts(&answering.silent),
            origin: Origin::Attached,
            pid: seen.pid,
            command: seen.command,
            binary_sha256: seen.pid.and_then(|pid| sha256_of(&process::executable_link(pid))),
            container: seen.container,
            ..record::Target::default()
        },
        addresses: answering.addresses,
        probes: answering.probes,
        process: Process::Attached {
            watch: seen.pid.and_then(Watch::new),
            container_id: seen.container_id,
            why_no_pid: seen.why_no_pid,
        },
    })
}

/// The addresses of a name, by whether they echo.
struct Answering {
    /// At least one.
    addresses: Vec<SocketAddr>,
    silent: Vec<SocketAddr>,
    probes: Probes,
}

/// Longest wait for a further address of a name of which one has echoed already.
const FURTHER_ADDRESS: Duration = Duration::from_millis(500);

/// Which of these addresses echo: the first that does, or all.
fn answering(addresses: &[SocketAddr], request: &Request<'_>) -> Result<Answering, Failure> {
    let (first, probes) = Probe::of(request).echo_at_first(addresses)?;
    let mut found = Answering {
        addresses: Vec::new(),
        silent: Vec::new(),
        probes,
    };
    if request.reach.addresses == AddressChoice::First {
        found.addresses.push(first);
        return Ok(found);
    }
    for &address in addresses {
        if address == first {
            found.addresses.push(address);
            continue;
        }
        let further = Probe::of(request).within(FURTHER_ADDRESS.min(request.connect_timeout));
        match further.echo_at_first(&[address]) {
            Ok((_, more)) => {
                found.addresses.push(address);
                found.probes.add(more);
            }
            Err(failure) if failure.exit == Exit::Unreachable => found.silent.push(address),
            // What answers something else is no server to be measured beside.
            Err(failure) => return Err(failure),
        }
    }
    Ok(found)
}

/// What can be seen of a server that was not started here.
#[derive(Default)]
pub(super) struct Seen {
    row: Option<&'static catalog::Target>,
    pub(super) pid: Option<u32>,
    command: Option<Vec<String>>,
    pub(super) container: Option<record::Container>,
    pub(super) container_id: Option<String>,
    pub(super) why_no_pid: String,
}

impl Seen {
    pub(super) fn unknown(reason: &str) -> Self {
        Self {
            why_no_pid: format!("the server's process is not known: {reason}"),
            ..Self::default()
        }
    }

    fn process(owner: Owner) -> Self {
        Self {
            row: attach::row_of(&owner),
            pid: Some(owner.pid),
            command: process::command(owner.pid),
            ..Self::default()
        }
    }

    pub(super) fn container(container: Container) -> Self {
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
