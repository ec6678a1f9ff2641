//! A pool of processes, made before the first client: no process is started or ended for anyone, and a client waits
//! while all are busy.
//! Idiom: blocking calls, one client at a time. Accept: every worker, one shared listener; the kernel wakes one of them.

use crate::pool::Pool;
use server_kit::{Server, blocking};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;

/// Starts `--workers` processes and keeps their number until the kit says stop.
pub(crate) fn run(server: Server) -> io::Result<()> {
    let listener = server.bind_shared()?;
    Pool::start(server, |announcer| {
        server.fork_worker(&[listener.as_fd(), announcer.as_fd()], || {
            announcer.announce();
            blocking::serve_clients(|| accept(&listener, server), &server);
        })
    })?
    .keep()
}

/// Waits for a client, or for a stop of this worker alone: the parent's shuts the listener.
pub(crate) fn accept(listener: &TcpListener, server: Server) -> io::Result<TcpStream> {
    if server.is_stopping() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    listener.accept().map(|(stream, _)| stream)
}
