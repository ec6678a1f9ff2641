//! The kernel's TCP counters that tell of lost or refused segments, and room in the table of
//! tracked connections. They hold for the network namespace of the calling thread, so `/proc/net` is not read: it is the first
//! thread's.

use crate::record::Network;
use crate::units::share;
use std::fs;

/// Counters of retransmissions that turned out not to have been needed.
const UNDONE: [&str; 4] = ["TCPFullUndo", "TCPPartialUndo", "TCPDSACKUndo", "TCPLossUndo"];

/// Growth between two readings.
#[must_use]
pub fn growth(before: &Network, after: &Network) -> Network {
    let growth = |of: fn(&Network) -> u64| of(after).saturating_sub(of(before));
    Network {
        listen_drops: growth(|network| network.listen_drops),
        retransmits: growth(|network| network.retransmits),
        timeouts: growth(|network| network.timeouts),
        backlog_drops: growth(|network| network.backlog_drops),
        tail_loss_probes: growth(|network| network.tail_loss_probes),
        undone_retransmits: growth(|network| network.undone_retransmits),
        duplicates_seen: growth(|network| network.duplicates_seen),
        duplicates_told: growth(|network| network.duplicates_told),
        syn_retransmits: growth(|network| network.syn_retransmits),
    }
}

/// Reads now; none where the kernel does not tell.
#[must_use]
pub fn read() -> Option<Network> {
    let netstat = fs::read_to_string("/proc/thread-self/net/netstat").ok()?;
    let snmp = fs::read_to_string("/proc/thread-self/net/snmp").ok()?;
    parse(&netstat, &snmp)
}

/// How full the kernel's table of tracked connections is. Each connection takes an entry, a closed one for up to two minutes
/// more, and when none is left the kernel drops what would need one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracking {
    pub count: u64,
    /// Of the whole machine, by `net.netfilter.nf_conntrack_max`.
    pub max: u64,
}

impl Tracking {
    /// From this share of the table on a failure to connect or a lost segment may be its doing.
    const FULL_SHARE: f64 = 0.95;

    /// Connections that still fit.
    #[must_use]
    pub fn room(self) -> u64 {
        self.max.saturating_sub(self.count)
    }

    /// The cause of what was lost, as one phrase, if that is the table.
    #[must_use]
    pub fn cause(self) -> Option<String> {
        share(self.count, self.max).filter(|full| *full >= Self::FULL_SHARE).map(|_| {
            format!(
                "the table of tracked connections is full ({} of {}, net.netfilter.nf_conntrack_max): use --network private, \
                 or wait two minutes",
                self.count, self.max
            )
        })
    }
}

/// How full it is now; none where no connection is tracked.
#[must_use]
pub fn tracking() -> Option<Tracking> {
    let read = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/net/netfilter/nf_conntrack_{name}")).ok()?;
        text.trim().parse().ok()
    };
    let (count, max) = (read("count")?, read("max")?);
    (count > 0).then_some(Tracking { count, max })
}

/// The counters since boot from the texts of /proc/net/netstat and /proc/net/snmp.
#[must_use]
pub fn parse(netstat: &str, snmp: &str) -> Option<Network> {
    let extended = |name: &str| counter(netstat, "TcpExt:", name);
    let sum = |names: &[&str]| names.iter().filter_map(|name| extended(name)).sum();
    Some(Network {
        listen_drops: extended("ListenOverflows")?.max(extended("ListenDrops")?),
        retransmits: counter(snmp, "Tcp:", "RetransSegs")?,
        timeouts: extended("TCPTimeouts")?,
        backlog_drops: extended("TCPBacklogDrop")?,
        // Kernels without them have nothing to leave out. A probe that repaired a loss is one: with small messages every loss is
        // at the tail, and nothing but a probe repairs it.
        tail_loss_probes: extended("TCPLossProbes")
            .unwrap_or(0)
            .saturating_sub(extended("TCPLossProbeRecovery").unwrap_or(0)),
        undone_retransmits: sum(&UNDONE),
        duplicates_seen: sum(&["TCPDSACKOldSent", "TCPDSACKOfoSent"]),
        duplicates_told: sum(&["TCPDSACKRecv", "TCPDSACKOfoRecv"]),
        syn_retransmits: extended("TCPSynRetrans").unwrap_or(0),
    })
}

/// A counter of a file that has a line of names and a line of values for each protocol. (procfs knows no netstat, and of snmp
/// only a whole that fails when one counter is missing.)
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
    fn a_full_table_of_tracked_connections_is_named_and_one_with_room_is_not() {
        let tracking = |count| Tracking { count, max: 262_144 };
        assert_eq!(tracking(262_144 / 2).cause(), None);
        assert_eq!(tracking(262_144 / 2).room(), 131_072);
        let cause = tracking(262_140).cause().unwrap();
        assert!(
            cause.contains("262140 of 262144") && cause.contains("--network private"),
            "{cause}"
        );
        assert_eq!(tracking(262_150).room(), 0, "the kernel may go beyond it for a moment");
    }

    #[test]
    fn a_probe_that_repaired_a_loss_is_a_retransmission() {
        let netstat = "TcpExt: ListenOverflows ListenDrops TCPTimeouts TCPBacklogDrop TCPLossProbes TCPLossProbeRecovery\n\
                       TcpExt: 0 0 2 0 366 196\n";
        let read = parse(netstat, "Tcp: RetransSegs\nTcp: 368\n").unwrap();
        assert_eq!((read.retransmits, read.tail_loss_probes), (368, 170));
    }

    #[test]
    fn what_the_receiver_had_already_is_no_loss() {
        // 256 KiB on a busy machine: the kernel takes 6 probes for repairs, and the receiver had all 250 before.
        let names = "TcpExt: ListenOverflows ListenDrops TCPTimeouts TCPBacklogDrop TCPLossProbes TCPLossProbeRecovery \
                     TCPDSACKOldSent TCPDSACKRecv";
        let lost = |values: &str, sent_again: u64| {
            let netstat = format!("{names}\nTcpExt: 0 0 0 0 {values}\n");
            parse(&netstat, &format!("Tcp: RetransSegs\nTcp: {sent_again}\n"))
                .unwrap()
                .lost_segments()
        };
        assert_eq!(lost("250 6 250 247", 250), 0);
        assert_eq!(
            lost("250 6 244 244", 250),
            6,
            "without that word the probes repaired something"
        );
        assert_eq!(lost("0 0 0 0", 3), 3);
    }

    #[test]
    fn this_kernel_tells() {
        assert!(read().is_some());
    }
}
