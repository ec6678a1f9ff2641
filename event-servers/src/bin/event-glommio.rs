//! glommio: tasks on io_uring, three rings and a thread per worker.
//! Idiom: one task per connection, one buffer per task. Accept: one listener, or with `--workers` above 1 one per
//! worker (SO_REUSEPORT).
//! Differs from the other backends: the ring tells of readiness only; bytes move by recv and send calls, as on epoll.
//! Executors are not bound to CPUs (the kit pins the process), and hold 64 KiB for storage I/O, which nobody does here.

use futures_lite::io::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};
use server_kit::ring::{RingNeeds, opcode};
use server_kit::{AcceptAction, BufferPolicy, Connection, Server, ServerIdentity, Turn, adopt, locked_version, serve};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::process::ExitCode;

const IDENTITY: ServerIdentity = ServerIdentity {
    binary: env!("CARGO_BIN_NAME"),
    runtime_version: locked_version("glommio"),
    buffers: BufferPolicy::PerConnection,
};

/// glommio's own choice; the kernel makes room for twice as many completions.
const ENTRIES: u32 = 128;
/// Below this limit glommio does not start, whatever the process may lock.
const MEMLOCK_BYTES: u64 = 512 * 1024;
/// For storage I/O, registered with each ring; glommio's own choice is 10 MiB.
const IO_MEMORY_BYTES: usize = 64 * 1024;

fn main() -> ExitCode {
    serve(IDENTITY, run)
}

/// Builds an executor for each worker and drives them until the last client is gone.
fn run(server: Server) -> io::Result<()> {
    server.require_memlock(MEMLOCK_BYTES, "glommio")?;
    let ring = server.require_ring(RingNeeds {
        driver: "glommio: readiness by io_uring, recv and send by system calls",
        entries: ENTRIES,
        completions: 2 * ENTRIES,
        rings_per_worker: 3,
        registered_bytes: 0, // glommio does without when it may not lock memory
        setup: |_| {},
        operations: &[
            ("accept", opcode::Accept::CODE),
            ("poll add", opcode::PollAdd::CODE),
            ("async cancel", opcode::AsyncCancel::CODE),
            ("timeout", opcode::Timeout::CODE),
        ],
        kernel: "5.8",
    })?;
    server.run_per_worker(
        || ring.build(build),
        |executor, listener| executor.run(accept_loop(listener, server)),
    )
}

fn build() -> io::Result<LocalExecutor> {
    let builder = LocalExecutorBuilder::new(Placement::Unbound)
        .ring_depth(ENTRIES as usize)
        .io_memory(IO_MEMORY_BYTES);
    Ok(builder.make()?)
}

/// Accepts until the kit says stop; the kit decides what an accept error means.
async fn accept_loop(listener: std::net::TcpListener, server: Server) -> io::Result<()> {
    let listener: TcpListener = adopt(listener);
    loop {
        match listener.accept().await.map_err(io::Error::from) {
            Ok(stream) => {
                if let Some(connection) = server.admit(&descriptor(&stream)) {
                    glommio::spawn_local(echo_connection(stream, connection, server)).detach();
                }
            }
            Err(error) => match server.accept_failed(&error) {
                AcceptAction::Retry => {}
                AcceptAction::BackOff(pause) => glommio::timer::sleep(pause).await,
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
            glommio::executor().yield_now().await;
        }
    }
    connection.finish(&descriptor(&stream));
    Ok(())
}

/// What glommio's streams lack: AsFd.
fn descriptor(stream: &TcpStream) -> BorrowedFd<'_> {
    // SAFETY: the stream owns an open descriptor, and is borrowed for as long as the result.
    unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) }
}
