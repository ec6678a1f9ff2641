//! A pool of threads, made before the first client: no thread is started or ended for anyone, and a client waits
//! while all are busy.
//! Idiom: blocking calls, one client at a time. Accept: every thread, one shared listener.

use crate::STACK_BYTES;
use server_kit::{Server, blocking};
use std::io;
use std::sync::{Arc, Barrier};
use std::thread::Builder;

/// Starts `--workers` threads and waits for the end of the last one.
pub(crate) fn run(server: Server) -> io::Result<()> {
    let listener = Arc::new(server.bind_shared()?);
    let workers = server.workers();
    let can_accept = Arc::new(Barrier::new(workers + 1));
    let mut threads = Vec::with_capacity(workers);
    for number in 0..workers {
        let (listener, can_accept) = (Arc::clone(&listener), Arc::clone(&can_accept));
        let work = move || {
            can_accept.wait();
            blocking::serve_clients(|| listener.accept().map(|(stream, _)| stream), &server);
        };
        let thread = Builder::new().stack_size(STACK_BYTES).spawn(work).map_err(|error| {
            io::Error::other(format!(
                "only {number} of --workers {workers} threads could be started: {error}. Use fewer, or raise the limit \
                 (`ulimit -u`)"
            ))
        })?;
        threads.push(thread);
    }
    can_accept.wait();
    server.ready()?;
    let panicked = threads.into_iter().filter_map(|thread| thread.join().err()).count();
    match panicked {
        0 => Ok(()),
        _ => Err(io::Error::other(format!("{panicked} of {workers} threads panicked"))),
    }
}
