//! One connection as a state machine: bytes and times in, actions out. Knows no socket and no clock.
//!
//! A message is planned, its bytes leave (maybe in pieces), its echo comes back (maybe in pieces) and is compared byte
//! for byte. Messages of one connection are answered in order, so the oldest outstanding one owns the next byte.

use crate::recorder::Sent;
use crate::workload::payload::{Payload, Stream};
use std::collections::VecDeque;

/// A message on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Message {
    times: Sent,
    /// Offset of the byte after its last one in the connection's stream.
    end: u64,
}

/// An echo that is not what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// Offset in the connection's stream.
    pub(crate) offset: u64,
    /// Up to eight bytes from there on.
    pub(crate) expected: Vec<u8>,
    pub(crate) got: Vec<u8>,
}

/// The bytes and messages of one connection, from connect to close.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    /// Offset of the next byte to send.
    sent: u64,
    /// Offset after the last planned byte.
    planned: u64,
    /// Offset of the next byte that must come back.
    received: u64,
    /// Where the reply to the oldest outstanding message begins.
    reply_begins: u64,
    /// Outstanding messages, oldest first. Allocated once for the pipeline's depth.
    outstanding: VecDeque<Message>,
}

impl Connection {
    /// A connection that can have `pipeline` messages outstanding without allocating.
    pub(crate) fn new(pipeline: usize) -> Self {
        Self {
            stream: Stream::default(),
            sent: 0,
            planned: 0,
            received: 0,
            reply_begins: 0,
            outstanding: VecDeque::with_capacity(pipeline),
        }
    }

    /// Begins a new stream. Outstanding messages must have been taken out with [`Self::abandon`].
    pub(crate) fn restart(&mut self, stream: Stream) {
        debug_assert!(self.outstanding.is_empty());
        (self.stream, self.sent, self.planned) = (stream, 0, 0);
        (self.received, self.reply_begins) = (0, 0);
    }

    /// Takes on one more message of `bytes` bytes.
    #[inline]
    pub(crate) fn plan(&mut self, times: Sent, bytes: u64) {
        self.planned += bytes;
        self.outstanding.push_back(Message {
            times,
            end: self.planned,
        });
    }

    /// The next bytes to send; empty when all planned bytes have left.
    #[inline]
    pub(crate) fn to_send<'p>(&self, payload: &'p Payload) -> &'p [u8] {
        payload.slice(
            self.stream,
            self.sent,
            usize::try_from(self.planned - self.sent).unwrap_or(usize::MAX),
        )
    }

    /// Notes that `bytes` of them have left.
    #[inline]
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// Compares what came back, and calls `answered` for each message whose last byte is there.
    ///
    /// # Errors
    /// The first byte that is not the one sent at its place, or that was never sent.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        mut bytes: &[u8],
        payload: &Payload,
        mut answered: impl FnMut(Sent),
    ) -> Result<(), Mismatch> {
        if bytes.len() as u64 > self.sent - self.received {
            return Err(self.mismatch(bytes, payload));
        }
        while !bytes.is_empty() {
            let expected = payload.slice(self.stream, self.received, bytes.len());
            if bytes[..expected.len()] != *expected {
                return Err(self.mismatch(bytes, payload));
            }
            self.received += expected.len() as u64;
            bytes = &bytes[expected.len()..];
        }
        while let Some(message) = self.outstanding.front().copied()
            && message.end <= self.received
        {
            self.outstanding.pop_front();
            self.reply_begins = message.end;
            answered(message.times);
        }
        Ok(())
    }

    /// Finds the first wrong byte in `bytes`, which start at the next expected one.
    #[cold]
    fn mismatch(&self, bytes: &[u8], payload: &Payload) -> Mismatch {
        let sent = usize::try_from(self.sent - self.received)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let mut good = 0;
        while good < sent && bytes[good] == payload.slice(self.stream, self.received + good as u64, 1)[0] {
            good += 1;
        }
        let shown = 8.min(bytes.len() - good);
        let offset = self.received + good as u64;
        let sent_there = 8.min(sent - good);
        Mismatch {
            offset,
            expected: payload.slice(self.stream, offset, sent_there).to_vec(),
            got: bytes[good..good + shown].to_vec(),
        }
    }

    /// Messages planned and not yet answered.
    #[inline]
    pub(crate) fn in_flight(&self) -> usize {
        self.outstanding.len()
    }

    /// When the oldest outstanding message left.
    pub(crate) fn oldest_sent_ns(&self) -> Option<u64> {
        self.outstanding.front().map(|message| message.times.sent_ns)
    }

    /// Whether some bytes of the reply to the oldest outstanding message are there, but not all.
    pub(crate) fn is_within_reply(&self) -> bool {
        self.received > self.reply_begins
    }

    /// Offset of the next byte that must come back.
    pub(crate) fn received_offset(&self) -> u64 {
        self.received
    }

    /// Gives up the oldest outstanding message.
    pub(crate) fn abandon(&mut self) -> Option<Sent> {
        self.outstanding.pop_front().map(|message| message.times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> (Connection, Payload) {
        let mut connection = Connection::new(4);
        connection.restart(Stream::of(3, 0));
        (connection, Payload::new(1))
    }

    fn at(ns: u64) -> Sent {
        Sent {
            planned_ns: ns,
            sent_ns: ns,
        }
    }

    /// Sends all planned bytes and returns them.
    fn send_all(connection: &mut Connection, payload: &Payload) -> Vec<u8> {
        let mut wire = Vec::new();
        while !connection.to_send(payload).is_empty() {
            let piece = connection.to_send(payload).to_vec();
            connection.sent(piece.len());
            wire.extend(piece);
        }
        wire
    }

    #[test]
    fn a_message_is_answered_by_its_last_byte_at_any_split() {
        for split in 1..=64 {
            let (mut connection, payload) = connection();
            connection.plan(at(5), 64);
            let wire = send_all(&mut connection, &payload);
            let mut answered = Vec::new();
            for piece in wire.chunks(split) {
                assert!(answered.is_empty());
                connection
                    .receive(piece, &payload, |message| answered.push(message.planned_ns))
                    .unwrap();
            }
            assert_eq!((answered, connection.in_flight()), (vec![5], 0));
        }
    }

    #[test]
    fn one_read_can_answer_several_messages_of_a_pipeline() {
        let (mut connection, payload) = connection();
        (1..=3).for_each(|planned| connection.plan(at(planned), 10));
        let wire = send_all(&mut connection, &payload);
        let mut answered = Vec::new();
        connection
            .receive(&wire[..25], &payload, |message| answered.push(message.planned_ns))
            .unwrap();
        assert_eq!(
            (answered, connection.in_flight(), connection.oldest_sent_ns()),
            (vec![1, 2], 1, Some(3))
        );
    }

    #[test]
    fn a_changed_byte_is_found_at_its_offset() {
        let (mut connection, payload) = connection();
        connection.plan(at(0), 100);
        let mut wire = send_all(&mut connection, &payload);
        wire[42] ^= 1;
        let mismatch = connection.receive(&wire, &payload, |_| panic!("answered")).unwrap_err();
        assert_eq!(
            (mismatch.offset, mismatch.expected.len(), mismatch.got.len()),
            (42, 8, 8)
        );
        assert_eq!(mismatch.expected[1..], mismatch.got[1..]);
        assert_eq!(mismatch.expected[0], mismatch.got[0] ^ 1);
    }

    #[test]
    fn a_byte_that_was_never_sent_is_a_mismatch() {
        let (mut connection, payload) = connection();
        connection.plan(at(0), 10);
        let mut wire = send_all(&mut connection, &payload);
        wire.push(0);
        let mismatch = connection.receive(&wire, &payload, |_| {}).unwrap_err();
        assert_eq!(
            (mismatch.offset, mismatch.expected, mismatch.got),
            (10, vec![], vec![0])
        );
    }

    #[test]
    fn the_echo_of_another_client_does_not_pass() {
        let (mut connection, payload) = connection();
        connection.plan(at(0), 64);
        send_all(&mut connection, &payload);
        let foreign = payload.slice(Stream::of(4, 0), 0, 64);
        assert!(connection.receive(foreign, &payload, |_| {}).is_err());
    }

    #[test]
    fn a_message_longer_than_the_table_goes_out_and_comes_back_in_pieces() {
        let (mut connection, payload) = connection();
        connection.plan(at(9), 1_000_000);
        let wire = send_all(&mut connection, &payload);
        assert_eq!(wire.len(), 1_000_000);
        let mut answered = 0;
        for piece in wire.chunks(200_000) {
            connection.receive(piece, &payload, |_| answered += 1).unwrap();
        }
        assert_eq!(answered, 1);
    }

    #[test]
    fn a_restarted_connection_expects_its_new_stream_from_the_start() {
        let (mut connection, payload) = connection();
        connection.plan(at(0), 10);
        send_all(&mut connection, &payload);
        assert!(connection.abandon().is_some());
        connection.restart(Stream::of(3, 1));
        connection.plan(at(1), 10);
        let wire = send_all(&mut connection, &payload);
        assert_eq!(wire, payload.slice(Stream::of(3, 1), 0, 10));
        connection.receive(&wire, &payload, |_| {}).unwrap();
    }
}
