//! A pool of processes with a listener each: the warning row. The kernel deals clients out by a hash of their addresses
//! and does not know who is busy, so a client waits behind another while workers are idle.
//! Idiom: as prefork. Accept: every worker its own listener (SO_REUSEPORT).

use crate::pool::Pool;
use crate::prefork;
use server_kit::{Server, blocking};
use std::io;
use std::os::fd::AsFd;

/// Starts `--workers` processes and keeps their number until the kit says stop.
pub(crate) fn run(server: Server) -> io::Result<()> {
    server.claim_port()?;
    Pool::start(server, |announcer| {
        server.fork_worker(&[announcer.as_fd()], || match server.bind_per_worker() {
            Ok(listener) => {
                announcer.announce();
                blocking::serve_clients(|| prefork::accept(&listener, server), &server);
            }
            Err(error) => server.notice_trouble(&format!("a worker cannot listen: {error}")),
        })
    })?
    .keep()
}
