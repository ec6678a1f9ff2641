//! tokio-uring: tasks on io_uring, a ring and a thread per worker.
//! Idiom: one task per connection, one buffer per task, lent to the kernel for each read and write. Accept: one
//! listener, or with `--workers` above 1 one per worker (SO_REUSEPORT).
//! Differs from the other backends: tokio's epoll watches the ring, which has no flags, and wakes its thread.

use server_kit::ring::{RingNeeds, opcode};
use server_kit::{AcceptAction, BufferPolicy, Connection, Server, ServerIdentity, locked_version, serve};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::process::ExitCode;
use tokio_uring::Runtime;
use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::{TcpListener, TcpStream};

const IDENTITY: ServerIdentity = ServerIdentity {
    binary: env!("CARGO_BIN_NAME"),
    runtime_version: locked_version("tokio-uring"),
    buffers: BufferPolicy::PerConnection,
};

/// tokio-uring's own choice; the kernel makes room for twice as many completions.
const ENTRIES: u32 = 256;

fn main() -> ExitCode {
    serve(IDENTITY, run)
}

/// Builds a runtime for each worker and drives them until the last client is gone.
fn run(server: Server) -> io::Result<()> {
    let ring = server.require_ring(RingNeeds {
        driver: "tokio-uring: its ring watched by tokio's epoll",
        entries: ENTRIES,
        completions: 2 * ENTRIES,
        rings_per_worker: 1,
        registered_bytes: 0,
        setup: |_| {},
        operations: &[
            ("accept", opcode::Accept::CODE),
            ("read", opcode::Read::CODE),
            ("write", opcode::Write::CODE),
            ("close", opcode::Close::CODE),
        ],
        kernel: "5.11",
    })?;
    let build = || Runtime::new(tokio_uring::builder().entries(ENTRIES));
    server.run_per_worker(
        || ring.build(build),
        |runtime, listener| runtime.block_on(accept_loop(listener, server)),
    )
}

/// Accepts until the kit says stop; the kit decides what an accept error means.
async fn accept_loop(listener: std::net::TcpListener, server: Server) -> io::Result<()> {
    let listener = TcpListener::from_std(listener);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Some(connection) = server.admit(&descriptor(&stream)) {
                    tokio_uring::spawn(echo_connection(stream, connection, server));
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
async fn echo_connection(stream: TcpStream, mut connection: Connection, server: Server) -> io::Result<()> {
    let mut buffer = server.buffer();
    while !connection.stopping() {
        let (bytes, filled) = stream.read(buffer).await;
        let bytes = bytes?;
        if bytes == 0 {
            break;
        }
        connection.received(bytes);
        let (written, lent) = stream.write_all(filled.slice(..bytes)).await;
        written?;
        connection.sent(bytes);
        buffer = lent.into_inner();
    }
    connection.finish(&descriptor(&stream));
    Ok(())
}

/// What tokio-uring's streams lack: AsFd.
fn descriptor(stream: &TcpStream) -> BorrowedFd<'_> {
    // SAFETY: the stream owns an open descriptor, and is borrowed for as long as the result.
    unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) }
}
