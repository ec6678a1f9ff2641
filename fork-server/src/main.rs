//! Echo servers that use processes: one file per strategy.

mod per_connection;
mod pool;
mod prefork;
mod prefork_fdpass;
mod prefork_lock;
mod prefork_reuseport;

use server_kit::{BufferPolicy, Server, ServerIdentity, locked_version, serve};
use std::io;
use std::process::ExitCode;

const IDENTITY: ServerIdentity = ServerIdentity {
    binary: env!("CARGO_BIN_NAME"),
    runtime_version: locked_version("nix"),
    buffers: BufferPolicy::PerConnection,
};

fn main() -> ExitCode {
    serve(IDENTITY, run)
}

fn run(server: Server) -> io::Result<()> {
    match server.strategy() {
        "per-connection" => per_connection::run(server),
        "prefork" => prefork::run(server),
        "prefork-lock" => prefork_lock::run(server),
        "prefork-fdpass" => prefork_fdpass::run(server),
        "prefork-reuseport" => prefork_reuseport::run(server),
        other => Err(io::Error::other(format!(
            "--strategy {other} is in the catalog but not built"
        ))),
    }
}
