//! How clients get in: the listeners of a server, and READY.

use crate::server::print;
use crate::socket::{self, Port, StartLock};
use crate::{Server, backoff, registry, state};
use echo_contract::ready::Ready;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// The kit keeps a descriptor of each listener for the stop, so it does not matter what a
/// runtime does with its own.
pub(crate) struct Listening {
    accept_model: &'static str,
    address: SocketAddr,
    listeners: Vec<TcpListener>,
    /// Until READY, of a port on which no listener keeps others out yet.
    start_lock: Option<StartLock>,
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
        let settings = &self.inner().settings;
        let listener = socket::listen(settings.address, settings.backlog, Port::Own)?;
        let kept = listener.try_clone()?;
        registry::register_listener(kept.as_raw_fd())?;
        *self.lock_listening() = Some(Listening {
            accept_model,
            address: kept.local_addr()?,
            listeners: vec![kept],
            start_lock: None,
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
        let settings = &self.inner().settings;
        let mut listening = self.lock_listening();
        let (address, port) = match &*listening {
            Some(others) => (others.address, Port::Joined),
            None => (settings.address, Port::Shared),
        };
        backoff::set_listener_per_worker();
        let listener = socket::listen(address, settings.backlog, port)?;
        let kept = listener.try_clone()?;
        registry::register_listener(kept.as_raw_fd())?;
        if state::is_forked_child() {
            // Kept open all the same. What `listening` holds are the parent's, whose numbers may mean something
            // else in this process: it must not be touched.
            std::mem::forget(kept);
        } else {
            let address = kept.local_addr()?;
            let listening = listening.get_or_insert(Listening {
                accept_model: PER_WORKER,
                address,
                listeners: Vec::new(),
                start_lock: None,
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
        let (socket, start_lock) = socket::claim(self.inner().settings.address)?;
        backoff::set_listener_per_worker();
        *self.lock_listening() = Some(Listening {
            accept_model: PER_WORKER,
            address: socket.local_addr()?,
            listeners: vec![socket],
            start_lock,
        });
        Ok(())
    }

    /// Prints READY, read back from the system. To be called once, when every worker can accept.
    ///
    /// # Errors
    /// When nothing listens yet, or the system does not tell what is in force.
    pub fn ready(&self) -> io::Result<()> {
        self.ready_with_workers(self.workers())
    }

    /// As [`Server::ready`], for a pool that has other than `--workers` workers.
    ///
    /// # Errors
    /// As [`Server::ready`].
    pub fn ready_with_workers(&self, workers: usize) -> io::Result<()> {
        let mut listening = self.lock_listening();
        let Some(Listening {
            accept_model,
            address,
            listeners,
            start_lock,
        }) = &mut *listening
        else {
            return Err(io::Error::other("READY before a listener was made"));
        };
        let listener = &listeners[0];
        let settings = &self.inner().settings;
        let line = Ready {
            target: settings.target.name.into(),
            pid: std::process::id(),
            address: address.to_string(),
            model: settings.target.model,
            runtime: settings.target.runtime.into(),
            runtime_version: self.inner().runtime_version.into(),
            io_interface: settings.target.io_interface,
            accept_model: (*accept_model).into(),
            workers: u32::try_from(workers).unwrap_or(u32::MAX),
            buffer_bytes: settings.buffer_bytes as u64,
            buffer_policy: Some(self.inner().buffers),
            backlog: settings.backlog,
            congestion_control: socket::congestion_control(listener)?,
            nodelay: socket::nodelay(listener)?,
            max_connections: settings.max_connections,
            idle_timeout_ms: settings.idle_timeout.map(milliseconds),
            drain_timeout_ms: milliseconds(settings.drain_timeout),
            work_ns: u64::try_from(settings.work.as_nanos()).unwrap_or(u64::MAX),
            work_source: settings.work_source.as_ref().map(IpAddr::to_string),
            cpus: settings.cpus.as_ref().map(|cpus| cpus.typed.clone()),
            nofile: self.inner().nofile,
            ring: self.ring_facts(),
        }
        .to_line();
        start_lock.take();
        state::set_ready();
        print(&line);
        Ok(())
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
