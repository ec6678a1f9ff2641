//! A thousand clients that write, read and half-close in random order, each checked byte by byte.

#![cfg(any(feature = "compio", feature = "io-uring", feature = "monoio"))]

use echo_contract::conformance::Launch;
use server_kit::testing::ServerBinary;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

const THREADS: u64 = 8;
const CLIENTS_PER_THREAD: u64 = 125;

#[cfg(feature = "io-uring")]
#[test]
fn event_io_uring_serves_a_thousand_clients_that_half_close_at_random() {
    serves_half_closers(env!("CARGO_BIN_EXE_event-io-uring"));
}

#[cfg(feature = "monoio")]
#[test]
fn event_monoio_serves_a_thousand_clients_that_half_close_at_random() {
    serves_half_closers(env!("CARGO_BIN_EXE_event-monoio"));
}

#[cfg(feature = "compio")]
#[test]
fn event_compio_serves_a_thousand_clients_that_half_close_at_random() {
    serves_half_closers(env!("CARGO_BIN_EXE_event-compio"));
}

fn serves_half_closers(path: &str) {
    let mut server = ServerBinary::new(path, &[]).start(&Launch::default()).unwrap();
    let address = server.address();
    let threads: Vec<_> = (0..THREADS)
        .map(|seed| thread::spawn(move || drive_clients(address, seed)))
        .collect();
    let echoed: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    let exit = server.stop(Duration::from_secs(30));
    let stats = exit.stats.expect("STATS at the exit");
    assert_eq!((stats.bytes_in, stats.bytes_out), (echoed, echoed));
    assert_eq!((exit.code, stats.accepted), (Some(0), THREADS * CLIENTS_PER_THREAD));
}

/// Picks a client at random and lets it do something, until all are gone; returns how many bytes were echoed.
fn drive_clients(address: SocketAddr, seed: u64) -> u64 {
    let mut random = Random(seed + 1);
    let mut clients: Vec<_> = (0..CLIENTS_PER_THREAD)
        .map(|number| Client::connect(address, seed << 32 | number))
        .collect();
    let mut echoed = 0;
    while !clients.is_empty() {
        let chosen = random.below(clients.len());
        let client = &mut clients[chosen];
        match random.below(10) {
            0 => {
                echoed += clients.swap_remove(chosen).half_close();
            }
            1..=4 => client.read(random.below(20_000)),
            _ => client.write(1 + random.below(40_000)),
        }
    }
    echoed
}

struct Client {
    stream: TcpStream,
    /// Makes its bytes different from those of the others.
    key: u64,
    written: u64,
    read: u64,
}

impl Client {
    fn connect(address: SocketAddr, key: u64) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        Self {
            stream,
            key,
            written: 0,
            read: 0,
        }
    }

    fn bytes(&self, from: u64, count: u64) -> Vec<u8> {
        let byte = |offset: u64| (self.key ^ offset).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[0];
        (from..from + count).map(byte).collect()
    }

    fn write(&mut self, count: usize) {
        const OWED_MAX_BYTES: u64 = 200_000; // what always fits into the buffers on the way, so that no write blocks
        let count = (count as u64).min(OWED_MAX_BYTES.saturating_sub(self.written - self.read));
        self.stream.write_all(&self.bytes(self.written, count)).unwrap();
        self.written += count;
    }

    fn read(&mut self, count: usize) {
        let count = (count as u64).min(self.written - self.read);
        let mut echo = vec![0; usize::try_from(count).unwrap()];
        self.stream.read_exact(&mut echo).unwrap();
        assert_eq!(echo, self.bytes(self.read, count), "client {}", self.key);
        self.read += count;
    }

    /// Says FIN and expects all that is owed, then the server's FIN.
    fn half_close(mut self) -> u64 {
        self.stream.shutdown(Shutdown::Write).unwrap();
        self.read(usize::MAX);
        assert_eq!(self.stream.read(&mut [0]).unwrap(), 0, "client {}", self.key);
        self.written
    }
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}
