//! Parses, dispatches, prints a failure and sets the exit code. The only place that exits.

use clap::CommandFactory as _;
use loadgen::cmd;
use loadgen::cmd::arguments::{Cli, ConnectArgs, ConnectionArgs, Pin, Verb};
use loadgen::cmd::compare::{CompareArgs, Here};
use loadgen::cmd::reproduce::ReproduceArgs;
use loadgen::cmd::sweep::SweepArgs;
use loadgen::cmd::{leftovers, slips};
use loadgen::compare::trial::RealTrials;
use loadgen::environment::{self, signals};
use loadgen::failure::{Exit, Failure};
use loadgen::interrupt;
use loadgen::notice::notice;
use loadgen::record::Machine;
use loadgen::record::{NetworkChoice, Reach, Start};
use loadgen::report::json;
use loadgen::sampler;
use loadgen::subject;
use loadgen::suite::matrix::PlanBase;
use signal_hook::consts::SIGHUP;
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let ended = match slips::parse(&words) {
        Ok(cli) => run(cli, &words),
        Err(told) => {
            // A closed stderr changes no exit code.
            let _ = told.print();
            // Help and version are asked for, and no error.
            if told.use_stderr() {
                tell_as_json(&Failure::usage(slips::sentence(&told)), &words);
            }
            return ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(Exit::Usage as u8));
        }
    };
    match ended {
        Ok(exit) => exit.map_or(ExitCode::SUCCESS, |exit| ExitCode::from(exit as u8)),
        Err(failure) => {
            notice(format_args!("error: {failure}"));
            tell_as_json(&failure, &words);
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// Who reads JSON from stdout is told of a failure there too.
fn tell_as_json(failure: &Failure, words: &[OsString]) {
    if slips::asks_for_json(words) {
        // The failure that is being told is worse than one of stdout.
        let _ = cmd::output::print(&json::failure(failure));
    }
}

fn run(cli: Cli, words: &[OsString]) -> Result<Option<Exit>, Failure> {
    let command: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    match cli.verb {
        // What becomes a server, or tries what it may, takes signals as it finds them.
        Some(Verb::AsOwnerOf { folder, arguments }) => return Err(subject::run_as_owner_of(&folder, &arguments)),
        Some(Verb::TryPrivateNetwork) => {
            return cmd::output::print(&format!("{}\n", subject::try_private()?)).map(|()| None);
        }
        Some(Verb::LaunchServer(launch)) => return Err(subject::launch_server(&launch)),
        _ => interrupt::listen(signals::is_ignored(SIGHUP))
            .map_err(|error| Failure::fault(format!("handling signals: {error}")))?,
    }
    match cli.verb {
        None => {
            let starts = cli.run.start != Start::Never && cli.run.machine.network != NetworkChoice::Host;
            let no_private_network = no_private_network(starts);
            cmd::run::run(&cli.run, &machine()?, &command, no_private_network.as_deref())
        }
        Some(Verb::Compare(args)) => compare(&args, &command).map(|()| None),
        Some(Verb::Reproduce(args)) if args.against.is_none() => reproduce(&args, &command).map(|()| None),
        Some(Verb::Verify(args)) if args.faults.faults => {
            let no_private_network = no_private_network(args.starts_servers());
            cmd::verify::faults::run(&args, &machine()?, no_private_network.as_deref())
        }
        Some(Verb::Verify(args)) => cmd::verify::run(&args).map(|()| None),
        Some(Verb::Calibrate(args)) => cmd::calibrate::run(&args, &machine()?),
        Some(Verb::TruthServer { behaviour, cpu }) => cmd::calibrate::serve_truth(&behaviour, &cpu).map(|()| None),
        Some(Verb::Connect(args)) => connect(&args).map(|()| None),
        Some(Verb::Sweep(args)) => sweep(&args, &command).map(|()| None),
        Some(verb) => {
            interrupt::end_at_once();
            look_at(verb)
        }
    }
}

/// The verbs that measure nothing.
fn look_at(verb: Verb) -> Result<Option<Exit>, Failure> {
    match verb {
        Verb::Report(args) => cmd::report::run(&args, &mut std::io::stdout())?,
        Verb::Publish(args) => cmd::publish::run(&args, &mut std::io::stdout())?,
        Verb::Diff(args) => cmd::diff::run(&args, &mut std::io::stdout())?,
        Verb::Reproduce(args) => {
            if let Some(against) = &args.against {
                cmd::reproduce::hold_against(&args, against, &mut std::io::stdout())?;
            }
        }
        Verb::Merge(args) => return cmd::merge::run(&args),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "loadgen", &mut script);
            cmd::output::print(&String::from_utf8_lossy(&script))?;
        }
        Verb::Man => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
            rendered.map_err(|error| Failure::fault(format!("the manual page: {error}")))?;
            cmd::output::print(&String::from_utf8_lossy(&page))?;
        }
        Verb::List(servers) => cmd::output::print(&cmd::list::run(&servers)?)?,
        _ => {}
    }
    Ok(None)
}

/// Why trials cannot have a private network, found out before the first thread; none where they can, and where no server
/// will be started.
fn no_private_network(starts: bool) -> Option<String> {
    starts.then(|| subject::prepare_private().err())?
}

fn compare(args: &CompareArgs, command: &[String]) -> Result<(), Failure> {
    let no_private_network = match args.network {
        // A comparison that is gone on with may have left the choice open.
        NetworkChoice::Host => Some("--network host".to_string()),
        _ => no_private_network(args.targets.as_deref() != Some("running")),
    };
    let pin: Pin = args
        .pin
        .parse()
        .map_err(|error| Failure::usage(format!("--pin: {error}")))?;
    let here = here(
        &pin,
        (args.threads, args.most_workers()),
        &args.connections,
        command,
        no_private_network.clone(),
    )?;
    let mut trials = real_trials(command, args.no_build, no_private_network);
    cmd::compare::run(args, &mut trials, &here, &mut std::io::stdout())
}

fn reproduce(args: &ReproduceArgs, command: &[String]) -> Result<(), Failure> {
    let no_private_network = no_private_network(true);
    let here = here(
        &Pin::Auto,
        (None, 1),
        &ConnectionArgs::default(),
        command,
        no_private_network.clone(),
    )?;
    let mut trials = real_trials(command, args.no_build, no_private_network);
    cmd::reproduce::run(args, &mut trials, &here, &mut std::io::stdout())
}

/// What is known of this machine before a comparison.
fn here(
    pin: &Pin,
    (threads, server_workers): (Option<u32>, u32),
    connections: &ConnectionArgs,
    command: &[String],
    no_private_network: Option<String>,
) -> Result<Here, Failure> {
    let machine = machine()?;
    Ok(Here {
        label: environment::label(),
        base: PlanBase::resolve(pin, threads, server_workers, connections, &machine)?,
        machine,
        command: command.to_vec(),
        environment: environment::capture(),
        cpus: environment::usable_cpus(),
        no_private_network,
        tracking: sampler::network::tracking(),
    })
}

fn real_trials(command: &[String], no_build: bool, no_private_network: Option<String>) -> RealTrials<'_> {
    RealTrials {
        command,
        workers: None,
        no_build,
        round: None,
        no_private_network,
        output_folder: None,
    }
}

fn sweep(args: &SweepArgs, command: &[String]) -> Result<(), Failure> {
    let servers = cmd::sweep::servers_of(args)?;
    let mut trials = RealTrials {
        workers: servers.workers,
        ..real_trials(command, args.no_build, no_private_network(servers.may_be_private))
    };
    let here = (environment::label(), command);
    cmd::sweep::run(
        args,
        &mut trials,
        &machine()?,
        (&here.0, here.1),
        &mut std::io::stdout(),
    )
}

fn connect(args: &ConnectArgs) -> Result<(), Failure> {
    let target = cmd::connect::target(args)?;
    leftovers::remove(|| 0);
    let server = subject::obtain(&subject::Request {
        start: Start::Auto,
        connect_timeout: args.connect_timeout,
        // Who types by hand loads nobody.
        reach: Reach {
            public: true,
            ..Reach::default()
        },
        no_build: args.no_build,
        ..subject::Request::start(&target)
    })?;
    let (address, timeout) = (server.address(), args.timeout);
    // Nothing wakes who waits for a line to be typed.
    let talk = move || {
        let (mut stdin, mut stdout) = (std::io::stdin().lock(), std::io::stdout());
        cmd::connect::run(address, timeout, &mut stdin, &mut stdout)
    };
    interrupt::unless_asked(talk).unwrap_or_else(|| Err(Failure::interrupted()))
}

fn machine() -> Result<Machine, Failure> {
    environment::machine().map_err(Failure::fault)
}
