//! `loadgen --target NAME`: one measurement, summed up on stdout.

use super::progress;
use crate::cmd::arguments::{OutputFormat, RunArgs};
use crate::compare::trial::{self, Context};
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::measurement::destination::Destination;
use crate::measurement::store;
use crate::notice::notice;
use crate::record::Machine;
use crate::record::Plan;
use crate::record::{Incomplete, Measurement};
use crate::report::{self, hdr};
use crate::subject;
use crate::validity::invariants;
use std::ffi::OsStr;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Room that a record with its histograms may take.
const BYTES_OF_A_RECORD: u64 = 1 << 20;

/// Measures, prints, writes. Ok with exit code 0, 1, 4, 5, 7 or 130: what was measured is told in any case.
///
/// # Errors
/// When nothing could be measured, or the results cannot be written.
pub fn run(
    args: &RunArgs,
    machine: &Machine,
    command: &[String],
    interrupt: &Interrupt,
    no_private_network: Option<&str>,
) -> Result<Option<Exit>, Failure> {
    let plan = Plan::resolve(args, machine)?;
    if args.dry_run {
        print(&store::pretty_json(&plan))?;
        return Ok(None);
    }
    check_start(&plan, SystemTime::now())?;
    let output = prepare("--output", args.output.as_deref())?;
    let histogram = prepare("--histogram", args.histogram.as_deref())?;
    if echo_contract::catalog::find(&plan.target).is_some() && plan.start != crate::record::Start::Never {
        subject::server_directory(args.machine.no_build)?;
    }
    let context = Context {
        place: None,
        round_environment: None,
        workers: args.workers,
        allow_public: args.allow_public,
        no_build: true,
        command,
        interrupted: &|| interrupt.asked(),
        no_private_network,
    };
    let mut line = progress::run::Line::new(args.quiet);
    let measurement = trial::run(&plan, &context, &mut |progress| line.show(&progress))?;
    line.clear();
    let format = format_of(args.output_format, args.output.as_deref());
    let saved = tell(output, format, args.latency, &measurement);
    let saved = saved.and(save_histogram(histogram, args.histogram.as_deref(), &measurement));
    saved?;
    Ok(exit_code(args.require_valid, &measurement))
}

/// Refuses a common start that this generator cannot keep.
fn check_start(plan: &Plan, now: SystemTime) -> Result<(), Failure> {
    let (Some(at), Some(asked)) = (plan.start_time(), &plan.start_at) else {
        return Ok(());
    };
    let Ok(ahead) = at.duration_since(now) else {
        let ago = now.duration_since(at).unwrap_or_default();
        return Err(Failure::usage(format!(
            "--start-at {asked} was {:.1} s ago: give a time to come, e.g. --start-at $(($(date +%s) + 30))",
            ago.as_secs_f64()
        )));
    };
    let needed = time_before_start(plan);
    if ahead < needed {
        return Err(Failure::usage(format!(
            "--start-at {asked} is {:.1} s ahead, and starting the server, connecting {} clients and {} s of warm-up need \
             at least {:.1} s: give a later time",
            ahead.as_secs_f64(),
            plan.workload.clients,
            Duration::from_millis(plan.workload.warmup_ms).as_secs_f64(),
            needed.as_secs_f64()
        )));
    }
    if ahead > LONGEST_WAIT {
        return Err(Failure::usage(format!(
            "--start-at {asked} is more than 24h ahead: give an earlier time"
        )));
    }
    Ok(())
}

/// What comes before the measured phase: one second for the server, 2,000 connections a second, the warm-up. A job
/// connects when it begins.
fn time_before_start(plan: &Plan) -> Duration {
    let connecting = if plan.workload.is_job() {
        Duration::ZERO
    } else {
        Duration::from_micros(500) * plan.workload.clients
    };
    Duration::from_secs(1) + connecting + Duration::from_millis(plan.workload.warmup_ms)
}

/// A start that is further away is a typing mistake.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// What scripts hear: the gravest thing that happened.
pub(super) fn exit_code(require_valid: bool, measurement: &Measurement) -> Option<Exit> {
    if invariants::is_violated(measurement) {
        // The numbers stand in the verdict, and in the record.
        return Some(Exit::Fault);
    }
    let counts = &measurement.counts;
    let wrong_bytes = measurement.reasons.iter().any(|reason| reason.gate == "payload");
    match &measurement.incomplete_reason {
        Some(Incomplete::Interrupted) => Some(Exit::Interrupted),
        Some(Incomplete::StartMissed(_)) => Some(Exit::Usage),
        Some(_) => Some(Exit::ServerDied),
        None if counts.corrupted + counts.truncated > 0 || wrong_bytes => Some(Exit::Corrupted),
        None if require_valid && !measurement.valid => Some(Exit::Invalid),
        None => None,
    }
}

/// Finds out whether the place that a flag names can be written.
pub(super) fn prepare(flag: &str, path: Option<&Path>) -> Result<Option<Destination>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let prepared = Destination::prepare(path, BYTES_OF_A_RECORD);
    prepared
        .map(Some)
        .map_err(|failure| Failure::unwritable(format!("{flag} {}: {}", path.display(), failure.text)))
}

/// What was asked for, else what the file's name says: `.csv` and `.txt`, JSON by any other name, text without a file.
pub(super) fn format_of(asked: Option<OutputFormat>, path: Option<&Path>) -> OutputFormat {
    asked.unwrap_or_else(|| match path.map(|path| path.extension().and_then(OsStr::to_str)) {
        Some(Some("csv")) => OutputFormat::Csv,
        None | Some(Some("txt")) => OutputFormat::Text,
        Some(_) => OutputFormat::Json,
    })
}

/// The record goes where it was asked for, the summary to stdout, or to stderr where the record is on stdout. A record
/// that cannot be written after all is printed: it must not be lost.
pub(super) fn tell(
    output: Option<Destination>,
    format: OutputFormat,
    spectrum: bool,
    measurement: &Measurement,
) -> Result<(), Failure> {
    let record = render(format, measurement, spectrum);
    let Some(output) = output else {
        return print(&record);
    };
    if output.is_stdout() {
        notice(text(measurement, spectrum).trim_end());
        return output.write(&record);
    }
    match output.write(&record) {
        Ok(()) => print(&text(measurement, spectrum)),
        Err(unwritable) => {
            notice(text(measurement, spectrum).trim_end());
            print(&record)?;
            Err(unwritable)
        }
    }
}

/// Writes the histograms in the format of the file's name.
pub(super) fn save_histogram(
    to: Option<Destination>,
    path: Option<&Path>,
    measurement: &Measurement,
) -> Result<(), Failure> {
    let Some((to, path)) = to.zip(path) else {
        return Ok(());
    };
    let format = hdr::Format::of(path).expect("the command line was checked");
    to.write(&hdr::text(format, measurement).map_err(Failure::fault)?)
}

/// The summary, with the whole spectrum of latencies where it is asked for.
pub(super) fn text(measurement: &Measurement, spectrum: bool) -> String {
    let mut text = report::terminal::summary(measurement);
    if spectrum {
        text.push_str(&report::spectrum::spectrum(measurement));
    }
    text
}

/// The measurement in this format.
pub(super) fn render(format: OutputFormat, measurement: &Measurement, spectrum: bool) -> String {
    match format {
        OutputFormat::Text => text(measurement, spectrum),
        OutputFormat::Json => report::json::record(measurement),
        OutputFormat::Csv => report::csv::record(measurement),
    }
}

/// Prints to stdout. A reader that has gone (`| head`) is a quiet end, not a failure.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::unwritable(format!("printing to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::arguments::Cli;
    use clap::Parser as _;

    #[test]
    fn a_common_start_leaves_time_to_connect_and_to_warm_up() {
        let machine = Machine {
            cores: vec![vec![0], vec![1]],
            nofile_hard: 20_000,
            ports_per_source: 28_232,
        };
        let line = "loadgen --target fork --clients 2000 --warmup 2s --start-at 1769853600";
        let plan = Plan::resolve(&Cli::parse_from(line.split(' ')).run, &machine).unwrap();
        let before = |seconds| plan.start_time().unwrap() - Duration::from_secs(seconds);
        assert!(check_start(&plan, before(4)).is_ok());
        let text = check_start(&plan, before(3)).unwrap_err().text;
        assert!(
            text.contains("is 3.0 s ahead") && text.contains("at least 4.0 s"),
            "{text}"
        );
        let text = check_start(&plan, before(100_000)).unwrap_err().text;
        assert!(text.contains("more than 24h ahead"), "{text}");
        let text = check_start(&plan, plan.start_time().unwrap() + Duration::from_secs(1))
            .unwrap_err()
            .text;
        assert!(text.contains("was 1.0 s ago"), "{text}");
    }
}
