//! One client: what it is owed, and what the kernel still does for it.

use crate::buffers::Buffers;
use crate::submission::Submissions;
use io_uring::types::Fd;
use server_kit::Connection;
use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

/// What follows for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something is in flight and will complete.
    Wait,
    Receive,
    End,
}

/// Received bytes that lie in a shared buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) buffer: u16,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

pub(crate) struct Client {
    /// Before the stream: the kit has to know of the end before the descriptor is closed.
    connection: Connection,
    stream: TcpStream,
    /// Received and not sent, in order.
    pub(crate) received: VecDeque<Piece>,
    /// What the socket did not take at once, moved here so that a slow reader keeps no shared buffer. It stays in place
    /// while its send is in flight.
    owed: Vec<u8>,
    owed_sent: usize,
    /// What arrives after it, until the receive has ended.
    owed_later: Vec<u8>,
    pub(crate) sends_in_flight: usize,
    pub(crate) is_receiving: bool,
    is_cancelling: bool,
    pub(crate) is_starved: bool,
    /// Its last bytes filled a buffer: not a client to have more buffers for, which would only leave the cache.
    is_bulk: bool,
    /// Its socket was full: until a buffer is not filled any more one is received at a time, not as many as there are.
    pub(crate) is_slow: bool,
    /// The last chain of sends stopped.
    pub(crate) is_blocked: bool,
    pub(crate) is_due: bool,
    is_at_end: bool,
    pub(crate) has_failed: bool,
}

impl Client {
    pub(crate) fn new(stream: TcpStream, connection: Connection) -> Self {
        Self {
            connection,
            stream,
            received: VecDeque::new(),
            owed: Vec::new(),
            owed_sent: 0,
            owed_later: Vec::new(),
            sends_in_flight: 0,
            is_receiving: false,
            is_cancelling: false,
            is_starved: false,
            is_bulk: false,
            is_slow: false,
            is_blocked: false,
            is_due: false,
            is_at_end: false,
            has_failed: false,
        }
    }

    pub(crate) fn fd(&self) -> Fd {
        Fd(self.stream.as_raw_fd())
    }

    /// A receive has completed; `is_over` when it was its last completion. Returns whether it found no buffer.
    pub(crate) fn received(
        &mut self,
        result: io::Result<u32>,
        buffer: Option<u16>,
        is_over: bool,
        buffers: &mut Buffers,
    ) -> bool {
        if is_over {
            (self.is_receiving, self.is_cancelling) = (false, false);
        }
        if buffer.is_some() {
            buffers.lend();
        }
        match (result, buffer) {
            (Ok(bytes @ 1..), Some(buffer)) => self.take(buffer, bytes as usize, buffers),
            (Ok(_), buffer) => {
                buffer.into_iter().for_each(|buffer| buffers.give_back(buffer));
                self.is_at_end = true;
            }
            (Err(error), _) => match error.raw_os_error() {
                Some(libc::ENOBUFS) => {
                    if !self.is_bulk {
                        buffers.grow();
                    }
                    self.is_starved = true;
                }
                Some(libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {}
                _ => self.has_failed = true,
            },
        }
        self.is_starved
    }

    fn take(&mut self, buffer: u16, bytes: usize, buffers: &mut Buffers) {
        self.connection.received(bytes);
        self.is_bulk = bytes == buffers.size();
        self.is_slow &= self.is_bulk;
        let piece = Piece {
            buffer,
            start: 0,
            end: bytes,
        };
        if self.owed.is_empty() {
            self.received.push_back(piece);
        } else {
            self.owed_later.extend_from_slice(buffers.bytes(&piece));
            buffers.give_back(buffer);
        }
    }

    /// A send has completed. Sends complete in the order in which they were submitted.
    pub(crate) fn sent(&mut self, result: io::Result<u32>, buffers: &mut Buffers) {
        self.sends_in_flight -= 1;
        let bytes = match result {
            Ok(bytes) => bytes as usize,
            Err(error) => {
                match error.raw_os_error() {
                    Some(libc::EAGAIN | libc::ECANCELED | libc::EINTR) => self.is_blocked = true,
                    _ => self.has_failed = true,
                }
                return;
            }
        };
        self.connection.sent(bytes);
        if !self.owed.is_empty() {
            self.owed_sent += bytes;
            if self.owed_sent == self.owed.len() {
                self.owed = std::mem::take(&mut self.owed_later); // and the memory goes
                self.owed_sent = 0;
            }
        } else if let Some(piece) = self.received.front_mut() {
            piece.start += bytes;
            if piece.start == piece.end {
                buffers.give_back(piece.buffer);
                self.received.pop_front();
            } else {
                self.is_blocked = true;
            }
        }
    }

    /// Moves what the socket did not take out of the shared buffers.
    pub(crate) fn keep_owed(&mut self, buffers: &mut Buffers) {
        self.is_blocked = false;
        self.is_slow = true;
        for piece in self.received.drain(..) {
            self.owed.extend_from_slice(buffers.bytes(&piece));
            buffers.give_back(piece.buffer);
        }
    }

    pub(crate) fn owed_in_own_memory(&self) -> Option<&[u8]> {
        (!self.owed.is_empty()).then(|| &self.owed[self.owed_sent..])
    }

    /// Nothing can be sent any more.
    pub(crate) fn forget_owed(&mut self, buffers: &mut Buffers) {
        for piece in self.received.drain(..) {
            buffers.give_back(piece.buffer);
        }
        self.owed.clear();
        self.owed_later.clear();
        self.is_blocked = false;
    }

    /// Whether the client reads more slowly than it writes.
    pub(crate) fn is_behind(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Whether nothing more is to be received.
    pub(crate) fn is_ended(&self) -> bool {
        self.is_at_end || self.has_failed || self.connection.stopping()
    }

    pub(crate) fn stop_receiving(&mut self, token: u32, queue: &mut Submissions) -> io::Result<()> {
        if !self.is_receiving || self.is_cancelling {
            return Ok(());
        }
        self.is_cancelling = true;
        queue.cancel_receive(token)
    }

    /// Closes. The kernel does nothing for this client any more.
    pub(crate) fn end(self) {
        if !self.has_failed {
            self.connection.finish(&self.stream);
        }
    }
}

/// The clients of a worker. A token is used again only after the last completion of its client.
#[derive(Default)]
pub(crate) struct Clients {
    places: Vec<Option<Client>>,
    free: Vec<u32>,
    pub(crate) count: usize,
}

impl Clients {
    pub(crate) fn insert(&mut self, client: Client) -> u32 {
        self.count += 1;
        if let Some(token) = self.free.pop() {
            self.places[token as usize] = Some(client);
            return token;
        }
        self.places.push(Some(client));
        u32::try_from(self.places.len() - 1).expect("no more clients than descriptors")
    }

    pub(crate) fn get(&mut self, token: u32) -> &mut Client {
        let place = self.places.get_mut(token as usize).and_then(Option::as_mut);
        place.expect("a client lives until its last completion")
    }

    pub(crate) fn remove(&mut self, token: u32) -> Client {
        let client = self.places[token as usize].take();
        self.free.push(token);
        self.count -= 1;
        client.expect("a client ends once")
    }
}
