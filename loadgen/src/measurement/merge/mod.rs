//! Adds the records of several generators that pressed at the same time. Exact: histograms, windows, counts and
//! connections are added, never averaged, and the order of the records does not matter. Pure: reads no clock and no file.

mod checks;
mod facts;
mod spans;
mod sums;

use self::facts::Facts;
use self::spans::Spans;
use self::sums::Distributions;
use crate::record::{
    BesideFigures, FirstFailure, GateName, Generator, Incomplete, Isolation, Limiter, Measurement, Reason,
    SCHEMA_VERSION, Throughput,
};
use crate::units::{count_f64, len_f64};
use std::collections::BTreeSet;

/// Shortest share of the longest measured phase in which all generators must have pressed.
const OVERLAP: f64 = 0.95;

/// One generator's record.
#[derive(Clone, Debug)]
pub struct Part {
    /// File of the record.
    pub name: String,
    pub record: Measurement,
}

/// The record of all generators together. `lost` names those whose records are missing: their clients count as asked for
/// and not reached, and the verdict says so.
///
/// # Errors
/// One sentence naming the records that do not belong together, and why.
pub fn merge(mut parts: Vec<Part>, lost: &[String]) -> Result<Measurement, String> {
    if parts.is_empty() {
        return Err("there is no record to begin with".to_string());
    }
    // One order, whatever the caller's: sums of floating-point figures depend on it.
    parts.sort_by_cached_key(|part| {
        let text = serde_json::to_string(&part.record).expect("a record is plain data");
        (part.record.identity.measured_from.clone(), part.record.plan.seed, text)
    });
    checks::check_one_load(&parts)?;
    let spans = spans::spans(&parts)?;
    let histograms = Distributions::merged(&parts)?;
    let mut merged = added(&parts, &spans, &histograms);
    let asked = parts.iter().map(|part| part.record.connections.asked);
    let lost_clients = lost.len() as u64 * asked.max().unwrap_or(0);
    merged.connections.asked += lost_clients;
    merged.plan.workload.clients += u32::try_from(lost_clients).unwrap_or(u32::MAX);
    if merged.connections.reached < merged.connections.asked {
        merged.limiter = Limiter::Connections;
    }
    merged.reasons = reasons(&parts, &merged, &spans, lost);
    merged.valid = merged.all_possible_stand();
    Ok(merged)
}

/// Every field, by name: one that is new in the record has to be thought of here. No verdict yet.
fn added(parts: &[Part], spans: &Spans, histograms: &Distributions) -> Measurement {
    let one_server = have_one_server(parts);
    let whole_s = spans.all().length();
    let records = || parts.iter().map(|part| &part.record);
    let mut facts = Facts::of(parts);
    let target = facts.target(one_server);
    let mut merged = Measurement {
        schema_version: SCHEMA_VERSION.to_string(),
        workload: parts[0].record.workload.clone(),
        plan: facts.plan(&target.name),
        target,
        identity: facts.identity(),
        environment: facts.environment(),
        complete: records().all(|record| record.complete),
        incomplete_reason: (parts.iter())
            .find_map(|part| Some(format!("{}: {}", part.name, part.record.incomplete_reason.as_ref()?)))
            .map(Incomplete::from),
        valid: false,
        reasons: Vec::new(),
        notes: notes(parts, facts),
        counts: sums::counts(parts),
        connections: sums::connections(parts),
        totals: sums::totals(parts),
        throughput: throughput(parts, whole_s),
        latency_ns: histograms.summaries(),
        littles_law: sums::littles_law(parts, whole_s),
        windows: sums::windows(parts, spans, one_server),
        repetitions: sums::repetitions(parts, whole_s, one_server),
        fairness_jain: None,
        server_cost: sums::server_cost(parts, one_server),
        loadgen_cost: sums::loadgen_cost(parts),
        // A crash or a greedy client is no share of a load.
        beside: BesideFigures::default(),
        isolation: Isolation::default(),
        halted_replies: records().map(|record| record.halted_replies).sum(),
        network: sums::network(parts),
        cpu_distance: None, // Several machines have no distance of their own.
        hiccup: histograms.hiccups(parts),
        steady: facts::steady(parts),
        limiter: same(parts, |record| record.limiter).unwrap_or_default(),
        server_stats: sums::server_stats(parts, one_server),
        first_failures: first_failures(parts),
        histograms: histograms.encoded(),
        generators: generators(parts),
    };
    sums::quantities(&mut merged, parts, whole_s, one_server);
    merged
}

/// Its rates are quantities; it is as long as from the first beginning to the last end.
fn throughput(parts: &[Part], whole_s: f64) -> Throughput {
    let duration_s = match parts {
        [alone] => alone.record.throughput.duration_s,
        _ => whole_s,
    };
    Throughput {
        messages_per_s: 0.0,
        served: parts.iter().map(|part| part.record.throughput.served).sum(),
        planned_per_s: None,
        connections_per_s: None,
        bytes_per_s: 0.0,
        duration_s,
    }
}

/// Whether all pressed the same process: its costs are then counted once.
fn have_one_server(parts: &[Part]) -> bool {
    parts.len() > 1 && same(parts, |record| (record.target.address.clone(), record.target.pid)).is_some()
}

/// What all records say, if they say the same.
fn same<T: PartialEq>(parts: &[Part], of: impl Fn(&Measurement) -> T) -> Option<T> {
    let first = of(&parts[0].record);
    parts[1..].iter().all(|part| of(&part.record) == first).then_some(first)
}

/// What the records say, each text once.
fn listed(parts: &[Part], between: &str, of: impl Fn(&Measurement) -> &String) -> String {
    let all: BTreeSet<&str> = parts.iter().map(|part| of(&part.record).as_str()).collect();
    all.into_iter().collect::<Vec<_>>().join(between)
}

/// The earliest of each kind, with the generator that met it.
fn first_failures(parts: &[Part]) -> Vec<FirstFailure> {
    if parts.len() == 1 {
        return parts[0].record.first_failures.clone();
    }
    let mut all: Vec<FirstFailure> = parts
        .iter()
        .flat_map(|part| {
            part.record.first_failures.iter().map(|failure| FirstFailure {
                text: format!("{}: {}", part.name, failure.text),
                ..failure.clone()
            })
        })
        .collect();
    all.sort_by(|one, other| one.at_s.total_cmp(&other.at_s).then_with(|| one.text.cmp(&other.text)));
    let mut kinds = BTreeSet::new();
    all.retain(|failure| kinds.insert(failure.kind.clone()));
    all
}

/// What all say once; what only some say with their names; what they say differently.
fn notes(parts: &[Part], facts: Facts<'_>) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for part in parts {
        for note in &part.record.notes {
            let everywhere = parts.iter().all(|other| other.record.notes.contains(note));
            let note = if everywhere {
                note.clone()
            } else {
                format!("{}: {note}", part.name)
            };
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    if same(parts, |record| record.identity.loadgen_sha256.clone()).is_none() {
        notes.push("the generators were not the same build of loadgen".to_string());
    }
    let unread: Vec<&str> = (parts.iter())
        .filter(|part| part.record.network.is_none())
        .map(|part| part.name.as_str())
        .collect();
    if !unread.is_empty() && unread.len() < parts.len() {
        notes.push(format!(
            "{}: the kernel's TCP counters were not read",
            unread.join(", ")
        ));
    }
    notes.extend(facts.note());
    notes
}

fn generators(parts: &[Part]) -> Vec<Generator> {
    parts
        .iter()
        .map(|Part { name, record }| Generator {
            name: name.clone(),
            address: record.target.address.clone(),
            seed: record.plan.seed,
            clients_asked: record.connections.asked,
            clients_reached: record.connections.reached,
            ok: record.counts.ok,
            measured_from: record.identity.measured_from.clone(),
            duration_s: record.throughput.duration_s,
            valid: record.valid,
        })
        .collect()
}

/// Gates of the records by name, and those that only several generators have.
fn reasons(parts: &[Part], merged: &Measurement, spans: &Spans, lost: &[String]) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = Vec::new();
    for part in parts {
        // Clients are counted over all generators below.
        for reason in part.record.reasons.iter().filter(|reason| reason.gate != "connections") {
            reasons.push(Reason {
                text: format!("{}: {}", part.name, reason.text),
                ..reason.clone()
            });
        }
    }
    let mut gate = |gate: GateName, fails: bool, observed: f64, limit: f64, text: String| {
        if fails {
            reasons.push(Reason::new(gate, observed, limit, text));
        }
    };
    let connections = &merged.connections;
    gate(
        GateName::Connections,
        connections.reached < connections.asked,
        count_f64(connections.asked.saturating_sub(connections.reached)),
        0.0,
        format!(
            "{} of {} clients were connected and served at the same time",
            connections.reached, connections.asked
        ),
    );
    gate(
        GateName::LostGenerators,
        !lost.is_empty(),
        len_f64(lost.len()),
        0.0,
        format!(
            "{} of {} generators left no record: {}",
            lost.len(),
            lost.len() + parts.len(),
            lost.join(", ")
        ),
    );
    let overlap = spans.overlap();
    gate(
        GateName::Overlap,
        overlap < OVERLAP && spans.0.iter().any(Option::is_some),
        overlap * 100.0,
        OVERLAP * 100.0,
        format!(
            "the generators pressed together during {:.1} % of the time from the first beginning to the last end (at least {:.0} % needed): give all the same --start-at and --duration",
            overlap * 100.0,
            OVERLAP * 100.0
        ),
    );
    reasons
}
