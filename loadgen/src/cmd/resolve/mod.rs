//! From what was typed to a plan that can be run: presets and files merged, limits computed, contradictions refused.
//! Nothing is opened or started here; what the machine offers comes in as [`Machine`].

pub mod clients;
pub(super) mod file;
mod limits;
mod placement;
pub mod servers;
pub mod sweep;
pub(super) mod workload;

pub use placement::placement;

use crate::cmd::arguments::{ClientArgs, ConnectionArgs, Pin, RunArgs};
use crate::failure::Failure;
use crate::record::{AddressChoice, Machine, NetworkChoice, Plan, Reach, Start, Waiting};
use crate::subject;
use crate::suite::matrix::PlanBase;
use crate::workload::pool;
use limits::{DESCRIPTORS_BESIDE_CLIENTS, check_descriptors, check_ports};
use placement::threads;
use std::net::Ipv4Addr;
use std::slice;
use std::time::Duration;
use workload::workload;

/// A job of a comparison is repeated with fresh connections until it has been measured for so long.
const REPEAT_FOR_MS: u64 = 500;

impl Plan {
    /// Checks and completes what was typed.
    ///
    /// # Errors
    /// A usage failure that names the flag, its value and the fix.
    pub fn resolve(args: &RunArgs, machine: &Machine) -> Result<Self, Failure> {
        let (target, external) = servers::target(&args.servers, args.target.as_deref())?;
        let connections = &args.connections;
        let mut workload = workload(&args.workload)?;
        let mut network = args.machine.network;
        if let Some(external) = &external {
            network = external.network_of(network);
            if args.workload.warmup.is_none() {
                workload.warmup_ms = external.warmup_ms_of(&workload);
            }
        }
        let workers = pool::workers(&target, workload.clients, args.workers)?;
        // The workers of a pool wait for one client each: they are many, and need no CPU each.
        let server_cpus = if pool::is_pool(&target) { None } else { workers };
        let placement = placement(&args.machine.pin, server_cpus.unwrap_or(1), machine)?;
        let source_addresses = source_addresses(connections);
        check_descriptors(&workload, machine)?;
        check_ports(&workload, source_addresses.len(), machine)?;
        let threads = threads(args.machine.threads, &placement, machine)?.min(workload.clients);
        let sleeps = args.workload.pacing == Some(Waiting::Sleep) || Self::sleeps(&workload);
        Ok(Self {
            looks_for_answers: !sleeps && placement::has_own_cpus(&placement, threads),
            start: args.start,
            workload,
            threads,
            placement,
            timeout_ms: at_least_1ms("--timeout", connections.timeout)?,
            connect_timeout_ms: at_least_1ms("--connect-timeout", connections.reach.connect_timeout)?,
            reach: reach(connections, slice::from_ref(&target)),
            max_errors_percent: args.max_error_rate,
            seed: args.workload.seed,
            source_addresses,
            repeat_for_ms: 0,
            connect_window: clients::connect_window(&args.workload.client)?,
            connect_rate_per_s: args.workload.client.connect_rate,
            counting: args.count_syscalls,
            start_at: args.start_at.map(|at| at.to_string()),
            network,
            external,
            workers: args.workers,
            work_ns: None,
            target,
        })
    }

    /// Descriptors that the plan needs in loadgen.
    #[must_use]
    pub fn descriptors(&self) -> u64 {
        u64::from(self.workload.clients) + DESCRIPTORS_BESIDE_CLIENTS
    }
}

impl PlanBase {
    /// What all plans of a suite share, checked against the machine: with a CPU for each of `server_workers` where that can be. Each
    /// plan's clients are checked when it runs.
    ///
    /// # Errors
    /// A usage failure that names the flag, its value and the fix.
    pub fn resolve(
        pin: &Pin,
        asked_threads: Option<u32>,
        server_workers: u32,
        connections: &ConnectionArgs,
        machine: &Machine,
    ) -> Result<Self, Failure> {
        let placement = placement(pin, server_workers, machine)?;
        let threads = threads(asked_threads.map(u64::from), &placement, machine)?;
        Ok(Self {
            start: Start::Always,
            looks_for_answers: placement::has_own_cpus(&placement, threads),
            threads,
            placement,
            timeout_ms: at_least_1ms("--timeout", connections.timeout)?,
            connect_timeout_ms: at_least_1ms("--connect-timeout", connections.reach.connect_timeout)?,
            max_errors_percent: Plan::MAX_ERRORS_PERCENT,
            source_addresses: source_addresses(connections),
            repeat_for_ms: REPEAT_FOR_MS,
            connect_window: clients::connect_window(&ClientArgs::default())?,
            connect_rate_per_s: None,
            network: NetworkChoice::Auto,
            workers: None,
            work_ns: None,
            reach: Reach::default(),
        })
    }
}

/// How these targets are reached. All addresses of a name are meant unless it is said otherwise, but of localhost's two a server
/// often has one only.
pub fn reach(connections: &ConnectionArgs, targets: &[String]) -> Reach {
    let unless_said = if targets.iter().any(|target| subject::is_localhost(target)) {
        AddressChoice::First
    } else {
        AddressChoice::All
    };
    Reach {
        public: connections.reach.allow_public,
        addresses: connections.resolve.unwrap_or(unless_said),
    }
}

fn source_addresses(connections: &ConnectionArgs) -> Vec<Ipv4Addr> {
    let typed = connections.source_addresses.clone();
    typed.map_or_else(Vec::new, |addresses| addresses.0)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::arguments::{Cli, Verb};
    use crate::record::{Arrivals, CloseBy, OpenLoop, Payload, Waiting};
    use crate::suite::preset;
    use clap::Parser as _;

    pub(super) fn machine(cores: &[&[usize]]) -> Machine {
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
        assert!(!matches!(cli.verb, Some(Verb::List(_))));
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
            (
                "--churn --messages-per-connection 5",
                "--churn is --messages-per-connection 1",
            ),
            (
                "--messages-per-connection 4 -P 8",
                "--pipeline 8 is deeper than --messages-per-connection 4",
            ),
            (
                "--payload no/such",
                "--payload no/such: is neither binary, lines, nor a file",
            ),
            ("--connect-window 2M", "--connect-window 2000000 is more than"),
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
    fn a_connection_for_each_message_is_churn_and_a_flag_overrides_it() {
        let carries = |line: &str| resolve(line).unwrap().workload.connection_carries();
        assert_eq!(carries("--messages-per-connection 1"), carries("--churn"));
        assert_eq!(carries("--messages-per-connection 20"), Some(20));
        assert_eq!(carries("--workload churn --messages-per-connection 20"), Some(20));
        assert_eq!(carries("-c 5"), None);
    }

    #[test]
    fn a_payload_of_a_file_has_the_length_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("request.bin"), "GET x\n").unwrap();
        let file = folder.path().join("framed.toml");
        std::fs::write(
            &file,
            "clients = 30\npayload = \"request.bin\"\nclose = \"rst\"\nmessages-per-connection = 7\n",
        )
        .unwrap();
        let workload = resolve(&format!("--workload {}", file.display())).unwrap().workload;
        assert_eq!((workload.size_min_bytes, workload.size_max_bytes), (6, 6));
        assert_eq!(
            (workload.close, workload.messages_per_connection),
            (CloseBy::Rst, Some(7))
        );
        let refused = resolve(&format!("--workload {} --size 64", file.display())).unwrap_err();
        assert!(refused.contains("--size 64 and --payload"), "{refused}");
        let plan = resolve("--payload lines --size 100 --connect-window 7 --connect-rate 50").unwrap();
        assert_eq!((plan.workload.payload, plan.connect_window), (Payload::Lines, 7));
        assert_eq!((plan.workload.size_min_bytes, plan.connect_rate_per_s), (100, Some(50)));
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
