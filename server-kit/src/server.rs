//! The life of a server: flags, limits, signals, `run`, the last clients, STATS.

use crate::admission::Admission;
use crate::cli::{self, Settings};
use crate::counters::Counters;
use crate::linger::Closer;
use crate::notice::{Throttle, notice};
use crate::seats::Seats;
use crate::socket::Port;
use crate::{healthcheck, limits, registry, signal, socket, unavailable};
use echo_contract::catalog::{Capacity, Model};
use echo_contract::ready::{Ready, RingFacts};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// What only the backend knows of itself; the rest stands in the catalog row of its binary.
#[derive(Clone, Copy, Debug)]
pub struct ServerIdentity {
    /// File name of the binary, `env!("CARGO_BIN_NAME")`.
    pub binary: &'static str,
    /// [`locked_version`] of the library that schedules the clients.
    pub runtime_version: &'static str,
}

/// Runs a server from its flags to its exit code: 0 after a stop, 69 for [`Unavailable`](crate::Unavailable), 1 for any
/// other failure, told in one paragraph on stderr; wrong flags end the process with 2.
///
/// `run` serves until the kit says stop and no connection is open, and then returns.
pub fn serve(identity: ServerIdentity, run: impl FnOnce(Server) -> io::Result<()>) -> ExitCode {
    let settings = cli::parse(identity.binary);
    let name = settings.target.name;
    let outcome = match settings.is_healthcheck {
        true => healthcheck::check(settings.address),
        false => prepare(identity, settings).and_then(|server| live(server, run)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            notice(&format!("{name}: {error}"));
            unavailable::exit_code(&error)
        }
    }
}

/// As [`serve`], for a runtime that takes its number of threads from nowhere but an environment variable.
pub fn serve_with_workers_in(
    variable: &'static str,
    identity: ServerIdentity,
    run: impl FnOnce(Server) -> io::Result<()>,
) -> ExitCode {
    serve(identity, |server| {
        // SAFETY: nobody reads the environment meanwhile: the kit has started no thread yet, nor has the runtime.
        unsafe { std::env::set_var(variable, server.workers().to_string()) };
        run(server)
    })
}

fn prepare(identity: ServerIdentity, mut settings: Settings) -> io::Result<Server> {
    let has_workers = settings.target.model == Model::Event || settings.target.capacity == Capacity::OnePerWorker;
    if !has_workers && settings.workers != 1 {
        let (workers, about) = (settings.workers, settings.target.about);
        notice(&format!("warning: --workers {workers} changes nothing here: {about}"));
        settings.workers = 1;
    }
    if let Some(cpus) = &settings.cpus {
        limits::pin(&cpus.numbers, &cpus.typed)?;
    }
    if !settings.address.ip().is_loopback() {
        notice(&format!(
            "warning: --bind {} opens an echo service to other machines, which can be abused to send traffic to third \
             parties",
            settings.address.ip()
        ));
    }
    let nofile = limits::raise_nofile()?;
    registry::create(usize::try_from(nofile).unwrap_or(usize::MAX))?;
    signal::install(settings.drain_timeout, settings.idle_timeout)?;
    // Lives as long as the process: threads, tasks and signal handlers all refer to it.
    Ok(Server(Box::leak(Box::new(Inner {
        runtime_version: identity.runtime_version,
        nofile,
        counters: Counters::new_shared()?,
        admission: Admission::default(),
        closer: Closer::new(),
        seats: Seats::new(seats(&settings))?,
        accept_trouble: Throttle::new_shared()?,
        refusal_trouble: Throttle::new_shared()?,
        ring_facts: OnceLock::new(),
        listening: Mutex::new(None),
        has_failed: AtomicBool::new(false),
        settings,
    }))))
}

fn live(server: Server, run: impl FnOnce(Server) -> io::Result<()>) -> io::Result<()> {
    let outcome = run(server);
    server.inner().closer.wait_finished();
    if server.lock_listening().is_some() {
        print(&server.inner().counters.stats().to_line());
    }
    outcome?;
    match server.inner().has_failed.load(SeqCst) {
        true => Err(io::Error::other("stopped by the failure told above")),
        false => Ok(()),
    }
}

/// A running server: what `run` and the backend's tasks, threads and children work with. Copying it is free.
#[derive(Clone, Copy)]
pub struct Server(&'static Inner);

pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) runtime_version: &'static str,
    /// Descriptor limit in force.
    pub(crate) nofile: u64,
    pub(crate) counters: &'static Counters,
    pub(crate) admission: Admission,
    pub(crate) closer: Closer,
    pub(crate) seats: Seats,
    pub(crate) accept_trouble: Throttle,
    pub(crate) refusal_trouble: Throttle,
    ring_facts: OnceLock<RingFacts>,
    listening: Mutex<Option<Listening>>,
    has_failed: AtomicBool,
}

/// How clients get in. The kit keeps a descriptor of each listener for the stop, so it does not matter what a
/// runtime does with its own.
struct Listening {
    accept_model: &'static str,
    address: SocketAddr,
    listeners: Vec<TcpListener>,
}

const PER_WORKER: &str = "listener per worker (SO_REUSEPORT)";

impl Server {
    /// Makes the one listener that all workers accept from; it blocks, and is closed by the kit on a stop.
    ///
    /// # Errors
    /// When the address cannot be listened on; the text names the flag and the way out.
    pub fn bind_shared(&self) -> io::Result<TcpListener> {
        self.bind_shared_as("shared listener")
    }

    /// As [`Server::bind_shared`], for workers that do not simply all accept; READY says what they do instead.
    ///
    /// # Errors
    /// As [`Server::bind_shared`].
    pub fn bind_shared_as(&self, accept_model: &'static str) -> io::Result<TcpListener> {
        let settings = &self.0.settings;
        let listener = socket::listen(settings.address, settings.backlog, Port::Own)?;
        let kept = listener.try_clone()?;
        registry::register_listener(kept.as_raw_fd())?;
        *self.lock_listening() = Some(Listening {
            accept_model,
            address: kept.local_addr()?,
            listeners: vec![kept],
        });
        Ok(listener)
    }

    /// Makes a listener for one worker, on the port that all of them share (SO_REUSEPORT): the kernel gives each
    /// connection to one of them, by a hash of its addresses. To be called once for each worker, before READY. It
    /// blocks, and is closed by the kit on a stop; in a forked worker on its own stop.
    ///
    /// # Errors
    /// When the address cannot be listened on, also because another server shares it; the text names the way out.
    pub fn bind_per_worker(&self) -> io::Result<TcpListener> {
        let settings = &self.0.settings;
        let mut listening = self.lock_listening();
        let (address, port) = match &*listening {
            Some(others) => (others.address, Port::Joined),
            None => (settings.address, Port::Shared),
        };
        let listener = socket::listen(address, settings.backlog, port)?;
        let kept = listener.try_clone()?;
        registry::register_listener(kept.as_raw_fd())?;
        if signal::is_forked_child() {
            // Kept open all the same. What `listening` holds are the parent's, whose numbers may mean something
            // else in this process: it must not be touched.
            std::mem::forget(kept);
        } else {
            let address = kept.local_addr()?;
            let listening = listening.get_or_insert(Listening {
                accept_model: PER_WORKER,
                address,
                listeners: Vec::new(),
            });
            listening.listeners.push(kept);
        }
        Ok(listener)
    }

    /// Takes the port for workers that will be forked and each call [`Server::bind_per_worker`]. Nothing listens yet,
    /// so no client is sent to this process, and the port stays the server's even when all workers have died.
    ///
    /// # Errors
    /// As [`Server::bind_per_worker`].
    pub fn claim_port(&self) -> io::Result<()> {
        let socket = socket::claim(self.0.settings.address)?;
        *self.lock_listening() = Some(Listening {
            accept_model: PER_WORKER,
            address: socket.local_addr()?,
            listeners: vec![socket],
        });
        Ok(())
    }

    /// Prints READY, read back from the system. To be called once, when every worker can accept.
    ///
    /// # Errors
    /// When nothing listens yet, or the system does not tell what is in force.
    pub fn ready(&self) -> io::Result<()> {
        let listening = self.lock_listening();
        let Some(Listening {
            accept_model,
            address,
            listeners,
        }) = &*listening
        else {
            return Err(io::Error::other("READY before a listener was made"));
        };
        let listener = &listeners[0];
        let settings = &self.0.settings;
        let line = Ready {
            target: settings.target.name.into(),
            pid: std::process::id(),
            address: address.to_string(),
            model: settings.target.model,
            runtime: settings.target.runtime.into(),
            runtime_version: self.0.runtime_version.into(),
            io_interface: settings.target.io_interface.into(),
            accept_model: (*accept_model).into(),
            workers: settings.workers,
            buffer_bytes: settings.buffer_bytes as u64,
            backlog: settings.backlog,
            congestion_control: socket::congestion_control(listener)?,
            nodelay: socket::nodelay(listener)?,
            max_connections: settings.max_connections,
            idle_timeout_ms: settings.idle_timeout.map(milliseconds),
            drain_timeout_ms: milliseconds(settings.drain_timeout),
            work_ns: u64::try_from(settings.work.as_nanos()).unwrap_or(u64::MAX),
            work_source: settings.work_source.as_ref().map(IpAddr::to_string),
            cpus: settings.cpus.as_ref().map(|cpus| cpus.typed.clone()),
            nofile: self.0.nofile,
            ring: self.0.ring_facts.get().cloned(),
        }
        .to_line();
        print(&line);
        Ok(())
    }

    /// `--workers`.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.0.settings.workers as usize
    }

    /// `--strategy`; empty for a server that has none.
    #[must_use]
    pub fn strategy(&self) -> &'static str {
        self.0.settings.strategy.as_deref().unwrap_or_default()
    }

    /// `--drain-timeout`.
    #[must_use]
    pub fn drain_timeout(&self) -> Duration {
        self.0.settings.drain_timeout
    }

    /// A connection's one read buffer, of `--buffer-size`.
    #[must_use]
    pub fn buffer(&self) -> Vec<u8> {
        vec![0; self.0.settings.buffer_bytes]
    }

    /// Whether a stop has begun.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        signal::is_stopping()
    }

    pub(crate) fn inner(&self) -> &'static Inner {
        self.0
    }

    /// Begins a stop after which the process exits with 1: a worker cannot go on, so the others must not seem to.
    pub fn fail(&self) {
        self.0.has_failed.store(true, SeqCst);
        signal::begin_stop();
    }

    /// READY will tell them.
    #[cfg(feature = "ring")]
    pub(crate) fn set_ring_facts(&self, facts: RingFacts) {
        let _ = self.0.ring_facts.set(facts);
    }

    fn lock_listening(&self) -> std::sync::MutexGuard<'_, Option<Listening>> {
        self.0.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

include!(concat!(env!("OUT_DIR"), "/versions.rs"));

/// The version of a direct dependency as the lock file has it, or of the compiler for `std`; for use in a
/// constant, where a library that is no dependency is a compile error.
///
/// # Panics
/// When nothing in the workspace depends on `library`.
#[must_use]
pub const fn locked_version(library: &str) -> &'static str {
    let mut row = 0;
    while row < VERSIONS.len() {
        if is_same(VERSIONS[row].0.as_bytes(), library.as_bytes()) {
            return VERSIONS[row].1;
        }
        row += 1;
    }
    panic!("no such direct dependency in Cargo.lock")
}

/// `==`, which a constant function cannot use on slices.
const fn is_same(a: &[u8], b: &[u8]) -> bool {
    let mut index = 0;
    while index < a.len() && index < b.len() && a[index] == b[index] {
        index += 1;
    }
    a.len() == b.len() && index == a.len()
}

/// One line on stdout, at once. A closed stdout is not the clients' fault.
fn print(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// Clients that forked workers may serve at a time, one each.
fn seats(settings: &Settings) -> usize {
    let workers = u64::from(settings.workers);
    usize::try_from(settings.max_connections.map_or(workers, |limit| limit.min(workers))).unwrap_or(usize::MAX)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
