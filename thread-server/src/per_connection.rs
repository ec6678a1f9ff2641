//! A thread per client: the kernel schedules, a blocked read costs a stack.
//! Idiom: blocking calls, one buffer per thread. Accept: the main thread, one shared listener.

use crate::STACK_BYTES;
use server_kit::{AcceptAction, Server, Slot, blocking};
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::{self, Builder};

/// Accepts until the kit says stop, then waits for the last client's thread.
pub(crate) fn run(server: Server) -> io::Result<()> {
    let listener = server.bind_shared()?;
    server.ready()?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => match server.reserve() {
                Some(slot) => start_thread(stream, slot, server),
                None => server.refuse(&stream),
            },
            Err(error) => match server.accept_failed(&error) {
                AcceptAction::Retry => {}
                AcceptAction::BackOff(pause) => thread::sleep(pause),
                AcceptAction::Stop => break,
            },
        }
    }
    server.wait_idle();
    Ok(())
}

/// Gives the client a thread. Where the system has none to give, the client gets a FIN and the server goes on.
fn start_thread(stream: TcpStream, slot: Slot, server: Server) {
    // Shared, since a thread that fails to start takes with it all it was given, and would reset the client.
    let stream = Arc::new(stream);
    let thread_stream = Arc::clone(&stream);
    let echo = move || {
        let connection = slot.open(&*thread_stream);
        // An error is this client's alone and counted by the kit: nobody else is to hear of it.
        let _ = blocking::echo_connection(&thread_stream, connection, &server);
    };
    if let Err(error) = Builder::new().stack_size(STACK_BYTES).spawn(echo) {
        server.refuse(&*stream);
        server.notice_refusal(&error);
    }
}
