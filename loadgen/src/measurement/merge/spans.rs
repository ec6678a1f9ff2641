//! When each generator pressed.

use super::Part;
use crate::units::{ns_to_s, s_to_ns};

/// The measured phase of one generator, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    pub(super) from_ns: i128,
    pub(super) to_ns: i128,
}

impl Span {
    /// In seconds; 0 where it ends before it begins.
    pub(super) fn length(&self) -> f64 {
        ns_to_s(u64::try_from(self.to_ns - self.from_ns).unwrap_or(0))
    }
}

/// Measured phases of all generators that came so far, in the order of the parts.
pub(super) struct Spans(pub(super) Vec<Option<Span>>);

impl Spans {
    /// From the first beginning to the last end.
    pub(super) fn all(&self) -> Span {
        let known = || self.0.iter().flatten();
        Span {
            from_ns: known().map(|span| span.from_ns).min().unwrap_or(0),
            to_ns: known().map(|span| span.to_ns).max().unwrap_or(0),
        }
    }

    /// When all pressed, as a share of the whole.
    pub(super) fn overlap(&self) -> f64 {
        let known = || self.0.iter().flatten();
        let together = Span {
            from_ns: known().map(|span| span.from_ns).max().unwrap_or(0),
            to_ns: known().map(|span| span.to_ns).min().unwrap_or(0),
        };
        let all = self.all().length();
        if all > 0.0 { together.length() / all } else { 0.0 }
    }
}

pub(super) fn spans(parts: &[Part]) -> Result<Spans, String> {
    let mut spans: Vec<Option<Span>> = Vec::new();
    for part in parts {
        let Some(text) = &part.record.identity.measured_from else {
            // It never came to its measured phase, and the record says why; one that did must say when.
            if part.record.counts.planned > 0 {
                return Err(format!(
                    "{} does not say when its measured phase began: it was made by a loadgen before record 1.1, measure again",
                    part.name
                ));
            }
            spans.push(None);
            continue;
        };
        let from: jiff::Timestamp = text
            .parse()
            .map_err(|error| format!("{}: measured_from `{text}`: {error}", part.name))?;
        let length_ns = i128::from(s_to_ns(part.record.throughput.duration_s));
        let span = Span {
            from_ns: from.as_nanosecond(),
            to_ns: from.as_nanosecond() + length_ns,
        };
        let apart = |other: &Span| other.to_ns <= span.from_ns || span.to_ns <= other.from_ns;
        let stranger = spans.iter().position(|other| other.as_ref().is_some_and(apart));
        if let Some(place) = stranger {
            return Err(format!(
                "{} and {} did not press at the same time: one measured phase had ended before the other began. Give both the same --start-at",
                parts[place].name, part.name
            ));
        }
        spans.push(Some(span));
    }
    Ok(Spans(spans))
}
