//! The kernel's TCP counters that tell of lost or refused segments. They count for the whole network namespace.

use crate::record::Network;
use std::fs;

/// Growth between two readings.
#[must_use]
pub fn growth(before: &Network, after: &Network) -> Network {
    Network {
        listen_drops: after.listen_drops.saturating_sub(before.listen_drops),
        retransmits: after.retransmits.saturating_sub(before.retransmits),
        timeouts: after.timeouts.saturating_sub(before.timeouts),
        backlog_drops: after.backlog_drops.saturating_sub(before.backlog_drops),
    }
}

/// Reads now; none where the kernel does not tell.
#[must_use]
pub fn read() -> Option<Network> {
    let netstat = fs::read_to_string("/proc/net/netstat").ok()?;
    let snmp = fs::read_to_string("/proc/net/snmp").ok()?;
    parse(&netstat, &snmp)
}

/// The counters since boot from the texts of /proc/net/netstat and /proc/net/snmp.
#[must_use]
pub fn parse(netstat: &str, snmp: &str) -> Option<Network> {
    let extended = |name| counter(netstat, "TcpExt:", name);
    Some(Network {
        listen_drops: extended("ListenOverflows")?.max(extended("ListenDrops")?),
        retransmits: counter(snmp, "Tcp:", "RetransSegs")?,
        timeouts: extended("TCPTimeouts")?,
        backlog_drops: extended("TCPBacklogDrop")?,
    })
}

/// A counter of a file that has a line of names and a line of values for each protocol.
fn counter(text: &str, protocol: &str, name: &str) -> Option<u64> {
    let mut lines = text
        .lines()
        .filter(|line| line.split_whitespace().next() == Some(protocol));
    let (names, values) = (lines.next()?, lines.next()?);
    let place = names.split_whitespace().position(|word| word == name)?;
    values.split_whitespace().nth(place)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_below_its_name() {
        let text = "Ip: Forwarding DefaultTTL\nIp: 1 64\nTcp: RtoMin RetransSegs InErrs\nTcp: 200 17 0\n";
        assert_eq!(counter(text, "Tcp:", "RetransSegs"), Some(17));
        assert_eq!(counter(text, "Tcp:", "NoSuch"), None);
    }

    #[test]
    fn this_kernel_tells() {
        assert!(read().is_some());
    }
}
