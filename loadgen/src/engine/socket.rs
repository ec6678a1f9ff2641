//! Opening a measuring socket: options as the servers have them, non-blocking connect.

use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrStorage, connect, getpeername, setsockopt, sockopt,
};
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

/// How sockets are made; the same for all.
#[derive(Clone, Debug)]
pub(super) struct SocketMaker {
    /// Clients are dealt out to them in turn; at least one.
    addresses: Vec<(SockaddrStorage, AddressFamily)>,
    sources: Vec<Ipv4Addr>,
    /// Clients from this number on, and where they connect from.
    apart: Option<(u32, Ipv4Addr)>,
    /// Set on each socket where the system's default is another one.
    congestion: Option<OsString>,
}

impl SocketMaker {
    pub(super) fn new(addresses: &[SocketAddr], sources: Vec<Ipv4Addr>) -> Self {
        let with_family = |address: &SocketAddr| {
            let family = if address.is_ipv4() {
                AddressFamily::Inet
            } else {
                AddressFamily::Inet6
            };
            ((*address).into(), family)
        };
        let addresses: Vec<_> = addresses.iter().map(with_family).collect();
        Self {
            congestion: addresses.first().and_then(|(_, family)| congestion_to_set(*family)),
            addresses,
            sources,
            apart: None,
        }
    }

    /// The same, where clients from this number on have an address of their own.
    pub(super) fn with_apart(self, apart: Option<(u32, Ipv4Addr)>) -> Self {
        Self { apart, ..self }
    }

    /// Where this client connects from; none leaves it to the kernel.
    fn source_of(&self, client: u32) -> Option<Ipv4Addr> {
        match self.apart {
            Some((first, source)) if client >= first => Some(source),
            // Every pair of a source and an address comes to be used.
            _ => (!self.sources.is_empty())
                .then(|| self.sources[client as usize / self.addresses.len() % self.sources.len()]),
        }
    }

    /// Starts a connection. True when it is established already, as on loopback.
    ///
    /// # Errors
    /// What the system says; the socket is closed again.
    pub(super) fn open(&self, client: u32) -> Result<(OwnedFd, bool), Errno> {
        let (address, family) = &self.addresses[client as usize % self.addresses.len()];
        let fd = socket::socket(
            *family,
            SockType::Stream,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        setsockopt(&fd, sockopt::TcpNoDelay, &true)?;
        if let Some(name) = &self.congestion {
            setsockopt(&fd, sockopt::TcpCongestion, name)?;
        }
        if let Some(source) = self.source_of(client) {
            // The port is chosen at connect(), by the whole address pair: else each source would end at 28,232.
            setsockopt(&fd, sockopt::IpBindAddressNoPort, &true)?;
            socket::bind(
                fd.as_raw_fd(),
                &SockaddrIn::from(std::net::SocketAddrV4::new(source, 0)),
            )?;
        }
        match connect(fd.as_raw_fd(), address) {
            Ok(()) => Ok((fd, true)),
            Err(Errno::EINPROGRESS) => {
                // On loopback the handshake is over before connect() returns, only its answer comes too late for the
                // return value. Asking at once keeps the loop's own delay out of the connect time.
                let established = getpeername::<SockaddrStorage>(fd.as_raw_fd()).is_ok();
                Ok((fd, established))
            }
            Err(errno) => Err(errno),
        }
    }
}

/// Cubic, else reno, as the servers choose it; none where the default is that already or neither may be set.
/// The default of some kernels, bbr, paces even on loopback.
fn congestion_to_set(family: AddressFamily) -> Option<OsString> {
    let probe = socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).ok()?;
    let default = socket::getsockopt(&probe, sockopt::TcpCongestion).ok()?;
    ["cubic", "reno"]
        .into_iter()
        .map(OsString::from)
        .find(|name| setsockopt(&probe, sockopt::TcpCongestion, name).is_ok())
        .filter(|name| {
            !default
                .to_string_lossy()
                .trim_end_matches('\0')
                .eq(&*name.to_string_lossy())
        })
}
