//! One connection, from an address of the user's choice.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrStorage, bind, connect as begin, getsockopt, setsockopt,
    socket, sockopt,
};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

/// Connects within `limit`, from `source` where one is given.
pub(super) fn connect(address: SocketAddr, source: Option<Ipv4Addr>, limit: Duration) -> io::Result<TcpStream> {
    let limit = limit.max(Duration::from_millis(1));
    let Some(source) = source else {
        return TcpStream::connect_timeout(&address, limit);
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    // As the engine's: the port is chosen at connect(), by the whole address pair.
    setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(source, 0)))
        .map_err(|errno| io::Error::other(format!("--source-addresses {source}: {}", errno.desc())))?;
    match begin(socket.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) => {}
        Err(Errno::EINPROGRESS) => {
            let mut waits = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
            if poll(&mut waits, timeout(limit))? == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match getsockopt(&socket, sockopt::SocketError)? {
                0 => {}
                error => return Err(io::Error::from_raw_os_error(error)),
            }
        }
        Err(errno) => return Err(errno.into()),
    }
    Ok(socket.into())
}

/// Rounded up to a millisecond.
pub(super) fn timeout(limit: Duration) -> PollTimeout {
    PollTimeout::try_from(limit.as_nanos().div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX)
}
