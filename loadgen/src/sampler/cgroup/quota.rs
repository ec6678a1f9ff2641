//! How often, and for how long, a CPU quota stopped a process: the quota of its own group, and of each group above it.

use super::counter::{field, read_open};
use super::find::{Hierarchy, places_of_process};
use std::fs::File;
use std::path::Path;

/// Open counters of all groups whose quota holds for a process.
#[derive(Debug, Default)]
pub struct QuotaWatch {
    /// `cpu.stat` of each; none where no group can be seen.
    groups: Vec<File>,
}

/// What one group was held back since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Throttled {
    /// Time, over all CPUs.
    pub ns: u64,
    /// Periods of the quota in which it was used up.
    pub periods: u64,
}

impl QuotaWatch {
    /// Finds the groups of a process (`self` or an id).
    #[must_use]
    pub fn of(process: &str) -> Self {
        let places = places_of_process(process).unwrap_or_default().into_iter();
        let with_quotas = places.filter(|place| matches!(place.hierarchy, Hierarchy::CpuV1 | Hierarchy::V2));
        let groups = with_quotas.flat_map(|place| {
            let of_group = |directory: &Path| File::open(directory.join("cpu.stat")).ok();
            let (mount, directory) = (place.mount, place.directory);
            let above = directory.ancestors().take_while(|group| group.starts_with(&mount));
            above.filter_map(of_group).collect::<Vec<_>>()
        });
        Self {
            groups: groups.collect(),
        }
    }

    /// Of each group, in an order that stays.
    #[must_use]
    pub fn read(&self) -> Vec<Option<Throttled>> {
        let read = |file: &File| parse(&read_open(file)?);
        self.groups.iter().map(read).collect()
    }
}

impl Throttled {
    /// What happened between two readings: of the group that was held back longest, since the quotas of several groups hold a
    /// process back at the same time. None where no group tells.
    #[must_use]
    pub fn between(before: &[Option<Self>], after: &[Option<Self>]) -> Option<Self> {
        let growth = |(before, after): (&Option<Self>, &Option<Self>)| {
            let (before, after) = before.zip(*after)?;
            Some(Self {
                ns: after.ns.saturating_sub(before.ns),
                periods: after.periods.saturating_sub(before.periods),
            })
        };
        before.iter().zip(after).filter_map(growth).max()
    }
}

/// The text of a `cpu.stat`; none for a group that has no quotas (the root of version 2, or the controller is off).
fn parse(text: &str) -> Option<Throttled> {
    let periods = field(text, "nr_throttled")?;
    // Version 1 counts nanoseconds, version 2 microseconds.
    let ns = field(text, "throttled_time").or_else(|| Some(field(text, "throttled_usec")? * 1000))?;
    Some(Throttled { ns, periods })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_cpu_stat_are_read() {
        let v1 = "nr_periods 63\nnr_throttled 60\nthrottled_time 4810000000\n";
        let v2 = "usage_usec 9\nuser_usec 5\nsystem_usec 4\nnr_periods 63\nnr_throttled 60\nthrottled_usec 4810000\n";
        let throttled = Some(Throttled {
            ns: 4_810_000_000,
            periods: 60,
        });
        assert_eq!((parse(v1), parse(v2)), (throttled, throttled));
        assert_eq!(parse("usage_usec 9\nuser_usec 5\nsystem_usec 4\n"), None);
    }

    #[test]
    fn of_several_groups_the_one_that_was_held_back_longest_counts() {
        let reading = |ns, periods| Some(Throttled { ns, periods });
        let before = [reading(5, 1), None, reading(100, 7)];
        let after = [reading(9, 2), reading(900, 9), reading(130, 8)];
        assert_eq!(Throttled::between(&before, &after), reading(30, 1));
        assert_eq!(Throttled::between(&[None], &[None]), None);
    }
}
