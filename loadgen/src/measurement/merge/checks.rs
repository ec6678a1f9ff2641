//! Refuses records that are not shares of one load.

use super::Part;
use crate::record::{Measurement, OpenLoop, Pacing, Plan, Stop, Target, Workload};

/// Names the first record that differs, and in what.
pub(super) fn check_one_load(parts: &[Part]) -> Result<(), String> {
    let first = &parts[0];
    for (place, part) in parts.iter().enumerate() {
        if let Some(twin) = parts[..place].iter().find(|before| before.record == part.record) {
            return Err(format!(
                "{} and {} are the same record: each generator's counts once",
                twin.name, part.name
            ));
        }
        let differs = |what: &str, one: String, other: String| {
            Err(format!(
                "{} and {} are not shares of one load: their {what} differ ({one} and {other})",
                first.name, part.name
            ))
        };
        let (one, other) = (&first.record, &part.record);
        if host(&one.target) != host(&other.target) {
            return differs("targets", host(&one.target), host(&other.target));
        }
        if share(&one.plan.workload) != share(&other.plan.workload) {
            let text = |record: &Measurement| format!("{:?}", share(&record.plan.workload));
            return differs("workloads", text(one), text(other));
        }
        for (what, of) in SAME_IN_ALL {
            if of(&one.plan) != of(&other.plan) {
                return differs(what, of(&one.plan), of(&other.plan));
            }
        }
        if other.repetitions.len() > 1 {
            return Err(format!(
                "{} holds {} runs of a job, and generators only run together once: measure with `loadgen --target`, not in a comparison",
                part.name,
                other.repetitions.len()
            ));
        }
        if !other.generators.is_empty() {
            return Err(format!(
                "{} is itself merged: give the records it was made from",
                part.name
            ));
        }
    }
    Ok(())
}

/// Fields of the plan that all generators share.
type Field = (&'static str, fn(&Plan) -> String);
const SAME_IN_ALL: &[Field] = &[
    ("values of --timeout", |plan| format!("{} ms", plan.timeout_ms)),
    ("values of --start-at", |plan| {
        plan.start_at.clone().unwrap_or_else(|| "none".to_string())
    }),
];

/// The target without its port: each generator may have a server of its own.
fn host(target: &Target) -> String {
    match target.name.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host.to_string(),
        _ => target.name.clone(),
    }
}

/// The workload without the share of this generator.
fn share(workload: &Workload) -> Workload {
    Workload {
        clients: 0,
        active_clients: workload.active_clients.map(|_| 0),
        pacing: match workload.pacing {
            Pacing::OpenLoop(open) => Pacing::OpenLoop(OpenLoop { rate_per_s: 0, ..open }),
            Pacing::ClosedLoop => Pacing::ClosedLoop,
        },
        stop: match workload.stop {
            Stop::TotalMessages(_) => Stop::TotalMessages(0),
            other => other,
        },
        ..workload.clone()
    }
}
