//! The suite `conclusions`: what the class project that this one follows ended with, measured. A crash and what it takes with it,
//! work that holds up others, what a connection costs to make and to keep, and how often clients are switched between. Pure.

pub mod drawn;

use super::neighbour::{self, polite};
use super::preset::{self, timed};
use crate::record::{Arrivals, Beside, OpenLoop, Pacing, Waiting, Workload};

/// Name of the suite.
pub const NAME: &str = "conclusions";
/// Workload of the crash.
pub const ISOLATION: &str = "isolation";
/// Polite clients alone, as in the suite `neighbour`.
pub const ALONE: &str = neighbour::ALONE;
/// The same beside one whose requests cost.
pub const BESIDE_WORK: &str = "beside-work";
/// A connection for each message, as many as the server takes.
pub const CHURN: &str = "churn";
/// The same at a rate that is the same for all.
pub const CHURN_PACED: &str = "churn-paced";

/// CPU time of a request that costs.
const WORK_NS: u64 = 20_000_000;
/// Connections per second of [`CHURN_PACED`].
const CONNECTIONS_PER_S: u64 = 1_000;

/// How large the suite is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Clients of the crash.
    pub crowd: u32,
    pub polite: neighbour::Size,
    /// Clients between which a server switches, a workload for each number; memory is read with [`Size::crowd`].
    pub switching: &'static [u32],
    pub measured_ms: u64,
}

impl Size {
    pub const FULL: Self = Self {
        crowd: 1_000,
        polite: neighbour::Size::FULL,
        switching: &[10, 100, 1_000, 10_000],
        measured_ms: 800,
    };
}

/// In the order of the tables.
#[must_use]
pub fn workloads(size: Size) -> Vec<Workload> {
    let work = Beside {
        clients: 1,
        size_bytes: 64,
        pipeline: 1,
        work_ns: Some(WORK_NS),
    };
    let churn = timed(100, true, preset::WARMUP_MS, size.measured_ms);
    let mut workloads = vec![
        Workload {
            name: ISOLATION.to_string(),
            crash: true,
            ..timed(size.crowd, false, 0, 0)
        },
        polite(ALONE, size.polite, None),
        polite(BESIDE_WORK, size.polite, Some(work)),
        Workload {
            name: CHURN.to_string(),
            ..churn.clone()
        },
        Workload {
            name: CHURN_PACED.to_string(),
            pacing: Pacing::OpenLoop(OpenLoop {
                rate_per_s: CONNECTIONS_PER_S,
                arrivals: Arrivals::Poisson,
                ramp_ms: 0,
                waiting: Waiting::Hybrid,
            }),
            ..churn
        },
    ];
    workloads.extend(size.switching.iter().map(|clients| Workload {
        name: switching_name(*clients),
        ..timed(*clients, false, warmup_ms(*clients), size.measured_ms)
    }));
    workloads
}

/// `switching-1000`.
#[must_use]
pub fn switching_name(clients: u32) -> String {
    format!("switching-{clients}")
}

/// The clients of a workload of switching; none of another one.
#[must_use]
pub fn switching_clients(workload: &Workload) -> Option<u32> {
    (workload.name == switching_name(workload.clients)).then_some(workload.clients)
}

/// Many forked processes are as fast as they get only after a while.
fn warmup_ms(clients: u32) -> u64 {
    match clients {
        ..1_000 => preset::WARMUP_MS,
        _ => preset::STEADY_WARMUP_MS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_workload_has_a_name_of_its_own_and_only_one_is_a_crash() {
        let workloads = workloads(Size::FULL);
        let names: BTreeSet<&str> = workloads.iter().map(|workload| workload.name.as_str()).collect();
        assert_eq!(names.len(), workloads.len());
        let crashes: Vec<&str> = workloads
            .iter()
            .filter(|workload| workload.crash)
            .map(|workload| workload.name.as_str())
            .collect();
        assert_eq!(crashes, [ISOLATION]);
    }

    #[test]
    fn clients_of_switching_go_from_ten_to_ten_thousand() {
        let clients: Vec<u32> = workloads(Size::FULL).iter().filter_map(switching_clients).collect();
        assert_eq!(clients, [10, 100, 1_000, 10_000]);
    }
}
