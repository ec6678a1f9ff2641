//! The workloads of a comparison as they were typed: presets and files, with fields that flags replace in all of them.

use super::CompareArgs;
use crate::cmd::arguments::{Size, WorkloadArgs, count as number, duration, size};
use crate::cmd::resolve::workload::workload;
use crate::failure::Failure;
use crate::notice::notice;
use crate::record::{Stop, Workload};
use crate::suite::matrix;
use crate::suite::preset;
use crate::text::{count, counted, milliseconds};
use std::time::Duration;

/// What replaces fields of the workloads.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Workloads as typed")]
pub struct LoadArgs {
    /// A workload from `loadgen list`, or a TOML file; repeatable
    #[arg(long, value_name = "NAME|FILE")]
    pub workload: Vec<String>,

    /// Clients of every workload, instead of the workload's own number
    #[arg(short, long, visible_alias = "connections", value_name = "N", value_parser = number)]
    pub clients: Option<u64>,

    /// Message length of every workload: 64, 1KiB, or 64..1024
    #[arg(short, long, value_name = "BYTES", value_parser = size)]
    pub size: Option<Size>,

    /// Outstanding messages per client, for every workload
    #[arg(short = 'P', long, value_name = "DEPTH", value_parser = number)]
    pub pipeline: Option<u64>,

    /// Messages per second of all clients together, of every workload: makes open loops of closed ones
    #[arg(short = 'R', long, value_name = "N", value_parser = number)]
    pub rate: Option<u64>,

    /// Length of the measured phase of every workload; a job then stops by time
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
}

/// What runs where targets are compared at several values: enough to show it, and little enough for rounds to fit.
const OF_A_DIMENSION: &str = "steady";

/// The workloads in the order of the tables; says on stderr what flags replace in them.
///
/// # Errors
/// Usage, naming the workload and the flag.
pub(super) fn workloads(args: &CompareArgs, has_dimension: bool) -> Result<Vec<Workload>, Failure> {
    let load = &args.load;
    let names = match args.workloads.as_deref() {
        Some(names) => Some(names),
        None if !load.workload.is_empty() => None,
        None if has_dimension => Some(OF_A_DIMENSION),
        None => Some("default"),
    };
    let presets = names
        .map_or(Ok(Vec::new()), matrix::workloads)
        .map_err(Failure::usage)?;
    let names: Vec<&str> = presets
        .iter()
        .map(|preset| preset.name.as_str())
        .chain(load.workload.iter().map(String::as_str))
        .collect();
    let mut found: Vec<(Workload, Workload)> = Vec::new();
    for name in names {
        let (own, changed) = changed(name, load)?;
        if found.iter().any(|(known, _)| known.name == own.name) {
            return Err(Failure::usage(format!(
                "two workloads are named `{}`: name each one once, in --workloads or --workload, and give files names of their own",
                own.name
            )));
        }
        found.push((own, changed));
    }
    if !args.quiet {
        for line in replaced(load, &found) {
            notice(line);
        }
    }
    Ok(found.into_iter().map(|(_, changed)| changed).collect())
}

/// Whether the workloads are other than presets by their names.
pub(super) fn are_changed(load: &LoadArgs) -> bool {
    !load.workload.is_empty() || flags(load).iter().any(|flag| flag.typed.is_some())
}

/// A workload as it is by itself, and with what the flags replace in it.
fn changed(name: &str, load: &LoadArgs) -> Result<(Workload, Workload), Failure> {
    let by_itself = WorkloadArgs {
        workload: Some(name.to_string()),
        ..WorkloadArgs::default()
    };
    let own = workload(&by_itself)?;
    let ends_by_time = load.duration.is_some() && own.is_job();
    let typed = WorkloadArgs {
        clients: load.clients,
        size: load.size,
        pipeline: load.pipeline,
        rate: load.rate,
        duration: load.duration,
        // As short as that of the other trials of a comparison, and not as that of a run.
        warmup: ends_by_time.then_some(Duration::from_millis(preset::WARMUP_MS)),
        ..by_itself
    };
    let changed = workload(&typed).map_err(|failure| {
        let hint = match (load.rate, load.duration) {
            (Some(_), None) if own.is_job() => ". Give --duration too, or choose others with --workloads",
            _ => "",
        };
        Failure::usage(format!("workload `{}`: {}{hint}", own.name, failure.text))
    })?;
    Ok((own, changed))
}

/// A flag that replaces a field of all workloads.
struct Flag {
    name: &'static str,
    /// What was typed, as it is printed.
    typed: Option<String>,
    /// The field of a workload, as it is printed.
    field: fn(&Workload) -> String,
}

fn flags(load: &LoadArgs) -> [Flag; 5] {
    let flag = |name, typed, field| Flag { name, typed, field };
    [
        flag("--clients", load.clients.map(count), |workload| {
            count(workload.clients.into())
        }),
        flag(
            "--size",
            load.size.map(|size| range(size.min_bytes, size.max_bytes)),
            |workload| range(workload.size_min_bytes, workload.size_max_bytes),
        ),
        flag("--pipeline", load.pipeline.map(count), |workload| {
            count(workload.pipeline.into())
        }),
        flag("--rate", load.rate.map(per_second), |workload| {
            workload
                .open_loop()
                .map_or_else(|| "a closed loop".to_string(), |open| per_second(open.rate_per_s))
        }),
        flag("--duration", load.duration.map(time), |workload| match workload.stop {
            Stop::AfterMs(ms) => milliseconds(ms),
            Stop::MessagesPerClient(messages) => counted(messages, "message a client", "messages a client"),
            Stop::TotalMessages(messages) => counted(messages, "message", "messages"),
        }),
    ]
}

/// `--clients 500 replaces 100 (light, churn), 1,000 (medium)`, for each flag that was typed.
fn replaced(load: &LoadArgs, found: &[(Workload, Workload)]) -> Vec<String> {
    let told = |flag: &Flag| {
        let typed = flag.typed.as_ref()?;
        let mut values: Vec<(String, Vec<&str>)> = Vec::new();
        for (own, _) in found {
            let value = (flag.field)(own);
            match values.iter_mut().find(|(known, _)| *known == value) {
                Some((_, names)) => names.push(&own.name),
                None => values.push((value, vec![&own.name])),
            }
        }
        values.retain(|(value, _)| value != typed);
        let values: Vec<String> = (values.iter())
            .map(|(value, names)| format!("{value} ({})", names.join(", ")))
            .collect();
        Some(match values.is_empty() {
            true => format!("{} {typed} is what every workload has by itself", flag.name),
            false => format!("{} {typed} replaces {}", flag.name, values.join(", ")),
        })
    };
    flags(load).iter().filter_map(told).collect()
}

fn range(min_bytes: u64, max_bytes: u64) -> String {
    match min_bytes == max_bytes {
        true => format!("{} B", count(min_bytes)),
        false => format!("{}..{} B", count(min_bytes), count(max_bytes)),
    }
}

fn per_second(rate: u64) -> String {
    format!("{} messages/s", count(rate))
}

fn time(duration: Duration) -> String {
    milliseconds(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(names: &[&str], load: &LoadArgs) -> Result<(Vec<Workload>, Vec<String>), Failure> {
        let found: Result<Vec<_>, Failure> = names.iter().map(|name| changed(name, load)).collect();
        let found = found?;
        let told = replaced(load, &found);
        Ok((found.into_iter().map(|(_, changed)| changed).collect(), told))
    }

    #[test]
    fn a_flag_says_what_it_replaces_and_in_which_workloads() {
        let load = LoadArgs {
            clients: Some(1000),
            ..LoadArgs::default()
        };
        let (workloads, told) = typed(&["light", "medium", "steady", "churn"], &load).unwrap();
        assert_eq!(told, ["--clients 1,000 replaces 100 (light, churn)"]);
        assert!(workloads.iter().all(|workload| workload.clients == 1000));
        let names: Vec<&str> = workloads.iter().map(|workload| workload.name.as_str()).collect();
        assert_eq!(names, ["light (changed)", "medium", "steady", "churn (changed)"]);
    }

    #[test]
    fn a_rate_makes_closed_loops_open_and_jobs_need_a_time() {
        let load = LoadArgs {
            rate: Some(5000),
            ..LoadArgs::default()
        };
        let (workloads, told) = typed(&["steady", "paced"], &load).unwrap();
        assert!(
            workloads
                .iter()
                .all(|workload| workload.open_loop().unwrap().rate_per_s == 5000)
        );
        assert_eq!(
            told,
            ["--rate 5,000 messages/s replaces a closed loop (steady), 10,000 messages/s (paced)"]
        );
        let refused = typed(&["light"], &load).unwrap_err();
        assert!(
            refused.text.starts_with("workload `light`: ") && refused.text.contains("--duration too"),
            "{refused}"
        );
        let timed = LoadArgs {
            duration: Some(Duration::from_millis(800)),
            ..load
        };
        let (workloads, _) = typed(&["light"], &timed).unwrap();
        assert_eq!(
            (workloads[0].stop, workloads[0].warmup_ms),
            (Stop::AfterMs(800), preset::WARMUP_MS)
        );
    }
}
