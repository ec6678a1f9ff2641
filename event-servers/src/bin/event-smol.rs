//! smol: tasks on epoll (through async-io and polling); `--workers` threads share one executor.
//! Idiom: one task per connection, one buffer per task. Accept: one shared listener.
//! Differs from the other backends: async-io keeps a thread of its own beside the workers.

use server_kit::{AcceptAction, BufferPolicy, Connection, Server, ServerIdentity, Turn, locked_version, serve};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, Executor, Timer, block_on, channel, future};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::{self, Builder};

const IDENTITY: ServerIdentity = ServerIdentity {
    binary: env!("CARGO_BIN_NAME"),
    runtime_version: locked_version("smol"),
    buffers: BufferPolicy::PerConnection,
};

fn main() -> ExitCode {
    serve(IDENTITY, run)
}

/// Runs the executor on `server.workers()` threads, the first of them this one, until the last client is gone.
fn run(server: Server) -> io::Result<()> {
    let listener = server.bind_shared()?;
    let executor = Arc::new(Executor::new());
    thread::scope(|scope| {
        let (end, ended) = channel::bounded::<()>(1);
        for _ in 1..server.workers() {
            let (executor, ended) = (Arc::clone(&executor), ended.clone());
            let work = move || block_on(executor.run(ended.recv()));
            Builder::new().name("worker".into()).spawn_scoped(scope, work)?;
        }
        // Only now, for READY promises every worker.
        let accepting = executor.spawn(accept_loop(listener, server, Arc::clone(&executor)));
        let outcome = block_on(executor.run(accepting));
        drop(end); // the other threads end with it
        outcome
    })
}

/// Accepts until the kit says stop; the kit decides what an accept error means.
async fn accept_loop(listener: TcpListener, server: Server, executor: Arc<Executor<'static>>) -> io::Result<()> {
    let listener = Async::new(listener)?;
    server.ready()?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Some(connection) = server.admit(&stream) {
                    executor.spawn(echo_connection(stream, connection, server)).detach();
                }
            }
            Err(error) => match server.accept_failed(&error) {
                AcceptAction::Retry => {}
                AcceptAction::BackOff(pause) => drop(Timer::after(pause).await),
                AcceptAction::Stop => break,
            },
        }
    }
    server.idle().await;
    Ok(())
}

/// The contract: every byte back, in order, until the client's end of stream or a stop.
async fn echo_connection(mut stream: Async<TcpStream>, mut connection: Connection, server: Server) -> io::Result<()> {
    let (mut buffer, mut turn) = (server.buffer(), Turn::default());
    while !connection.stopping() {
        let bytes = stream.read(&mut buffer).await?;
        if bytes == 0 {
            break;
        }
        connection.received(bytes);
        stream.write_all(&buffer[..bytes]).await?;
        connection.sent(bytes);
        if turn.is_over() {
            future::yield_now().await;
        }
    }
    connection.finish(&stream);
    Ok(())
}
