//! The suite `neighbour`: polite clients, alone and beside a greedy one. How much of a server one client can take from the others. Pure.

use super::preset::timed;
use crate::record::{Arrivals, Beside, OpenLoop, Pacing, Waiting, Workload};

/// Name of the suite.
pub const NAME: &str = "neighbour";
/// Workload of the polite clients alone.
pub const ALONE: &str = "polite";
/// The same beside the greedy one.
pub const BESIDE_GREEDY: &str = "beside-greedy";

/// Messages per second of all polite clients together: far less than any server can answer.
const RATE_PER_S: u64 = 10_000;
/// Messages of a polite client that may be under way, so that they leave at their planned times also while the server does not
/// answer for some tens of milliseconds.
const PIPELINE: u32 = 16;
/// What the greedy one has under way at any time: a megabyte.
const GREEDY: Beside = Beside {
    clients: 1,
    size_bytes: 16 * 1024,
    pipeline: 64,
    work_ns: None,
};

/// How large the suite is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Polite clients.
    pub polite: u32,
    pub measured_ms: u64,
}

impl Size {
    /// 12,000 messages carry a p99 of their own, with a fifth to spare.
    pub const FULL: Self = Self {
        polite: 99,
        measured_ms: 1200,
    };
}

/// In the order of the tables.
#[must_use]
pub fn workloads(size: Size) -> Vec<Workload> {
    vec![polite(ALONE, size, None), polite(BESIDE_GREEDY, size, Some(GREEDY))]
}

/// Polite clients, alone or beside others.
pub(super) fn polite(name: &str, size: Size, beside: Option<Beside>) -> Workload {
    Workload {
        name: name.to_string(),
        pipeline: PIPELINE,
        beside,
        pacing: Pacing::OpenLoop(OpenLoop {
            rate_per_s: RATE_PER_S,
            arrivals: Arrivals::Poisson,
            ramp_ms: 0,
            waiting: Waiting::Hybrid,
        }),
        ..timed(
            size.polite + beside.map_or(0, |beside| beside.clients),
            false,
            300,
            size.measured_ms,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;

    #[test]
    fn the_polite_clients_are_the_same_with_and_without_the_greedy_one() {
        let [alone, beside] = &workloads(Size::FULL)[..] else {
            panic!()
        };
        assert_eq!((alone.measured_clients(), beside.measured_clients()), (99, 99));
        assert_eq!((alone.clients, beside.clients), (99, 100));
        assert_eq!(alone.pacing, beside.pacing);
        assert_eq!(
            text::workload(beside),
            "99 clients, 64 B, 16 under way per client, open loop at 10,000/s at random (Poisson), beside 1 client without pauses \
             (16 KiB, 64 under way), 0.3 s warm-up + 1.2 s"
        );
    }
}
