//! `loadgen calibrate`: the generator proven on this machine, against a server of known behaviour.

use super::leftovers;
use super::resolve::placement;
use crate::calibration::bench::{Bench, Length};
use crate::calibration::scorecard::{Scorecard, Setting, Verdict};
use crate::calibration::suite::{self, Progress};
use crate::calibration::truth_server::{self, TruthServer};
use crate::cmd::arguments::Pin;
use crate::cmd::output::print;
use crate::environment;
use crate::failure::{Exit, Failure};
use crate::interrupt;
use crate::notice::notice;
use crate::record::Machine;
use crate::report::scorecard;
use crate::subject::TRUTH_VERB;
use clap::{Args, ValueEnum};
use echo_contract::catalog::{IoInterface, Model};
use echo_contract::ready::{BufferPolicy, Ready};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// Prove the generator on this machine.
///
/// loadgen starts an echo server of known behaviour: it freezes on an absolute clock, works for known times, and corrupts,
/// truncates, resets or swallows exactly the frames it is told to. Each figure stands beside the one that a formula
/// demands. A test that the machine disturbed is inconclusive and tried again: close other programs.
#[derive(Clone, Debug, Args)]
pub struct CalibrateArgs {
    /// Less than a minute instead of some five: fewer messages, no closed forms of queues, no second try
    #[arg(long)]
    pub quick: bool,

    /// CPUs of each side: auto, off, or server=0,client=1
    #[arg(long, value_name = "HOW", default_value = "auto", value_parser = str::parse::<Pin>)]
    pub pin: Pin,

    /// Determines plans, service times and samples
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = crate::cmd::arguments::seed)]
    pub seed: u64,

    /// What to print
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub output_format: Format,

    /// Print nothing but the scorecard and errors
    #[arg(short, long)]
    pub quiet: bool,

    /// Exit with code 7 unless every test passes; without it 1 when one fails, 0 when one is inconclusive
    #[arg(long)]
    pub require_valid: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table
    Text,
    /// One object with all figures
    Json,
}

/// Runs all tests and prints the scorecard. Exit code 1 when one failed; with `--require-valid` 7 when one failed or
/// stayed inconclusive.
///
/// # Errors
/// When the truth server cannot be started, or by a fault of loadgen.
pub fn run(args: &CalibrateArgs, machine: &Machine) -> Result<Option<Exit>, Failure> {
    leftovers::remove(|| 0);
    let bench = Bench {
        placement: placement(&args.pin, 1, machine)?,
        seed: args.seed,
        length: if args.quick { Length::Quick } else { Length::Full },
        interrupted: &interrupt::asked,
    };
    let setting = Setting {
        started_at: jiff::Timestamp::now().to_string(),
        length: bench.length.of("short", "quick", "full"),
        seed: args.seed,
        placement: bench.placement.clone(),
        loadgen_version: env!("CARGO_PKG_VERSION"),
        environment: environment::capture(),
    };
    let mut findings = Vec::new();
    let outcome = suite::run(&bench, &mut findings, &mut |progress| {
        if !args.quiet {
            notice(line(&progress));
        }
    });
    // A server that was cut short has failed no test.
    let outcome = outcome.map_err(|failure| {
        if interrupt::asked() {
            Failure::interrupted()
        } else {
            failure
        }
    });
    match &outcome {
        Err(failure) if failure.exit != Exit::Interrupted => return outcome.map(|()| None),
        _ => {}
    }
    let card = Scorecard::new(setting, findings, outcome.is_ok());
    print(&match args.output_format {
        Format::Text => scorecard::text(&card),
        Format::Json => scorecard::json(&card),
    })?;
    if let Err(interrupted) = outcome {
        // The scorecard has told what there is.
        notice(format_args!("error: {interrupted}"));
        return Ok(Some(Exit::Interrupted));
    }
    Ok(match card.verdict {
        Verdict::Pass => None,
        Verdict::Fail | Verdict::Inconclusive if args.require_valid => Some(Exit::Invalid),
        Verdict::Fail => Some(Exit::Fault),
        Verdict::Inconclusive => None,
    })
}

fn line(progress: &Progress<'_>) -> String {
    match progress {
        Progress::Begins { tests, attempt, left } => {
            let again = if *attempt > 1 {
                format!(", try {attempt}")
            } else {
                String::new()
            };
            format!("{tests}{again}: running, about {} s left", left.as_secs())
        }
        Progress::Ended(finding) => format!("{}: {}", finding.test, scorecard::verdict(finding)),
    }
}

/// Becomes the truth server until SIGTERM; used by the tests' `target` only.
///
/// # Errors
/// When the behaviour is no behaviour, or the system has no socket.
pub fn serve_truth(behaviour: &str, cpus: &[usize]) -> Result<(), Failure> {
    let behaviour = serde_json::from_str(behaviour)
        .map_err(|error| Failure::usage(format!("{TRUTH_VERB}: {error} (it is started by loadgen itself)")))?;
    let fault = |error: std::io::Error| Failure::fault(format!("{TRUTH_VERB}: {error}"));
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu).map_err(|errno| fault(errno.into()))?;
    }
    if !cpus.is_empty() {
        sched_setaffinity(Pid::from_raw(0), &set).map_err(|errno| fault(errno.into()))?;
    }
    let server = TruthServer::bind(behaviour).map_err(fault)?;
    let address = server.address().map_err(fault)?;
    print(&format!("{}\n", ready(address.to_string(), cpus).to_line()))?;
    let stats = server.serve(interrupt::asked).map_err(fault)?;
    print(&format!("{}\n", stats.to_line()))
}

fn ready(address: String, cpus: &[usize]) -> Ready {
    let cpus: Vec<String> = cpus.iter().map(ToString::to_string).collect();
    Ready {
        target: TRUTH_VERB.into(),
        pid: std::process::id(),
        address,
        model: Model::Event,
        runtime: "loadgen".into(),
        runtime_version: env!("CARGO_PKG_VERSION").into(),
        io_interface: IoInterface::Epoll,
        accept_model: "shared listener".into(),
        workers: 1,
        buffer_bytes: truth_server::BUFFER_BYTES as u64,
        buffer_policy: Some(BufferPolicy::PerWorker),
        backlog: 128,
        congestion_control: "as loadgen's".into(),
        nodelay: true,
        max_connections: None,
        idle_timeout_ms: None,
        drain_timeout_ms: 1_000,
        work_ns: 0,
        work_source: None,
        cpus: (!cpus.is_empty()).then(|| cpus.join(",")),
        nofile: 0,
        ring: None,
    }
}
