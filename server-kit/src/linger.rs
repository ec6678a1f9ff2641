//! The server's own close: FIN first, then discard what the client still sends until its FIN, then close.
//!
//! A plain close with unread bytes sends a reset (RFC 1122, 4.2.2.13), and a reset can destroy the tail of the
//! echo on its way. Backends hand the socket over as a duplicate descriptor: their own stream goes at once, and no
//! backend needs code for this.

use crate::{Server, signal, socket};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, Shutdown, recv, shutdown};
use std::array;
use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How late a deadline or a new socket may be noticed.
const STEP: Duration = Duration::from_millis(20);
const DISCARD_BYTES: usize = 64 << 10;
/// Reads of one socket per pass, so that one fast client does not keep the others waiting.
const READS_PER_PASS: usize = 16;

/// Sends the FIN and sees to the rest, without keeping the caller; only a forked child, which has nothing
/// else to do, waits for the end of it.
pub(crate) fn close_gracefully(server: Server, stream: &impl AsRawFd) {
    // SAFETY: the caller lends us the stream, which owns an open descriptor, for the length of this call.
    let stream = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    if shutdown(stream.as_raw_fd(), Shutdown::Write).is_err() {
        return; // the client is gone: nothing can be saved
    }
    let Some(duplicate) = server.inner().closer.duplicate(stream) else {
        discard_queued(server, stream); // no descriptor left: a byte still under way now makes a reset
        return;
    };
    if signal::is_forked_child() {
        let mut lingering = Lingering::new(server);
        lingering.add(duplicate);
        while !lingering.is_empty() && lingering.wait([], None).is_ok() {}
    } else {
        Closer::hand_over(server, duplicate);
    }
}

/// Sockets that were sent a FIN and wait for the client's.
///
/// For servers that must not have a second thread: a forking parent polls them in its own loop. All others
/// leave them to the kit.
pub struct Lingering {
    server: Server,
    sockets: VecDeque<Socket>,
}

struct Socket {
    fd: OwnedFd,
    until: Instant,
    /// The kit had ended its reading before: it reads as at its end whether the client is or not, so poll(2) says
    /// nothing of it and its TCP state is looked at instead, at each step.
    is_deaf: bool,
}

impl Lingering {
    #[must_use]
    pub fn new(server: Server) -> Self {
        Self {
            server,
            sockets: VecDeque::new(),
        }
    }

    /// As [`Server::refuse`].
    pub fn refuse(&mut self, stream: TcpStream) {
        self.server.inner().counters.refused.fetch_add(1, Relaxed);
        if shutdown(stream.as_raw_fd(), Shutdown::Write).is_ok() {
            self.add(stream.into());
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Waits until one of `watched` is readable, a signal comes, a lingering socket needed care, or `timeout`
    /// is over; says which of `watched` are readable.
    ///
    /// # Errors
    /// When poll(2) fails, which only a lack of kernel memory can cause.
    pub fn wait<const N: usize>(
        &mut self,
        watched: [BorrowedFd<'_>; N],
        timeout: Option<Duration>,
    ) -> io::Result<[bool; N]> {
        let step = (!self.sockets.is_empty()).then_some(STEP);
        let timeout = [timeout, step].into_iter().flatten().min();
        let hearing = self.sockets.iter().filter(|socket| !socket.is_deaf);
        let lingering = hearing.map(|socket| socket.fd.as_fd());
        let mut fds: Vec<_> = watched
            .into_iter()
            .chain(lingering)
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        match poll(&mut fds, poll_timeout(timeout)) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok([false; N]),
            Err(error) => return Err(error.into()),
        }
        let mut happened = fds.iter().map(|fd| fd.any().unwrap_or(true));
        let readable: [bool; N] = array::from_fn(|_| happened.next().unwrap_or(false));
        let happened: Vec<bool> = happened.collect();
        self.care(&happened);
        Ok(readable)
    }

    fn add(&mut self, fd: OwnedFd) {
        // Refused clients must not use up the descriptors of those to be served; at a stop nobody else comes.
        let limit = usize::try_from(self.server.inner().nofile / 4).unwrap_or(usize::MAX);
        if self.sockets.len() >= limit && !signal::is_stopping() {
            self.sockets.pop_front();
        }
        let until = Instant::now() + self.server.inner().settings.drain_timeout;
        self.sockets.push_back(Socket {
            fd,
            until,
            is_deaf: false,
        });
    }

    /// Discards what came, and closes those that are at their end or out of time.
    fn care(&mut self, happened: &[bool]) {
        let (server, now) = (self.server, Instant::now());
        let is_drain_over = signal::drain_time_left() == Some(Duration::ZERO);
        let mut happened = happened.iter();
        self.sockets.retain_mut(|socket| {
            let is_due = socket.is_deaf || happened.next() == Some(&true);
            let is_at_end = is_due && discard_queued(server, socket.fd.as_fd());
            socket.is_deaf = is_at_end && awaits_fin(socket.fd.as_fd());
            (!is_at_end || socket.is_deaf) && !is_drain_over && now < socket.until
        });
    }
}

/// Reads and drops what is queued. Returns whether there is no more to read: the client has ended too, or the
/// kit had ended the reading.
fn discard_queued(server: Server, fd: BorrowedFd<'_>) -> bool {
    let mut scratch = vec![0; DISCARD_BYTES];
    for _ in 0..READS_PER_PASS {
        match recv(fd.as_raw_fd(), &mut scratch, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => return true,
            Ok(bytes) => {
                server.inner().counters.bytes_discarded.fetch_add(bytes as u64, Relaxed);
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return false,
            Err(_) => return true,
        }
    }
    false
}

/// Whether the client has not said FIN yet.
fn awaits_fin(fd: BorrowedFd<'_>) -> bool {
    const FIN_WAIT_1: u8 = 4;
    const FIN_WAIT_2: u8 = 5;
    socket::tcp_info(fd.as_raw_fd()).is_some_and(|info| matches!(info.tcpi_state, FIN_WAIT_1 | FIN_WAIT_2))
}

fn poll_timeout(timeout: Option<Duration>) -> PollTimeout {
    // Rounded up: else a loop would spin through its last millisecond.
    timeout.map_or(PollTimeout::NONE, |time| {
        PollTimeout::try_from(time + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX)
    })
}

/// The kit's one thread, started by the first socket that has to linger: a server that closes nothing by itself
/// never has it.
#[derive(Default)]
pub(crate) struct Closer {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    arrivals: Vec<OwnedFd>,
    /// Sockets handed over and not yet closed.
    open: usize,
    is_started: bool,
    /// A descriptor to give up when there is no other for a duplicate: the stream that was duplicated is
    /// closed right after, so one is enough.
    spare: Option<OwnedFd>,
}

impl State {
    fn keep_spare(&mut self) {
        if self.spare.is_none() {
            self.spare = io::stderr().as_fd().try_clone_to_owned().ok();
        }
    }
}

impl Closer {
    pub(crate) fn new() -> Self {
        let closer = Self::default();
        closer.lock().keep_spare();
        closer
    }

    /// Whether there is a second thread, so that forking is no longer safe.
    pub(crate) fn is_started(&self) -> bool {
        self.lock().is_started
    }

    /// Blocks until every socket handed over is closed.
    pub(crate) fn wait_finished(&self) {
        let mut state = self.lock();
        while state.open > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// At a stop without a descriptor left, threads that close at the same time have the spare in turn.
    fn duplicate(&self, fd: BorrowedFd<'_>) -> Option<OwnedFd> {
        const TURN: Duration = Duration::from_millis(1);
        const TURNS_AT_STOP: u32 = 200;
        let turns = if signal::is_stopping() { TURNS_AT_STOP } else { 1 };
        (0..turns).find_map(|turn| {
            if turn > 0 {
                thread::sleep(TURN);
            }
            fd.try_clone_to_owned().ok().or_else(|| {
                let mut state = self.lock();
                state.spare = None;
                fd.try_clone_to_owned().ok()
            })
        })
    }

    fn hand_over(server: Server, fd: OwnedFd) {
        let closer = &server.inner().closer;
        let mut state = closer.lock();
        if !state.is_started {
            let thread = thread::Builder::new().name("closer".into()).stack_size(64 << 10);
            if thread.spawn(move || server.inner().closer.run(server)).is_err() {
                drop(state);
                discard_queued(server, fd.as_fd());
                return;
            }
            state.is_started = true;
        }
        state.arrivals.push(fd);
        state.open += 1;
        closer.changed.notify_all();
    }

    fn run(&self, server: Server) {
        let mut lingering = Lingering::new(server);
        loop {
            let mut state = self.lock();
            while state.arrivals.is_empty() && lingering.is_empty() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.arrivals.drain(..).for_each(|fd| lingering.add(fd));
            drop(state);
            if lingering.wait([], Some(STEP)).is_err() {
                thread::sleep(STEP);
            }
            let mut state = self.lock();
            state.open = lingering.sockets.len() + state.arrivals.len();
            if state.open == 0 {
                state.keep_spare();
                self.changed.notify_all();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
