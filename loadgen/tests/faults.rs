//! The fault bench: every injected fault makes a trial invalid for its own reason.
//!
//! Two halves. Faults on a synthetic clean record must give their reason and no other. Faults on real runs must give their
//! reason; a busy machine may add others, so there nothing more is asserted.
#![allow(clippy::cast_precision_loss, reason = "figures of known size")]

mod support;

use loadgen::environment;
use loadgen::measurement::store::read_record;
use loadgen::record::*;
use loadgen::record::{Arrivals, OpenLoop, Pacing, Waiting};
use loadgen::sampler::{network, process};
use loadgen::subject::{self, Request, Server};
use loadgen::validity::gates::{Evidence, judge, judge_plan, withhold_late_percentiles};
use loadgen::validity::invariants;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use server_testkit::not_tested;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use support::{Misdeed, echo_server};

// ---- one fault on a clean record -----------------------------------------------------------------------------------

/// A valid closed loop that really ran.
fn clean() -> Measurement {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/records/steady.json");
    let mut trial = read_record(&path).unwrap();
    trial.network = Some(Network::default());
    trial
}

/// The same as an open loop that sent in time: as many messages in each window as a Poisson plan gives.
fn clean_open_loop() -> Measurement {
    let mut trial = clean();
    trial.plan.workload.pacing = Pacing::OpenLoop(OpenLoop {
        rate_per_s: 1000,
        arrivals: Arrivals::Poisson,
        ramp_ms: 0,
        waiting: Waiting::Hybrid,
    });
    let latency = &mut trial.latency_ns;
    latency.send_lag = Latency {
        count: latency.response.count,
        p50: latency.response.p50.map(|ns| ns / 100),
        p99: latency.response.p99.map(|ns| ns / 100),
        ..Latency::default()
    };
    trial.loadgen_cost.cpu_percent_max = 40.0;
    trial.loadgen_cost.run_queue_delay_percent_max = Some(0.5);
    // 110, 90, 110 ...: variance 100 at a mean of 100.
    let windows = 60;
    trial.windows = (0..windows)
        .map(|window| {
            let sent = if window % 2 == 0 { 110 } else { 90 };
            Window {
                from_s: f64::from(window) * 0.1,
                length_s: 0.1,
                sent: Some(sent),
                ok: sent,
                ..Window::default()
            }
        })
        .collect();
    let sent = trial.windows.iter().map(|window| window.ok).sum();
    trial.counts = Counts {
        planned: sent,
        sent,
        ok: sent,
        ..Counts::default()
    };
    trial.latency_ns.response.count = sent;
    trial.latency_ns.service.count = sent;
    trial
}

fn gates(trial: &Measurement) -> Vec<String> {
    gates_with(trial, &Evidence::default())
}

fn gates_with(trial: &Measurement, evidence: &Evidence) -> Vec<String> {
    let reasons = judge(trial, evidence);
    assert!(
        reasons
            .iter()
            .all(|reason| reason.observed > reason.limit && !reason.text.is_empty()),
        "{reasons:?}"
    );
    reasons.into_iter().map(|reason| reason.gate.into()).collect()
}

#[test]
fn a_clean_record_has_no_reason() {
    assert_eq!(gates(&clean()), Vec::<String>::new());
    assert_eq!(gates(&clean_open_loop()), Vec::<String>::new());
}

#[test]
fn each_fault_of_a_closed_loop_gives_its_own_reason_and_no_other() {
    type Inject = fn(&mut Measurement);
    let faults: &[(&str, Inject)] = &[
        ("foreign_load", |trial| {
            trial.loadgen_cost.foreign_cpu_percent_max = Some(14.0)
        }),
        ("run_queue_delay", |trial| {
            trial.loadgen_cost.run_queue_delay_percent_max = Some(11.0)
        }),
        ("hiccup", |trial| {
            trial.hiccup = Some(Hiccup {
                beyond_1ms_percent: Some(0.11),
                lost_percent: Some(0.11),
                ..Hiccup::default()
            });
        }),
        ("connections", |trial| trial.connections.reached -= 1),
        ("window_gap", |trial| trial.windows[3].length_s = 0.3),
        ("steady_state", |trial| {
            trial.steady = Some(steady(SteadyClass::Slowdown))
        }),
        ("steady_state", |trial| trial.steady = Some(steady(SteadyClass::None))),
        ("listen_overflows", |trial| network_of(trial).listen_drops = 1),
        ("listen_overflows", |trial| {
            network_of(trial).retransmits = 3;
            network_of(trial).timeouts = 3;
            network_of(trial).syn_retransmits = 3;
        }),
        ("retransmits", |trial| network_of(trial).retransmits = 1),
        ("errors", |trial| {
            let failed = trial.counts.ok / 900;
            trial.counts.ok -= failed;
            trial.counts.reset += failed;
            trial.windows[0].ok -= failed;
            trial.windows[0].errors += failed;
            trial.littles_law = None;
        }),
        ("window_gap", |trial| {
            // It stood still from before the phase began.
            trial.throughput.duration_s = 1.5 * trial.windows.iter().map(|window| window.length_s).sum::<f64>();
        }),
        ("retransmits", |trial| network_of(trial).timeouts = 1),
        ("backlog_drops", |trial| network_of(trial).backlog_drops = 1),
        ("incomplete", |trial| trial.complete = false),
        ("stopped", |trial| trial.loadgen_cost.stopped_s = Some(0.11)),
        ("throttled", |trial| trial.server_cost.throttled = Some(THROTTLED)),
        ("throttled", |trial| {
            // The quota is why it did not run.
            trial.loadgen_cost.throttled = Some(THROTTLED);
            trial.loadgen_cost.stopped_s = Some(4.0);
        }),
        ("shared_cpus", |trial| {
            share(trial, 1);
            // What follows from it is not told again.
            trial.loadgen_cost.run_queue_delay_percent_max = Some(50.0);
        }),
    ];
    for (gate, inject) in faults {
        let mut trial = clean();
        inject(&mut trial);
        assert_eq!(gates(&trial), [*gate]);
    }
}

const THROTTLED: Throttling = Throttling {
    periods: 60,
    stopped_s: 4.81,
};

/// Both sides on this CPU.
fn share(trial: &mut Measurement, cpu: usize) {
    let placement = &mut trial.plan.placement;
    (placement.server_cpus, placement.loadgen_cpus) = (vec![cpu], vec![cpu]);
    placement.shared = true;
}

fn judged(mut trial: Measurement) -> Measurement {
    trial.reasons = judge(&trial, &Evidence::default());
    trial.valid = trial.all_possible_stand();
    trial
}

fn text_of(trial: &Measurement) -> String {
    let reasons = trial.reasons.iter().map(|reason| reason.text.as_str());
    reasons.collect::<Vec<_>>().join("\n")
}

#[test]
fn on_one_shared_cpu_capacity_is_what_there_is_and_with_more_cpus_sharing_is_a_fault() {
    let mut trial = clean();
    share(&mut trial, 1);
    trial.environment.cpus_usable = Some(2);
    let by_choice = judged(trial.clone());
    assert!(!by_choice.valid && by_choice.stands(Figure::Capacity) && !by_choice.stands(Figure::Rates));
    assert!(
        text_of(&by_choice).contains("Use --pin auto"),
        "{}",
        text_of(&by_choice)
    );
    // Not pinned, since there is nothing to choose.
    trial.environment.cpus_usable = Some(1);
    trial.plan.placement.server_cpus.clear();
    trial.plan.placement.loadgen_cpus.clear();
    let of_need = judged(trial);
    assert!(of_need.valid && of_need.stands(Figure::Capacity) && !of_need.stands(Figure::Percentiles));
    assert!(
        text_of(&of_need).contains("the only CPU that there is"),
        "{}",
        text_of(&of_need)
    );
    // What else is wrong is wrong here too.
    let mut broken = of_need;
    broken.counts.corrupted = 1;
    assert!(!judged(broken).valid);
}

#[test]
fn so_many_messages_may_fail_as_were_allowed_and_the_verdict_names_their_share() {
    let mut trial = clean();
    let sent = trial.counts.sent;
    let failed = sent / 50;
    trial.counts.ok -= failed;
    (trial.counts.reset, trial.counts.closed) = (failed - 3, 3);
    trial.windows[0].ok -= failed;
    trial.windows[0].errors += failed;
    trial.littles_law = None;
    assert_eq!(
        trial.plan.max_errors_percent, 0.1,
        "records of before had no other limit"
    );
    for (limit, told) in [(0.1, true), (1.0, true), (2.1, false)] {
        trial.plan.max_errors_percent = limit;
        let judged = judged(trial.clone());
        assert_eq!(!judged.valid, told, "limit {limit} %");
        let text = format!(
            "{failed} of {sent} messages failed, 2.00 % (limit {limit} %): {} reset, 3 closed",
            failed - 3
        );
        assert_eq!(text_of(&judged), if told { text } else { String::new() });
    }
}

#[test]
fn a_gap_of_a_loadgen_that_was_not_stopped_is_the_busy_machines() {
    let mut trial = clean();
    trial.windows[3].length_s = 0.3;
    for (stopped_s, why) in [(None, "was it stopped"), (Some(0.0), "too busy to let it run")] {
        trial.loadgen_cost.stopped_s = stopped_s;
        let text = text_of(&judged(trial.clone()));
        assert!(text.contains("took 0.30 s") && text.contains(why), "{text}");
    }
}

#[test]
fn more_threads_than_cpus_are_told_which_number_would_do() {
    let mut trial = clean();
    trial.loadgen_cost.run_queue_delay_percent_max = Some(50.0);
    trial.plan.placement.server_cpus = vec![0];
    trial.plan.placement.loadgen_cpus = vec![1];
    trial.loadgen_cost.threads = 4;
    let text = text_of(&judged(trial.clone()));
    assert!(text.contains("its 4 threads have 1 CPU: use --threads 1"), "{text}");
    trial.loadgen_cost.threads = 1;
    let text = text_of(&judged(trial));
    assert!(
        text.contains("close other programs") && !text.contains("--pin"),
        "{text}"
    );
}

#[test]
fn throttling_is_told_of_each_side_with_times_and_leaves_the_capacity() {
    let mut trial = clean();
    trial.server_cost.throttled = Some(THROTTLED);
    trial.loadgen_cost.throttled = Some(Throttling {
        periods: 1,
        stopped_s: 0.012,
    });
    let trial = judged(trial);
    let text = text_of(&trial);
    assert!(
        text.contains("the server 60 times, 4810 ms and loadgen 1 time, 12 ms"),
        "{text}"
    );
    assert!(!trial.valid && trial.stands(Figure::Capacity) && !trial.stands(Figure::Rates));
}

#[test]
fn each_fault_of_an_open_loop_gives_its_own_reason_and_no_other() {
    type Inject = fn(&mut Measurement);
    let faults: &[(&str, Inject)] = &[
        // A closed loop would still pass with these.
        ("run_queue_delay", |trial| {
            trial.loadgen_cost.run_queue_delay_percent_max = Some(2.5)
        }),
        ("headroom", |trial| trial.loadgen_cost.cpu_percent_max = 85.0),
        ("dropped", |trial| {
            trial.counts.planned += 1;
            trial.counts.dropped = 1;
        }),
        ("send_lag", |trial| {
            trial.latency_ns.response.p99 = Some(20_000_000);
            trial.latency_ns.send_lag.p99 = Some(3_000_000);
        }),
        ("arrivals", |trial| {
            trial
                .windows
                .iter_mut()
                .for_each(|window| (window.ok, window.sent) = (100, Some(100)));
        }),
    ];
    for (gate, inject) in faults {
        let mut trial = clean_open_loop();
        inject(&mut trial);
        assert_eq!(gates(&trial), [*gate]);
    }
}

#[test]
fn what_is_no_fault_gives_no_reason() {
    let mut trial = clean();
    trial.steady = Some(steady(SteadyClass::WarmUp));
    trial.loadgen_cost.cpu_percent_max = 99.0; // a closed loop is only labelled client-bound
    assert_eq!(gates(&trial), Vec::<String>::new());
    // Probes for a last segment, and retransmissions that were taken back.
    let mut trial = clean();
    *network_of(&mut trial) = Network {
        retransmits: 132,
        tail_loss_probes: 135,
        undone_retransmits: 2,
        timeouts: 2,
        ..Network::default()
    };
    assert_eq!(gates(&trial), Vec::<String>::new());
    // A message in two thousand.
    let mut trial = clean();
    let failed = trial.counts.ok / 2000;
    trial.counts.ok -= failed;
    trial.counts.timeout += failed;
    trial.windows[0].ok -= failed;
    trial.windows[0].errors += failed;
    trial.littles_law = None;
    assert_eq!(gates(&trial), Vec::<String>::new());
    // An even plan may leave evenly.
    let mut trial = clean_open_loop();
    trial
        .windows
        .iter_mut()
        .for_each(|window| (window.ok, window.sent) = (100, Some(100)));
    if let Pacing::OpenLoop(open) = &mut trial.plan.workload.pacing {
        open.arrivals = Arrivals::Constant;
    }
    assert_eq!(gates(&trial), Vec::<String>::new());
}

#[test]
fn a_counting_trial_is_not_judged_by_what_spoils_times() {
    let mut trial = clean();
    trial.plan.counting = true;
    trial.server_cost.syscalls_method = "not counted: no tracefs".into();
    assert_eq!(gates(&trial), ["not_counted"], "it has counted nothing");
    trial.server_cost.syscalls_per_message = Some(3.0);
    trial.loadgen_cost.foreign_cpu_percent_max = Some(50.0);
    trial.windows[3].length_s = 0.3;
    assert_eq!(gates(&trial), Vec::<String>::new());
    trial.counts.planned += 1;
    assert_eq!(gates(&trial), [invariants::GATE.as_str()]);
}

#[test]
fn without_the_cpu_time_of_others_the_pressure_tells_if_nobody_of_the_trial_can_be_its_cause() {
    let mut trial = clean();
    trial.loadgen_cost.foreign_cpu_percent_max = None;
    trial.loadgen_cost.cpu_pressure_percent = Some(30.0);
    trial.plan.threads = 1;
    trial.plan.placement.server_cpus = vec![0];
    trial.plan.placement.loadgen_cpus = vec![1];
    trial.server_cost.threads_max = Some(1);
    assert_eq!(gates(&trial), ["foreign_load"]);
    trial.server_cost.threads_max = Some(2);
    assert_eq!(gates(&trial), Vec::<String>::new());
}

#[test]
fn changed_settings_and_unasked_bytes_and_spent_ports_give_their_reasons() {
    let (before, mut after) = (environment::capture(), environment::capture());
    assert_eq!(environment::changes(&before, &after), Vec::<String>::new());
    after.settings.insert("net.core.somaxconn".into(), "7".into());
    after.governor = Some("powersave-of-this-test".into());
    let environment_changes = environment::changes(&before, &after);
    assert_eq!(environment_changes.len(), 2, "{environment_changes:?}");
    let of = |evidence: &Evidence| gates_with(&clean(), evidence);
    let changed = Evidence {
        environment_changes,
        ..Evidence::default()
    };
    assert_eq!(of(&changed), ["environment_changed"]);
    let surplus = Evidence {
        surplus_bytes: 3,
        ..Evidence::default()
    };
    assert_eq!(of(&surplus), ["payload"]);
    let ports = Evidence {
        local_failures: 3,
        ..Evidence::default()
    };
    assert_eq!(of(&ports), ["local_failures"]);
}

#[test]
fn a_trial_of_another_plan_is_invalid_for_that_reason_only() {
    let mut trial = clean();
    let place = trial.identity.suite.as_mut().unwrap();
    place.plan_hash = Some("a".repeat(64));
    judge_plan(&mut trial, &"a".repeat(64));
    assert!(trial.valid);
    judge_plan(&mut trial, &"b".repeat(64));
    assert!(!trial.valid);
    assert_eq!(
        trial
            .reasons
            .iter()
            .map(|reason| reason.gate.as_str())
            .collect::<Vec<_>>(),
        ["plan_hash"]
    );
}

#[test]
fn every_sum_that_does_not_hold_is_told_with_both_sides() {
    type Break = fn(&mut Measurement);
    let breaks: &[(&str, Break)] = &[
        ("were planned", |trial| trial.counts.planned += 1),
        ("response histogram", |trial| trial.latency_ns.response.count += 1),
        ("service histogram", |trial| trial.latency_ns.service.count += 1),
        ("in all windows", |trial| trial.windows[0].ok += 1),
        ("in all windows", |trial| trial.windows[0].errors += 1),
        ("by its STATS", |trial| trial.totals.bytes_sent += 1),
        ("by its STATS", |trial| trial.totals.bytes_received += 1),
        ("below the service", |trial| {
            trial.latency_ns.service.p50 = trial.latency_ns.response.p50.map(|ns| ns * 2);
        }),
        ("Little's law", |trial| {
            trial.littles_law = Some(LittlesLaw {
                in_flight_mean: 50.0,
                rate_times_latency: 51.0,
                rel_error: 1.0 / 51.0,
            });
        }),
    ];
    for (told, break_sum) in breaks {
        let mut trial = clean();
        assert!(trial.counts.ok >= 10_000);
        break_sum(&mut trial);
        let violations = invariants::violations(&trial);
        assert_eq!(violations.len(), 1, "{told}: {violations:?}");
        assert!(violations[0].text.contains(told), "{told}: {violations:?}");
        assert_eq!(gates(&trial), [invariants::GATE.as_str()]);
    }
}

#[test]
fn littles_law_parts_by_no_more_than_the_histogram_rounds_however_few_the_messages() {
    let with = |rate_times_latency: f64| {
        let mut trial = clean_open_loop();
        assert!(trial.counts.ok < 10_000);
        trial.littles_law = Some(LittlesLaw {
            in_flight_mean: 2.0,
            rate_times_latency,
            rel_error: (2.0 - rate_times_latency).abs() / rate_times_latency,
        });
        gates(&trial)
    };
    assert_eq!(with(2.0 * (1.0 + 1.0 / 2048.0)), Vec::<String>::new());
    assert_eq!(with(2.0 * 1.002), [invariants::GATE.as_str()]);
}

#[test]
fn a_percentile_of_which_too_much_is_send_lag_is_withheld_and_the_others_stay() {
    let mut response = Latency {
        p50: Some(100_000),
        p90: Some(200_000),
        p99: Some(900_000),
        ..Latency::default()
    };
    let lag = Latency {
        p50: Some(10_001),
        p90: Some(20_000),
        p99: Some(95_000),
        ..Latency::default()
    };
    assert_eq!(withhold_late_percentiles(&mut response, &lag), ["p50", "p99"]);
    assert_eq!((response.p50, response.p90, response.p99), (None, Some(200_000), None));
}

fn steady(class: SteadyClass) -> SteadyState {
    SteadyState {
        class,
        cut_s: None,
        trend_percent: -18.0,
        trend_p: 1e-6,
    }
}

fn network_of(trial: &mut Measurement) -> &mut Network {
    trial.network.as_mut().unwrap()
}

// ---- real faults ---------------------------------------------------------------------------------------------------

fn loadgen(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command
        .args(line.split_whitespace())
        .args(["--output-format", "json", "--quiet"]);
    command
}

fn record_of(output: &Output) -> Measurement {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn has(trial: &Measurement, gate: &str) -> bool {
    trial.reasons.iter().any(|reason| reason.gate == gate)
}

fn assert_has(trial: &Measurement, gate: &str) {
    assert!(has(trial, gate) && !trial.valid, "no {gate}: {:?}", trial.reasons);
}

/// A server that loadgen knows, with a process of its own. It ends with the value.
fn thread_server() -> Server {
    subject::obtain(&Request {
        connect_timeout: Duration::from_secs(30),
        ..Request::start("thread")
    })
    .unwrap()
}

/// Two CPUs that this process may use; the same one twice where there is only one.
fn two_cpus() -> (usize, usize) {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let mut usable = (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap());
    let first = usable.next().unwrap();
    (first, usable.next().unwrap_or(first))
}

/// A thread that does nothing but use this CPU, until dropped.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn on(cpu: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            let mut set = CpuSet::new();
            set.set(cpu).unwrap();
            sched_setaffinity(Pid::from_raw(0), &set).unwrap();
            while !stopped.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        Self(stop)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Stops a process for so long: the fault itself, not a wait for anything.
fn freeze(pid: Pid, time: Duration) {
    kill(pid, Signal::SIGSTOP).unwrap();
    std::thread::sleep(time);
    kill(pid, Signal::SIGCONT).unwrap();
}

const FREEZE: Duration = Duration::from_millis(300);

fn spawned(line: &str) -> Child {
    loadgen(line)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_busy_program_on_the_clients_cpu_delays_its_threads_and_its_sends() {
    let (server, client) = two_cpus();
    let pin = format!("--pin server={server},client={client} -w 100ms -d 2s --start always");
    // With four of them loadgen waits for several slices of the scheduler, however it cuts them.
    let _busy = [(); 4].map(|()| Busy::on(client));
    let closed = record_of(&loadgen(&format!("-T thread -c 50 {pin}")).output().unwrap());
    assert_has(&closed, "run_queue_delay");
    // Spinning wants the whole CPU and gets a fifth of it, in slices of milliseconds.
    let open = record_of(
        &loadgen(&format!("-T thread -c 200 -R 1000 --pacing spin {pin}"))
            .output()
            .unwrap(),
    );
    assert_has(&open, "run_queue_delay");
    assert_has(&open, "send_lag");
}

#[test]
fn a_busy_program_on_the_servers_cpu_is_foreign_load() {
    let (server, client) = two_cpus();
    let _busy = Busy::on(server);
    let line = format!("-T thread -c 50 --pin server={server},client={client} -w 100ms -d 2s --start always");
    assert_has(&record_of(&loadgen(&line).output().unwrap()), "foreign_load");
}

static FROZEN_LOADGEN_READS: AtomicU64 = AtomicU64::new(0);

#[test]
fn a_frozen_loadgen_is_a_gap_in_its_windows_and_sends_late() {
    let address = echo_server(|read| {
        FROZEN_LOADGEN_READS.store(read, Ordering::Relaxed);
        Misdeed::None
    });
    // Two thousand messages: the p90 has its hundred samples beyond, and every seventh message falls into the freeze.
    let child = spawned(&format!("-T {address} -c 400 -R 1000 -w 0 -d 2s"));
    wait_for("load", || FROZEN_LOADGEN_READS.load(Ordering::Relaxed) > 400 + 300);
    freeze(Pid::from_raw(child.id().cast_signed()), FREEZE);
    let trial = record_of(&child.wait_with_output().unwrap());
    assert_has(&trial, "window_gap");
    assert_has(&trial, "send_lag");
}

static STOPPED_LOADGEN_READS: AtomicU64 = AtomicU64::new(0);

#[test]
fn a_loadgen_that_was_stopped_in_its_warm_up_says_so() {
    let address = echo_server(|read| {
        STOPPED_LOADGEN_READS.store(read, Ordering::Relaxed);
        Misdeed::None
    });
    let child = spawned(&format!("-T {address} -c 10 -w 3s -d 1s"));
    wait_for("load", || STOPPED_LOADGEN_READS.load(Ordering::Relaxed) > 100);
    freeze(Pid::from_raw(child.id().cast_signed()), FREEZE);
    let trial = record_of(&child.wait_with_output().unwrap());
    assert_has(&trial, "stopped");
    // It looks every 10 ms.
    let stopped_s = trial.loadgen_cost.stopped_s.unwrap();
    assert!(stopped_s >= FREEZE.as_secs_f64() - 0.02, "{stopped_s} s");
}

#[test]
fn what_ended_threads_took_with_them_is_not_told_of_an_attached_server() {
    let server = thread_server();
    let run = |flags: &str| {
        record_of(
            &loadgen(&format!("-T {} -c 10 -m 20 {flags}", server.address()))
                .output()
                .unwrap(),
        )
    };
    let (churn, lasting) = (run("--churn").server_cost, run("").server_cost);
    assert_eq!(churn.context_switches_per_message, None);
    assert!(
        churn
            .context_switches_method
            .contains("threads and processes that ended"),
        "{churn:?}"
    );
    assert!(lasting.context_switches_per_message > Some(0.0), "{lasting:?}");
    let _ = server.stop();
}

/// A group of this machine whose processes may use a twentieth of a CPU together, which any server wants more of, on a busy
/// machine too. It goes with the value.
struct SmallQuota(PathBuf);

impl SmallQuota {
    /// Or why there is none here.
    fn make() -> Result<Self, String> {
        let v1 = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"].map(PathBuf::from);
        let group = |parent: &Path| parent.join(format!("loadgen-test-{}", std::process::id()));
        if let Some(parent) = v1
            .iter()
            .find(|parent| parent.join("cpu.cfs_quota_us").exists() || parent.join("cpu.shares").exists())
        {
            let group = group(parent);
            std::fs::create_dir(&group).map_err(|error| format!("{}: {error}", group.display()))?;
            let made = Self(group);
            made.write("cpu.cfs_period_us", "20000")?;
            made.write("cpu.cfs_quota_us", "1000")?;
            return Ok(made);
        }
        let parent = Path::new("/sys/fs/cgroup");
        let controllers = std::fs::read_to_string(parent.join("cgroup.subtree_control"));
        if !controllers.is_ok_and(|controllers| controllers.split_whitespace().any(|name| name == "cpu")) {
            return Err("no cgroup hierarchy here hands on the cpu controller".into());
        }
        let group = group(parent);
        std::fs::create_dir(&group).map_err(|error| format!("{}: {error}", group.display()))?;
        let made = Self(group);
        made.write("cpu.max", "1000 20000")?;
        Ok(made)
    }

    fn write(&self, file: &str, text: &str) -> Result<(), String> {
        let path = self.0.join(file);
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    }
}

impl Drop for SmallQuota {
    fn drop(&mut self) {
        wait_for("the end of the group's last process", || {
            std::fs::remove_dir(&self.0).is_ok() || !self.0.exists()
        });
    }
}

#[test]
fn a_cpu_quota_that_was_used_up_is_told_and_voids_times_and_rates_only() {
    let group = match SmallQuota::make() {
        Ok(group) => group,
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "{why}");
            eprintln!("NOT RUN, the reader of cpu.stat has tests of its own: {why}");
            return;
        }
    };
    let server = thread_server();
    group.write("cgroup.procs", &server.pid().unwrap().to_string()).unwrap();
    let run = loadgen(&format!("-T {} -c 20 -w 100ms -d 1s", server.address())).output();
    let trial = record_of(&run.unwrap());
    assert_has(&trial, "throttled");
    let (of_server, of_loadgen) = (trial.server_cost.throttled, trial.loadgen_cost.throttled);
    let of_server = of_server.expect("the group's counters can be read");
    assert!(of_server.periods >= 2 && of_server.stopped_s > 0.01, "{of_server:?}");
    assert_eq!(of_loadgen.map(|throttled| throttled.periods), Some(0), "it is outside");
    let _ = server.stop();
    assert!(
        trial.stands(Figure::Capacity) && !trial.stands(Figure::Rates),
        "{:?}",
        trial.reasons
    );
}

#[test]
fn a_frozen_server_is_what_is_measured_and_no_fault_of_the_trial() {
    let server = thread_server();
    let pid = server.pid().unwrap();
    let child = spawned(&format!("-T {} -c 50 -w 0 -d 3s", server.address()));
    let cpu_ns = || process::tree(pid).iter().map(|entry| entry.own_cpu_ns).sum::<u64>();
    wait_for("load", || cpu_ns() > 100_000_000);
    freeze(Pid::from_raw(pid.cast_signed()), FREEZE);
    let trial = record_of(&child.wait_with_output().unwrap());
    // The machine may be busy; but nothing may be held against the freeze.
    for gate in [
        "window_gap",
        "send_lag",
        "steady_state",
        "payload",
        "connections",
        invariants::GATE.as_str(),
    ] {
        assert!(!has(&trial, gate), "{:?}", trial.reasons);
    }
    assert!(
        trial.latency_ns.response.max.unwrap() >= 250_000_000,
        "{:?}",
        trial.latency_ns.response
    );
    let _ = server.stop();
}

#[test]
fn a_server_that_becomes_slower_has_no_steady_state() {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    // From 2 ms to 5 ms in eleven seconds: more than a busy machine wanders.
    let address = echo_server(|_| {
        let age = BEGUN.get_or_init(Instant::now).elapsed().as_secs_f64();
        std::thread::sleep(Duration::from_secs_f64(0.002 + 0.003 * age / 11.0));
        Misdeed::None
    });
    let trial = record_of(&loadgen(&format!("-T {address} -c 8 -w 0 -d 11s")).output().unwrap());
    assert_has(&trial, "steady_state");
    assert_eq!(trial.steady.unwrap().class, SteadyClass::Slowdown, "{:?}", trial.steady);
}

#[test]
fn a_poisson_plan_that_leaves_evenly_is_found_and_a_real_one_is_not() {
    let address = echo_server(|_| Misdeed::None);
    let run = |arrivals: &str| {
        let line = format!("-T {address} -c 50 -R 500 --arrivals {arrivals} -w 0 -d 3s");
        record_of(&loadgen(&line).output().unwrap())
    };
    assert!(!has(&run("poisson"), "arrivals"));
    let mut even = run("constant");
    assert!(!has(&even, "arrivals"));
    // What really left at constant gaps, under a plan that says Poisson.
    let Pacing::OpenLoop(open) = &mut even.plan.workload.pacing else {
        panic!("no open loop");
    };
    open.arrivals = Arrivals::Poisson;
    assert!(gates(&even).contains(&"arrivals".to_string()), "{:?}", even.windows);
}

#[test]
fn one_changed_byte_is_one_corrupted_echo_and_exit_code_4() {
    let address = echo_server(|read| if read == 500 { Misdeed::Corrupt } else { Misdeed::None });
    let output = loadgen(&format!("-T {address} -c 4 -m 500")).output().unwrap();
    let trial = record_of(&output);
    assert_eq!((trial.counts.corrupted, output.status.code()), (1, Some(4)));
    assert_has(&trial, "payload");
}

/// Drops every 200th TCP segment that arrives in a network namespace of its own, and runs loadgen in it.
const LOSSY: &str = "ip link set lo up && nft add table ip loss && \
    nft add chain ip loss in '{ type filter hook input priority 0; }' && \
    nft add rule ip loss in meta l4proto tcp numgen inc mod 200 == 199 drop && exec \"$0\" \"$@\"";

#[test]
fn lost_segments_are_retransmits() {
    let in_namespace = |program: &mut Command| {
        let mut command = Command::new("unshare");
        command.args(["--net", "--map-root-user", "--user", "sh", "-c", LOSSY]);
        command.arg(program.get_program()).args(program.get_args());
        command.output()
    };
    let tried = in_namespace(&mut Command::new("true"));
    if !tried.as_ref().is_ok_and(|output| output.status.success()) {
        return not_tested(&format!(
            "lost segments: no lossy namespace can be made here: {tried:?}"
        ));
    }
    // A server that loadgen starts is in loadgen's namespace, as long as it gets none of its own.
    let line = "-T thread -c 20 -w 0 -d 2s --start always --network host --pin off --timeout 20s --connect-timeout 20s";
    let output = in_namespace(&mut loadgen(line)).unwrap();
    let trial = record_of(&output);
    assert_has(&trial, "retransmits");
    assert!(trial.network.unwrap().retransmits > 0);
}

#[test]
fn counters_of_lost_segments_are_retransmits() {
    let read = |timeouts, retransmits| {
        let names = "TcpExt: ListenOverflows ListenDrops TCPTimeouts TCPBacklogDrop";
        let netstat = format!("{names}\nTcpExt: 1 1 {timeouts} 0\n");
        network::parse(&netstat, &format!("Tcp: OutSegs RetransSegs\nTcp: 999 {retransmits}\n")).unwrap()
    };
    let mut trial = clean();
    trial.network = Some(network::growth(&read(4, 17), &read(5, 19)));
    assert_eq!(gates(&trial), ["retransmits"]);
}

#[test]
fn require_valid_turns_a_reason_into_exit_code_7() {
    let (server, client) = two_cpus();
    let _busy = Busy::on(client);
    let line =
        format!("-T thread -c 50 --pin server={server},client={client} -w 0 -d 1s --start always --require-valid");
    let output = loadgen(&line).output().unwrap();
    assert_has(&record_of(&output), "run_queue_delay");
    assert_eq!(output.status.code(), Some(7));
}
