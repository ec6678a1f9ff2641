//! Raw epoll, level-triggered: the reference for readiness, with nothing between the kernel and the echo.
//! Idiom: one read and one write per ready connection, no epoll_ctl per message. Accept: one shared listener; it wakes
//! one worker at a time (EPOLLEXCLUSIVE).
//! Differs from the other backends: one buffer per worker, not per connection; a connection has memory of its own
//! only while its client writes faster than it reads.

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, recv, send};
use server_kit::{AcceptAction, BufferPolicy, Connection, Server, ServerIdentity, locked_version, serve};
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::thread::Builder;
use std::time::{Duration, Instant};

const IDENTITY: ServerIdentity = ServerIdentity {
    binary: env!("CARGO_BIN_NAME"),
    runtime_version: locked_version("nix"),
    buffers: BufferPolicy::PerWorker,
};

/// Events taken with one epoll_wait.
const MAX_EVENTS: usize = 1024;
/// The token of the listener; a connection's is its place among the clients.
const LISTENER: u64 = u64::MAX;

fn main() -> ExitCode {
    serve(IDENTITY, run)
}

/// Runs `server.workers()` event loops, the first of them on this thread, until the last client is gone.
fn run(server: Server) -> io::Result<()> {
    let listener = match server.workers() {
        1 => server.bind_shared()?,
        _ => server.bind_shared_as("shared listener (EPOLLEXCLUSIVE)")?,
    };
    listener.set_nonblocking(true)?;
    let mut threads = Vec::new();
    for _ in 1..server.workers() {
        let worker = Worker::new(listener.try_clone()?, server)?;
        let run = move || accept_loop(worker).inspect_err(|_| server.fail());
        threads.push(Builder::new().name("worker".into()).spawn(run)?);
    }
    let worker = Worker::new(listener, server)?;
    server.ready()?;
    let mut outcome = accept_loop(worker).inspect_err(|_| server.fail());
    for thread in threads {
        let end = thread.join().map_err(|_| io::Error::other("a worker panicked"));
        outcome = outcome.and(end.flatten());
    }
    outcome
}

/// The event loop: accepts until the kit says stop, and echoes until the last of its clients is gone.
fn accept_loop(mut worker: Worker) -> io::Result<()> {
    let mut buffer = worker.server.buffer();
    let mut events = vec![EpollEvent::empty(); MAX_EVENTS];
    while worker.is_accepting || worker.clients.count > 0 {
        let count = match worker.epoll.wait(&mut events, worker.timeout()) {
            Err(Errno::EINTR) => 0,
            result => result?,
        };
        for event in &events[..count] {
            match event.data() {
                LISTENER => worker.accept()?,
                token => worker.echo(token, &mut buffer)?,
            }
        }
        worker.end_pause()?;
    }
    Ok(())
}

/// The contract: every byte back, in order, until the client's end of stream or a stop. One step of it, for a client
/// that is ready: reads and writes, or writes what an earlier step could not.
fn echo_connection(client: &mut Client, buffer: &mut [u8]) -> io::Result<Next> {
    if client.owed.is_empty() {
        let bytes = match recv(client.stream.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => return Ok(Next::Finish),
            Ok(bytes) => bytes,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(Next::Read),
            Err(error) => return Err(error.into()),
        };
        client.connection.received(bytes);
        let sent = client.send(&buffer[..bytes])?;
        client.owed.extend_from_slice(&buffer[sent..bytes]);
    } else {
        let owed = std::mem::take(&mut client.owed);
        client.owed_sent += client.send(&owed[client.owed_sent..])?;
        if client.owed_sent < owed.len() {
            client.owed = owed;
        } else {
            client.owed_sent = 0; // and the memory goes with it
        }
    }
    Ok(match (client.owed.is_empty(), client.connection.stopping()) {
        (false, _) => Next::Write,
        (true, false) => Next::Read,
        (true, true) => Next::Finish,
    })
}

/// What a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Read,
    Write,
    Finish,
}

struct Client {
    /// Before the stream: the kit has to know of the end before the descriptor is closed.
    connection: Connection,
    stream: TcpStream,
    /// What was read and could not be written at once: at most one buffer. Nothing is read until it is written.
    owed: Vec<u8>,
    /// How much of it has been written.
    owed_sent: usize,
    awaits: Next,
}

impl Client {
    /// Writes what the socket takes now.
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let sent = match send(self.stream.as_raw_fd(), bytes, flags) {
            Err(Errno::EAGAIN | Errno::EINTR) => 0,
            result => result?,
        };
        self.connection.sent(sent);
        Ok(sent)
    }
}

struct Worker {
    server: Server,
    epoll: Epoll,
    listener: TcpListener,
    clients: Clients,
    is_accepting: bool,
    /// The kit asked for a pause in accepting: until then epoll does not watch the listener.
    paused_until: Option<Instant>,
}

impl Worker {
    fn new(listener: TcpListener, server: Server) -> io::Result<Self> {
        let worker = Self {
            server,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            listener,
            clients: Clients::default(),
            is_accepting: true,
            paused_until: None,
        };
        worker.watch_listener()?;
        Ok(worker)
    }

    /// Takes all clients that wait; with several workers one, so that in a burst the others get their share: what is left
    /// makes epoll_wait return at once.
    fn accept(&mut self) -> io::Result<()> {
        while self.accept_one()? && self.server.workers() == 1 {}
        Ok(())
    }

    /// Takes a client; whether there may be another.
    fn accept_one(&mut self) -> io::Result<bool> {
        match self.listener.accept() {
            Ok((stream, _)) => {
                self.admit(stream);
                self.go_to_the_end_of_the_queue()?;
                return Ok(true);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {} // none, or another worker was faster
            Err(error) => match self.server.accept_failed(&error) {
                AcceptAction::Retry => return Ok(true),
                AcceptAction::BackOff(pause) => {
                    self.epoll.delete(&self.listener)?;
                    self.paused_until = Some(Instant::now() + pause);
                }
                AcceptAction::Stop => {
                    self.epoll.delete(&self.listener)?;
                    self.is_accepting = false;
                }
            },
        }
        Ok(false)
    }

    fn admit(&mut self, stream: TcpStream) {
        let Some(slot) = self.server.reserve() else {
            self.server.refuse(&stream);
            return;
        };
        let event = EpollEvent::new(EpollFlags::EPOLLIN, self.clients.next_token());
        match self.epoll.add(&stream, event) {
            Ok(()) => self.clients.insert(Client {
                connection: slot.open(&stream),
                stream,
                owed: Vec::new(),
                owed_sent: 0,
                awaits: Next::Read,
            }),
            Err(error) => {
                self.server.refuse(&stream);
                self.server.notice_refusal(&error.into());
            }
        }
    }

    /// Makes a step of the echo and changes what epoll watches for only if that has to change.
    fn echo(&mut self, token: u64, buffer: &mut [u8]) -> io::Result<()> {
        let Some(client) = self.clients.get(token) else {
            return Ok(());
        };
        let next = echo_connection(client, buffer);
        let interest = match next {
            Ok(next) if next == client.awaits => return Ok(()),
            Ok(Next::Read) => EpollFlags::EPOLLIN,
            Ok(Next::Write) => EpollFlags::EPOLLOUT,
            Ok(Next::Finish) | Err(_) => {
                // Asked for by name: the kit may keep a duplicate of the descriptor, and epoll would go on watching.
                self.epoll.delete(&client.stream)?;
                if let (Some(Client { connection, stream, .. }), Ok(_)) = (self.clients.remove(token), next) {
                    connection.finish(&stream);
                }
                return Ok(());
            }
        };
        client.awaits = next.unwrap_or(Next::Read);
        Ok(self
            .epoll
            .modify(&client.stream, &mut EpollEvent::new(interest, token))?)
    }

    fn watch_listener(&self) -> io::Result<()> {
        let flags = match self.server.workers() {
            1 => EpollFlags::EPOLLIN,
            _ => EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE,
        };
        Ok(self.epoll.add(&self.listener, EpollEvent::new(flags, LISTENER))?)
    }

    /// The kernel wakes the first idle worker in the listener's queue, so the one that stands there would get nearly
    /// every client (nginx does the same, in ngx_reorder_accept_events).
    fn go_to_the_end_of_the_queue(&self) -> io::Result<()> {
        if self.server.workers() == 1 {
            return Ok(());
        }
        self.epoll.delete(&self.listener)?;
        self.watch_listener()
    }

    fn timeout(&self) -> EpollTimeout {
        let Some(until) = self.paused_until else {
            return EpollTimeout::NONE;
        };
        // Rounded up: else the loop would spin through its last millisecond.
        let left = until.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
        EpollTimeout::try_from(left).unwrap_or(EpollTimeout::MAX)
    }

    fn end_pause(&mut self) -> io::Result<()> {
        if self.paused_until.is_none_or(|until| Instant::now() < until) {
            return Ok(());
        }
        self.paused_until = None;
        self.watch_listener()
    }
}

/// The clients of a worker. A token is used again only after its client is gone from epoll.
#[derive(Default)]
struct Clients {
    places: Vec<Option<Client>>,
    free: Vec<usize>,
    count: usize,
}

impl Clients {
    /// The token that the next `insert` gives.
    fn next_token(&self) -> u64 {
        self.free.last().copied().unwrap_or(self.places.len()) as u64
    }

    fn insert(&mut self, client: Client) {
        self.count += 1;
        match self.free.pop() {
            Some(place) => self.places[place] = Some(client),
            None => self.places.push(Some(client)),
        }
    }

    fn get(&mut self, token: u64) -> Option<&mut Client> {
        self.places.get_mut(usize::try_from(token).ok()?)?.as_mut()
    }

    fn remove(&mut self, token: u64) -> Option<Client> {
        let place = usize::try_from(token).ok()?;
        let client = self.places.get_mut(place)?.take()?;
        self.free.push(place);
        self.count -= 1;
        Some(client)
    }
}
