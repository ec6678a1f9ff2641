//! Who is served: `--max-connections`, exactly, and the wait for the last client of a stopping server.

use crate::seats::Seats;
use crate::{Server, linger, state};
use echo_contract::catalog::Model;
use nix::unistd::{Pid, getpid, getppid};
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// The right to serve one client; given back when dropped.
pub struct Slot {
    server: Server,
    /// Where processes serve; None where one process serves all clients.
    seat: Option<&'static AtomicU64>,
    is_served: bool,
}

/// The seat of a child that serves one client, kept by its parent until the child has ended.
pub struct ChildSeat(&'static AtomicU64);

impl Server {
    /// Takes a slot before it is known whether a process or thread can be had for the client. None means that
    /// all `--max-connections` are taken.
    #[must_use]
    pub fn reserve(&self) -> Option<Slot> {
        let inner = self.inner();
        let seat = if inner.settings.target.model == Model::Fork {
            Some(inner.seats.take()?)
        } else {
            let limit = inner.settings.max_connections.unwrap_or(u64::MAX);
            let more = |active| (active < limit).then_some(active + 1);
            inner.admission.active.fetch_update(SeqCst, SeqCst, more).ok()?;
            None
        };
        Some(Slot {
            server: *self,
            seat,
            is_served: false,
        })
    }

    /// Counts a refusal and closes the client with a FIN, discarding what it still sends. The backend only
    /// drops the stream.
    pub fn refuse(&self, stream: &impl AsFd) {
        self.inner().counters.refused.fetch_add(1, Relaxed);
        linger::keep(stream.as_fd()).send_fin();
    }

    /// Writes on stderr, at most once a second, that no process or thread could be had for a client.
    pub fn notice_refusal(&self, reason: &std::io::Error) {
        self.notice_trouble(&format!("a client was refused: {reason}"));
    }

    /// Writes a trouble with processes or threads on stderr, at most once a second.
    pub fn notice_trouble(&self, text: &str) {
        self.inner().refusal_trouble.notice(text);
    }

    /// Gives back what a forked worker held when it ended, however it ended. To be called once for each worker,
    /// before its process id can be anyone else's: with its wait status in hand, before the next fork.
    pub fn reclaim(&self, worker: Pid) {
        if self.inner().seats.vacate_any(worker) {
            self.inner().counters.closed.fetch_add(1, Relaxed);
        }
    }

    /// As [`Server::reclaim`], for a child that was forked for one client.
    pub fn reclaim_seat(&self, child: Pid, seat: &ChildSeat) {
        if Seats::vacate(seat.0, child) {
            self.inner().counters.closed.fetch_add(1, Relaxed);
        }
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
    pub(crate) fn server(&self) -> Server {
        self.server
    }

    /// Counts the client as accepted, once: a process or thread serves it from now on.
    pub(crate) fn mark_served(&mut self) {
        if !self.is_served {
            self.is_served = true;
            self.server.inner().counters.accepted.fetch_add(1, Relaxed);
        }
    }

    /// In the child that was forked for the client: the slot is its own, and its parent counts the client as accepted.
    pub(crate) fn take_over(mut self) -> Self {
        if let Some(seat) = self.seat {
            Seats::hand_on(seat, getppid(), getpid());
        }
        self.is_served = true;
        self
    }

    /// In the parent of such a child: counts the client, and gives up the slot but for what the child may leave behind.
    pub(crate) fn hand_on(mut self, child: Pid) -> Option<ChildSeat> {
        self.mark_served();
        let seat = self.seat;
        std::mem::forget(self);
        seat.map(|seat| {
            Seats::hand_on(seat, getpid(), child);
            ChildSeat(seat)
        })
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
                if inner.admission.active.fetch_sub(1, SeqCst) == 1 && state::is_stopping() {
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
        state::is_stopping() && self.active.load(SeqCst) == 0
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
