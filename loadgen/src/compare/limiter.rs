//! Names what held the server back, as far as the figures of the record show it. Pure.

use crate::record::{Limiter, Measurement};
use crate::validity::gates;

/// Above this share of its CPUs, in percent, a side is at its limit.
const BUSY_PERCENT: f64 = 90.0;

/// The resource that ended the growth; the record's costs and connections must be there.
pub(super) fn limiter(measurement: &Measurement) -> Limiter {
    // A worker without a CPU of its own cannot use one.
    let workers = measurement.target.workers.unwrap_or(1).max(1);
    let cpus = gates::server_cpus(measurement).unwrap_or(workers).max(1);
    let workers = f64::from(workers.min(cpus));
    let (server, loadgen) = (&measurement.server_cost, &measurement.loadgen_cost);
    let is_above = |percent: Option<f64>, limit: f64| percent.is_some_and(|percent| percent >= limit);
    if measurement.connections.reached < measurement.connections.asked {
        Limiter::Connections
    } else if is_above(server.cpu_percent, BUSY_PERCENT * workers) {
        Limiter::ServerCpu
    } else if loadgen.cpu_percent_max >= BUSY_PERCENT {
        Limiter::ClientCpu
    } else if is_above(
        loadgen.run_queue_delay_percent_max,
        gates::run_queue_delay_limit(measurement),
    ) {
        Limiter::RunQueue
    } else {
        Limiter::Unknown
    }
}
