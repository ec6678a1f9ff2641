//! compio: tasks on io_uring, a ring and a thread per worker.
//! Idiom: one task per connection, one buffer per task, lent to the kernel for each read and write. Accept: one
//! listener, or with `--workers` above 1 one per worker (SO_REUSEPORT).
//! Differs from the other backends: nothing.

use compio::BufResult;
use compio::driver::{DriverType, ProactorBuilder};
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::{Runtime, RuntimeBuilder};
use server_kit::ring::{RingNeeds, opcode};
use server_kit::{AcceptAction, BufferPolicy, Connection, Server, ServerIdentity, Unavailable, locked_version, serve};
use std::io;
use std::process::ExitCode;

const IDENTITY: ServerIdentity = ServerIdentity {
    binary: env!("CARGO_BIN_NAME"),
    runtime_version: locked_version("compio"),
    buffers: BufferPolicy::PerConnection,
};

/// compio's own choice; the kernel makes room for twice as many completions.
const ENTRIES: u32 = 1024;

fn main() -> ExitCode {
    serve(IDENTITY, run)
}

/// Builds a runtime for each worker and drives them until the last client is gone.
fn run(server: Server) -> io::Result<()> {
    let ring = server.require_ring(RingNeeds {
        driver: "compio: DriverType::IoUring, SINGLE_ISSUER, DEFER_TASKRUN",
        entries: ENTRIES,
        completions: 2 * ENTRIES,
        rings_per_worker: 1,
        registered_bytes: 0,
        setup: |builder| {
            builder.setup_single_issuer().setup_defer_taskrun();
        },
        operations: &[
            ("accept", opcode::Accept::CODE),
            ("recv", opcode::Recv::CODE),
            ("send", opcode::Send::CODE),
            ("poll add", opcode::PollAdd::CODE),
        ],
        kernel: "6.1",
    })?;
    server.run_per_worker(
        || ring.build(build),
        |runtime, listener| runtime.block_on(accept_loop(listener, server)),
    )
}

fn build() -> io::Result<Runtime> {
    let mut proactor = ProactorBuilder::new();
    proactor
        .driver_type(DriverType::IoUring)
        .capacity(ENTRIES)
        .single_issuer(true)
        .defer_taskrun(true);
    let runtime = RuntimeBuilder::new().with_proactor(proactor).build()?;
    match runtime.driver_type() {
        DriverType::IoUring => Ok(runtime),
        other => Err(Unavailable::new(format!("compio chose the driver {other:?}, not io_uring")).into()),
    }
}

/// Accepts until the kit says stop; the kit decides what an accept error means.
async fn accept_loop(listener: std::net::TcpListener, server: Server) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Some(connection) = server.admit(&stream) {
                    compio::runtime::spawn(echo_connection(stream, connection, server)).detach();
                }
            }
            Err(error) => match server.accept_failed(&error) {
                AcceptAction::Retry => {}
                AcceptAction::BackOff(pause) => compio::time::sleep(pause).await,
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
        buffer.clear(); // a read makes the vector longer, never shorter
        let BufResult(bytes, filled) = stream.read(buffer).await;
        let bytes = bytes?;
        if bytes == 0 {
            break;
        }
        connection.received(bytes);
        let BufResult(written, lent) = stream.write_all(filled).await;
        written?;
        connection.sent(bytes);
        buffer = lent;
    }
    connection.finish(&stream);
    Ok(())
}
