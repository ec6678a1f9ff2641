//! Echo servers that are not quite: one mode for each way in which real ones differ. In this process, a thread for each client,
//! until the process ends.
use nix::libc::linger;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, setsockopt, sockopt};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of a read.
const BUFFER_BYTES: usize = 16_384;
/// From one connection to the next of a server that accepts slowly.
const SLOW_ACCEPT: Duration = Duration::from_millis(3);

/// How a server differs from an echo.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Odd {
    /// Not at all.
    Nothing,
    /// Not at all, over both protocols.
    BothProtocols,
    /// Each answer has this length at least: zeros follow.
    AnswersAtLeast(usize),
    /// Closes after so many answers, in good order.
    ClosesAfter(u64),
    /// Whole lines only.
    ByLine,
    /// Nothing until so many bytes are there, then all.
    Gathers(usize),
    /// Nothing until so many reads have found something, then all.
    GathersReads(u64),
    /// Takes connections and closes them at once, for so long.
    UpAfter(Duration),
    /// Resets one connection in so many reads, in place of an answer.
    ResetsEach(u64),
    /// Accepts so slowly that its queue, of this length, is full.
    ShortQueue(i32),
    /// Two writes for each answer, and Nagle's algorithm on.
    TwoWrites,
    /// So long for each answer.
    Slow(Duration),
    /// Says this first.
    Greets(&'static str),
    /// Each newline becomes two bytes.
    CrLf,
    /// Takes connections and never answers.
    Silent,
    /// Answers so many reads, over all connections, and none after them.
    FallsSilentAfter(u64),
    /// Answers so many reads, over all connections; then it is gone with all connections.
    DiesAfter(u64),
}

/// What its threads share.
struct Shared {
    address: SocketAddr,
    /// Over all connections.
    reads: AtomicU64,
    is_dead: AtomicBool,
    clients: Mutex<Vec<TcpStream>>,
}

impl Odd {
    /// Serves on a free port of loopback. Returns where.
    pub(crate) fn serve(self) -> SocketAddr {
        let listener = self.listener().unwrap();
        let shared = Arc::new(Shared {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port())),
            reads: AtomicU64::new(0),
            is_dead: AtomicBool::new(false),
            clients: Mutex::new(Vec::new()),
        });
        let address = shared.address;
        thread::spawn(move || self.accept(&listener, &shared));
        address
    }

    fn listener(self) -> io::Result<TcpListener> {
        match self {
            Self::BothProtocols => TcpListener::bind("[::]:0"),
            Self::ShortQueue(length) => {
                let flags = SockFlag::SOCK_CLOEXEC;
                let socket = socket::socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
                let any = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
                socket::bind(socket.as_raw_fd(), &any)?;
                socket::listen(&socket, Backlog::new(length)?)?;
                Ok(socket.into())
            }
            _ => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)),
        }
    }

    fn accept(self, listener: &TcpListener, shared: &Arc<Shared>) {
        let begun = Instant::now();
        loop {
            if matches!(self, Self::ShortQueue(_)) {
                // A connection every few milliseconds: whoever comes in numbers finds the queue full.
                thread::sleep(SLOW_ACCEPT);
            }
            let Ok((stream, _)) = listener.accept() else { return };
            if matches!(self, Self::UpAfter(time) if begun.elapsed() < time) {
                continue;
            }
            if shared.is_dead.load(Ordering::Relaxed) {
                return;
            }
            if let (Self::DiesAfter(_), Ok(same)) = (self, stream.try_clone()) {
                shared.clients.lock().unwrap().push(same);
            }
            let shared = Arc::clone(shared);
            thread::spawn(move || self.converse(stream, &shared));
        }
    }

    /// One client, until either side ends the connection.
    fn converse(self, mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
        stream.set_nodelay(self != Self::TwoWrites)?;
        if let Self::Greets(greeting) = self {
            stream.write_all(greeting.as_bytes())?;
        }
        let mut buffer = [0; BUFFER_BYTES];
        let mut held = Vec::new();
        for answers in 1.. {
            let length = stream.read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            let number = shared.reads.fetch_add(1, Ordering::Relaxed) + 1;
            let bytes = &buffer[..length];
            match self {
                Self::Nothing | Self::BothProtocols | Self::UpAfter(_) | Self::ShortQueue(_) | Self::Greets(_) => {
                    stream.write_all(bytes)?;
                }
                Self::AnswersAtLeast(least) => {
                    let zeros = vec![0; least.saturating_sub(length)];
                    stream.write_all(&[bytes, &zeros].concat())?;
                }
                Self::ClosesAfter(most) => {
                    stream.write_all(bytes)?;
                    if answers == most {
                        return Ok(());
                    }
                }
                Self::ByLine => {
                    held.extend_from_slice(bytes);
                    let whole = held.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
                    stream.write_all(&held.drain(..whole).collect::<Vec<u8>>())?;
                }
                Self::Gathers(enough) => {
                    held.extend_from_slice(bytes);
                    if held.len() >= enough {
                        stream.write_all(&std::mem::take(&mut held))?;
                    }
                }
                Self::GathersReads(enough) => {
                    held.extend_from_slice(bytes);
                    if answers.is_multiple_of(enough) {
                        stream.write_all(&std::mem::take(&mut held))?;
                    }
                }
                Self::ResetsEach(many) if number.is_multiple_of(many) => return reset(&stream),
                Self::ResetsEach(_) => stream.write_all(bytes)?,
                Self::TwoWrites => {
                    let (first, rest) = bytes.split_at(1);
                    stream.write_all(first)?;
                    stream.write_all(rest)?;
                }
                Self::Slow(time) => {
                    thread::sleep(time);
                    stream.write_all(bytes)?;
                }
                Self::CrLf => {
                    let text: Vec<u8> = bytes
                        .iter()
                        .flat_map(|byte| {
                            if *byte == b'\n' {
                                vec![b'\r', b'\n']
                            } else {
                                vec![*byte]
                            }
                        })
                        .collect();
                    stream.write_all(&text)?;
                }
                Self::Silent => {}
                Self::FallsSilentAfter(most) if number > most => {}
                Self::DiesAfter(most) if number > most => return shared.die(),
                Self::FallsSilentAfter(_) | Self::DiesAfter(_) => stream.write_all(bytes)?,
            }
        }
        Ok(())
    }
}

impl Shared {
    /// As a process that ends: all connections end, and nobody listens.
    fn die(&self) -> io::Result<()> {
        self.is_dead.store(true, Ordering::Relaxed);
        for client in self.clients.lock().unwrap().drain(..) {
            let _ = client.shutdown(Shutdown::Both); // It may have gone before.
        }
        // Whoever accepts wakes up and gives the port back.
        TcpStream::connect(self.address).map(drop)
    }
}

fn reset(stream: &TcpStream) -> io::Result<()> {
    let at_once = linger {
        l_onoff: 1,
        l_linger: 0,
    };
    Ok(setsockopt(stream, sockopt::Linger, &at_once)?)
}
