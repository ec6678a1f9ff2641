//! AC1: a stall shows in an open loop, by its formula. AC2: the same stall hides in a closed loop, and the reader is warned.

use super::behaviour::{Behaviour, Freeze};
use super::bench::{Bench, FRAME_BYTES, closed_loop, open_loop};
use super::scorecard::{Check, Finding, Kind, Quiet};
use super::theory::Stall;
use crate::failure::Failure;
use crate::record::Arrivals;
use crate::recorder::latency::LatencyHistogram;
use crate::units::{count_f64, ns_to_ms};
use crate::validity::omission;
use std::time::Duration;

const STALL_MS: f64 = 100.0;
const PERIOD_MS: f64 = 1000.0;
/// What a figure may exceed the formula by: the backlog of a stall needs a moment to drain.
const ABOVE_MS: f64 = 2.5;
const MEAN_ABOVE_MS: f64 = 0.6;

/// Messages per second and clients. The first has a free client for every message; in the second most messages of a stall
/// wait in the plan, and their waiting must count.
const LOADS: [(u64, u32); 2] = [(2_000, 256), (1_000, 16)];

/// Silent for so long in every second.
fn freezing(length_ms: u64) -> Behaviour {
    Behaviour {
        freeze: Some(Freeze {
            length_ns: length_ms * 1_000_000,
            period_ns: 1_000_000_000,
        }),
        ..Behaviour::echo(FRAME_BYTES)
    }
}

/// Runs both loads for so many whole periods of the stall: then it does not matter when in a period they begin.
///
/// # Errors
/// A fault of ours.
pub fn ac1(bench: &Bench<'_>) -> Result<Finding, Failure> {
    let periods = bench.length.of(3, 5, 20);
    let mut checks = Vec::new();
    let mut quiet: Option<Quiet> = None;
    for (rate, clients) in LOADS {
        let workload = open_loop(clients, rate, Arrivals::Constant, Duration::from_secs(periods));
        let ran = bench.run(&freezing(100), workload, 0)?;
        let recorder = &ran.recorded.recorder;
        let load = format!("{rate}/s over {clients} clients: ");
        checks.extend(against_the_formula(&load, rate, &recorder.response));
        checks.push(Check::count(
            format!("{load}messages echoed"),
            rate * periods,
            recorder.outcomes.counts.ok,
        ));
        quiet = Some(quiet.map_or(ran.quiet, |before| before.and(ran.quiet)));
    }
    Ok(Finding::new(
        "AC1",
        "open loop: a server frozen 100 ms every second",
        checks,
        quiet,
    ))
}

/// Percentiles and mean of the response. Below, nothing excuses a difference but the distance of two messages; above, a
/// busy machine does.
fn against_the_formula(load: &str, rate: u64, response: &LatencyHistogram) -> Vec<Check> {
    let formula = Stall {
        stall: STALL_MS,
        period: PERIOD_MS,
        load: 0.0,
    };
    let distance_ms = 1000.0 / count_f64(rate);
    let mut checks = Vec::new();
    for (name, q) in [("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)] {
        let (expected, measured) = (formula.quantile(q), ns_to_ms(response.value_at_share(q)));
        let below = distance_ms + 0.001 * expected;
        checks.push(Check::timing(
            format!("{load}{name}"),
            "ms",
            expected,
            measured,
            below,
            ABOVE_MS,
        ));
        checks.push(
            Check::at_least(
                format!("{load}{name} does not hide the stall"),
                "ms",
                expected,
                measured,
                expected - below,
            )
            .exact(),
        );
    }
    let mean_ms = response.summary().mean.unwrap_or(f64::NAN) / 1e6;
    let below = distance_ms * STALL_MS / PERIOD_MS;
    checks.push(Check::timing(
        format!("{load}mean"),
        "ms",
        formula.mean(),
        mean_ms,
        below,
        MEAN_ABOVE_MS,
    ));
    checks
}

/// Runs the closed loop against the same server.
///
/// # Errors
/// A fault of ours.
pub fn ac2(bench: &Bench<'_>) -> Result<Finding, Failure> {
    let periods = bench.length.of(2, 3, 10);
    let run = |clients, stall_ms| {
        bench.run(
            &freezing(stall_ms),
            closed_loop(clients, Duration::from_secs(periods)),
            0,
        )
    };
    let mut checks = Vec::new();
    let mut quiet: Option<Quiet> = None;
    for clients in [1, 16] {
        let ran = run(clients, 100)?;
        let response = &ran.recorded.recorder.response;
        let name = format!("{clients} of a closed loop: ");
        checks.push(slowest(&name, STALL_MS, response));
        checks.push(Check::at_most(
            format!("{name}p99 hides the stall (open loop: 90)"),
            "ms",
            0.0,
            ns_to_ms(response.value_at_share(0.99)),
            STALL_MS / 50.0,
        ));
        checks.push(Check {
            kind: Kind::Timing,
            ..warning(&name, response)
        });
        quiet = Some(quiet.map_or(ran.quiet, |before| before.and(ran.quiet)));
    }
    // On a busy machine the p99 may be no stall's and yet a tenth of one. Five times the stall leaves no such excuse.
    let ran = run(1, 500)?;
    let (name, response) = (
        "1 of a closed loop, stalls of 500 ms: ",
        &ran.recorded.recorder.response,
    );
    checks.extend([slowest(name, 5.0 * STALL_MS, response), warning(name, response)]);
    Ok(Finding::new(
        "AC2",
        "closed loop against the same server: the stall hides, and the summary warns",
        checks,
        quiet,
    ))
}

/// Each client meets a stall once in a period, whatever else it sends.
fn slowest(name: &str, stall_ms: f64, response: &LatencyHistogram) -> Check {
    let max_ms = ns_to_ms(response.summary().max.unwrap_or(0));
    Check::at_least(
        format!("{name}slowest response"),
        "ms",
        stall_ms,
        max_ms,
        0.9 * stall_ms,
    )
    .exact()
}

/// What the summary of a run says of these response times.
fn warning(name: &str, response: &LatencyHistogram) -> Check {
    let warned = omission::closed_loop(&response.summary()).is_some();
    Check::count(format!("{name}warns of coordinated omission"), 1, u64::from(warned))
}

#[cfg(test)]
mod tests {
    use super::super::scorecard::Verdict;
    use super::*;

    fn verdict(response: &LatencyHistogram) -> Verdict {
        let quiet = Quiet {
            foreign_cpu_percent: Some(0.0),
            run_queue_delay_percent: Some(0.0),
        };
        Finding::new("AC1", "", against_the_formula("", 1_000, response), Some(quiet)).verdict
    }

    #[test]
    fn a_stall_that_delays_every_planned_message_passes() {
        let mut response = LatencyHistogram::default();
        // A period of a thousand planned messages, a hundred of them in the stall.
        for planned_ms in 0..1000_u64 {
            response.record(100_000 + 100_u64.saturating_sub(planned_ms) * 1_000_000);
        }
        assert_eq!(verdict(&response), Verdict::Pass);
    }

    #[test]
    fn a_generator_that_waits_for_the_reply_and_forgets_its_plan_fails() {
        let mut response = LatencyHistogram::default();
        response.record_n(100_000, 899);
        response.record(100_100_000);
        assert_eq!(verdict(&response), Verdict::Fail);
    }
}
