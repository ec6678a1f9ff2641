//! AC7: our times against the kernel's, and what loadgen itself adds to a latency over loopback.

use super::behaviour::Behaviour;
use super::bench::{Bench, FRAME_BYTES};
use super::distribution::quantile;
use super::scorecard::{Check, Finding, Kind};
use crate::engine::timestamps::RoundTrip;
use crate::failure::Failure;
use crate::units::{count_f64, ns_to_us};

/// Round trips of which the first part is left out: it warms caches.
const ROUND_TRIPS: usize = 20_000;
const WARM_UP: usize = 1_000;

/// Compares each round trip as loadgen sees it with the kernel's time from the packet scheduler to the receive queue.
///
/// # Errors
/// A fault of ours, or a kernel without timestamps.
pub fn ac7(bench: &Bench<'_>) -> Result<Finding, Failure> {
    let trips = bench.length.of(ROUND_TRIPS / 10, ROUND_TRIPS / 4, ROUND_TRIPS);
    let bytes = usize::try_from(FRAME_BYTES).unwrap_or(64);
    let (trips, quiet) = bench.round_trips(&Behaviour::echo(FRAME_BYTES), trips + WARM_UP, bytes)?;
    let trips = trips.get(WARM_UP..).unwrap_or_default();
    let sorted = |of: fn(&RoundTrip) -> Option<f64>| {
        let mut values: Vec<f64> = trips.iter().filter_map(of).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let missing = trips.iter().filter(|trip| trip.kernel_ns.is_none()).count();
    let title = "client bias: 64-byte round trips against the kernel's timestamps";
    if missing == trips.len() {
        let finding = Finding::new("AC7", title, Vec::new(), Some(quiet));
        return Ok(finding.inconclusive("this kernel stamped no round trip"));
    }
    let (ours, bias) = (sorted(ours_us), sorted(bias_us));
    let negative = bias.iter().filter(|&&bias| bias < 0.0).count();
    let checks = vec![
        Check {
            kind: Kind::Timing,
            ..Check::count("round trips without a kernel timestamp", 0, missing as u64)
        },
        Check::count("round trips shorter than the kernel's", 0, negative as u64),
        Check::told("round trip as loadgen sees it, p50", "us", quantile(&ours, 0.5)),
        Check::told("round trip as loadgen sees it, p99", "us", quantile(&ours, 0.99)),
        Check::at_most("client bias p50", "us", 0.0, quantile(&bias, 0.5), 10.0),
        Check::at_most("client bias p99", "us", 0.0, quantile(&bias, 0.99), 30.0),
    ];
    Ok(Finding::new("AC7", title, checks, Some(quiet)))
}

fn ours_us(trip: &RoundTrip) -> Option<f64> {
    Some(ns_to_us(trip.ours_ns))
}

fn bias_us(trip: &RoundTrip) -> Option<f64> {
    trip.kernel_ns
        .map(|kernel_ns| (count_f64(trip.ours_ns) - count_f64(kernel_ns)) / 1e3)
}
