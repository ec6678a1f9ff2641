//! Raw io_uring: the reference for the ring, with nothing between its completions and the echo.
//! Idiom: multishot accept, receives into buffers that all clients of a worker share, one operation in flight per client; one
//! system call per turn. Accept: one listener, or with `--workers` above 1 one per worker (SO_REUSEPORT).
//! Differs from the other backends: buffers are lent to a connection only from a receive to its send; a connection has
//! memory of its own only while its client writes faster than it reads.

mod buffers;
mod client;
mod submission;

use buffers::Buffers;
use client::{Client, Clients, Next};
use io_uring::{IoUring, cqueue};
use server_kit::ring::{Builder, RingNeeds, opcode};
use server_kit::{AcceptAction, BufferPolicy, Server, ServerIdentity, locked_version, serve};
use std::io;
use std::mem::ManuallyDrop;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::ExitCode;
use submission::{Kind, Submissions};

const IDENTITY: ServerIdentity = ServerIdentity {
    binary: env!("CARGO_BIN_NAME"),
    runtime_version: locked_version("io-uring"),
    buffers: BufferPolicy::Pool,
};

/// Room for a turn's sends; a full queue is submitted and filled again.
const ENTRIES: u32 = 4096;
/// Two completions for each of 16,384 clients. More only cost time: the kernel keeps what does not fit.
const COMPLETIONS: u32 = 32_768;

fn main() -> ExitCode {
    serve(IDENTITY, run)
}

/// Runs `server.workers()` rings, the first of them on this thread, until the last client is gone.
fn run(server: Server) -> io::Result<()> {
    let ring = server.require_ring(RingNeeds {
        driver: "io-uring: SINGLE_ISSUER, DEFER_TASKRUN",
        entries: ENTRIES,
        completions: COMPLETIONS,
        rings_per_worker: 1,
        registered_bytes: buffers::RING_BYTES,
        setup,
        operations: &[
            ("accept", opcode::AcceptMulti::CODE),
            ("recv", opcode::Recv::CODE),
            ("send", opcode::Send::CODE),
            ("timeout", opcode::Timeout::CODE),
        ],
        kernel: "6.1",
    })?;
    // A ring belongs to the thread that makes it.
    server.run_per_worker(
        || ring.build(build),
        |ring, listener| {
            // Closing a ring only begins its end: what is in flight after a failure may still read and write memory, which
            // therefore stays.
            let mut worker = ManuallyDrop::new(Worker::new(ring, listener, server)?);
            accept_loop(&mut worker)?;
            server.add_pool_bytes(worker.buffers.resident_bytes()?);
            drop(ManuallyDrop::into_inner(worker));
            Ok(())
        },
    )
}

fn build() -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_cqsize(COMPLETIONS);
    setup(&mut builder);
    builder.build(ENTRIES)
}

fn setup(builder: &mut Builder) {
    builder.setup_submit_all().setup_single_issuer().setup_defer_taskrun();
}

/// The event loop: accepts until the kit says stop, and echoes until the last of its clients is gone.
fn accept_loop(worker: &mut Worker) -> io::Result<()> {
    let mut completions: Vec<cqueue::Entry> = Vec::new();
    worker.submissions.accept(&worker.listener)?;
    while worker.is_accepting || worker.clients.count > 0 {
        worker.submissions.submit_and_wait()?;
        completions.extend(worker.submissions.completions());
        for completion in completions.drain(..) {
            worker.complete(&completion)?;
        }
        worker.feed_starved()?;
    }
    Ok(())
}

/// The contract: every byte back, in order, until the client's end of stream or a stop. One step of it, for a client
/// of which an operation completed.
fn echo_connection(
    client: &mut Client,
    kind: Kind,
    completion: &cqueue::Entry,
    buffers: &mut Buffers,
) -> io::Result<Next> {
    let result = outcome(completion).map(|bytes| bytes as usize);
    match kind {
        Kind::Receive => client.received(result, cqueue::buffer_select(completion.flags()), buffers),
        _ => client.sent(result, buffers),
    }
}

struct Worker {
    server: Server,
    listener: TcpListener,
    submissions: Submissions,
    buffers: Buffers,
    clients: Clients,
    /// Clients that found no buffer and receive again when there is one.
    starved: Vec<u32>,
    is_accepting: bool,
    /// Clients have come since the last accept error.
    has_accepted: bool,
}

impl Worker {
    fn new(ring: IoUring, listener: TcpListener, server: Server) -> io::Result<Self> {
        let buffers = Buffers::new(server.buffer_bytes(), &ring)?;
        Ok(Self {
            server,
            listener,
            submissions: Submissions::new(ring),
            buffers,
            clients: Clients::default(),
            starved: Vec::new(),
            is_accepting: true,
            has_accepted: false,
        })
    }

    fn complete(&mut self, completion: &cqueue::Entry) -> io::Result<()> {
        let (kind, token) = Kind::of(completion.user_data());
        match kind {
            Kind::Accept => self.accepted(outcome(completion), !cqueue::more(completion.flags())),
            Kind::Pause => self.submissions.accept(&self.listener),
            Kind::Receive | Kind::Send => {
                let client = self.clients.get(token);
                let next = echo_connection(client, kind, completion, &mut self.buffers);
                self.follow(token, next)
            }
        }
    }

    fn accepted(&mut self, result: io::Result<u32>, is_over: bool) -> io::Result<()> {
        let again = match result {
            Ok(fd) => {
                // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
                let fd = unsafe { OwnedFd::from_raw_fd(fd.cast_signed()) };
                self.has_accepted = true;
                self.admit(TcpStream::from(fd))?;
                AcceptAction::Retry
            }
            // The kernel accepts all who wait, as far as descriptors go, before the first of them can be refused: where some
            // were, there is room now. If not, the next error is the kit's.
            Err(_) if std::mem::take(&mut self.has_accepted) => AcceptAction::Retry,
            Err(error) => self.server.accept_failed(&error),
        };
        // A multishot accept ends with its first error.
        match again {
            AcceptAction::Retry if is_over => self.submissions.accept(&self.listener),
            AcceptAction::Retry => Ok(()),
            AcceptAction::BackOff(pause) => self.submissions.pause(pause),
            AcceptAction::Stop => {
                self.is_accepting = false;
                Ok(())
            }
        }
    }

    fn admit(&mut self, stream: TcpStream) -> io::Result<()> {
        match self.server.admit(&stream) {
            Some(connection) => {
                let token = self.clients.insert(Client::new(stream, connection));
                self.follow(token, Ok(Next::Receive))
            }
            None => Ok(()),
        }
    }

    /// Asks the kernel for what a client needs next.
    fn follow(&mut self, token: u32, next: io::Result<Next>) -> io::Result<()> {
        let client = self.clients.get(token);
        let fd = client.fd();
        match next {
            Ok(Next::Receive) => self.submissions.receive(fd, token),
            Ok(Next::ReceiveLater) => {
                self.starved.push(token);
                Ok(())
            }
            Ok(Next::SendAtOnce(piece)) => self.submissions.send_at_once(fd, token, self.buffers.bytes(piece)),
            Ok(Next::SendWhenPossible) => self.submissions.send_when_possible(fd, token, client.owed()),
            Ok(Next::Finish) => {
                self.clients.remove(token).finish();
                Ok(())
            }
            Err(_) => {
                drop(self.clients.remove(token));
                Ok(())
            }
        }
    }

    /// Lets those that found no buffer receive again, if there is one now.
    fn feed_starved(&mut self) -> io::Result<()> {
        if self.starved.is_empty() {
            return Ok(());
        }
        if !self.buffers.has_some() {
            self.buffers.grow();
        }
        if self.buffers.has_some() {
            for token in std::mem::take(&mut self.starved) {
                self.follow(token, Ok(Next::Receive))?;
            }
        }
        Ok(())
    }
}

/// What the kernel says of an operation: a number, or an error.
fn outcome(completion: &cqueue::Entry) -> io::Result<u32> {
    match completion.result() {
        result if result < 0 => Err(io::Error::from_raw_os_error(-result)),
        result => Ok(result.unsigned_abs()),
    }
}
