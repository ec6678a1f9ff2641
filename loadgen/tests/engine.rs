//! The engine against servers of known behaviour: every message is accounted for, exactly.

mod support;

use loadgen::engine::{self, Directive, Moment, Observer, Phase, Progress, Recorded};
use loadgen::record::{Incomplete, Plan, Workload};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::{Fault, Misdeed, Watch, closed_loop, echo_server, job, open_loop, payload, plan};

fn run(fault: Fault, plan: &Plan) -> Recorded {
    run_watched(plan, echo_server(fault), &mut Watch::default())
}

fn run_watched(plan: &Plan, address: SocketAddr, observer: &mut dyn Observer) -> Recorded {
    engine::run(plan, &payload(plan), address, observer).unwrap()
}

fn good(_: u64) -> Misdeed {
    Misdeed::None
}

fn assert_conserved(recorded: &Recorded) {
    let counts = recorded.recorder.outcomes.counts;
    assert_eq!(counts.planned, counts.sent + counts.dropped);
    assert_eq!(counts.sent, counts.ok + counts.errors() + counts.in_flight_at_stop);
    assert_eq!(
        recorded.recorder.response.count(),
        counts.sent - counts.in_flight_at_stop
    );
    let windows: u64 = recorded
        .recorder
        .windows
        .windows()
        .iter()
        .map(|window| window.ok + window.errors)
        .sum();
    assert_eq!(windows, counts.ok + counts.errors());
}

#[test]
fn a_job_sends_each_clients_messages_and_all_come_back() {
    let recorded = run(good, &plan(job(100, 10)));
    assert_conserved(&recorded);
    let recorder = recorded.recorder;
    assert_eq!(
        (recorder.outcomes.counts.ok, recorder.outcomes.counts.errors()),
        (1000, 0)
    );
    assert_eq!(
        (recorder.totals.bytes_sent, recorder.totals.bytes_received),
        (64_000, 64_000)
    );
    assert_eq!(
        (recorder.totals.connections, recorder.outcomes.connections.reached),
        (100, 100)
    );
    assert_eq!(
        (recorded.job_runs.len(), recorded.unclean_closes, recorded.surplus_bytes),
        (1, 0, 0)
    );
    assert_eq!(recorder.connect.count(), 100);
    assert_eq!(recorder.fairness_jain(), Some(1.0));
}

#[test]
fn a_job_is_repeated_with_fresh_connections_until_enough_time_is_measured() {
    let recorded = run(
        good,
        &Plan {
            repeat_for_ms: 200,
            ..plan(job(20, 5))
        },
    );
    let runs = recorded.job_runs.len() as u64;
    assert!(runs > 1);
    assert!(
        recorded
            .job_runs
            .iter()
            .all(|run| (run.ok, run.errors, run.connections) == (100, 0, 20))
    );
    assert_eq!(recorded.recorder.totals.connections, 20 * runs);
    assert_conserved(&recorded);
}

#[test]
fn a_total_is_dealt_to_all_clients_and_threads() {
    let workload = Workload {
        stop: loadgen::record::Stop::TotalMessages(1003),
        ..job(10, 1)
    };
    let recorded = run(
        good,
        &Plan {
            threads: 3,
            ..plan(workload)
        },
    );
    assert_eq!(recorded.recorder.outcomes.counts.ok, 1003);
    assert_conserved(&recorded);
}

#[test]
fn a_closed_loop_runs_for_its_time_and_answers_everything() {
    let mut watch = Watch::default();
    let recorded = run_watched(&plan(closed_loop(50, 500)), echo_server(good), &mut watch);
    assert_conserved(&recorded);
    assert!(recorded.recorder.outcomes.counts.ok > 50);
    assert_eq!(recorded.recorder.outcomes.counts.in_flight_at_stop, 0);
    assert_eq!(recorded.measured.as_millis(), 500);
    assert_eq!(
        recorded.recorder.totals.bytes_sent,
        recorded.recorder.totals.bytes_received
    );
    let moments: Vec<_> = watch
        .moments
        .iter()
        .filter(|moment| *moment != "WindowPassed")
        .collect();
    assert_eq!(
        moments,
        [
            "Started",
            "BeforeConnect",
            "Connected",
            "MeasuredFrom",
            "MeasuredTo",
            "Hold",
            "Drained"
        ]
    );
}

#[test]
fn churn_opens_a_connection_for_every_message() {
    let workload = Workload {
        churn: true,
        ..closed_loop(10, 300)
    };
    let recorded = run(good, &plan(workload));
    assert_conserved(&recorded);
    let recorder = recorded.recorder;
    assert!(recorder.outcomes.counts.ok > 10);
    // The first message of the run goes over the connection that was proven before it.
    assert!(
        recorder.totals.connections.abs_diff(recorder.totals.messages) <= 20,
        "{:?}",
        recorder.totals
    );
    assert_eq!(recorded.unclean_closes, 0);
}

#[test]
fn a_job_with_churn_counts_the_connections_that_it_made() {
    let workload = Workload {
        churn: true,
        ..job(10, 5)
    };
    let recorded = run(good, &plan(workload));
    assert_conserved(&recorded);
    let run = recorded.job_runs[0];
    assert_eq!((run.ok, run.connections), (50, 50));
}

#[test]
fn a_server_that_falls_silent_ends_the_run_for_all_clients_at_once() {
    let silent: Fault = |read| if read > 300 { Misdeed::Swallow } else { Misdeed::None };
    for workload in [closed_loop(10, 600_000), job(10, 1_000_000)] {
        let plan = Plan {
            timeout_ms: 400,
            ..plan(workload)
        };
        let recorded = run(silent, &plan);
        assert_conserved(&recorded);
        let why = recorded.stopped.unwrap();
        assert!(matches!(why, Incomplete::FellSilent(_)), "{why}");
        assert!(why.as_str().contains("the last one came "), "{why}");
        // Each client meets its timeout once or twice before nobody waits any longer.
        let counts = recorded.recorder.outcomes.counts;
        assert!(counts.timeout <= 30, "{counts:?}");
    }
}

#[test]
fn a_server_that_falls_silent_near_the_end_has_not_served_the_run() {
    let recorded = run(
        |read| if read > 300 { Misdeed::Swallow } else { Misdeed::None },
        &Plan {
            timeout_ms: 1_500,
            ..plan(closed_loop(10, 1_000))
        },
    );
    assert_conserved(&recorded);
    assert!(
        matches!(recorded.stopped, Some(Incomplete::FellSilent(_))),
        "{:?}",
        recorded.stopped
    );
}

#[test]
fn a_pipeline_keeps_its_depth_and_its_order() {
    let workload = Workload {
        pipeline: 16,
        size_min_bytes: 1,
        size_max_bytes: 3000,
        ..job(20, 200)
    };
    let recorded = run(good, &plan(workload));
    assert_eq!(recorded.recorder.outcomes.counts.ok, 4000);
    assert_conserved(&recorded);
}

#[test]
fn large_messages_come_back_whole() {
    let workload = Workload {
        size_min_bytes: 3_000_000,
        size_max_bytes: 3_000_000,
        ..job(4, 3)
    };
    let recorded = run(good, &plan(workload));
    assert_eq!(recorded.recorder.totals.bytes_received, 36_000_000);
    assert_conserved(&recorded);
}

/// Runs a job of 500 messages in which every hundredth read meets a misdeed, and returns the counts.
fn counts_of(fault: Fault, timeout_ms: u64) -> (loadgen::record::Counts, u64, String) {
    let recorded = run(
        fault,
        &Plan {
            timeout_ms,
            ..plan(job(10, 50))
        },
    );
    assert_conserved(&recorded);
    let counts = recorded.recorder.outcomes.counts;
    let reopened = recorded.recorder.outcomes.connections.reopened;
    let first = recorded.recorder.outcomes.first_failures();
    assert_eq!(first.len(), 1, "{first:?}");
    (counts, reopened, first[0].text.clone())
}

#[test]
fn corrupted_echoes_are_counted_exactly_and_shown() {
    let (counts, reopened, text) = counts_of(
        |read| {
            if read % 100 == 0 {
                Misdeed::Corrupt
            } else {
                Misdeed::None
            }
        },
        5_000,
    );
    assert_eq!((counts.ok, counts.corrupted, counts.errors()), (495, 5, 5));
    // The clients of the last reads may have had nothing left to send.
    assert!((1..=5).contains(&reopened), "{reopened}");
    assert!(text.starts_with("expected "), "{text}");
}

#[test]
fn truncated_echoes_are_counted_exactly() {
    let (counts, ..) = counts_of(
        |read| {
            if read % 100 == 0 {
                Misdeed::Truncate
            } else {
                Misdeed::None
            }
        },
        5_000,
    );
    assert_eq!((counts.ok, counts.truncated, counts.errors()), (495, 5, 5));
}

#[test]
fn an_end_of_stream_before_the_first_byte_is_closed_and_no_damage() {
    let (counts, ..) = counts_of(
        |read| {
            if read % 100 == 0 {
                Misdeed::EndOfStream
            } else {
                Misdeed::None
            }
        },
        5_000,
    );
    assert_eq!(
        (counts.ok, counts.closed, counts.truncated, counts.errors()),
        (495, 5, 0, 5)
    );
}

#[test]
fn resets_are_counted_exactly() {
    let (counts, _, text) = counts_of(
        |read| if read % 100 == 0 { Misdeed::Reset } else { Misdeed::None },
        5_000,
    );
    assert_eq!((counts.ok, counts.reset, counts.errors()), (495, 5, 5));
    assert_eq!(text, "connection reset by peer (ECONNRESET)");
}

#[test]
fn swallowed_messages_time_out_exactly() {
    let (counts, ..) = counts_of(
        |read| {
            if read % 100 == 0 {
                Misdeed::Swallow
            } else {
                Misdeed::None
            }
        },
        300,
    );
    assert_eq!((counts.ok, counts.timeout, counts.errors()), (495, 5, 5));
}

#[test]
fn an_echo_with_a_byte_too_many_is_seen() {
    let recorded = run(
        |read| if read == 7 { Misdeed::Surplus } else { Misdeed::None },
        &plan(job(2, 50)),
    );
    assert_conserved(&recorded);
    let counts = recorded.recorder.outcomes.counts;
    assert!(counts.corrupted == 1 || recorded.surplus_bytes > 0, "{counts:?}");
}

#[test]
fn a_refused_connection_costs_its_message() {
    // A port that was free a moment ago: nothing listens there.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let recorded = run_watched(&plan(job(3, 4)), address, &mut Watch::default());
    assert_conserved(&recorded);
    assert_eq!(recorded.recorder.outcomes.counts.refused, 12);
    assert_eq!(recorded.recorder.outcomes.connections.refused, 12);
}

#[test]
fn a_stopped_run_keeps_what_it_measured() {
    let mut watch = Watch {
        stop_after_ok: Some(100),
        ..Watch::default()
    };
    let recorded = run_watched(&plan(closed_loop(10, 60_000)), echo_server(good), &mut watch);
    assert_conserved(&recorded);
    assert_eq!(recorded.stopped, Some("the test said so".into()));
    assert_eq!(watch.moments.last().unwrap(), "Drained");
}

/// Interrupts when this phase is seen, and notes when.
struct Interrupts {
    phase: Phase,
    at: Option<Instant>,
}

impl Observer for Interrupts {
    fn moment(&mut self, _: Moment<'_>) {}

    fn look(&mut self, progress: Progress) -> Directive {
        if self.at.is_none() && progress.phase == self.phase && progress.elapsed > Duration::from_millis(150) {
            self.at = Some(Instant::now());
        }
        match self.at {
            Some(_) => Directive::Stop(Incomplete::Interrupted),
            None => Directive::Continue,
        }
    }
}

#[test]
fn an_interrupted_run_ends_soon_in_every_phase() {
    // Once all are connected, some messages are never answered, so that there is something to wait for.
    let server = || {
        echo_server(|read| {
            if read > 1_000 && read % 100 == 99 {
                Misdeed::Swallow
            } else {
                Misdeed::None
            }
        })
    };
    let slow_to_begin = Workload {
        warmup_ms: 60_000,
        ..closed_loop(20, 60_000)
    };
    // The kernel completes the connections here, and nobody answers on them.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let deaf_address = deaf.local_addr().unwrap();
    for (phase, workload, address) in [
        (Phase::Connect, closed_loop(20, 60_000), deaf_address),
        (Phase::WarmUp, slow_to_begin, server()),
        (Phase::Measured, closed_loop(20, 60_000), server()),
        (Phase::Measured, job(20, 1_000_000), server()),
        (Phase::Drain, closed_loop(100, 1_000), server()),
    ] {
        let mut interrupts = Interrupts { phase, at: None };
        let plan = Plan {
            timeout_ms: 60_000,
            connect_timeout_ms: 60_000,
            max_errors_percent: Plan::MAX_ERRORS_PERCENT,
            ..plan(workload)
        };
        let recorded = run_watched(&plan, address, &mut interrupts);
        assert_conserved(&recorded);
        assert_eq!(recorded.stopped, Some(Incomplete::Interrupted), "{phase}");
        // Two seconds are planned; a busy machine may take a few more.
        let took = interrupts.at.unwrap().elapsed();
        assert!(took < Duration::from_secs(10), "{phase}: {took:?}");
    }
}

#[test]
fn a_common_start_that_has_passed_ends_the_run_before_anything_is_measured() {
    for workload in [closed_loop(5, 200), job(5, 5)] {
        let plan = Plan {
            start_at: Some("2026-01-31T10:00:00Z".into()),
            ..plan(workload)
        };
        let recorded = run(good, &plan);
        let why = recorded.stopped.unwrap();
        assert!(matches!(why, Incomplete::StartMissed(_)), "{why}");
        assert_eq!(
            (recorded.measured_from, recorded.recorder.outcomes.counts.planned),
            (None, 0)
        );
    }
}

#[test]
fn the_callers_thread_may_run_afterwards_where_it_could_before() {
    let usable = || {
        let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
        (0..CpuSet::count())
            .filter(|cpu| set.is_set(*cpu).unwrap())
            .collect::<Vec<_>>()
    };
    let before = usable();
    let mut plan = plan(job(4, 5));
    plan.placement.loadgen_cpus = vec![before[0]];
    let mut pinned = None;
    let mut observer = Asks(|| pinned = Some(usable()));
    run_watched(&plan, echo_server(good), &mut observer);
    assert_eq!(pinned, Some(vec![before[0]]), "the conductor, while it leads");
    assert_eq!(usable(), before);
}

/// Does something at each moment of a run.
struct Asks<F: FnMut()>(F);

impl<F: FnMut()> Observer for Asks<F> {
    fn moment(&mut self, _: Moment<'_>) {
        (self.0)();
    }

    fn look(&mut self, _: Progress) -> Directive {
        Directive::Continue
    }
}

#[test]
fn a_connection_is_renewed_after_so_many_messages_whatever_paces_them() {
    let carries = |workload: Workload| Workload {
        messages_per_connection: Some(20),
        ..workload
    };
    let pipelined = Workload {
        pipeline: 3,
        ..closed_loop(5, 300)
    };
    for workload in [closed_loop(5, 300), pipelined, job(5, 105), open_loop(5, 2_000, 300)] {
        let is_job = workload.is_job();
        let recorded = run(good, &plan(carries(workload)));
        assert_conserved(&recorded);
        let (totals, connections) = (&recorded.recorder.totals, &recorded.recorder.outcomes.connections);
        assert_eq!(recorded.recorder.outcomes.counts.errors(), 0);
        assert_eq!(
            (connections.reopened, connections.reached, recorded.unclean_closes),
            (0, 5, 0)
        );
        // Each connection but the last of a client has carried 20.
        assert_eq!(totals.connections, connections.renewed + 5);
        let most = totals.messages.div_ceil(20);
        assert!((most..most + 5).contains(&totals.connections), "{totals:?}");
        if is_job {
            assert_eq!(totals.connections, 5 * 6);
        }
    }
}

#[test]
fn connections_may_be_ended_by_a_reset_and_no_message_is_lost() {
    let workload = Workload {
        churn: true,
        close: loadgen::record::CloseBy::Rst,
        ..closed_loop(10, 300)
    };
    let recorded = run(good, &plan(workload));
    assert_conserved(&recorded);
    let counts = recorded.recorder.outcomes.counts;
    assert!(counts.ok > 10 && counts.errors() == 0, "{counts:?}");
    assert_eq!(recorded.unclean_closes, 0);
}

/// How many of its connections a server that answers after 20 ms has at the same time, at most.
fn most_at_once(plan: &Plan) -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let unanswered = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            seen.fetch_max(unanswered.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let unanswered = Arc::clone(&unanswered);
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                unanswered.fetch_sub(1, Ordering::SeqCst);
                std::io::copy(&mut stream.try_clone().unwrap(), &mut stream)
            });
        }
    });
    let recorded = run_watched(plan, address, &mut Watch::default());
    assert_conserved(&recorded);
    assert_eq!(
        recorded.recorder.outcomes.connections.reached,
        u64::from(plan.workload.clients)
    );
    most.load(Ordering::SeqCst)
}

#[test]
fn the_connect_window_holds_over_all_threads() {
    let plan = |workload| Plan {
        threads: 8,
        connect_window: 3,
        ..plan(workload)
    };
    assert!(most_at_once(&plan(closed_loop(24, 100))) <= 3);
    let churn = Workload {
        churn: true,
        ..open_loop(24, 500, 200)
    };
    assert!(most_at_once(&plan(churn)) <= 3);
}

#[test]
fn connections_are_opened_no_faster_than_the_connect_rate() {
    let plan = Plan {
        threads: 2,
        connect_rate_per_s: Some(100),
        ..plan(job(30, 1))
    };
    let recorded = run(good, &plan);
    assert_conserved(&recorded);
    // 29 gaps of 10 ms, less the one that a late look may catch up.
    assert!(
        recorded.job_runs[0].duration >= Duration::from_millis(280),
        "{:?}",
        recorded.job_runs
    );
}
