//! What is sent before a run to find out whether somebody echoes: the workload's own first messages, so that a server which
//! waits for lines, for frames or for several messages is asked as it will be. Pure.

use super::payload::{Payload, Sizes, Source, Span};
use crate::record::{self, Workload};

/// More is not sent: of very long messages it is the beginning.
const MOST_BYTES: u64 = 16 * 1024 * 1024;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// What leaves at once: one message, or a pipeline of them.
    pub bytes: Vec<u8>,
    /// So many messages.
    pub messages: u32,
    /// Whether a connection of the workload carries at least as many again.
    pub goes_on: bool,
    /// Whether each message ends a line, and nothing else does.
    pub is_lines: bool,
}

impl Opening {
    /// Of this workload. No client of it has these bytes, unless all send a file.
    #[must_use]
    pub fn of(workload: &Workload, seed: u64, payload: &Payload) -> Self {
        let depth = if workload.churn { 1 } else { workload.pipeline };
        let spans = spans(workload, seed, depth);
        let twice = 2 * u64::from(depth);
        let carries = workload.connection_carries().unwrap_or(u64::MAX);
        let messages = workload.messages_of_client(0).unwrap_or(u64::MAX);
        let mut opening = Self {
            bytes: bytes(payload, &spans),
            messages: u32::try_from(spans.len()).unwrap_or(u32::MAX),
            goes_on: carries.min(messages) >= twice,
            is_lines: workload.payload == record::Payload::Lines,
        };
        if workload.payload == record::Payload::Binary {
            opening.mark_lines(&spans);
        }
        opening
    }

    /// One line of these bytes; the last becomes its end.
    #[must_use]
    pub fn line(mut bytes: Vec<u8>) -> Self {
        for byte in &mut bytes {
            *byte = if *byte == b'\n' { 0 } else { *byte };
        }
        if let Some(last) = bytes.last_mut() {
            *last = b'\n';
        }
        Self {
            bytes,
            messages: 1,
            goes_on: false,
            is_lines: true,
        }
    }

    /// Random bytes are nobody's frame, so they may be chosen: a line ends in the middle of each message and none at its end.
    /// Who waits for whole lines, and who turns one byte of them into two, is then seen.
    fn mark_lines(&mut self, spans: &[Span]) {
        for span in spans {
            let within =
                usize::try_from(span.begin).unwrap_or(usize::MAX)..usize::try_from(span.end).unwrap_or(usize::MAX);
            let Some(message) = self.bytes.get_mut(within) else {
                continue;
            };
            let middle = (message.len() - 1) / 2;
            message[middle] = b'\n';
            if let Some(last) = message.last_mut() {
                *last = if *last == b'\n' { 0 } else { *last };
            }
        }
    }
}

/// The first messages, as many as fit; of one that does not fit its beginning.
fn spans(workload: &Workload, seed: u64, depth: u32) -> Vec<Span> {
    let sizes = Sizes::new(workload.size_min_bytes, workload.size_max_bytes, seed);
    let mut spans: Vec<Span> = Vec::new();
    for index in 0..u64::from(depth) {
        let begin = spans.last().map_or(0, |span| span.end);
        let end = begin + sizes.of(0, index);
        if end > MOST_BYTES {
            if spans.is_empty() {
                spans.push(Span { begin, end: MOST_BYTES });
            }
            break;
        }
        spans.push(Span { begin, end });
    }
    spans
}

fn bytes(payload: &Payload, spans: &[Span]) -> Vec<u8> {
    let end = spans.last().map_or(0, |span| span.end);
    let mut source = Source::new(payload);
    // The engine's first connection of a client is its number 1.
    let stream = payload.stream(0, 0);
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < end {
        let offset = bytes.len() as u64;
        let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
        let of = |offset| spans[spans.partition_point(|span| span.end <= offset)];
        bytes.extend_from_slice(source.slice(stream, offset, left, of));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Stop;
    use crate::suite::preset::unnamed;

    fn of(workload: &Workload) -> Opening {
        Opening::of(workload, 1, &Payload::of(&workload.payload, 1, None))
    }

    #[test]
    fn random_bytes_have_the_end_of_a_line_in_the_middle_and_none_at_the_end() {
        let opening = of(&Workload {
            pipeline: 3,
            ..unnamed(5)
        });
        assert_eq!((opening.bytes.len(), opening.messages, opening.goes_on), (192, 3, true));
        for message in opening.bytes.chunks(64) {
            assert!(message[31] == b'\n' && message[63] != b'\n');
        }
        let tiny = of(&Workload {
            size_min_bytes: 1,
            size_max_bytes: 1,
            ..unnamed(5)
        });
        assert_ne!(tiny.bytes, b"\n");
    }

    #[test]
    fn lines_are_the_workloads_own() {
        let opening = of(&Workload {
            payload: record::Payload::Lines,
            pipeline: 2,
            ..unnamed(5)
        });
        let text = String::from_utf8(opening.bytes).unwrap();
        let begins: Vec<_> = text.lines().map(|line| (line.len(), &line[..4])).collect();
        assert_eq!((begins, opening.is_lines), (vec![(63, "0.0@"), (63, "0.0@")], true));
    }

    #[test]
    fn a_connection_is_tried_again_only_where_the_workload_uses_it_again() {
        let goes_on = |workload: Workload| of(&workload).goes_on;
        assert!(!goes_on(Workload {
            churn: true,
            ..unnamed(5)
        }));
        assert!(!goes_on(Workload {
            stop: Stop::MessagesPerClient(1),
            ..unnamed(5)
        }));
        let every = |messages| Workload {
            messages_per_connection: Some(messages),
            pipeline: 4,
            ..unnamed(5)
        };
        assert_eq!([goes_on(every(7)), goes_on(every(8))], [false, true]);
    }

    #[test]
    fn of_a_very_long_message_the_beginning_is_sent() {
        let opening = of(&Workload {
            size_min_bytes: 1 << 30,
            size_max_bytes: 1 << 30,
            pipeline: 4,
            ..unnamed(5)
        });
        assert_eq!((opening.bytes.len(), opening.messages), (16 << 20, 1));
    }
}
