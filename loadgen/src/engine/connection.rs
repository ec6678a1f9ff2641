//! One connection as a state machine: bytes and times in, actions out. Knows no socket and no clock.
//!
//! A message is planned, its bytes leave (maybe in pieces), its echo comes back (maybe in pieces) and is compared byte
//! for byte. Messages of one connection are answered in order, so the oldest outstanding one owns the next byte.

use crate::recorder::Sent;
use crate::workload::payload::{Source, Span, Stream};
use std::collections::VecDeque;

/// A silence of this length between two bytes of one reply, in nanoseconds, is what an acknowledgement that is delayed costs: 40 ms
/// (TCP_DELACK_MIN), rounded up to a tick of the kernel's clock, which is up to 10 ms long.
const DELAYED_ACK_NS: std::ops::Range<u64> = 38_000_000..52_000_000;

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
    /// When bytes came last.
    received_ns: u64,
    /// Messages taken on in all.
    taken: u64,
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
            received_ns: 0,
            taken: 0,
            outstanding: VecDeque::with_capacity(pipeline),
        }
    }

    /// Begins a new stream. Outstanding messages must have been taken out with [`Self::abandon`].
    pub(crate) fn restart(&mut self, stream: Stream) {
        debug_assert!(self.outstanding.is_empty());
        (self.stream, self.sent, self.planned) = (stream, 0, 0);
        (self.received, self.reply_begins) = (0, 0);
        (self.received_ns, self.taken) = (0, 0);
    }

    /// Takes on one more message of `bytes` bytes.
    #[inline]
    pub(crate) fn plan(&mut self, times: Sent, bytes: u64) {
        self.planned += bytes;
        self.taken += 1;
        self.outstanding.push_back(Message {
            times,
            end: self.planned,
        });
    }

    /// The next bytes to send; empty when all planned bytes have left.
    #[inline]
    pub(crate) fn to_send<'s>(&self, source: &'s mut Source<'_>) -> &'s [u8] {
        let left = usize::try_from(self.planned - self.sent).unwrap_or(usize::MAX);
        source.slice(self.stream, self.sent, left, |offset| self.message_at(offset))
    }

    /// The outstanding message that has this byte.
    fn message_at(&self, offset: u64) -> Span {
        let place = self.outstanding.partition_point(|message| message.end <= offset);
        let before = place.checked_sub(1).map(|before| self.outstanding[before].end);
        Span {
            begin: before.unwrap_or(self.reply_begins),
            end: self.outstanding[place].end,
        }
    }

    /// Notes that `bytes` of them have left.
    #[inline]
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// Compares what came back at `now_ns`, and calls `answered` for each message whose last byte is there. Returns whether the
    /// reply that was begun before has halted for as long as an acknowledgement is delayed.
    ///
    /// # Errors
    /// The first byte that is not the one sent at its place, or that was never sent.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        mut bytes: &[u8],
        source: &mut Source<'_>,
        now_ns: u64,
        mut answered: impl FnMut(Sent),
    ) -> Result<bool, Mismatch> {
        let has_halted = self.is_within_reply() && DELAYED_ACK_NS.contains(&(now_ns - self.received_ns));
        self.received_ns = now_ns;
        if bytes.len() as u64 > self.sent - self.received {
            return Err(self.mismatch(bytes, source));
        }
        while !bytes.is_empty() {
            let expected = source.slice(self.stream, self.received, bytes.len(), |offset| {
                self.message_at(offset)
            });
            let length = expected.len();
            if bytes[..length] != *expected {
                return Err(self.mismatch(bytes, source));
            }
            self.received += length as u64;
            bytes = &bytes[length..];
        }
        while let Some(message) = self.outstanding.front().copied()
            && message.end <= self.received
        {
            self.outstanding.pop_front();
            self.reply_begins = message.end;
            answered(message.times);
        }
        Ok(has_halted)
    }

    /// Finds the first wrong byte in `bytes`, which start at the next expected one.
    #[cold]
    fn mismatch(&self, bytes: &[u8], source: &mut Source<'_>) -> Mismatch {
        let sent = usize::try_from(self.sent - self.received)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let mut expected = |from: usize, len: usize| {
            let offset = self.received + from as u64;
            source
                .slice(self.stream, offset, len, |offset| self.message_at(offset))
                .to_vec()
        };
        let mut good = 0;
        while good < sent {
            let part = expected(good, sent - good);
            let same = part.iter().zip(&bytes[good..]).take_while(|(a, b)| a == b).count();
            good += same;
            if same < part.len() {
                break;
            }
        }
        let shown = 8.min(bytes.len() - good);
        Mismatch {
            offset: self.received + good as u64,
            expected: expected(good, 8.min(sent - good)),
            got: bytes[good..good + shown].to_vec(),
        }
    }

    /// Messages taken on since the connection was opened.
    #[inline]
    pub(crate) fn taken(&self) -> u64 {
        self.taken
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
    use crate::workload::payload::Payload;

    fn connection_of(payload: &Payload) -> (Connection, Source<'_>) {
        let mut connection = Connection::new(4);
        connection.restart(payload.stream(3, 0));
        (connection, Source::new(payload))
    }

    fn binary() -> Payload {
        Payload::new(1)
    }

    fn at(ns: u64) -> Sent {
        Sent {
            planned_ns: ns,
            sent_ns: ns,
        }
    }

    /// Sends all planned bytes and returns them.
    fn send_all(connection: &mut Connection, source: &mut Source<'_>) -> Vec<u8> {
        let mut wire = Vec::new();
        while !connection.to_send(source).is_empty() {
            let piece = connection.to_send(source).to_vec();
            connection.sent(piece.len());
            wire.extend(piece);
        }
        wire
    }

    #[test]
    fn a_message_is_answered_by_its_last_byte_at_any_split() {
        for split in 1..=64 {
            let payload = binary();
            let (mut connection, mut source) = connection_of(&payload);
            connection.plan(at(5), 64);
            let wire = send_all(&mut connection, &mut source);
            let mut answered = Vec::new();
            for piece in wire.chunks(split) {
                assert!(answered.is_empty());
                connection
                    .receive(piece, &mut source, 1, |message| answered.push(message.planned_ns))
                    .unwrap();
            }
            assert_eq!((answered, connection.in_flight()), (vec![5], 0));
        }
    }

    #[test]
    fn one_read_can_answer_several_messages_of_a_pipeline() {
        let payload = binary();
        let (mut connection, mut source) = connection_of(&payload);
        (1..=3).for_each(|planned| connection.plan(at(planned), 10));
        let wire = send_all(&mut connection, &mut source);
        let mut answered = Vec::new();
        connection
            .receive(&wire[..25], &mut source, 1, |message| answered.push(message.planned_ns))
            .unwrap();
        assert_eq!(
            (answered, connection.in_flight(), connection.oldest_sent_ns()),
            (vec![1, 2], 1, Some(3))
        );
    }

    #[test]
    fn a_changed_byte_is_found_at_its_offset() {
        let payload = binary();
        let (mut connection, mut source) = connection_of(&payload);
        connection.plan(at(0), 100);
        let mut wire = send_all(&mut connection, &mut source);
        wire[42] ^= 1;
        let mismatch = connection
            .receive(&wire, &mut source, 1, |_| panic!("answered"))
            .unwrap_err();
        assert_eq!(
            (mismatch.offset, mismatch.expected.len(), mismatch.got.len()),
            (42, 8, 8)
        );
        assert_eq!(mismatch.expected[1..], mismatch.got[1..]);
        assert_eq!(mismatch.expected[0], mismatch.got[0] ^ 1);
    }

    #[test]
    fn a_byte_that_was_never_sent_is_a_mismatch() {
        let payload = binary();
        let (mut connection, mut source) = connection_of(&payload);
        connection.plan(at(0), 10);
        let mut wire = send_all(&mut connection, &mut source);
        wire.push(0);
        let mismatch = connection.receive(&wire, &mut source, 1, |_| {}).unwrap_err();
        assert_eq!(
            (mismatch.offset, mismatch.expected, mismatch.got),
            (10, vec![], vec![0])
        );
    }

    #[test]
    fn the_echo_of_another_client_does_not_pass() {
        let payload = binary();
        let (mut connection, mut source) = connection_of(&payload);
        connection.plan(at(0), 64);
        send_all(&mut connection, &mut source);
        let foreign = payload.slice(payload.stream(4, 0), 0, 64);
        assert!(connection.receive(foreign, &mut source, 1, |_| {}).is_err());
    }

    #[test]
    fn a_message_longer_than_the_table_goes_out_and_comes_back_in_pieces() {
        let payload = binary();
        let (mut connection, mut source) = connection_of(&payload);
        connection.plan(at(9), 1_000_000);
        let wire = send_all(&mut connection, &mut source);
        assert_eq!(wire.len(), 1_000_000);
        let mut answered = 0;
        for piece in wire.chunks(200_000) {
            connection.receive(piece, &mut source, 1, |_| answered += 1).unwrap();
        }
        assert_eq!(answered, 1);
    }

    #[test]
    fn a_restarted_connection_expects_its_new_stream_from_the_start() {
        let payload = binary();
        let (mut connection, mut source) = connection_of(&payload);
        connection.plan(at(0), 10);
        send_all(&mut connection, &mut source);
        assert!(connection.abandon().is_some());
        connection.restart(payload.stream(3, 1));
        connection.plan(at(1), 10);
        let wire = send_all(&mut connection, &mut source);
        assert_eq!(wire, payload.slice(payload.stream(3, 1), 0, 10));
        connection.receive(&wire, &mut source, 1, |_| {}).unwrap();
    }

    #[test]
    fn lines_come_back_line_by_line_and_a_wrong_letter_is_found() {
        let payload = Payload::lines(1);
        let (mut connection, mut source) = connection_of(&payload);
        (1..=3).for_each(|planned| connection.plan(at(planned), 40 + planned));
        let wire = send_all(&mut connection, &mut source);
        let text = String::from_utf8(wire.clone()).unwrap();
        let begins: Vec<_> = text
            .lines()
            .map(|line| (line.len(), line.split(' ').next().unwrap()))
            .collect();
        assert_eq!(begins, [(40, "3.0@0"), (41, "3.0@41"), (42, "3.0@83")]);
        let mut answered = 0;
        connection
            .receive(&wire[..50], &mut source, 1, |_| answered += 1)
            .unwrap();
        connection
            .receive(&wire[50..90], &mut source, 2, |_| answered += 1)
            .unwrap();
        assert_eq!(answered, 2);
        let mut wrong = wire[90..].to_vec();
        wrong[30] ^= 1;
        assert_eq!(
            connection.receive(&wrong, &mut source, 3, |_| {}).unwrap_err().offset,
            120
        );
    }

    #[test]
    fn a_reply_that_halts_for_40_ms_is_told_from_one_that_comes_late() {
        const MS: u64 = 1_000_000;
        let payload = binary();
        let (mut connection, mut source) = connection_of(&payload);
        let mut halts = |begins_ms: u64, goes_on_ms: u64| {
            connection.plan(at(begins_ms * MS), 64);
            let wire = send_all(&mut connection, &mut source);
            let first = connection
                .receive(&wire[..1], &mut source, begins_ms * MS, |_| {})
                .unwrap();
            let rest = connection
                .receive(&wire[1..], &mut source, goes_on_ms * MS, |_| {})
                .unwrap();
            (first, rest)
        };
        // All 40 ms after the one before: only silence within a reply counts.
        assert_eq!(halts(1, 2), (false, false));
        assert_eq!(halts(42, 86), (false, true));
        assert_eq!(halts(126, 186), (false, false));
    }
}
