//! The bytes that clients send and expect back.
//!
//! Every connection sends its own stream of bytes: one pseudo-random table, read from a place that depends on the
//! connection and on the offset in its stream. A lost, doubled, changed or foreign byte shows at its offset, and
//! neither sending nor checking copies or generates anything.

use echo_contract::splitmix;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The stream of a connection repeats after this many bytes. A prime, so that no message length divides it and each
/// message of a stream differs from the one before; 64 KiB, so that the table stays in a core's second-level cache.
const PERIOD: u64 = 65_521;

/// Longest slice that [`Payload::slice`] hands out.
pub const CHUNK: usize = 65_536;

/// The table of payload bytes. Two payloads of the same seed are equal.
pub struct Payload {
    table: Box<[u8]>,
}

/// Where in the table a connection's stream begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stream(u32);

impl Stream {
    /// The stream of a client's connection; `generation` counts the connections that this client has opened.
    /// All clients differ, up to [`PERIOD`] of them, and so do the generations of one client.
    #[must_use]
    pub fn of(client: u32, generation: u32) -> Self {
        let place = (u64::from(client) * 40_503 + u64::from(generation) * 2_654_435_761) % PERIOD;
        Self(u32::try_from(place).expect("PERIOD is below 2^32"))
    }
}

impl Payload {
    /// Makes the table.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let period = usize::try_from(PERIOD).expect("PERIOD is below 2^32");
        let mut table = vec![0; period + CHUNK].into_boxed_slice();
        ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut table[..period]);
        for at in period..table.len() {
            table[at] = table[at - period];
        }
        Self { table }
    }

    /// At most `len` bytes of the stream from `offset` on; never more than [`CHUNK`].
    #[inline]
    #[must_use]
    pub fn slice(&self, stream: Stream, offset: u64, len: usize) -> &[u8] {
        let from = ((u64::from(stream.0) + offset) % PERIOD) as usize;
        &self.table[from..from + len.min(CHUNK)]
    }
}

/// Message lengths: fixed, or drawn for each message between both ends.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    min: u64,
    span: u64,
    seed: u64,
}

impl Sizes {
    #[must_use]
    pub fn new(min_bytes: u64, max_bytes: u64, seed: u64) -> Self {
        Self {
            min: min_bytes,
            span: max_bytes - min_bytes + 1,
            seed,
        }
    }

    /// Length of a client's message number `index`. Depends on nothing else, so a run repeats exactly.
    #[inline]
    #[must_use]
    pub fn of(&self, client: u32, index: u64) -> u64 {
        if self.span == 1 {
            return self.min;
        }
        self.min + splitmix::mix(self.seed ^ (u64::from(client) << 40) ^ index) % self.span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_lengths_for_ever() {
        let sizes = Sizes::new(64, 1024, 7);
        let drawn = [(0, 0), (0, 1), (3, 0), (3, 99)].map(|(client, index)| sizes.of(client, index));
        assert_eq!(drawn, [154, 772, 896, 248]);
    }

    #[test]
    fn slices_of_a_stream_join_without_a_seam() {
        let payload = Payload::new(7);
        let stream = Stream::of(3, 0);
        let whole: Vec<u8> = (0..200_000).map(|offset| payload.slice(stream, offset, 1)[0]).collect();
        let mut joined = Vec::new();
        while joined.len() < whole.len() {
            let want = (joined.len() % 7919 + 1).min(whole.len() - joined.len());
            joined.extend_from_slice(payload.slice(stream, joined.len() as u64, want));
        }
        assert!(joined == whole);
    }

    #[test]
    fn no_two_of_18000_clients_share_a_stream() {
        let mut places: Vec<_> = (0..18_000).map(|client| Stream::of(client, 0).0).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 18_000);
    }

    #[test]
    fn a_reopened_connection_has_a_stream_of_its_own() {
        assert_ne!(Stream::of(5, 0), Stream::of(5, 1));
    }

    #[test]
    fn a_byte_shifted_by_one_does_not_pass() {
        let payload = Payload::new(7);
        let stream = Stream::of(0, 0);
        assert_ne!(payload.slice(stream, 0, 64), payload.slice(stream, 1, 64));
    }

    #[test]
    fn drawn_sizes_stay_between_both_ends_and_reach_them() {
        let sizes = Sizes::new(64, 66, 1);
        let drawn: std::collections::BTreeSet<_> = (0..1000).map(|index| sizes.of(9, index)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [64, 65, 66]);
    }
}
