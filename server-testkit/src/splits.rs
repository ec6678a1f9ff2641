//! A property of every server: whatever the writes are cut into, and however the client reads, it gets its own bytes.

use super::{RunningServer, ServerBinary};
use echo_contract::conformance::Launch;
use proptest::prelude::{BoxedStrategy, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

/// Connections per server; each is a case of its own.
const CASES: u32 = 64;
const BUFFER_BYTES: usize = 16 << 10;
/// How long a client waits for a byte before the server counts as hung.
const PATIENCE: Duration = Duration::from_secs(20);

/// Starts the server and sends it payloads that are cut at random, above all near the edges of its buffer. What fails is
/// made smaller before it is told.
///
/// # Panics
/// When the server does not start, an echo differs from what was sent, or something else than a FIN follows it.
pub fn payloads_come_back_however_they_are_cut(binary: &ServerBinary) {
    let mut server = binary.start(&Launch::default()).expect("the server starts");
    let config = Config {
        cases: CASES,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&dialogues(), |dialogue| {
        dialogue
            .hold(server.address())
            .map_err(|error| TestCaseError::fail(format!("{error}")))
    });
    if let Err(failure) = outcome {
        panic!("{binary:?}: {failure}");
    }
    ends_with_all_echoed(&mut server);
}

/// What one client does.
#[derive(Clone, Debug)]
struct Dialogue {
    /// Bytes of each write.
    writes: Vec<usize>,
    /// Most bytes of each read; begun again when all are used.
    reads: Vec<usize>,
    /// Whether each write waits for its echo, else the reading goes on beside the writing.
    takes_turns: bool,
    first_byte: u8,
}

fn dialogues() -> impl Strategy<Value = Dialogue> {
    let writes = proptest::collection::vec(length(3 * BUFFER_BYTES), 0..24);
    let reads = proptest::collection::vec(length(2 * BUFFER_BYTES), 1..8);
    (writes, reads, any::<bool>(), any::<u8>()).prop_map(|(writes, reads, takes_turns, first_byte)| Dialogue {
        writes,
        reads,
        takes_turns,
        first_byte,
    })
}

/// A length from 1 to `most`: a few bytes, one that fills a buffer up to a byte more or less, or any.
fn length(most: usize) -> BoxedStrategy<usize> {
    prop_oneof![1..=8_usize, BUFFER_BYTES - 1..=BUFFER_BYTES + 1, 1..=most].boxed()
}

impl Dialogue {
    fn hold(&self, address: SocketAddr) -> io::Result<()> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut reading = Reading {
            stream: &stream,
            sizes: &self.reads,
            reads: 0,
            received: Vec::new(),
        };
        let sent = self.payload();
        if self.takes_turns {
            let mut written = 0;
            for length in &self.writes {
                (&stream).write_all(&sent[written..written + length])?;
                written += length;
                reading.read_up_to(written)?;
            }
            stream.shutdown(Shutdown::Write)?;
            reading.read_to_end()?;
        } else {
            thread::scope(|scope| {
                let writer = scope.spawn(|| self.write_in_pieces(&stream, &sent));
                reading.read_to_end()?;
                writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })?;
        }
        compare(&sent, &reading.received)
    }

    fn write_in_pieces(&self, mut stream: &TcpStream, sent: &[u8]) -> io::Result<()> {
        let mut rest = sent;
        for length in &self.writes {
            let (piece, after) = rest.split_at(*length);
            stream.write_all(piece)?;
            rest = after;
        }
        stream.shutdown(Shutdown::Write)
    }

    /// Bytes that repeat only after 251, which no buffer size divides.
    fn payload(&self) -> Vec<u8> {
        let bytes = (0..251_u8).cycle().map(|byte| byte.wrapping_add(self.first_byte));
        bytes.take(self.writes.iter().sum()).collect()
    }
}

/// The client's reading half.
struct Reading<'a> {
    stream: &'a TcpStream,
    sizes: &'a [usize],
    reads: usize,
    received: Vec<u8>,
}

impl Reading<'_> {
    /// Reads until `length` bytes have come in all; fewer only at the server's end of stream.
    fn read_up_to(&mut self, length: usize) -> io::Result<()> {
        while self.received.len() < length && self.read()? > 0 {}
        Ok(())
    }

    fn read_to_end(&mut self) -> io::Result<()> {
        while self.read()? > 0 {}
        Ok(())
    }

    fn read(&mut self) -> io::Result<usize> {
        let before = self.received.len();
        self.received
            .resize(before + self.sizes[self.reads % self.sizes.len()], 0);
        self.reads += 1;
        let bytes = self.stream.read(&mut self.received[before..])?;
        self.received.truncate(before + bytes);
        Ok(bytes)
    }
}

fn compare(sent: &[u8], received: &[u8]) -> io::Result<()> {
    let same = sent
        .iter()
        .zip(received)
        .take_while(|(left, right)| left == right)
        .count();
    if same == sent.len().max(received.len()) {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{} B sent, {} B came back, different from byte {same} on",
        sent.len(),
        received.len()
    )))
}

fn ends_with_all_echoed(server: &mut RunningServer) {
    let exit = server.stop(PATIENCE);
    let stats = exit.stats.unwrap_or_else(|| panic!("no STATS: {}", exit.stderr));
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    assert_eq!(stats.bytes_in, stats.bytes_out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_and_an_extra_byte_are_told_with_their_place() {
        assert!(compare(b"abc", b"abc").is_ok());
        for (received, place) in [(&b"ab"[..], "byte 2"), (b"abcd", "byte 3"), (b"axc", "byte 1")] {
            let text = compare(b"abc", received).unwrap_err().to_string();
            assert!(text.contains(place), "{text}");
        }
    }

    #[test]
    fn the_property_fails_for_a_server_that_loses_bytes_at_a_cut() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let dialogue = Dialogue {
            writes: vec![10, 20],
            reads: vec![7],
            takes_turns: false,
            first_byte: 3,
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut all = Vec::new();
                stream.read_to_end(&mut all).unwrap();
                all.remove(10);
                stream.write_all(&all).unwrap();
            });
            let text = dialogue.hold(address).unwrap_err().to_string();
            assert!(
                text.contains("30 B sent, 29 B came back, different from byte 10 on"),
                "{text}"
            );
        });
    }
}
