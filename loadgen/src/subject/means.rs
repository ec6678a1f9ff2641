//! What the rows of the fault matrix need of sockets and std does not offer: resets at will, small buffers, a flood of SYNs.
//!
//! The flood leaves from addresses that are not this machine's, so it is sent only inside of a network that is loadgen's own.

use crate::environment::network;
use echo_contract::conformance;
use nix::libc::linger;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, setsockopt, socket, sockopt,
};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

/// All of it, as far as the kernel permits.
#[derive(Debug)]
pub struct Means;

impl conformance::Means for Means {
    fn reset_on_close(&self, client: &TcpStream) -> io::Result<()> {
        let at_once = linger {
            l_onoff: 1,
            l_linger: 0,
        };
        Ok(setsockopt(client, sockopt::Linger, &at_once)?)
    }

    fn limit_send_buffer(&self, client: &TcpStream, bytes: usize) -> io::Result<()> {
        Ok(setsockopt(client, sockopt::SndBuf, &bytes)?)
    }

    fn limit_receive_buffer(&self, client: &TcpStream, bytes: usize) -> io::Result<()> {
        Ok(setsockopt(client, sockopt::RcvBuf, &bytes)?)
    }

    fn flood(&self, to: SocketAddr, per_second: u64, time: Duration) -> io::Result<u64> {
        let IpAddr::V4(address) = to.ip() else {
            return Err(io::Error::other("a flood of SYNs needs an IPv4 address"));
        };
        if !network::is_private() {
            return Err(io::Error::other(
                "a flood of SYNs needs a private network, which takes root or user namespaces for ordinary users",
            ));
        }
        network::swallow(SOURCES).map_err(io::Error::other)?;
        flood(address, to.port(), per_second, time)
    }
}

/// Where the flood pretends to come from, of 8 bits: what is sent there is lost.
const SOURCES: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 0);

fn flood(to: Ipv4Addr, port: u16, per_second: u64, time: Duration) -> io::Result<u64> {
    const TURN: Duration = Duration::from_millis(5);
    // IPPROTO_RAW: the packet brings its IP header, of which the kernel fills length and checksum.
    let raw = socket(
        AddressFamily::Inet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::Raw,
    )?;
    let peer = SockaddrIn::new(to.octets()[0], to.octets()[1], to.octets()[2], to.octets()[3], port);
    let (start, mut sent) = (Instant::now(), 0_u64);
    while start.elapsed() < time {
        let due = per_second * u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX) / 1_000_000;
        while sent < due {
            sendto(raw.as_raw_fd(), &syn(sent, to, port), &peer, MsgFlags::empty())?;
            sent += 1;
        }
        thread::sleep(TURN);
    }
    Ok(sent)
}

const IP_HEADER_BYTES: usize = 20;
const TCP_HEADER_BYTES: usize = 20;

/// The `number`-th SYN: source address and port depend on it.
fn syn(number: u64, to: Ipv4Addr, port: u16) -> [u8; IP_HEADER_BYTES + TCP_HEADER_BYTES] {
    const VERSION_AND_LENGTH: u8 = 0x45;
    const LIFE: u8 = 64;
    const TCP: u8 = 6;
    const SYN: u8 = 2;
    const HEADER_WORDS: u8 = 5 << 4;
    let low = number.to_be_bytes();
    let from = Ipv4Addr::new(SOURCES.octets()[0], low[5] | 1, low[6], low[7]);
    let source_port = 1024 + u16::try_from(number % 60_000).unwrap_or(0);
    let mut packet = [0; IP_HEADER_BYTES + TCP_HEADER_BYTES];
    packet[0] = VERSION_AND_LENGTH;
    packet[8] = LIFE;
    packet[9] = TCP;
    packet[12..16].copy_from_slice(&from.octets());
    packet[16..20].copy_from_slice(&to.octets());
    let tcp = &mut packet[IP_HEADER_BYTES..];
    tcp[0..2].copy_from_slice(&source_port.to_be_bytes());
    tcp[2..4].copy_from_slice(&port.to_be_bytes());
    tcp[4..8].copy_from_slice(&low[4..8]);
    tcp[12] = HEADER_WORDS;
    tcp[13] = SYN;
    tcp[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
    let sum = checksum(from, to, tcp);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// Of a TCP segment with its pseudo-header (RFC 793, 3.1): the complement of the sum of 16-bit words, carries added.
fn checksum(from: Ipv4Addr, to: Ipv4Addr, segment: &[u8]) -> u16 {
    const TCP: u32 = 6;
    let words = |bytes: &[u8]| -> u32 {
        bytes
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
            .sum()
    };
    let length = u32::try_from(segment.len()).unwrap_or(0);
    let mut sum = words(&from.octets()) + words(&to.octets()) + TCP + length + words(segment);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_contract::conformance::Means as _;
    use std::net::TcpListener;

    #[test]
    fn a_checksum_makes_the_sum_of_its_segment_whole() {
        let to = Ipv4Addr::LOCALHOST;
        let packet = syn(77_000, to, 8001);
        let from = Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15]);
        assert_eq!(checksum(from, to, &packet[IP_HEADER_BYTES..]), 0);
    }

    #[test]
    fn a_flood_fills_a_queue_in_a_private_network_and_is_refused_outside_of_one() {
        let outside = Means.flood("127.0.0.1:1".parse().unwrap(), 10, Duration::ZERO);
        assert!(outside.unwrap_err().to_string().contains("private network"));
        let inside = thread::spawn(|| {
            network::enter_private().expect("this test needs the right to make network namespaces (root)");
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let sent = Means.flood(address, 2_000, Duration::from_millis(500)).unwrap();
            // Half-open connections: state 3 in the kernel's table.
            let table = procfs::process::Process::myself().and_then(|_| {
                let task = std::fs::read_to_string("/proc/thread-self/net/tcp")?;
                Ok(task)
            });
            let half_open = table.unwrap().lines().filter(|line| line.contains(" 03 ")).count();
            (sent, half_open)
        });
        let (sent, half_open) = inside.join().unwrap();
        assert!(sent >= 500, "{sent}");
        assert!(half_open >= 100, "{half_open} of {sent} SYNs were taken");
    }
}
