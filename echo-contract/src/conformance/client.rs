//! A client that knows each byte it has sent and checks each byte it gets.

use super::fault::{Deadline, Fault, LOOK_AGAIN, ensure, failed};
use super::payload::{Dice, Payload, hex};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One connection to the server under test.
pub(super) struct Client {
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
}

/// The half that writes.
pub(super) struct Sender {
    stream: Arc<TcpStream>,
    number: u64,
    payload: Payload,
    pub(super) sent: u64,
    /// A send failed because the server had reset the connection. (After the server's FIN it fails in another way.)
    pub(super) was_reset: bool,
    patience: Duration,
}

/// The half that reads and compares.
pub(super) struct Receiver {
    stream: Arc<TcpStream>,
    number: u64,
    payload: Payload,
    pub(super) received: u64,
    patience: Duration,
}

/// What a look at a connection without waiting showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Nothing,
    Bytes,
    Fin,
}

/// Bytes moved by one call at most.
const CHUNK_BYTES: usize = 64 * 1024;

impl Client {
    /// Connects; the payload of the connection is that of its `number`.
    pub(super) fn connect(address: SocketAddr, number: u64, patience: Duration) -> Result<Self, Fault> {
        let stream = TcpStream::connect_timeout(&address, patience)
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|error| failed(format!("connection {number}: connecting to {address}: {error}")))?;
        let stream = Arc::new(stream);
        Ok(Self {
            sender: Sender {
                stream: Arc::clone(&stream),
                number,
                payload: Payload::of(number),
                sent: 0,
                was_reset: false,
                patience,
            },
            receiver: Receiver {
                stream,
                number,
                payload: Payload::of(number),
                received: 0,
                patience,
            },
        })
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.sender.stream
    }

    /// How long this client waits for anything.
    pub(super) fn patience(&self) -> Duration {
        self.sender.patience
    }

    /// Sends `length` bytes and then waits for all of them; for what fits the kernel's buffers.
    pub(super) fn ping(&mut self, length: usize) -> Result<(), Fault> {
        self.sender.send(length)?;
        self.receiver.expect(length as u64)
    }

    /// Sends and reads `length` bytes at the same time, cut as the dice say: write calls of 1 B to `cut` bytes.
    pub(super) fn stream_through(&mut self, length: usize, cut: usize) -> Result<(), Fault> {
        self.duplex(
            |sender| sender.send_in_pieces(length, cut),
            |receiver| receiver.expect(length as u64),
        )
    }

    /// Sends `length` bytes and the FIN from one thread while another reads to the server's FIN.
    pub(super) fn stream_through_and_finish(&mut self, length: usize) -> Result<(), Fault> {
        let total = self.sender.sent + length as u64;
        self.duplex(
            |sender| sender.send(length).and_then(|()| sender.say_fin()),
            |receiver| receiver.expect_rest_and_fin(total),
        )
    }

    fn duplex(
        &mut self,
        write: impl FnOnce(&mut Sender) -> Result<(), Fault> + Send,
        read: impl FnOnce(&mut Receiver) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let Self { sender, receiver } = self;
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| write(sender));
            let read = read(receiver);
            if read.is_err() {
                // Frees the writer; a connection with a fault is of no more use.
                let _ = receiver.stream.shutdown(Shutdown::Both);
            }
            let written = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match (read, written) {
                // The kernel tells a reset once, so the reader may have seen a mere end where the writer saw a reset.
                (Err(Fault::Failed(seen)), Err(Fault::Failed(cause))) => Err(failed(format!("{seen}; {cause}"))),
                (read, written) => read.and(written),
            }
        })
    }

    /// Says FIN, then expects all that is owed, the server's FIN and no reset.
    pub(super) fn finish(&mut self) -> Result<(), Fault> {
        self.sender.say_fin()?;
        self.receiver.expect_rest_and_fin(self.sender.sent)
    }

    /// Ends the connection with a reset: the kernel sends one when a socket with unread bytes is closed.
    /// (SO_LINGER, the usual way, is not in std.)
    pub(super) fn reset(mut self) -> Result<(), Fault> {
        self.sender.send(64)?;
        self.receiver.wait_for_unread_byte()
    }

    /// Before [`Sender::push`] and [`Receiver::look`], which never wait.
    pub(super) fn set_nonblocking(&self, nonblocking: bool) -> Result<(), Fault> {
        self.stream()
            .set_nonblocking(nonblocking)
            .map_err(|error| Fault::NotChecked(format!("cannot change the blocking mode of a socket: {error}")))
    }
}

impl Sender {
    /// Sends the next `length` bytes.
    pub(super) fn send(&mut self, length: usize) -> Result<(), Fault> {
        self.send_in_pieces(length, CHUNK_BYTES)
    }

    /// Sends the next `length` bytes by one call of `write`, which must take all of them.
    pub(super) fn send_by(
        &mut self,
        length: usize,
        write: impl FnOnce(&TcpStream, &[u8]) -> Result<io::Result<usize>, Fault>,
    ) -> Result<(), Fault> {
        let goal = self.sent + length as u64;
        let mut bytes = vec![0; length];
        self.payload.fill(self.sent, &mut bytes);
        match write(&self.stream, &bytes)? {
            Ok(written) => self.sent += written as u64,
            Err(error) => return Err(failed(self.send_failure(goal, &error))),
        }
        ensure(self.sent == goal, || {
            format!(
                "connection {}: {} of {goal} B were sent at once",
                self.number, self.sent
            )
        })
    }

    fn send_in_pieces(&mut self, length: usize, cut: usize) -> Result<(), Fault> {
        let deadline = Deadline::after(self.patience);
        let goal = self.sent + length as u64;
        let mut dice = Dice::new(self.sent ^ cut as u64);
        let mut buffer = vec![0; CHUNK_BYTES];
        while self.sent < goal {
            let left = usize::try_from(goal - self.sent).unwrap_or(usize::MAX);
            let piece = if cut == CHUNK_BYTES {
                cut
            } else {
                skewed(&mut dice, cut)
            }
            .min(left);
            self.payload.fill(self.sent, &mut buffer[..piece]);
            let timeout = deadline.remaining();
            let outcome = match timeout {
                Some(_) => self
                    .stream
                    .set_write_timeout(timeout)
                    .and_then(|()| (&*self.stream).write(&buffer[..piece])),
                None => Err(ErrorKind::WouldBlock.into()),
            };
            match outcome {
                Ok(written) => self.sent += written as u64,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.was_reset = error.kind() == ErrorKind::ConnectionReset;
                    return Err(failed(self.send_failure(goal, &error)));
                }
            }
        }
        Ok(())
    }

    /// Sends what the connection takes without waiting, up to `length` bytes in all; whether it took any.
    pub(super) fn push(&mut self, length: u64) -> Result<bool, Fault> {
        let before = self.sent;
        let mut buffer = vec![0; CHUNK_BYTES];
        while self.sent < length {
            let piece = CHUNK_BYTES.min(usize::try_from(length - self.sent).unwrap_or(CHUNK_BYTES));
            self.payload.fill(self.sent, &mut buffer[..piece]);
            match (&*self.stream).write(&buffer[..piece]) {
                Ok(written) => self.sent += written as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(self.send_failure(length, &error))),
            }
        }
        Ok(self.sent > before)
    }

    /// The client's FIN.
    pub(super) fn say_fin(&self) -> Result<(), Fault> {
        self.stream.shutdown(Shutdown::Write).map_err(|error| {
            failed(format!(
                "connection {}: the connection ended early: {error}",
                self.number
            ))
        })
    }

    /// What ends the sending from another thread.
    pub(super) fn closer(&self) -> Closer {
        Closer(Arc::clone(&self.stream))
    }

    fn send_failure(&self, goal: u64, error: &io::Error) -> String {
        if is_timeout(error) {
            format!(
                "connection {}: the server took {} of {goal} B and no more for {:?}",
                self.number, self.sent, self.patience
            )
        } else {
            format!(
                "connection {}: sending failed at offset {} of {goal}: {error}",
                self.number, self.sent
            )
        }
    }
}

/// Ends the sending of a connection, also while the sender waits for room.
pub(super) struct Closer(Arc<TcpStream>);

impl Closer {
    /// The client's FIN, unless the connection is gone already.
    pub(super) fn say_fin(&self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }
}

impl Receiver {
    /// Waits for the next `length` bytes and compares each.
    pub(super) fn expect(&mut self, length: u64) -> Result<(), Fault> {
        let goal = self.received + length;
        let deadline = Deadline::after(self.patience);
        let mut dice = Dice::new(goal);
        let mut buffer = vec![0; CHUNK_BYTES];
        while self.received < goal {
            let left = usize::try_from(goal - self.received).unwrap_or(CHUNK_BYTES);
            let most = skewed(&mut dice, CHUNK_BYTES).max(1024).min(left);
            if self.read(&mut buffer[..most], deadline, Some(goal))? == 0 {
                return Err(failed(format!(
                    "connection {}: FIN after {}",
                    self.number,
                    self.progress(Some(goal))
                )));
            }
        }
        Ok(())
    }

    /// Expects what is left of `total` bytes, then FIN, and no reset.
    pub(super) fn expect_rest_and_fin(&mut self, total: u64) -> Result<(), Fault> {
        self.read_to_fin(Some(total))?;
        ensure(self.received == total, || {
            format!("connection {}: FIN after {}", self.number, self.progress(Some(total)))
        })?;
        self.expect_no_reset()
    }

    /// Reads to the server's FIN, comparing each byte; at most `total` may come if that is known.
    pub(super) fn read_to_fin(&mut self, total: Option<u64>) -> Result<(), Fault> {
        let deadline = Deadline::after(self.patience);
        let mut buffer = vec![0; CHUNK_BYTES];
        while self.read(&mut buffer, deadline, total)? > 0 {}
        Ok(())
    }

    /// After FIN: nothing has reset the connection up to now.
    pub(super) fn expect_no_reset(&self) -> Result<(), Fault> {
        match self.stream.take_error() {
            Ok(None) => Ok(()),
            Ok(Some(error)) | Err(error) => Err(failed(format!(
                "connection {}: reset after the server's FIN: {error}",
                self.number
            ))),
        }
    }

    /// Reads what is there without waiting (the stream must not block), comparing each byte.
    pub(super) fn look(&mut self) -> Result<Look, Fault> {
        let mut buffer = vec![0; CHUNK_BYTES];
        match (&*self.stream).read(&mut buffer) {
            Ok(0) => Ok(Look::Fin),
            Ok(length) => self.compare(&buffer[..length]).map(|()| Look::Bytes),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(Look::Nothing),
            Err(error) => Err(failed(format!(
                "connection {}: reading failed after {} B: {error}",
                self.number, self.received
            ))),
        }
    }

    /// Checks that for `quiet` nothing comes, no byte, no FIN, no reset.
    pub(super) fn expect_silence(&mut self, quiet: Duration) -> Result<(), Fault> {
        let mut byte = [0];
        let outcome = self
            .stream
            .set_read_timeout(Some(quiet))
            .and_then(|()| self.stream.peek(&mut byte));
        let seen = match outcome {
            Ok(0) => "FIN".into(),
            Ok(_) => "a byte".into(),
            Err(error) if is_timeout(&error) => return Ok(()),
            Err(error) => error.to_string(),
        };
        Err(failed(format!(
            "connection {}: expected nothing from the server, got {seen} after {} B",
            self.number, self.received
        )))
    }

    /// Expects no more bytes than are on their way, then FIN or reset.
    pub(super) fn expect_end_of_any_kind(&mut self) -> Result<(), Fault> {
        match self.stream.set_read_timeout(Some(self.patience)).and_then(|()| {
            let mut stream = &*self.stream;
            io::copy(&mut stream, &mut io::sink())
        }) {
            Err(error) if is_timeout(&error) => Err(failed(format!(
                "connection {}: still open after {:?}",
                self.number, self.patience
            ))),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn wait_for_unread_byte(&self) -> Result<(), Fault> {
        let seen = self
            .stream
            .set_read_timeout(Some(self.patience))
            .and_then(|()| self.stream.peek(&mut [0]));
        match seen {
            Ok(1) => Ok(()),
            Ok(_) => Err(failed(format!("connection {}: FIN instead of an echo", self.number))),
            Err(error) if is_timeout(&error) => Err(failed(format!(
                "connection {}: no echo within {:?}",
                self.number, self.patience
            ))),
            Err(error) => Err(failed(format!("connection {}: no echo, but: {error}", self.number))),
        }
    }

    /// One read with a deadline, compared; 0 is the server's FIN. More than `goal` bytes in all are a fault.
    fn read(&mut self, buffer: &mut [u8], deadline: Deadline, goal: Option<u64>) -> Result<usize, Fault> {
        let length = loop {
            let timeout = deadline.remaining();
            let outcome = match timeout {
                Some(_) => self
                    .stream
                    .set_read_timeout(timeout)
                    .and_then(|()| (&*self.stream).read(buffer)),
                None => Err(ErrorKind::WouldBlock.into()),
            };
            match outcome {
                Ok(length) => break length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(self.read_failure(goal, &error))),
            }
        };
        let owed = goal.map_or(u64::MAX, |goal| goal - self.received);
        let right = length.min(usize::try_from(owed).unwrap_or(usize::MAX));
        self.compare(&buffer[..right])?;
        ensure(right == length, || {
            format!(
                "connection {}: {} came back, then {} B more than expected: {}",
                self.number,
                self.progress(goal),
                length - right,
                hex(&buffer[right..length])
            )
        })?;
        Ok(length)
    }

    fn read_failure(&self, goal: Option<u64>, error: &io::Error) -> String {
        let (number, progress) = (self.number, self.progress(goal));
        if is_timeout(error) {
            let missing = if goal.is_some_and(|goal| self.received < goal) {
                "no more"
            } else {
                "no FIN"
            };
            format!(
                "connection {number}: {progress} came back and {missing} within {:?}",
                self.patience
            )
        } else {
            format!("connection {number}: {progress} came back, then: {error}")
        }
    }

    fn progress(&self, goal: Option<u64>) -> String {
        match goal {
            Some(goal) if goal > 0 => format!("{} of {goal} B", self.received),
            _ => format!("{} B", self.received),
        }
    }

    fn compare(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match self.payload.mismatch(self.received, bytes) {
            Some(text) => Err(failed(text)),
            None => {
                self.received += bytes.len() as u64;
                Ok(())
            }
        }
    }
}

/// Pushes bytes into all clients, never reading, until each took `length` or none takes any for `quiet`; false when
/// `limit` ran out first.
pub(super) fn push_all(clients: &mut [Client], length: u64, quiet: Duration, limit: Duration) -> Result<bool, Fault> {
    for client in clients.iter() {
        client.set_nonblocking(true)?;
    }
    let deadline = Deadline::after(limit);
    let mut last_progress = Instant::now();
    let settled = loop {
        let (mut moved, mut full) = (false, true);
        for client in clients.iter_mut() {
            moved |= client.sender.push(length)?;
            full &= client.sender.sent >= length;
        }
        if moved {
            last_progress = Instant::now();
        }
        if full || last_progress.elapsed() >= quiet {
            break true;
        }
        if deadline.remaining().is_none() {
            break false;
        }
        std::thread::sleep(LOOK_AGAIN);
    };
    for client in clients.iter() {
        client.set_nonblocking(false)?;
    }
    Ok(settled)
}

/// A size from 1 to `most` where each power of two is as likely as the next, so that small ones are frequent.
fn skewed(dice: &mut Dice, most: usize) -> usize {
    let doublings = usize::try_from(most.ilog2()).unwrap_or(0);
    let top = 1_usize << dice.between(0, doublings);
    dice.between(1, top)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
