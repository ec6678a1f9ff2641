//! What is asked of the kernel: every operation in use, and which completion belongs to whom.

use crate::buffers::GROUP;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, Timespec};
use io_uring::{IoUring, cqueue, opcode};
use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// `IORING_RECVSEND_POLL_FIRST` of linux/io_uring.h: a receive waits in line with those of the other clients also where its bytes
/// are there already. Receives that complete as they are submitted come before those that waited, of which the kernel takes 20
/// a turn: 64 of 1,000 clients were served again and again so, at p50 14 ms where all wait 45, for twice the CPU per message.
const POLL_FIRST: u16 = 1;

/// What has completed. The number stands in the low byte of `user_data`, above it the client's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Accept,
    /// The kit's pause in accepting is over.
    Pause,
    Receive,
    Send,
}

impl Kind {
    pub(crate) fn of(user_data: u64) -> (Self, u32) {
        let kind = [Self::Accept, Self::Pause, Self::Receive, Self::Send]
            .into_iter()
            .find(|kind| *kind as u64 == user_data & 0xff)
            .expect("only we submit to this ring");
        (kind, u32::try_from(user_data >> 8).expect("a token has 32 bits"))
    }

    fn with(self, token: u32) -> u64 {
        u64::from(token) << 8 | self as u64
    }
}

/// The ring. Nothing reaches the kernel before [`Submissions::submit_and_wait`], unless the queue is full.
pub(crate) struct Submissions {
    ring: IoUring,
    /// The kernel reads it when the timeout is submitted.
    pause: Box<Timespec>,
}

impl Submissions {
    pub(crate) fn new(ring: IoUring) -> Self {
        Self {
            ring,
            pause: Box::default(),
        }
    }

    /// Submits what is queued and waits for at least one completion, in one system call.
    pub(crate) fn submit_and_wait(&mut self) -> io::Result<()> {
        match self.ring.submit_and_wait(1) {
            Ok(_) => Ok(()),
            // EINTR: a signal of the kit's. EBUSY: completions do not fit, and are to be taken first.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn completions(&mut self) -> cqueue::CompletionQueue<'_> {
        self.ring.completion()
    }

    /// Accepts until the first error.
    pub(crate) fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        let accept = opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).flags(libc::SOCK_CLOEXEC);
        self.push(&accept.build().user_data(Kind::Accept.with(0)))
    }

    pub(crate) fn pause(&mut self, pause: Duration) -> io::Result<()> {
        *self.pause = Timespec::from(pause);
        let timeout = opcode::Timeout::new(&raw const *self.pause);
        self.push(&timeout.build().user_data(Kind::Pause.with(0)))
    }

    /// Receives once, into a buffer that the kernel takes when bytes are there.
    pub(crate) fn receive(&mut self, fd: Fd, token: u32) -> io::Result<()> {
        // The length is the buffer's.
        let receive = opcode::Recv::new(fd, std::ptr::null_mut(), 0)
            .ioprio(POLL_FIRST)
            .buf_group(GROUP);
        let receive = receive.build().flags(Flags::BUFFER_SELECT);
        self.push(&receive.user_data(Kind::Receive.with(token)))
    }

    /// Sends what the socket takes now, or completes with EAGAIN.
    pub(crate) fn send_at_once(&mut self, fd: Fd, token: u32, bytes: &[u8]) -> io::Result<()> {
        self.send(fd, token, bytes, libc::MSG_DONTWAIT)
    }

    /// Sends all of it, however long the client takes. The bytes must stay where they are until it completes.
    pub(crate) fn send_when_possible(&mut self, fd: Fd, token: u32, bytes: &[u8]) -> io::Result<()> {
        self.send(fd, token, bytes, libc::MSG_WAITALL)
    }

    fn send(&mut self, fd: Fd, token: u32, bytes: &[u8], flags: i32) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let send = opcode::Send::new(fd, bytes.as_ptr(), length).flags(flags | libc::MSG_NOSIGNAL);
        self.push(&send.build().user_data(Kind::Send.with(token)))
    }

    fn push(&mut self, entry: &Entry) -> io::Result<()> {
        while self.ring.submission().is_full() {
            match self.ring.submit() {
                Err(error) if error.raw_os_error() != Some(libc::EINTR) => return Err(error),
                _ => {}
            }
        }
        // SAFETY: descriptors are closed, and memory is reused, only after the last completion that refers to them:
        // see `Client` and `Buffers`; the timespec lives as long as the ring.
        unsafe { self.ring.submission().push(entry) }.map_err(io::Error::other)
    }
}
