//! A runtime per worker, for runtimes that do not share their tasks between threads.

use crate::Server;
use std::io;
use std::net::TcpListener;
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;

impl Server {
    /// Gives each of `--workers` a thread, a runtime that `build` makes there, and a listener of its own on the one port,
    /// and runs `serve` on all of them; READY comes when every runtime is built. A single worker is the calling thread.
    ///
    /// # Errors
    /// The first that a worker ended with. One that cannot be built keeps all of them from serving; one that fails later
    /// begins a stop.
    pub fn run_per_worker<R>(
        &self,
        build: impl Fn() -> io::Result<R> + Sync,
        serve: impl Fn(R, TcpListener) -> io::Result<()> + Sync,
    ) -> io::Result<()> {
        if self.workers() == 1 {
            let (runtime, listener) = (build()?, self.bind_shared()?);
            self.ready()?;
            return serve(runtime, listener);
        }
        let may_serve = OnceLock::new();
        let work = |listener, built: Sender<()>| {
            let runtime = build()?;
            let _ = built.send(());
            drop(built);
            match may_serve.wait() {
                true => serve(runtime, listener).inspect_err(|_| self.fail()),
                false => Ok(()),
            }
        };
        let listeners: Vec<_> = (0..self.workers())
            .map(|_| self.bind_per_worker())
            .collect::<Result<_, _>>()?;
        thread::scope(|scope| {
            let (built, all_built) = channel();
            let spawn = |listener| {
                let (thread, built) = (thread::Builder::new().name("worker".into()), built.clone());
                thread.spawn_scoped(scope, || work(listener, built))
            };
            let threads: Vec<_> = listeners.into_iter().map(spawn).collect();
            drop(built);
            // Ends when each worker has told or given up.
            let are_all_built = all_built.iter().count() == self.workers();
            let told = if are_all_built { self.ready() } else { Ok(()) };
            let _ = may_serve.set(are_all_built && told.is_ok());
            let ends = threads.into_iter().map(|thread| {
                let no_thread =
                    |error| io::Error::other(format!("no thread for one of {} workers: {error}", self.workers()));
                let end = thread.map_err(no_thread)?.join();
                end.unwrap_or_else(|_| Err(io::Error::other("a worker panicked")))
            });
            ends.fold(told, io::Result::and)
        })
    }
}
