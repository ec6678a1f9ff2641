//! A process per client: full isolation, a page table for each.
//! Idiom: the parent only accepts, forks and reaps; blocking calls in the child. Accept: one shared listener.

use server_kit::{AcceptAction, ChildSeat, Children, Ended, Server, Slot, blocking};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Accepts, forks and reaps until the kit says stop, then waits for the last child.
pub(crate) fn run(server: Server) -> io::Result<()> {
    let listener = server.bind_shared()?;
    listener.set_nonblocking(true)?; // a client may be gone between poll and accept
    let mut parent = Parent {
        server,
        children: Children::new()?,
    };
    server.ready()?;
    loop {
        if parent.wait_for_client(&listener)? {
            match parent.accept(&listener) {
                AcceptAction::Retry => {}
                AcceptAction::BackOff(pause) => parent.wait_without_accepting(pause)?,
                AcceptAction::Stop => break,
            }
        }
    }
    drop(listener);
    parent.children.stop(server, reclaim(server))
}

struct Parent {
    server: Server,
    children: Children<Option<ChildSeat>>,
}

impl Parent {
    /// Waits for a client or a stop; reaps meanwhile. False means: nothing to accept, wait again.
    fn wait_for_client(&mut self, listener: &TcpListener) -> io::Result<bool> {
        let [has_client] = self
            .children
            .wait([Some(listener.as_fd())], None, reclaim(self.server))?;
        Ok(has_client || self.server.is_stopping())
    }

    fn accept(&mut self, listener: &TcpListener) -> AcceptAction {
        match listener.accept() {
            Ok((stream, _)) => {
                match self.server.reserve() {
                    Some(slot) => self.start_child(&stream, slot),
                    None => self.server.refuse(&stream),
                }
                AcceptAction::Retry
            }
            Err(error) => self.server.accept_failed(&error),
        }
    }

    /// Gives the client a process. Where the system has none to give, the client gets a FIN and the server goes on.
    fn start_child(&mut self, stream: &TcpStream, slot: Slot) {
        let server = self.server;
        let echo = |slot: Slot| {
            // An error is this client's alone and counted by the kit: nobody else is to hear of it.
            let _ = blocking::echo_connection(stream, slot.open(stream), &server);
        };
        match server.fork_for_client(slot, &[stream.as_fd()], echo) {
            Ok(child) => self.children.add(child.pid, child.seat),
            Err(error) => {
                server.refuse(stream);
                server.notice_refusal(&error);
            }
        }
    }

    /// Goes on reaping for this long.
    fn wait_without_accepting(&mut self, time: Duration) -> io::Result<()> {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.children.wait([], Some(left), reclaim(self.server))?;
        }
    }
}

/// What a child left behind that was killed.
fn reclaim(server: Server) -> impl FnMut(Ended<Option<ChildSeat>>) {
    move |ended| {
        if let Some(seat) = ended.kept {
            server.reclaim_seat(ended.child, &seat);
        }
    }
}
