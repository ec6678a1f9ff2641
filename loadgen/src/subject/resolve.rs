//! What `--target` means: a row of the catalog, or addresses that may be loaded. Whatever is nearly one works or is told its form.

use crate::failure::Failure;
use crate::interrupt;
use crate::record::Reach;
use echo_contract::catalog::{self, TARGETS};
use nix::net::if_::if_nametoindex;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};

/// What `--target` means.
#[derive(Debug, PartialEq)]
pub enum Resolved {
    Catalog(&'static catalog::Target),
    /// Addresses in the order in which they are to be tried; at least one.
    Addresses(Vec<SocketAddr>),
}

/// The one spelling of a target that plans, records and folders have: without the spaces around it and without `tcp://`. A port
/// alone is one of this machine's.
#[must_use]
pub fn spelled(typed: &str) -> String {
    let typed = typed.trim();
    let bare = match typed.split_once("://") {
        Some((scheme, address)) if scheme.eq_ignore_ascii_case("tcp") => address,
        Some(_) => return typed.to_owned(),
        None => typed,
    };
    let bare = bare.trim_end_matches('/');
    let port = bare.strip_prefix(':').unwrap_or(bare);
    if !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit()) {
        return format!("localhost:{port}");
    }
    bare.to_owned()
}

/// Whether a target in that spelling is both loopback addresses of this machine, of which a server often has only one.
#[must_use]
pub fn is_localhost(target: &str) -> bool {
    target.rsplit_once(':').is_some_and(|(host, _)| host == LOCALHOST)
}

const LOCALHOST: &str = "localhost";

/// Reads a catalog name or `HOST:PORT`. Clients that connect from `sources` need addresses of the same family.
///
/// # Errors
/// Usage: an unknown name, a host without such addresses, or a public address without `--allow-public`.
pub fn resolve(target: &str, reach: Reach, sources: &[Ipv4Addr]) -> Result<Resolved, Failure> {
    let target = &spelled(target);
    if let Some(row) = catalog::find(target) {
        return Ok(Resolved::Catalog(row));
    }
    let (host, port) = host_and_port(target)?;
    let wanted = port
        .parse()
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| Failure::usage(format!("`{target}`: `{port}` is not a port (1 to 65535)")))?;
    let name = host.to_owned();
    // A resolver that has no network may take half a minute to say so.
    let found = interrupt::unless_asked(move || addresses_of(&name, wanted)).ok_or_else(Failure::interrupted)?;
    let found = found.map_err(|reason| Failure::usage(format!("`{target}`: {reason}")))?;
    let addresses = of_family(found, sources).ok_or_else(|| wrong_family(target, sources))?;
    match addresses.iter().find(|address| !may_be_loaded(address.ip())) {
        Some(public) if !reach.public => Err(Failure::usage(format!(
            "{public} is a public address: load only servers that are yours to load, and say so with --allow-public"
        ))),
        _ => Ok(Resolved::Addresses(addresses)),
    }
}

fn host_and_port(target: &str) -> Result<(&str, &str), Failure> {
    if let Some((scheme, address)) = target.split_once("://") {
        return Err(Failure::usage(format!(
            "`{target}`: loadgen speaks no {scheme}, it sends bytes to a TCP echo and checks that they come back: name one as \
             HOST:PORT{}",
            as_example(scheme, address)
        )));
    }
    if target.parse::<Ipv6Addr>().is_ok() {
        return Err(Failure::usage(format!(
            "`{target}`: an IPv6 address stands in brackets before its port: write {}",
            in_brackets(target)
        )));
    }
    let (host, port) = target.rsplit_once(':').ok_or_else(|| unknown_name(target))?;
    if host.is_empty() || host == "[]" {
        return Err(Failure::usage(format!(
            "`{target}` names no host: write {LOCALHOST}:{port}"
        )));
    }
    Ok((host, port))
}

fn addresses_of(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    if host == LOCALHOST {
        // Not left to the resolver: it may know one of the two only.
        let loopback: [IpAddr; 2] = [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        return Ok(loopback.map(|ip| SocketAddr::new(ip, port)).to_vec());
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let (ip, zone) = match bare.unwrap_or(host).split_once('%') {
        Some((ip, zone)) => (ip, Some(zone)),
        None => (bare.unwrap_or(host), None),
    };
    match (ip.parse(), zone) {
        (Ok(IpAddr::V6(ip)), zone) => return of_zone(ip, port, zone).map(|address| vec![address]),
        (Ok(ip), None) => return Ok(vec![SocketAddr::new(ip, port)]),
        (Ok(_), Some(_)) => return Err("an IPv4 address has no zone".into()),
        (Err(_), _) => {}
    }
    let known = (host, port).to_socket_addrs();
    let mut found = Vec::new();
    // A name may have an address twice.
    for address in known.map_err(|error| format!("no address of `{host}` is known: {error}"))? {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    if found.is_empty() {
        return Err(format!("no address of `{host}` is known"));
    }
    Ok(found)
}

/// A link-local address means another machine on each interface: its zone says which, by name or by number.
fn of_zone(ip: Ipv6Addr, port: u16, zone: Option<&str>) -> Result<SocketAddr, String> {
    let number = match zone {
        None if ip.is_unicast_link_local() => {
            return Err(format!(
                "a link-local address needs its interface, as in [{ip}%eth0]:{port}"
            ));
        }
        None => 0,
        Some(zone) => match zone.parse() {
            Ok(number) => number,
            Err(_) => if_nametoindex(zone).map_err(|_| format!("no interface of this machine is named `{zone}`"))?,
        },
    };
    Ok(SocketAddrV6::new(ip, port, 0, number).into())
}

/// The addresses that can be connected to from these; none where there is none.
fn of_family(found: Vec<SocketAddr>, sources: &[Ipv4Addr]) -> Option<Vec<SocketAddr>> {
    if sources.is_empty() {
        return Some(found);
    }
    let canonical = |address: SocketAddr| match address.ip().to_canonical() {
        IpAddr::V4(ip) => Some(SocketAddr::new(ip.into(), address.port())),
        IpAddr::V6(_) => None,
    };
    let fitting: Vec<SocketAddr> = found.into_iter().filter_map(canonical).collect();
    (!fitting.is_empty()).then_some(fitting)
}

fn wrong_family(target: &str, sources: &[Ipv4Addr]) -> Failure {
    let from = sources.first().map_or_else(String::new, ToString::to_string);
    Failure::usage(format!(
        "--target {target} has no IPv4 address, and --source-addresses {from} is one: give --target an IPv4 address, or leave \
         --source-addresses out"
    ))
}

/// Loopback, private, shared (RFC 6598, behind a provider's NAT) and link-local addresses. An unspecified address means this machine.
fn may_be_loaded(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) if matches!(ip.octets(), [100, 64..=127, ..]) => true,
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified(),
    }
}

/// `, as in 127.0.0.1:8001`: the host and port of a URL, where it has them.
fn as_example(scheme: &str, rest: &str) -> String {
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    let has_port = (host.rsplit_once(':')).is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match (host, has_port, scheme) {
        ("", ..) => String::new(),
        (_, true, _) => format!(", as in {host}"),
        (_, _, "http" | "ws") => format!(", as in {host}:80"),
        (_, _, "https" | "wss") => format!(", as in {host}:443"),
        _ => String::new(),
    }
}

/// What was probably meant: the last part as a port where it looks like one.
fn in_brackets(address: &str) -> String {
    let apart = address
        .rsplit_once(':')
        .filter(|(host, port)| host.parse::<Ipv6Addr>().is_ok() && port.parse::<u16>().is_ok_and(|port| port >= 1000));
    match apart {
        Some((host, port)) => format!("[{host}]:{port}"),
        None => format!("[{address}]:PORT, e.g. [{address}]:8001"),
    }
}

fn unknown_name(name: &str) -> Failure {
    let names_several = |words: &str| words.split(',').all(|word| catalog::find(word.trim()).is_some());
    if ["all", "default", "running"].contains(&name) || name.contains(',') && names_several(name) {
        return Failure::usage(format!(
            "`{name}` is more than one target, and a run measures one: `loadgen compare --targets {name}` measures several"
        ));
    }
    if name == LOCALHOST || name.parse::<IpAddr>().is_ok() || name.contains('.') {
        return Failure::usage(format!("`{name}` has no port: write {name}:PORT, e.g. {name}:8001"));
    }
    let mut names: Vec<&str> = TARGETS.iter().map(|row| row.name).collect();
    let all = names.join(" ");
    names.sort_by_cached_key(|known| strsim::damerau_levenshtein(known, name));
    // Also half a name: `tokio` for `event-tokio`.
    let is_near = |known: &str| strsim::jaro_winkler(known, name) > 0.75 || name.len() > 2 && known.contains(name);
    let near: Vec<&str> = names.into_iter().filter(|known| is_near(known)).take(3).collect();
    let hint = match near.as_slice() {
        [] => String::new(),
        near => format!(" Did you mean {}?", near.join(" or ")),
    };
    Failure::usage(format!("no target `{name}`.{hint} Targets: {all}; or HOST:PORT."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;
    use crate::record::AddressChoice;

    const PRIVATE: Reach = Reach {
        public: false,
        addresses: AddressChoice::First,
    };

    fn refusal(target: &str) -> String {
        let failure = resolve(target, PRIVATE, &[]).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "{target}");
        failure.text
    }

    fn addresses_from(target: &str, sources: &[Ipv4Addr]) -> Vec<String> {
        match resolve(target, PRIVATE, sources).unwrap() {
            Resolved::Addresses(found) => found.iter().map(ToString::to_string).collect(),
            Resolved::Catalog(row) => panic!("{} is a row", row.name),
        }
    }

    fn addresses(target: &str) -> Vec<String> {
        addresses_from(target, &[])
    }

    #[test]
    fn a_catalog_name_is_a_row() {
        for typed in ["fork", " fork "] {
            assert_eq!(
                resolve(typed, PRIVATE, &[]).unwrap(),
                Resolved::Catalog(catalog::find("fork").unwrap())
            );
        }
    }

    #[test]
    fn localhost_is_tried_over_both_protocols() {
        for target in ["localhost:8001", ":8001", "8001", "tcp://localhost:8001/"] {
            assert_eq!(addresses(target), ["[::1]:8001", "127.0.0.1:8001"], "{target}");
            assert!(is_localhost(&spelled(target)), "{target}");
        }
        assert_eq!(addresses("[::1]:8001"), ["[::1]:8001"]);
    }

    #[test]
    fn source_addresses_decide_the_family() {
        let sources = [Ipv4Addr::new(127, 0, 0, 2)];
        for target in ["localhost:8001", "[::ffff:127.0.0.1]:8001"] {
            assert_eq!(addresses_from(target, &sources), ["127.0.0.1:8001"]);
        }
        let refusal = resolve("[::1]:8001", PRIVATE, &sources).unwrap_err();
        assert_eq!(refusal.exit, Exit::Usage);
        assert!(
            refusal.text.contains("--target [::1]:8001") && refusal.text.contains("--source-addresses 127.0.0.2"),
            "{refusal}"
        );
    }

    #[test]
    fn a_zone_is_the_name_or_the_number_of_an_interface() {
        assert_eq!(addresses("[fe80::1%1]:8001"), ["[fe80::1%1]:8001"]);
        // Loopback is the first interface of every network.
        assert_eq!(addresses("[fe80::1%lo]:8001"), ["[fe80::1%1]:8001"]);
        assert_eq!(addresses("fe80::1%lo:8001"), ["[fe80::1%1]:8001"]);
        for (target, told) in [
            ("[fe80::1]:8001", "needs its interface, as in [fe80::1%eth0]:8001"),
            (
                "[fe80::1%nosuch0]:8001",
                "no interface of this machine is named `nosuch0`",
            ),
            ("127.0.0.1%lo:8001", "an IPv4 address has no zone"),
        ] {
            let refusal = refusal(target);
            assert!(refusal.contains(told), "{target}: {refusal}");
        }
    }

    #[test]
    fn private_addresses_are_allowed_and_public_ones_only_when_asked_for() {
        for target in [
            "10.1.2.3:7",
            "172.17.0.2:7",
            "192.168.0.1:7",
            "169.254.1.1:7",
            "100.64.0.1:7",
            "100.127.255.254:7",
            "[fd00::1]:7",
            "[fe80::1%1]:7",
        ] {
            assert_eq!(addresses(target).len(), 1);
        }
        for target in [
            "8.8.8.8:7",
            "100.128.0.1:7",
            "172.32.0.1:7",
            "[2001:4860::1]:7",
            "[::ffff:8.8.8.8]:7",
        ] {
            let refusal = refusal(target);
            assert!(refusal.contains("--allow-public"), "{refusal}");
            let allowed = Reach {
                public: true,
                ..PRIVATE
            };
            assert!(resolve(target, allowed, &[]).is_ok());
        }
    }

    #[test]
    fn an_unknown_name_lists_the_nearest_and_all() {
        let refused = refusal("event-tokyo");
        assert!(
            refused.starts_with("no target `event-tokyo`. Did you mean event-tokio"),
            "{refused}"
        );
        assert!(refused.contains("Targets: fork "), "{refused}");
        assert!(!refusal("zzz").contains("Did you mean"));
    }

    #[test]
    fn what_is_nearly_an_address_works_or_is_told_its_form() {
        for target in [" 127.0.0.1:8001 ", "tcp://127.0.0.1:8001", "TCP://127.0.0.1:8001/"] {
            assert_eq!(addresses(target), ["127.0.0.1:8001"]);
        }
        for (target, told) in [
            ("http://127.0.0.1:8001/", "speaks no http"),
            ("http://127.0.0.1:8001/", "as in 127.0.0.1:8001"),
            ("http://me@127.0.0.1:8001/a?b=c", "as in 127.0.0.1:8001"),
            ("https://[::1]/", "as in [::1]:443"),
            ("redis://127.0.0.1", "name one as HOST:PORT"),
            ("localhost", "has no port: write localhost:PORT"),
            ("127.0.0.1", "has no port: write 127.0.0.1:PORT"),
            ("::1", "write [::1]:PORT, e.g. [::1]:8001"),
            ("::1:8001", "in brackets before its port: write [::1]:8001"),
            (":echo", "names no host: write localhost:echo"),
            ("all", "`loadgen compare --targets all`"),
            ("fork,thread", "`loadgen compare --targets fork,thread`"),
            ("tokio", "Did you mean event-tokio or"),
            ("glommio", "Did you mean event-glommio?"),
        ] {
            let refusal = refusal(target);
            assert!(refusal.contains(told), "{target}: {refusal}");
        }
    }

    #[test]
    fn a_port_that_is_none_is_a_usage_error() {
        for target in [
            "localhost:0",
            "localhost:65536",
            "localhost:echo",
            "localhost:",
            "70000",
            ":0",
        ] {
            assert!(refusal(target).contains("is not a port"), "{target}");
        }
    }
}
