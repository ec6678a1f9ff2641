//! What nobody needs any more: servers and control groups of loadgens that were killed, and of this one when it has to end
//! before its own order of things is through.

use super::container;
use super::spawn::kill_all;
use crate::environment::network;
use crate::sampler::{cgroup, process};
use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Longest wait for a group to become empty once its processes are dead.
const REMOVE_LIMIT: Duration = Duration::from_secs(2);

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub groups: usize,
    pub processes: usize,
    /// Containers that a user's command had started, as in `container mine (my-image)`.
    pub containers: Vec<String>,
    /// The user's own servers among all these.
    pub servers: BTreeSet<String>,
}

/// Ends servers of dead loadgens, those that still run in their groups and those of the user that say who started them, and
/// removes the groups. What a living loadgen made is not touched.
#[must_use]
pub fn remove_leftovers() -> Removed {
    let mut removed = Removed::default();
    let leftovers = cgroup::leftovers();
    // The same process is in a group of each hierarchy, and marked besides.
    let in_groups = || leftovers.iter().flat_map(cgroup::Leftover::processes);
    let marked = || marked().into_iter().filter(|(_, mark)| mark.maker_is_dead());
    for (pid, mark) in marked() {
        // The engine's command may have gone down with its loadgen, and its container not.
        removed.containers.extend(end_container_of(pid, &mark));
        removed.servers.insert(mark.name);
    }
    removed.processes = kill_all(|| {
        let all: BTreeSet<u32> = in_groups().chain(marked().map(|(pid, _)| pid)).collect();
        all.into_iter().collect()
    });
    removed.groups = leftovers.into_iter().filter(|group| group.remove(REMOVE_LIMIT)).count();
    removed
}

/// Ends the container that this command of a dead loadgen has started, and says which.
fn end_container_of(pid: u32, mark: &Mark) -> Option<String> {
    let is_engine = process::name(pid).is_some_and(|name| name == "docker");
    if !is_engine || !mark.is_on_hosts_network {
        return None;
    }
    let container = container::answering(SocketAddr::from((Ipv4Addr::LOCALHOST, mark.port))).ok()??;
    container::end(&container.id).ok()?.then(|| container.describe())
}

/// Kills the servers that this process has started, whoever waits for them, and removes their groups.
pub fn end_servers() {
    let own = std::process::id();
    kill_all(|| {
        process::tree(own)
            .iter()
            .map(|entry| entry.pid)
            .filter(|pid| *pid != own)
            .collect()
    });
    for group in cgroup::of_process(own) {
        let _ = group.remove(REMOVE_LIMIT);
    }
}

/// Who started a server of the user's own: all its processes have this in their environment, wherever they went. Its text is
/// always as long, since a longer environment moves a program's stack, and with it its speed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    name: String,
    port: u16,
    is_on_hosts_network: bool,
    /// The loadgen, by its id and when it began.
    maker: u32,
    maker_started_ticks: u64,
}

impl Mark {
    pub(super) const VARIABLE: &str = "LOADGEN_STARTED";

    /// For a server that this process starts now.
    pub(super) fn of(name: &str, port: u16) -> Self {
        let own = std::process::id();
        Self {
            name: name.to_owned(),
            port,
            is_on_hosts_network: !network::is_private(),
            maker: own,
            maker_started_ticks: process::entry(own).map_or(0, |entry| entry.started_ticks),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let mark = Self {
            name: words.next()?.to_owned(),
            port: words.next()?.parse().ok()?,
            is_on_hosts_network: words.next()? == "host",
            maker: words.next()?.parse().ok()?,
            maker_started_ticks: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(mark)
    }

    fn maker_is_dead(&self) -> bool {
        let maker = process::entry(self.maker);
        maker.is_none_or(|maker| maker.started_ticks != self.maker_started_ticks || maker.is_dead())
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = if self.is_on_hosts_network { "host" } else { "own" };
        write!(
            f,
            "{:<40} {:<5} {network:<4} {:<10} {:<20}",
            self.name, self.port, self.maker, self.maker_started_ticks
        )
    }
}

/// Processes of the user's servers, of any loadgen.
fn marked() -> Vec<(u32, Mark)> {
    let found = process::with_variable(Mark::VARIABLE).into_iter();
    found
        .filter_map(|(pid, text)| Some((pid, Mark::read(&text)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_always_as_long() {
        let short = Mark::of("a", 1);
        let long = Mark::of(&"b".repeat(40), 65_535);
        for mark in [&short, &long] {
            assert_eq!(Mark::read(&mark.to_string()).as_ref(), Some(mark));
            assert!(!mark.maker_is_dead(), "it is this process");
        }
        assert_eq!(short.to_string().len(), long.to_string().len());
        assert_eq!(Mark::read("something else"), None);
    }

    #[test]
    fn a_process_that_has_another_ones_id_is_not_the_maker() {
        let mut mark = Mark::of("a", 1);
        mark.maker_started_ticks -= 1;
        assert!(mark.maker_is_dead());
    }
}
