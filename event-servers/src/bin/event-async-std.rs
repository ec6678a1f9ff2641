//! async-std, discontinued in March 2025 (RUSTSEC-2025-0052): tasks on epoll (through async-io and polling);
//! `--workers` threads share its global executor.
//! Idiom: one task per connection, one buffer per task. Accept: one shared listener.
//! Differs from the other backends: the main thread waits for I/O and hands each event to a worker; async-io keeps a
//! thread of its own.

use async_std::io::{ReadExt, WriteExt};
use async_std::net::{TcpListener, TcpStream};
use async_std::task;
use server_kit::{
    AcceptAction, BufferPolicy, Connection, Server, ServerIdentity, Turn, locked_version, serve_with_workers_in,
};
use std::io;
use std::process::ExitCode;

const IDENTITY: ServerIdentity = ServerIdentity {
    binary: env!("CARGO_BIN_NAME"),
    runtime_version: locked_version("async-std"),
    buffers: BufferPolicy::PerConnection,
};

fn main() -> ExitCode {
    serve_with_workers_in("ASYNC_STD_THREAD_COUNT", IDENTITY, run)
}

/// Starts the runtime, which has `server.workers()` threads by its variable, and waits until the last client is gone.
fn run(server: Server) -> io::Result<()> {
    let listener = server.bind_shared()?;
    // Spawned, because what block_on runs itself stays outside the workers.
    task::block_on(task::spawn(accept_loop(listener, server)))
}

/// Accepts until the kit says stop; the kit decides what an accept error means.
async fn accept_loop(listener: std::net::TcpListener, server: Server) -> io::Result<()> {
    let listener = TcpListener::from(listener);
    server.ready()?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Some(connection) = server.admit(&stream) {
                    task::spawn(echo_connection(stream, connection, server));
                }
            }
            Err(error) => match server.accept_failed(&error) {
                AcceptAction::Retry => {}
                AcceptAction::BackOff(pause) => task::sleep(pause).await,
                AcceptAction::Stop => break,
            },
        }
    }
    server.idle().await;
    Ok(())
}

/// The contract: every byte back, in order, until the client's end of stream or a stop.
async fn echo_connection(mut stream: TcpStream, mut connection: Connection, server: Server) -> io::Result<()> {
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
            task::yield_now().await;
        }
    }
    connection.finish(&stream);
    Ok(())
}
