//! Whether the server still answers anybody. Pure: is told what the conductor sees at each look.

use super::control::Sums;
use std::time::Duration;

/// The clients' own timeouts come first; if the server answers a client again that has tried anew, it is not silent.
const GRACE_NS: u64 = 500_000_000;
/// A longer pause between two looks was loadgen's own: it counts as this much of the server's silence.
const LONGEST_STEP_NS: u64 = 200_000_000;

/// The time that clients have waited since the last echo, all of them together.
pub(super) struct Silence {
    timeout_ns: u64,
    clients: u64,
    looked_ns: u64,
    /// At the last look.
    seen: Sums,
    /// Failures at the last echo.
    failures_then: u64,
    last_echo_ns: Option<u64>,
    waited_ns: u64,
}

impl Silence {
    pub(super) fn new(timeout_ns: u64, clients: u32, now_ns: u64) -> Self {
        Self {
            timeout_ns,
            clients: u64::from(clients),
            looked_ns: now_ns,
            seen: Sums::default(),
            failures_then: 0,
            last_echo_ns: None,
            waited_ns: 0,
        }
    }

    /// Forgets the time waited: what comes now is another phase.
    pub(super) fn begin(&mut self, now_ns: u64) {
        (self.looked_ns, self.waited_ns) = (now_ns, 0);
    }

    /// Takes the workers' gauges.
    pub(super) fn look(&mut self, sums: Sums, now_ns: u64) {
        let step_ns = now_ns.saturating_sub(self.looked_ns).min(LONGEST_STEP_NS);
        // With nothing outstanding and nobody failing, nobody waits: a slow plan has its pauses.
        let waits = sums.in_flight > 0 || sums.failures > self.seen.failures;
        if sums.ok > self.seen.ok {
            self.waited_ns = 0;
            self.last_echo_ns = Some(now_ns);
            self.failures_then = sums.failures;
        } else if waits {
            self.waited_ns += step_ns;
        }
        (self.seen, self.looked_ns) = (sums, now_ns);
    }

    /// Whether the clients have waited long enough to give the server up.
    pub(super) fn is_over(&self) -> bool {
        self.waited_ns >= self.timeout_ns + GRACE_NS || self.all_failed()
    }

    /// How long they have waited.
    pub(super) fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited_ns)
    }

    /// Whether the timeout has passed and as many messages have failed since the last echo as there are clients. The last
    /// echo was seen up to a step after it came.
    pub(super) fn all_failed(&self) -> bool {
        self.waited_ns + LONGEST_STEP_NS >= self.timeout_ns && self.seen.failures - self.failures_then >= self.clients
    }

    /// When the last echo was seen, on the engine's clock.
    pub(super) fn last_echo_ns(&self) -> Option<u64> {
        self.last_echo_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn sums(ok: u64, failures: u64, in_flight: u64) -> Sums {
        Sums {
            ok,
            failures,
            in_flight,
            ..Sums::default()
        }
    }

    /// Looks every 100 ms from `from_ms` to `to_ms`.
    fn looks(silence: &mut Silence, from_ms: u64, to_ms: u64, sums: Sums) {
        let steps = (from_ms..=to_ms).step_by(100);
        steps.for_each(|at_ms| silence.look(sums, at_ms * MS));
    }

    #[test]
    fn a_server_that_answers_nobody_for_the_timeout_is_silent() {
        let mut silence = Silence::new(1_000 * MS, 10, 0);
        looks(&mut silence, 100, 500, sums(7, 0, 10));
        looks(&mut silence, 600, 1_500, sums(7, 0, 10));
        assert_eq!((silence.is_over(), silence.last_echo_ns()), (false, Some(100 * MS)));
        // Nine clients have timed out and try again.
        looks(&mut silence, 1_500, 1_600, sums(7, 9, 10));
        assert!(silence.is_over());
    }

    #[test]
    fn when_all_clients_have_timed_out_nothing_is_waited_for() {
        let mut silence = Silence::new(1_000 * MS, 10, 0);
        looks(&mut silence, 100, 1_100, sums(7, 0, 10));
        assert!(!silence.is_over());
        silence.look(sums(7, 10, 10), 1_150 * MS);
        assert!(silence.all_failed() && silence.is_over());
    }

    #[test]
    fn the_pauses_of_a_slow_plan_and_of_loadgen_are_no_silence() {
        let mut silence = Silence::new(1_000 * MS, 1, 0);
        looks(&mut silence, 100, 20_000, sums(1, 0, 0));
        // It stood still for a minute.
        silence.look(sums(1, 0, 1), 80_000 * MS);
        assert!(!silence.is_over());
        // A message that was lost, and the next one ten seconds later.
        looks(&mut silence, 80_100, 81_000, sums(1, 0, 1));
        looks(&mut silence, 81_100, 90_000, sums(1, 0, 0));
        assert!(!silence.is_over());
    }

    #[test]
    fn refused_connections_are_silence_too() {
        let mut silence = Silence::new(1_000 * MS, 1_000_000, 0);
        silence.look(sums(1, 0, 0), 100 * MS);
        (1..=15).for_each(|step| silence.look(sums(1, step, 0), (100 + step * 100) * MS));
        assert!(silence.is_over());
    }
}
