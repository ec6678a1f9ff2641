//! The open loop against servers of known behaviour: what was planned is sent or dropped, and waiting counts.

mod support;

use loadgen::engine::{self, Recorded};
use loadgen::record::Measurement;
use loadgen::record::{Arrivals, OpenLoop, Pacing, Plan, Waiting, Workload};
use loadgen::recorder::latency::LatencyHistogram;
use loadgen::units::count_f64;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike as _};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use support::{Misdeed, Watch, echo_server, open_loop, payload, plan};

fn run(address: SocketAddr, plan: &Plan) -> Recorded {
    engine::run(plan, &payload(plan), address, &mut Watch::default()).unwrap()
}

/// Echoes everything, and freezes whole for `freeze` in every `period`, on an absolute clock.
fn freezing_server(period: Duration, freeze: Duration) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let begun = Instant::now();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                echo(stream, || {
                    let into =
                        Duration::from_nanos(u64::try_from(begun.elapsed().as_nanos() % period.as_nanos()).unwrap());
                    thread::sleep(freeze.saturating_sub(into));
                });
            });
        }
    });
    address
}

/// Serves one message at a time, all connections together, and takes `service` for each.
fn slow_server(service: Duration) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let turn = Arc::new(Mutex::new(()));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let turn = Arc::clone(&turn);
            thread::spawn(move || {
                echo(stream, || {
                    let _mine = turn.lock().unwrap();
                    thread::sleep(service);
                });
            });
        }
    });
    address
}

fn echo(mut stream: TcpStream, mut before_each: impl FnMut()) {
    stream.set_nodelay(true).unwrap();
    let mut buffer = [0; 16_384];
    while let Ok(bytes) = stream.read(&mut buffer) {
        if bytes == 0 {
            return;
        }
        before_each();
        if stream.write_all(&buffer[..bytes]).is_err() {
            return;
        }
    }
}

fn assert_conserved(recorded: &Recorded) {
    let recorder = &recorded.recorder;
    let counts = recorder.outcomes.counts;
    assert_eq!(counts.planned, counts.sent + counts.dropped);
    assert_eq!(counts.sent, counts.ok + counts.errors() + counts.in_flight_at_stop);
    assert_eq!(recorder.response.count(), counts.sent - counts.in_flight_at_stop);
    assert_eq!(recorder.service.count(), recorder.response.count());
    assert_eq!(recorder.send_lag.count(), counts.sent);
    let windows = recorder.windows.windows();
    assert_eq!(windows.iter().map(|window| window.sent).sum::<u64>(), counts.sent);
    let ended: u64 = windows.iter().map(|window| window.ok + window.errors).sum();
    assert_eq!(ended, counts.ok + counts.errors());
    if counts.ok == counts.sent && counts.ok > 0 {
        assert_littles_law(recorded);
    }
}

/// Messages under way, summed over time, are the sum of the service times.
fn assert_littles_law(recorded: &Recorded) {
    let service = recorded.recorder.service.summary();
    let sum_ns = service.mean.unwrap() * count_f64(service.count);
    let integral_ns = count_f64(u64::try_from(recorded.recorder.in_flight.integral_ns()).unwrap());
    assert!(
        (sum_ns - integral_ns).abs() < 0.01 * sum_ns,
        "{sum_ns} and {integral_ns}"
    );
}

fn max_ms(histogram: &LatencyHistogram) -> u64 {
    histogram.summary().max.unwrap() / 1_000_000
}

#[test]
fn a_constant_rate_is_planned_exactly_and_everything_comes_back() {
    for waiting in [Waiting::Sleep, Waiting::Hybrid, Waiting::Spin] {
        let workload = Workload {
            pacing: Pacing::OpenLoop(OpenLoop {
                rate_per_s: 2_000,
                arrivals: Arrivals::Constant,
                ramp_ms: 0,
                waiting,
            }),
            ..open_loop(20, 1, 500)
        };
        let recorded = run(echo_server(|_| Misdeed::None), &plan(workload));
        assert_conserved(&recorded);
        let counts = recorded.recorder.outcomes.counts;
        assert_eq!(
            (counts.planned, counts.ok, counts.dropped),
            (1_000, 1_000, 0),
            "{waiting:?}"
        );
        assert_eq!(recorded.recorder.totals.messages, 20 + 200 + 1_000);
    }
}

#[test]
fn only_the_active_clients_of_a_crowd_send_and_all_stay_connected() {
    for threads in [1, 3] {
        let workload = Workload {
            active_clients: Some(5),
            ..open_loop(200, 2_000, 500)
        };
        let is_active: Vec<bool> = (0..200).map(|client| workload.is_active(client)).collect();
        let plan = Plan {
            threads,
            ..plan(workload)
        };
        let recorded = run(echo_server(|_| Misdeed::None), &plan);
        assert_conserved(&recorded);
        let recorder = &recorded.recorder;
        assert_eq!(
            (recorder.outcomes.counts.ok, recorder.outcomes.counts.dropped),
            (1_000, 0)
        );
        assert_eq!(recorder.outcomes.connections.reached, 200);
        let sent: Vec<bool> = recorder.ok_of_client.iter().map(|&ok| ok > 0).collect();
        assert_eq!(sent, is_active, "{threads} threads");
        // One echo proves each connection; what was measured came from the five.
        assert_eq!(recorder.totals.messages, 200 + 200 + 1_000);
    }
}

#[test]
fn with_clients_to_spare_response_is_send_lag_and_service() {
    let recorded = run(echo_server(|_| Misdeed::None), &plan(open_loop(300, 1_000, 500)));
    assert_conserved(&recorded);
    let recorder = &recorded.recorder;
    let sum = |histogram: &LatencyHistogram| histogram.summary().mean.unwrap() * count_f64(histogram.count());
    let (whole, parts) = (
        sum(&recorder.response),
        sum(&recorder.send_lag) + sum(&recorder.service),
    );
    assert!((whole - parts).abs() < 0.01 * whole, "{whole} and {parts}");
}

#[test]
fn spinning_is_told_where_there_is_any() {
    let spun = |waiting| {
        let workload = Workload {
            pacing: Pacing::OpenLoop(OpenLoop {
                rate_per_s: 1_000,
                arrivals: Arrivals::Poisson,
                ramp_ms: 50,
                waiting,
            }),
            ..open_loop(5, 1, 300)
        };
        let recorded = run(echo_server(|_| Misdeed::None), &plan(workload));
        assert_conserved(&recorded);
        recorded.spinning.iter().map(|(_, spun)| *spun).sum::<Duration>()
    };
    assert_eq!(spun(Waiting::Sleep), Duration::ZERO);
    let spin = spun(Waiting::Spin);
    assert!(spin > Duration::ZERO && spin <= Duration::from_millis(300), "{spin:?}");
}

#[test]
fn several_threads_share_one_plan() {
    for arrivals in [Arrivals::Constant, Arrivals::Burst(7)] {
        let workload = Workload {
            pacing: Pacing::OpenLoop(OpenLoop {
                rate_per_s: 3_000,
                arrivals,
                ramp_ms: 0,
                waiting: Waiting::Hybrid,
            }),
            pipeline: 2,
            ..open_loop(9, 1, 500)
        };
        let recorded = run(
            echo_server(|_| Misdeed::None),
            &Plan {
                threads: 3,
                ..plan(workload)
            },
        );
        assert_conserved(&recorded);
        let counts = recorded.recorder.outcomes.counts;
        // A burst begins or ends the measured phase by at most its own size.
        let off = if arrivals == Arrivals::Constant { 0 } else { 7 };
        assert!(counts.planned.abs_diff(1_500) <= off, "{counts:?}");
        assert_eq!(counts.ok, counts.planned);
        assert!(recorded.recorder.ok_of_client.iter().all(|&ok| ok > 0));
    }
}

/// The server is silent for 200 ms of every 500 ms. One client sees the wait of everything that was due meanwhile.
#[test]
fn messages_due_during_a_stall_are_late_not_left_out() {
    let server = freezing_server(Duration::from_millis(500), Duration::from_millis(200));
    let recorded = run(server, &plan(open_loop(1, 500, 1_000)));
    assert_conserved(&recorded);
    let recorder = &recorded.recorder;
    assert_eq!(recorder.outcomes.counts.planned, 500);
    // Two stalls: 40 % of the messages are due in one, half of those wait for more than 100 ms.
    let beyond_100_ms = recorder.response.percentile(8_000).unwrap();
    assert!(beyond_100_ms >= 90_000_000, "{beyond_100_ms}");
    // Only two messages were under way when it froze: the service time hides what the others waited. Their waiting is no
    // error of the generator.
    assert!(max_ms(&recorder.response) >= 190, "{}", max_ms(&recorder.response));
    assert!(recorder.service.percentile(8_000).unwrap() < beyond_100_ms / 2);
    assert!(recorder.send_lag.percentile(8_000).unwrap() < beyond_100_ms / 2);
}

#[test]
fn a_stalled_connection_does_not_thin_the_load() {
    // The 15th read, and so the connection it came on, is never answered.
    let server = echo_server(|read| if read == 15 { Misdeed::Swallow } else { Misdeed::None });
    let recorded = run(
        server,
        &Plan {
            timeout_ms: 1_500,
            ..plan(open_loop(10, 1_000, 1_000))
        },
    );
    assert_conserved(&recorded);
    let counts = recorded.recorder.outcomes.counts;
    assert_eq!((counts.planned, counts.dropped), (1_000, 0));
    assert!(counts.ok >= 999 && counts.timeout <= 1, "{counts:?}");
}

#[test]
fn what_is_too_much_for_the_server_waits_and_is_dropped_in_the_end() {
    // 100 messages/s are served, 1,000 are asked for; the plan waits for half a second after its end.
    let recorded = run(
        slow_server(Duration::from_millis(10)),
        &Plan {
            timeout_ms: 500,
            ..plan(open_loop(4, 1_000, 500))
        },
    );
    assert_conserved(&recorded);
    let recorder = &recorded.recorder;
    let counts = recorder.outcomes.counts;
    assert_eq!(counts.planned, 500);
    assert!(counts.dropped > 200 && counts.ok > 0, "{counts:?}");
    // What ended within the half second, be it of the warm-up, is what 100/s allow; what came later is told apart.
    let served = recorder.served;
    assert!((1..=60).contains(&served), "{served}");
    assert!(counts.ok_late > 0, "{counts:?}");
    assert!(max_ms(&recorder.response) > max_ms(&recorder.service));
}

#[test]
fn a_plan_out_of_all_reach_still_measures_what_is_served() {
    let recorded = run(
        slow_server(Duration::from_millis(2)),
        &Plan {
            timeout_ms: 300,
            ..plan(open_loop(10, 1_000_000, 500))
        },
    );
    assert_conserved(&recorded);
    let recorder = &recorded.recorder;
    let counts = recorder.outcomes.counts;
    assert_eq!((counts.planned, counts.ok), (500_000, counts.ok_late));
    assert!((1..=300).contains(&recorder.served), "{}", recorder.served);
}

#[test]
fn a_full_connect_window_is_waited_for_without_a_busy_loop() {
    let workload = Workload {
        churn: true,
        ..open_loop(400, 20_000, 1_000)
    };
    let server = slow_server(Duration::from_millis(5));
    let used = || {
        let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
        let micros = |time: TimeVal| time.num_microseconds();
        micros(usage.user_time()) + micros(usage.system_time())
    };
    let (before, begun) = (used(), Instant::now());
    let recorded = run(
        server,
        &Plan {
            timeout_ms: 1_000,
            connect_window: 20,
            ..plan(workload)
        },
    );
    let (cpu, wall) = (used() - before, i64::try_from(begun.elapsed().as_micros()).unwrap());
    assert_conserved(&recorded);
    assert!(recorded.recorder.served > 0);
    assert!(cpu < wall / 2, "{cpu} us of CPU in {wall} us");
}

#[test]
fn a_connection_for_every_message_is_opened_by_plan() {
    let workload = Workload {
        churn: true,
        ..open_loop(10, 200, 500)
    };
    let recorded = run(echo_server(|_| Misdeed::None), &plan(workload));
    assert_conserved(&recorded);
    let recorder = &recorded.recorder;
    let counts = recorder.outcomes.counts;
    assert_eq!((counts.planned, counts.ok), (100, 100));
    assert!(recorder.totals.connections >= 100, "{:?}", recorder.totals);
}

#[test]
fn failed_messages_are_counted_exactly_and_the_others_go_on() {
    let recorded = run(
        echo_server(|read| if read % 50 == 0 { Misdeed::Reset } else { Misdeed::None }),
        &plan(open_loop(10, 1_000, 500)),
    );
    assert_conserved(&recorded);
    let counts = recorded.recorder.outcomes.counts;
    assert_eq!(counts.planned, 500);
    assert!((9..=11).contains(&counts.reset), "{counts:?}");
    assert_eq!(counts.ok + counts.reset, 500);
}

#[test]
fn a_stop_drops_what_was_planned_until_then_and_no_more() {
    let mut watch = Watch {
        stop_after_ok: Some(300),
        ..Watch::default()
    };
    let plan = plan(open_loop(5, 1_000, 60_000));
    let recorded = engine::run(&plan, &payload(&plan), echo_server(|_| Misdeed::None), &mut watch).unwrap();
    assert_conserved(&recorded);
    let counts = recorded.recorder.outcomes.counts;
    let planned_until_then = u64::try_from(recorded.measured.as_millis()).unwrap();
    assert!(counts.planned <= planned_until_then + 100, "{counts:?}");
    assert!(counts.planned + 2 >= planned_until_then, "{counts:?}");
}

/// What loadgen prints and records about a server, run as a user runs it.
fn told(address: SocketAddr, flags: &str) -> (String, Measurement) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("record.json");
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["--target", &address.to_string(), "--quiet", "--pin", "off", "--output"])
        .arg(&file)
        .args(flags.split_whitespace())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let record = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    (String::from_utf8(output.stdout).unwrap(), record)
}

#[test]
fn a_stall_that_a_closed_loop_hides_is_warned_of_and_an_open_loop_shows_it() {
    let server = freezing_server(Duration::from_millis(1_000), Duration::from_millis(400));
    let (closed, _) = told(server, "--clients 1 --warmup 0 --duration 2s");
    assert!(closed.contains("coordinated omission"), "{closed}");
    assert!(!closed.contains("send lag"), "{closed}");
    let (open, record) = told(server, "--clients 1 --rate 500 --warmup 0 --duration 2s");
    for word in [
        "open loop at 500/s",
        "1,000 planned",
        "\n  response ",
        "\n  service ",
        "\n  send lag ",
        "part:",
    ] {
        assert!(open.contains(word), "{word}: {open}");
    }
    let latency = &record.latency_ns;
    assert!(latency.response.p90 > latency.service.p90, "{latency:?}");
    let histograms = &record.histograms;
    assert!(histograms.service.is_some() && histograms.send_lag.is_some());
    assert!(record.littles_law.unwrap().rel_error < 0.01, "{:?}", record.littles_law);
    let sent: u64 = record.windows.iter().filter_map(|window| window.sent).sum();
    assert_eq!((sent, record.counts.dropped), (record.counts.sent, 0));
}
