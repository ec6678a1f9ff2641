//! What one worker saw, kept without allocating; merged exactly at the end. Reads no clock and no file.

pub mod coarse;
pub mod in_flight;
pub mod latency;
pub mod outcome;
pub mod trace;
pub mod window;

use crate::record::Totals;
use crate::units::{count_f64, len_f64};
use in_flight::InFlight;
use latency::LatencyHistogram;
use outcome::{Kind, Outcomes};
use trace::Trace;
use window::WindowSeries;

/// All that one worker records.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// Planned send to last byte, messages of the measured phase; a failed one enters at `--timeout`, and in an open loop
    /// with the time it waited in the plan on top.
    pub response: LatencyHistogram,
    /// Actual send to last byte; a failed message enters at `--timeout`. Empty in a closed loop: it equals `response`.
    pub service: LatencyHistogram,
    /// Planned to actual send, less the time in which no client was free, of every message sent. Empty in a closed loop.
    pub send_lag: LatencyHistogram,
    /// connect() to established.
    pub connect: LatencyHistogram,
    pub outcomes: Outcomes,
    pub windows: WindowSeries,
    pub in_flight: InFlight,
    pub totals: Totals,
    /// Messages echoed whole inside the measured phase, whenever they were planned.
    pub served: u64,
    /// Connections established in the timed part.
    pub connections_timed: u64,
    /// Messages echoed whole in the measured phase by each client of this worker.
    pub ok_of_client: Vec<u64>,
    /// Replies that went on in the measured phase after they had halted for as long as an acknowledgement is delayed.
    pub halted_replies: u64,
    /// Messages of clients beside the measured ones: echoed whole in the measured phase, their bytes, and failed in any phase.
    pub beside: Beside,
    /// CPU time spent looking at the clock before planned sends of the measured phase.
    pub spin_ns: u64,
    /// Messages one by one; empty but for the accuracy tests.
    pub trace: Trace,
    /// Whether messages leave by plan.
    is_open: bool,
    /// What enters the histograms for a failed message.
    timeout_ns: u64,
    /// Messages planned from here on count.
    from_ns: u64,
    /// The measured phase is so long. A job's has no end of its own: `u64::MAX`.
    length_ns: u64,
}

/// See [`Recorder::beside`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    pub messages: u64,
    pub bytes: u64,
    pub failed: u64,
}

/// The times of a message that has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// When it was planned to leave, in nanoseconds of the monotonic clock.
    pub planned_ns: u64,
    /// When it left.
    pub sent_ns: u64,
}

impl Sent {
    /// A message of a client beside the measured ones that leaves now: planned before all that count.
    #[must_use]
    pub const fn beside(now_ns: u64) -> Self {
        Self {
            planned_ns: 0,
            sent_ns: now_ns,
        }
    }
}

impl Recorder {
    #[must_use]
    pub fn new(clients: usize, window_ns: u64, windows: usize, timeout_ns: u64, is_open: bool) -> Self {
        Self {
            response: LatencyHistogram::default(),
            service: LatencyHistogram::default(),
            send_lag: LatencyHistogram::default(),
            connect: LatencyHistogram::default(),
            outcomes: Outcomes::default(),
            windows: WindowSeries::new(window_ns, windows),
            in_flight: InFlight::default(),
            totals: Totals::default(),
            served: 0,
            connections_timed: 0,
            ok_of_client: vec![0; clients],
            halted_replies: 0,
            beside: Beside::default(),
            spin_ns: 0,
            trace: Trace::default(),
            is_open,
            timeout_ns,
            from_ns: u64::MAX,
            length_ns: 0,
        }
    }

    /// Messages planned from the one time on count; those that end before the other are served in the measured phase.
    pub fn measure(&mut self, from_ns: u64, to_ns: u64) {
        self.from_ns = from_ns;
        self.length_ns = to_ns.saturating_sub(from_ns);
        self.windows.end_at(self.length_ns);
    }

    /// Whether a moment lies in the measured phase.
    #[inline]
    fn is_measured(&self, now_ns: u64) -> bool {
        // A moment before the phase wraps around to one far beyond its end.
        now_ns.wrapping_sub(self.from_ns) < self.length_ns
    }

    /// Notes that a message leaves now, so much later than it could have.
    #[inline]
    pub fn sent(&mut self, message: Sent, lag_ns: u64) {
        if message.planned_ns < self.from_ns {
            return;
        }
        self.in_flight.sent(message.sent_ns);
        self.windows.sent(message.sent_ns - self.from_ns);
        if self.is_open {
            self.send_lag.record(lag_ns);
        }
    }

    /// Notes that a client's message has come back whole.
    #[inline]
    pub fn ok(&mut self, message: Sent, client: usize, now_ns: u64) {
        let is_served = self.is_measured(now_ns);
        self.served += u64::from(is_served);
        if message.planned_ns < self.from_ns {
            return;
        }
        let response_ns = now_ns - message.planned_ns;
        self.response.record(response_ns);
        if self.is_open {
            self.service.record(now_ns - message.sent_ns);
        }
        self.trace.answered(message, now_ns);
        self.in_flight.ended(now_ns);
        self.windows.ok(now_ns - self.from_ns, response_ns);
        self.outcomes.ok(!is_served);
        self.ok_of_client[client] += 1;
    }

    /// Notes that a message of a client beside the measured ones has come back whole.
    #[inline]
    pub fn beside_ok(&mut self, bytes: u64, now_ns: u64) {
        if self.is_measured(now_ns) {
            self.beside.messages += 1;
            self.beside.bytes += bytes;
        }
    }

    /// Notes whether the reply that bytes came for has halted before them.
    #[inline]
    pub fn halted(&mut self, has_halted: bool, now_ns: u64) {
        if has_halted && self.is_measured(now_ns) {
            self.halted_replies += 1;
        }
    }

    /// Notes that a message that had left has failed.
    pub fn failed(&mut self, message: Sent, kind: Kind, now_ns: u64) {
        if message.planned_ns < self.from_ns {
            return;
        }
        self.in_flight.ended(now_ns);
        self.enter_failed(message, kind, now_ns);
    }

    /// Notes that a message had no connection to leave by. It counts as sent.
    pub fn refused(&mut self, message: Sent, lag_ns: u64, now_ns: u64) {
        if message.planned_ns < self.from_ns {
            return;
        }
        self.windows.sent(now_ns - self.from_ns);
        if self.is_open {
            self.send_lag.record(lag_ns);
        }
        self.enter_failed(message, Kind::Refused, now_ns);
    }

    fn enter_failed(&mut self, message: Sent, kind: Kind, now_ns: u64) {
        self.outcomes.failed(kind);
        self.response
            .record(self.timeout_ns + message.sent_ns.saturating_sub(message.planned_ns));
        if self.is_open {
            self.service.record(self.timeout_ns);
        }
        self.windows.error(now_ns.saturating_sub(self.from_ns), kind);
    }

    /// Notes that the stop has cut off a message under way.
    pub fn cut_off(&mut self, message: Sent, now_ns: u64) {
        if message.planned_ns < self.from_ns {
            return;
        }
        self.in_flight.ended(now_ns);
        self.outcomes.in_flight_at_stop();
    }

    /// Adds what another worker recorded.
    pub fn add(&mut self, other: &Self) {
        self.response.add(&other.response);
        self.service.add(&other.service);
        self.send_lag.add(&other.send_lag);
        self.connect.add(&other.connect);
        self.outcomes.add(&other.outcomes);
        self.windows.add(&other.windows);
        self.in_flight.add(&other.in_flight);
        self.halted_replies += other.halted_replies;
        self.beside.messages += other.beside.messages;
        self.beside.bytes += other.beside.bytes;
        self.beside.failed += other.beside.failed;
        self.spin_ns += other.spin_ns;
        self.trace.add(&other.trace);
        self.totals.add(&other.totals);
        self.served += other.served;
        self.connections_timed += other.connections_timed;
        self.ok_of_client.extend_from_slice(&other.ok_of_client);
    }

    /// Jain's fairness index over the clients' messages, (Σx)²/(nΣx²); none without messages.
    /// Source: Jain, Chiu, Hawe, DEC-TR-301, 1984.
    #[must_use]
    pub fn fairness_jain(&self) -> Option<f64> {
        let sum: f64 = self.ok_of_client.iter().map(|&ok| count_f64(ok)).sum();
        let squares: f64 = self.ok_of_client.iter().map(|&ok| count_f64(ok).powi(2)).sum();
        (squares > 0.0).then(|| sum * sum / (len_f64(self.ok_of_client.len()) * squares))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_the_plan_has_three_times_and_a_failed_one_enters_at_the_timeout() {
        let mut recorder = Recorder::new(1, 1_000_000, 1, 5_000, true);
        recorder.measure(100, 1_000);
        let message = Sent {
            planned_ns: 150,
            sent_ns: 170,
        };
        for _ in 0..2 {
            recorder.sent(message, 10);
        }
        recorder.ok(message, 0, 200);
        recorder.failed(message, Kind::Reset, 300);
        let max = |histogram: &LatencyHistogram| histogram.summary().max;
        assert_eq!(
            (max(&recorder.send_lag), max(&recorder.service)),
            (Some(10), Some(5_000))
        );
        assert_eq!(
            (max(&recorder.response), recorder.response.summary().min),
            (Some(5_020), Some(50))
        );
        assert_eq!(recorder.in_flight.integral_ns(), 30 + 130);
        let window = recorder.windows.windows()[0];
        assert_eq!((window.sent, window.ok, window.errors), (2, 1, 1));
    }

    #[test]
    fn what_was_planned_before_the_measured_phase_does_not_count() {
        let mut recorder = Recorder::new(1, 1_000_000, 1, 5_000, true);
        recorder.measure(100, 1_000);
        let early = Sent {
            planned_ns: 99,
            sent_ns: 170,
        };
        recorder.sent(early, 1);
        recorder.ok(early, 0, 200);
        recorder.refused(early, 1, 200);
        assert_eq!((recorder.send_lag.count(), recorder.response.count()), (0, 0));
        assert_eq!(recorder.outcomes.counts.planned, 0);
    }

    #[test]
    fn what_ends_in_the_measured_phase_is_served_whenever_it_was_planned() {
        let mut recorder = Recorder::new(1, 1_000_000, 1, 5_000, true);
        let at = |planned_ns| Sent {
            planned_ns,
            sent_ns: planned_ns,
        };
        recorder.ok(at(10), 0, 20);
        recorder.measure(100, 200);
        for (planned_ns, ended_ns) in [
            (50, 99),
            (50, 100),
            (60, 199),
            (70, 200),
            (110, 150),
            (120, 200),
            (130, 900),
        ] {
            recorder.sent(at(planned_ns), 0);
            recorder.ok(at(planned_ns), 0, ended_ns);
        }
        let counts = recorder.outcomes.counts;
        // Two planned before it and one planned in it ended in it; two planned in it ended later.
        assert_eq!((recorder.served, counts.ok, counts.ok_late), (3, 3, 2));
        let ok: Vec<u64> = recorder.windows.windows().iter().map(|window| window.ok).collect();
        assert_eq!(ok, [1, 2]);
    }

    #[test]
    fn fairness_is_one_when_even_and_one_nth_when_one_has_all() {
        let mut recorder = Recorder::new(4, 1, 1, 1, false);
        assert_eq!(recorder.fairness_jain(), None);
        recorder.ok_of_client = vec![5; 4];
        assert_eq!(recorder.fairness_jain(), Some(1.0));
        recorder.ok_of_client = vec![8, 0, 0, 0];
        assert_eq!(recorder.fairness_jain(), Some(0.25));
    }
}
