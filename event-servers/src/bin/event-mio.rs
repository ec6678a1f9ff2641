//! mio: edge-triggered readiness over epoll, and a loop of one's own.
//! Idiom: one read and one write per ready connection; a client that filled the buffer, or has ended, is looked at again
//! in the next turn. Accept: one listener, or with `--workers` above 1 one per worker (SO_REUSEPORT).
//! Differs from the other backends: one buffer per worker, not per connection; a connection has memory of its own
//! only while its client writes faster than it reads.

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use server_kit::{AcceptAction, BufferPolicy, Connection, Server, ServerIdentity, locked_version, serve};
use slab::Slab;
use std::io::{self, ErrorKind, Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const IDENTITY: ServerIdentity = ServerIdentity {
    binary: env!("CARGO_BIN_NAME"),
    runtime_version: locked_version("mio"),
    buffers: BufferPolicy::PerWorker,
};

/// Events taken with one poll.
const MAX_EVENTS: usize = 1024;
/// The token of the listener; a connection's is its place among the clients.
const LISTENER: Token = Token(usize::MAX);

fn main() -> ExitCode {
    serve(IDENTITY, run)
}

/// Builds a poll for each worker and runs their loops until the last client is gone.
fn run(server: Server) -> io::Result<()> {
    server.run_per_worker(Poll::new, |poll, listener| {
        listener.set_nonblocking(true)?;
        accept_loop(Worker::new(poll, TcpListener::from_std(listener), server)?)
    })
}

/// The event loop: accepts until the kit says stop, and echoes until the last of its clients is gone.
fn accept_loop(mut worker: Worker) -> io::Result<()> {
    let mut buffer = worker.server.buffer();
    let mut events = Events::with_capacity(MAX_EVENTS);
    while worker.is_accepting || !worker.clients.is_empty() {
        match worker.poll.poll(&mut events, worker.timeout()) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        }
        let unfinished = std::mem::take(&mut worker.unfinished);
        for event in &events {
            match event.token() {
                LISTENER => worker.accept()?,
                token => worker.ready(token, event, &mut buffer)?,
            }
        }
        for token in unfinished {
            worker.echo(token, &mut buffer)?;
        }
        worker.end_pause()?;
    }
    Ok(())
}

/// The contract: every byte back, in order, until the client's end of stream or a stop. One step of it: writes what an
/// earlier step could not, or reads and writes.
fn echo_connection(client: &mut Client, buffer: &mut [u8]) -> io::Result<Next> {
    if client.owed.is_empty() {
        let bytes = match client.stream.read(buffer) {
            Ok(0) => return Ok(Next::Finish),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                client.has_urgent = false;
                return Ok(Next::Wait);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Next::Again),
            Err(error) => return Err(error),
        };
        client.connection.received(bytes);
        let sent = client.send(&buffer[..bytes])?;
        client.owed.extend_from_slice(&buffer[sent..bytes]);
        // A short read has emptied the socket, and what comes later is another edge; an end that came along is not, and
        // neither is what lies behind urgent data, where a read stops.
        client.is_emptied = bytes < buffer.len() && !client.is_ended && !client.has_urgent;
    } else {
        let owed = std::mem::take(&mut client.owed);
        let sent = client.send(&owed)?;
        client.owed.extend_from_slice(&owed[sent..]);
        client.is_emptied = false; // more may have come while nothing was read
    }
    Ok(match (client.owed.is_empty(), client.connection.stopping()) {
        (false, _) => Next::Wait,
        (true, true) => Next::Finish,
        (true, false) if client.is_emptied => Next::Wait,
        (true, false) => Next::Again,
    })
}

/// What a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The next edge.
    Wait,
    /// Its turn.
    Again,
    Finish,
}

struct Client {
    /// Before the stream: the kit has to know of the end before the descriptor is closed.
    connection: Connection,
    stream: TcpStream,
    /// What was read and could not be written at once: at most one buffer. Nothing is read until it is written.
    owed: Vec<u8>,
    /// Whether the last read took all there was.
    is_emptied: bool,
    /// Whether an event said that the client writes no more.
    is_ended: bool,
    /// Whether an event spoke of urgent data since the last read in vain.
    has_urgent: bool,
}

impl Client {
    /// Writes until the socket takes no more: only then is there another edge.
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(more) => sent += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.connection.sent(sent);
        Ok(sent)
    }
}

struct Worker {
    server: Server,
    poll: Poll,
    listener: TcpListener,
    clients: Slab<Client>,
    /// Clients that may have more to read, though no edge will tell.
    unfinished: Vec<Token>,
    is_accepting: bool,
    /// The kit asked for a pause in accepting.
    paused_until: Option<Instant>,
}

impl Worker {
    fn new(poll: Poll, mut listener: TcpListener, server: Server) -> io::Result<Self> {
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            server,
            poll,
            listener,
            clients: Slab::new(),
            unfinished: Vec::new(),
            is_accepting: true,
            paused_until: None,
        })
    }

    /// Takes all clients that wait: one edge tells of any number of them.
    fn accept(&mut self) -> io::Result<()> {
        while self.is_accepting && self.paused_until.is_none() {
            match self.listener.accept() {
                Ok((stream, _)) => self.admit(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => match self.server.accept_failed(&error) {
                    AcceptAction::Retry => {}
                    AcceptAction::BackOff(pause) => self.paused_until = Some(Instant::now() + pause),
                    AcceptAction::Stop => {
                        self.poll.registry().deregister(&mut self.listener)?;
                        self.is_accepting = false;
                    }
                },
            }
        }
        Ok(())
    }

    fn admit(&mut self, mut stream: TcpStream) {
        let Some(slot) = self.server.reserve() else {
            self.server.refuse(&stream);
            return;
        };
        let place = self.clients.vacant_entry();
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        match self.poll.registry().register(&mut stream, Token(place.key()), interest) {
            Ok(()) => drop(place.insert(Client {
                connection: slot.open(&stream),
                stream,
                owed: Vec::new(),
                is_emptied: true,
                is_ended: false,
                has_urgent: false,
            })),
            Err(error) => {
                self.server.refuse(&stream);
                self.server.notice_refusal(&error);
            }
        }
    }

    fn ready(&mut self, token: Token, event: &Event, buffer: &mut [u8]) -> io::Result<()> {
        if let Some(client) = self.clients.get_mut(token.0) {
            client.is_ended |= event.is_read_closed() || event.is_error();
            client.has_urgent |= event.is_priority();
        }
        self.echo(token, buffer)
    }

    /// Makes a step of the echo.
    fn echo(&mut self, token: Token, buffer: &mut [u8]) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(token.0) else {
            return Ok(());
        };
        let next = echo_connection(client, buffer);
        match next {
            Ok(Next::Wait) => {}
            Ok(Next::Again) => self.unfinished.push(token),
            Ok(Next::Finish) | Err(_) => {
                let mut client = self.clients.remove(token.0);
                // Asked for by name: the kit may keep a duplicate of the descriptor, and epoll would go on watching.
                self.poll.registry().deregister(&mut client.stream)?;
                if next.is_ok() {
                    client.connection.finish(&client.stream);
                }
            }
        }
        Ok(())
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.unfinished.is_empty() {
            return Some(Duration::ZERO);
        }
        self.paused_until
            .map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// Tries again after a pause: the edge that told of the waiting clients is gone.
    fn end_pause(&mut self) -> io::Result<()> {
        if self.paused_until.is_none_or(|until| Instant::now() < until) {
            return Ok(());
        }
        self.paused_until = None;
        self.accept()
    }
}
