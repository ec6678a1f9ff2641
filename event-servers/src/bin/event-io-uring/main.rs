//! Raw io_uring: the reference for the ring, with nothing between its completions and the echo.
//! Idiom: multishot accept, multishot receive into buffers that all clients of a worker share, linked sends; one system call
//! per turn. Accept: one listener, or with `--workers` above 1 one per worker (SO_REUSEPORT).
//! Differs from the other backends: buffers are lent to a connection only from a receive to its send; a client that does not
//! read is owed at most what one turn received (33 buffers), and from then on one buffer at a time.

mod buffers;
mod client;
mod submission;

use buffers::Buffers;
use client::{Client, Clients, Step};
use io_uring::{IoUring, cqueue};
use server_kit::ring::{Builder, RingNeeds, opcode};
use server_kit::{AcceptAction, Server, ServerIdentity, locked_version, serve};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::ExitCode;
use submission::{Kind, Submissions};

const IDENTITY: ServerIdentity = ServerIdentity {
    binary: env!("CARGO_BIN_NAME"),
    runtime_version: locked_version("io-uring"),
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
            ("recv", opcode::RecvMulti::CODE),
            ("send", opcode::Send::CODE),
            ("async cancel", opcode::AsyncCancel::CODE),
            ("timeout", opcode::Timeout::CODE),
        ],
        kernel: "6.1",
    })?;
    // A ring belongs to the thread that makes it.
    server.run_per_worker(
        || ring.build(build),
        |ring, listener| accept_loop(Worker::new(ring, listener, server)?),
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
fn accept_loop(mut worker: Worker) -> io::Result<()> {
    let mut completions: Vec<cqueue::Entry> = Vec::new();
    worker.submissions.accept(&worker.listener)?;
    while worker.is_accepting || worker.clients.count > 0 {
        worker.submissions.submit_and_wait()?;
        completions.extend(worker.submissions.completions());
        for completion in completions.drain(..) {
            worker.complete(&completion)?;
        }
        worker.end_turn()?;
    }
    Ok(())
}

/// The contract: every byte back, in order, until the client's end of stream or a stop. One step of it, for a client
/// of which something completed: sends what it is owed, or receives again, or ends.
fn echo_connection(
    client: &mut Client,
    token: u32,
    buffers: &mut Buffers,
    queue: &mut Submissions,
) -> io::Result<Step> {
    if client.sends_in_flight > 0 {
        return Ok(Step::Wait);
    }
    if client.has_failed {
        client.forget_owed(buffers);
    }
    if client.is_blocked {
        client.keep_owed(buffers);
    }
    if let Some(owed) = client.owed_in_own_memory() {
        queue.send_when_possible(client.fd(), token, owed)?;
        client.sends_in_flight = 1;
    } else if !client.received.is_empty() {
        queue.send_at_once(
            client.fd(),
            token,
            client.received.iter().map(|piece| buffers.bytes(piece)),
        )?;
        client.sends_in_flight = client.received.len();
    } else if client.is_ended() {
        if !client.is_receiving && !client.is_starved {
            return Ok(Step::End);
        }
        client.stop_receiving(token, queue)?;
        return Ok(Step::Wait);
    } else if !client.is_receiving {
        return Ok(Step::Receive);
    }
    if client.is_behind() {
        client.stop_receiving(token, queue)?;
    }
    Ok(Step::Wait)
}

struct Worker {
    server: Server,
    listener: TcpListener,
    /// Goes before the buffers: the ring must be closed before the memory that it writes to.
    submissions: Submissions,
    buffers: Buffers,
    clients: Clients,
    /// Clients of which something completed in this turn. They make their step after all completions are seen, so
    /// that what arrived in pieces leaves as one chain.
    due: Vec<u32>,
    /// Clients that found no buffer and receive again when there is one.
    starved: Vec<u32>,
    is_accepting: bool,
}

impl Worker {
    fn new(ring: IoUring, listener: TcpListener, server: Server) -> io::Result<Self> {
        let buffers = Buffers::new(server.buffer().len(), &ring)?;
        Ok(Self {
            server,
            listener,
            submissions: Submissions::new(ring),
            buffers,
            clients: Clients::default(),
            due: Vec::new(),
            starved: Vec::new(),
            is_accepting: true,
        })
    }

    fn complete(&mut self, completion: &cqueue::Entry) -> io::Result<()> {
        let (kind, token) = Kind::of(completion.user_data());
        let result = match completion.result() {
            result if result < 0 => Err(io::Error::from_raw_os_error(-result)),
            result => Ok(result.unsigned_abs()),
        };
        let is_over = !cqueue::more(completion.flags());
        match kind {
            Kind::Accept => self.accepted(result, is_over),
            Kind::Pause => self.submissions.accept(&self.listener),
            Kind::Cancel => Ok(()), // what was cancelled tells by itself
            Kind::Receive => {
                let piece = cqueue::buffer_select(completion.flags());
                if self
                    .clients
                    .get(token)
                    .received(result, piece, is_over, &mut self.buffers)
                {
                    self.starved.push(token);
                }
                self.is_due(token);
                Ok(())
            }
            Kind::Send => {
                self.clients.get(token).sent(result, &mut self.buffers);
                self.is_due(token);
                Ok(())
            }
        }
    }

    fn is_due(&mut self, token: u32) {
        let client = self.clients.get(token);
        if !client.is_due {
            client.is_due = true;
            self.due.push(token);
        }
    }

    fn accepted(&mut self, result: io::Result<u32>, is_over: bool) -> io::Result<()> {
        let again = match result {
            Ok(fd) => {
                // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
                let fd = unsafe { OwnedFd::from_raw_fd(fd.cast_signed()) };
                let stream = TcpStream::from(fd);
                if let Some(connection) = self.server.admit(&stream) {
                    let token = self.clients.insert(Client::new(stream, connection));
                    self.is_due(token);
                }
                AcceptAction::Retry
            }
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

    /// Lets every client of this turn make its step, and then those that wait for a buffer if one came free.
    fn end_turn(&mut self) -> io::Result<()> {
        loop {
            for token in std::mem::take(&mut self.due) {
                self.step(token)?;
            }
            if self.starved.is_empty() || !self.buffers.has_some() {
                return Ok(());
            }
            for token in std::mem::take(&mut self.starved) {
                self.clients.get(token).is_starved = false;
                self.is_due(token);
            }
        }
    }

    fn step(&mut self, token: u32) -> io::Result<()> {
        let client = self.clients.get(token);
        client.is_due = false;
        match echo_connection(client, token, &mut self.buffers, &mut self.submissions)? {
            Step::Wait => {}
            Step::Receive if client.is_starved => {}
            Step::Receive => {
                client.is_receiving = true;
                let single = client.is_slow.then_some(self.buffers.size());
                self.submissions.receive(client.fd(), token, single)?;
            }
            Step::End => self.clients.remove(token).end(),
        }
        Ok(())
    }
}
