//! AC3: constant service without a queue. AC4: each message of a queue against its replay. AC5: whole runs against the
//! closed forms of queueing theory.

use super::behaviour::{Behaviour, Service};
use super::bench::{Bench, FRAME_BYTES, Length, Ran, open_loop};
use super::distribution::quantile;
use super::scorecard::{Check, Finding, Quiet};
use super::theory::{Queue, lindley};
use crate::failure::Failure;
use crate::record::{Arrivals, Workload};
use crate::recorder::trace::Traced;
use crate::units::{count_f64, len_f64, ns_to_ms};
use std::time::Duration;

const SERVICE_NS: u64 = 1_000_000;
/// Half of what the server can serve: above that, percentiles of a run of seconds scatter too much to be compared.
const RATE_PER_S: u64 = 500;
/// More than ever wait: the queue then stands at the server, on one connection in the order of the plan.
const PIPELINE: u32 = 256;
/// The messages that prove the connection come first: as many as may be under way.
const FRAMES_BEFORE: u64 = PIPELINE as u64;

/// A message each 2 ms, each served for 1 ms: no queue ever.
///
/// # Errors
/// A fault of ours.
pub fn ac3(bench: &Bench<'_>) -> Result<Finding, Failure> {
    let seconds = bench.length.of(1, 3, 10);
    let ran = run(
        bench,
        Arrivals::Constant,
        Service::Constant { ns: SERVICE_NS },
        seconds,
        1,
    )?;
    let mut response: Vec<u64> = traced(&ran).iter().map(response_ns).collect();
    response.sort_unstable();
    let mut checks = complete(&ran, "", seconds, 1);
    if !response.is_empty() {
        let at = |q| ns_to_ms(quantile(&response, q));
        checks.extend([
            Check::at_least("lowest response", "ms", 1.0, at(0.0), 1.0).exact(),
            Check::timing("p50", "ms", 1.0, at(0.5), 0.0, 0.15),
            Check::timing("p99", "ms", 1.0, at(0.99), 0.0, 0.6),
        ]);
    }
    Ok(Finding::new(
        "AC3",
        "constant service of 1 ms, a message every 2 ms: no queue",
        checks,
        Some(ran.quiet),
    ))
}

/// What AC3 found the way to the server and back to add to the service, in milliseconds.
fn overhead_ms(ac3: &Finding) -> Option<f64> {
    let p50 = ac3.checks.iter().find(|check| check.quantity == "p50")?;
    Some(p50.measured - p50.expected?)
}

/// One run of a queue, kept for AC4 and AC5.
struct Queued {
    name: &'static str,
    form: Queue,
    ran: Ran,
    /// Planned to answered, in the order of the plan.
    measured_ns: Vec<u64>,
    expected_ns: Vec<u64>,
    seconds: u64,
}

/// The same runs, judged message by message and, when long enough, against the closed forms.
///
/// # Errors
/// A fault of ours.
pub fn ac4_and_ac5(bench: &Bench<'_>, ac3: Option<&Finding>) -> Result<Vec<Finding>, Failure> {
    let random = Service::Exponential {
        mean_ns: SERVICE_NS,
        seed: bench.seed,
        first: FRAMES_BEFORE,
    };
    let constant = Service::Constant { ns: SERVICE_NS };
    let mut plans = vec![("M/M/1", Queue::MM1, Arrivals::Poisson, random)];
    if bench.length == Length::Full {
        plans.push(("M/D/1", Queue::MD1, Arrivals::Poisson, constant));
        plans.push(("D/M/1", Queue::DM1, Arrivals::Constant, random));
    }
    let seconds = bench.length.of(2, 5, 30);
    let mut runs = Vec::new();
    for (name, form, arrivals, service) in plans {
        let ran = run(bench, arrivals, service, seconds, PIPELINE)?;
        let messages = traced(&ran);
        let planned: Vec<u64> = messages.iter().map(|message| message.planned_ns).collect();
        let service: Vec<u64> = (FRAMES_BEFORE..)
            .take(planned.len())
            .map(|frame| service.of_frame(frame))
            .collect();
        runs.push(Queued {
            name,
            form,
            measured_ns: messages.iter().map(response_ns).collect(),
            expected_ns: lindley(&planned, &service),
            ran,
            seconds,
        });
    }
    let mut findings = vec![ac4(&runs)];
    // A run of seconds has too few messages for a p99 that would be near its closed form.
    if let Some(ac3) = ac3.filter(|_| bench.length == Length::Full) {
        findings.push(ac5(&runs, ac3));
    }
    Ok(findings)
}

fn ac4(runs: &[Queued]) -> Finding {
    let mut checks = Vec::new();
    for run in runs {
        checks.extend(complete(
            &run.ran,
            &format!("{}: ", run.name),
            run.seconds,
            FRAMES_BEFORE,
        ));
        checks.extend(residuals(run));
    }
    Finding::new(
        "AC4",
        "every message of a queue against Lindley's replay of its plan, load 0.5",
        checks,
        quiet_of(runs),
    )
}

/// Measured less expected, message by message. A message cannot be faster than its replay; one that is late delays those
/// behind it, so the residual is skewed, but it must not grow from begin to end.
fn residuals(run: &Queued) -> Vec<Check> {
    let of = |part: std::ops::Range<usize>| -> Vec<f64> {
        let mut residuals: Vec<f64> = part
            .map(|index| ns_to_ms(run.measured_ns[index]) - ns_to_ms(run.expected_ns[index]))
            .collect();
        residuals.sort_by(f64::total_cmp);
        residuals
    };
    let n = run.measured_ns.len();
    if n < 4 {
        return vec![Check::count(format!("{}: messages to compare", run.name), 4, n as u64)];
    }
    let all = of(0..n);
    let drift = quantile(&of(3 * n / 4..n), 0.5) - quantile(&of(0..n / 4), 0.5);
    let too_fast = run
        .measured_ns
        .iter()
        .zip(&run.expected_ns)
        .filter(|(measured, expected)| measured < expected)
        .count();
    let mut checks = vec![Check::count(
        format!("{}: messages faster than their replay", run.name),
        0,
        too_fast as u64,
    )];
    for (name, q, limit) in [("p50", 0.5, 0.2), ("p90", 0.9, 0.5), ("p99", 0.99, 3.0)] {
        let residual = quantile(&all, q);
        checks.push(Check::at_most(
            format!("{}: residual {name}", run.name),
            "ms",
            0.0,
            residual,
            limit,
        ));
    }
    checks.push(Check::timing(
        format!("{}: residual, last quarter less first", run.name),
        "ms",
        0.0,
        drift,
        0.1,
        0.1,
    ));
    checks
}

/// The way to the server and back is taken from AC3 and added: it delays each message and holds up none behind it, as the
/// server's clock does not wait for it.
fn ac5(runs: &[Queued], ac3: &Finding) -> Finding {
    let way_ms = overhead_ms(ac3).unwrap_or(f64::NAN);
    let rate_per_ms = count_f64(RATE_PER_S) / 1000.0;
    let mut checks = vec![Check::told("way to the server and back, from AC3", "ms", way_ms)];
    for run in runs {
        let mut sorted: Vec<f64> = run.measured_ns.iter().map(|&ns| ns_to_ms(ns)).collect();
        sorted.sort_by(f64::total_cmp);
        if sorted.is_empty() {
            continue;
        }
        let mean = sorted.iter().sum::<f64>() / len_f64(sorted.len());
        let p99 = quantile(&sorted, 0.99);
        let mean_expected = way_ms + run.form.mean(rate_per_ms, ns_to_ms(SERVICE_NS));
        let p99_expected = way_ms + run.form.quantile(0.99, rate_per_ms, ns_to_ms(SERVICE_NS));
        for (name, expected, measured, share) in [("mean", mean_expected, mean, 0.08), ("p99", p99_expected, p99, 0.12)]
        {
            let within = share * expected;
            let name = format!("{}: {name}", run.name);
            checks.push(Check::timing(name, "ms", expected, measured, within, within));
        }
    }
    // A way measured on a busy machine would make a wrong expectation.
    let quiet = quiet_of(runs).zip(ac3.quiet).map(|(runs, ac3)| runs.and(ac3));
    Finding::new(
        "AC5",
        "the same runs against the closed forms of queueing theory",
        checks,
        Some(quiet.unwrap_or_default()),
    )
}

fn run(bench: &Bench<'_>, arrivals: Arrivals, service: Service, seconds: u64, pipeline: u32) -> Result<Ran, Failure> {
    let behaviour = Behaviour {
        service,
        ..Behaviour::echo(FRAME_BYTES)
    };
    let workload = Workload {
        pipeline,
        ..open_loop(1, RATE_PER_S, arrivals, Duration::from_secs(seconds))
    };
    // Twice what is planned: Poisson arrivals vary by a few percent.
    let room = usize::try_from(2 * RATE_PER_S * seconds).unwrap_or(0);
    bench.run(&behaviour, workload, room)
}

fn traced(ran: &Ran) -> &[Traced] {
    ran.recorded.recorder.trace.messages()
}

/// All messages were echoed and traced, and the server served them and the first echo.
fn complete(ran: &Ran, name: &str, seconds: u64, before: u64) -> Vec<Check> {
    let counts = ran.recorded.recorder.outcomes.counts;
    let traced = traced(ran).len() as u64;
    let frames = ran.stats.bytes_in / FRAME_BYTES;
    vec![
        Check::count(format!("{name}messages echoed"), counts.planned, counts.ok),
        Check::count(format!("{name}messages traced"), counts.planned, traced),
        Check::count(format!("{name}frames served"), counts.planned + before, frames),
        Check::told(format!("{name}messages in {seconds} s"), "", count_f64(counts.planned)),
    ]
}

fn quiet_of(runs: &[Queued]) -> Option<Quiet> {
    runs.iter().map(|run| run.ran.quiet).reduce(Quiet::and)
}

fn response_ns(message: &Traced) -> u64 {
    message.answered_ns - message.planned_ns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{OpenLoop, Waiting};
    use crate::workload::schedule::Schedule;

    /// Mean and p99 in milliseconds of a perfect server under the plan of 30 s that a full calibration makes.
    fn replayed(seed: u64, arrivals: Arrivals, service: Service) -> (f64, f64) {
        let open = OpenLoop {
            rate_per_s: RATE_PER_S,
            arrivals,
            ramp_ms: 0,
            waiting: Waiting::Hybrid,
        };
        let mut schedule = Schedule::new(&open, seed);
        let planned: Vec<u64> = std::iter::from_fn(|| schedule.next_due(30_000_000_000)).collect();
        let service: Vec<u64> = (FRAMES_BEFORE..)
            .take(planned.len())
            .map(|frame| service.of_frame(frame))
            .collect();
        let mut responses = lindley(&planned, &service);
        responses.sort_unstable();
        let mean = ns_to_ms(responses.iter().sum()) / len_f64(responses.len());
        (mean, ns_to_ms(quantile(&responses, 0.99)))
    }

    #[test]
    fn the_default_seeds_queues_are_as_the_closed_forms_say() {
        let random = Service::Exponential {
            mean_ns: SERVICE_NS,
            seed: 1,
            first: FRAMES_BEFORE,
        };
        let constant = Service::Constant { ns: SERVICE_NS };
        for (form, arrivals, service) in [
            (Queue::MM1, Arrivals::Poisson, random),
            (Queue::MD1, Arrivals::Poisson, constant),
            (Queue::DM1, Arrivals::Constant, random),
        ] {
            let (mean, p99) = replayed(1, arrivals, service);
            let (mean_expected, p99_expected) = (form.mean(0.5, 1.0), form.quantile(0.99, 0.5, 1.0));
            // Well within what AC5 allows: the rest is for the machine.
            assert!(
                (mean / mean_expected - 1.0).abs() < 0.04,
                "{form:?}: {mean} {mean_expected}"
            );
            assert!(
                (p99 / p99_expected - 1.0).abs() < 0.08,
                "{form:?}: {p99} {p99_expected}"
            );
        }
    }
}
