//! Echo servers that use threads: one file per strategy.

mod per_connection;
mod pool;

use server_kit::{BufferPolicy, Server, ServerIdentity, locked_version, serve};
use std::io;
use std::process::ExitCode;

const IDENTITY: ServerIdentity = ServerIdentity {
    binary: env!("CARGO_BIN_NAME"),
    runtime_version: locked_version("std"),
    buffers: BufferPolicy::PerConnection,
};

/// The buffer is on the heap, so a stack holds little more than the calls; the default of 2 MiB would make
/// ten thousand clients reserve 20 GiB.
const STACK_BYTES: usize = 64 << 10;

fn main() -> ExitCode {
    serve(IDENTITY, run)
}

fn run(server: Server) -> io::Result<()> {
    match server.strategy() {
        "per-connection" => per_connection::run(server),
        "pool" => pool::run(server),
        other => Err(io::Error::other(format!(
            "--strategy {other} is in the catalog but not built"
        ))),
    }
}
