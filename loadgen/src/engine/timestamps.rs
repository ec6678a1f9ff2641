//! Round trips with the kernel's own timestamps beside ours: how much of a latency is loadgen itself.
//!
//! The calls are those of the event loop: look at the clock, send; wait on epoll, receive, look at the clock. The kernel
//! notes when the segment reached the packet scheduler (TX_SCHED) and when the echo reached the socket (RX_SOFTWARE); both
//! notes are fetched after our second look. (linux/Documentation/networking/timestamping.rst)

use super::clock::now_ns;
use super::socket::SocketMaker;
use super::worker;
use crate::workload::payload::{Payload, Stream};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, TimestampingFlag, Timestamps, recvmsg, send, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::time::Duration;

/// Longest wait for one echo, and for the kernel's note of a send.
const PATIENCE_MS: u16 = 5_000;
const NOTE_PATIENCE_NS: u64 = 100_000_000;
/// Longest wait for the first stamp of all.
const STAMPS_PATIENCE_NS: u64 = 2_000_000_000;
/// Of linux/errqueue.h; libc does not have it.
const SCM_TSTAMP_SCHED: u32 = 1;

/// One message and its echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTrip {
    /// Between our two looks at the clock.
    pub ours_ns: u64,
    /// Between the kernel's two notes; none when one is missing.
    pub kernel_ns: Option<u64>,
}

/// Sends so many messages of `bytes` bytes, each after the echo of the one before. `cpus` empty means not pinned.
///
/// # Errors
/// What the system says, or that the echo does not come or is wrong.
pub fn round_trips(address: SocketAddr, trips: usize, bytes: usize, cpus: &[usize]) -> io::Result<Vec<RoundTrip>> {
    if !cpus.is_empty() {
        worker::pin(cpus)?;
    }
    let (socket, _) = SocketMaker::new(&[address], vec![]).open(0)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLOUT, 0))?;
    wait(&epoll)?;
    epoll.modify(&socket, &mut EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
    // nix has no name for TX_SCHED.
    let sched = TimestampingFlag::from_bits_retain(libc::SOF_TIMESTAMPING_TX_SCHED);
    let flags = TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_OPT_ID
        | TimestampingFlag::SOF_TIMESTAMPING_OPT_TSONLY
        | sched;
    setsockopt(&socket, sockopt::Timestamping, &flags)?;
    let mut pingpong = PingPong {
        socket,
        epoll,
        payload: Payload::new(1),
        echo: vec![0; bytes],
        offset: 0,
    };
    // The kernel begins to stamp some time after it was asked to (net_enable_timestamp defers it to a worker).
    let until_ns = now_ns() + STAMPS_PATIENCE_NS;
    while pingpong.turn()?.kernel_ns.is_none() && now_ns() < until_ns {
        std::thread::sleep(Duration::from_millis(1));
    }
    (0..trips).map(|_| pingpong.turn()).collect()
}

struct PingPong {
    socket: OwnedFd,
    epoll: Epoll,
    payload: Payload,
    echo: Vec<u8>,
    offset: u64,
}

impl PingPong {
    /// One message and its echo.
    fn turn(&mut self) -> io::Result<RoundTrip> {
        let (fd, bytes) = (self.socket.as_raw_fd(), self.echo.len());
        let message = self.payload.slice(Stream::default(), self.offset, bytes);
        self.offset += bytes as u64;
        let sent_ns = now_ns();
        if send(fd, message, MsgFlags::MSG_NOSIGNAL)? != bytes {
            return Err(io::Error::other("a message did not leave whole"));
        }
        let mut received_at = None;
        let mut got = 0;
        while got < bytes {
            wait(&self.epoll)?;
            match receive(fd, &mut self.echo[got..]) {
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((more, at)) => (got, received_at) = (got + more, at),
                // The note of the send wakes us too.
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let ours_ns = now_ns() - sent_ns;
        if self.echo != message {
            return Err(io::Error::other("an echo is wrong"));
        }
        // On TCP the note names the last byte it is about, counted from the moment the option was set.
        let scheduled_at = note_of(fd, self.offset - 1)?;
        Ok(RoundTrip {
            ours_ns,
            kernel_ns: scheduled_at
                .zip(received_at)
                .and_then(|(from, to)| to.checked_sub(from)),
        })
    }
}

fn wait(epoll: &Epoll) -> io::Result<()> {
    loop {
        match epoll.wait(&mut [EpollEvent::empty()], EpollTimeout::from(PATIENCE_MS)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Bytes received, and when the kernel had them, by its wall clock in nanoseconds.
fn receive(fd: RawFd, into: &mut [u8]) -> Result<(usize, Option<u64>), Errno> {
    let mut space = cmsg_space!(Timestamps, libc::sock_extended_err, libc::sockaddr_in);
    let mut pieces = [IoSliceMut::new(into)];
    let message = recvmsg::<SockaddrStorage>(fd, &mut pieces, Some(&mut space), MsgFlags::MSG_DONTWAIT)?;
    let at = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::ScmTimestampsns(times) => Some(wall_ns(times.system)),
        _ => None,
    });
    Ok((message.bytes, at))
}

/// When the send that ends with byte `last` reached the packet scheduler; none when the kernel does not tell in time.
fn note_of(fd: RawFd, last: u64) -> io::Result<Option<u64>> {
    let until_ns = now_ns() + NOTE_PATIENCE_NS;
    let mut space = cmsg_space!(Timestamps, libc::sock_extended_err, libc::sockaddr_in);
    loop {
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        match recvmsg::<SockaddrStorage>(fd, &mut [], Some(&mut space), flags) {
            Ok(message) => {
                let (mut at, mut about) = (None, None);
                for part in message.cmsgs()? {
                    match part {
                        ControlMessageOwned::ScmTimestampsns(times) => at = Some(wall_ns(times.system)),
                        ControlMessageOwned::Ipv4RecvErr(error, _) if error.ee_info == SCM_TSTAMP_SCHED => {
                            about = Some(error.ee_data);
                        }
                        _ => {}
                    }
                }
                // The counter has 32 bits.
                if about.map(u64::from) == Some(last & u64::from(u32::MAX)) {
                    return Ok(at);
                }
            }
            Err(Errno::EAGAIN) if now_ns() < until_ns => std::thread::yield_now(),
            Err(Errno::EAGAIN) => return Ok(None),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn wall_ns(time: TimeSpec) -> u64 {
    // After 1970 it is never negative.
    time.tv_sec().cast_unsigned() * 1_000_000_000 + time.tv_nsec().cast_unsigned()
}
