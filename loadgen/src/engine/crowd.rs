//! Clients that are connected and silent, and what becomes of them when something happens to the server. No load, and nothing of
//! it is timed but how long a new client waits for its first echo.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Between two attempts of a new client.
const RETRY: Duration = Duration::from_micros(200);
/// Longest that an attempt to connect may take before the next.
const ATTEMPT: Duration = Duration::from_millis(500);
/// Number of a client that came later.
const NEWCOMER: u32 = u32::MAX;
/// Bytes of a message: a line of text, which servers that echo by line echo as well.
const MESSAGE_BYTES: usize = 64;

/// Clients that have had an echo.
pub struct Crowd {
    clients: Vec<TcpStream>,
}

impl Crowd {
    /// Connects so many clients, one after the other, each of which must have an echo within `patience`.
    /// `connected` hears how many there are, and says whether to go on.
    ///
    /// # Errors
    /// One sentence: which client had none, and why.
    pub fn connect(
        addresses: &[SocketAddr],
        number: u32,
        patience: Duration,
        connected: &mut dyn FnMut(u32) -> bool,
    ) -> Result<Self, String> {
        let mut clients = Vec::new();
        for client in 0..number {
            let address = addresses[client as usize % addresses.len()];
            let until = Instant::now() + patience;
            let stream = served(address, client, until)
                .map_err(|error| format!("client {} of {number} had no echo: {error}", client + 1))?;
            clients.push(stream);
            if !connected(client + 1) {
                return Err("stopped by a signal".to_string());
            }
        }
        Ok(Self { clients })
    }

    /// Both ends of the connection of one in the middle: its own and the server's.
    ///
    /// # Errors
    /// When the system does not tell, or there is no client.
    pub fn one(&self) -> Result<(SocketAddr, SocketAddr), String> {
        let client = self.clients.get(self.clients.len() / 2).ok_or("there is no client")?;
        let ends = client.local_addr().and_then(|own| Ok((own, client.peer_addr()?)));
        ends.map_err(|error| format!("the addresses of a connection: {error}"))
    }

    /// How many of them have no echo any more, by a message of each, all within `patience`.
    #[must_use]
    pub fn lost(&mut self, patience: Duration) -> u64 {
        let until = Instant::now() + patience;
        let asked: Vec<bool> = (0..)
            .zip(&mut self.clients)
            .map(|(number, client)| client.write_all(&message(number)).is_ok())
            .collect();
        let answered = (0..).zip(&mut self.clients).zip(asked);
        let lost = answered.filter_map(|((number, client), was_asked)| {
            let is_served = was_asked && echoed(client, number, until).is_ok();
            (!is_served).then_some(())
        });
        lost.count() as u64
    }
}

/// A client that came after the others and has had an echo.
pub struct Newcomer {
    stream: TcpStream,
    /// From the moment that was given to the end of its first echo.
    pub waited: Duration,
}

impl Newcomer {
    /// Waits until one is served. None when that has not happened within `patience` after `begun`, or `is_hopeless` says so.
    #[must_use]
    pub fn served(
        address: SocketAddr,
        begun: Instant,
        patience: Duration,
        is_hopeless: &dyn Fn() -> bool,
    ) -> Option<Self> {
        let until = begun + patience;
        while Instant::now() < until && !is_hopeless() {
            // One that waits in an accept queue waits until the end.
            if let Ok(stream) = served(address, NEWCOMER, until) {
                let waited = begun.elapsed();
                return Some(Self { stream, waited });
            }
            thread::sleep(RETRY);
        }
        None
    }

    /// Whether it has another echo within `patience`: not if who served it was about to end.
    #[must_use]
    pub fn is_still_served(&mut self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let asked = self.stream.write_all(&message(NEWCOMER));
        asked.and_then(|()| echoed(&mut self.stream, NEWCOMER, until)).is_ok()
    }
}

/// Connects and has a message echoed.
fn served(address: SocketAddr, number: u32, until: Instant) -> std::io::Result<TcpStream> {
    let left = until.saturating_duration_since(Instant::now()).min(ATTEMPT);
    let mut stream = TcpStream::connect_timeout(&address, left.max(Duration::from_millis(1)))?;
    stream.set_nodelay(true)?;
    stream.write_all(&message(number))?;
    echoed(&mut stream, number, until)?;
    Ok(stream)
}

/// Takes the echo of this client's message, whole and right.
fn echoed(stream: &mut TcpStream, number: u32, until: Instant) -> std::io::Result<()> {
    let mut bytes = [0; MESSAGE_BYTES];
    let mut filled = 0;
    while filled < bytes.len() {
        let left = until.saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match stream.read(&mut bytes[filled..])? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            more => filled += more,
        }
    }
    if bytes == message(number) {
        Ok(())
    } else {
        Err(std::io::Error::other("another text came back"))
    }
}

/// `client 0000000042 ...`, a newline last.
fn message(number: u32) -> [u8; MESSAGE_BYTES] {
    let mut bytes = [b'.'; MESSAGE_BYTES];
    let text = format!("client {number:010} ");
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    bytes[MESSAGE_BYTES - 1] = b'\n';
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Shutdown, TcpListener};
    use std::sync::mpsc;

    /// A server of a thread for each client, which gives its sockets out.
    fn server() -> (SocketAddr, mpsc::Receiver<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, sockets) = mpsc::channel();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let _ = sender.send(stream.try_clone().unwrap());
                thread::spawn(move || {
                    let mut bytes = [0; 256];
                    while let Ok(read @ 1..) = stream.read(&mut bytes) {
                        if stream.write_all(&bytes[..read]).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        (address, sockets)
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn who_is_cut_off_is_lost_and_the_others_are_not() {
        let (address, sockets) = server();
        let mut seen = 0;
        let mut crowd = Crowd::connect(&[address], 8, PATIENCE, &mut |connected| {
            seen = connected;
            true
        })
        .unwrap();
        assert_eq!((seen, crowd.lost(PATIENCE)), (8, 0));
        let served: Vec<TcpStream> = sockets.iter().take(8).collect();
        served[2].shutdown(Shutdown::Both).unwrap();
        served[5].shutdown(Shutdown::Both).unwrap();
        assert_eq!(crowd.lost(PATIENCE), 2);
        let (own, servers) = crowd.one().unwrap();
        assert_eq!((servers, served[4].peer_addr().unwrap()), (address, own));
    }

    #[test]
    fn a_new_client_is_served_or_hope_is_given_up() {
        let (address, sockets) = server();
        let mut newcomer = Newcomer::served(address, Instant::now(), PATIENCE, &|| false).unwrap();
        assert!(newcomer.is_still_served(PATIENCE));
        let served = sockets.recv().unwrap();
        served.shutdown(Shutdown::Both).unwrap();
        assert!(!newcomer.is_still_served(PATIENCE));
        let nobody = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let asked = std::cell::Cell::new(0);
        let is_hopeless = || asked.replace(asked.get() + 1) > 2;
        assert!(Newcomer::served(nobody, Instant::now(), PATIENCE, &is_hopeless).is_none());
        let why = Crowd::connect(&[nobody], 2, PATIENCE, &mut |_| true).err().unwrap();
        assert!(why.starts_with("client 1 of 2 had no echo: "), "{why}");
    }
}
