//! The first echo: a server counts as there only once a byte came back, since a listening socket takes connections
//! before anyone serves them.

use crate::failure::{Exit, Failure};
use crate::interrupt;
use echo_contract::ready::Ready;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of one echo.
const NONCE_BYTES: usize = 16;
/// Longest wait for the server's FIN after ours; a foreign server may never send one.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// Pause between two attempts to connect to an address that refuses.
const RETRY: Duration = Duration::from_millis(20);

/// What the probes added to the server's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probes {
    pub connections: u64,
    /// Bytes sent, and echoed.
    pub bytes: u64,
}

/// How many echoes show that every worker serves. With a listener for each worker the kernel chooses by port number, so
/// four a worker leave one out with a probability of 2 % at most.
pub(super) fn echoes_wanted(ready: &Ready) -> u32 {
    if ready.workers > 1 && ready.accept_model.contains("REUSEPORT") {
        (ready.workers * 4).min(64)
    } else {
        1
    }
}

/// Makes `count` echoes, one connection each, one after the other.
pub(super) fn echo(address: SocketAddr, count: u32, limit: Duration) -> Result<Probes, Failure> {
    let mut probes = Probes::default();
    for _ in 0..count {
        let (_, one) = echo_at_first(&[address], limit)?;
        probes.connections += one.connections;
        probes.bytes += one.bytes;
    }
    Ok(probes)
}

/// Makes one echo at the first of several addresses that takes a connection; they are tried again until `limit`.
pub(super) fn echo_at_first(addresses: &[SocketAddr], limit: Duration) -> Result<(SocketAddr, Probes), Failure> {
    let addresses = addresses.to_vec();
    interrupt::unless_asked(move || try_in_turn(&addresses, limit)).unwrap_or_else(|| Err(Failure::interrupted()))
}

fn try_in_turn(addresses: &[SocketAddr], limit: Duration) -> Result<(SocketAddr, Probes), Failure> {
    let deadline = Instant::now() + limit;
    loop {
        let mut failure = None;
        for &address in addresses {
            match attempt(address, deadline) {
                Ok(stream) => match echo_once(stream, nonce(), limit) {
                    Ok(()) => {
                        let probes = Probes {
                            connections: 1,
                            bytes: NONCE_BYTES as u64,
                        };
                        return Ok((address, probes));
                    }
                    // Some take connections before they can serve them.
                    Err(problem) if problem.is_refusal() => failure = Some(problem.of(address)),
                    Err(problem) => return Err(problem.of(address)),
                },
                Err(error) => failure = Some(unreachable(address, &error)),
            }
        }
        if Instant::now() >= deadline {
            return Err(failure.unwrap_or_else(|| Failure::usage("no address to connect to")));
        }
        thread::sleep(RETRY);
    }
}

fn attempt(address: SocketAddr, deadline: Instant) -> io::Result<TcpStream> {
    let left = deadline.saturating_duration_since(Instant::now());
    TcpStream::connect_timeout(&address, left.max(Duration::from_millis(1)))
}

fn unreachable(address: SocketAddr, error: &io::Error) -> Failure {
    Failure::unreachable(match error.kind() {
        ErrorKind::ConnectionRefused => format!(
            "nothing listens on {address} (ECONNREFUSED): start a server there, \
             or let loadgen start one of its own (`loadgen list` names them, --start auto)"
        ),
        ErrorKind::TimedOut => format!("{address} does not answer (ETIMEDOUT): is the address right?"),
        _ => format!("{address} cannot be reached: {error}"),
    })
}

/// What is wrong with an echo.
enum Problem {
    Silent(io::Error),
    Short(usize),
    /// It answered more than it got.
    More,
    /// The echo is there, behind something that nobody asked for.
    Greets(Vec<u8>),
    /// It answered other bytes.
    Wrong(Vec<u8>),
}

impl Problem {
    /// Whether the connection was ended before a byte came back.
    fn is_refusal(&self) -> bool {
        match self {
            Self::Short(length) => *length == 0,
            Self::Silent(error) => matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
            Self::More | Self::Greets(_) | Self::Wrong(_) => false,
        }
    }

    fn of(self, address: SocketAddr) -> Failure {
        match self {
            Self::Silent(error) => Failure::unreachable(format!("{address} does not echo: {error}")),
            Self::Short(length) => Failure::new(
                Exit::Corrupted,
                format!("{address} closed the connection after {length} of {NONCE_BYTES} bytes: it is no echo server"),
            ),
            Self::More => Failure::new(
                Exit::Corrupted,
                format!("{address} answers more bytes than it got: it is no echo server"),
            ),
            Self::Greets(greeting) => Failure::new(
                Exit::Corrupted,
                format!(
                    "{address} speaks first (\"{}\"): it is no echo server",
                    greeting.escape_ascii()
                ),
            ),
            Self::Wrong(reply) => Failure::new(
                Exit::Corrupted,
                format!(
                    "{address} changes bytes, it answers something else than was sent: to {NONCE_BYTES} bytes, the last the end of a \
                     line, came \"{}\". It is no echo server",
                    reply.escape_ascii()
                ),
            ),
        }
    }
}

fn echo_once(mut stream: TcpStream, nonce: [u8; NONCE_BYTES], limit: Duration) -> Result<(), Problem> {
    let deadline = Instant::now() + limit.max(Duration::from_millis(1));
    stream.write_all(&nonce).map_err(Problem::Silent)?;
    // Room for more than was sent, to see it.
    let mut reply = [0; 2 * NONCE_BYTES];
    let mut length = 0;
    while length < NONCE_BYTES {
        let left = deadline
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left)).map_err(Problem::Silent)?;
        match stream.read(&mut reply[length..]) {
            Ok(0) => return Err(Problem::Short(length)),
            Ok(more) => length += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                let text = format!(
                    "{length} of {NONCE_BYTES} bytes came back within {} s",
                    limit.as_secs_f64()
                );
                return Err(Problem::Silent(io::Error::other(text)));
            }
            Err(error) => return Err(Problem::Silent(error)),
        }
    }
    match reply[..length].strip_prefix(&nonce) {
        Some([]) => {}
        Some(_) => return Err(Problem::More),
        None => return Err(other_than_echo(&reply[..length], &nonce)),
    }
    close(stream);
    Ok(())
}

/// What a reply is that does not begin with what was sent.
fn other_than_echo(reply: &[u8], nonce: &[u8]) -> Problem {
    // A greeting may leave room for the beginning of the echo only.
    let begins_at =
        (1..reply.len()).find(|&from| nonce.starts_with(&reply[from..]) || reply[from..].starts_with(nonce));
    match begins_at {
        Some(from) if reply.len() - from > 1 => Problem::Greets(reply[..from].to_vec()),
        _ => Problem::Wrong(reply.to_vec()),
    }
}

/// Waits for the server's FIN, so that it has counted the connection as closed; no error matters any more.
fn close(mut stream: TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.set_read_timeout(Some(CLOSE_LIMIT));
    let _ = stream.read(&mut [0; 1]);
}

/// Bytes that no server sends by chance: a greeting or a fixed answer is told from an echo. They end a line, so that who
/// waits for one answers, and who turns one into two bytes is seen.
fn nonce() -> [u8; NONCE_BYTES] {
    use std::hash::{BuildHasher, RandomState};
    let mut nonce = [0; NONCE_BYTES];
    for part in nonce.chunks_mut(8) {
        part.copy_from_slice(&RandomState::new().hash_one(0).to_le_bytes());
    }
    nonce[NONCE_BYTES - 1] = b'\n';
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A server that does this to the first connection.
    fn server(serve: impl FnOnce(TcpStream) + Send + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || serve(listener.accept().unwrap().0));
        address
    }

    const LIMIT: Duration = Duration::from_millis(300);

    #[test]
    fn an_echo_is_counted() {
        let address = server(|mut stream| {
            let _ = io::copy(&mut stream.try_clone().unwrap(), &mut stream);
        });
        assert_eq!(
            echo(address, 1, LIMIT).unwrap(),
            Probes {
                connections: 1,
                bytes: 16
            }
        );
    }

    #[test]
    fn a_greeting_is_not_an_echo() {
        let address = server(|mut stream| {
            let _ = stream.write_all(b"220 mail.example ESMTP ready\r\n");
            let _ = stream.read(&mut [0; 64]);
        });
        assert_eq!(echo(address, 1, LIMIT).unwrap_err().exit, Exit::Corrupted);
    }

    #[test]
    fn who_answers_more_than_it_got_or_changes_bytes_is_no_echo_server() {
        let more = server(|mut stream| {
            let mut bytes = [0; 16];
            stream.read_exact(&mut bytes).unwrap();
            stream.write_all(&[&bytes[..], &[0; 2000]].concat()).unwrap();
        });
        let failure = echo(more, 1, LIMIT).unwrap_err();
        assert_eq!(failure.exit, Exit::Corrupted);
        assert!(failure.text.contains("answers more bytes than it got"), "{failure}");
        let two_for_one = server(|mut stream| {
            let mut bytes = [0; 16];
            stream.read_exact(&mut bytes).unwrap();
            stream.write_all(&[&bytes[..15], b"\r\n"].concat()).unwrap();
            let _ = stream.read(&mut [0; 1]);
        });
        let failure = echo(two_for_one, 1, LIMIT).unwrap_err();
        assert_eq!(failure.exit, Exit::Corrupted);
        assert!(failure.text.contains("changes bytes"), "{failure}");
        let greets = server(|mut stream| {
            let mut bytes = [0; 16];
            stream.read_exact(&mut bytes).unwrap();
            stream.write_all(&[b"welcome\r\n", &bytes[..]].concat()).unwrap();
            let _ = stream.read(&mut [0; 1]);
        });
        let failure = echo(greets, 1, LIMIT).unwrap_err();
        assert!(failure.text.contains("speaks first (\"welcome\\r\\n\")"), "{failure}");
    }

    #[test]
    fn who_takes_connections_before_it_serves_is_tried_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for _ in 0..3 {
                drop(listener.accept().unwrap());
            }
            let (mut stream, _) = listener.accept().unwrap();
            let _ = io::copy(&mut stream.try_clone().unwrap(), &mut stream);
        });
        assert!(echo(address, 1, Duration::from_secs(10)).is_ok());
    }

    #[test]
    fn a_server_that_closes_early_is_no_echo_server() {
        let address = server(|mut stream| {
            let mut bytes = [0; 16];
            stream.read_exact(&mut bytes).unwrap();
            stream.write_all(&bytes[..5]).unwrap();
        });
        let failure = echo(address, 1, LIMIT).unwrap_err();
        assert_eq!(failure.exit, Exit::Corrupted);
        assert!(failure.text.contains("after 5 of 16 bytes"), "{failure}");
    }

    #[test]
    fn a_silent_server_is_unreachable_after_the_limit() {
        let address = server(|stream| {
            thread::sleep(Duration::from_secs(2));
            drop(stream);
        });
        let begin = Instant::now();
        assert_eq!(echo(address, 1, LIMIT).unwrap_err().exit, Exit::Unreachable);
        assert!(begin.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn refusal_is_retried_until_the_limit_and_then_named() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let begin = Instant::now();
        let failure = echo(free, 1, LIMIT).unwrap_err();
        assert!(begin.elapsed() >= LIMIT);
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(
            failure
                .text
                .starts_with(&format!("nothing listens on {free} (ECONNREFUSED): ")),
            "{failure}"
        );
    }
}
