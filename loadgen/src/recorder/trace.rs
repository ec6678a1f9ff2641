//! The times of single messages, for the accuracy tests that compare message by message. Off unless asked for; all memory
//! is taken when it is made.

use super::Sent;

/// One message that came back whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traced {
    /// When it was planned to leave, in nanoseconds of the monotonic clock.
    pub planned_ns: u64,
    /// When it left.
    pub sent_ns: u64,
    /// When its last byte was there.
    pub answered_ns: u64,
}

/// The first messages of the measured phase, in the order in which they were answered; those of several workers one
/// worker after the other.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    room: usize,
    messages: Vec<Traced>,
    /// Messages for which there was no room.
    missed: u64,
}

impl Trace {
    /// Room for so many messages.
    #[must_use]
    pub fn of(messages: usize) -> Self {
        Self {
            room: messages,
            messages: Vec::with_capacity(messages),
            missed: 0,
        }
    }

    #[inline]
    pub fn answered(&mut self, message: Sent, answered_ns: u64) {
        if self.room == 0 {
            return;
        }
        if self.messages.len() == self.room {
            self.missed += 1;
            return;
        }
        self.messages.push(Traced {
            planned_ns: message.planned_ns,
            sent_ns: message.sent_ns,
            answered_ns,
        });
    }

    /// Adds another worker's messages.
    pub fn add(&mut self, other: &Self) {
        self.messages.extend_from_slice(&other.messages);
        self.missed += other.missed;
    }

    #[must_use]
    pub fn messages(&self) -> &[Traced] {
        &self.messages
    }

    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_trace_takes_no_more_and_says_so() {
        let message = Sent {
            planned_ns: 1,
            sent_ns: 2,
        };
        let mut trace = Trace::of(2);
        (3..6).for_each(|answered_ns| trace.answered(message, answered_ns));
        assert_eq!((trace.messages().len(), trace.missed()), (2, 1));
        assert_eq!(trace.messages()[1].answered_ns, 4);
        let mut off = Trace::default();
        off.answered(message, 3);
        assert_eq!((off.messages().len(), off.missed()), (0, 0));
    }
}
