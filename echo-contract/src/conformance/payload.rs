//! The bytes a check sends: they depend on the connection and on the offset, so that a byte that is lost, doubled,
//! moved, or another client's is seen where it happens.

use crate::splitmix::{self, mix};
use std::fmt::Write as _;
use std::sync::OnceLock;

/// An endless stream of bytes that belongs to one connection.
///
/// Each block is a piece of one random table, and connection and block number say which. So a check spends its time
/// in `memcpy` and `memcmp`, in a build without optimisation too, and leaves the CPU to the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload {
    connection: u64,
}

const BLOCK_BYTES: usize = 4096;
const TABLE_BYTES: usize = 1 << 20;

impl Payload {
    pub(super) fn of(connection: u64) -> Self {
        Self { connection }
    }

    /// Fills `buffer` with the bytes from `offset` on.
    pub(super) fn fill(&self, offset: u64, buffer: &mut [u8]) {
        let mut filled = 0;
        while filled < buffer.len() {
            let position = offset + filled as u64;
            let block = self.block(position / BLOCK_BYTES as u64);
            let skip = usize::try_from(position % BLOCK_BYTES as u64).unwrap_or(0);
            let length = (BLOCK_BYTES - skip).min(buffer.len() - filled);
            buffer[filled..filled + length].copy_from_slice(&block[skip..skip + length]);
            filled += length;
        }
    }

    /// What is wrong with `received`, which should be the bytes from `offset` on; none when nothing is.
    pub(super) fn mismatch(&self, offset: u64, received: &[u8]) -> Option<String> {
        let mut expected = vec![0; received.len()];
        self.fill(offset, &mut expected);
        if expected == received {
            return None;
        }
        let at = expected.iter().zip(received).position(|(left, right)| left != right)?;
        let (offset, received) = (offset + at as u64, &received[at..]);
        let mut text = format!(
            "connection {}, offset {offset}: expected {}, got {}",
            self.connection,
            hex(&expected[at..]),
            hex(received)
        );
        if let Some(origin) = self.origin(offset, received) {
            let _ = write!(text, " ({origin})");
        }
        Some(text)
    }

    fn block(&self, number: u64) -> &'static [u8] {
        let mut dice = Dice::new(mix(self.connection) ^ number);
        let at = dice.between(0, TABLE_BYTES - BLOCK_BYTES);
        &table()[at..at + BLOCK_BYTES]
    }

    /// Where bytes that came at `offset` really belong, if they are part of a stream near by.
    fn origin(&self, offset: u64, received: &[u8]) -> Option<String> {
        const NEAR_BYTES: u64 = 128 * 1024;
        const NEAR_CONNECTIONS: u64 = 256;
        let sample = received.get(..8)?;
        let find = |payload: &Self, from: u64, length: u64| {
            let mut stream = vec![0; usize::try_from(length).unwrap_or(0)];
            payload.fill(from, &mut stream);
            stream
                .windows(8)
                .position(|window| window == sample)
                .map(|at| from + at as u64)
        };
        let from = offset.saturating_sub(NEAR_BYTES);
        if let Some(home) = find(self, from, offset - from + NEAR_BYTES) {
            return Some(if home > offset {
                format!("these belong to offset {home}: {} B are missing", home - offset)
            } else {
                format!(
                    "these belong to offset {home}: {} B came twice or are extra",
                    offset - home
                )
            });
        }
        let from = offset.saturating_sub(4096);
        (0..NEAR_CONNECTIONS)
            .filter(|&connection| connection != self.connection)
            .find_map(|connection| find(&Self::of(connection), from, 8192).map(|home| (connection, home)))
            .map(|(connection, home)| format!("these belong to connection {connection}, offset {home}"))
    }
}

fn table() -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    TABLE.get_or_init(|| {
        (0..TABLE_BYTES as u64 / 8)
            .flat_map(|word| splitmix::at(0, word).to_le_bytes())
            .collect()
    })
}

/// A small seeded generator for sizes; the checks need repeatable variety, not randomness.
#[derive(Clone, Debug)]
pub(super) struct Dice {
    seed: u64,
    thrown: u64,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed: mix(seed),
            thrown: 0,
        }
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: usize, high: usize) -> usize {
        self.thrown += 1;
        let span = (high - low) as u64 + 1;
        low + usize::try_from(splitmix::at(self.seed, self.thrown) % span).unwrap_or(0)
    }
}

/// The first bytes, for a reader's eye.
pub(super) fn hex(bytes: &[u8]) -> String {
    const SHOWN: usize = 8;
    let mut text: Vec<String> = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > SHOWN {
        text.push("..".into());
    }
    text.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(connection: u64, offset: u64, length: usize) -> Vec<u8> {
        let mut buffer = vec![0; length];
        Payload::of(connection).fill(offset, &mut buffer);
        buffer
    }

    #[test]
    fn dice_of_a_seed_fall_the_same_for_ever() {
        let mut dice = Dice::new(5);
        assert_eq!([0; 4].map(|low| dice.between(low, 1000)), [496, 736, 712, 551]);
    }

    #[test]
    fn a_stream_is_the_same_however_it_is_cut() {
        let whole = bytes(1, 0, 1000);
        for cut in [1, 7, 8, 9, 500, 999] {
            assert_eq!(whole[cut..], bytes(1, cut as u64, 1000 - cut));
        }
    }

    #[test]
    fn streams_of_two_connections_differ() {
        assert_ne!(bytes(1, 0, 64), bytes(2, 0, 64));
        assert_eq!(Payload::of(1).mismatch(0, &bytes(1, 0, 64)), None);
    }

    #[test]
    fn a_changed_byte_is_named_with_its_offset() {
        let mut received = bytes(3, 100, 64);
        received[5] ^= 0xFF;
        let text = Payload::of(3).mismatch(100, &received).unwrap();
        assert!(text.starts_with("connection 3, offset 105: expected "), "{text}");
        assert!(!text.contains("belong"), "{text}");
    }

    #[test]
    fn a_lost_a_doubled_and_a_foreign_byte_are_told_apart() {
        let lost = bytes(3, 101, 64);
        let text = Payload::of(3).mismatch(100, &lost).unwrap();
        assert!(text.contains("these belong to offset 101: 1 B are missing"), "{text}");

        let mut doubled = bytes(3, 100, 64);
        doubled.insert(11, doubled[10]);
        let text = Payload::of(3).mismatch(100, &doubled).unwrap();
        assert!(
            text.starts_with("connection 3, offset 111: ")
                && text.contains("these belong to offset 110: 1 B came twice or are extra"),
            "{text}"
        );

        let foreign = bytes(9, 100, 64);
        let text = Payload::of(3).mismatch(100, &foreign).unwrap();
        assert!(text.contains("these belong to connection 9, offset 100"), "{text}");
    }

    #[test]
    fn dice_stay_between_their_bounds_and_repeat_with_their_seed() {
        let throws = |seed| {
            let mut dice = Dice::new(seed);
            (0..1000).map(|_| dice.between(3, 9)).collect::<Vec<_>>()
        };
        let first = throws(1);
        assert!(first.iter().all(|throw| (3..=9).contains(throw)));
        assert!((3..=9).all(|value| first.contains(&value)));
        assert_eq!(first, throws(1));
        assert_ne!(first, throws(2));
    }
}
