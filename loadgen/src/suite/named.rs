//! Suites that are asked for by a name and bring their own workloads. Pure.

use super::{conclusions, neighbour};
use crate::record::Workload;
use std::time::Duration;

/// A suite with a name.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    pub name: &'static str,
    /// What it shows, one sentence.
    pub about: &'static str,
    pub workloads: fn() -> Vec<Workload>,
    /// Within which its rounds should fit, where nobody says otherwise.
    pub budget: Duration,
    /// Whether it ends processes of the servers, which only those can be asked for that loadgen starts.
    pub crashes: bool,
}

/// All of them.
pub const NAMED: [Named; 2] = [
    Named {
        name: neighbour::NAME,
        about: "99 polite clients alone and beside one that streams without pause: what it does to the others",
        workloads: || neighbour::workloads(neighbour::Size::FULL),
        budget: Duration::from_secs(10 * 60),
        crashes: false,
    },
    Named {
        name: conclusions::NAME,
        about: "what a crash takes with it, work that holds up others, what a connection costs to make and to keep, switching",
        workloads: || conclusions::workloads(conclusions::Size::FULL),
        budget: Duration::from_secs(35 * 60),
        crashes: true,
    },
];

/// The suite with this name.
#[must_use]
pub fn find(name: &str) -> Option<Named> {
    NAMED.into_iter().find(|named| named.name == name)
}
