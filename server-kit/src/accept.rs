//! What an accept error means: retry at once, back off, or stop. One policy for all servers.

use crate::Server;
use crate::notice::notice;
use crate::{backoff, signal, state};
use nix::errno::Errno;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// What an accept loop has to do after a failed accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptAction {
    /// Accept again at once.
    Retry,
    /// Accept again after this time, which the server's workers share out among them; existing connections go on meanwhile.
    BackOff(Duration),
    /// The server is stopping: leave the loop.
    Stop,
}

impl Server {
    /// Counts a failed accept, writes it on stderr at most once a second, and says what to do.
    ///
    /// An error that can only be a fault of the server's own (such as EBADF) begins a stop; the process then
    /// exits with 1.
    #[must_use]
    pub fn accept_failed(&self, error: &io::Error) -> AcceptAction {
        if state::is_forked_child() && error.raw_os_error() == Some(libc::EINVAL) {
            // The parent's stop has shut the listener that this worker shares; its signal is on its way.
            signal::begin_stop();
        }
        if self.is_stopping() {
            return AcceptAction::Stop;
        }
        match classify(error) {
            Meaning::NotAnError => AcceptAction::Retry,
            Meaning::LostClient => {
                self.inner().counters.accept_errors.fetch_add(1, Relaxed);
                AcceptAction::Retry
            }
            Meaning::NoRoom => {
                self.inner().counters.accept_errors.fetch_add(1, Relaxed);
                let text = format!("accept: {error}: clients wait until there is room");
                self.inner().accept_trouble.notice(&text);
                AcceptAction::BackOff(backoff::plan_try())
            }
            Meaning::Fault => {
                self.inner().counters.accept_errors.fetch_add(1, Relaxed);
                notice(&format!("accept: {error}: no more clients can be accepted, stopping"));
                self.fail();
                AcceptAction::Stop
            }
        }
    }
}

impl Server {
    /// Blocks for the time of [`AcceptAction::BackOff`], or until [`Server::wake_resting_worker`] is called.
    pub fn rest(&self, pause: Duration) {
        backoff::rest(pause);
    }

    /// To be called after an accept by a worker that rests with [`Server::rest`]: where one found room, there may be more.
    pub fn wake_resting_worker(&self) {
        backoff::wake_one();
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    /// Nothing happened: a signal came, or a non-blocking listener has no client.
    NotAnError,
    /// This client is gone or unreachable; the next may be fine. accept(2) asks for all of these to be retried.
    LostClient,
    /// The system or the process is out of something.
    NoRoom,
    /// Trying again cannot help.
    Fault,
}

fn classify(error: &io::Error) -> Meaning {
    match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
        Errno::EINTR | Errno::EAGAIN => Meaning::NotAnError,
        Errno::ECONNABORTED
        | Errno::ENETDOWN
        | Errno::EPROTO
        | Errno::ENOPROTOOPT
        | Errno::EHOSTDOWN
        | Errno::ENONET
        | Errno::EHOSTUNREACH
        | Errno::EOPNOTSUPP
        | Errno::ENETUNREACH
        | Errno::ETIMEDOUT
        | Errno::EPERM => Meaning::LostClient, // EPERM: a firewall rule forbids this one
        Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM => Meaning::NoRoom,
        _ => Meaning::Fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(errno: Errno) -> Meaning {
        classify(&io::Error::from(errno))
    }

    #[test]
    fn errors_of_one_client_are_retried_at_once() {
        for errno in [
            Errno::ECONNABORTED,
            Errno::ENETDOWN,
            Errno::EPROTO,
            Errno::ENOPROTOOPT,
            Errno::EHOSTDOWN,
            Errno::ENONET,
            Errno::EHOSTUNREACH,
            Errno::EOPNOTSUPP,
            Errno::ENETUNREACH,
            Errno::ETIMEDOUT,
            Errno::EPERM,
        ] {
            assert_eq!(meaning(errno), Meaning::LostClient, "{errno}");
        }
        assert_eq!(meaning(Errno::EINTR), Meaning::NotAnError);
        assert_eq!(meaning(Errno::EAGAIN), Meaning::NotAnError);
    }

    #[test]
    fn lack_of_room_is_backed_off_from() {
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM] {
            assert_eq!(meaning(errno), Meaning::NoRoom, "{errno}");
        }
    }

    #[test]
    fn the_servers_own_faults_are_never_retried() {
        for errno in [Errno::EBADF, Errno::EFAULT, Errno::EINVAL, Errno::ENOTSOCK] {
            assert_eq!(meaning(errno), Meaning::Fault, "{errno}");
        }
        assert_eq!(classify(&io::Error::other("from a runtime")), Meaning::Fault);
    }
}
