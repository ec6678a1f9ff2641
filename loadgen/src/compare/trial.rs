//! One trial: a server, a workload, a measurement. The unit of replication.
//!
//! Obtains the server, lets the engine run the workload, reads costs at the engine's moments, stops the server, and has
//! [`super::assembly`] make the record. The verdict is `validity::gates`'.

use super::assembly::{self, Parts};
use super::room::wait_for_room;
use super::runner::{TrialProgress, Trials};
use crate::engine::{self, Directive, Moment, Observer, Progress, limits};
use crate::environment::{self, network as network_namespace};
use crate::failure::{Exit, Failure};
use crate::interrupt;
use crate::notice::notice;
use crate::record::{Environment, External, Incomplete, Measurement, Origin, SuitePlace};
use crate::record::{NetworkChoice, NetworkKind, NetworkPlace, Plan, Start};
use crate::sampler::network::Tracking;
use crate::sampler::syscalls::{self, SyscallCounter};
use crate::sampler::watcher::Watcher;
use crate::sampler::{distance, network, own};
use crate::subject::{self, Request, Server, Stopped};
use crate::workload::opening::Opening;
use crate::workload::payload::Payload;
use crate::workload::pool;
use echo_contract::catalog;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Addresses that a connection for each message starts from: their halves of the ports last for two seconds at 130,000/s.
const CHURN_ADDRESSES: u8 = 8;

/// What a trial needs beside its plan.
pub struct Context<'a> {
    /// Place in a suite; none for a single run.
    pub place: Option<SuitePlace>,
    /// `--workers` of a server that is started.
    pub workers: Option<u32>,
    pub no_build: bool,
    /// loadgen's own command line, for the record.
    pub command: &'a [String],
    /// The environment when the trial's round began; none for a single run.
    pub round_environment: Option<&'a Environment>,
    /// Whether the user wants to stop.
    pub interrupted: &'a dyn Fn() -> bool,
    /// Why no trial can have a private network; none where it can.
    pub no_private_network: Option<&'a str>,
    /// Where the output of servers that are not of the catalog is kept; none keeps it for an error's text only.
    pub output_folder: Option<&'a Path>,
}

/// Runs one trial.
///
/// # Errors
/// When the target cannot be had, or by a fault of loadgen. Whatever happens once the load runs is in the record.
pub fn run(plan: &Plan, context: &Context<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Measurement, Failure> {
    match network_of(plan, context)? {
        NetworkPlace {
            kind: NetworkKind::Private,
            ..
        } => in_private_network(plan, context, progress),
        host => {
            wait_for_room(plan, &network::tracking, context.interrupted, &|text| notice(text));
            measure(plan, context, host, progress).map_err(with_cause)
        }
    }
}

/// Who cannot be reached because the kernel drops what it cannot track is told so.
fn with_cause(failure: Failure) -> Failure {
    match network::tracking().and_then(Tracking::cause) {
        Some(cause) if failure.exit == Exit::Unreachable => Failure::unreachable(format!("{}; {cause}", failure.text)),
        _ => failure,
    }
}

/// Which network the trial belongs in. What runs already, and what is measured by its address, lives in the host's.
fn network_of(plan: &Plan, context: &Context<'_>) -> Result<NetworkPlace, Failure> {
    let host = |note: Option<&str>| NetworkPlace {
        kind: NetworkKind::Host,
        note: note.map(str::to_owned),
    };
    let of_catalog = catalog::find(&plan.target).is_some_and(|row| match plan.start {
        Start::Always => true,
        Start::Never => false,
        // Whoever holds the port is attached to, or named as what it is not.
        Start::Auto => !subject::is_held(row),
    });
    let starts = of_catalog || plan.external.is_some();
    match (plan.network, starts, context.no_private_network) {
        (NetworkChoice::Host, ..) | (NetworkChoice::Auto, false, _) => Ok(host(None)),
        (NetworkChoice::Auto, true, Some(why)) => Ok(host(Some(why))),
        (NetworkChoice::Private, false, _) => Err(Failure::usage(format!(
            "--network private is for servers that loadgen starts, which {} is not: use --start always, or --network host",
            plan.target
        ))),
        (NetworkChoice::Private, true, Some(why)) => Err(Failure::usage(format!("--network private: {why}"))),
        (_, true, None) => Ok(NetworkPlace {
            kind: NetworkKind::Private,
            note: None,
        }),
    }
}

/// How often a trial in another thread is told whether the user wants to stop.
const LOOK: Duration = Duration::from_millis(20);

/// Runs the whole trial on a thread of its own that enters a fresh network and ends with it: nothing returns to another
/// namespace, and no pinning leaks. What goes on is passed on to this thread, which alone knows the user.
fn in_private_network(
    plan: &Plan,
    context: &Context<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Measurement, Failure> {
    let asked_to_stop = AtomicBool::new(false);
    let (sender, receiver) = mpsc::channel();
    let (place, command, round_environment) = (context.place.clone(), context.command, context.round_environment);
    let output_folder = context.output_folder;
    let (workers, no_build) = (context.workers, context.no_build);
    thread::scope(|scope| {
        let asked_to_stop = &asked_to_stop;
        let trial = scope.spawn(move || {
            let entered = network_namespace::enter_private().map_err(Failure::fault)?;
            let inside = NetworkPlace {
                kind: NetworkKind::Private,
                note: (!entered.not_set.is_empty()).then(|| entered.not_set.join("; ")),
            };
            let context = Context {
                place,
                workers,
                no_build,
                command,
                round_environment,
                interrupted: &|| asked_to_stop.load(Ordering::Relaxed),
                no_private_network: None,
                output_folder,
            };
            measure(plan, &context, inside, &mut |now| {
                let _ = sender.send(now); // Nobody listens any more: nothing to show.
            })
        });
        loop {
            match receiver.recv_timeout(LOOK) {
                Ok(now) => progress(now),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if (context.interrupted)() {
                asked_to_stop.store(true, Ordering::Relaxed);
            }
        }
        trial
            .join()
            .unwrap_or_else(|_| Err(Failure::fault("the trial's thread ended in a panic")))
    })
}

/// The trial itself, in the network that this thread is in.
fn measure(
    plan: &Plan,
    context: &Context<'_>,
    place: NetworkPlace,
    progress: &mut dyn FnMut(Progress),
) -> Result<Measurement, Failure> {
    limits::raise_descriptors(plan.descriptors())?;
    let workers = pool::workers(&plan.target, plan.workload.clients, plan.workers.or(context.workers))?;
    let begun = jiff::Timestamp::now();
    let environment = Environment {
        network: Some(place),
        ..environment::capture()
    };
    let (payload, opening) = what_is_sent(plan)?;
    let cpus = || distance::measure(&plan.placement.server_cpus, &plan.placement.loadgen_cpus);
    let cpus_before = cpus();
    let server = subject::obtain(&request(plan, context, workers, &opening, &work(plan)))?;
    let target = server.description();
    if target.origin == Origin::Attached {
        // Only now it is known how many workers it has; a pool that is too small would leave clients waiting.
        pool::workers(&plan.target, plan.workload.clients, target.workers)?;
    }
    let plan = &as_met(plan, &server);
    let (probes, network_before) = (server.probes(), network::read());
    let syscalls = syscall_counter(&server, plan);
    let mut watch = Watch {
        watcher: Watcher::new(&server.watched(), plan, syscalls),
        server: &server,
        interrupted: context.interrupted,
        progress,
    };
    let recorded = engine::run_over(plan, &payload, server.addresses(), &mut watch);
    let readings = watch.watcher.into_readings();
    let tracking = network::tracking();
    let network = network_before
        .zip(network::read())
        .map(|(before, after)| network::growth(&before, &after));
    let environment_changes = environment::changes(&environment, &environment::capture());
    let stopped = server.stop();
    keep_output(plan, context, &stopped);
    let cpu_distance = distance::between(&cpus_before, &cpus());
    Ok(assembly::assemble(Parts {
        plan,
        place: context.place.clone(),
        command: context.command,
        started_at: begun.to_string(),
        loadgen_sha256: std::env::current_exe().ok().and_then(|path| subject::sha256_of(&path)),
        loadgen_memory_peak_bytes: own::memory_peak_bytes(),
        environment: environment.clone(),
        target,
        recorded: recorded?,
        readings,
        network,
        tracking,
        cpu_distance,
        environment_changes: with_round(context.round_environment, &environment, environment_changes),
        probes,
        stopped,
    }))
}

/// The plan, completed by what only the server that was found tells.
fn as_met(plan: &Plan, server: &Server) -> Plan {
    Plan {
        // Where a server runs that was there before is not ours to say: a thread that never sleeps could take its CPU.
        looks_for_answers: plan.looks_for_answers && server.origin() == Origin::Started,
        source_addresses: source_addresses(plan, server.addresses()),
        ..plan.clone()
    }
}

/// The bytes of the workload, and those that ask for the first echo.
fn what_is_sent(plan: &Plan) -> Result<(Payload, Opening), Failure> {
    let workload = &plan.workload;
    let file = subject::read_payload(&workload.payload)?;
    let payload = Payload::of(&workload.payload, plan.seed, file);
    let opening = Opening::of(workload, plan.seed, &payload);
    Ok((payload, opening))
}

/// Where connections start from. A workload that opens them all the time is given more than one address of loopback where nobody
/// said otherwise: of an address's ports the kernel finds a half at once, and then looks through all of them for each
/// connection until those of a second ago may be used again.
fn source_addresses(plan: &Plan, servers: &[SocketAddr]) -> Vec<Ipv4Addr> {
    let is_v4_loopback = |ip: IpAddr| matches!(ip, IpAddr::V4(address) if address.is_loopback());
    let is_here = (servers.iter()).all(|server| is_v4_loopback(server.ip().to_canonical()));
    if plan.workload.connection_carries().is_some() && plan.source_addresses.is_empty() && is_here {
        (1..=CHURN_ADDRESSES)
            .map(|last| Ipv4Addr::new(127, 0, 0, last))
            .collect()
    } else {
        plan.source_addresses.clone()
    }
}

/// The server that the plan is for.
fn request<'a>(
    plan: &'a Plan,
    context: &Context<'_>,
    workers: Option<u32>,
    opening: &'a Opening,
    arguments: &'a [String],
) -> Request<'a> {
    Request {
        target: &plan.target,
        external: plan.external.as_ref(),
        start: plan.start,
        workers,
        server_cpus: &plan.placement.server_cpus,
        connect_timeout: Duration::from_millis(plan.connect_timeout_ms),
        opening: Some(opening),
        source_addresses: &plan.source_addresses,
        arguments,
        reach: plan.reach,
        no_build: context.no_build,
        counts_syscalls: plan.counting,
    }
}

/// The flags of a server that works for each read.
fn work(plan: &Plan) -> Vec<String> {
    match plan.work_ns {
        None | Some(0) => Vec::new(),
        Some(work_ns) => vec!["--work".to_owned(), format!("{work_ns}ns")],
    }
}

/// Keeps what a server that is not of the catalog printed, where there is a folder for it. A trial is not lost to that.
fn keep_output(plan: &Plan, context: &Context<'_>, stopped: &Stopped) {
    let (Some(folder), Some(output), Some(place)) = (context.output_folder, &stopped.output, &context.place) else {
        return;
    };
    let title = format!("round {}, {}", place.round, plan.workload.name);
    if let Err(failure) = subject::keep_output(folder, &plan.target, &title, output) {
        notice(format_args!("what {} printed is not kept: {failure}", plan.target));
    }
}

/// Changes during the trial, and of a suite also those since its round began.
fn with_round(round: Option<&Environment>, now: &Environment, mut changes: Vec<String>) -> Vec<String> {
    let earlier = round.map_or_else(Vec::new, |round| environment::changes(round, now));
    changes.extend(
        earlier
            .into_iter()
            .map(|change| format!("{change} (since the round began)")),
    );
    changes
}

/// What counts the server's system calls, or why nothing does.
fn syscall_counter(server: &Server, plan: &Plan) -> Result<Arc<SyscallCounter>, String> {
    match (plan.counting, server.origin(), server.pid()) {
        (false, ..) => Err(syscalls::NOT_ASKED.to_owned()),
        (true, Origin::Started, _) => server.syscalls(),
        (true, Origin::Attached, None) => Err(format!("not counted: {}", server.why_no_pid())),
        (true, Origin::Attached, Some(pid)) => SyscallCounter::of_running_tree(pid, plan.descriptors()).map(Arc::new),
    }
}

/// Trials on real servers: each starts its own.
pub struct RealTrials<'a> {
    /// loadgen's own command line, for the records.
    pub command: &'a [String],
    /// `--workers` of the servers; none leaves it to each.
    pub workers: Option<u32>,
    /// Whether binaries are taken as they are.
    pub no_build: bool,
    /// The round that runs, and the environment when it began.
    pub round: Option<(u32, Environment)>,
    /// Why no trial can have a private network; none where it can.
    pub no_private_network: Option<String>,
    /// See [`Context::output_folder`]; known once the comparison has a folder.
    pub output_folder: Option<PathBuf>,
}

impl Trials for RealTrials<'_> {
    fn prepare(&mut self, externals: &[External], folder: &Path) -> Result<(), Failure> {
        self.output_folder = Some(folder.join("output"));
        for server in externals {
            if subject::what_is_missing(server).is_none() && !self.no_build {
                subject::prepare_external(server)?;
            }
        }
        subject::server_directory(self.no_build).map(drop)
    }

    fn run(&mut self, plan: &Plan, place: &SuitePlace, progress: &mut dyn FnMut(TrialProgress)) -> Measurement {
        if self.round.as_ref().is_none_or(|(round, _)| *round != place.round) {
            self.round = Some((place.round, environment::capture()));
        }
        let context = Context {
            round_environment: self.round.as_ref().map(|(_, environment)| environment),
            place: Some(place.clone()),
            workers: self.workers,
            no_build: true, // `prepare` has built everything.
            command: self.command,
            interrupted: &interrupt::asked,
            no_private_network: self.no_private_network.as_deref(),
            output_folder: self.output_folder.as_deref(),
        };
        if let Some(why) = pool::too_small(&plan.target, plan.workload.clients) {
            return assembly::not_to_be_measured(plan, &context, &why);
        }
        if let Some(why) = plan.external.as_ref().and_then(subject::what_is_missing) {
            return assembly::not_to_be_measured(plan, &context, &why);
        }
        if plan.counting
            && let Err(why) = syscalls::available()
        {
            return assembly::not_to_be_measured(plan, &context, &why);
        }
        progress(TrialProgress {
            phase: "starting",
            fraction: 0.0,
        });
        let mut pass_on = |now: Progress| {
            progress(TrialProgress {
                phase: now.phase.as_str(),
                fraction: now.fraction,
            })
        };
        run(plan, &context, &mut pass_on)
            .unwrap_or_else(|failure| assembly::not_measured(plan, &context, &failure.text))
    }

    fn interrupted(&self) -> bool {
        interrupt::asked()
    }
}

/// Tells the watcher of the engine's moments, and the engine whether to go on.
struct Watch<'a> {
    server: &'a Server,
    watcher: Watcher,
    interrupted: &'a dyn Fn() -> bool,
    progress: &'a mut dyn FnMut(Progress),
}

impl Observer for Watch<'_> {
    fn moment(&mut self, moment: Moment<'_>) {
        let watcher = &mut self.watcher;
        match moment {
            Moment::Started { threads } => watcher.workers_started(threads),
            Moment::BeforeConnect | Moment::MeasuredFrom => watcher.span_begins(),
            Moment::Connected { .. } => watcher.connected(),
            Moment::WindowPassed => watcher.window_passed(),
            Moment::MeasuredTo => watcher.span_ends(),
            Moment::Hold => watcher.hold(),
            Moment::Drained => watcher.drained(),
        }
    }

    fn look(&mut self, progress: Progress) -> Directive {
        (self.progress)(progress);
        if !self.server.is_alive() {
            self.watcher.server_died();
            return Directive::Abort(Incomplete::server_died(""));
        }
        if (self.interrupted)() {
            return Directive::Stop(Incomplete::Interrupted);
        }
        Directive::Continue
    }
}
