//! Named workloads. `loadgen list` prints them, `--workload NAME` takes them, the suite runs [`SUITE`].

use crate::record::{Arrivals, CloseBy, OpenLoop, Pacing, Payload, Stop, Waiting, Workload};

/// A workload with a name and a sentence on what it shows.
pub struct Preset {
    pub name: &'static str,
    pub about: &'static str,
    build: fn() -> Workload,
}

impl Preset {
    /// The workload, complete.
    #[must_use]
    pub fn workload(&self) -> Workload {
        Workload {
            name: self.name.to_string(),
            ..(self.build)()
        }
    }
}

/// Workloads of the default comparison, in this order in the tables.
pub const SUITE: &[&str] = &["light", "medium", "steady", "churn", "paced"];

/// Warm-up of a timed trial of a comparison. It is short, so that all targets of a block meet the machine in the same mood; what a
/// longer one would add, more rounds add better.
pub const WARMUP_MS: u64 = 200;
/// A thousand forked processes are as fast as they get only after half a second.
pub(super) const STEADY_WARMUP_MS: u64 = 600;
const MEASURED_MS: u64 = 800;

/// All presets.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "light",
        about: "100 clients connect, send 10 messages each: the original project's small job",
        build: || job(100, 10),
    },
    Preset {
        name: "medium",
        about: "1000 clients connect, send 10 messages each: the original project's large job",
        build: || job(1000, 10),
    },
    Preset {
        name: "steady",
        about: "1000 connected clients, each sends its next message when the reply is there",
        build: || timed(1000, false, STEADY_WARMUP_MS, MEASURED_MS),
    },
    Preset {
        name: "churn",
        about: "100 clients, a new connection for every message",
        build: || timed(100, true, WARMUP_MS, MEASURED_MS),
    },
    Preset {
        name: "paced",
        about: "200 clients, 10,000 messages/s at random times, whatever the server does: where latencies mean something",
        build: paced,
    },
    Preset {
        name: "large",
        about: "100 clients send 64 KiB at a time, four times a server's buffer: what copying costs",
        build: || Workload {
            size_min_bytes: LARGE_BYTES,
            size_max_bytes: LARGE_BYTES,
            ..timed(100, false, WARMUP_MS, MEASURED_MS)
        },
    },
    Preset {
        name: "pipelined",
        about: "100 clients with 16 messages of 64 B under way each: what a message costs when many come at once",
        build: || Workload {
            pipeline: 16,
            ..timed(100, false, WARMUP_MS, MEASURED_MS)
        },
    },
    Preset {
        name: "crowd",
        about: "10,000 clients are connected, 100 of them send: what silent connections cost in memory and in waiting",
        build: || crowd(10_000),
    },
];

/// The preset with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

/// What runs when no workload is named: closed loop, 64 B, 2 s warm-up + 10 s.
#[must_use]
pub fn unnamed(clients: u32) -> Workload {
    timed(clients, false, 2000, 10_000)
}

/// Where a suite counts system calls: one client, which shows the bare sequence, and 32, which show what is batched.
#[must_use]
pub fn counting() -> Vec<Workload> {
    COUNTING_CLIENTS
        .iter()
        .map(|&clients| Workload {
            name: format!("counting-{clients}"),
            ..timed(clients, false, 200, 800)
        })
        .collect()
}

/// See [`counting`].
pub const COUNTING_CLIENTS: [u32; 2] = [1, 32];

fn job(clients: u32, messages: u64) -> Workload {
    Workload {
        stop: Stop::MessagesPerClient(messages),
        warmup_ms: 0,
        ..timed(clients, false, 0, 0)
    }
}

/// What every client of the workload `large` sends at a time.
const LARGE_BYTES: u64 = 64 * 1024;
/// Clients of a crowd that send.
const ACTIVE_CLIENTS: u32 = 100;

/// So many connected, of which a hundred send at the rate of `paced`.
#[must_use]
pub fn crowd(clients: u32) -> Workload {
    Workload {
        name: format!("crowd-{clients}"),
        clients,
        active_clients: Some(ACTIVE_CLIENTS),
        warmup_ms: 300.max(warmup_ms(clients)),
        ..paced()
    }
}

/// A closed loop of so many clients. Ten thousand send a few messages a second each, so that more time has to be measured.
#[must_use]
pub fn closed(clients: u32) -> Workload {
    let measured_ms = if clients > 1000 { 2000 } else { MEASURED_MS };
    Workload {
        name: format!("clients-{clients}"),
        ..timed(clients, false, warmup_ms(clients), measured_ms)
    }
}

/// Until servers with so many clients are as fast as they get.
fn warmup_ms(clients: u32) -> u64 {
    match clients {
        0..1000 => WARMUP_MS,
        1000 => STEADY_WARMUP_MS,
        _ => 2000,
    }
}

/// As many clients as under load, as fast as they get answers: what [`at_load`] takes shares of.
#[must_use]
pub fn saturated() -> Workload {
    Workload {
        name: "saturated".to_string(),
        ..timed(paced().clients, false, WARMUP_MS, MEASURED_MS)
    }
}

/// An open loop at a share of what each target reached saturated; the rate is known once that has been measured.
#[must_use]
pub fn at_load(percent: u32) -> Workload {
    let paced = paced();
    Workload {
        name: format!("load-{percent}"),
        percent_of_saturated: Some(percent),
        pacing: match paced.pacing {
            Pacing::OpenLoop(open) => Pacing::OpenLoop(OpenLoop { rate_per_s: 0, ..open }),
            closed @ Pacing::ClosedLoop => closed,
        },
        ..paced
    }
}

/// The same work for every target. 12,000 messages carry a p99 of their own, with a fifth to spare.
fn paced() -> Workload {
    Workload {
        pacing: Pacing::OpenLoop(OpenLoop {
            rate_per_s: 10_000,
            arrivals: Arrivals::Poisson,
            ramp_ms: 0,
            waiting: Waiting::Hybrid,
        }),
        ..timed(200, false, 300, 1200)
    }
}

pub(super) fn timed(clients: u32, churn: bool, warmup_ms: u64, duration_ms: u64) -> Workload {
    Workload {
        name: "custom".to_string(),
        clients,
        size_min_bytes: 64,
        size_max_bytes: 64,
        pipeline: 1,
        churn,
        messages_per_connection: None,
        payload: Payload::Binary,
        close: CloseBy::Fin,
        beside: None,
        crash: false,
        pacing: Pacing::ClosedLoop,
        active_clients: None,
        percent_of_saturated: None,
        stop: Stop::AfterMs(duration_ms),
        warmup_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_of_the_suite_is_a_preset() {
        assert!(
            SUITE
                .iter()
                .all(|name| find(name).is_some_and(|preset| preset.workload().name == *name))
        );
    }

    #[test]
    fn the_originals_jobs_are_100_and_1000_clients_with_10_messages() {
        let planned = |name: &str| find(name).unwrap().workload().messages_planned();
        assert_eq!([planned("light"), planned("medium")], [Some(1000), Some(10_000)]);
    }

    #[test]
    fn a_total_that_does_not_divide_is_dealt_to_the_first_clients() {
        let workload = Workload {
            stop: Stop::TotalMessages(10),
            ..job(4, 1)
        };
        let dealt: Vec<_> = (0..4)
            .map(|client| workload.messages_of_client(client).unwrap())
            .collect();
        assert_eq!(dealt, [3, 3, 2, 2]);
    }
}
