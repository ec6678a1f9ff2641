//! tokio: tasks on epoll (through mio). `--strategy auto`: one thread, or with `--workers` above 1 work-stealing
//! threads; `multi-thread`: work-stealing threads, however many; `per-core`: a runtime and a thread per worker.
//! Idiom: one task per connection, one buffer per task. Accept: one shared listener; per core one per worker (SO_REUSEPORT).
//! Differs from the other backends: nothing.

use server_kit::{AcceptAction, BufferPolicy, Connection, Server, ServerIdentity, locked_version, serve};
use std::io;
use std::process::ExitCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

const IDENTITY: ServerIdentity = ServerIdentity {
    binary: env!("CARGO_BIN_NAME"),
    runtime_version: locked_version("tokio"),
    buffers: BufferPolicy::PerConnection,
};

fn main() -> ExitCode {
    serve(IDENTITY, run)
}

/// Builds the runtime with `server.workers()` threads, or one for each of them, and drives it until the last client is
/// gone.
fn run(server: Server) -> io::Result<()> {
    let current_thread = || Builder::new_current_thread().enable_all().build();
    // Spawned, because what block_on runs itself stays outside the workers.
    let drive =
        |runtime: Runtime, listener| runtime.block_on(async { tokio::spawn(accept_loop(listener, server)).await? });
    match (server.strategy(), server.workers()) {
        ("per-core", _) | ("auto", 1) => server.run_per_worker(current_thread, drive),
        (_, workers) => {
            let runtime = Builder::new_multi_thread()
                .worker_threads(workers)
                .enable_all()
                .build()?;
            let listener = server.bind_shared()?;
            server.ready()?;
            drive(runtime, listener)
        }
    }
}

/// Accepts until the kit says stop; the kit decides what an accept error means.
async fn accept_loop(listener: std::net::TcpListener, server: Server) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Some(connection) = server.admit(&stream) {
                    tokio::spawn(echo_connection(stream, connection, server));
                }
            }
            Err(error) => match server.accept_failed(&error) {
                AcceptAction::Retry => {}
                AcceptAction::BackOff(pause) => tokio::time::sleep(pause).await,
                AcceptAction::Stop => break,
            },
        }
    }
    server.idle().await;
    Ok(())
}

/// The contract: every byte back, in order, until the client's end of stream or a stop.
async fn echo_connection(mut stream: TcpStream, mut connection: Connection, server: Server) -> io::Result<()> {
    let mut buffer = server.buffer();
    while !connection.stopping() {
        let bytes = stream.read(&mut buffer).await?;
        if bytes == 0 {
            break;
        }
        connection.received(bytes);
        stream.write_all(&buffer[..bytes]).await?;
        connection.sent(bytes);
    }
    connection.finish(&stream);
    Ok(())
}
