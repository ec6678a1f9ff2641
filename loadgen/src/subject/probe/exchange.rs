//! One connection on which messages are sent and their echo is compared.

use super::connect::timeout;
use nix::poll::{PollFd, PollFlags, poll};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

/// Longest wait for the server's FIN after ours; a foreign server may never send one.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// What comes this soon after something wrong belongs to it.
const REST: Duration = Duration::from_millis(50);
/// So much more than was sent is looked at.
const EXCESS: usize = 4_096;

/// What came back.
#[derive(Debug)]
pub(super) enum Answer {
    /// All that was sent, and nothing else.
    Whole,
    /// All of it, and more.
    More,
    /// Other bytes.
    Wrong,
    /// Not all of it in time.
    Late,
    /// The server ended the connection in good order.
    Ended,
    Broke(io::Error),
}

/// A connection that sends the same bytes again and again.
pub(super) struct Exchange<'a> {
    stream: TcpStream,
    message: &'a [u8],
    /// Bytes that should leave, and come back.
    owed: usize,
    sent: usize,
    pub(super) received: Vec<u8>,
    /// So many of these are as they should be.
    right: usize,
}

enum Turn {
    Moved,
    TimedOut,
    Ended,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(stream: TcpStream, message: &'a [u8]) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            message,
            owed: 0,
            sent: 0,
            received: Vec::new(),
            right: 0,
        })
    }

    /// Sends the bytes `times` times at once, and waits for all that was sent so far.
    pub(super) fn send(&mut self, times: usize, limit: Duration) -> Answer {
        self.owed += self.message.len() * times;
        self.wait(limit)
    }

    /// Waits for what was sent.
    pub(super) fn wait(&mut self, limit: Duration) -> Answer {
        let deadline = Instant::now() + limit;
        loop {
            if !self.is_right() {
                self.take_in_more(REST);
                return Answer::Wrong;
            }
            if self.received.len() > self.owed {
                return Answer::More;
            }
            if self.received.len() == self.owed && self.sent == self.owed {
                return Answer::Whole;
            }
            match self.turn(deadline) {
                Ok(Turn::Moved) => {}
                Ok(Turn::TimedOut) => return Answer::Late,
                Ok(Turn::Ended) => return Answer::Ended,
                Err(error) => return Answer::Broke(error),
            }
        }
    }

    /// Looks for so long whether something comes that nobody asked for, or whether the connection is ended.
    pub(super) fn settle(&mut self, limit: Duration) -> Answer {
        let deadline = Instant::now() + limit;
        loop {
            match self.turn(deadline) {
                Ok(Turn::Moved) if self.received.len() > self.owed => return Answer::More,
                Ok(Turn::Moved) => {}
                Ok(Turn::TimedOut) => return Answer::Whole,
                Ok(Turn::Ended) => return Answer::Ended,
                Err(error) => return Answer::Broke(error),
            }
        }
    }

    /// Takes what comes within `limit`, as far as there is room for it.
    pub(super) fn take_in_more(&mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.received.len() < self.owed + EXCESS && matches!(self.turn(deadline), Ok(Turn::Moved)) {}
    }

    /// Bytes sent so far.
    pub(super) fn sent(&self) -> usize {
        self.sent
    }

    /// Bytes that should come back.
    pub(super) fn owed(&self) -> usize {
        self.owed
    }

    /// How many bytes came back as they were sent, up to the first that is not.
    pub(super) fn right(&self) -> usize {
        self.right
    }

    /// Compares what has come; whether it is all as it was sent.
    fn is_right(&mut self) -> bool {
        let to = self.received.len().min(self.owed);
        while self.right < to {
            let place = self.right % self.message.len();
            let length = (self.message.len() - place).min(to - self.right);
            let (sent, came) = (&self.message[place..][..length], &self.received[self.right..][..length]);
            if sent != came {
                self.right += sent.iter().zip(came).take_while(|(sent, came)| sent == came).count();
                return false;
            }
            self.right += length;
        }
        true
    }

    /// Up to `len` bytes that should have come at this offset.
    pub(super) fn expected(&self, offset: usize, len: usize) -> Vec<u8> {
        let endless = self.message.iter().cycle();
        endless
            .skip(offset % self.message.len().max(1))
            .take(len)
            .copied()
            .collect()
    }

    /// Moves what can be moved, after waiting for it.
    fn turn(&mut self, deadline: Instant) -> io::Result<Turn> {
        let mut wanted = PollFlags::POLLIN;
        if self.sent < self.owed {
            wanted |= PollFlags::POLLOUT;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let mut waits = [PollFd::new(self.stream.as_fd(), wanted)];
        match poll(&mut waits, timeout(left)) {
            Ok(0) => return Ok(Turn::TimedOut),
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => return Ok(Turn::Moved),
            Err(errno) => return Err(errno.into()),
        }
        let ready = waits[0].revents().unwrap_or(PollFlags::empty());
        if ready.contains(PollFlags::POLLOUT) && self.sent < self.owed {
            let from = self.sent % self.message.len();
            let again = self.owed - self.sent;
            // Several rounds leave in one piece.
            let piece = if from == 0 && again > self.message.len() && self.owed <= EXCESS {
                &self.message.repeat(again / self.message.len())
            } else {
                &self.message[from..]
            };
            match self.stream.write(piece) {
                Ok(sent) => self.sent += sent,
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if ready.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
            let mut room = [0; 65_536];
            match self.stream.read(&mut room) {
                Ok(0) => return Ok(Turn::Ended),
                Ok(bytes) => self.received.extend_from_slice(&room[..bytes]),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Turn::Moved)
    }

    /// Waits for the server's FIN, so that it has counted the connection as closed; no error matters any more.
    pub(super) fn close(mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        let _ = self.stream.set_nonblocking(false);
        let _ = self.stream.set_read_timeout(Some(CLOSE_LIMIT));
        let _ = self.stream.read(&mut [0; 1]);
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
