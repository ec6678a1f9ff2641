//! Did the machine leave the trial alone? What others took, what the trial's own sides took from each other, and time in
//! which loadgen did not run. Pure.

use super::{Evidence, Gates, is_open_loop};
use crate::record::{Figure, GateName, Measurement, Throttling};
use crate::text::counted;
use crate::units::{len_f64, round_u64};

/// CPU time of others on the CPUs of the trial, percent of one CPU.
pub const FOREIGN_CPU_PERCENT: f64 = 3.0;
/// Where the CPU time of others is not known: share of the time in which some task waited for a CPU, in percent.
const PRESSURE_PERCENT: f64 = 10.0;
/// Time that a worker thread waited for its CPU, percent of the measured phase. In a closed loop a client that waits a
/// little presses a little less; in an open loop it sends late.
const RUN_QUEUE_DELAY_PERCENT_CLOSED: f64 = 10.0;
const RUN_QUEUE_DELAY_PERCENT_OPEN: f64 = 2.0;
/// Share of wake-ups that may be more than a millisecond late, in percent: p99.9 within it.
pub const HICCUPS_PERCENT: f64 = 0.1;
/// Longest window of 100 ms: a longer one means that loadgen itself stood still.
const LONGEST_WINDOW_S: f64 = 0.2;
/// Share of the measured phase that no window covers, in percent: loadgen stood still when it began.
const UNCOVERED_PERCENT: f64 = 1.0;
/// What may be missing in any case: the conductor's own wake-up at the end of a short phase comes late too.
const UNCOVERED_S: f64 = 0.05;
/// Time in which loadgen may not run, all phases together: five hiccups so long that they are seen as stops.
const STOPPED_S: f64 = 0.1;

/// Longest time that a worker thread may wait for its CPU, in percent.
#[must_use]
pub fn run_queue_delay_limit(measurement: &Measurement) -> f64 {
    if is_open_loop(measurement) {
        RUN_QUEUE_DELAY_PERCENT_OPEN
    } else {
        RUN_QUEUE_DELAY_PERCENT_CLOSED
    }
}

/// Did the two sides have CPUs of their own? Both on one CPU wait for each other; what each of them costs is told apart.
pub(super) fn sharing(measurement: &Measurement, gates: &mut Gates) {
    let of_both = "rates and times are those of both together, CPU per message and memory are the server's own";
    gates.limit(GateName::SharedCpus, shared_cpus(measurement), 0.0, |observed| {
        if measurement.possible_figures().contains(&Figure::Rates) {
            format!(
                "server and loadgen share {}: {of_both}. Use --pin auto",
                counted(round_u64(observed), "CPU", "CPUs")
            )
        } else {
            format!("server and loadgen share the only CPU that there is: {of_both}")
        }
    });
}

/// CPUs that both sides have to use; None where they may keep apart.
pub(super) fn shared_cpus(measurement: &Measurement) -> Option<f64> {
    let placement = &measurement.plan.placement;
    let is_of_both = |cpu: &&usize| placement.loadgen_cpus.contains(cpu);
    let named = placement.server_cpus.iter().filter(is_of_both).count();
    let only_one = !measurement.possible_figures().contains(&Figure::Rates);
    Some(len_f64(named.max(usize::from(only_one)))).filter(|&shared| shared > 0.0)
}

/// Did others take CPU time away?
pub(super) fn foreign_load(measurement: &Measurement, gates: &mut Gates) {
    let cost = &measurement.loadgen_cost;
    match cost.foreign_cpu_percent_max {
        Some(foreign) => gates.limit(GateName::ForeignLoad, Some(foreign), FOREIGN_CPU_PERCENT, |observed| {
            format!(
                "other programs used {observed:.1} % of a CPU (limit {FOREIGN_CPU_PERCENT} %): close them, run again"
            )
        }),
        None => gates.limit(
            GateName::ForeignLoad,
            cost.cpu_pressure_percent.filter(|_| is_uncrowded(measurement)),
            PRESSURE_PERCENT,
            |observed| {
                format!(
                    "some program waited for a CPU {observed:.1} % of the time (limit {PRESSURE_PERCENT} %), and neither \
                     server nor loadgen has more threads than CPUs: close other programs, run again"
                )
            },
        ),
    }
}

/// Had loadgen's threads to wait for their CPUs? On one that the server has too they have to, and `shared_cpus` says so.
pub(super) fn waiting(measurement: &Measurement, gates: &mut Gates) {
    let delay = measurement.loadgen_cost.run_queue_delay_percent_max;
    let delay = delay.filter(|_| shared_cpus(measurement).is_none());
    let limit = run_queue_delay_limit(measurement);
    gates.limit(GateName::RunQueueDelay, delay, limit, |observed| {
        format!(
            "a loadgen thread waited {observed:.1} % of the time for its CPU (limit {limit} %): {}",
            remedy_for_waiting(measurement)
        )
    });
}

fn remedy_for_waiting(measurement: &Measurement) -> String {
    let cpus = measurement.plan.placement.loadgen_cpus.len();
    let threads = measurement.loadgen_cost.threads;
    if cpus == 0 {
        "give loadgen CPUs of its own (--pin), run again".to_string()
    } else if threads as usize > cpus {
        format!(
            "its {threads} threads have {}: use --threads {cpus}",
            counted(cpus as u64, "CPU", "CPUs")
        )
    } else {
        "something else ran there: close other programs, run again".to_string()
    }
}

/// Did the machine stall by itself?
pub(super) fn hiccups(measurement: &Measurement, gates: &mut Gates) {
    let hiccups = measurement.hiccup.as_ref().and_then(|hiccup| hiccup.beyond_1ms_percent);
    gates.limit(GateName::Hiccup, hiccups, HICCUPS_PERCENT, |observed| {
        format!(
            "of an idle thread's wake-ups {observed:.2} % came more than 1 ms late (limit {HICCUPS_PERCENT} %): this machine \
             stalls by itself, run again on a quieter one"
        )
    });
}

/// Did a CPU quota hold a side back?
pub(super) fn throttling(measurement: &Measurement, gates: &mut Gates) {
    let sides = [
        ("the server", measurement.server_cost.throttled),
        ("loadgen", measurement.loadgen_cost.throttled),
    ];
    let held: Vec<(&str, Throttling)> = sides
        .into_iter()
        .filter_map(|(side, throttled)| Some((side, throttled.filter(|throttled| throttled.periods > 0)?)))
        .collect();
    let most = held.iter().map(|(_, throttled)| throttled.periods).max();
    gates.none_of(GateName::Throttled, most.unwrap_or(0), |_| {
        let told: Vec<String> = held
            .iter()
            .map(|(side, throttled)| {
                format!(
                    "{side} {}, {:.0} ms",
                    counted(throttled.periods, "time", "times"),
                    throttled.stopped_s * 1e3
                )
            })
            .collect();
        format!(
            "the CPU quota of a cgroup throttled {}: raise it (cpu.max, cpu.cfs_quota_us, docker --cpus), run again",
            told.join(" and ")
        )
    });
}

/// Did loadgen run all the time, in whatever phase? A quota that stopped it is told as such.
pub(super) fn stops(measurement: &Measurement, gates: &mut Gates) {
    let cost = &measurement.loadgen_cost;
    let is_throttled = cost.throttled.is_some_and(|throttled| throttled.periods > 0);
    let stopped = cost.stopped_s.filter(|_| !is_throttled);
    gates.limit(GateName::Stopped, stopped, STOPPED_S, |observed| {
        format!(
            "loadgen did not run for {observed:.2} s in all, from the first connect() to the last FIN (limit {STOPPED_S} s): was \
             it stopped, or the machine suspended?"
        )
    });
}

/// Whether none of the trial's own threads has to wait for another of them, as far as that is known.
fn is_uncrowded(measurement: &Measurement) -> bool {
    let placement = &measurement.plan.placement;
    let fits = |threads: u64, cpus: &[usize]| !cpus.is_empty() && threads <= cpus.len() as u64;
    let server = measurement.server_cost.threads_max.unwrap_or(u64::MAX);
    !placement.shared
        && fits(server, &placement.server_cpus)
        && fits(u64::from(measurement.plan.threads), &placement.loadgen_cpus)
}

/// Do the windows cover the measured phase?
pub(super) fn windows(measurement: &Measurement, gates: &mut Gates) {
    let why = why_it_stood_still(measurement);
    let longest = measurement
        .windows
        .iter()
        .map(|window| window.length_s)
        .fold(0.0, f64::max);
    gates.limit(GateName::WindowGap, Some(longest), LONGEST_WINDOW_S, |observed| {
        format!(
            "loadgen itself stood still: a window of 0.1 s took {observed:.2} s (limit {LONGEST_WINDOW_S} s); {why}"
        )
    });
    // What it stood still before its first message is in no window at all. A job has none.
    let phase_s = measurement.throughput.duration_s;
    let covered_s: f64 = measurement.windows.iter().map(|window| window.length_s).sum();
    let is_told = !measurement.windows.is_empty() && measurement.complete && phase_s - covered_s > UNCOVERED_S;
    let uncovered = is_told.then(|| 100.0 * (1.0 - covered_s / phase_s));
    gates.limit(GateName::WindowGap, uncovered, UNCOVERED_PERCENT, |observed| {
        format!(
            "loadgen itself stood still: its windows cover {covered_s:.2} of {phase_s:.2} s, {observed:.1} % are missing (limit \
             {UNCOVERED_PERCENT} %); {why}"
        )
    });
}

fn why_it_stood_still(measurement: &Measurement) -> &'static str {
    match measurement.loadgen_cost.stopped_s {
        Some(stopped_s) if stopped_s < STOPPED_S => "the machine was too busy to let it run",
        _ => "was it stopped, or the machine suspended?",
    }
}

/// Did the settings stay as they were from beginning to end?
pub(super) fn settings(evidence: &Evidence, gates: &mut Gates) {
    gates.none_of(
        GateName::EnvironmentChanged,
        evidence.environment_changes.len() as u64,
        |_| {
            format!(
                "settings of the machine changed: {}",
                evidence.environment_changes.join("; ")
            )
        },
    );
}
