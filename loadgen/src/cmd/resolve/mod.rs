//! From what was typed to a plan that can be run: presets and files merged, limits computed, contradictions refused.
//! Nothing is opened or started here; what the machine offers comes in as [`Machine`].

pub mod sweep;

use crate::cmd::arguments::{self, Pin, RunArgs, Spacing, WorkloadArgs};
use crate::failure::Failure;
use crate::record::Machine;
use crate::record::{Arrivals, NetworkChoice, OpenLoop, Pacing, Placement, Plan, Start, Stop, Waiting, Workload};
use crate::suite::matrix::PlanBase;
use crate::suite::preset;
use crate::workload::pool;
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;

/// Descriptors that loadgen needs beside its clients' sockets.
const DESCRIPTORS_BESIDE_CLIENTS: u64 = 64;
/// More clients than this are a typing mistake.
const MOST_CLIENTS: u64 = 1_000_000;
/// Deepest pipeline.
const MOST_PIPELINE: u64 = 4096;
/// Highest rate of an open loop, messages per second.
const MOST_RATE: u64 = 10_000_000;
/// Messages of a burst where the user does not say.
const BURST_SIZE: u64 = 10;
/// Largest burst.
const MOST_BURST_SIZE: u64 = 1_000_000;
/// See [`Plan::connect_window`]: as many as the shortest accept queue in common use (100, Python's asyncio) takes.
const CONNECT_WINDOW: u32 = 100;

/// A job of a comparison is repeated with fresh connections until it has been measured for so long.
const REPEAT_FOR_MS: u64 = 500;

impl Plan {
    /// Checks and completes what was typed.
    ///
    /// # Errors
    /// A usage failure that names the flag, its value and the fix.
    pub fn resolve(args: &RunArgs, machine: &Machine) -> Result<Self, Failure> {
        let target = args.target.clone().ok_or_else(|| {
            Failure::usage("whom to measure? Give --target NAME (see `loadgen list`) or --target HOST:PORT")
        })?;
        let workload = workload(&args.workload)?;
        let workers = pool::workers(&target, workload.clients, args.workers)?;
        // The workers of a pool wait for one client each: they are many, and need no CPU each.
        let server_cpus = if pool::is_pool(&target) { None } else { workers };
        let placement = placement(&args.machine.pin, server_cpus.unwrap_or(1), machine)?;
        let source_addresses = args
            .source_addresses
            .clone()
            .map_or_else(Vec::new, |addresses| addresses.0);
        check_descriptors(&workload, machine)?;
        check_ports(&workload, source_addresses.len(), machine)?;
        let threads = threads(args.machine.threads, &placement, machine)?.min(workload.clients);
        Ok(Self {
            target,
            start: args.start,
            workload,
            threads,
            placement,
            timeout_ms: at_least_1ms("--timeout", args.timeout)?,
            connect_timeout_ms: at_least_1ms("--connect-timeout", args.connect_timeout)?,
            seed: args.workload.seed,
            source_addresses,
            repeat_for_ms: 0,
            connect_window: CONNECT_WINDOW,
            counting: args.count_syscalls,
            start_at: args.start_at.map(|at| at.to_string()),
            network: args.machine.network,
        })
    }

    /// Descriptors that the plan needs in loadgen.
    #[must_use]
    pub fn descriptors(&self) -> u64 {
        u64::from(self.workload.clients) + DESCRIPTORS_BESIDE_CLIENTS
    }
}

impl PlanBase {
    /// What all plans of a suite share, checked against the machine. Each plan's clients are checked when it runs.
    ///
    /// # Errors
    /// A usage failure that names the flag, its value and the fix.
    pub fn resolve(pin: &Pin, asked_threads: Option<u32>, machine: &Machine) -> Result<Self, Failure> {
        let placement = placement(pin, 1, machine)?;
        Ok(Self {
            start: Start::Always,
            threads: threads(asked_threads.map(u64::from), &placement, machine)?,
            placement,
            timeout_ms: 5_000,
            connect_timeout_ms: 5_000,
            source_addresses: Vec::new(),
            repeat_for_ms: REPEAT_FOR_MS,
            connect_window: CONNECT_WINDOW,
            network: NetworkChoice::Auto,
        })
    }
}

/// A workload file: the flags' names and notations.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WorkloadFile {
    clients: Option<u64>,
    messages: Option<u64>,
    total_messages: Option<u64>,
    duration: Option<String>,
    warmup: Option<String>,
    size: Option<toml::Value>,
    pipeline: Option<u64>,
    churn: Option<bool>,
    rate: Option<toml::Value>,
    arrivals: Option<Spacing>,
    burst_size: Option<u64>,
    ramp: Option<String>,
    pacing: Option<Waiting>,
}

/// The workload of the flags, on top of a preset or a file.
fn workload(args: &WorkloadArgs) -> Result<Workload, Failure> {
    let mut workload = match &args.workload {
        None => preset::unnamed(50),
        Some(name) => match preset::find(name) {
            Some(preset) => preset.workload(),
            None => from_file(name)?,
        },
    };
    let base = workload.clone();
    if let Some(clients) = args.clients {
        workload.clients = clients_in_range(clients)?;
    }
    if let Some(messages) = args.messages {
        workload.stop = Stop::MessagesPerClient(messages);
    }
    if let Some(total) = args.total_messages {
        workload.stop = Stop::TotalMessages(total);
    }
    if let Some(duration) = args.duration {
        workload.stop = Stop::AfterMs(as_ms(duration));
    }
    if let Some(size) = args.size {
        (workload.size_min_bytes, workload.size_max_bytes) = (size.min_bytes, size.max_bytes);
    }
    if let Some(pipeline) = args.pipeline {
        workload.pipeline = u32::try_from(pipeline)
            .ok()
            .filter(|&depth| u64::from(depth) <= MOST_PIPELINE)
            .ok_or_else(|| Failure::usage(format!("--pipeline {pipeline} is more than {MOST_PIPELINE}")))?;
    }
    workload.churn |= args.churn;
    if workload.is_job() {
        workload.warmup_ms = 0;
    } else if base.is_job() {
        workload.warmup_ms = preset::unnamed(1).warmup_ms;
    }
    if let Some(warmup) = args.warmup {
        if workload.is_job() && !warmup.is_zero() {
            return Err(Failure::usage(
                "--warmup needs a run that stops by time: a job of --messages or --total-messages counts from its \
                 first connect(). Leave --warmup out, or give --duration",
            ));
        }
        workload.warmup_ms = as_ms(warmup);
    }
    workload.pacing = pacing(args, &workload)?;
    if let (Pacing::OpenLoop(open), None) = (&workload.pacing, args.warmup) {
        workload.warmup_ms = workload.warmup_ms.max(open.ramp_ms);
    }
    if workload != base {
        workload.name = if args.workload.is_some() {
            format!("{} (changed)", base.name)
        } else {
            "custom".into()
        };
    }
    check_sense(&workload)?;
    Ok(workload)
}

/// When messages leave: what the flags say on top of the workload's own pacing.
fn pacing(args: &WorkloadArgs, workload: &Workload) -> Result<Pacing, Failure> {
    let before = workload.open_loop();
    let Some(rate_per_s) = args.rate.or(before.map(|open| open.rate_per_s)) else {
        let useless = [
            args.arrivals.map(|_| "--arrivals"),
            args.burst_size.map(|_| "--burst-size"),
            args.ramp.map(|_| "--ramp"),
            args.pacing.map(|_| "--pacing"),
        ];
        return match useless.into_iter().flatten().next() {
            Some(flag) => Err(Failure::usage(format!(
                "{flag} says how messages of a plan leave, and a closed loop has none: give --rate N (messages per second \
                 of all clients together), or leave {flag} out"
            ))),
            None => Ok(Pacing::ClosedLoop),
        };
    };
    if rate_per_s > MOST_RATE {
        return Err(Failure::usage(format!(
            "--rate {rate_per_s} is more than {MOST_RATE} messages/s"
        )));
    }
    let arrivals = match (args.arrivals, before.map(|open| open.arrivals)) {
        (Some(Spacing::Constant), _) | (None, None) => Arrivals::Constant,
        (Some(Spacing::Poisson), _) => Arrivals::Poisson,
        (Some(Spacing::Burst), _) => Arrivals::Burst(burst_size(args.burst_size.unwrap_or(BURST_SIZE))?),
        (None, Some(arrivals)) => arrivals,
    };
    let arrivals = match (arrivals, args.burst_size) {
        (Arrivals::Burst(_), Some(messages)) => Arrivals::Burst(burst_size(messages)?),
        (Arrivals::Constant | Arrivals::Poisson, Some(messages)) => {
            return Err(Failure::usage(format!(
                "--burst-size {messages} needs --arrivals burst: give both, or neither"
            )));
        }
        (arrivals, None) => arrivals,
    };
    Ok(Pacing::OpenLoop(OpenLoop {
        rate_per_s,
        arrivals,
        ramp_ms: args.ramp.map(as_ms).or(before.map(|open| open.ramp_ms)).unwrap_or(0),
        waiting: args
            .pacing
            .or(before.map(|open| open.waiting))
            .unwrap_or(Waiting::Hybrid),
    }))
}

fn burst_size(messages: u64) -> Result<u32, Failure> {
    u32::try_from(messages)
        .ok()
        .filter(|&messages| (1..=MOST_BURST_SIZE).contains(&u64::from(messages)))
        .ok_or_else(|| {
            Failure::usage(format!(
                "--burst-size {messages} is not between 1 and {MOST_BURST_SIZE}"
            ))
        })
}

fn from_file(path: &str) -> Result<Workload, Failure> {
    if !Path::new(path).exists() {
        let names: Vec<_> = preset::PRESETS.iter().map(|preset| preset.name).collect();
        return Err(Failure::usage(format!(
            "--workload {path} is neither a preset ({}) nor a file that exists",
            names.join(", ")
        )));
    }
    let wrong = |what: String| Failure::usage(format!("workload file {path}: {what}"));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let file: WorkloadFile = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let time = |field: &str, text: Option<String>| -> Result<Option<Duration>, Failure> {
        text.map(|text| arguments::duration(&text))
            .transpose()
            .map_err(|error| wrong(format!("{field}: {error}")))
    };
    let size = file
        .size
        .map(|size| match size {
            toml::Value::Integer(bytes) => bytes.to_string(),
            toml::Value::String(text) => text,
            other => other.to_string(),
        })
        .map(|text| arguments::size(&text))
        .transpose()
        .map_err(|error| wrong(format!("size: {error}")))?;
    let rate = file
        .rate
        .map(|rate| match rate {
            toml::Value::Integer(rate) => rate.to_string(),
            toml::Value::String(text) => text,
            other => other.to_string(),
        })
        .map(|text| arguments::count(&text))
        .transpose()
        .map_err(|error| wrong(format!("rate: {error}")))?;
    let stops = [
        file.messages.is_some(),
        file.total_messages.is_some(),
        file.duration.is_some(),
    ];
    if stops.into_iter().filter(|&stop| stop).count() > 1 {
        return Err(wrong("messages, total-messages and duration exclude each other".into()));
    }
    let name = Path::new(path)
        .file_stem()
        .map_or_else(|| path.to_string(), |stem| stem.to_string_lossy().into_owned());
    let typed = WorkloadArgs {
        workload: None,
        clients: file.clients,
        messages: file.messages,
        total_messages: file.total_messages,
        duration: time("duration", file.duration)?,
        warmup: time("warmup", file.warmup)?,
        size,
        pipeline: file.pipeline,
        churn: file.churn.unwrap_or(false),
        rate,
        arrivals: file.arrivals,
        burst_size: file.burst_size,
        ramp: time("ramp", file.ramp)?,
        pacing: file.pacing,
        seed: 0,
    };
    let mut workload = workload(&typed).map_err(|failure| wrong(failure.text))?;
    workload.name = name;
    Ok(workload)
}

fn clients_in_range(clients: u64) -> Result<u32, Failure> {
    u32::try_from(clients)
        .ok()
        .filter(|&clients| (1..=MOST_CLIENTS).contains(&u64::from(clients)))
        .ok_or_else(|| Failure::usage(format!("--clients {clients} is not between 1 and {MOST_CLIENTS}")))
}

/// Refuses workloads that contradict themselves.
fn check_sense(workload: &Workload) -> Result<(), Failure> {
    if workload.churn && workload.pipeline > 1 {
        return Err(Failure::usage(format!(
            "--churn and --pipeline {} exclude each other: a connection that carries one message has no pipeline",
            workload.pipeline
        )));
    }
    if let Some(open) = workload.open_loop() {
        check_open_loop(workload, open)?;
    }
    match workload.stop {
        Stop::TotalMessages(total) if total < u64::from(workload.clients) => Err(Failure::usage(format!(
            "--total-messages {total} is less than one for each of {} clients: some would never send. Give at least \
             {0}, or fewer --clients",
            workload.clients
        ))),
        Stop::MessagesPerClient(0) | Stop::TotalMessages(0) => {
            Err(Failure::usage("a job of 0 messages measures nothing: give at least 1"))
        }
        Stop::AfterMs(0) => Err(Failure::usage("--duration 0 measures nothing: give at least 100ms")),
        Stop::AfterMs(_) | Stop::MessagesPerClient(_) | Stop::TotalMessages(_) => Ok(()),
    }
}

/// A plan of a rate lasts for a time; a job ends when its last message is answered. Both together say one thing twice.
fn check_open_loop(workload: &Workload, open: &OpenLoop) -> Result<(), Failure> {
    let rate = open.rate_per_s;
    match workload.stop {
        Stop::AfterMs(ms) if open.ramp_ms >= workload.warmup_ms + ms => Err(Failure::usage(format!(
            "--ramp {}ms would not end before the run does ({} ms warm-up + {ms} ms): --rate {rate} would never be \
             reached. Give a longer --duration, or a shorter --ramp",
            open.ramp_ms, workload.warmup_ms
        ))),
        Stop::AfterMs(_) => Ok(()),
        Stop::MessagesPerClient(_) | Stop::TotalMessages(_) => {
            let messages = workload.messages_planned().unwrap_or_default();
            let (flag, value) = match workload.stop {
                Stop::MessagesPerClient(messages) => ("--messages", messages),
                _ => ("--total-messages", messages),
            };
            Err(Failure::usage(format!(
                "--rate {rate} and {flag} {value} exclude each other: a plan deals its messages to whichever client is \
                 free, and lasts for a time. {messages} messages at {rate}/s are --duration {}ms",
                (u128::from(messages) * 1000).div_ceil(u128::from(rate))
            )))
        }
    }
}

/// Divides the CPUs between both sides.
///
/// # Errors
/// When a named CPU is not there.
pub fn placement(pin: &Pin, server_workers: u32, machine: &Machine) -> Result<Placement, Failure> {
    let usable: Vec<usize> = machine.cores.iter().flatten().copied().collect();
    let placement = |server_cpus: Vec<usize>, loadgen_cpus: Vec<usize>| {
        let shared = server_cpus.is_empty() || server_cpus.iter().any(|cpu| loadgen_cpus.contains(cpu));
        Placement {
            asked: pin.to_string(),
            server_cpus,
            loadgen_cpus,
            shared,
        }
    };
    match pin {
        Pin::Off => Ok(placement(vec![], vec![])),
        Pin::Cpus { server, client } => {
            if let Some(cpu) = server.iter().chain(client).find(|cpu| !usable.contains(cpu)) {
                return Err(Failure::usage(format!(
                    "--pin {pin}: CPU {cpu} is not one that this process may use ({})",
                    list(&usable)
                )));
            }
            Ok(placement(server.clone(), client.clone()))
        }
        Pin::Auto if usable.len() < 2 => Ok(placement(vec![], vec![])),
        Pin::Auto => {
            // Whole cores for each side: hardware threads of one core slow each other down. Only a machine of one
            // core has to split it.
            let workers = server_workers.max(1) as usize;
            if machine.cores.len() < 2 {
                return Ok(placement(vec![usable[0]], usable[1..].to_vec()));
            }
            let server_cores = workers.min(machine.cores.len() / 2).max(1);
            let (server, client) = machine.cores.split_at(server_cores);
            let first_threads = |cores: &[Vec<usize>]| cores.iter().filter_map(|core| core.first().copied()).collect();
            Ok(placement(first_threads(server), first_threads(client)))
        }
    }
}

fn threads(asked: Option<u64>, placement: &Placement, machine: &Machine) -> Result<u32, Failure> {
    let usable = machine.cores.iter().flatten().count();
    let threads = match asked {
        Some(threads) if threads > 1024 => {
            return Err(Failure::usage(format!(
                "--threads {threads} is more than 1024; this process may use {usable} CPUs"
            )));
        }
        Some(threads) => threads,
        None if placement.loadgen_cpus.is_empty() => usable.saturating_sub(1).max(1) as u64,
        None => placement.loadgen_cpus.len() as u64,
    };
    Ok(u32::try_from(threads).unwrap_or(u32::MAX))
}

fn check_descriptors(workload: &Workload, machine: &Machine) -> Result<(), Failure> {
    let need = u64::from(workload.clients) + DESCRIPTORS_BESIDE_CLIENTS;
    let hard = machine.nofile_hard;
    if need <= hard {
        return Ok(());
    }
    let most = hard.saturating_sub(DESCRIPTORS_BESIDE_CLIENTS);
    Err(Failure::usage(format!(
        "--clients {} needs {need} descriptors ({DESCRIPTORS_BESIDE_CLIENTS} beside the clients), and this process may \
         have {hard} (hard limit). Raise it as root before the start with `ulimit -Hn {need} && ulimit -n {need}`, or \
         use at most --clients {most}",
        workload.clients
    )))
}

fn check_ports(workload: &Workload, sources: usize, machine: &Machine) -> Result<(), Failure> {
    let ports = machine.ports_per_source * sources.max(1) as u64;
    if u64::from(workload.clients) <= ports {
        return Ok(());
    }
    let addresses = u64::from(workload.clients).div_ceil(machine.ports_per_source);
    Err(Failure::usage(format!(
        "--clients {} needs as many source ports, and {} source address(es) have {ports} (net.ipv4.ip_local_port_range). \
         Give at least {addresses} with --source-addresses, e.g. --source-addresses 127.0.0.2-127.0.0.{}",
        workload.clients,
        sources.max(1),
        1 + addresses
    )))
}

fn at_least_1ms(flag: &str, time: Duration) -> Result<u64, Failure> {
    match as_ms(time) {
        0 => Err(Failure::usage(format!(
            "{flag} 0 would fail everything at once: give at least 1ms"
        ))),
        ms => Ok(ms),
    }
}

fn as_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn list(cpus: &[usize]) -> String {
    cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::arguments::{Cli, Verb};
    use clap::Parser as _;

    fn machine(cores: &[&[usize]]) -> Machine {
        Machine {
            cores: cores.iter().map(|core| core.to_vec()).collect(),
            nofile_hard: 20_000,
            ports_per_source: 28_232,
        }
    }

    fn resolve(line: &str) -> Result<Plan, String> {
        let cli = Cli::parse_from(
            ["loadgen", "--target", "fork"]
                .into_iter()
                .chain(line.split_whitespace()),
        );
        assert!(!matches!(cli.verb, Some(Verb::List)));
        Plan::resolve(&cli.run, &machine(&[&[0], &[1]])).map_err(|failure| failure.text)
    }

    #[test]
    fn nothing_named_is_a_closed_loop_of_64_bytes_for_2_plus_10_seconds() {
        let plan = resolve("--clients 1000").unwrap();
        assert_eq!(plan.workload, preset::unnamed(1000));
        assert_eq!(
            (plan.threads, plan.placement.server_cpus, plan.placement.loadgen_cpus),
            (1, vec![0], vec![1])
        );
    }

    #[test]
    fn a_flag_overrides_its_field_of_a_preset() {
        let plan = resolve("--workload medium -c 20 -s 1KiB").unwrap();
        assert_eq!(plan.workload.messages_planned(), Some(200));
        assert_eq!(
            (plan.workload.name.as_str(), plan.workload.size_min_bytes),
            ("medium (changed)", 1024)
        );
        let plan = resolve("--workload light -d 1s").unwrap();
        assert_eq!(
            (plan.workload.duration(), plan.workload.warmup_ms),
            (Some(Duration::from_secs(1)), 2000)
        );
    }

    #[test]
    fn contradictions_are_refused_by_name() {
        for (line, text) in [
            ("--churn --pipeline 2", "exclude each other"),
            ("--messages 5 --warmup 1s", "--warmup needs a run that stops by time"),
            ("--total-messages 5 --clients 10", "some would never send"),
            ("--duration 0", "measures nothing"),
            ("--timeout 0", "--timeout 0"),
            ("--clients 19937", "needs 20001 descriptors"),
            ("--workload nosuch", "neither a preset (light, medium"),
            ("--pin server=0,client=7", "CPU 7 is not one"),
            ("--threads 5000", "--threads 5000"),
            (
                "--rate 1000 --messages 10 -c 100",
                "1000 messages at 1000/s are --duration 1000ms",
            ),
            (
                "--rate 3 --total-messages 100",
                "--total-messages 100 exclude each other: a plan",
            ),
            ("--workload light --rate 10", "--messages 10 exclude each other"),
            ("--ramp 1s", "--ramp says how messages of a plan leave"),
            ("--pacing spin", "give --rate N"),
            ("--rate 10 --burst-size 4", "--burst-size 4 needs --arrivals burst"),
            (
                "--rate 10 --arrivals burst --burst-size 2M",
                "--burst-size 2000000 is not between",
            ),
            (
                "--rate 10 --ramp 5s --warmup 1s -d 4s",
                "--rate 10 would never be reached",
            ),
            ("--rate 11M", "more than 10000000"),
        ] {
            let refused = resolve(line).unwrap_err();
            assert!(refused.contains(text), "{line}: {refused}");
        }
    }

    #[test]
    fn a_rate_makes_it_an_open_loop_whose_ramp_lies_in_the_warm_up() {
        let plan = resolve("--rate 20k --ramp 5s --arrivals burst").unwrap();
        assert_eq!(
            plan.workload.open_loop(),
            Some(&OpenLoop {
                rate_per_s: 20_000,
                arrivals: Arrivals::Burst(10),
                ramp_ms: 5_000,
                waiting: Waiting::Hybrid
            })
        );
        assert_eq!(plan.workload.warmup_ms, 5_000);
        let plan = resolve("--rate 100 --ramp 5s --warmup 1s --churn --pacing sleep").unwrap();
        assert_eq!((plan.workload.warmup_ms, plan.workload.churn), (1_000, true));
        assert!(resolve("--rate 100 --workload light -d 3s").is_ok());
    }

    #[test]
    fn more_clients_than_ports_need_source_addresses() {
        let machine = Machine {
            nofile_hard: 100_000,
            ..machine(&[&[0], &[1]])
        };
        let many = preset::unnamed(60_000);
        assert!(check_ports(&many, 3, &machine).is_ok());
        let refused = check_ports(&many, 0, &machine).unwrap_err().text;
        assert!(
            refused.contains("at least 3") && refused.contains("127.0.0.2-127.0.0.4"),
            "{refused}"
        );
    }

    #[test]
    fn hardware_threads_of_one_core_never_serve_both_sides() {
        let place = |cores: &[&[usize]], workers| {
            let placement = placement(&Pin::Auto, workers, &machine(cores)).unwrap();
            (placement.server_cpus, placement.loadgen_cpus, placement.shared)
        };
        assert_eq!(
            place(&[&[0, 4], &[1, 5], &[2, 6], &[3, 7]], 1),
            (vec![0], vec![1, 2, 3], false)
        );
        assert_eq!(
            place(&[&[0, 4], &[1, 5], &[2, 6], &[3, 7]], 2),
            (vec![0, 1], vec![2, 3], false)
        );
        assert_eq!(place(&[&[0, 1]], 1), (vec![0], vec![1], false));
        assert_eq!(place(&[&[0]], 1), (vec![], vec![], true));
    }

    #[test]
    fn a_workload_file_uses_the_flags_notation() {
        let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
        std::fs::write(
            file.path(),
            "clients = 30\nduration = \"2s\"\nsize = \"64..128\"\npipeline = 4\nrate = \"2k\"\narrivals = \"poisson\"\npacing = \"spin\"\n",
        )
        .unwrap();
        let plan = resolve(&format!("--workload {}", file.path().display())).unwrap();
        assert_eq!(
            (
                plan.workload.clients,
                plan.workload.pipeline,
                plan.workload.size_max_bytes
            ),
            (30, 4, 128)
        );
        let open = plan.workload.open_loop().unwrap();
        assert_eq!(
            (open.rate_per_s, open.arrivals, open.waiting),
            (2_000, Arrivals::Poisson, Waiting::Spin)
        );
        std::fs::write(file.path(), "clientz = 30\n").unwrap();
        let refused = resolve(&format!("--workload {}", file.path().display())).unwrap_err();
        assert!(refused.contains("clientz"), "{refused}");
    }
}
