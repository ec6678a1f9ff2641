//! poll(2): each loop hands all its connections to the kernel on every turn, which looks at each of them.
//! Idiom: one thread, level-triggered, one read per readiness; one buffer for all, and bytes kept for a client only
//! while it does not read. Accept: one shared listener, and with `--workers` above 1 a thread with a loop each.
//! Differs from the other backends: a turn costs more with every client, also with those that are silent.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};
use server_kit::{AcceptAction, BufferPolicy, Connection, Server, ServerIdentity, locked_version, serve};
use std::io;
use std::mem;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const IDENTITY: ServerIdentity = ServerIdentity {
    binary: env!("CARGO_BIN_NAME"),
    runtime_version: locked_version("nix"),
    buffers: BufferPolicy::PerWorker,
};

/// Without waiting, so that no socket needs a call that makes it non-blocking.
const SEND: MsgFlags = MsgFlags::MSG_DONTWAIT.union(MsgFlags::MSG_NOSIGNAL);

fn main() -> ExitCode {
    serve(IDENTITY, run)
}

/// Runs a loop in each of `server.workers()` threads until the last client is gone.
fn run(server: Server) -> io::Result<()> {
    let listener = Arc::new(server.bind_shared()?);
    listener.set_nonblocking(true)?;
    let start = |_| {
        let listener = Arc::clone(&listener);
        thread::Builder::new().spawn(move || accept_loop(&listener, server).inspect_err(|_| server.fail()))
    };
    let others = (1..server.workers()).map(start).collect::<io::Result<Vec<_>>>()?;
    server.ready()?;
    let mut outcome = accept_loop(&listener, server).inspect_err(|_| server.fail());
    for other in others {
        let end = other.join().map_err(|_| io::Error::other("a worker panicked"));
        outcome = outcome.and(end.flatten());
    }
    outcome
}

/// Accepts until the kit says stop, and echoes until the last client is gone.
fn accept_loop(listener: &TcpListener, server: Server) -> io::Result<()> {
    let mut clients: Vec<Client> = Vec::new();
    let mut buffer = server.buffer();
    let mut turn = Turn::default();
    let mut accepting = Accepting::Now;
    while !(clients.is_empty() && accepting == Accepting::NoMore) {
        let now = Instant::now();
        let pause = match accepting {
            Accepting::After(time) if time > now => Some(time - now),
            Accepting::After(_) => {
                accepting = Accepting::Now;
                None
            }
            Accepting::Now | Accepting::NoMore => None,
        };
        let has_client = turn.wait(&clients, listener, accepting == Accepting::Now, pause)?;
        let mut happened = turn.happened.iter();
        clients.retain_mut(|client| !happened.next().unwrap_or(&false) || client.echo(&mut buffer));
        if has_client {
            accepting = accept(listener, server, &mut clients);
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepting {
    Now,
    After(Instant),
    NoMore,
}

/// What a turn asks and finds. Kept from turn to turn, so that none allocates.
#[derive(Default)]
struct Turn {
    /// Memory for the question: empty between turns.
    fds: Vec<PollFd<'static>>,
    /// Of each client, whether there is something to do.
    happened: Vec<bool>,
}

impl Turn {
    /// Waits until something happens, and returns whether a client waits to be accepted.
    fn wait(
        &mut self,
        clients: &[Client],
        listener: &TcpListener,
        is_accepting: bool,
        pause: Option<Duration>,
    ) -> io::Result<bool> {
        let of_clients = clients
            .iter()
            .map(|client| PollFd::new(client.stream.as_fd(), client.interest()));
        let of_listener = is_accepting.then(|| PollFd::new(listener.as_fd(), PollFlags::POLLIN));
        let mut fds = recycled(mem::take(&mut self.fds));
        fds.extend(of_clients.chain(of_listener));
        // Rounded up: else the loop would spin through its last millisecond.
        let timeout = pause.map_or(PollTimeout::NONE, |pause| {
            PollTimeout::try_from(pause + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        self.happened.clear();
        self.happened.extend(fds.iter().map(|fd| fd.any().unwrap_or(true)));
        self.fds = recycled(fds);
        Ok(is_accepting && self.happened.pop().unwrap_or(false))
    }
}

/// The vector emptied, for descriptors that are borrowed for another time: collecting none of its own elements keeps its memory.
fn recycled<'other>(mut fds: Vec<PollFd<'_>>) -> Vec<PollFd<'other>> {
    fds.clear();
    fds.into_iter().map_while(|_| None).collect()
}

/// Accepts everyone who waits; the kit decides what an accept error means.
fn accept(listener: &TcpListener, server: Server, clients: &mut Vec<Client>) -> Accepting {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                if let Some(connection) = server.admit(&stream) {
                    clients.push(Client {
                        connection: Some(connection),
                        stream,
                        owed: Vec::new(),
                    });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !server.is_stopping() => return Accepting::Now,
            Err(error) => match server.accept_failed(&error) {
                AcceptAction::Retry => {}
                AcceptAction::BackOff(pause) => return Accepting::After(Instant::now() + pause),
                AcceptAction::Stop => return Accepting::NoMore,
            },
        }
    }
}

struct Client {
    /// Before the stream, so that it is dropped first. None only once it is finished.
    connection: Option<Connection>,
    stream: TcpStream,
    /// Read, and not echoed yet because the client does not read: nothing more is read meanwhile.
    owed: Vec<u8>,
}

impl Client {
    fn interest(&self) -> PollFlags {
        if self.owed.is_empty() {
            PollFlags::POLLIN
        } else {
            PollFlags::POLLOUT
        }
    }

    /// One turn of the contract: every byte back, in order, until the client's end of stream or a stop. Returns
    /// whether the client stays.
    fn echo(&mut self, buffer: &mut [u8]) -> bool {
        match self.echo_once(buffer) {
            Ok(true) => true,
            Ok(false) => {
                if let Some(connection) = self.connection.take() {
                    connection.finish(&self.stream);
                }
                false
            }
            Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        }
    }

    fn echo_once(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let Some(connection) = &mut self.connection else {
            return Ok(false);
        };
        if !self.owed.is_empty() {
            let written = send(self.stream.as_raw_fd(), &self.owed, SEND)?;
            connection.sent(written);
            self.owed.drain(..written);
            return Ok(!(self.owed.is_empty() && connection.stopping()));
        }
        if connection.stopping() {
            return Ok(false);
        }
        let bytes = recv(self.stream.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?;
        if bytes == 0 {
            return Ok(false);
        }
        connection.received(bytes);
        let written = match send(self.stream.as_raw_fd(), &buffer[..bytes], SEND) {
            Err(Errno::EAGAIN | Errno::EINTR) => 0,
            result => result?,
        };
        connection.sent(written);
        self.owed.extend_from_slice(&buffer[written..bytes]);
        // Memory for a slow reader is given back once it has caught up.
        if self.owed.is_empty() {
            self.owed = Vec::new();
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recycled_vector_is_empty_and_has_its_memory_still() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut fds = Vec::with_capacity(1000);
        fds.push(PollFd::new(listener.as_fd(), PollFlags::POLLIN));
        let (address, capacity) = (fds.as_ptr(), fds.capacity());
        let again: Vec<PollFd<'static>> = recycled(fds);
        assert_eq!((again.len(), again.as_ptr(), again.capacity()), (0, address, capacity));
    }
}
