//! Parses, dispatches, prints a failure and sets the exit code. The only place that exits.

use clap::{CommandFactory as _, Parser as _};
use loadgen::cmd;
use loadgen::cmd::arguments::{Cli, ConnectArgs, Pin, Verb};
use loadgen::cmd::compare::{CompareArgs, Here};
use loadgen::cmd::sweep::SweepArgs;
use loadgen::compare::trial::RealTrials;
use loadgen::environment;
use loadgen::failure::{Exit, Failure};
use loadgen::interrupt::Interrupt;
use loadgen::notice::notice;
use loadgen::record::Machine;
use loadgen::record::{NetworkChoice, Start};
use loadgen::sampler;
use loadgen::subject;
use loadgen::suite::matrix::PlanBase;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(exit)) => ExitCode::from(exit as u8),
        Err(failure) => {
            notice(format_args!("error: {failure}"));
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn run(cli: Cli) -> Result<Option<Exit>, Failure> {
    let command: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    match cli.verb {
        None => {
            let starts = cli.run.start != Start::Never && cli.run.machine.network != NetworkChoice::Host;
            let no_private_network = no_private_network(starts);
            let machine = machine()?;
            cmd::run::run(
                &cli.run,
                &machine,
                &command,
                &interrupt()?,
                no_private_network.as_deref(),
            )
        }
        Some(Verb::Compare(args)) => compare(&args, command).map(|()| None),
        Some(Verb::Report(args)) => cmd::report::run(&args, &mut std::io::stdout()).map(|()| None),
        Some(Verb::Publish(args)) => cmd::publish::run(&args, &mut std::io::stdout()).map(|()| None),
        Some(Verb::Verify(args)) => cmd::verify::run(&args).map(|()| None),
        Some(Verb::Calibrate(args)) => cmd::calibrate::run(&args, &machine()?, &interrupt()?),
        Some(Verb::TruthServer { behaviour, cpu }) => {
            cmd::calibrate::serve_truth(&behaviour, &cpu, &interrupt()?).map(|()| None)
        }
        Some(Verb::Connect(args)) => connect(&args).map(|()| None),
        Some(Verb::Sweep(args)) => sweep(&args, &command).map(|()| None),
        Some(Verb::Merge(args)) => cmd::merge::run(&args),
        Some(Verb::List) => cmd::output::print(&cmd::list::run()).map(|()| None),
        Some(Verb::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "loadgen", &mut script);
            cmd::output::print(&String::from_utf8_lossy(&script)).map(|()| None)
        }
        Some(Verb::Man) => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
            rendered.map_err(|error| Failure::fault(format!("the manual page: {error}")))?;
            cmd::output::print(&String::from_utf8_lossy(&page)).map(|()| None)
        }
        Some(Verb::AsOwnerOf { folder, arguments }) => Err(subject::run_as_owner_of(&folder, &arguments)),
        Some(Verb::TryPrivateNetwork) => cmd::output::print(&format!("{}\n", subject::try_private()?)).map(|()| None),
        Some(Verb::LaunchServer { arguments }) => Err(subject::launch_server(arguments.into_iter().map(Into::into))),
    }
}

/// Why trials cannot have a private network, found out before the first thread; none where they can, and where no server
/// will be started.
fn no_private_network(starts: bool) -> Option<String> {
    starts.then(|| subject::prepare_private().err())?
}

fn compare(args: &CompareArgs, command: Vec<String>) -> Result<(), Failure> {
    let no_private_network = match args.network {
        // A comparison that is gone on with may have left the choice open.
        NetworkChoice::Host => Some("--network host".to_string()),
        _ => no_private_network(args.targets != "running"),
    };
    let interrupt = interrupt()?;
    let pin: Pin = args
        .pin
        .parse()
        .map_err(|error| Failure::usage(format!("--pin: {error}")))?;
    let base = PlanBase::resolve(&pin, args.threads, &machine()?)?;
    let here = Here {
        label: environment::label(),
        base,
        command: command.clone(),
        environment: environment::capture(),
        cpus: environment::usable_cpus(),
        no_private_network: no_private_network.clone(),
        tracking: sampler::network::tracking(),
    };
    cmd::compare::run(
        args,
        &mut RealTrials {
            command: &command,
            interrupt: &interrupt,
            no_build: args.no_build,
            round: None,
            no_private_network,
        },
        &here,
        &mut std::io::stdout(),
    )
}

fn sweep(args: &SweepArgs, command: &[String]) -> Result<(), Failure> {
    let no_private_network = no_private_network(cmd::sweep::may_be_private(args)?);
    let interrupt = interrupt()?;
    let mut trials = RealTrials {
        command,
        interrupt: &interrupt,
        no_build: args.no_build,
        round: None,
        no_private_network,
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
    let target = match (&args.target, &args.host, args.port) {
        (Some(target), _, _) => target.clone(),
        (None, Some(host), Some(port)) => format!("{host}:{port}"),
        _ => return Err(Failure::usage("connect to what? Give HOST PORT, or --target NAME")),
    };
    let (mut stdin, mut stdout) = (std::io::stdin().lock(), std::io::stdout());
    let server = subject::obtain(&subject::Request {
        start: Start::Auto,
        connect_timeout: args.timeout,
        allow_public: true,
        no_build: args.no_build,
        ..subject::Request::start(&target)
    })?;
    cmd::connect::run(server.address(), args.timeout, &mut stdin, &mut stdout)
}

fn interrupt() -> Result<Interrupt, Failure> {
    Interrupt::listen().map_err(|error| Failure::fault(format!("handling signals: {error}")))
}

fn machine() -> Result<Machine, Failure> {
    environment::machine().map_err(Failure::fault)
}
