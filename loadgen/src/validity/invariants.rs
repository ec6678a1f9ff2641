//! What must hold in every record, whatever the server did. A violation is a fault of loadgen (or of what a server of
//! this project says about itself), never a property of the server: loadgen then exits 1 with the numbers. Pure.

use crate::record::{GateName, Measurement, Reason};
use crate::units::count_f64;

/// Name of the gate.
pub const GATE: GateName = GateName::Conservation;
/// How far the two sides of Little's law may part, as a share. Both see the same readings of the clock: the integral is exact,
/// whatever held loadgen up and wherever the phase ends, and the histogram knows a time to half a bin, a 2,048th of it.
/// So the law holds within 0.05 % for one message as for a million; twice that is allowed.
const LITTLE_SHARE: f64 = 0.001;

/// One reason for each sum that does not hold, with both sides; empty when all do.
#[must_use]
pub fn violations(measurement: &Measurement) -> Vec<Reason> {
    let sums = [counts(measurement), windows(measurement), bytes(measurement)];
    sums.into_iter()
        .flatten()
        .filter_map(Sum::violation)
        .chain(response_below_service(measurement))
        .chain(little(measurement))
        .collect()
}

/// Two figures that must be the same: `1 messages were echoed in all windows, but in the whole run 2`.
struct Sum(u64, &'static str, u64);

impl Sum {
    fn violation(self) -> Option<Reason> {
        let Self(left, text, right) = self;
        (left != right).then(|| reason(count_f64(left.abs_diff(right)), format!("{left} {text} {right}")))
    }
}

/// What became of the messages.
fn counts(measurement: &Measurement) -> Vec<Sum> {
    let (counts, latency) = (&measurement.counts, &measurement.latency_ns);
    let ended = counts.sent.saturating_sub(counts.in_flight_at_stop);
    vec![
        Sum(
            counts.planned,
            "messages were planned, but sent and dropped are",
            counts.sent + counts.dropped,
        ),
        Sum(
            counts.sent,
            "messages were sent, but echoed, failed and in flight are",
            counts.ok + counts.errors() + counts.in_flight_at_stop,
        ),
        Sum(
            latency.response.count,
            "times stand in the response histogram, but messages that ended are",
            ended,
        ),
        Sum(
            latency.service.count,
            "times stand in the service histogram, but messages that ended are",
            ended,
        ),
    ]
}

/// The windows and the whole run.
fn windows(measurement: &Measurement) -> Vec<Sum> {
    let (counts, windows) = (&measurement.counts, &measurement.windows);
    if windows.is_empty() {
        return Vec::new();
    }
    let mut sums = vec![
        Sum(
            windows.iter().map(|window| window.ok).sum(),
            "messages were echoed in all windows, but in the whole run",
            counts.ok,
        ),
        Sum(
            windows.iter().map(|window| window.errors).sum(),
            "messages failed in all windows, but in the whole run",
            counts.errors(),
        ),
    ];
    // Records before 1.1.0 do not know what was sent in a window.
    let sent: Option<u64> = windows.iter().map(|window| window.sent).sum();
    sums.extend(sent.map(|sent| {
        Sum(
            sent,
            "messages were sent in all windows, but in the whole run",
            counts.sent,
        )
    }));
    sums
}

/// Both sides' bytes, which can only be compared when both ended in order.
fn bytes(measurement: &Measurement) -> Vec<Sum> {
    let (counts, totals) = (&measurement.counts, &measurement.totals);
    let in_order = measurement.complete && counts.errors() == 0 && counts.in_flight_at_stop == 0;
    let Some(stats) = measurement.server_stats.filter(|_| in_order) else {
        return Vec::new();
    };
    vec![
        Sum(
            stats.bytes_in,
            "bytes came to the server by its STATS, but loadgen sent",
            totals.bytes_sent,
        ),
        Sum(
            stats.bytes_out,
            "bytes left the server by its STATS, but loadgen received",
            totals.bytes_received,
        ),
    ]
}

/// Whether a record holds a violation.
#[must_use]
pub fn is_violated(measurement: &Measurement) -> bool {
    measurement.reasons.iter().any(|reason| reason.gate == GATE)
}

/// Response >= service for each message makes every order statistic of the one at least that of the other.
fn response_below_service(measurement: &Measurement) -> Option<Reason> {
    let (response, service) = (&measurement.latency_ns.response, &measurement.latency_ns.service);
    let pairs = [
        ("min", response.min, service.min),
        ("p50", response.p50, service.p50),
        ("p99", response.p99, service.p99),
        ("max", response.max, service.max),
    ];
    pairs.into_iter().find_map(|(name, response, service)| {
        let (response, service) = response.zip(service)?;
        // Both are known within a thousandth.
        (response + response / 1000 < service).then(|| {
            reason(
                count_f64(service - response),
                format!("the response {name} of {response} ns is below the service {name} of {service} ns"),
            )
        })
    })
}

/// Little's law, where no message failed.
fn little(measurement: &Measurement) -> Option<Reason> {
    let law = measurement.littles_law?;
    (law.rel_error > LITTLE_SHARE).then(|| Reason {
        limit: LITTLE_SHARE,
        ..reason(
            law.rel_error,
            format!(
                "{:.3} messages were under way on average, but rate times latency is {:.3} (Little's law)",
                law.in_flight_mean, law.rate_times_latency
            ),
        )
    })
}

fn reason(observed: f64, text: String) -> Reason {
    Reason::new(
        GATE,
        observed,
        0.0,
        format!("{text}: a fault of loadgen or of the server's STATS, please report it"),
    )
}
