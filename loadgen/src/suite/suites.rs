//! Named suites: what each runs, and for how long. `loadgen list` prints them, `compare --suite NAME` takes them, `--suite full`
//! runs all of them, one after another. Pure.
//!
//! A new suite is a line of [`SUITES`], and a variant of [`Kind`] where its workloads are of a new kind.

use super::load::Load;
use super::{conclusions, neighbour, preset};
use crate::record::Workload;
use std::time::Duration;

/// A suite with a name and a sentence on what it shows.
pub struct Named {
    pub name: &'static str,
    pub about: &'static str,
    kind: Kind,
    /// Rounds unless it is said otherwise; those that saturate the targets come on top.
    pub rounds: u32,
    budget_minutes: u64,
}

/// What a suite's workloads are.
#[derive(Clone, Copy)]
enum Kind {
    /// Presets, and whether system calls are counted too.
    Presets(&'static [&'static str], Counting),
    /// Closed loops of so many clients each.
    Clients(&'static [u32]),
    /// Open loops at these shares of what each target reaches saturated, in percent.
    Load(&'static [u32]),
    /// So many connected clients each, of which always as many send.
    Crowd(&'static [u32]),
    /// Workloads of a room of its own.
    Own(fn() -> Vec<Workload>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Counting {
    Counted,
    NotCounted,
}

/// The name that stands for all suites, one after another.
pub const FULL: &str = "full";

/// All suites, in the order in which `full` runs them.
pub const SUITES: &[Named] = &[
    Named {
        name: "default",
        about: "the five workloads that everything is compared by",
        kind: Kind::Presets(preset::SUITE, Counting::Counted),
        rounds: 10,
        budget_minutes: 7,
    },
    Named {
        name: "seed",
        about: "the original project's two jobs",
        kind: Kind::Presets(&["light", "medium"], Counting::NotCounted),
        rounds: 10,
        budget_minutes: 6,
    },
    Named {
        name: "load",
        about: "response times at 20, 50, 80 and 95 % of what each target reaches saturated, which is measured first",
        kind: Kind::Load(&[20, 50, 80, 95]),
        rounds: 6,
        budget_minutes: 14,
    },
    Named {
        name: "clients",
        about: "1 to 10,000 clients in a closed loop: messages/s, CPU per message and memory over clients",
        kind: Kind::Clients(&[1, 10, 100, 1000, 10_000]),
        rounds: 6,
        budget_minutes: 20,
    },
    Named {
        name: "large",
        about: "64 KiB messages, and small ones of which many are under way",
        kind: Kind::Presets(&["large", "pipelined"], Counting::NotCounted),
        rounds: 6,
        budget_minutes: 6,
    },
    Named {
        name: "crowd",
        about: "100 to 10,000 connected clients of which 100 send: memory and response times over connections",
        kind: Kind::Crowd(&[100, 1000, 10_000]),
        rounds: 6,
        budget_minutes: 18,
    },
    Named {
        name: neighbour::NAME,
        about: "99 polite clients alone and beside one that streams without pause: what it does to the others",
        kind: Kind::Own(|| neighbour::workloads(neighbour::Size::FULL)),
        rounds: 10,
        budget_minutes: 10,
    },
    Named {
        name: conclusions::NAME,
        about: "what a crash takes with it, work that holds up others, what a connection costs to make and to keep, switching",
        kind: Kind::Own(|| conclusions::workloads(conclusions::Size::FULL)),
        rounds: 10,
        budget_minutes: 35,
    },
];

/// The suite with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Named> {
    SUITES.iter().find(|suite| suite.name == name)
}

/// All names that may be asked for.
#[must_use]
pub fn names() -> Vec<&'static str> {
    SUITES.iter().map(|suite| suite.name).chain([FULL]).collect()
}

impl Named {
    /// In the order of the tables.
    ///
    /// # Panics
    /// Never: the names of presets are in this file, and a test finds each.
    #[must_use]
    pub fn workloads(&self) -> Vec<Workload> {
        let of_preset = |name: &&str| preset::find(name).expect("the name of a preset").workload();
        match self.kind {
            Kind::Presets(names, _) => names.iter().map(of_preset).collect(),
            Kind::Clients(numbers) => numbers.iter().copied().map(preset::closed).collect(),
            Kind::Load(shares) => Load::workloads(shares),
            Kind::Crowd(numbers) => numbers.iter().copied().map(preset::crowd).collect(),
            Kind::Own(workloads) => workloads(),
        }
    }

    /// Workloads under which system calls are counted.
    #[must_use]
    pub fn counting(&self) -> Vec<Workload> {
        match self.kind {
            Kind::Presets(_, Counting::Counted) => preset::counting(),
            _ => Vec::new(),
        }
    }

    /// Whether one target runs twice in each block. What a crash or a greedy client does is no matter of some percent.
    #[must_use]
    pub fn has_control(&self) -> bool {
        !matches!(self.kind, Kind::Own(_))
    }

    /// No further round starts that would not end within this time, unless it is said otherwise.
    #[must_use]
    pub fn budget(&self) -> Duration {
        Duration::from_secs(60 * self.budget_minutes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_suite_has_workloads_with_names_of_their_own() {
        for suite in SUITES {
            let workloads = suite.workloads();
            let names: BTreeSet<&str> = workloads.iter().map(|workload| workload.name.as_str()).collect();
            assert!(!names.is_empty() && names.len() == workloads.len(), "{}", suite.name);
            assert!(find(suite.name).is_some() && suite.name != FULL);
        }
    }

    #[test]
    fn a_crowd_has_a_hundred_who_send_and_the_last_has_one_in_a_hundred() {
        let crowd = find("crowd").unwrap().workloads();
        let active = |workload: &Workload| {
            (0..workload.clients)
                .filter(|client| workload.is_active(*client))
                .count()
        };
        assert_eq!(crowd.iter().map(active).collect::<Vec<_>>(), [100, 100, 100]);
        assert_eq!(crowd.last().map(|workload| workload.clients), Some(10_000));
    }
}
