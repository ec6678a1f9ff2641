//! Trials that never happened: records with figures of the right size, the same for the same seed, and faults on demand.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // synthetic figures of known size

use loadgen::compare::runner::{SuiteEnd, TrialProgress, Trials, View, run_suite_by};
use loadgen::failure::Failure;
use loadgen::measurement::store::Store;
use loadgen::record::*;
use loadgen::recorder::latency::LatencyHistogram;
use loadgen::suite::matrix::{self, Suite, SuiteFile, label};
use loadgen::suite::sample;
use loadgen::units::{TWO_TO_THE_53, count_f64};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

/// What is wrong with a trial.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    None,
    /// Ran to its end, but another program was busy.
    ForeignLoad,
    /// The server died.
    ServerDied,
    /// Nothing could be read about the server.
    NoCost,
    /// Two echoes came back wrong.
    Corrupted,
    /// The machine has one CPU for both sides.
    OneCpu,
}

type FaultOf = Box<dyn Fn(&Plan, &SuitePlace) -> Fault>;

/// Runs nothing and takes its time from a clock of its own.
pub(crate) struct Synthetic {
    pub(crate) ran: Vec<(String, SuitePlace)>,
    pub(crate) time: Cell<Duration>,
    pub(crate) fault: FaultOf,
    /// The user presses Ctrl-C during this trial, counted from 1; the trial is cut short.
    pub(crate) interrupt_in: Option<usize>,
}

impl Synthetic {
    pub(crate) fn new() -> Self {
        Self::with(|_, _| Fault::None)
    }

    pub(crate) fn with(fault: impl Fn(&Plan, &SuitePlace) -> Fault + 'static) -> Self {
        Self {
            ran: Vec::new(),
            time: Cell::new(Duration::ZERO),
            fault: Box::new(fault),
            interrupt_in: None,
        }
    }

    /// What ran, as `round position target workload attempt`.
    pub(crate) fn told(&self) -> Vec<String> {
        self.ran
            .iter()
            .map(|(name, place)| format!("{} {} {name} {}", place.round, place.position, place.attempt))
            .collect()
    }
}

/// The fake as the suite sees it: shared, so that the clock can be read while it runs.
pub(crate) struct Running<'a>(pub(crate) &'a mut Synthetic, pub(crate) &'a Cell<Duration>);

impl Trials for Running<'_> {
    fn run(&mut self, plan: &Plan, place: &SuitePlace, progress: &mut dyn FnMut(TrialProgress)) -> Measurement {
        progress(TrialProgress {
            phase: "measured",
            fraction: 0.5,
        });
        // Fork takes longer to start and to stop.
        let around = if plan.target == "fork" { 1500 } else { 500 };
        let measured = plan
            .workload
            .duration()
            .unwrap_or(Duration::from_millis(plan.repeat_for_ms));
        let took = measured + Duration::from_millis(plan.workload.warmup_ms + around);
        self.1.set(self.1.get() + took);
        let again = if place.control { " (again)" } else { "" };
        let target = label(&plan.target, place.at);
        self.0
            .ran
            .push((format!("{target}{again} {}", plan.workload.name), place.clone()));
        let mut trial = trial(plan, place, (self.0.fault)(plan, place));
        if self.interrupted() {
            trial.complete = false;
            trial.incomplete_reason = Some("interrupted".into());
        }
        trial
    }

    fn interrupted(&self) -> bool {
        self.0.interrupt_in.is_some_and(|nth| self.0.ran.len() >= nth)
    }
}

/// Runs the suite on the fake's own clock.
pub(crate) fn run(
    file: &mut SuiteFile,
    trials: &mut Synthetic,
    store: &mut Store,
    view: &mut dyn View,
) -> Result<SuiteEnd, Failure> {
    let time = Cell::new(Duration::ZERO);
    let end = run_suite_by(file, &mut Running(trials, &time), store, view, &|| time.get());
    trials.time.set(time.get());
    end
}

/// The three targets of the original project: what these tests count does not grow with the catalog.
pub(crate) const ORIGINALS: &str = "fork,thread,event-tokio";

/// A suite of these targets.
pub(crate) fn file(targets: &str, workloads: &str, rounds: u32, budget_s: u64) -> SuiteFile {
    SuiteFile {
        schema_version: SCHEMA_VERSION.into(),
        label: "2cpu-linux-6.18".into(),
        started_at: "2026-01-31T10:00:00Z".into(),
        command: vec!["/somewhere/target/release/loadgen".into(), "compare".into()],
        spent_ms: 0,
        ended: None,
        suite: Suite {
            externals: Vec::new(),
            targets: matrix::targets(targets, &[]).unwrap(),
            workloads: matrix::workloads(workloads).unwrap(),
            rounds_max: rounds,
            budget_ms: budget_s * 1000,
            ..sample::suite()
        },
    }
}

pub(crate) fn store(results: &Path) -> Store {
    Store::create(results, "2026-01-31", "2cpu-linux-6.18", "default", 1 << 20).unwrap()
}

/// Where all these trials say that they were measured.
pub(crate) fn environment() -> Environment {
    Environment {
        kernel: Some("6.18.0".into()),
        architecture: Some("x86_64".into()),
        cpu_model: Some("AMD EPYC".into()),
        cpus_usable: Some(2),
        cpus_online: Some(2),
        smt_active: Some(false),
        memory_total_bytes: Some(8 << 30),
        clocksource: Some("tsc".into()),
        hypervisor: Some("kvm".into()),
        ..Environment::default()
    }
}

/// One trial with figures of the size that such servers have.
pub(crate) fn trial(plan: &Plan, place: &SuitePlace, fault: Fault) -> Measurement {
    let mut plan = plan.clone();
    plan.placement.shared |= fault == Fault::OneCpu;
    let plan = &plan;
    let model = Model::of(&plan.target);
    let workload = &plan.workload;
    let clients = f64::from(workload.clients);
    let mut random = seeded(plan, place);
    // Rounds differ by some 3 %, the machine drifts a little.
    let noise = 1.0 + 0.03 * (uniform(&mut random) + uniform(&mut random) - 1.0) + 0.002 * f64::from(place.round);
    let slowed = if fault == Fault::ForeignLoad { 0.6 } else { 1.0 };
    // A second worker adds nearly as much as the first does, and work comes on top of every message.
    let workers = f64::from(plan.workers.unwrap_or(1)).powf(0.9);
    let work_us = count_f64(plan.work_ns.unwrap_or(0)) / 1000.0;
    let planned = planned_per_s(workload);
    let rate = planned.unwrap_or_else(|| model.rate(&workload.name) * of_clients(workload) * noise * slowed * workers);
    let duration = workload.duration().map_or_else(
        || count_f64(workload.messages_planned().unwrap_or(1)) / rate,
        |duration| duration.as_secs_f64(),
    );
    let repetitions = if workload.is_job() {
        (2.0 / duration).ceil() as u64
    } else {
        0
    };
    let messages = if workload.is_job() {
        workload.messages_planned().unwrap_or(1) * repetitions
    } else {
        (rate * duration) as u64
    };
    let middle_ns = match planned {
        None => (clients / rate * 1e9) * 0.9,
        Some(_) => model.waiting_ns(workload),
    };
    let response = distribution(&mut random, middle_ns, messages.min(60_000));
    let connects = if workload.is_job() || workload.churn {
        messages.min(20_000)
    } else {
        u64::from(workload.clients)
    };
    let connect = distribution(&mut random, model.connect_us() * 1000.0, connects);
    let per_message = (model.cpu_us(&workload.name) + work_us) * noise;
    let concurrent = u64::from(workload.clients);
    let complete = fault != Fault::ServerDied;
    let valid = complete && fault != Fault::ForeignLoad && fault != Fault::Corrupted;
    let corrupted = if fault == Fault::Corrupted { 2 } else { 0 };
    let cost = if fault == Fault::NoCost {
        ServerCost {
            cpu_method: "no cgroup may be made and the server was not started by loadgen".into(),
            syscalls_method: "not counted: no".into(),
            memory_method: "smaps_rollup of pid 4711: permission denied".into(),
            memory_kernel_method: "no memory cgroup".into(),
            context_switches_method: "the server was not started by loadgen".into(),
            ..ServerCost::default()
        }
    } else {
        ServerCost {
            cpu_user_s: Some(per_message * rate * duration / 1e6 * 0.2),
            cpu_system_s: Some(per_message * rate * duration / 1e6 * 0.8),
            cpu_percent: Some((per_message * rate / 1e4).min(100.0)),
            cpu_percent_max: (duration >= 1.0).then(|| (per_message * rate / 1e4 * 1.03).min(100.0)),
            cpu_us_per_message: Some(per_message),
            cpu_us_per_connection: Some(model.cpu_us_of_connection() * noise),
            cpu_method: "cgroup v2 cpu.stat".into(),
            memory_peak_bytes: Some(model.memory_bytes(concurrent)),
            memory_method: match model {
                Model::Fork if concurrent > 200 => format!("PSS of a sample of 100 of {} processes", concurrent + 1),
                Model::Fork => format!("PSS of {} processes", concurrent + 1),
                _ => "PSS of 1 processes".replace("1 processes", "1 process"),
            },
            memory_buffers_bytes: (!workload.churn).then_some(concurrent * 16_384),
            memory_buffers_method: "one per connection".into(),
            memory_kernel_bytes: Some(model.kernel_bytes(concurrent)),
            memory_kernel_method: "memory cgroup".into(),
            memory_before_bytes: Some(model.memory_bytes(0) + model.kernel_bytes(0)),
            memory_per_connection_bytes: (!workload.churn).then(|| {
                let growth = model.memory_bytes(1) + model.kernel_bytes(1);
                growth - model.memory_bytes(0) - model.kernel_bytes(0)
            }),
            memory_kernel_per_connection_bytes: (!workload.churn)
                .then(|| model.kernel_bytes(1) - model.kernel_bytes(0)),
            processes_max: Some(if model == Model::Fork { concurrent + 1 } else { 1 }),
            threads_max: Some(if model == Model::Event { 1 } else { concurrent + 1 }),
            context_switches_voluntary: Some((count_f64(messages) * model.switches()) as u64),
            context_switches_involuntary: Some(17),
            context_switches_per_message: Some(model.switches() * noise),
            context_switches_method: "wait4 rusage (whole life)".into(),
            syscalls_per_message: plan.counting.then(|| model.syscalls(plan.workload.clients)),
            syscalls_method: "perf event raw_syscalls:sys_enter, inherited".into(),
            throttled: Some(Throttling::default()),
        }
    };
    Measurement {
        schema_version: SCHEMA_VERSION.into(),
        target: Target {
            name: plan.target.clone(),
            model: Some(model.word().into()),
            runtime: Some(model.runtime().into()),
            runtime_version: Some(model.version().into()),
            io_interface: Some(model.io_interface().into()),
            accept_model: Some("shared listener".into()),
            buffer_policy: Some("one per connection".into()),
            workers: Some(plan.workers.unwrap_or(1)),
            address: "127.0.0.1:40000".into(),
            addresses: vec![],
            addresses_silent: vec![],
            origin: Origin::Started,
            pid: Some(4711),
            command: Some(vec![plan.target.clone()]),
            binary_sha256: Some("00".repeat(32)),
            ready: None,
            container: None,
        },
        workload: workload.name.clone(),
        plan: plan.clone(),
        identity: Identity {
            loadgen_version: "0.0.0".into(),
            loadgen_sha256: Some("11".repeat(32)),
            started_at: format!("2026-01-31T10:{:02}:00Z", place.round),
            command: vec!["loadgen".into(), "compare".into()],
            suite: Some(place.clone()),
            measured_from: Some(format!("2026-01-31T10:{:02}:03.25Z", place.round)),
        },
        environment: Environment {
            cpus_usable: Some(if fault == Fault::OneCpu { 1 } else { 2 }),
            ..environment()
        },
        complete,
        incomplete_reason: (!complete).then(|| "the server died: killed by signal 9 after 1.2 s".into()),
        valid,
        reasons: match fault {
            Fault::ForeignLoad => vec![Reason::new(
                "foreign_load",
                14.0,
                3.0,
                "other programs used 14 % of cpu 0 (limit 3 %): close them, run again",
            )],
            Fault::OneCpu => vec![Reason::new("shared_cpus", 1.0, 0.0, "the only CPU that there is")],
            Fault::Corrupted => vec![Reason::new("corrupted", 2.0, 0.0, "2 echoes came back corrupted")],
            _ => vec![],
        },
        notes: vec![],
        counts: Counts {
            planned: messages,
            sent: messages,
            ok: messages - corrupted,
            corrupted,
            ..Counts::default()
        },
        connections: Connections {
            asked: concurrent,
            reached: concurrent,
            reopened: corrupted,
            ..Connections::default()
        },
        totals: Totals {
            messages,
            bytes_sent: messages * 64,
            bytes_received: messages * 64,
            probe_bytes: 1,
            connections: connects,
        },
        throughput: Throughput {
            messages_per_s: rate,
            served: Some(messages - corrupted),
            planned_per_s: planned,
            connections_per_s: Some(match (workload.is_job(), workload.churn) {
                (true, _) => rate / 10.0,
                (_, true) => rate,
                _ => model.rate("churn"),
            }),
            bytes_per_s: rate * 64.0,
            duration_s: duration,
        },
        latency_ns: LatencySet {
            response: response.summary(),
            service: response.summary(),
            send_lag: Latency::default(),
            connect: connect.summary(),
        },
        windows: windows(plan, rate, &response.summary(), per_message, fault),
        repetitions: (0..repetitions)
            .map(|_| Repetition {
                duration_s: duration,
                messages: workload.messages_planned().unwrap_or(1),
                connections: concurrent,
                errors: 0,
                server_cpu_ns: None,
            })
            .collect(),
        fairness_jain: Some(0.998),
        halted_replies: None,
        beside: BesideFigures::default(),
        isolation: Isolation::default(),
        server_cost: cost,
        network: None,
        // The CPUs are moved once, a little.
        cpu_distance: Some(CpuDistance {
            before_ns: Some(if place.round < 4 { 52.0 } else { 58.0 } * noise),
            after_ns: Some(if place.round < 4 { 52.5 } else { 57.5 } * noise),
            ..CpuDistance::default()
        }),
        hiccup: None,
        steady: None,
        littles_law: None,
        loadgen_cost: LoadgenCost {
            threads: plan.threads,
            cpu_s: duration * 0.9,
            cpu_spin_s: 0.0,
            cpu_percent_max: 91.0,
            run_queue_delay_percent_max: Some(0.4),
            sampler_cpu_s: 0.0052,
            memory_peak_bytes: Some(9 << 20),
            cpu_pressure_percent: Some(1.5),
            foreign_cpu_percent_max: Some(if fault == Fault::ForeignLoad { 14.0 } else { 0.6 }),
            throttled: Some(Throttling::default()),
            stopped_s: Some(0.0),
        },
        limiter: Limiter::ServerCpu,
        server_stats: None,
        first_failures: if corrupted > 0 {
            vec![FirstFailure {
                kind: "corrupted".into(),
                at_s: 0.731,
                client: 12,
                offset: 4160,
                text: "expected 9f 03, got 00 00".into(),
            }]
        } else {
            vec![]
        },
        histograms: Histograms {
            response: response.encode(),
            service: None,
            send_lag: None,
            connect: connect.encode(),
            hiccup: None,
        },
        generators: vec![],
    }
}

/// Of loads and crowds, which are kept up with.
fn planned_per_s(workload: &Workload) -> Option<f64> {
    let open = workload.open_loop()?;
    let is_share = workload.percent_of_saturated.is_some() || workload.active_clients.is_some();
    is_share.then(|| count_f64(open.rate_per_s))
}

/// A few clients do not saturate a server.
fn of_clients(workload: &Workload) -> f64 {
    match workload.name.starts_with("clients-") {
        true => f64::from(workload.clients) / (f64::from(workload.clients) + 20.0),
        false => 1.0,
    }
}

/// Windows of 100 ms; a job has none. In a trial with wrong echoes one window has the errors, and one heard of nothing.
fn windows(plan: &Plan, rate: f64, response: &Latency, cpu_us: f64, fault: Fault) -> Vec<Window> {
    let Some(duration) = plan.workload.duration().filter(|_| !plan.workload.is_job()) else {
        return vec![];
    };
    let number = (duration.as_millis() / 100) as u32;
    let window = |place: u32| {
        let is_wrong = fault == Fault::Corrupted;
        let swing = 1.0 + 0.04 * f64::from(place % 3) - 0.04;
        let ok = match (is_wrong, place) {
            (true, 3) => 0,
            _ => (rate / 10.0 * swing) as u64,
        };
        Window {
            from_s: f64::from(place) / 10.0,
            length_s: 0.1,
            sent: Some(ok),
            ok,
            errors: if is_wrong && place == 5 { 2 } else { 0 },
            response_p50_ns: response.p50.filter(|_| ok > 0),
            response_p99_ns: response.p99.filter(|_| ok > 0),
            response_max_ns: response.max.filter(|_| ok > 0),
            server_cpu_ns: Some((count_f64(ok) * cpu_us * 1000.0) as u64),
        }
    };
    (0..number).map(window).collect()
}

/// Sizes as measured on small machines, rounded; what matters is that tables look like real ones.
#[derive(Clone, Copy, PartialEq)]
enum Model {
    Fork,
    Thread,
    Event,
}

impl Model {
    fn of(target: &str) -> Self {
        match target.split('-').next() {
            Some("fork") => Self::Fork,
            Some("thread") => Self::Thread,
            _ => Self::Event,
        }
    }

    fn word(self) -> &'static str {
        ["fork", "thread", "event"][self as usize]
    }

    fn runtime(self) -> &'static str {
        ["nix", "std", "tokio"][self as usize]
    }

    fn version(self) -> &'static str {
        ["0.31.3", "1.95.0", "1.54.1"][self as usize]
    }

    fn io_interface(self) -> &'static str {
        ["blocking", "blocking", "epoll"][self as usize]
    }

    fn rate(self, workload: &str) -> f64 {
        let rates = match workload {
            "light" => [18_400.0, 33_700.0, 61_800.0],
            "medium" => [9_450.0, 24_300.0, 57_900.0],
            "steady" | "saturated" => [61_500.0, 74_200.0, 112_000.0],
            _ => [3_870.0, 12_600.0, 26_400.0],
        };
        rates[self as usize]
    }

    /// As in a queue with one server, which an event loop keeps shorter; a crowd makes it a little longer.
    fn waiting_ns(self, workload: &Workload) -> f64 {
        let load = f64::from(workload.percent_of_saturated.unwrap_or(20)) / 100.0;
        let load = load * [1.0, 0.95, 0.6][self as usize];
        60_000.0 / (1.0 - load.min(0.98)) * (1.0 + f64::from(workload.clients) / 20_000.0)
    }

    fn cpu_us(self, workload: &str) -> f64 {
        let factor = match workload {
            "steady" => 1.0,
            "churn" => 12.0,
            _ => 4.0,
        };
        [14.8, 11.9, 8.6][self as usize] * factor
    }

    fn cpu_us_of_connection(self) -> f64 {
        [231.0, 48.6, 21.3][self as usize]
    }

    fn connect_us(self) -> f64 {
        [310.0, 96.0, 41.0][self as usize]
    }

    fn switches(self) -> f64 {
        [1.02, 1.01, 0.0831][self as usize]
    }

    fn syscalls(self, clients: u32) -> f64 {
        match (self as usize, clients) {
            (2, 1) => 3.0,
            (2, _) => 2.04,
            _ => 2.0,
        }
    }

    fn memory_bytes(self, clients: u64) -> u64 {
        [2_600_000, 1_900_000, 3_400_000][self as usize] + clients * [41_000, 21_000, 17_200][self as usize]
    }

    fn kernel_bytes(self, clients: u64) -> u64 {
        500_000 + clients * [131_000, 27_000, 4_100][self as usize]
    }
}

/// Samples spread over about a factor of three round `middle_ns`, with a thin tail: 200 values, each many times.
fn distribution(random: &mut ChaCha8Rng, middle_ns: f64, samples: u64) -> LatencyHistogram {
    let mut histogram = LatencyHistogram::default();
    for nth in 0..200 {
        let around = 0.5 + uniform(random);
        let tail = if nth == 100 { 3.0 } else { 1.0 };
        let times = samples / 200 + u64::from(nth < samples % 200);
        histogram.record_n((middle_ns * around * tail) as u64, times);
    }
    histogram
}

fn seeded(plan: &Plan, place: &SuitePlace) -> ChaCha8Rng {
    let at = place.at.map_or_else(String::new, |at| at.to_string());
    let words = format!(
        "{}{at} {} {} {}",
        plan.target, plan.workload.name, place.control, place.attempt
    );
    let seed = words.bytes().fold(plan.seed, |seed, byte| {
        seed.wrapping_mul(131).wrapping_add(u64::from(byte))
    });
    ChaCha8Rng::seed_from_u64(seed)
}

fn uniform(random: &mut ChaCha8Rng) -> f64 {
    count_f64(random.next_u64() >> 11) / TWO_TO_THE_53
}
