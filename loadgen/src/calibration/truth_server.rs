//! The truth server: an echo of known behaviour. One thread, one queue over all connections, first come first served.
//!
//! Its clock is a plan too: a frame's service begins when the one before it was due to end, or when it was read, not when
//! the thread came round to it. So a thread that is late is late once, and what is expected of every frame stays computable.
//! It is no contestant: it burns a CPU while a frame is in service.

use super::behaviour::{Behaviour, Misdeed};
use echo_contract::stats::Stats;
use nix::errno::Errno;
use nix::libc::{self, linger};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use nix::time::{ClockId, clock_gettime};
use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::Duration;

/// How often an idle server looks whether it is to stop.
const LOOK_MS: u16 = 20;
/// The event of the listener; connections count from 0.
const LISTENER: u64 = u64::MAX;
/// Most bytes taken from one connection at a time.
pub const BUFFER_BYTES: usize = 64 * 1024;

pub struct TruthServer {
    behaviour: Behaviour,
    listener: TcpListener,
    epoll: Epoll,
    connections: HashMap<u64, Connection>,
    queue: VecDeque<Frame>,
    /// When the frame before the first of the queue was due to end.
    free_ns: u64,
    accepted: u64,
    frames: u64,
    buffer: Box<[u8]>,
    stats: Stats,
}

struct Connection {
    stream: TcpStream,
    /// Bytes read and not yet echoed.
    owed: VecDeque<u8>,
    /// Bytes of `owed` that do not make a frame yet.
    partial_bytes: u64,
    queued: usize,
    /// The client's FIN is there.
    ended: bool,
    /// Our FIN is sent, with bytes still owed: what comes now is thrown away.
    muted: bool,
}

struct Frame {
    connection: u64,
    number: u64,
    read_ns: u64,
}

impl TruthServer {
    /// Listens on a free loopback port.
    ///
    /// # Errors
    /// When the system has no socket for it.
    pub fn bind(behaviour: Behaviour) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        // As the servers have it: accepted sockets inherit both. Where neither may be set the default stays.
        setsockopt(&listener, sockopt::TcpNoDelay, &true)?;
        let _ = ["cubic", "reno"]
            .iter()
            .find(|name| setsockopt(&listener, sockopt::TcpCongestion, &OsString::from(name)).is_ok());
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        Ok(Self {
            behaviour,
            listener,
            epoll,
            connections: HashMap::new(),
            queue: VecDeque::new(),
            free_ns: 0,
            accepted: 0,
            frames: 0,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            stats: Stats::default(),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stopping` says so and no client is left, or a second after it said so.
    ///
    /// # Errors
    /// When epoll or the listener fails.
    pub fn serve(mut self, stopping: impl Fn() -> bool) -> io::Result<Stats> {
        let mut stop_by_ns = None;
        loop {
            self.sit_out_a_freeze();
            self.answer_what_is_due();
            self.read_what_is_there()?;
            if stopping() {
                let by = *stop_by_ns.get_or_insert(now_ns() + 1_000_000_000);
                if self.connections.is_empty() || now_ns() >= by {
                    return Ok(self.stats);
                }
            }
        }
    }

    /// Does nothing at all until the freeze is over. Service under way goes on after it for what was left.
    fn sit_out_a_freeze(&mut self) {
        let Some(freeze) = self.behaviour.freeze else { return };
        while let Some((begin_ns, end_ns)) = freeze.at(now_ns()) {
            if let Some(due_ns) = self.first_due()
                && due_ns > begin_ns
            {
                let service_ns = self.service_of_first();
                self.free_ns = due_ns - service_ns + (end_ns - begin_ns);
            }
            loop {
                let now = now_ns();
                if now >= end_ns {
                    break;
                }
                thread::sleep(Duration::from_nanos(end_ns - now));
            }
        }
    }

    fn service_of_first(&self) -> u64 {
        self.queue
            .front()
            .map_or(0, |frame| self.behaviour.service.of_frame(frame.number))
    }

    /// When the first frame's service ends.
    fn first_due(&self) -> Option<u64> {
        let frame = self.queue.front()?;
        Some(self.free_ns.max(frame.read_ns) + self.behaviour.service.of_frame(frame.number))
    }

    fn answer_what_is_due(&mut self) {
        while let Some(due_ns) = self.first_due()
            && due_ns <= now_ns()
            && self.behaviour.freeze.is_none_or(|freeze| freeze.at(now_ns()).is_none())
        {
            self.free_ns = due_ns;
            if let Some(frame) = self.queue.pop_front() {
                self.answer(&frame);
            }
        }
    }

    fn answer(&mut self, frame: &Frame) {
        let Some(connection) = self.connections.get_mut(&frame.connection) else {
            return; // It was closed before its turn came.
        };
        connection.queued -= 1;
        let bytes = usize::try_from(self.behaviour.frame_bytes).unwrap_or(usize::MAX);
        let mut echo: Vec<u8> = connection.owed.drain(..bytes.min(connection.owed.len())).collect();
        if connection.muted {
            return;
        }
        let written = match self.behaviour.misdeed(frame.number) {
            None => connection.stream.write_all(&echo),
            Some(Misdeed::Corrupt) => {
                let middle = echo.len() / 2;
                echo[middle] ^= 0xff;
                connection.stream.write_all(&echo)
            }
            Some(Misdeed::Truncate) => {
                echo.truncate(echo.len() / 2);
                connection.muted = true;
                let half = connection.stream.write_all(&echo);
                half.and_then(|()| connection.stream.shutdown(Shutdown::Write))
            }
            Some(Misdeed::Swallow) => return,
            Some(Misdeed::Reset) => {
                reset_on_close(&connection.stream);
                Err(io::ErrorKind::ConnectionReset.into())
            }
        };
        match written {
            Ok(()) => {
                self.stats.bytes_out += echo.len() as u64;
                self.end_if_done(frame.connection);
            }
            Err(_) => self.close(frame.connection),
        }
    }

    /// One turn of epoll: without patience while a frame is in service.
    fn read_what_is_there(&mut self) -> io::Result<()> {
        let patience = if self.queue.is_empty() {
            EpollTimeout::from(LOOK_MS)
        } else {
            EpollTimeout::ZERO
        };
        let mut events = [EpollEvent::empty(); 64];
        let count = match self.epoll.wait(&mut events, patience) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        // Nothing is taken in during a freeze: what waited came when the freeze is over.
        self.sit_out_a_freeze();
        for event in &events[..count] {
            match event.data() {
                LISTENER => self.accept()?,
                connection => self.read(connection),
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if matches!(error.raw_os_error(), Some(libc::ECONNABORTED | libc::EINTR)) => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            let number = self.accepted;
            self.accepted += 1;
            self.stats.accepted += 1;
            if self.behaviour.reset_at_accept.contains(&number) {
                reset_on_close(&stream);
                self.stats.closed += 1;
                continue;
            }
            self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, number))?;
            self.connections.insert(
                number,
                Connection {
                    stream,
                    owed: VecDeque::new(),
                    partial_bytes: 0,
                    queued: 0,
                    ended: false,
                    muted: false,
                },
            );
        }
    }

    fn read(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        let bytes = match recv(connection.stream.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN | Errno::EINTR) => return,
            Err(_) => return self.close(number),
            Ok(0) => {
                connection.ended = true;
                // Its end would be told again and again.
                let _ = self.epoll.delete(&connection.stream);
                return self.end_if_done(number);
            }
            Ok(bytes) => bytes,
        };
        if connection.muted {
            self.stats.bytes_discarded += bytes as u64;
            return;
        }
        self.stats.bytes_in += bytes as u64;
        let read_ns = now_ns();
        connection.owed.extend(&self.buffer[..bytes]);
        connection.partial_bytes += bytes as u64;
        while connection.partial_bytes >= self.behaviour.frame_bytes {
            connection.partial_bytes -= self.behaviour.frame_bytes;
            connection.queued += 1;
            self.queue.push_back(Frame {
                connection: number,
                number: self.frames,
                read_ns,
            });
            self.frames += 1;
        }
    }

    /// Says FIN once the client has said it and nothing is owed.
    fn end_if_done(&mut self, number: u64) {
        if self
            .connections
            .get(&number)
            .is_some_and(|connection| connection.ended && connection.queued == 0)
        {
            self.close(number);
        }
    }

    fn close(&mut self, number: u64) {
        if self.connections.remove(&number).is_some() {
            self.stats.closed += 1;
        }
    }
}

/// Makes the close that follows a reset instead of a FIN.
fn reset_on_close(stream: &TcpStream) {
    let at_once = linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // It fails only for a descriptor that is no socket.
    let _ = setsockopt(stream, sockopt::Linger, &at_once);
}

/// The same clock as the engine's.
fn now_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |now| {
        now.tv_sec().cast_unsigned() * 1_000_000_000 + now.tv_nsec().cast_unsigned()
    })
}

#[cfg(test)]
mod tests {
    use super::super::behaviour::{Fault, Freeze, Service};
    use super::*;
    use std::io::Read as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    /// Serves on a thread while `client` talks; returns what the server counted.
    fn with_server(behaviour: Behaviour, client: impl FnOnce(SocketAddr)) -> Stats {
        let server = TruthServer::bind(behaviour).unwrap();
        let address = server.address().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = thread::spawn(move || server.serve(|| stopping.load(Ordering::Relaxed)).unwrap());
        client(address);
        stop.store(true, Ordering::Relaxed);
        thread.join().unwrap()
    }

    fn connect(address: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    fn faulty(faults: &[(u64, Misdeed)]) -> Behaviour {
        Behaviour {
            faults: faults
                .iter()
                .map(|&(frame, misdeed)| Fault { frame, misdeed })
                .collect(),
            ..Behaviour::echo(4)
        }
    }

    #[test]
    fn frames_come_back_in_order_at_any_split_and_the_end_comes_last() {
        let stats = with_server(Behaviour::echo(4), |address| {
            let mut stream = connect(address);
            for piece in [&b"ab"[..], b"cdef", b"gh"] {
                stream.write_all(piece).unwrap();
            }
            stream.shutdown(Shutdown::Write).unwrap();
            let mut echo = String::new();
            stream.read_to_string(&mut echo).unwrap();
            assert_eq!(echo, "abcdefgh");
        });
        assert_eq!(
            (stats.bytes_in, stats.bytes_out, stats.accepted, stats.closed),
            (8, 8, 1, 1)
        );
    }

    #[test]
    fn a_fault_befalls_its_frame_and_no_other() {
        with_server(faulty(&[(1, Misdeed::Corrupt), (3, Misdeed::Truncate)]), |address| {
            let mut stream = connect(address);
            stream.write_all(b"aaaabbbbccccdddd").unwrap();
            let mut echo = Vec::new();
            stream.read_to_end(&mut echo).unwrap();
            assert_eq!(echo, [b"aaaabb".as_slice(), &[b'b' ^ 0xff], b"bccccdd"].concat());
        });
    }

    #[test]
    fn a_reset_and_a_swallowed_frame_are_what_they_say() {
        with_server(faulty(&[(0, Misdeed::Swallow), (2, Misdeed::Reset)]), |address| {
            let mut stream = connect(address);
            let mut echo = [0; 4];
            stream.write_all(b"aaaabbbb").unwrap();
            stream.read_exact(&mut echo).unwrap();
            assert_eq!(&echo, b"bbbb");
            stream.write_all(b"cccc").unwrap();
            let error = stream.read_exact(&mut echo).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        });
    }

    #[test]
    fn frames_are_numbered_over_all_connections() {
        with_server(faulty(&[(1, Misdeed::Corrupt)]), |address| {
            let (mut one, mut two) = (connect(address), connect(address));
            let mut echo = [0; 4];
            one.write_all(b"aaaa").unwrap();
            one.read_exact(&mut echo).unwrap();
            two.write_all(b"bbbb").unwrap();
            two.read_exact(&mut echo).unwrap();
            assert_eq!(echo, [b'b', b'b', b'b' ^ 0xff, b'b']);
        });
    }

    #[test]
    fn service_and_freeze_take_at_least_their_time() {
        let behaviour = Behaviour {
            service: Service::Constant { ns: 5_000_000 },
            freeze: Some(Freeze {
                length_ns: 30_000_000,
                period_ns: 60_000_000,
            }),
            ..Behaviour::echo(4)
        };
        with_server(behaviour, |address| {
            let mut stream = connect(address);
            let mut echo = [0; 4];
            let begun = Instant::now();
            for _ in 0..20 {
                stream.write_all(b"aaaa").unwrap();
                stream.read_exact(&mut echo).unwrap();
            }
            // 100 ms of service need at least 3 whole freezes beside them: only 30 ms of each 60 are served.
            assert!(
                begun.elapsed() >= Duration::from_millis(100 + 3 * 30),
                "{:?}",
                begun.elapsed()
            );
        });
    }
}
