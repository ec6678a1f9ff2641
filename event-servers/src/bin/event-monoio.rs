//! monoio: tasks on io_uring, a ring and a thread per worker.
//! Idiom: one task per connection, one buffer per task, lent to the kernel for each read and write. Accept: one
//! listener, or with `--workers` above 1 one per worker (SO_REUSEPORT).
//! Differs from the other backends: the ring has no flags (monoio sets none by itself).

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::time::TimeDriver;
use monoio::{IoUringDriver, Runtime, RuntimeBuilder};
use server_kit::ring::{RingNeeds, opcode};
use server_kit::{AcceptAction, BufferPolicy, Connection, Server, ServerIdentity, locked_version, serve};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::process::ExitCode;

const IDENTITY: ServerIdentity = ServerIdentity {
    binary: env!("CARGO_BIN_NAME"),
    runtime_version: locked_version("monoio"),
    buffers: BufferPolicy::PerConnection,
};

/// monoio's own choice; the kernel makes room for twice as many completions.
const ENTRIES: u32 = 1024;

fn main() -> ExitCode {
    serve(IDENTITY, run)
}

/// Builds a runtime for each worker and drives them until the last client is gone.
fn run(server: Server) -> io::Result<()> {
    let ring = server.require_ring(RingNeeds {
        driver: "monoio: IoUringDriver",
        entries: ENTRIES,
        completions: 2 * ENTRIES,
        rings_per_worker: 1,
        registered_bytes: 0,
        setup: |_| {},
        operations: &[
            ("accept", opcode::Accept::CODE),
            ("recv", opcode::Recv::CODE),
            ("send", opcode::Send::CODE),
            ("close", opcode::Close::CODE),
        ],
        kernel: "5.6",
    })?;
    let build = || {
        RuntimeBuilder::<IoUringDriver>::new()
            .with_entries(ENTRIES)
            .enable_timer()
            .build()
    };
    server.run_per_worker(
        || ring.build(build),
        |mut runtime: Runtime<TimeDriver<IoUringDriver>>, listener| {
            // Spawned, because what block_on runs itself cannot be woken by another worker.
            runtime.block_on(async { monoio::spawn(accept_loop(listener, server)).await })
        },
    )
}

/// Accepts until the kit says stop; the kit decides what an accept error means.
async fn accept_loop(listener: std::net::TcpListener, server: Server) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Some(connection) = server.admit(&descriptor(&stream)) {
                    monoio::spawn(echo_connection(stream, connection, server));
                }
            }
            Err(error) => match server.accept_failed(&error) {
                AcceptAction::Retry => {}
                AcceptAction::BackOff(pause) => monoio::time::sleep(pause).await,
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
        let (bytes, filled) = stream.read(buffer).await;
        let bytes = bytes?;
        if bytes == 0 {
            break;
        }
        connection.received(bytes);
        let (written, lent) = stream.write_all(filled).await;
        written?;
        connection.sent(bytes);
        buffer = lent;
    }
    connection.finish(&descriptor(&stream));
    Ok(())
}

/// What monoio's streams lack: AsFd.
fn descriptor(stream: &TcpStream) -> BorrowedFd<'_> {
    // SAFETY: the stream owns an open descriptor, and is borrowed for as long as the result.
    unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) }
}
