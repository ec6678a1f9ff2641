//! AC6: messages leave when they were planned to, and the plan has the distribution it is said to have.

use super::behaviour::Behaviour;
use super::bench::{Bench, FRAME_BYTES, open_loop};
use super::distribution::{anderson_darling_exponential, ks_distance, quantile};
use super::scorecard::{Check, Finding, Quiet};
use crate::failure::Failure;
use crate::record::{Arrivals, OpenLoop, Pacing, Waiting, Workload};
use crate::recorder::trace::Traced;
use crate::units::{count_f64, len_f64, ns_to_s};
use crate::workload::schedule::Schedule;
use std::time::Duration;

/// So many draws of so many gaps are tested; on far larger samples any test of a distribution rejects in the end.
const DRAWS: usize = 100;
const GAPS_OF_A_DRAW: usize = 1000;
/// Of Anderson and Darling's A² at 1 %: a true Poisson plan loses one draw of a hundred.
const CRITICAL_1_PERCENT: f64 = 3.857;
const DRAWS_TO_PASS: f64 = 95.0;

/// A send over loopback, on whose way the kernel does the receiver's work too, takes up to so long.
const SEND_S: f64 = 10e-6;

/// What is run: rate, arrivals, how the thread waits, and the highest p99 of the send lag in microseconds.
const RUNS: [(u64, Arrivals, Waiting, f64); 6] = [
    (1_000, Arrivals::Constant, Waiting::Hybrid, 100.0),
    (10_000, Arrivals::Poisson, Waiting::Hybrid, 100.0),
    (1_000, Arrivals::Poisson, Waiting::Hybrid, 100.0),
    (10_000, Arrivals::Constant, Waiting::Hybrid, 100.0),
    (1_000, Arrivals::Constant, Waiting::Sleep, 200.0),
    (1_000, Arrivals::Constant, Waiting::Spin, 20.0),
];
/// A quick calibration takes the first two.
const QUICK_RUNS: usize = 2;

/// Sends by several plans and looks when each message left.
///
/// # Errors
/// A fault of ours.
pub fn ac6(bench: &Bench<'_>) -> Result<Finding, Failure> {
    let (count, seconds) = bench.length.of((QUICK_RUNS, 1), (QUICK_RUNS, 3), (RUNS.len(), 10));
    let mut checks = vec![poisson_plan(1_000, bench.seed), poisson_plan(10_000, bench.seed)];
    let mut quiet: Option<Quiet> = None;
    for (rate, arrivals, waiting, lag_limit_us) in RUNS.into_iter().take(count) {
        let workload = by(waiting, open_loop(64, rate, arrivals, Duration::from_secs(seconds)));
        let room = usize::try_from(2 * rate * seconds).unwrap_or(0);
        let ran = bench.run(&Behaviour::echo(FRAME_BYTES), workload, room)?;
        let name = format!("{rate}/s {} {}: ", word(arrivals), word_of(waiting));
        let counts = ran.recorded.recorder.outcomes.counts;
        checks.push(Check::count(format!("{name}planned and not sent"), 0, counts.dropped));
        checks.push(Check::count(
            format!("{name}sent and not echoed"),
            0,
            counts.sent - counts.ok,
        ));
        checks.extend(of_sends(
            &name,
            rate,
            arrivals,
            lag_limit_us,
            ran.recorded.recorder.trace.messages(),
        ));
        quiet = Some(quiet.map_or(ran.quiet, |before| before.and(ran.quiet)));
    }
    Ok(Finding::new(
        "AC6",
        "the schedule: rate, gaps, distribution and send lag",
        checks,
        quiet,
    ))
}

fn by(waiting: Waiting, workload: Workload) -> Workload {
    match workload.pacing {
        Pacing::OpenLoop(open) => Workload {
            pacing: Pacing::OpenLoop(OpenLoop { waiting, ..open }),
            ..workload
        },
        Pacing::ClosedLoop => workload,
    }
}

/// The plan itself, which no busy machine can disturb.
fn poisson_plan(rate: u64, seed: u64) -> Check {
    let open = OpenLoop {
        rate_per_s: rate,
        arrivals: Arrivals::Poisson,
        ramp_ms: 0,
        waiting: Waiting::Hybrid,
    };
    let mut schedule = Schedule::new(&open, seed);
    let mut due_ns = schedule.due_ns();
    let mut gap_s = || {
        schedule.advance();
        let gap_ns = schedule.due_ns() - due_ns;
        due_ns += gap_ns;
        ns_to_s(gap_ns)
    };
    let passed = (0..DRAWS)
        .filter(|_| {
            let draw: Vec<f64> = (0..GAPS_OF_A_DRAW).map(|_| gap_s()).collect();
            anderson_darling_exponential(&draw, count_f64(rate)) < CRITICAL_1_PERCENT
        })
        .count();
    Check::at_least(
        format!("plan of {rate}/s poisson: draws of {GAPS_OF_A_DRAW} gaps that Anderson-Darling passes at 1 %"),
        "",
        99.0,
        len_f64(passed),
        DRAWS_TO_PASS,
    )
    .exact()
}

/// What the actual sends show.
fn of_sends(name: &str, rate: u64, arrivals: Arrivals, lag_limit_us: f64, messages: &[Traced]) -> Vec<Check> {
    let mut planned: Vec<u64> = messages.iter().map(|message| message.planned_ns).collect();
    let mut sent: Vec<u64> = messages.iter().map(|message| message.sent_ns).collect();
    let mut lag_us: Vec<f64> = messages
        .iter()
        .map(|message| (count_f64(message.sent_ns) - count_f64(message.planned_ns)) / 1e3)
        .collect();
    planned.sort_unstable();
    sent.sort_unstable();
    lag_us.sort_by(f64::total_cmp);
    if sent.len() < 2 {
        return vec![Check::count(format!("{name}messages traced"), 2, sent.len() as u64)];
    }
    let span = |times: &[u64]| ns_to_s(times[times.len() - 1] - times[0]);
    let gaps: Vec<f64> = sent.windows(2).map(|pair| ns_to_s(pair[1] - pair[0])).collect();
    let (p50, p99) = (quantile(&lag_us, 0.5), quantile(&lag_us, 0.99));
    let mut checks = vec![
        Check::at_least(format!("{name}earliest send after its plan"), "us", 0.0, lag_us[0], 0.0).exact(),
        Check::timing(
            format!("{name}achieved rate / planned"),
            "",
            1.0,
            span(&planned) / span(&sent),
            0.005,
            0.005,
        ),
        Check::told(format!("{name}send lag p50"), "us", p50),
        Check::at_most(format!("{name}send lag p99"), "us", 0.0, p99, lag_limit_us),
    ];
    checks.push(if arrivals == Arrivals::Poisson {
        // A true sample of n gaps is further away than 1.95 / sqrt(n) once in a thousand times (Kolmogorov). And no message
        // leaves while the one before is being sent, so the shortest gaps are missing.
        let limit = f64::max(0.02, 1.95 / len_f64(gaps.len()).sqrt()) + 1.0 - (-SEND_S * count_f64(rate)).exp();
        let distance = ks_distance(&gaps, |gap| 1.0 - (-gap * count_f64(rate)).exp());
        Check::at_most(
            format!("{name}Kolmogorov distance of the gaps from exponential"),
            "",
            0.0,
            distance,
            limit,
        )
    } else {
        let mut off_us: Vec<f64> = gaps
            .iter()
            .map(|gap| (gap - 1.0 / count_f64(rate)).abs() * 1e6)
            .collect();
        off_us.sort_by(f64::total_cmp);
        // Each end of a gap may lag.
        Check::at_most(
            format!("{name}gap off the plan, p99"),
            "us",
            0.0,
            quantile(&off_us, 0.99),
            2.0 * lag_limit_us,
        )
    });
    checks
}

fn word(arrivals: Arrivals) -> &'static str {
    match arrivals {
        Arrivals::Constant => "constant",
        Arrivals::Poisson => "poisson",
        Arrivals::Burst(_) => "burst",
    }
}

fn word_of(waiting: Waiting) -> &'static str {
    match waiting {
        Waiting::Sleep => "sleep",
        Waiting::Hybrid => "hybrid",
        Waiting::Spin => "spin",
    }
}
