//! The loops that the blocking servers share: one for a connection, one for a worker of a pool.

use crate::{AcceptAction, Connection, Server};
use std::io::{self, Read, Write};
use std::net::TcpStream;

/// A worker of a pool: a client at a time until the kit says stop. `accept` blocks until it has the next one.
pub fn serve_clients(mut accept: impl FnMut() -> io::Result<TcpStream>, server: &Server) {
    loop {
        match accept() {
            Ok(stream) => {
                server.wake_resting_worker();
                if let Some(connection) = server.admit(&stream) {
                    // An error is this client's alone and counted by the kit: nobody else is to hear of it.
                    let _ = echo_connection(&stream, connection, server);
                }
            }
            Err(error) => match server.accept_failed(&error) {
                AcceptAction::Retry => {}
                AcceptAction::BackOff(pause) => server.rest(pause),
                AcceptAction::Stop => return,
            },
        }
    }
}

/// The contract: every byte back, in order, until the client's end of stream or a stop.
///
/// # Errors
/// When the client went away while it was read from or owed bytes; nothing is left to do then.
pub fn echo_connection(mut stream: &TcpStream, mut connection: Connection, server: &Server) -> io::Result<()> {
    let mut buffer = server.buffer();
    while !connection.stopping() {
        let bytes = match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        connection.received(bytes);
        stream.write_all(&buffer[..bytes])?;
        connection.sent(bytes);
    }
    connection.finish(stream);
    Ok(())
}
