//! One admitted client: what was read and echoed, whether to go on, and the one way to close.

use crate::admission::Slot;
use crate::registry::{self, Registration};
use crate::{Server, linger, state};
use nix::sys::socket::{SockaddrLike, SockaddrStorage, getpeername};
use nix::time::{ClockId, clock_gettime};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Stands for an open connection; must be dropped, or finished, before its stream is closed. Declare it after
/// the stream, and Rust does so.
pub struct Connection {
    server: Server,
    registration: Option<Registration>,
    bytes_in: u64,
    bytes_out: u64,
    /// Whether `received` has more to do than to count.
    is_watched: bool,
    has_idle_timeout: bool,
    work: Duration,
    /// Last, so that the sums are in the counters before the slot is free. None once it was given back.
    slot: Option<Slot>,
}

impl Server {
    /// Admits a client that was just accepted. None means refused: it is over `--max-connections`, has been
    /// counted and will be closed with a FIN; the backend only drops the stream.
    #[must_use]
    pub fn admit(&self, stream: &impl AsFd) -> Option<Connection> {
        let slot = self.reserve();
        if slot.is_none() {
            self.refuse(stream);
        }
        slot.map(|slot| slot.open(stream))
    }
}

impl Slot {
    /// Starts serving the client.
    #[must_use]
    pub fn open(mut self, stream: &impl AsFd) -> Connection {
        self.mark_served();
        Connection::open(self.server(), stream, self)
    }
}

impl Connection {
    fn open(server: Server, stream: &impl AsFd, slot: Slot) -> Self {
        let settings = &server.inner().settings;
        let work = match settings.work_source {
            Some(source) if !settings.work.is_zero() && peer(stream) != Some(source) => Duration::ZERO,
            _ => settings.work,
        };
        let has_idle_timeout = settings.idle_timeout.is_some();
        Self {
            server,
            // Fails only when someone raised our descriptor limit from outside: served, but not woken by a stop.
            registration: registry::register_connection(stream.as_fd().as_raw_fd()).ok(),
            bytes_in: 0,
            bytes_out: 0,
            is_watched: has_idle_timeout || !work.is_zero(),
            has_idle_timeout,
            work,
            slot: Some(slot),
        }
    }

    /// Whether the server is stopping: asked before every read. What was read is still echoed.
    #[inline]
    #[must_use]
    pub fn stopping(&self) -> bool {
        state::is_stopping()
    }

    /// Counts bytes that were read to be echoed, and burns `--work`.
    #[inline]
    pub fn received(&mut self, bytes: usize) {
        self.bytes_in += bytes as u64;
        if self.is_watched {
            self.watch();
        }
    }

    /// Counts bytes that were echoed.
    #[inline]
    pub fn sent(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
    }

    /// Ends the connection, before the stream is dropped: the one close of all servers. After the client's end
    /// of stream there is nothing left to do. When the server ends it, the client gets a FIN now, and what
    /// it still sends is discarded until its own FIN or the drain timeout, so that no reset overtakes the echo.
    pub fn finish(mut self, stream: &impl AsFd) {
        let is_ended_by_server = self.end() || state::is_stopping();
        if is_ended_by_server {
            // Before the slot is given back: else a stopping server could be gone before it knows of this socket.
            let kept = linger::keep(stream.as_fd());
            // Before the FIN: for a client that has seen it there is room.
            drop(self.slot.take());
            kept.send_fin();
        }
    }

    #[cold]
    fn watch(&mut self) {
        if let (true, Some(registration)) = (self.has_idle_timeout, &self.registration) {
            registration.touch();
        }
        if !self.work.is_zero() {
            burn(self.work);
        }
    }

    /// Leaves the registry and adds up. Returns whether the kit ended the reading.
    fn end(&mut self) -> bool {
        let is_quieted = self.registration.take().is_some_and(Registration::leave);
        let counters = self.server.inner().counters;
        counters.bytes_in.fetch_add(std::mem::take(&mut self.bytes_in), Relaxed);
        counters
            .bytes_out
            .fetch_add(std::mem::take(&mut self.bytes_out), Relaxed);
        is_quieted
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.end();
    }
}

fn peer(stream: &impl AsFd) -> Option<IpAddr> {
    let address: SockaddrStorage = getpeername(stream.as_fd().as_raw_fd()).ok()?;
    address.family()?;
    match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(address), _) => Some(IpAddr::V4(address.ip())),
        (_, Some(address)) => Some(address.ip().to_canonical()),
        _ => None,
    }
}

/// Uses the CPU for so long, whatever else the machine does meanwhile.
fn burn(work: Duration) {
    let used = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::MAX, Duration::from);
    let enough = used().saturating_add(work);
    while used() < enough {
        std::hint::spin_loop();
    }
}
