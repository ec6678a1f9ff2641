//! The bytes that clients send and expect back.
//!
//! Every connection sends its own stream of bytes: one pseudo-random table, read from a place that depends on the
//! connection and on the offset in its stream. A lost, doubled, changed or foreign byte shows at its offset, and
//! neither sending nor checking copies or generates anything.
//!
//! Lines are the same with letters in the table, but each begins with its name, `CLIENT.CONNECTION@OFFSET`, and ends in a
//! newline: they are put together when they are sent, and again when they are compared. A file is a table of its own, from
//! whose beginning every message is read.

use crate::record;
use echo_contract::splitmix;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::io::Write as _;
use std::ops::Range;

/// The stream of a connection repeats after this many bytes. A prime, so that no message length divides it and each
/// message of a stream differs from the one before; 64 KiB, so that the table stays in a core's second-level cache.
const PERIOD: u64 = 65_521;

/// Longest slice that [`Payload::slice`] hands out.
pub const CHUNK: usize = 65_536;

/// What lines consist of, but for their names.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Longest name of a line: two numbers below 2^32, one below 2^64, and three signs.
const LONGEST_NAME: usize = 44;

/// The table of payload bytes. Two payloads of the same seed are equal.
pub struct Payload {
    table: Box<[u8]>,
    /// After so many bytes the table begins again.
    period: u64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Binary,
    Lines,
    File,
}

/// Which connection a stream belongs to, and where in the table it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    place: u32,
    client: u32,
    generation: u32,
}

/// Where a message lies in its stream: its first byte, and the one after its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub begin: u64,
    pub end: u64,
}

impl Payload {
    /// Random bytes.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::of_table(random(seed), Kind::Binary)
    }

    /// Lines of text.
    #[must_use]
    pub fn lines(seed: u64) -> Self {
        let mut table = random(seed);
        for byte in &mut table {
            *byte = LETTERS[usize::from(*byte) % LETTERS.len()];
        }
        Self::of_table(table, Kind::Lines)
    }

    /// The payload of a workload; `file` is the content of the file where it is one.
    ///
    /// # Panics
    /// When there is no content, or none of at least one byte: plans have files that can be read.
    #[must_use]
    pub fn of(payload: &record::Payload, seed: u64, file: Option<Vec<u8>>) -> Self {
        match payload {
            record::Payload::Binary => Self::new(seed),
            record::Payload::Lines => Self::lines(seed),
            record::Payload::File(_) => {
                let content = file.filter(|content| !content.is_empty());
                Self::of_table(content.expect("the caller has read the file"), Kind::File)
            }
        }
    }

    fn of_table(mut table: Vec<u8>, kind: Kind) -> Self {
        let period = table.len();
        table.reserve_exact(CHUNK);
        while table.len() < period + CHUNK {
            let more = period.min(period + CHUNK - table.len());
            table.extend_from_within(..more);
        }
        Self {
            table: table.into_boxed_slice(),
            period: period as u64,
            kind,
        }
    }

    /// The stream of a client's connection; `generation` counts the connections that this client has opened.
    /// All clients differ, up to [`PERIOD`] of them, and so do the generations of one client, unless all send a file.
    #[must_use]
    pub fn stream(&self, client: u32, generation: u32) -> Stream {
        let place = match self.kind {
            Kind::File => 0,
            Kind::Binary | Kind::Lines => (u64::from(client) * 40_503 + u64::from(generation) * 2_654_435_761) % PERIOD,
        };
        Stream {
            place: u32::try_from(place).expect("PERIOD is below 2^32"),
            client,
            generation,
        }
    }

    /// At most `len` bytes of the table from this place of the stream on; never more than [`CHUNK`]. Of lines it is what is
    /// between name and newline.
    #[inline]
    #[must_use]
    pub fn slice(&self, stream: Stream, offset: u64, len: usize) -> &[u8] {
        let from = as_len((u64::from(stream.place) + offset) % self.period);
        &self.table[from..from + len.min(CHUNK)]
    }
}

fn random(seed: u64) -> Vec<u8> {
    let mut table = vec![0; usize::try_from(PERIOD).expect("PERIOD is below 2^32")];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut table);
    table
}

/// One worker's way to the payload, with room to put lines together.
pub struct Source<'p> {
    payload: &'p Payload,
    text: Vec<u8>,
}

impl<'p> Source<'p> {
    /// Takes all memory that it will need.
    #[must_use]
    pub fn new(payload: &'p Payload) -> Self {
        let room = if payload.kind == Kind::Lines { CHUNK } else { 0 };
        Self {
            payload,
            text: Vec::with_capacity(room),
        }
    }

    /// At most `len` bytes of the stream from `offset` on; never more than [`CHUNK`]. `message` tells in which message a byte
    /// lies, for lines.
    #[inline]
    pub fn slice(&mut self, stream: Stream, offset: u64, len: usize, message: impl Fn(u64) -> Span) -> &[u8] {
        if self.payload.kind != Kind::Lines {
            return self.payload.slice(stream, offset, len);
        }
        self.text.clear();
        let to = offset + len.min(CHUNK) as u64;
        let mut at = offset;
        while at < to {
            let span = message(at);
            self.add_line(stream, span, at..to.min(span.end));
            at = span.end;
        }
        &self.text
    }

    /// Adds a part of one line.
    fn add_line(&mut self, stream: Stream, line: Span, part: Range<u64>) {
        let begins_at = self.text.len();
        let len = as_len(part.end - part.start);
        self.text.extend_from_slice(self.payload.slice(stream, part.start, len));
        let text = &mut self.text[begins_at..];
        if part.start - line.begin < LONGEST_NAME as u64 {
            let mut room = [0; LONGEST_NAME];
            let name = name(stream, line.begin, &mut room);
            // One that leaves no room for the newline would be cut into another's.
            if (name.len() as u64) < line.end - line.begin {
                let rest = name.get(as_len(part.start - line.begin)..).unwrap_or_default();
                let shown = rest.len().min(len);
                text[..shown].copy_from_slice(&rest[..shown]);
            }
        }
        if part.end == line.end
            && let Some(last) = text.last_mut()
        {
            *last = b'\n';
        }
    }
}

/// `17.1@4096 `: client, how many connections it has opened, offset.
fn name(stream: Stream, offset: u64, room: &mut [u8; LONGEST_NAME]) -> &[u8] {
    let mut rest = &mut room[..];
    write!(rest, "{}.{}@{offset} ", stream.client, stream.generation).expect("there is room for the longest");
    let free = rest.len();
    &room[..LONGEST_NAME - free]
}

/// Of what is in memory.
#[inline]
fn as_len(bytes: u64) -> usize {
    usize::try_from(bytes).expect("memory has room for it")
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
        let stream = payload.stream(3, 0);
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
        let payload = Payload::new(7);
        let mut places: Vec<_> = (0..18_000).map(|client| payload.stream(client, 0).place).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 18_000);
    }

    #[test]
    fn a_reopened_connection_has_a_stream_of_its_own() {
        let payload = Payload::new(7);
        assert_ne!(payload.stream(5, 0).place, payload.stream(5, 1).place);
    }

    #[test]
    fn a_byte_shifted_by_one_does_not_pass() {
        let payload = Payload::new(7);
        let stream = payload.stream(0, 0);
        assert_ne!(payload.slice(stream, 0, 64), payload.slice(stream, 1, 64));
    }

    /// Messages of this length, one after the other.
    fn each(bytes: u64) -> impl Fn(u64) -> Span {
        move |offset| {
            let begin = offset - offset % bytes;
            Span {
                begin,
                end: begin + bytes,
            }
        }
    }

    #[test]
    fn a_line_names_connection_and_offset_and_its_length_counts_the_newline() {
        let payload = Payload::lines(7);
        let mut source = Source::new(&payload);
        let stream = payload.stream(17, 2);
        let text = String::from_utf8(source.slice(stream, 0, 96, each(32)).to_vec()).unwrap();
        let lines: Vec<&str> = text.split_terminator('\n').collect();
        let begins: Vec<_> = lines
            .iter()
            .map(|line| (line.len(), line.split(' ').next().unwrap()))
            .collect();
        assert_eq!(begins, [(31, "17.2@0"), (31, "17.2@32"), (31, "17.2@64")]);
        assert!(
            text.bytes()
                .all(|byte| byte == b'\n' || byte == b' ' || byte.is_ascii_graphic())
        );
        // Too short for a name: letters of its place only.
        assert_eq!(source.slice(stream, 0, 1, each(1)), b"\n");
        let short = source.slice(stream, 0, 8, each(4)).to_vec();
        assert!(short[3] == b'\n' && short[7] == b'\n' && short[..3] != short[4..7]);
    }

    #[test]
    fn lines_read_in_pieces_are_the_lines() {
        let payload = Payload::lines(7);
        let mut source = Source::new(&payload);
        let stream = payload.stream(3, 1);
        for bytes in [1, 5, 20, 64, 100_000] {
            let whole: Vec<u8> = (0..4)
                .flat_map(|part| {
                    let begin = part * CHUNK as u64;
                    source.slice(stream, begin, CHUNK, each(bytes)).to_vec()
                })
                .collect();
            assert_eq!(whole.len(), 4 * CHUNK);
            let mut joined = Vec::new();
            while joined.len() < whole.len() {
                let want = (joined.len() % 37 + 1).min(whole.len() - joined.len());
                let piece = source.slice(stream, joined.len() as u64, want, each(bytes)).to_vec();
                joined.extend(piece);
            }
            assert!(joined == whole, "{bytes}");
        }
    }

    #[test]
    fn every_message_of_a_file_is_the_file() {
        for length in [1, 7, 70_000] {
            let content: Vec<u8> = (0..length)
                .map(|place: u32| u8::try_from(place % 251).unwrap())
                .collect();
            let file = record::Payload::File(record::PayloadFile {
                path: "x".into(),
                bytes: u64::from(length),
                sha256: String::new(),
            });
            let payload = Payload::of(&file, 7, Some(content.clone()));
            let mut stream = Vec::new();
            while stream.len() < 3 * content.len() {
                let left = 3 * content.len() - stream.len();
                stream.extend_from_slice(payload.slice(payload.stream(9, 4), stream.len() as u64, left));
            }
            assert!(
                stream.chunks(content.len()).all(|message| message == content),
                "{length}"
            );
        }
    }

    #[test]
    fn drawn_sizes_stay_between_both_ends_and_reach_them() {
        let sizes = Sizes::new(64, 66, 1);
        let drawn: std::collections::BTreeSet<_> = (0..1000).map(|index| sizes.of(9, index)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [64, 65, 66]);
    }
}
