//! A pool of threads, made before the first client: no thread is started or ended for anyone, and a client waits
//! while all are busy.
//! Idiom: blocking calls, one client at a time. Accept: every thread, one shared listener.

use crate::STACK_BYTES;
use server_kit::{Server, blocking};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{self, Builder, JoinHandle};
use std::time::Duration;

/// How often a thread is asked for again that could not be had.
const PAUSE_FOR_ROOM: Duration = Duration::from_millis(50);

/// Starts the threads, says READY, and waits for the end of the last one. Where the system has no room for all of them,
/// READY says how many there are, and the others follow when there is room.
pub(crate) fn run(server: Server) -> io::Result<()> {
    let mut pool = Pool {
        server,
        listener: Arc::new(server.bind_shared()?),
        threads: Vec::with_capacity(server.pool_size()),
    };
    match pool.fill() {
        Err(error) if pool.threads.is_empty() => {
            return Err(io::Error::other(format!(
                "not one of --workers {} threads could be started: {error}. Raise the limit (`ulimit -u`, or the pids limit \
                 of the container)",
                server.workers()
            )));
        }
        Err(error) => pool.notice_missing(&error),
        Ok(()) => {}
    }
    server.ready_with_workers(pool.threads.len())?;
    while pool.missing() > 0 && !server.is_stopping() {
        thread::sleep(PAUSE_FOR_ROOM);
        if let Err(error) = pool.fill() {
            pool.notice_missing(&error);
        }
    }
    pool.wait()
}

struct Pool {
    server: Server,
    listener: Arc<TcpListener>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts the threads that are missing.
    fn fill(&mut self) -> io::Result<()> {
        while self.missing() > 0 {
            let (server, listener) = (self.server, Arc::clone(&self.listener));
            let work = move || blocking::serve_clients(|| listener.accept().map(|(stream, _)| stream), &server);
            self.threads.push(Builder::new().stack_size(STACK_BYTES).spawn(work)?);
        }
        Ok(())
    }

    fn missing(&self) -> usize {
        self.server.pool_size() - self.threads.len()
    }

    fn notice_missing(&self, error: &io::Error) {
        let (missing, all) = (self.missing(), self.server.pool_size());
        self.server.notice_trouble(&format!(
            "{missing} of {all} workers are missing, no thread for them: {error}"
        ));
    }

    /// For the end of every thread.
    fn wait(self) -> io::Result<()> {
        let all = self.threads.len();
        let panicked = self
            .threads
            .into_iter()
            .filter_map(|thread| thread.join().err())
            .count();
        if panicked > 0 {
            return Err(io::Error::other(format!("{panicked} of {all} threads panicked")));
        }
        Ok(())
    }
}
