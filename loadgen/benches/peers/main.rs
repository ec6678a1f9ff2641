//! loadgen beside its peers, and against what it promises of itself. One client thread on one CPU, one server on the
//! other, 50 connections; whatever is compared runs in turn in the same round, and ratios are of the same round.
//!
//!     cargo bench -p loadgen --bench peers                  # 9 rounds, about 5 minutes; needs redis-tools, wrk, gcc (Debian)
//!     cargo bench -p loadgen --bench peers -- quick         # 3 short rounds, under a minute: does it run, no figures
//!     cargo bench -p loadgen --bench peers -- 15 thread     # so many rounds, against this target
//!
//! Parts: depth 1 beside redis-benchmark, wrk and the minimal C client; `--pipeline 16` beside depth 1; 64 KiB payloads
//! beside the C client; send lag of an open loop at 20,000/s with each `--pacing`.

mod tools;

use loadgen::record::Measurement;
use loadgen::subject::{self, Request};
use loadgen::units::{count_f64, ns_to_us};
use std::net::SocketAddr;
use std::process::exit;
use tools::{CLIENT_CPU, CLIENTS, Load, Run};

const SERVER_CPU: usize = 0;
/// Planned rate of the open loop, messages per second.
const RATE_PER_S: u64 = 20_000;

/// How much is measured.
struct Extent {
    target: String,
    rounds: usize,
    /// Of the parts with two contestants, and of the open loop.
    short_rounds: usize,
    seconds: f64,
}

fn main() {
    let extent = extent();
    tools::check_installed();
    let server = subject::obtain(&Request {
        server_cpus: &[SERVER_CPU],
        ..Request::start(&extent.target)
    })
    .unwrap_or_else(|failure| {
        eprintln!("{failure}");
        exit(failure.exit as i32);
    });
    println!(
        "{} on CPU {SERVER_CPU}, one client thread on CPU {CLIENT_CPU}, {CLIENTS} connections",
        extent.target
    );
    let minimal = tools::compiled();
    let address = server.address();
    let c = |load| tools::minimal_client(&minimal, address, load);
    peers(&extent, address, &c);
    pipeline(&extent, address);
    large(&extent, address, &c);
    open_loop(&extent, address);
    println!("server: {}", server.stop().text);
}

fn extent() -> Extent {
    let mut extent = Extent {
        target: "event-epoll".to_string(),
        rounds: 9,
        short_rounds: 5,
        seconds: 3.0,
    };
    for word in std::env::args().skip(1).filter(|word| word != "--bench") {
        match word.parse() {
            Ok(rounds) => extent.rounds = rounds,
            Err(_) if word == "quick" => (extent.rounds, extent.short_rounds, extent.seconds) = (3, 1, 1.0),
            Err(_) => extent.target = word,
        }
    }
    extent
}

/// 64 bytes, one message under way on each connection: all four tools.
fn peers(extent: &Extent, address: SocketAddr, c: &dyn Fn(Load) -> Run) {
    let load = Load {
        size_bytes: 64,
        depth: 1,
        seconds: extent.seconds,
    };
    println!("\n64 B, depth 1: messages/s and client CPU per message");
    heading(&["loadgen", "redis-benchmark", "wrk", "minimal C"]);
    let mut ratios = [(); 3].map(|()| Vec::new());
    for round in 1..=extent.rounds {
        let ours = tools::loadgen(address, load);
        let peers = [
            tools::redis_benchmark(address, load),
            tools::wrk(address, load),
            c(load),
        ];
        row(round, &[&[ours], &peers[..]].concat());
        for (ratios, peer) in ratios.iter_mut().zip(peers) {
            ratios.push(ours.messages_per_s / peer.messages_per_s);
        }
    }
    let wanted = [("redis-benchmark", 1.6), ("wrk", 1.1), ("minimal C", 0.9)];
    for ((name, wanted), ratios) in wanted.into_iter().zip(&mut ratios) {
        judge(&format!("loadgen / {name}"), ratios, wanted);
    }
}

fn pipeline(extent: &Extent, address: SocketAddr) {
    println!("\n64 B, loadgen at two depths");
    heading(&["--pipeline 16", "--pipeline 1"]);
    let mut ratios = Vec::new();
    for round in 1..=extent.short_rounds {
        let [deep, flat] = [16, 1].map(|depth| {
            let load = Load {
                size_bytes: 64,
                depth,
                seconds: extent.seconds * 0.7,
            };
            tools::loadgen(address, load)
        });
        row(round, &[deep, flat]);
        ratios.push(deep.messages_per_s / flat.messages_per_s);
    }
    judge("depth 16 / depth 1", &mut ratios, 4.0);
}

fn large(extent: &Extent, address: SocketAddr, c: &dyn Fn(Load) -> Run) {
    let load = Load {
        size_bytes: 65_536,
        depth: 1,
        seconds: extent.seconds * 0.7,
    };
    println!("\n64 KiB, depth 1");
    heading(&["loadgen", "minimal C"]);
    let mut ratios = Vec::new();
    for round in 1..=extent.short_rounds {
        let (ours, theirs) = (tools::loadgen(address, load), c(load));
        row(round, &[ours, theirs]);
        ratios.push(ours.messages_per_s / theirs.messages_per_s);
    }
    judge("loadgen / minimal C", &mut ratios, 0.9);
}

/// Send lag at a planned rate. Only runs that met every gate count.
fn open_loop(extent: &Extent, address: SocketAddr) {
    println!("\nopen loop at {RATE_PER_S}/s: send lag");
    for (pacing, p99_us) in [("hybrid", 50.0), ("spin", 50.0), ("sleep", 100.0)] {
        println!(
            "{pacing:>8} {:>10} {:>10} {:>14} {:>12} {:>10}",
            "p50 us", "p99 us", "sent/planned", "of its CPU", "spinning"
        );
        let (mut p50, mut p99, mut clean) = (Vec::new(), Vec::new(), 0);
        for round in 1..=extent.short_rounds {
            let seconds = format!("{:.0}ms", extent.seconds * 1000.0);
            let rate = RATE_PER_S.to_string();
            let flags = [
                "--rate",
                &rate,
                "--pacing",
                pacing,
                "--duration",
                &seconds,
                "--warmup",
                "500ms",
            ];
            let (record, _) = tools::record(address, &flags);
            let lag = &record.latency_ns.send_lag;
            let us = |ns: Option<u64>| ns.map_or(f64::NAN, ns_to_us);
            let cost = &record.loadgen_cost;
            println!(
                "{round:>8} {:>10.1} {:>10.1} {:>14.4} {:>10.0} % {:>8.0} %   {}",
                us(lag.p50),
                us(lag.p99),
                count_f64(record.counts.sent) / count_f64(record.counts.planned),
                cost.cpu_s / record.throughput.duration_s * 100.0,
                cost.cpu_spin_s / record.throughput.duration_s * 100.0,
                gates(&record)
            );
            if record.valid {
                clean += 1;
                p50.push(us(lag.p50));
                p99.push(us(lag.p99));
            }
        }
        if clean == 0 {
            println!("{pacing}: no run was clean, nothing is claimed");
            continue;
        }
        println!(
            "{pacing}: p50 {} us{}, p99 {} us (wanted: at most {p99_us}), {clean} clean runs",
            spread(&mut p50, 1),
            if pacing == "sleep" { "" } else { " (wanted: at most 5)" },
            spread(&mut p99, 1)
        );
    }
}

/// `clean`, or the gates that were not passed.
fn gates(record: &Measurement) -> String {
    if record.valid {
        return "clean".to_string();
    }
    let gates: Vec<_> = record.reasons.iter().map(|reason| reason.gate.as_str()).collect();
    gates.join(", ")
}

fn heading(tools: &[&str]) {
    let cells: Vec<_> = tools.iter().map(|tool| format!("{tool:>22}")).collect();
    println!("{:>5} {}", "round", cells.join(" "));
}

fn row(round: usize, runs: &[Run]) {
    let cells: Vec<_> = runs
        .iter()
        .map(|run| format!("{:>12.0}/s {:>5.2} us", run.messages_per_s, run.cpu_us_per_message))
        .collect();
    println!("{round:>5} {}", cells.join(" "));
}

fn judge(what: &str, ratios: &mut [f64], wanted: f64) {
    let spread = spread(ratios, 2);
    let verdict = if ratios[ratios.len() / 2] >= wanted {
        "reached"
    } else {
        "MISSED"
    };
    println!("{what:<26} {spread}   wanted: at least {wanted}, {verdict}");
}

/// Median and range.
fn spread(figures: &mut [f64], decimals: usize) -> String {
    figures.sort_by(f64::total_cmp);
    format!(
        "{:.decimals$} ({:.decimals$}..{:.decimals$})",
        figures[figures.len() / 2],
        figures[0],
        figures[figures.len() - 1]
    )
}
