//! A pool of processes that never accept: the parent does, and passes the descriptor to an idle one (SCM_RIGHTS).
//! Idiom: blocking calls in the workers, poll(2) in the parent. Accept: the parent, while a worker is idle.

use crate::pool::{Announcer, Pool};
use nix::unistd::Pid;
use server_kit::{AcceptAction, Server, blocking, passing};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// Starts `--workers` processes, keeps their number and hands them clients until the kit says stop.
pub(crate) fn run(server: Server) -> io::Result<()> {
    let listener = server.bind_shared_as("parent accepts and passes the descriptor (SCM_RIGHTS)")?;
    listener.set_nonblocking(true)?; // a client may be gone between poll and accept
    let (queue, workers_end) = passing::queue()?;
    let pool = Pool::start(server, |announcer| {
        server.fork_worker(&[workers_end.as_fd(), announcer.as_fd()], || {
            blocking::serve_clients(|| next_client(&workers_end, announcer, server), &server);
        })
    })?;
    let mut dispatcher = Dispatcher {
        server,
        pool,
        queue,
        in_hand: None,
        rest_until: None,
    };
    while !server.is_stopping() {
        dispatcher.turn(&listener)?;
    }
    drop(listener);
    dispatcher.pool.stop()?;
    // What no worker lived to take was accepted, so it gets its FIN.
    let left_over = std::iter::from_fn(|| passing::receive_at_once(&workers_end).ok());
    dispatcher
        .in_hand
        .into_iter()
        .chain(left_over)
        .for_each(|client| server.refuse(&client));
    Ok(())
}

/// How long to wait for the kernel to have room again for a descriptor on its way.
const PAUSE: Duration = Duration::from_millis(20);

/// The parent.
struct Dispatcher<F> {
    server: Server,
    pool: Pool<F>,
    queue: OwnedFd,
    /// Accepted, but there was no room to pass it on.
    in_hand: Option<TcpStream>,
    /// Until then the system has no room for another descriptor.
    rest_until: Option<Instant>,
}

impl<F: FnMut(&Announcer) -> io::Result<Pid>> Dispatcher<F> {
    /// Waits for whatever comes first; accepts only what a worker can have at once, the rest waits in the backlog.
    fn turn(&mut self, listener: &TcpListener) -> io::Result<()> {
        let now = Instant::now();
        self.rest_until = self.rest_until.filter(|&until| now < until);
        let is_free = self.rest_until.is_none() && self.pool.has_idle();
        if let Some(client) = self.in_hand.take_if(|_| is_free) {
            self.pass(client);
            return Ok(());
        }
        let watched = (is_free && self.in_hand.is_none()).then(|| listener.as_fd());
        if self.pool.wait(watched, self.rest_until.map(|until| until - now))? {
            match listener.accept() {
                Ok((client, _)) => self.pass(client),
                Err(error) => match self.server.accept_failed(&error) {
                    AcceptAction::Retry | AcceptAction::Stop => {}
                    AcceptAction::BackOff(pause) => self.rest_until = Some(Instant::now() + pause),
                },
            }
        }
        Ok(())
    }

    fn pass(&mut self, client: TcpStream) {
        match passing::pass(&self.queue, &client) {
            Ok(()) => self.pool.take_idle(),
            Err(error) => {
                let text = format!("a client cannot be passed on: {error}; trying again");
                self.server.notice_trouble(&text);
                self.in_hand = Some(client);
                self.rest_until = Some(Instant::now() + PAUSE);
            }
        }
    }
}

/// Says that this worker is idle and waits for a client; at a stop it still takes what was on its way.
fn next_client(queue: &OwnedFd, announcer: &Announcer, server: Server) -> io::Result<TcpStream> {
    if !server.is_stopping() {
        announcer.announce();
    }
    loop {
        if server.is_stopping() {
            return passing::receive_at_once(queue);
        }
        match passing::receive(queue) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
