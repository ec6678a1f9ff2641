//! The parent of a pool of worker processes: starts them, says READY when all can serve, replaces those that end, and
//! hands the stop on. What a worker does is its strategy's business.

use nix::unistd::Pid;
use server_kit::{Children, Server};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// Running workers.
pub(crate) struct Pool<F> {
    server: Server,
    /// Forks one worker, which must announce itself when it can serve.
    fork: F,
    /// Each with the time of its start.
    children: Children<Instant>,
    announcer: Announcer,
    announcements: PipeReader,
    /// Workers that have announced themselves and were not taken since; those that ended idle are still counted.
    idle: usize,
    /// Workers that are missing: they have ended, or could not be started, and were not replaced yet.
    vacancies: usize,
    pacing: Pacing,
}

impl<F: FnMut(&Announcer) -> io::Result<Pid>> Pool<F> {
    /// Starts the workers, and says READY when every one of them has announced itself. Where the system has no room for
    /// all of them, READY says how many there are, and the others follow when there is room.
    pub(crate) fn start(server: Server, fork: F) -> io::Result<Self> {
        let (announcements, writer) = io::pipe()?;
        let mut pool = Self {
            server,
            fork,
            children: Children::new()?,
            announcer: Announcer(writer),
            announcements,
            idle: 0,
            vacancies: server.pool_size(),
            pacing: Pacing::new(),
        };
        let filled = pool.fill_vacancies();
        let workers = pool.children.count();
        match filled {
            Err(error) if workers == 0 => {
                return Err(io::Error::other(format!(
                    "not one of --workers {} processes could be started: {error}. Raise the limit (`ulimit -u`, or the \
                     pids limit of the container)",
                    server.workers()
                )));
            }
            Err(error) => pool.notice_missing(&error),
            Ok(()) => {}
        }
        while pool.idle < workers && !server.is_stopping() {
            pool.watch(None, None)?;
            if pool.children.count() < workers && !server.is_stopping() {
                return Err(io::Error::other("a worker ended before it could serve"));
            }
        }
        server.ready_with_workers(workers)?;
        Ok(pool)
    }

    /// Keeps the number of workers until the kit says stop, and waits for the last one.
    pub(crate) fn keep(mut self) -> io::Result<()> {
        while !self.server.is_stopping() {
            self.wait(None, None)?;
        }
        self.stop()
    }

    /// Waits for a client, a signal, something to do for the pool, or `timeout`; says whether `listener` has a client.
    pub(crate) fn wait(&mut self, listener: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> io::Result<bool> {
        let until_start = (self.vacancies > 0).then(|| self.pacing.time_left());
        let has_client = self.watch(listener, timeout.into_iter().chain(until_start).min())?;
        if let Err(error) = self.fill_vacancies() {
            self.notice_missing(&error);
        }
        Ok(has_client)
    }

    /// Whether a worker waits for a client, or at worst will take the next one as soon as it can.
    pub(crate) fn has_idle(&self) -> bool {
        self.idle > 0
    }

    /// Notes that an idle worker has been given a client.
    pub(crate) fn take_idle(&mut self) {
        self.idle = self.idle.saturating_sub(1);
    }

    /// Hands the stop on to every worker and waits for all; one that outlives the drain timeout is killed.
    pub(crate) fn stop(mut self) -> io::Result<()> {
        let server = self.server;
        self.children.stop(server, |ended| server.reclaim(ended.child))
    }

    /// Waits once; reaps and counts announcements.
    fn watch(&mut self, listener: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> io::Result<bool> {
        let watched = [Some(self.announcements.as_fd()), listener];
        let (server, pacing, vacancies) = (self.server, &mut self.pacing, &mut self.vacancies);
        let [has_announcements, has_client] = self.children.wait(watched, timeout, |ended| {
            server.reclaim(ended.child);
            *vacancies += 1;
            if !server.is_stopping() {
                pacing.worker_ended(ended.kept.elapsed());
                server.notice_trouble(&format!("a worker ended and is replaced: {:?}", ended.status));
            }
        })?;
        if has_announcements {
            self.idle += self.announcements.read(&mut [0; 4096])?; // a byte each
        }
        Ok(has_client)
    }

    /// Starts the workers that are missing, as fast as the pacing permits; an error is that of a fork, which is tried again
    /// with the next call.
    fn fill_vacancies(&mut self) -> io::Result<()> {
        while self.vacancies > 0 && self.pacing.time_left().is_zero() && !self.server.is_stopping() {
            let worker = (self.fork)(&self.announcer).inspect_err(|_| self.pacing.fork_failed())?;
            self.children.add(worker, Instant::now());
            self.vacancies -= 1;
            self.pacing.started();
        }
        Ok(())
    }

    fn notice_missing(&self, error: &io::Error) {
        let (missing, all) = (self.vacancies, self.server.pool_size());
        self.server.notice_trouble(&format!(
            "{missing} of {all} workers are missing, no process for them: {error}"
        ));
    }
}

/// Where a worker says that it can serve; one pipe for all of them.
pub(crate) struct Announcer(PipeWriter);

impl Announcer {
    /// Says that this process can serve.
    pub(crate) fn announce(&self) {
        // Without a reader there is no parent, and this process ends too.
        let _ = (&self.0).write_all(&[1]);
    }
}

impl AsFd for Announcer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// How fast workers are replaced. Those that had worked for a while at once, however many; those that end as soon as
/// they have begun one by one, with pauses that double: what kills them would else become a storm of forks. Where the
/// system has no room for a process, the same short pause each time: there may be room at any moment.
struct Pacing {
    pause: Duration,
    next_at: Instant,
}

/// A worker that lived so long was not ended by what it is.
const SETTLED_AFTER: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A failed fork costs microseconds, so this is nothing.
const PAUSE_FOR_ROOM: Duration = Duration::from_millis(50);

impl Pacing {
    fn new() -> Self {
        Self {
            pause: Duration::ZERO,
            next_at: Instant::now(),
        }
    }

    fn worker_ended(&mut self, lived: Duration) {
        if lived < SETTLED_AFTER {
            self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            self.next_at = Instant::now() + self.pause;
        } else {
            self.pause = Duration::ZERO;
        }
    }

    fn fork_failed(&mut self) {
        self.next_at = Instant::now() + PAUSE_FOR_ROOM;
    }

    fn started(&mut self) {
        self.next_at = Instant::now() + self.pause;
    }

    /// Until a worker may be started.
    fn time_left(&self) -> Duration {
        self.next_at.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_that_end_at_once_are_replaced_ever_more_slowly_and_settled_ones_at_once() {
        let mut pacing = Pacing::new();
        assert!(pacing.time_left().is_zero());
        for _ in 0..20 {
            pacing.worker_ended(Duration::ZERO);
        }
        assert!(pacing.pause == LONGEST_PAUSE && pacing.time_left() > LONGEST_PAUSE / 2);
        let mut pacing = Pacing::new();
        pacing.worker_ended(SETTLED_AFTER);
        pacing.started();
        assert!(pacing.time_left().is_zero());
    }

    #[test]
    fn a_fork_that_fails_is_tried_again_soon_however_often_it_failed() {
        let mut pacing = Pacing::new();
        for _ in 0..20 {
            pacing.fork_failed();
        }
        assert!(pacing.time_left() <= PAUSE_FOR_ROOM);
        pacing.started();
        assert!(pacing.time_left().is_zero(), "the next one follows at once");
    }
}
