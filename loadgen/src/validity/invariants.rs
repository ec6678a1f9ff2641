//! What must hold in every record, whatever the server did. A violation is a fault of loadgen (or of what a server of
//! this project says about itself), never a property of the server: loadgen then exits 1 with the numbers. Pure.

use crate::record::{GateName, Measurement, Reason};

/// Name of the gate.
pub const GATE: GateName = GateName::Conservation;
/// How far the two sides of Little's law may part, as a share.
const LITTLE_SHARE: f64 = 0.01;
/// And how far in any case: a thread that loses its CPU between the clock readings of both sides parts them by as long.
const LITTLE_PARTED_S: f64 = 0.1;
/// Messages from which on Little's law is assessed: what is under way at both ends of the phase must not matter.
const LITTLE_MESSAGES: u64 = 10_000;

/// One reason for each sum that does not hold, with both sides; empty when all do.
#[must_use]
pub fn violations(measurement: &Measurement) -> Vec<Reason> {
    let mut found = Vec::new();
    let mut equal = |left: u64, right: u64, text: &str| {
        if left != right {
            found.push(reason(
                as_figure(left.abs_diff(right)),
                format!("{left} {text} {right}"),
            ));
        }
    };
    let counts = &measurement.counts;
    let ended = counts.sent.saturating_sub(counts.in_flight_at_stop);
    equal(
        counts.planned,
        counts.sent + counts.dropped,
        "messages were planned, but sent and dropped are",
    );
    equal(
        counts.sent,
        counts.ok + counts.errors() + counts.in_flight_at_stop,
        "messages were sent, but echoed, failed and in flight are",
    );
    equal(
        measurement.latency_ns.response.count,
        ended,
        "times stand in the response histogram, but messages that ended are",
    );
    equal(
        measurement.latency_ns.service.count,
        ended,
        "times stand in the service histogram, but messages that ended are",
    );
    if !measurement.windows.is_empty() {
        let sum = |of: fn(&crate::record::Window) -> u64| measurement.windows.iter().map(of).sum();
        equal(
            sum(|window| window.ok),
            counts.ok,
            "messages were echoed in all windows, but in the whole run",
        );
        equal(
            sum(|window| window.errors),
            counts.errors(),
            "messages failed in all windows, but in the whole run",
        );
        // Records before 1.1.0 do not know what was sent in a window.
        if let Some(sent) = measurement
            .windows
            .iter()
            .map(|window| window.sent)
            .sum::<Option<u64>>()
        {
            equal(
                sent,
                counts.sent,
                "messages were sent in all windows, but in the whole run",
            );
        }
    }
    // Bytes can only be compared when both sides ended in order.
    let in_order = measurement.complete && counts.errors() == 0 && counts.in_flight_at_stop == 0;
    if let Some(stats) = measurement.server_stats.filter(|_| in_order) {
        let totals = &measurement.totals;
        equal(
            stats.bytes_in,
            totals.bytes_sent,
            "bytes came to the server by its STATS, but loadgen sent",
        );
        equal(
            stats.bytes_out,
            totals.bytes_received,
            "bytes left the server by its STATS, but loadgen received",
        );
    }
    found.extend(response_below_service(measurement));
    found.extend(little(measurement));
    found
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
                as_figure(service - response),
                format!("the response {name} of {response} ns is below the service {name} of {service} ns"),
            )
        })
    })
}

/// Little's law, where enough messages make it say something.
fn little(measurement: &Measurement) -> Option<Reason> {
    let law = measurement
        .littles_law
        .filter(|_| measurement.counts.ok >= LITTLE_MESSAGES)?;
    // Time under way, summed over all messages, by which both sides part.
    let parted_s = (law.in_flight_mean - law.rate_times_latency).abs() * measurement.throughput.duration_s;
    (law.rel_error > LITTLE_SHARE && parted_s > LITTLE_PARTED_S).then(|| Reason {
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

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn as_figure(count: u64) -> f64 {
    count as f64
}
