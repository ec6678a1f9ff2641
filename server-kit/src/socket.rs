//! Listening sockets, the same in every server, and what is really in force on them.

use crate::notice::notice;
use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage, UnixAddr, sockopt};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

/// Tried in this order. bbr, the default on some machines, paces even on loopback and would be measured instead
/// of the server; loadgen chooses the same way.
const CONGESTION_CONTROLS: [&str; 2] = ["cubic", "reno"];

/// Whose the port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// This listener's alone.
    Own,
    /// Free so far; from now on further listeners of this user may join (SO_REUSEPORT).
    Shared,
    /// Shared with another listener of this server.
    Joined,
}

/// Makes a blocking listener. Accepted sockets inherit its options, so no backend sets any.
///
/// # Errors
/// One paragraph that names the flag, the value and the way out.
pub(crate) fn listen(address: SocketAddr, backlog: u32, port: Port) -> io::Result<TcpListener> {
    let open = || {
        let _lock = if port == Port::Joined {
            None
        } else {
            StartLock::take(address.port())?
        };
        let socket = bind(address, port)?;
        start_listening(&socket, backlog)?;
        Ok(TcpListener::from(socket))
    };
    open().map_err(|error| explain(address, error))
}

/// Takes a port that listeners can join ([`Port::Joined`]), without listening itself. The lock keeps other servers out
/// until the first of them listens.
///
/// # Errors
/// As [`listen`].
pub(crate) fn claim(address: SocketAddr) -> io::Result<(TcpListener, Option<StartLock>)> {
    let open = || {
        let lock = StartLock::take(address.port())?;
        Ok((bind(address, Port::Shared)?.into(), lock))
    };
    open().map_err(|error| explain(address, error))
}

/// Held from bind to listen: between the two the kernel lets any number of sockets have the same port (SO_REUSEADDR), and
/// of two that then listen at the same moment both may go on (SO_REUSEPORT), or none.
///
/// A Unix socket with an abstract name: one holder in a network namespace, and gone with its process.
pub(crate) struct StartLock {
    _held: OwnedFd,
}

impl StartLock {
    /// Waits for another server that starts on this port. None where no lock is needed, since the kernel chooses the port,
    /// or where none can be had; a server is not to be kept from starting by that.
    fn take(port: u16) -> io::Result<Option<Self>> {
        const PATIENCE: Duration = Duration::from_secs(30);
        const LOOK_AGAIN: Duration = Duration::from_millis(5);
        let until = Instant::now() + PATIENCE;
        if port == 0 {
            return Ok(None);
        }
        loop {
            match Self::try_take(port) {
                Ok(lock) => return Ok(Some(lock)),
                Err(Errno::EADDRINUSE) if Instant::now() < until => thread::sleep(LOOK_AGAIN),
                Err(Errno::EADDRINUSE) => return Err(io::ErrorKind::AddrInUse.into()),
                Err(_) => return Ok(None),
            }
        }
    }

    fn try_take(port: u16) -> nix::Result<Self> {
        let held = socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        let name = UnixAddr::new_abstract(format!("echo-server-starts-on-{port}").as_bytes())?;
        socket::bind(held.as_raw_fd(), &name)?;
        Ok(Self { _held: held })
    }
}

/// Hands the listener to a runtime that takes nothing but a raw descriptor.
#[must_use]
pub fn adopt<T: FromRawFd>(listener: TcpListener) -> T {
    // SAFETY: from_raw_fd wants an open descriptor that nobody else owns; into_raw_fd gives this one up.
    unsafe { T::from_raw_fd(listener.into_raw_fd()) }
}

fn bind(address: SocketAddr, port: Port) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let fd = socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    socket::setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    // Else an echo would wait in Nagle's algorithm for a delayed acknowledgement, and that would be measured.
    socket::setsockopt(&fd, sockopt::TcpNoDelay, &true)?;
    // A byte sent as urgent comes back in its place like any other, as RFC 6093 asks of every receiver; else it would be lost.
    socket::setsockopt(&fd, sockopt::OobInline, &true)?;
    let is_permitted = |name: &&str| socket::setsockopt(&fd, sockopt::TcpCongestion, &(**name).into()).is_ok();
    // Told once for all listeners of a server.
    if !CONGESTION_CONTROLS.iter().any(is_permitted) && port != Port::Joined {
        notice("warning: neither cubic nor reno is permitted here: the system's congestion control stays");
    }
    if port == Port::Joined {
        socket::setsockopt(&fd, sockopt::ReusePort, &true)?;
    }
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    if port == Port::Shared {
        // Only once the port was had without it: else a server left over from before would share the port unseen,
        // and take half of the clients.
        socket::setsockopt(&fd, sockopt::ReusePort, &true)?;
    }
    Ok(fd)
}

fn start_listening(socket: &OwnedFd, backlog: u32) -> io::Result<()> {
    let backlog = libc::c_int::try_from(backlog).unwrap_or(libc::c_int::MAX);
    // SAFETY: listen(2) takes numbers only. nix's wrapper refuses a backlog above the C library's SOMAXCONN,
    // which is 128 for musl; the kernel's own bound is net.core.somaxconn.
    match unsafe { libc::listen(socket.as_raw_fd(), backlog) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The congestion control in force.
pub(crate) fn congestion_control(listener: &TcpListener) -> io::Result<String> {
    Ok(socket::getsockopt(listener, sockopt::TcpCongestion)?
        .to_string_lossy()
        .into_owned())
}

/// Whether TCP_NODELAY is in force.
pub(crate) fn nodelay(listener: &TcpListener) -> io::Result<bool> {
    Ok(socket::getsockopt(listener, sockopt::TcpNoDelay)?)
}

fn explain(address: SocketAddr, error: io::Error) -> io::Error {
    let (ip, port) = (address.ip(), address.port());
    let text = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "cannot listen on {address} (--port {port}): the port is in use. Stop the program that holds it \
             (`ss -ltnp 'sport = :{port}'` names it), or choose another --port; --port 0 takes any free one."
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "cannot listen on {address} (--bind {ip}): this machine has no such address. `ip address` lists \
             those it has."
        ),
        io::ErrorKind::PermissionDenied => {
            format!("cannot listen on {address} (--port {port}): not permitted. Choose a --port of 1024 or above.")
        }
        _ => format!("cannot listen on {address} (--bind {ip}, --port {port}): {error}"),
    };
    io::Error::new(error.kind(), text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    fn any_port() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[test]
    fn accepted_sockets_inherit_nodelay_and_congestion_control() {
        let listener = listen(any_port(), 16, Port::Own).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        assert!(nodelay(&listener).unwrap() && accepted.nodelay().unwrap());
        let inherited = socket::getsockopt(&accepted, sockopt::TcpCongestion).unwrap();
        assert_eq!(inherited.to_string_lossy(), congestion_control(&listener).unwrap());
        client.write_all(b"x").unwrap();
        accepted.read_exact(&mut [0]).unwrap();
        assert!(accepted.nodelay().unwrap());
    }

    #[test]
    fn the_congestion_control_is_cubic_or_reno_where_one_is_permitted() {
        let listener = listen(any_port(), 16, Port::Own).unwrap();
        let in_force = congestion_control(&listener).unwrap();
        let permitted = |name: &str| socket::setsockopt(&listener, sockopt::TcpCongestion, &name.into()).is_ok();
        let expected = CONGESTION_CONTROLS.into_iter().find(|name| permitted(name));
        assert!(expected.is_none_or(|name| name == in_force), "{in_force}");
    }

    #[test]
    fn a_port_in_use_is_named_with_the_way_out() {
        let listener = listen(any_port(), 16, Port::Own).unwrap();
        let address = listener.local_addr().unwrap();
        let error = listen(address, 16, Port::Own).unwrap_err().to_string();
        for expected in [
            &address.to_string(),
            &format!("--port {}", address.port()),
            "--port 0",
            "in use",
        ] {
            assert!(error.contains(expected), "no {expected} in {error}");
        }
    }

    #[test]
    fn listeners_of_one_server_share_a_port_and_no_other_server_gets_it() {
        for first in [
            listen(any_port(), 16, Port::Shared).unwrap(),
            claim(any_port()).unwrap().0,
        ] {
            let address = first.local_addr().unwrap();
            let joined = listen(address, 16, Port::Joined).unwrap();
            assert_eq!(joined.local_addr().unwrap(), address);
            assert!(listen(address, 16, Port::Joined).is_ok());
            for port in [Port::Own, Port::Shared] {
                let error = listen(address, 16, port).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{port:?}");
            }
        }
    }

    #[test]
    fn a_port_that_was_only_claimed_gets_no_clients() {
        let (claimed, _lock) = claim(any_port()).unwrap();
        let address = claimed.local_addr().unwrap();
        assert!(TcpStream::connect(address).is_err());
        let listener = listen(address, 16, Port::Joined).unwrap();
        for _ in 0..20 {
            let _client = TcpStream::connect(address).unwrap();
            listener.accept().unwrap();
        }
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        let error = listen(SocketAddr::from(([192, 0, 2, 1], 0)), 16, Port::Own)
            .unwrap_err()
            .to_string();
        assert!(error.contains("--bind 192.0.2.1"), "{error}");
    }
}
