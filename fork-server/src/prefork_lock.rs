//! A pool of processes that take turns in accept: Stevens' answer to kernels that woke all of them for each client.
//! Idiom: as prefork. Accept: whoever holds a file lock, one shared listener.

use crate::pool::Pool;
use crate::prefork;
use server_kit::{AcceptLock, Server, blocking};
use std::io;
use std::os::fd::AsFd;

/// Starts `--workers` processes and keeps their number until the kit says stop.
pub(crate) fn run(server: Server) -> io::Result<()> {
    let listener = server.bind_shared_as("shared listener, fcntl lock around accept")?;
    let lock = AcceptLock::new()?;
    Pool::start(server, |announcer| {
        server.fork_worker(&[listener.as_fd(), announcer.as_fd(), lock.as_fd()], || {
            announcer.announce();
            blocking::serve_clients(|| lock.hold(|| prefork::accept(&listener, server)), &server);
        })
    })?
    .keep()
}
