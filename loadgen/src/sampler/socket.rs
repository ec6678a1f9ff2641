//! TCP sockets of this machine and who holds them: those that listen, and the server's end of a connection.

use super::process;
use procfs::net::{TcpNetEntries, TcpNetEntry, TcpState};
use procfs::{FromBufReadSI, ProcResult, current_system_info};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::BufReader;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;

/// The first process of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub pid: u32,
    /// File name of the executable, or the kernel's name of the process.
    pub name: String,
    /// Null when it belongs to someone else.
    pub executable: Option<PathBuf>,
    pub command: Vec<String>,
}

/// Inodes of the sockets that take connections to `address` in this network namespace; empty when none does.
///
/// # Errors
/// When the kernel does not tell.
pub fn listeners(address: SocketAddr) -> Result<Vec<u64>, String> {
    let v4 = table("tcp").map_err(|error| format!("the table of TCP sockets cannot be read: {error}"))?;
    // A kernel without IPv6 has no such file.
    let v6 = table("tcp6").unwrap_or_default();
    Ok(listening_inodes(address, v4.iter().chain(&v6)))
}

/// TCP sockets of the calling thread's network namespace: `/proc/net` would be the first thread's.
fn table(file: &str) -> ProcResult<Vec<TcpNetEntry>> {
    let file = File::open(format!("/proc/thread-self/net/{file}"))?;
    TcpNetEntries::from_buf_read(BufReader::new(file), current_system_info()).map(|entries| entries.0)
}

fn listening_inodes<'a>(address: SocketAddr, entries: impl Iterator<Item = &'a TcpNetEntry>) -> Vec<u64> {
    entries
        .filter(|entry| entry.state == TcpState::Listen && takes(entry.local_address, address))
        .map(|entry| entry.inode)
        .collect()
}

/// Whether a socket bound to `bound` takes connections to `address`; `[::]` takes those over IPv4 as well.
fn takes(bound: SocketAddr, address: SocketAddr) -> bool {
    let is_wildcard = match bound.ip().to_canonical() {
        IpAddr::V4(ip) => ip.is_unspecified() && address.is_ipv4(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    bound.port() == address.port() && (is_wildcard || bound.ip().to_canonical() == address.ip().to_canonical())
}

/// The processes that hold the server's end of a connection between these addresses in this network namespace.
///
/// # Errors
/// When the kernel does not tell, knows no such connection, or shows nobody who holds it.
pub fn holders(server: SocketAddr, client: SocketAddr) -> Result<Vec<process::Entry>, String> {
    let v4 = table("tcp").map_err(|error| format!("the table of TCP sockets cannot be read: {error}"))?;
    let v6 = table("tcp6").unwrap_or_default();
    let inode = connection_inode(server, client, v4.iter().chain(&v6))
        .ok_or_else(|| format!("no connection from {client} to {server} is in the table of TCP sockets"))?;
    let holders: Vec<process::Entry> = process::pids()
        .filter(|pid| sockets_of(*pid).contains(&inode))
        .filter_map(process::entry)
        .collect();
    if holders.is_empty() {
        return Err("the process that holds the connection belongs to another user or another container".into());
    }
    Ok(holders)
}

/// The socket of the server's end, which may be an IPv6 one that takes IPv4 too.
fn connection_inode<'a>(
    server: SocketAddr,
    client: SocketAddr,
    mut entries: impl Iterator<Item = &'a TcpNetEntry>,
) -> Option<u64> {
    let is = |one: SocketAddr, other: SocketAddr| {
        one.port() == other.port() && one.ip().to_canonical() == other.ip().to_canonical()
    };
    entries
        .find(|entry| is(entry.local_address, server) && is(entry.remote_address, client))
        .map(|entry| entry.inode)
}

/// Who holds these sockets: each server once, however many processes and sockets it has, the oldest first. A socket
/// that several processes hold is its parent's, else the oldest one's; and the forked workers of one server are it.
///
/// # Errors
/// When no process that may be looked into holds one of them.
pub fn owners(inodes: &[u64]) -> Result<Vec<Owner>, String> {
    let held: Vec<(process::Entry, HashSet<u64>)> = process::pids()
        .filter_map(|pid| {
            let held = sockets_of(pid);
            let of_these: HashSet<u64> = inodes.iter().copied().filter(|inode| held.contains(inode)).collect();
            (!of_these.is_empty()).then_some(())?;
            Some((process::entry(pid)?, of_these))
        })
        .collect();
    let mut firsts: Vec<process::Entry> = Vec::new();
    for inode in inodes {
        let holders: Vec<&process::Entry> = held
            .iter()
            .filter(|(_, sockets)| sockets.contains(inode))
            .map(|(entry, _)| entry)
            .collect();
        let pids: HashSet<u32> = holders.iter().map(|entry| entry.pid).collect();
        let first = holders
            .into_iter()
            .min_by_key(|entry| (pids.contains(&entry.parent), entry.started_ticks, entry.pid))
            .ok_or("its process belongs to another user or another container")?;
        let first = first_of_server(*first);
        if !firsts.iter().any(|known| known.pid == first.pid) {
            firsts.push(first);
        }
    }
    firsts.sort_by_key(|first| (first.started_ticks, first.pid));
    Ok(firsts.iter().map(|first| owner(first.pid)).collect())
}

fn owner(pid: u32) -> Owner {
    Owner {
        pid,
        name: process::name(pid).unwrap_or_else(|| "a process that just ended".into()),
        executable: process::executable(pid),
        command: process::command(pid).unwrap_or_default(),
    }
}

/// The topmost process from which this one descends by forks alone: all of them run the same file with the same words.
fn first_of_server(mut entry: process::Entry) -> process::Entry {
    let what = |pid: u32| Some((process::executable(pid)?, process::command(pid)?));
    while let Some(parent) = process::entry(entry.parent)
        && what(entry.pid).is_some_and(|own| what(parent.pid) == Some(own))
    {
        entry = parent;
    }
    entry
}

/// Inodes of the sockets of a process; empty when it may not be looked into.
fn sockets_of(pid: u32) -> HashSet<u64> {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return HashSet::new();
    };
    descriptors
        .flatten()
        .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
        .collect()
}

/// Whether an address is one of this network namespace: only then its processes can be looked for.
#[must_use]
pub fn is_of_this_machine(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const TABLE: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1001 1 0 100 0 0 10 0
   1: 00000000:1F42 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1002 1 0 100 0 0 10 0
   2: 0100007F:1F41 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 1003 1 0 20 4 0 10 -1
   3: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1004 1 0 100 0 0 10 0
";
    const TABLE6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:1F43 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2001 1 0 100 0 0 10 0
   1: 00000000000000000000000001000000:1F44 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2002 1 0 100 0 0 10 0
";

    const NONE: [u64; 0] = [];

    fn found(address: &str) -> Vec<u64> {
        let table = |text: &str| {
            TcpNetEntries::from_buf_read(text.as_bytes(), current_system_info())
                .unwrap()
                .0
        };
        let entries = [table(TABLE), table(TABLE6)].concat();
        listening_inodes(address.parse().unwrap(), entries.iter())
    }

    #[test]
    fn every_listener_of_a_shared_port_is_found_and_connections_are_not() {
        assert_eq!(found("127.0.0.1:8001"), [1001, 1004]);
    }

    #[test]
    fn wildcard_listeners_take_what_is_sent_to_loopback() {
        assert_eq!(found("127.0.0.1:8002"), [1002]);
        assert_eq!(found("[::1]:8002"), NONE);
        assert_eq!(found("127.0.0.1:8003"), [2001]);
        assert_eq!(found("[::1]:8003"), [2001]);
    }

    #[test]
    fn a_listener_on_another_address_is_not_taken_for_ours() {
        assert_eq!(found("[::1]:8004"), [2002]);
        assert_eq!(found("127.0.0.1:8004"), NONE);
        assert_eq!(found("127.0.0.1:8005"), NONE);
    }

    #[test]
    fn the_owner_of_a_listener_of_this_process_is_this_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inodes = listeners(listener.local_addr().unwrap()).unwrap();
        assert_eq!(inodes.len(), 1);
        let owners = owners(&inodes).unwrap();
        assert_eq!(owners.len(), 1);
        let owner = &owners[0];
        assert_eq!(owner.pid, std::process::id());
        assert_eq!(owner.executable, std::env::current_exe().ok());
    }

    #[test]
    fn the_servers_end_of_a_connection_is_told_from_the_clients() {
        let entries = TcpNetEntries::from_buf_read(TABLE.as_bytes(), current_system_info())
            .unwrap()
            .0;
        let find = |server: &str, client: &str| {
            connection_inode(server.parse().unwrap(), client.parse().unwrap(), entries.iter())
        };
        assert_eq!(find("127.0.0.1:8001", "127.0.0.1:49153"), Some(1003));
        assert_eq!(find("127.0.0.1:49153", "127.0.0.1:8001"), None);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_accepted, from) = listener.accept().unwrap();
        let holders = holders(client.peer_addr().unwrap(), from).unwrap();
        let own = std::process::id();
        assert!(holders.iter().any(|holder| holder.pid == own), "{holders:?}");
    }

    #[test]
    fn loopback_is_of_this_machine_and_a_documentation_address_is_not() {
        assert!(is_of_this_machine("127.0.0.2".parse().unwrap()));
        assert!(!is_of_this_machine("192.0.2.1".parse().unwrap()));
    }
}
