//! The time integral of the messages under way: what Little's law is checked with. Counts messages of the measured phase
//! only, from their send to their end, whichever phase that falls into; it shares nothing with the histograms.

/// How many are under way, summed up over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    messages: u64,
    since_ns: u64,
    /// Message-nanoseconds so far.
    integral_ns: u128,
}

impl InFlight {
    #[inline]
    pub fn sent(&mut self, at_ns: u64) {
        self.count_until(at_ns);
        self.messages += 1;
    }

    #[inline]
    pub fn ended(&mut self, at_ns: u64) {
        self.count_until(at_ns);
        self.messages -= 1;
    }

    #[inline]
    fn count_until(&mut self, at_ns: u64) {
        self.integral_ns += u128::from(self.messages) * u128::from(at_ns.saturating_sub(self.since_ns));
        self.since_ns = self.since_ns.max(at_ns);
    }

    /// Adds what another worker saw; all messages of both must have ended.
    pub fn add(&mut self, other: &Self) {
        self.integral_ns += other.integral_ns;
    }

    /// Message-nanoseconds: the sum over time of the messages under way.
    #[must_use]
    pub fn integral_ns(&self) -> u128 {
        self.integral_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_integral_is_the_sum_of_the_times_under_way() {
        let mut in_flight = InFlight::default();
        in_flight.sent(1_000);
        in_flight.sent(1_100);
        in_flight.ended(1_400);
        in_flight.ended(1_500);
        in_flight.sent(9_000);
        in_flight.ended(9_050);
        assert_eq!(in_flight.integral_ns(), 400 + 400 + 50);
    }
}
