//! A process per client: full isolation, a page table for each.
//! Idiom: the parent only accepts, forks and reaps; blocking calls in the child. Accept: one shared listener.

use crate::reap::Children;
use nix::sys::signal::Signal;
use server_kit::{AcceptAction, Lingering, Server, Slot, blocking};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How much longer than the drain timeout a child may take before it is killed.
const KILL_GRACE: Duration = Duration::from_secs(2);

/// Accepts, forks and reaps until the kit says stop, then waits for the last child.
pub(crate) fn run(server: Server) -> io::Result<()> {
    let listener = server.bind_shared()?;
    listener.set_nonblocking(true)?; // a client may be gone between poll and accept
    let mut parent = Parent {
        server,
        children: Children::new()?,
        refused: Lingering::new(server),
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
    parent.stop()
}

struct Parent {
    server: Server,
    children: Children<Slot>,
    refused: Lingering,
}

impl Parent {
    /// Waits for a client or a stop; reaps meanwhile. False means: nothing to accept, wait again.
    fn wait_for_client(&mut self, listener: &TcpListener) -> io::Result<bool> {
        let watched = [listener.as_fd(), self.children.ended()];
        let [has_client, has_ended_child] = self.refused.wait(watched, None)?;
        if has_ended_child {
            self.children.reap()?;
        }
        Ok(has_client || self.server.is_stopping())
    }

    fn accept(&mut self, listener: &TcpListener) -> AcceptAction {
        match listener.accept() {
            Ok((stream, _)) => {
                match self.server.reserve() {
                    Some(slot) => self.start_child(stream, slot),
                    None => self.refused.refuse(stream),
                }
                AcceptAction::Retry
            }
            Err(error) => self.server.accept_failed(&error),
        }
    }

    /// Gives the client a process. Where the system has none to give, the client gets a FIN and the server goes on.
    fn start_child(&mut self, stream: TcpStream, mut slot: Slot) {
        let server = self.server;
        let echo = || {
            let connection = server.adopt(&stream);
            // An error is this client's alone and counted by the kit: nobody else is to hear of it.
            let _ = blocking::echo_connection(&stream, connection, &server);
        };
        match server.fork(&[stream.as_fd()], echo) {
            Ok(child) => {
                slot.mark_served();
                self.children.add(child, slot);
            }
            Err(error) => {
                self.refused.refuse(stream);
                server.notice_refusal(&error);
            }
        }
    }

    /// Goes on reaping for this long.
    fn wait_without_accepting(&mut self, time: Duration) -> io::Result<()> {
        let until = Instant::now() + time;
        while let Some(left) = until
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
        {
            let [has_ended_child] = self.refused.wait([self.children.ended()], Some(left))?;
            if has_ended_child {
                self.children.reap()?;
            }
        }
        Ok(())
    }

    /// Hands the stop on to every child and waits for all; one that outlives the drain timeout is killed.
    fn stop(&mut self) -> io::Result<()> {
        self.children.signal_all(Signal::SIGTERM);
        let until = Instant::now() + self.server.drain_timeout() + KILL_GRACE;
        while !(self.children.is_empty() && self.refused.is_empty()) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.children.signal_all(Signal::SIGKILL);
            }
            let timeout = if left.is_zero() { KILL_GRACE } else { left };
            let [has_ended_child] = self.refused.wait([self.children.ended()], Some(timeout))?;
            if has_ended_child {
                self.children.reap()?;
            }
        }
        Ok(())
    }
}
