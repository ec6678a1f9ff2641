//! Network namespaces: a trial's own loopback, ports, counters and sysctls, where no connection tracking of this machine's
//! firewall or containers takes part. A namespace belongs to the thread that makes it and to what that thread starts,
//! and is gone with the last of them: nothing has to return to another one or be cleaned up.
//!
//! Nothing here starts a process; that the steps are permitted is tried in a child by `subject`.

use crate::record::{NetworkKind, NetworkPlace};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType};
use nix::unistd::{getgid, getuid};
use procfs::process::Process;
use std::fmt;
use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

/// Bit of CAP_SYS_ADMIN in a set of capabilities.
const CAP_SYS_ADMIN: u64 = 1 << 21;
/// Loopback has this number in every namespace.
const LOOPBACK: u32 = 1;

/// What is set inside, by name; of several values the first that the kernel takes. The congestion control is the servers'
/// and loadgen's own choice too, but what neither sets (a server in another language) has it from here.
const SETTINGS: [(&str, &[&str]); 3] = [
    ("net/core/somaxconn", &["4096"]),
    ("net/ipv4/ip_local_port_range", &["1024 65535"]),
    ("net/ipv4/tcp_congestion_control", &["cubic", "reno"]),
];

/// A namespace that was entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Private {
    /// Sysctls that could not be set, e.g. because /proc/sys is read-only in a container; the kernel's defaults hold.
    pub not_set: Vec<String>,
}

impl fmt::Display for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("private network")?;
        self.not_set.iter().try_for_each(|text| write!(f, "; {text}"))
    }
}

/// Puts the calling thread, and what it will start, into a fresh network namespace with loopback up. Others stay where they are.
///
/// # Errors
/// Why that is not possible, as one phrase.
pub fn enter_private() -> Result<Private, String> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| format!("no network namespace can be made: {errno}"))?;
    loopback_up().map_err(|error| format!("loopback cannot be brought up in a fresh network namespace: {error}"))?;
    let not_set = SETTINGS.iter().filter_map(|(name, values)| set(name, values).err());
    Ok(Private {
        not_set: not_set.collect(),
    })
}

/// Whether the calling thread is in another network namespace than the process began in.
#[must_use]
pub fn is_private() -> bool {
    let of = |whose: &str| fs::read_link(format!("/proc/{whose}/ns/net")).ok();
    of("thread-self") != of("self")
}

/// The network that the calling thread is in, for the record.
#[must_use]
pub fn of_thread() -> NetworkPlace {
    let kind = if is_private() {
        NetworkKind::Private
    } else {
        NetworkKind::Host
    };
    NetworkPlace { kind, note: None }
}

/// Whether this process may make network namespaces without further ado: as root mostly, as an ordinary user once it is in
/// a user namespace of its own.
#[must_use]
pub fn may_enter() -> bool {
    Process::myself()
        .and_then(|own| own.status())
        .is_ok_and(|status| status.capeff & CAP_SYS_ADMIN != 0)
}

/// Puts this process into a user namespace in which it may make network namespaces. Its user and group ids are mapped to
/// themselves, never to root's, so files and what it starts are its own as before; what it may not do outside it
/// still may not. Only a process with a single thread can do this, so it is done at the start or never.
///
/// # Errors
/// Why that is not possible, as one phrase.
pub fn enter_user_namespace() -> Result<(), String> {
    let (user, group) = (getuid(), getgid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| format!("no user namespace can be made: {errno}"))?;
    let write = |file: &str, text: String| {
        fs::write(format!("/proc/self/{file}"), text)
            .map_err(|error| format!("a user namespace cannot be set up: {file}: {error}"))
    };
    write("uid_map", format!("{user} {user} 1"))?;
    // Without this an ordinary user may map no group: it could drop one that is there to keep it out.
    write("setgroups", "deny".into())?;
    write("gid_map", format!("{group} {group} 1"))
}

/// Sets a sysctl of the calling thread's network namespace; a value that holds already needs no right to set it.
fn set(name: &str, values: &[&str]) -> Result<(), String> {
    let path = format!("/proc/sys/{name}");
    let now = fs::read_to_string(&path).unwrap_or_default();
    if now.split_whitespace().eq(values[0].split_whitespace()) {
        return Ok(());
    }
    let mut why = String::new();
    for value in values {
        match fs::write(&path, value) {
            Ok(()) => return Ok(()),
            Err(error) => why = error.to_string(),
        }
    }
    let dotted = name.replace('/', ".");
    Err(format!("{dotted} stays at {}: {why}", now.trim().replace('\t', " ")))
}

/// Makes what is sent to the 16,777,216 addresses that begin like this one go to loopback, where nobody takes it: it is lost.
/// For the calling thread's network, which must be its own.
///
/// # Errors
/// Why not, as one phrase.
pub fn swallow(addresses: Ipv4Addr) -> Result<(), String> {
    const RTM_NEWROUTE: u16 = 24;
    const CREATE: u16 = 0x400;
    const BITS: u8 = 8;
    const MAIN_TABLE: u8 = 254;
    const BY_BOOT: u8 = 3;
    const SCOPE_OF_LINK: u8 = 253;
    const UNICAST: u8 = 1;
    const INET: u8 = 2;
    /// Length and number of an attribute of four bytes, of struct rtattr.
    const DESTINATION: [u16; 2] = [8, 1];
    const OUTPUT_LINK: [u16; 2] = [8, 4];
    // struct rtmsg: family, bits of destination and of source, type of service, table, protocol, scope, type; flags.
    let mut message = vec![INET, BITS, 0, 0, MAIN_TABLE, BY_BOOT, SCOPE_OF_LINK, UNICAST];
    message.extend(u32::to_ne_bytes(0));
    message.extend(DESTINATION.iter().flat_map(|half| half.to_ne_bytes()));
    message.extend(addresses.octets());
    message.extend(OUTPUT_LINK.iter().flat_map(|half| half.to_ne_bytes()));
    message.extend(LOOPBACK.to_ne_bytes());
    ask_kernel(RTM_NEWROUTE, CREATE, &message)
}

/// RTM_NEWLINK with IFF_UP.
fn loopback_up() -> Result<(), String> {
    const RTM_NEWLINK: u16 = 16;
    const IFF_UP: u32 = 1;
    // struct ifinfomsg: family and type, index, flags, which of them.
    let words = [0, LOOPBACK, IFF_UP, IFF_UP];
    let message: Vec<u8> = words.into_iter().flat_map(u32::to_ne_bytes).collect();
    ask_kernel(RTM_NEWLINK, 0, &message)
}

/// Sends one request over rtnetlink and waits for its acknowledgement: no ioctl, so nothing unsafe.
fn ask_kernel(kind: u16, flags: u16, message: &[u8]) -> Result<(), String> {
    const REQUEST_AND_ACKNOWLEDGE: u16 = 1 | 4;
    /// Length of a header, which in an answer stands before the error number.
    const HEADER: usize = 16;

    let route = socket::socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )
    .map_err(|errno| errno.to_string())?;
    // struct nlmsghdr: length, type, flags, sequence, port.
    let length = u32::try_from(HEADER + message.len()).map_err(|error| error.to_string())?;
    let mut request = Vec::with_capacity(HEADER + message.len());
    request.extend(length.to_ne_bytes());
    request.extend(kind.to_ne_bytes());
    request.extend((REQUEST_AND_ACKNOWLEDGE | flags).to_ne_bytes());
    request.extend([0; 8]);
    request.extend(message);
    socket::send(route.as_raw_fd(), &request, MsgFlags::empty()).map_err(|errno| errno.to_string())?;
    let mut answer = [0; 1024];
    let length = socket::recv(route.as_raw_fd(), &mut answer, MsgFlags::empty()).map_err(|errno| errno.to_string())?;
    let error = answer[..length]
        .get(HEADER..HEADER + 4)
        .and_then(|bytes| bytes.try_into().ok());
    match error.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(error) => Err(std::io::Error::from_raw_os_error(-error).to_string()),
        None => Err("the kernel's answer is too short".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    /// Who may not make namespaces is tried as an ordinary user in `tests/network.rs`.
    fn inside<T: Send>(test: impl FnOnce(Private) -> T + Send) -> T {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    let entered = enter_private().expect("this test needs the right to make network namespaces (root)");
                    test(entered)
                })
                .join()
                .unwrap()
        })
    }

    #[test]
    fn a_thread_has_a_loopback_of_its_own_and_the_others_do_not_see_it() {
        let address = inside(|_| {
            assert!(is_private());
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            assert!(TcpStream::connect(address).is_ok(), "loopback is up");
            let outside = thread::spawn(move || TcpStream::connect(address));
            assert!(outside.join().unwrap().is_ok(), "what it starts is in it too");
            address
        });
        assert!(!is_private());
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn settings_hold_inside_or_are_named_and_outside_nothing_changes() {
        let read = || fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
        let before = read();
        let (entered, ports) = inside(|entered| (entered, read()));
        let is_named = entered
            .not_set
            .iter()
            .any(|text| text.contains("ip_local_port_range stays at"));
        assert_ne!(ports.split_whitespace().eq(["1024", "65535"]), is_named, "{entered:?}");
        assert_eq!(read(), before);
    }

    #[test]
    fn a_process_with_several_threads_is_told_that_it_comes_too_late() {
        // The test harness has more than one.
        assert!(
            enter_user_namespace()
                .unwrap_err()
                .starts_with("no user namespace can be made")
        );
    }
}
