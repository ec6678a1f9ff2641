//! The first echo: a server counts as there only once what was sent came back, since a listening socket takes connections
//! before anyone serves them. What is sent is the workload's own first message, and who does not echo it is told what kind of
//! server answers.

mod connect;
mod exchange;
mod kind;

use super::obtain::Request;
use crate::failure::Failure;
use crate::interrupt;
use crate::notice::notice;
use crate::workload::opening::Opening;
use connect::connect;
use echo_contract::ready::Ready;
use exchange::{Answer, Exchange};
use kind::Kind;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of an echo without a workload.
const NONCE_BYTES: usize = 16;
/// Pause between two attempts to connect to an address that refuses.
const RETRY: Duration = Duration::from_millis(20);
/// Who has not answered by then is asked otherwise.
const PATIENCE: Duration = Duration::from_millis(500);
/// How soon after its first answer a server that ends the connection, or says more, has done so.
const SETTLE: Duration = Duration::from_millis(30);
/// A wait that takes longer is told to the user.
const QUIET_WAIT: Duration = Duration::from_secs(1);

/// What the probes added to the server's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probes {
    pub connections: u64,
    /// Bytes sent, and echoed.
    pub bytes: u64,
}

impl Probes {
    pub(super) fn add(&mut self, other: Self) {
        self.connections += other.connections;
        self.bytes += other.bytes;
    }
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

/// How an echo is asked for.
#[derive(Debug)]
pub(super) struct Probe {
    opening: Opening,
    /// Addresses to connect from, in turn; empty leaves the choice to the kernel.
    sources: Vec<Ipv4Addr>,
    /// How many connections were begun.
    begun: AtomicUsize,
    /// Longest wait for a connection and its echo.
    limit: Duration,
    /// Whether a long wait is told.
    tells: bool,
}

impl Probe {
    /// With the workload's own first messages, where there is a workload.
    pub(super) fn of(request: &Request<'_>) -> Self {
        Self {
            opening: request.opening.cloned().unwrap_or_else(nonce),
            sources: request.source_addresses.to_vec(),
            begun: AtomicUsize::new(0),
            limit: request.connect_timeout,
            tells: true,
        }
    }

    /// With one line: for servers that are known to echo whatever they get.
    pub(super) fn of_known(request: &Request<'_>) -> Self {
        Self {
            opening: nonce(),
            ..Self::of(request)
        }
    }

    /// One of several attempts by a caller who tells the user himself.
    pub(super) fn within(self, limit: Duration) -> Self {
        Self {
            limit,
            tells: false,
            ..self
        }
    }

    /// Makes `count` echoes, one connection each, one after the other.
    pub(super) fn echo(self, address: SocketAddr, count: u32) -> Result<Probes, Failure> {
        let (probes, echoed) = self.echo_counted(address, count);
        echoed.map(|()| probes)
    }

    /// The same, with what it added to the server's counters also where no echo came back.
    pub(super) fn echo_counted(self, address: SocketAddr, count: u32) -> (Probes, Result<(), Failure>) {
        let work = move || {
            let mut probes = Probes::default();
            let mut echoes = (0..count).map(|_| self.try_in_turn(&[address], &mut probes));
            let echoed = echoes.try_for_each(|echo| echo.map(|_| ()));
            (probes, echoed)
        };
        interrupt::unless_asked(work).unwrap_or_else(|| (Probes::default(), Err(Failure::interrupted())))
    }

    /// Makes one echo at the first of several addresses that takes a connection; they are tried again until the limit.
    pub(super) fn echo_at_first(self, addresses: &[SocketAddr]) -> Result<(SocketAddr, Probes), Failure> {
        let addresses = self.of_the_sources_family(addresses)?;
        let work = move || {
            let mut probes = Probes::default();
            let address = self.try_in_turn(&addresses, &mut probes)?;
            Ok((address, probes))
        };
        interrupt::unless_asked(work).unwrap_or_else(|| Err(Failure::interrupted()))
    }

    /// From an IPv4 address only IPv4 addresses can be reached.
    fn of_the_sources_family(&self, addresses: &[SocketAddr]) -> Result<Vec<SocketAddr>, Failure> {
        let fits = |address: &SocketAddr| self.sources.is_empty() || address.is_ipv4();
        let fitting: Vec<SocketAddr> = addresses.iter().copied().filter(fits).collect();
        match (fitting.is_empty(), addresses.first(), self.sources.first()) {
            (true, Some(address), Some(source)) => Err(Failure::usage(format!(
                "--target {address} is an IPv6 address and --source-addresses {source} an IPv4 one: no connection can have both. \
                 Name the server's IPv4 address, or leave --source-addresses out"
            ))),
            _ => Ok(fitting),
        }
    }

    /// The next address to connect from.
    fn source(&self) -> Option<Ipv4Addr> {
        let turn = self.begun.fetch_add(1, Ordering::Relaxed);
        self.sources.get(turn % self.sources.len().max(1)).copied()
    }

    fn try_in_turn(&self, addresses: &[SocketAddr], probes: &mut Probes) -> Result<SocketAddr, Failure> {
        let deadline = Instant::now() + self.limit;
        let mut told = !self.tells;
        let mut trouble: Option<(SocketAddr, Trouble)> = None;
        loop {
            for &address in addresses {
                let left = deadline.saturating_duration_since(Instant::now());
                let now = match connect(address, self.source(), left) {
                    Ok(stream) => match self.ask(address, stream, deadline, &mut told, probes)? {
                        None => return Ok(address),
                        Some(trouble) => trouble,
                    },
                    Err(error) => unreachable(address, &error),
                };
                if trouble.is_none() || !now.is_cut_short {
                    trouble = Some((address, now));
                }
            }
            let Some((address, last)) = &trouble else {
                return Err(Failure::usage("no address to connect to"));
            };
            if Instant::now() >= deadline {
                return Err(Failure::unreachable(last.text.clone()));
            }
            self.tell(*address, deadline, last.waits_for, &mut told);
            thread::sleep(RETRY);
        }
    }

    /// Whether it echoes on this connection; else what may pass: some take connections before they can serve them.
    fn ask(
        &self,
        address: SocketAddr,
        stream: TcpStream,
        deadline: Instant,
        told: &mut bool,
        probes: &mut Probes,
    ) -> Result<Option<Trouble>, Failure> {
        let broken = |error: &io::Error| Failure::unreachable(format!("{address} does not echo: {error}"));
        let left = || deadline.saturating_duration_since(Instant::now());
        let mut exchange = Exchange::new(stream, &self.opening.bytes).map_err(|error| broken(&error))?;
        let is_cut_short = left() < PATIENCE;
        let mut answer = exchange.send(1, PATIENCE.min(left()));
        if matches!(answer, Answer::Late) {
            let kind = kind::of_silent(self, address, probes);
            // Who was only slow has answered meanwhile.
            answer = exchange.wait(Duration::ZERO);
            if let (Answer::Late, Some(kind)) = (&answer, kind) {
                return Err(kind.failure(address));
            }
            if matches!(answer, Answer::Late) {
                self.tell(address, deadline, SILENT, told);
                answer = exchange.wait(left());
            }
        }
        if let (Answer::Whole, true) = (&answer, self.opening.goes_on) {
            answer = self.go_on(address, &mut exchange, left())?;
        }
        probes.connections += 1;
        probes.bytes += exchange.sent() as u64;
        let (received, sent) = (exchange.received.len(), exchange.owed());
        match answer {
            Answer::Whole => {
                exchange.close();
                Ok(None)
            }
            Answer::More => Err(Kind::AnswersMore.failure(address)),
            Answer::Wrong => Err(kind::of_wrong(self, address, &exchange).failure(address)),
            Answer::Late => Ok(Some(Trouble {
                waits_for: SILENT,
                text: format!(
                    "{address} does not echo: {received} of {sent} bytes came back within {} s",
                    self.limit.as_secs_f64()
                ),
                is_cut_short,
            })),
            Answer::Ended | Answer::Broke(_) if received == 0 => Ok(Some(Trouble::ended(address, &answer))),
            Answer::Ended | Answer::Broke(_) => Err(Kind::Truncates { received, sent }.failure(address)),
        }
    }

    /// The same again, on a connection that the workload would use again.
    fn go_on(&self, address: SocketAddr, exchange: &mut Exchange<'_>, left: Duration) -> Result<Answer, Failure> {
        match exchange.settle(SETTLE) {
            Answer::Whole => {}
            Answer::Ended => return Err(Kind::ClosesAfterOne.failure(address)),
            other => return Ok(other),
        }
        let before = exchange.received.len();
        match exchange.send(1, left) {
            Answer::Ended if exchange.received.len() == before => Err(Kind::ClosesAfterOne.failure(address)),
            // It has echoed; how often it breaks a connection is for the run to find out.
            Answer::Broke(_) if exchange.received.len() == before => Ok(Answer::Whole),
            answer => Ok(answer),
        }
    }

    /// Tells the user, once, what is waited for.
    fn tell(&self, address: SocketAddr, deadline: Instant, what: &str, told: &mut bool) {
        let left = deadline.saturating_duration_since(Instant::now());
        if !*told && self.limit.saturating_sub(left) >= QUIET_WAIT {
            *told = true;
            notice(format_args!(
                "{address} {what}: waiting for it until --connect-timeout, {} s in all",
                self.limit.as_secs_f64()
            ));
        }
    }
}

const SILENT: &str = "takes connections and does not answer";

/// Why there was no echo this time.
struct Trouble {
    /// What the server does, after its address.
    waits_for: &'static str,
    /// The whole sentence, if it stays so.
    text: String,
    /// Whether the limit left too little time to tell: what was seen before says more.
    is_cut_short: bool,
}

impl Trouble {
    fn ended(address: SocketAddr, answer: &Answer) -> Self {
        let how = match answer {
            Answer::Broke(error) => error.to_string(),
            _ => "it closes the connection".into(),
        };
        Self {
            waits_for: "takes connections and ends them without an answer",
            text: format!("{address} does not echo: {how} before the first byte of an answer"),
            is_cut_short: false,
        }
    }
}

fn unreachable(address: SocketAddr, error: &io::Error) -> Trouble {
    let (waits_for, text) = match error.kind() {
        ErrorKind::ConnectionRefused => (
            "takes no connections",
            format!(
                "nothing listens on {address} (ECONNREFUSED): start a server there, \
                 or let loadgen start one of its own (`loadgen list` names them, --start auto)"
            ),
        ),
        ErrorKind::TimedOut => (
            "does not answer",
            format!("{address} does not answer (ETIMEDOUT): is the address right?"),
        ),
        ErrorKind::AddrNotAvailable => (
            "cannot be reached for want of a source port",
            format!(
                "{address} cannot be reached: no source port is left (EADDRNOTAVAIL). Ports of connections that ended rest for a \
                 minute: allow them to be used again (net.ipv4.tcp_tw_reuse=1), widen net.ipv4.ip_local_port_range, or give more \
                 --source-addresses; runs with --close rst leave none behind"
            ),
        ),
        _ => ("cannot be reached", format!("{address} cannot be reached: {error}")),
    };
    Trouble {
        waits_for,
        text,
        is_cut_short: false,
    }
}

/// Bytes that no server sends by chance: a greeting or a fixed answer is told from an echo. They end a line, so that who
/// waits for one answers, and who turns one into two bytes is seen.
fn nonce() -> Opening {
    use std::hash::{BuildHasher, RandomState};
    let parts = (0..NONCE_BYTES / 8).flat_map(|_| RandomState::new().hash_one(0).to_le_bytes());
    Opening::line(parts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    /// A server that does this to the first connection.
    fn server(serve: impl FnOnce(TcpStream) + Send + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || serve(listener.accept().unwrap().0));
        address
    }

    const LIMIT: Duration = Duration::from_millis(300);

    fn echo(address: SocketAddr, count: u32, limit: Duration) -> Result<Probes, Failure> {
        Probe::of(&Request::start("")).within(limit).echo(address, count)
    }

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

    #[test]
    fn an_address_that_cannot_be_reached_from_the_sources_is_told_with_both_flags() {
        let sources = [Ipv4Addr::new(127, 0, 0, 2)];
        let probe = || {
            Probe::of(&Request {
                source_addresses: &sources,
                ..Request::start("")
            })
        };
        let both = ["[::1]:7".parse().unwrap(), "127.0.0.1:7".parse().unwrap()];
        assert_eq!(probe().of_the_sources_family(&both).unwrap(), both[1..]);
        let failure = probe().of_the_sources_family(&both[..1]).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.text.contains("--target [::1]:7") && failure.text.contains("--source-addresses 127.0.0.2"));
    }

    #[test]
    fn the_probe_comes_from_the_source_addresses_in_turn() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let peers = thread::spawn(move || {
            let serve = |_| {
                let (mut stream, peer) = listener.accept().unwrap();
                let _ = io::copy(&mut stream.try_clone().unwrap(), &mut stream);
                peer.ip().to_string()
            };
            (0..3).map(serve).collect::<Vec<_>>()
        });
        let sources = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];
        let request = Request {
            source_addresses: &sources,
            ..Request::start("")
        };
        Probe::of(&request).echo(address, 3).unwrap();
        assert_eq!(peers.join().unwrap(), ["127.0.0.2", "127.0.0.3", "127.0.0.2"]);
    }
}
