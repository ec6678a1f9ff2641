//! The life of a server: flags, limits, signals, `run`, the last clients, STATS.

use crate::admission::Admission;
use crate::cli::{self, Settings};
use crate::counters::Counters;
use crate::listening::Listening;
use crate::notice::{self, Throttle, notice};
use crate::seats::Seats;
use crate::{backoff, healthcheck, limits, linger, panics, registry, shared, signal, state, unavailable};
use echo_contract::catalog::{Capacity, Model};
use echo_contract::ready::{BufferPolicy, RingFacts};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// What only the backend knows of itself; the rest stands in the catalog row of its binary.
#[derive(Clone, Copy, Debug)]
pub struct ServerIdentity {
    /// File name of the binary, `env!("CARGO_BIN_NAME")`.
    pub binary: &'static str,
    /// [`locked_version`] of the library that schedules the clients.
    pub runtime_version: &'static str,
    /// Whose the buffers of [`Server::buffer`] are, for READY.
    pub buffers: BufferPolicy,
}

/// Runs a server from its flags to its exit code: 0 after a stop, 69 for [`Unavailable`](crate::Unavailable), 1 for any
/// other failure, a panic before READY included, said in one paragraph on stderr; wrong flags end the process with 2.
///
/// `run` serves until the kit says stop and no connection is open, and then returns.
pub fn serve(identity: ServerIdentity, run: impl FnOnce(Server) -> io::Result<()>) -> ExitCode {
    let settings = cli::parse(identity.binary);
    let name = settings.target.name;
    panics::install(name);
    let outcome = if settings.is_healthcheck {
        healthcheck::check(settings.address)
    } else {
        prepare(identity, settings).and_then(|server| live(server, run))
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            panics::claim_last_word();
            notice(&format!("{name}: {}", sentence(&error)));
            unavailable::exit_code(&error)
        }
    }
}

/// What the system says of a thread or process that it does not give would be a riddle by itself.
fn sentence(error: &io::Error) -> String {
    if error.raw_os_error() == Some(libc::EAGAIN) && !state::is_ready() {
        format!(
            "cannot start: no thread or process: {error}. Raise the limit (`ulimit -u`, or the pids limit of the container)"
        )
    } else {
        error.to_string()
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

/// First of all the signals: what the parent left of them must not end what follows.
fn prepare(identity: ServerIdentity, mut settings: Settings) -> io::Result<Server> {
    notice::install()?;
    backoff::install()?;
    let nofile = limits::raise_nofile()?;
    registry::create(usize::try_from(nofile).unwrap_or(usize::MAX))?;
    signal::install(settings.drain_timeout, settings.idle_timeout)?;
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
    let counters: &Counters = shared::value()?;
    linger::install(counters, nofile);
    // Lives as long as the process: threads, tasks and signal handlers all refer to it.
    Ok(Server(Box::leak(Box::new(Inner {
        runtime_version: identity.runtime_version,
        buffers: identity.buffers,
        nofile,
        counters,
        admission: Admission::default(),
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
    // What panicked was said by the hook.
    let panicked = |_| Err(io::Error::other("stopped by a panic"));
    let outcome = catch_unwind(AssertUnwindSafe(|| run(server))).unwrap_or_else(panicked);
    linger::wait_finished();
    if state::is_ready() {
        print(&server.inner().counters.stats().to_line());
    }
    outcome?;
    if server.inner().has_failed.load(SeqCst) {
        return Err(io::Error::other("stopped by the failure named above"));
    }
    Ok(())
}

/// A running server: what `run` and the backend's tasks, threads and children work with. Copying it is free.
#[derive(Clone, Copy)]
pub struct Server(&'static Inner);

pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) runtime_version: &'static str,
    pub(crate) buffers: BufferPolicy,
    /// Descriptor limit in force.
    pub(crate) nofile: u64,
    pub(crate) counters: &'static Counters,
    pub(crate) admission: Admission,
    pub(crate) seats: Seats,
    pub(crate) accept_trouble: Throttle,
    pub(crate) refusal_trouble: Throttle,
    ring_facts: OnceLock<RingFacts>,
    listening: Mutex<Option<Listening>>,
    has_failed: AtomicBool,
}

impl Server {
    /// `--workers`.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.0.settings.workers as usize
    }

    /// How many workers a pool of one client each has: `--workers`, and one more where `--max-connections` lets all of them
    /// be busy at once, so that there is still one to refuse the next client.
    #[must_use]
    pub fn pool_size(&self) -> usize {
        let workers = self.workers();
        workers + usize::from(self.0.settings.max_connections == Some(workers as u64))
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

    /// `--buffer-size`.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.0.settings.buffer_bytes
    }

    /// A read buffer of `--buffer-size`.
    ///
    /// Written to from end to end, and not merely zeroed: pages that come fresh from the kernel are zero already, so that an
    /// allocator may leave them untouched, and whether a buffer took 4 KiB or all of its 16 depended on the thread that
    /// asked for it.
    #[must_use]
    pub fn buffer(&self) -> Vec<u8> {
        vec![u8::MAX; self.0.settings.buffer_bytes]
    }

    /// What a worker's pool of buffers took at its end, for STATS.
    pub fn add_pool_bytes(&self, bytes: u64) {
        self.0.counters.pool_bytes.fetch_add(bytes, SeqCst);
    }

    /// Whether a stop has begun.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        state::is_stopping()
    }

    pub(crate) fn inner(&self) -> &'static Inner {
        self.0
    }

    /// Begins a stop after which the process exits with 1: a worker cannot go on, so the others must not seem to.
    pub fn fail(&self) {
        self.0.has_failed.store(true, SeqCst);
        signal::begin_stop();
    }

    /// For READY.
    #[cfg(feature = "ring")]
    pub(crate) fn set_ring_facts(&self, facts: RingFacts) {
        let _ = self.0.ring_facts.set(facts);
    }

    pub(crate) fn ring_facts(&self) -> Option<RingFacts> {
        self.0.ring_facts.get().cloned()
    }

    pub(crate) fn lock_listening(&self) -> MutexGuard<'_, Option<Listening>> {
        self.0.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line on stdout, at once. A closed stdout is not the clients' fault.
pub(crate) fn print(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// Clients that processes may serve at a time.
fn seats(settings: &Settings) -> usize {
    let most = match (settings.target.model, settings.target.capacity) {
        (Model::Fork, Capacity::OnePerWorker) => u64::from(settings.workers),
        (Model::Fork, Capacity::Unbounded) => registry::MAX_DESCRIPTOR as u64,
        (Model::Thread | Model::Event, _) => 1, // never taken
    };
    usize::try_from(settings.max_connections.map_or(most, |limit| limit.min(most))).unwrap_or(usize::MAX)
}
