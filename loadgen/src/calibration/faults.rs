//! AC9: conservation, and faults counted as exactly as many as there were.

use super::behaviour::{Behaviour, Fault, Misdeed};
use super::bench::{Bench, FRAME_BYTES, Ran, job, open_loop};
use super::scorecard::{Check, Finding};
use crate::engine::Recorded;
use crate::failure::Failure;
use crate::record::Counts;
use crate::record::{Arrivals, Workload};
use std::time::Duration;

/// Clients and messages of each.
const CLIENTS: u32 = 10;
/// Swallowed messages wait for so long, one after the other at worst.
const TIMEOUT_MS: u64 = 300;

/// Runs a job for each kind of fault, in which exactly k frames meet it.
///
/// # Errors
/// A fault of ours.
pub fn ac9(bench: &Bench<'_>) -> Result<Finding, Failure> {
    let messages = bench.length.of(100, 100, 1000);
    let total = u64::from(CLIENTS) * messages;
    let k = total / 100;
    let mut checks = Vec::new();
    for (name, misdeed, of) in MISDEEDS {
        let ran = bench.run_with_timeout(
            &faulty(misdeed, (0..k).map(|fault| 100 * fault + 37)),
            job(CLIENTS, messages),
            0,
            TIMEOUT_MS,
        )?;
        let counts = ran.recorded.recorder.outcomes.counts;
        checks.push(Check::count(format!("{name} replies of {total}"), k, of(&counts)));
        checks.push(Check::count(format!("{name}: all errors"), k, counts.errors()));
        checks.push(not_conserved(&format!("{name}: messages"), &ran.recorded));
    }
    checks.extend(by_plan(bench)?);
    checks.extend(pipelined(bench, messages)?);
    checks.extend(reset_at_accept(bench)?);
    checks.extend(refused(bench)?);
    checks.extend(faultless(bench, messages)?);
    Ok(Finding::new(
        "AC9",
        "faults and conservation: exactly k frames corrupted, truncated, reset, swallowed, connections refused",
        checks,
        None,
    ))
}

type Class = fn(&Counts) -> u64;

const MISDEEDS: [(&str, Misdeed, Class); 4] = [
    ("corrupted", Misdeed::Corrupt, |counts| counts.corrupted),
    ("truncated", Misdeed::Truncate, |counts| counts.truncated),
    ("reset", Misdeed::Reset, |counts| counts.reset),
    ("swallowed", Misdeed::Swallow, |counts| counts.timeout),
];

fn faulty(misdeed: Misdeed, frames: impl Iterator<Item = u64>) -> Behaviour {
    Behaviour {
        faults: frames.map(|frame| Fault { frame, misdeed }).collect(),
        ..Behaviour::echo(FRAME_BYTES)
    }
}

/// The same in an open loop, all kinds in one run.
fn by_plan(bench: &Bench<'_>) -> Result<Vec<Check>, Failure> {
    let (rate, seconds, k) = (500, 2, 8);
    // The first frames prove the connections, and are no messages of the plan.
    let first = u64::from(CLIENTS);
    let faults = (0..4 * k).map(|number| Fault {
        frame: first + 10 + 25 * number,
        misdeed: MISDEEDS[usize::try_from(number % 4).unwrap_or(0)].1,
    });
    let behaviour = Behaviour {
        faults: faults.collect(),
        ..Behaviour::echo(FRAME_BYTES)
    };
    let workload = open_loop(CLIENTS, rate, Arrivals::Constant, Duration::from_secs(seconds));
    let ran = bench.run_with_timeout(&behaviour, workload, 0, TIMEOUT_MS)?;
    let counts = ran.recorded.recorder.outcomes.counts;
    let mut checks = vec![Check::count(
        "open loop: planned messages",
        rate * seconds,
        counts.planned,
    )];
    for (name, _, of) in MISDEEDS {
        checks.push(Check::count(format!("open loop: {name} replies"), k, of(&counts)));
    }
    checks.push(not_conserved("open loop: messages", &ran.recorded));
    Ok(checks)
}

/// With sixteen messages under way only the one at fault is corrupted; the others on its connection count as reset. The
/// faults are so far apart that no frame at fault is lost with the connection of the one before.
fn pipelined(bench: &Bench<'_>, messages: u64) -> Result<[Check; 2], Failure> {
    let (clients, pipeline) = (4, 16);
    let total = clients * messages;
    let k = total / 400;
    let workload = Workload {
        pipeline: 16,
        ..job(4, messages)
    };
    let ran = bench.run(
        &faulty(
            Misdeed::Corrupt,
            (0..k).map(|fault| 300 * fault + 3 * clients * pipeline),
        ),
        workload,
        0,
    )?;
    let counts = ran.recorded.recorder.outcomes.counts;
    Ok([
        Check::count(
            format!("corrupted replies of {total}, 16 under way"),
            k,
            counts.corrupted,
        ),
        not_conserved("16 under way: messages", &ran.recorded),
    ])
}

/// Whether the first message sees the reset or the connect() does is a race; that it costs exactly one message is not.
fn reset_at_accept(bench: &Bench<'_>) -> Result<[Check; 2], Failure> {
    let behaviour = Behaviour {
        reset_at_accept: vec![1, 4, 7],
        ..Behaviour::echo(FRAME_BYTES)
    };
    let ran = bench.run(&behaviour, job(CLIENTS, 10), 0)?;
    let counts = ran.recorded.recorder.outcomes.counts;
    Ok([
        Check::count(
            "connections reset at accept, counted as reset or refused",
            3,
            counts.reset + counts.refused,
        ),
        not_conserved("reset at accept: messages", &ran.recorded),
    ])
}

fn refused(bench: &Bench<'_>) -> Result<[Check; 2], Failure> {
    let recorded = bench.run_against_nobody(job(CLIENTS, 5))?;
    let counts = recorded.recorder.outcomes.counts;
    Ok([
        Check::count("messages without a connection", u64::from(CLIENTS) * 5, counts.refused),
        not_conserved("refused: messages", &recorded),
    ])
}

/// Without faults both ends must have counted the same bytes.
fn faultless(bench: &Bench<'_>, messages: u64) -> Result<[Check; 3], Failure> {
    let ran: Ran = bench.run(&Behaviour::echo(FRAME_BYTES), job(CLIENTS, messages), 0)?;
    let total = u64::from(CLIENTS) * messages;
    let ours = ran.recorded.recorder.totals;
    Ok([
        Check::count(
            "without faults: echoed",
            total,
            ran.recorded.recorder.outcomes.counts.ok,
        ),
        Check::count(
            "without faults: bytes that the server read",
            ours.bytes_sent,
            ran.stats.bytes_in,
        ),
        Check::count(
            "without faults: bytes that came back",
            ran.stats.bytes_out,
            ours.bytes_received,
        ),
    ])
}

/// Sums that do not hold: planned = sent + dropped; sent = ok + classes + in flight; histogram and windows count alike.
fn not_conserved(what: &str, recorded: &Recorded) -> Check {
    let counts = recorded.recorder.outcomes.counts;
    let windows: u64 = recorded
        .recorder
        .windows
        .windows()
        .iter()
        .map(|window| window.ok + window.errors)
        .sum();
    let lost = counts.planned.abs_diff(counts.sent + counts.dropped)
        + counts
            .sent
            .abs_diff(counts.ok + counts.errors() + counts.in_flight_at_stop)
        + (recorded.recorder.response.count() + counts.in_flight_at_stop).abs_diff(counts.sent)
        + windows.abs_diff(counts.ok + counts.errors());
    Check::count(format!("{what} not accounted for"), 0, lost)
}
