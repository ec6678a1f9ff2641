//! Who is served: `--max-connections`, exactly, and the wait for the last client of a stopping server.

use crate::connection::Connection;
use crate::seats::Seats;
use crate::{Server, linger, signal};
use std::os::fd::AsRawFd;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// The right to serve one client; given back when dropped.
pub struct Slot {
    server: Server,
    /// Of a forked worker; none where one process serves all clients.
    seat: Option<&'static AtomicU64>,
    is_served: bool,
}

impl Server {
    /// Admits a client that was just accepted. None means refused: it is over `--max-connections`, has been
    /// counted and will be closed with a FIN; the backend only drops the stream.
    #[must_use]
    pub fn admit(&self, stream: &impl AsRawFd) -> Option<Connection> {
        match self.reserve() {
            Some(slot) => Some(slot.open(stream)),
            None => {
                self.refuse(stream);
                None
            }
        }
    }

    /// Takes a slot before it is known whether a process or thread can be had for the client. None means that
    /// all `--max-connections` are taken.
    #[must_use]
    pub fn reserve(&self) -> Option<Slot> {
        let seat = match signal::is_forked_child() {
            true => Some(self.inner().seats.take()?),
            false => {
                let limit = self.inner().settings.max_connections.unwrap_or(u64::MAX);
                let more = |active| (active < limit).then_some(active + 1);
                let active = &self.inner().admission.active;
                active.fetch_update(SeqCst, SeqCst, more).ok()?;
                None
            }
        };
        Some(Slot {
            server: *self,
            seat,
            is_served: false,
        })
    }

    /// Counts a refusal and closes the client with a FIN, discarding what it still sends. The backend only
    /// drops the stream.
    pub fn refuse(&self, stream: &impl AsRawFd) {
        self.inner().counters.refused.fetch_add(1, Relaxed);
        linger::close_gracefully(*self, stream);
    }

    /// Tells, at most once a second, that no process or thread could be had for a client.
    pub fn notice_refusal(&self, reason: &std::io::Error) {
        self.notice_trouble(&format!("a client was refused: {reason}"));
    }

    /// Tells of a trouble with processes or threads, at most once a second.
    pub fn notice_trouble(&self, text: &str) {
        self.inner().refusal_trouble.notice(text);
    }

    /// Resolves once the server is stopping and no connection is open. Any runtime can await it.
    pub fn idle(&self) -> impl Future<Output = ()> + Send + use<> {
        Idle { server: *self }
    }

    /// Blocks until the server is stopping and no connection is open.
    pub fn wait_idle(&self) {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut idle = pin!(self.idle());
        while idle.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            thread::park();
        }
    }
}

impl Slot {
    /// Starts serving the client.
    #[must_use]
    pub fn open(mut self, stream: &impl AsRawFd) -> Connection {
        self.mark_served();
        Connection::open(self.server, stream, Some(self))
    }

    /// Counts the client as accepted: a process or thread serves it from now on.
    pub fn mark_served(&mut self) {
        self.is_served = true;
        self.server.inner().counters.accepted.fetch_add(1, Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let inner = self.server.inner();
        if self.is_served {
            inner.counters.closed.fetch_add(1, Relaxed);
        }
        match self.seat {
            Some(seat) => Seats::leave(seat),
            None => {
                if inner.admission.active.fetch_sub(1, SeqCst) == 1 && signal::is_stopping() {
                    inner.admission.wake_all();
                }
            }
        }
    }
}

/// How many slots are taken, and who waits for none to be.
#[derive(Default)]
pub(crate) struct Admission {
    active: AtomicU64,
    wakers: Mutex<Vec<Waker>>,
}

impl Admission {
    fn is_idle(&self) -> bool {
        signal::is_stopping() && self.active.load(SeqCst) == 0
    }

    fn wake_all(&self) {
        let wakers = std::mem::take(&mut *self.wakers.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().for_each(Waker::wake);
    }
}

struct Idle {
    server: Server,
}

impl Future for Idle {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let admission = &self.server.inner().admission;
        let mut wakers = admission.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked at under the lock: a slot dropped after this finds the waker.
        if admission.is_idle() {
            return Poll::Ready(());
        }
        if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            wakers.push(context.waker().clone());
        }
        Poll::Pending
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
