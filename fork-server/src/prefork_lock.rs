//! A pool of processes that take turns in accept: Stevens' answer to kernels that woke all of them for each client.
//! Idiom: as prefork. Accept: whoever holds a file lock, one shared listener.

use crate::pool::Pool;
use crate::prefork;
use nix::sys::memfd::{MFdFlags, memfd_create};
use server_kit::{Server, blocking};
use std::fs::File;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};

/// Starts `--workers` processes and keeps their number until the kit says stop.
pub(crate) fn run(server: Server) -> io::Result<()> {
    let listener = server.bind_shared_as("shared listener, flock around accept")?;
    // A file without a name: nothing is left behind, and a read-only file system is no obstacle.
    let lock = memfd_create("accept-lock", MFdFlags::MFD_CLOEXEC)?;
    // A lock belongs to an open file, and a forked child shares its parent's: each worker opens the file for itself.
    let path = format!("/proc/self/fd/{}", lock.as_raw_fd());
    Pool::start(server, |announcer| {
        let keep = [listener.as_fd(), announcer.as_fd(), lock.as_fd()];
        server.fork_worker(&keep, || {
            let lock = match File::open(&path) {
                Ok(lock) => lock,
                Err(error) => return server.notice_trouble(&format!("a worker cannot open the accept lock: {error}")),
            };
            announcer.announce();
            blocking::serve_clients(|| accept_locked(&listener, &lock, server), &server);
        })
    })?
    .keep()
}

fn accept_locked(listener: &TcpListener, lock: &File, server: Server) -> io::Result<TcpStream> {
    lock.lock()?;
    let accepted = prefork::accept(listener, server);
    lock.unlock()?;
    accepted
}
