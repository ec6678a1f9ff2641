//! One client: what it is owed, and what follows when an operation of its has completed.

use crate::buffers::Buffers;
use io_uring::types::Fd;
use server_kit::Connection;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

/// What the kernel is to do for a client: never more than one thing at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Receive,
    /// Receive when a buffer has come free: the kernel found none.
    ReceiveLater,
    /// Send what lies in the shared buffer, as far as the socket takes it now.
    SendAtOnce(Piece),
    /// Send what is owed, however long the client takes.
    SendWhenPossible,
    Finish,
}

/// Received bytes in a shared buffer, which is lent to the client until they are sent or moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) buffer: u16,
    pub(crate) bytes: usize,
}

pub(crate) struct Client {
    /// Before the stream: the kit has to know of the end before the descriptor is closed.
    connection: Connection,
    stream: TcpStream,
    /// What is being sent out of a shared buffer.
    lent: Option<Piece>,
    /// What the socket did not take at once, moved here so that a slow reader keeps no shared buffer: at most one buffer.
    /// Nothing is received until it is sent. It stays in place while its send is in flight.
    owed: Vec<u8>,
    /// How much of it has been sent.
    owed_sent: usize,
}

impl Client {
    pub(crate) fn new(stream: TcpStream, connection: Connection) -> Self {
        Self {
            connection,
            stream,
            lent: None,
            owed: Vec::new(),
            owed_sent: 0,
        }
    }

    pub(crate) fn fd(&self) -> Fd {
        Fd(self.stream.as_raw_fd())
    }

    pub(crate) fn owed(&self) -> &[u8] {
        &self.owed[self.owed_sent..]
    }

    /// A receive has completed, into `buffer` if it had bytes.
    pub(crate) fn received(
        &mut self,
        result: io::Result<usize>,
        buffer: Option<u16>,
        buffers: &mut Buffers,
    ) -> io::Result<Next> {
        if buffer.is_some() {
            buffers.lend();
        }
        match (result, buffer) {
            (Ok(bytes @ 1..), Some(buffer)) => {
                self.connection.received(bytes);
                let piece = Piece { buffer, bytes };
                self.lent = Some(piece);
                Ok(Next::SendAtOnce(piece))
            }
            (Ok(_), buffer) => {
                buffer.into_iter().for_each(|buffer| buffers.give_back(buffer));
                Ok(Next::Finish)
            }
            (Err(error), _) => match error.raw_os_error() {
                Some(libc::ENOBUFS) => Ok(Next::ReceiveLater),
                Some(libc::EINTR | libc::EAGAIN) => Ok(Next::Receive),
                _ => Err(error),
            },
        }
    }

    /// A send has completed.
    pub(crate) fn sent(&mut self, result: io::Result<usize>, buffers: &mut Buffers) -> io::Result<Next> {
        let result = match result {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN)) => Ok(0),
            result => result,
        };
        if let Ok(sent) = result {
            self.connection.sent(sent);
            self.owed_sent += sent;
        }
        if let Some(piece) = self.lent.take() {
            if let Ok(sent) = result {
                self.owed.extend_from_slice(&buffers.bytes(piece)[sent..]);
                self.owed_sent = 0;
            }
            buffers.give_back(piece.buffer);
        }
        result?;
        if self.owed_sent < self.owed.len() {
            return Ok(Next::SendWhenPossible);
        }
        self.owed = Vec::new(); // the memory goes
        self.owed_sent = 0;
        Ok(match self.connection.stopping() {
            true => Next::Finish,
            false => Next::Receive,
        })
    }

    /// Closes. The kernel does nothing for this client any more.
    pub(crate) fn finish(self) {
        self.connection.finish(&self.stream);
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
