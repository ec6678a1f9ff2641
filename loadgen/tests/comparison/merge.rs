//! Records of several generators are one record of all their messages: bit for bit, in any order.

use crate::synthetic::{Fault, file, trial};
use loadgen::measurement::merge::{Part, merge};
use loadgen::quantity::{self, Merge, Reading};
use loadgen::record::{Arrivals, OpenLoop, Pacing, Stop, Waiting};
use loadgen::record::{Connections, Measurement, ServerStats, SuitePlace, Totals, Window};
use loadgen::record::{LittlesLaw, Network, SteadyClass, SteadyState};
use loadgen::recorder::Recorder;
use loadgen::recorder::outcome::Kind;
use loadgen::units::per_second;
use proptest::prelude::*;

const WINDOW_NS: u64 = 100_000_000;
const DURATION_S: f64 = 3.0;

/// One message: when it ended after the beginning of the measured phase, how long it took, whether it failed.
type Message = (u64, u64, bool);

/// A record as one generator would write it that saw these messages.
fn seen(generator: u64, clients: u32, messages: &[Message]) -> Measurement {
    let suite = file("thread", "steady", 1, 60).suite;
    let pair = &suite.pairs_of_round(1)[0];
    let place = SuitePlace {
        suite: "x".into(),
        round: 1,
        position: 1,
        seed: 1,
        attempt: 1,
        control: false,
        plan_hash: None,
        at: None,
    };
    let mut recorder = Recorder::new(clients as usize, WINDOW_NS, 30, 5_000_000_000, false);
    for &(at_ns, took_ns, failed) in messages {
        recorder.response.record(took_ns);
        recorder.windows.sent(at_ns);
        if failed {
            recorder.outcomes.failed(Kind::Timeout);
            recorder.windows.error(at_ns, Kind::Timeout);
        } else {
            recorder.outcomes.ok(false);
            recorder.windows.ok(at_ns, took_ns);
        }
    }
    (0..clients).for_each(|client| recorder.connect.record(10_000 + u64::from(client)));
    let mut record = trial(&suite.plan(pair, 1), &place, Fault::None);
    let counts = recorder.outcomes.counts;
    record.plan.workload.clients = clients;
    record.plan.workload.stop = Stop::AfterMs(3000);
    record.plan.seed = generator;
    record.target.name = format!("127.0.0.1:{}", 9000 + generator);
    record.target.address.clone_from(&record.target.name);
    record.target.pid = Some(4000 + u32::try_from(generator).unwrap());
    record.plan.target.clone_from(&record.target.name);
    record.identity.suite = None;
    record.identity.measured_from = Some("2026-01-31T10:00:00.25Z".into());
    record.counts = counts;
    record.connections = Connections {
        asked: u64::from(clients),
        reached: u64::from(clients),
        ..Connections::default()
    };
    record.totals = Totals {
        messages: counts.ok + u64::from(clients),
        bytes_sent: 64 * counts.sent,
        bytes_received: 64 * counts.ok,
        probe_bytes: 4,
        connections: u64::from(clients),
    };
    record.throughput.duration_s = DURATION_S;
    record.throughput.served = Some(counts.ok);
    record.throughput.messages_per_s = per_second(counts.ok, DURATION_S);
    record.throughput.bytes_per_s = 64.0 * record.throughput.messages_per_s;
    record.latency_ns.response = recorder.response.summary();
    record.latency_ns.service = record.latency_ns.response;
    record.latency_ns.connect = recorder.connect.summary();
    record.histograms.response = recorder.response.encode();
    record.histograms.connect = recorder.connect.encode();
    record.repetitions = vec![];
    record.windows = (0_u32..)
        .zip(recorder.windows.windows())
        .map(|(place, count)| Window {
            from_s: 0.1 * f64::from(place),
            length_s: 0.1,
            sent: Some(count.sent),
            ok: count.ok,
            errors: count.errors,
            response_p50_ns: None,
            response_p99_ns: None,
            response_max_ns: (count.ok + count.errors > 0).then_some(count.response_max_ns),
            server_cpu_ns: Some(1000 * count.ok),
        })
        .collect();
    record.server_stats = Some(ServerStats {
        accepted: u64::from(clients),
        closed: u64::from(clients),
        bytes_in: 64 * counts.sent,
        bytes_out: 64 * counts.ok,
        ..ServerStats::default()
    });
    record.fairness_jain = Some(1.0);
    (record.valid, record.reasons, record.notes) = (true, vec![], vec![]);
    record
}

fn part(generator: u64, record: Measurement) -> Part {
    Part {
        name: format!("replica-{generator}.json"),
        record,
    }
}

fn parts(shares: &[Vec<Message>]) -> Vec<Part> {
    (1..)
        .zip(shares)
        .map(|(generator, messages)| part(generator, seen(generator, 50, messages)))
        .collect()
}

fn refused(parts: Vec<Part>) -> String {
    merge(parts, &[]).unwrap_err()
}

fn changed(generator: u64, change: impl FnOnce(&mut Measurement)) -> Part {
    let mut record = seen(generator, 50, &[(0, 1000, false)]);
    change(&mut record);
    part(generator, record)
}

fn message() -> impl Strategy<Value = Message> {
    // Some take longer than the histogram tells apart.
    let took = prop_oneof![1_u64..1_000_000_000, 3_599_000_000_000_u64..3_700_000_000_000];
    (0_u64..3_200_000_000, took, prop::bool::weighted(0.05))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_merge_of_records_is_the_record_of_the_merged_messages(
        shares in prop::collection::vec(prop::collection::vec(message(), 0..600), 1..6)
    ) {
        let merged = merge(parts(&shares), &[]).unwrap();
        let clients = 50 * u32::try_from(shares.len()).unwrap();
        let mut whole = seen(1, clients, &shares.concat());
        // Each generator's clients connected for themselves; together that is what they said, again and again.
        let one = seen(1, 50, &[]);
        let texts = shares.iter().map(|_| one.histograms.connect.as_deref().unwrap());
        let connect = loadgen::recorder::latency::LatencyHistogram::merged(texts).unwrap();
        (whole.histograms.connect, whole.latency_ns.connect) = (connect.encode(), connect.summary());
        whole.latency_ns.connect.max = one.latency_ns.connect.max;
        whole.totals.probe_bytes *= shares.len() as u64;
        prop_assert_eq!(&merged.histograms, &whole.histograms);
        prop_assert_eq!(&merged.latency_ns, &whole.latency_ns);
        prop_assert_eq!(&merged.windows, &whole.windows);
        prop_assert_eq!(merged.counts, whole.counts);
        prop_assert_eq!(merged.connections, whole.connections);
        prop_assert_eq!(merged.totals, whole.totals);
        prop_assert_eq!(merged.server_stats, whole.server_stats);
        prop_assert_eq!(merged.throughput.messages_per_s, whole.throughput.messages_per_s);
        prop_assert_eq!(merged.plan.workload.clients, whole.plan.workload.clients);
        prop_assert!(merged.valid, "{:?}", merged.reasons);
    }

    #[test]
    fn the_order_of_the_records_does_not_matter(
        shares in prop::collection::vec(prop::collection::vec(message(), 0..50), 2..6),
        turn in 0_usize..6
    ) {
        let all = parts(&shares);
        let mut turned: Vec<Part> = all.iter().rev().cloned().collect();
        turned.rotate_left(turn % all.len());
        let text = |parts| serde_json::to_string(&merge(parts, &[]).unwrap()).unwrap();
        prop_assert_eq!(text(all), text(turned));
    }
}

#[test]
fn unequal_shares_add_up_as_fairness_over_all_clients() {
    // 50 clients with 2 messages each, 50 with 6: (100 + 300)² / (100 (50·4 + 50·36)) = 0.8.
    let share = |generator, messages: usize| part(generator, seen(generator, 50, &vec![(0, 1000, false); messages]));
    let merged = merge(vec![share(1, 100), share(2, 300)], &[]).unwrap();
    assert!(
        (merged.fairness_jain.unwrap() - 0.8).abs() < 1e-12,
        "{:?}",
        merged.fairness_jain
    );
}

#[test]
fn rates_of_several_plans_add_up() {
    let open = |generator, rate_per_s| {
        changed(generator, |record| {
            record.plan.workload.pacing = Pacing::OpenLoop(OpenLoop {
                rate_per_s,
                arrivals: Arrivals::Poisson,
                ramp_ms: 0,
                waiting: Waiting::Hybrid,
            });
            record.histograms.send_lag = record.histograms.response.clone();
        })
    };
    let merged = merge(vec![open(1, 3000), open(2, 5000)], &[]).unwrap();
    assert_eq!(merged.plan.workload.open_loop().unwrap().rate_per_s, 8000);
    assert_eq!(merged.latency_ns.send_lag.count, 2);
    assert!(refused(vec![open(1, 3000), changed(2, |_| {})]).contains("workloads differ"));
}

#[test]
fn a_lost_generator_is_named_and_its_clients_count_as_asked_for() {
    let merged = merge(parts(&[vec![], vec![], vec![]]), &["replica-4.json".into()]).unwrap();
    assert_eq!((merged.connections.reached, merged.connections.asked), (150, 200));
    assert!(!merged.valid);
    let gates: Vec<_> = merged.reasons.iter().map(|reason| reason.gate.as_str()).collect();
    assert_eq!(gates, ["connections", "lost_generators"]);
    assert!(
        merged.reasons[1]
            .text
            .contains("1 of 4 generators left no record: replica-4.json"),
        "{}",
        merged.reasons[1].text
    );
}

#[test]
fn generators_that_hardly_met_are_not_believed_and_those_that_never_met_are_refused() {
    let at = |generator, from: &str| changed(generator, |record| record.identity.measured_from = Some(from.into()));
    let first = || at(1, "2026-01-31T10:00:00Z");
    // 2.9 of 3.1 seconds together are 93.5 %.
    let merged = merge(vec![first(), at(2, "2026-01-31T10:00:00.1Z")], &[]).unwrap();
    assert_eq!(merged.reasons[0].gate, "overlap", "{:?}", merged.reasons);
    assert!(merged.reasons[0].text.contains("93.5 %"), "{}", merged.reasons[0].text);
    assert_eq!(merged.throughput.duration_s, 3.1);
    let merged = merge(vec![first(), at(2, "2026-01-31T10:00:00.05Z")], &[]).unwrap();
    assert!(merged.valid, "{:?}", merged.reasons);
    let text = refused(vec![first(), at(2, "2026-01-31T10:00:03.5Z")]);
    assert!(
        text.contains("did not press at the same time") && text.contains("--start-at"),
        "{text}"
    );
}

#[test]
fn windows_are_added_where_they_lie_in_time() {
    let at = |generator, from: &str, at_ns| {
        let mut record = seen(generator, 50, &[(at_ns, 1000, false)]);
        record.identity.measured_from = Some(from.into());
        part(generator, record)
    };
    let early = at(1, "2026-01-31T10:00:00Z", 250_000_000);
    let late = at(2, "2026-01-31T10:00:00.11Z", 150_000_000);
    let merged = merge(vec![late, early], &[]).unwrap();
    let ok: Vec<u64> = merged.windows.iter().map(|window| window.ok).take(4).collect();
    assert_eq!(ok, [0, 0, 2, 0]);
    assert_eq!(merged.windows.len(), 32);
}

#[test]
fn what_is_no_share_of_one_load_is_refused_by_name() {
    let first = || changed(1, |_| {});
    for (other, text) in [
        (
            changed(2, |record| record.plan.workload.pipeline = 4),
            "workloads differ",
        ),
        (
            changed(2, |record| record.plan.timeout_ms = 1),
            "--timeout differ (10000 ms and 1 ms)",
        ),
        (
            changed(2, |record| record.target.name = "127.0.0.2:1".into()),
            "targets differ (127.0.0.1 and 127.0.0.2)",
        ),
        (
            changed(2, |record| record.identity.measured_from = None),
            "does not say when",
        ),
        (
            changed(2, |record| record.histograms.response = Some("?".into())),
            "response histogram is not base64",
        ),
        (first(), "are the same record"),
    ] {
        let refused = refused(vec![first(), other]);
        assert!(refused.contains(text), "{refused}");
    }
    assert!(refused(vec![]).contains("no record"));
}

#[test]
fn one_server_under_two_generators_costs_once_and_two_servers_twice() {
    let two = merge(parts(&[vec![], vec![]]), &[]).unwrap();
    let memory = |record: &Measurement| record.server_cost.memory_peak_bytes.unwrap();
    let one = seen(1, 50, &[]);
    assert_eq!(memory(&two), 2 * memory(&one));
    let shared: Vec<Part> = parts(&[vec![], vec![]])
        .into_iter()
        .map(|mut part| {
            part.record.target = one.target.clone();
            part
        })
        .collect();
    let merged = merge(shared, &[]).unwrap();
    assert_eq!((memory(&merged), merged.server_stats), (memory(&one), None));
}

#[test]
fn what_makes_one_record_unbelievable_makes_the_merged_one_so() {
    let busy = changed(2, |record| {
        record.valid = false;
        record.reasons = vec![loadgen::record::Reason::new(
            "foreign_load",
            9.0,
            3.0,
            "others were busy",
        )];
    });
    let merged = merge(vec![changed(1, |_| {}), busy], &[]).unwrap();
    assert!(!merged.valid);
    assert_eq!(merged.reasons[0].text, "replica-2.json: others were busy");
}

#[test]
fn what_only_the_second_record_saw_of_the_network_is_kept() {
    let seen = |generator, network| changed(generator, |record| record.network = network);
    let lossy = Network {
        listen_drops: 3,
        retransmits: 500,
        timeouts: 2,
        backlog_drops: 1,
        ..Network::default()
    };
    let merged = merge(vec![seen(1, Some(Network::default())), seen(2, Some(lossy))], &[]).unwrap();
    assert_eq!(merged.network, Some(lossy));
    let merged = merge(vec![seen(1, Some(lossy)), seen(2, Some(lossy))], &[]).unwrap();
    assert_eq!(merged.network.unwrap().retransmits, 1000);
    let merged = merge(vec![seen(1, None), seen(2, Some(lossy))], &[]).unwrap();
    assert_eq!(merged.network, Some(lossy));
    assert_eq!(
        merged.notes,
        ["replica-1.json: the kernel's TCP counters were not read"]
    );
}

#[test]
fn what_differs_between_the_machines_is_named_and_what_is_common_stays() {
    let on = |generator, kernel: &str, somaxconn: &str| {
        changed(generator, |record| {
            record.environment.kernel = Some(kernel.into());
            record.environment.load_average_1min = Some(0.5 * f64::from(u32::try_from(generator).unwrap()));
            let settings = [("net.core.somaxconn", somaxconn), ("net.ipv4.tcp_tw_reuse", "2")];
            record.environment.settings = settings.map(|(name, value)| (name.into(), value.into())).into();
        })
    };
    let merged = merge(vec![on(1, "6.1", "4096"), on(2, "6.18", "128")], &[]).unwrap();
    assert_eq!(merged.environment.kernel, None);
    assert_eq!(merged.environment.architecture.as_deref(), Some("x86_64"));
    assert_eq!(merged.environment.load_average_1min, Some(1.0));
    assert_eq!(
        merged.environment.settings.into_iter().collect::<Vec<_>>(),
        [("net.ipv4.tcp_tw_reuse".to_string(), "2".to_string())]
    );
    let note = merged.notes.join("\n");
    for named in [
        r#"environment.kernel (replica-1.json "6.1", replica-2.json "6.18")"#,
        r#"net.core.somaxconn (replica-1.json "4096", replica-2.json "128")"#,
    ] {
        assert!(note.contains(named), "{note}");
    }
}

#[test]
fn messages_under_way_of_all_generators_add_up_to_littles_law_of_the_whole() {
    let with = |generator, in_flight_mean, rate_times_latency| {
        changed(generator, |record| {
            record.littles_law = Some(LittlesLaw {
                in_flight_mean,
                rate_times_latency,
                rel_error: 0.0,
            });
        })
    };
    let merged = merge(vec![with(1, 10.0, 10.0), with(2, 33.0, 30.0)], &[]).unwrap();
    let law = merged.littles_law.unwrap();
    assert_eq!((law.in_flight_mean, law.rate_times_latency), (43.0, 40.0));
    assert!((law.rel_error - 3.0 / 40.0).abs() < 1e-12, "{law:?}");
    assert_eq!(
        merge(vec![with(1, 10.0, 10.0), changed(2, |_| {})], &[])
            .unwrap()
            .littles_law,
        None
    );
}

#[test]
fn the_merged_run_is_as_steady_as_the_least_steady_and_pressed_as_the_most_pressed() {
    let with = |generator, class, pressure| {
        changed(generator, |record| {
            record.loadgen_cost.cpu_pressure_percent = Some(pressure);
            record.steady = Some(SteadyState {
                class,
                cut_s: None,
                trend_percent: 1.0,
                trend_p: 0.5,
            });
        })
    };
    let merged = merge(
        vec![with(1, SteadyClass::Flat, 1.0), with(2, SteadyClass::Slowdown, 40.0)],
        &[],
    )
    .unwrap();
    assert_eq!(merged.steady.unwrap().class, SteadyClass::Slowdown);
    assert_eq!(merged.loadgen_cost.cpu_pressure_percent, Some(40.0));
}

#[test]
fn every_quantity_that_both_records_have_is_merged_unless_its_line_says_that_it_cannot_be() {
    let full = |generator| {
        changed(generator, |record| {
            for quantity in quantity::ALL {
                if let Reading::Field { set, .. } = quantity.reading {
                    set(record, Some(8.0));
                }
            }
            record.plan.workload.churn = true;
            record.fairness_jain = Some(1.0);
            record.throughput.duration_s = DURATION_S;
            record.throughput.served = Some(record.counts.ok);
        })
    };
    let merged = merge(vec![full(1), full(2)], &[]).unwrap();
    for quantity in quantity::ALL {
        let figure = quantity.of(&merged);
        let expected = match quantity.merge {
            Merge::Sum | Merge::Rate => Some(16.0),
            // Of two servers; a mean of one message each is their mean.
            Merge::OverTime => Some(16.0),
            Merge::Per(_) | Merge::Max => Some(8.0),
            Merge::Peak => None,
            Merge::Unknown if quantity.name == "fairness_jain" => Some(1.0),
            Merge::Unknown => None,
            Merge::Samples => continue,
        };
        assert_eq!(figure, expected, "{}", quantity.name);
    }
}
