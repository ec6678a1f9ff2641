//! The parent of a pool of worker processes: starts them, says READY when all can serve, replaces those that end, and
//! hands the stop on. What a worker does is its strategy's business.

use crate::reap::Children;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use server_kit::Server;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// How much longer than the drain timeout a worker may take before it is killed.
const KILL_GRACE: Duration = Duration::from_secs(2);

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
    /// Workers that have ended and were not replaced yet.
    vacancies: usize,
    pacing: Pacing,
}

impl<F: FnMut(&Announcer) -> io::Result<Pid>> Pool<F> {
    /// Starts `--workers` workers, and says READY when every one of them has announced itself.
    pub(crate) fn start(server: Server, fork: F) -> io::Result<Self> {
        let (announcements, writer) = io::pipe()?;
        let mut pool = Self {
            server,
            fork,
            children: Children::new()?,
            announcer: Announcer(writer),
            announcements,
            idle: 0,
            vacancies: 0,
            pacing: Pacing::new(),
        };
        let workers = server.workers();
        for number in 0..workers {
            pool.start_worker().map_err(|error| {
                io::Error::other(format!(
                    "only {number} of --workers {workers} processes could be started: {error}. Use fewer, or raise \
                     the limit (`ulimit -u`)"
                ))
            })?;
        }
        while pool.idle < workers && !server.is_stopping() {
            pool.look(None, None)?;
            if pool.vacancies > 0 && !server.is_stopping() {
                return Err(io::Error::other("a worker ended before it could serve"));
            }
        }
        server.ready()?;
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
        let has_client = self.look(listener, timeout.into_iter().chain(until_start).min())?;
        self.fill_vacancies();
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
        self.children.signal_all(Signal::SIGTERM);
        let until = Instant::now() + self.server.drain_timeout() + KILL_GRACE;
        while !self.children.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.children.signal_all(Signal::SIGKILL);
            }
            let timeout = if left.is_zero() { KILL_GRACE } else { left };
            self.look(None, Some(timeout))?;
        }
        Ok(())
    }

    /// Waits once; reaps and listens to announcements.
    fn look(&mut self, listener: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> io::Result<bool> {
        let watched = [self.children.ended(), self.announcements.as_fd()];
        let mut fds: Vec<_> = watched
            .into_iter()
            .chain(listener)
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        // A stop that comes just before this call is made up for by the kit's ticks, which interrupt it.
        match poll(&mut fds, poll_timeout(timeout)) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let happened: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        if happened[1] {
            self.hear()?;
        }
        if happened[0] {
            self.reap()?;
        }
        Ok(happened.get(2) == Some(&true))
    }

    /// Counts announcements, a byte each.
    fn hear(&mut self) -> io::Result<()> {
        self.idle += self.announcements.read(&mut [0; 4096])?;
        Ok(())
    }

    fn reap(&mut self) -> io::Result<()> {
        let (server, pacing, vacancies) = (self.server, &mut self.pacing, &mut self.vacancies);
        self.children.reap_each(|status, started_at| {
            if let Some(worker) = status.pid() {
                server.reclaim(worker);
            }
            *vacancies += 1;
            if !server.is_stopping() {
                pacing.worker_ended(started_at.elapsed());
                server.notice_trouble(&format!("a worker ended and is replaced: {status:?}"));
            }
        })
    }

    /// Replaces workers that have ended, as fast as the pacing permits.
    fn fill_vacancies(&mut self) {
        while self.vacancies > 0 && self.pacing.time_left().is_zero() && !self.server.is_stopping() {
            match self.start_worker() {
                Ok(()) => self.vacancies -= 1,
                Err(error) => {
                    self.pacing.slow_down();
                    self.server
                        .notice_trouble(&format!("no process for a worker, trying again: {error}"));
                }
            }
            self.pacing.started();
        }
    }

    fn start_worker(&mut self) -> io::Result<()> {
        let worker = (self.fork)(&self.announcer)?;
        self.children.add(worker, Instant::now());
        Ok(())
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
/// they have begun one by one, with pauses that double: what kills them would else become a storm of forks.
struct Pacing {
    pause: Duration,
    next_at: Instant,
}

/// A worker that lived so long was not ended by what it is.
const SETTLED_AFTER: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Pacing {
    fn new() -> Self {
        Self {
            pause: Duration::ZERO,
            next_at: Instant::now(),
        }
    }

    fn worker_ended(&mut self, lived: Duration) {
        if lived < SETTLED_AFTER {
            self.slow_down();
        } else {
            self.pause = Duration::ZERO;
        }
    }

    fn slow_down(&mut self) {
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.next_at = Instant::now() + self.pause;
    }

    fn started(&mut self) {
        self.next_at = Instant::now() + self.pause;
    }

    /// Until a worker may be started.
    fn time_left(&self) -> Duration {
        self.next_at.saturating_duration_since(Instant::now())
    }
}

fn poll_timeout(timeout: Option<Duration>) -> PollTimeout {
    // Rounded up: else a loop would spin through its last millisecond.
    timeout.map_or(PollTimeout::NONE, |time| {
        PollTimeout::try_from(time + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX)
    })
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
}
