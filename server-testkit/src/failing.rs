//! A server that cannot go on: its listener is taken away.

use crate::{RunningServer, ServerBinary};
use echo_contract::conformance::{Launch, Process as _, Signal};
use nix::sys::socket::{Shutdown, getsockopt, shutdown, sockopt};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// A server that fails begins a stop by itself. A SIGTERM that comes then is its first: it goes on draining, and exits with 1
/// and STATS.
///
/// # Panics
/// When it ends by the signal, without STATS, or resets its client.
pub fn after_a_failure_the_first_signal_is_the_first(binary: &ServerBinary) {
    let mut server = binary.start(&Launch::default()).expect("the server starts");
    let mut client = server.served();
    server.shut_listeners().expect("its listeners can be reached");
    assert_eq!(client.read(&mut [0]).expect("no reset"), 0, "a stop has begun: a FIN");
    server.signal(Signal::Terminate).expect("it waits for its client");
    drop(client);
    let exit = server.wait(LIMIT).expect("the server can be waited for");
    let exit = exit.unwrap_or_else(|| panic!("{binary:?} did not end within {LIMIT:?}"));
    assert_eq!((exit.code, exit.signal), (Some(1), None), "{binary:?}: {}", exit.stderr);
    let stats = exit
        .stats
        .unwrap_or_else(|| panic!("{binary:?}: no STATS: {}", exit.stderr));
    assert_eq!((stats.accepted, stats.closed), (1, 1), "{binary:?}");
}

impl RunningServer {
    /// Shuts the listeners of the first process down from outside, so that accepting fails for good.
    ///
    /// # Errors
    /// When its descriptors cannot be had.
    pub fn shut_listeners(&self) -> io::Result<()> {
        let process = i32::try_from(self.pid()).map_err(io::Error::other)?;
        // SAFETY: the call takes numbers, and a descriptor that it returns is ours.
        let process = unsafe { owned(libc::syscall(libc::SYS_pidfd_open, process, 0)) }?;
        for entry in std::fs::read_dir(format!("/proc/{}/fd", self.pid()))?.flatten() {
            let number = entry.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok());
            let number = number.ok_or_else(|| io::Error::other("a descriptor is a number"))?;
            // SAFETY: as above.
            let copy = match unsafe { owned(libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0)) } {
                Ok(copy) => copy,
                // Closed meanwhile: the server has begun its stop.
                Err(error) if error.raw_os_error() == Some(libc::EBADF) => continue,
                Err(error) => return Err(error),
            };
            if getsockopt(&copy, sockopt::AcceptConn) == Ok(true) {
                shutdown(copy.as_raw_fd(), Shutdown::Read)?;
            }
        }
        Ok(())
    }
}

/// # Safety
/// What the system call returned must be a new descriptor or -1.
unsafe fn owned(returned: libc::c_long) -> io::Result<OwnedFd> {
    match RawFd::try_from(returned) {
        // SAFETY: by the caller's promise it is nobody else's.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
