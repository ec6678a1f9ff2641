//! may: stackful coroutines on epoll; blocking code that yields its worker instead of blocking it.
//! Idiom: one coroutine per connection, one buffer per coroutine, plain read and write_all. Accept: one shared listener.
//! Differs from the other backends: each connection also has a stack, of 32 KiB, of which only touched pages take memory;
//! a thread of may's own waits for timers. Workers are not bound to CPUs: the kit pins the process.

use may::coroutine;
use may::go;
use may::net::{TcpListener, TcpStream};
use server_kit::{AcceptAction, BufferPolicy, Connection, Server, ServerIdentity, adopt, locked_version, serve};
use std::io::{self, Read, Write};
use std::process::ExitCode;

const IDENTITY: ServerIdentity = ServerIdentity {
    binary: env!("CARGO_BIN_NAME"),
    runtime_version: locked_version("may"),
    buffers: BufferPolicy::PerConnection,
};

fn main() -> ExitCode {
    serve(IDENTITY, run)
}

/// Starts the scheduler with `server.workers()` threads and waits until the last client is gone.
fn run(server: Server) -> io::Result<()> {
    let listener = server.bind_shared()?;
    may::config().set_workers(server.workers()).set_worker_pin(false);
    let accepting = go!(move || accept_loop(listener, server));
    let end = accepting.join();
    end.unwrap_or_else(|_| Err(io::Error::other("the accepting coroutine panicked")))?;
    // Not in a coroutine: it would block a worker.
    server.wait_idle();
    Ok(())
}

/// Accepts until the kit says stop; the kit decides what an accept error means.
fn accept_loop(listener: std::net::TcpListener, server: Server) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener: TcpListener = adopt(listener);
    server.ready()?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                if let Some(connection) = server.admit(stream.inner()) {
                    go!(move || echo_connection(stream, connection, server));
                }
            }
            Err(error) => match server.accept_failed(&error) {
                AcceptAction::Retry => {}
                AcceptAction::BackOff(pause) => coroutine::sleep(pause),
                AcceptAction::Stop => return Ok(()),
            },
        }
    }
}

/// The contract: every byte back, in order, until the client's end of stream or a stop.
fn echo_connection(mut stream: TcpStream, mut connection: Connection, server: Server) -> io::Result<()> {
    let mut buffer = server.buffer();
    while !connection.stopping() {
        let bytes = stream.read(&mut buffer)?;
        if bytes == 0 {
            break;
        }
        connection.received(bytes);
        stream.write_all(&buffer[..bytes])?;
        connection.sent(bytes);
    }
    connection.finish(stream.inner());
    Ok(())
}
