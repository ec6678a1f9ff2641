//! Replies that come in pieces 40 ms apart. A server that writes an answer in pieces without TCP_NODELAY has its second piece held
//! back (Nagle) until the first is acknowledged, and the client's kernel waits 40 ms before it does that on its own. A server
//! that is merely slow sends nothing for 40 ms, and then the whole reply: the two are told apart by when the first byte came.

use crate::record::Measurement;
use crate::text::percent as percent_text;
use crate::units::percent;

/// Fewer are chance.
const AT_LEAST: u64 = 10;
/// Less than this share of the answers is not worth a word, in percent.
const AT_LEAST_PERCENT: f64 = 1.0;
/// On a way that is longer than this, a reply may halt because its sender waits for the window to open. In nanoseconds.
const LONG_WAY_NS: u64 = 10_000_000;

/// What the reader of the response times should know; none where replies come in one piece.
pub(super) fn remark(measurement: &Measurement) -> Option<String> {
    let halted = measurement.halted_replies?;
    let share = percent(halted, measurement.served())?.min(100.0);
    let is_far = measurement.latency_ns.connect.min.is_some_and(|ns| ns > LONG_WAY_NS);
    (halted >= AT_LEAST && share >= AT_LEAST_PERCENT && !is_far).then(|| {
        format!(
            "delayed acknowledgement meets Nagle: {} of the replies halted for 40 ms between two of their bytes. The server writes \
             an answer in pieces: it should set TCP_NODELAY, or write it in one",
            percent_text(share)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Latency;

    fn halted(halted_replies: Option<u64>, ok: u64) -> Measurement {
        let mut measurement = Measurement {
            halted_replies,
            ..Measurement::default()
        };
        measurement.counts.ok = ok;
        measurement
    }

    #[test]
    fn replies_in_pieces_40_ms_apart_are_told_and_a_slow_server_is_not() {
        let told = remark(&halted(Some(95), 100)).unwrap();
        assert!(told.starts_with("delayed acknowledgement meets Nagle: 95 %"), "{told}");
        // All responses took 40 ms, in one piece.
        assert_eq!(remark(&halted(Some(0), 100)), None);
        assert_eq!(remark(&halted(None, 100)), None);
        assert_eq!(remark(&halted(Some(9), 10)), None);
        assert_eq!(remark(&halted(Some(20), 10_000)), None);
    }

    #[test]
    fn over_a_long_way_a_halt_has_other_causes() {
        let mut measurement = halted(Some(95), 100);
        measurement.latency_ns.connect = Latency {
            min: Some(40_000_000),
            ..Latency::default()
        };
        assert_eq!(remark(&measurement), None);
    }
}
