//! What `--target` means: a row of the catalog, or addresses that may be loaded.

use crate::failure::Failure;
use crate::interrupt;
use echo_contract::catalog::{self, TARGETS};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

/// What `--target` means.
#[derive(Debug, PartialEq)]
pub enum Resolved {
    Catalog(&'static catalog::Target),
    /// Addresses to try in turn; at least one.
    Addresses(Vec<SocketAddr>),
}

/// Reads a catalog name or `HOST:PORT`.
///
/// # Errors
/// Usage: an unknown name, a host without addresses, or a public address without `--allow-public`.
pub fn resolve(target: &str, allow_public: bool) -> Result<Resolved, Failure> {
    let target = target.trim();
    if let Some(row) = catalog::find(target) {
        return Ok(Resolved::Catalog(row));
    }
    let target = target.strip_prefix("tcp://").unwrap_or(target);
    if let Some((scheme, address)) = target.split_once("://") {
        return Err(Failure::usage(format!(
            "`{target}`: loadgen speaks no {scheme}, it sends bytes to a TCP echo and checks that they come back: name one as \
             HOST:PORT{}",
            written(address.trim_end_matches('/'))
        )));
    }
    let Some((host, port)) = target.rsplit_once(':') else {
        return Err(unknown_name(target));
    };
    if host.is_empty() || host == "[]" {
        return Err(Failure::usage(format!(
            "`{target}` names no host: write localhost:{port}"
        )));
    }
    let port: u16 = port
        .parse()
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| Failure::usage(format!("`{target}`: `{port}` is not a port (1 to 65535)")))?;
    let (name, wanted) = (host.to_owned(), port);
    // A resolver that has no network may take half a minute to say so.
    let found = interrupt::unless_asked(move || addresses_of(&name, wanted)).ok_or_else(Failure::interrupted)?;
    let addresses = found.map_err(|reason| Failure::usage(format!("`{target}`: {reason}")))?;
    match addresses.iter().find(|address| !may_be_loaded(address.ip())) {
        Some(public) if !allow_public => Err(Failure::usage(format!(
            "{public} is a public address: load only servers that are yours to load, and say so with --allow-public"
        ))),
        _ => Ok(Resolved::Addresses(addresses)),
    }
}

fn addresses_of(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    if host == "localhost" {
        // Not left to the resolver: it may know one of the two only.
        let loopback: [IpAddr; 2] = [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        return Ok(loopback.map(|ip| SocketAddr::new(ip, port)).to_vec());
    }
    if let Ok(ip) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let found: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("no address of `{host}` is known: {error}"))?
        .collect();
    if found.is_empty() {
        return Err(format!("no address of `{host}` is known"));
    }
    Ok(found)
}

/// Loopback, private, shared (RFC 6598, behind a provider's NAT) and link-local addresses. An unspecified address means this machine.
fn may_be_loaded(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) if matches!(ip.octets(), [100, 64..=127, ..]) => true,
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified(),
    }
}

/// An address as an example, where it is one.
fn written(address: &str) -> String {
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    port.map_or_else(String::new, |_| format!(", as in {address}"))
}

fn unknown_name(name: &str) -> Failure {
    let names_several = |words: &str| words.split(',').all(|word| catalog::find(word.trim()).is_some());
    if ["all", "default", "running"].contains(&name) || name.contains(',') && names_several(name) {
        return Failure::usage(format!(
            "`{name}` is more than one target, and a run measures one: `loadgen compare --targets {name}` measures several"
        ));
    }
    if name.bytes().all(|letter| letter.is_ascii_digit()) && !name.is_empty() {
        return Failure::usage(format!("`{name}` names no host: write localhost:{name}"));
    }
    if name == "localhost" || name.parse::<IpAddr>().is_ok() || name.contains('.') {
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

    fn addresses(target: &str) -> Vec<String> {
        match resolve(target, false).unwrap() {
            Resolved::Addresses(found) => found.iter().map(ToString::to_string).collect(),
            Resolved::Catalog(row) => panic!("{} is a row", row.name),
        }
    }

    #[test]
    fn a_catalog_name_is_a_row() {
        assert_eq!(
            resolve("fork", false).unwrap(),
            Resolved::Catalog(catalog::find("fork").unwrap())
        );
    }

    #[test]
    fn localhost_is_tried_over_both_protocols() {
        assert_eq!(addresses("localhost:8001"), ["[::1]:8001", "127.0.0.1:8001"]);
        assert_eq!(addresses("[::1]:8001"), ["[::1]:8001"]);
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
            "[fe80::1]:7",
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
            let refusal = resolve(target, false).unwrap_err();
            assert_eq!(refusal.exit, Exit::Usage);
            assert!(refusal.text.contains("--allow-public"), "{refusal}");
            assert!(resolve(target, true).is_ok());
        }
    }

    #[test]
    fn an_unknown_name_lists_the_nearest_and_all() {
        let failure = resolve("event-tokyo", false).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(
            failure
                .text
                .starts_with("no target `event-tokyo`. Did you mean event-tokio"),
            "{failure}"
        );
        assert!(failure.text.contains("Targets: fork "), "{failure}");
        assert!(!resolve("zzz", false).unwrap_err().text.contains("Did you mean"));
    }

    #[test]
    fn what_is_nearly_an_address_works_or_is_told_its_form() {
        for target in [" 127.0.0.1:8001 ", "tcp://127.0.0.1:8001"] {
            assert_eq!(addresses(target), ["127.0.0.1:8001"]);
        }
        for (target, told) in [
            ("http://127.0.0.1:8001/", "speaks no http"),
            ("http://127.0.0.1:8001/", "as in 127.0.0.1:8001"),
            (":8001", "names no host: write localhost:8001"),
            ("8001", "names no host: write localhost:8001"),
            ("localhost", "has no port: write localhost:PORT"),
            ("127.0.0.1", "has no port: write 127.0.0.1:PORT"),
            ("all", "`loadgen compare --targets all`"),
            ("fork,thread", "`loadgen compare --targets fork,thread`"),
            ("tokio", "Did you mean event-tokio or"),
            ("glommio", "Did you mean event-glommio?"),
        ] {
            let refusal = resolve(target, false).unwrap_err();
            assert_eq!(refusal.exit, Exit::Usage);
            assert!(refusal.text.contains(told), "{target}: {refusal}");
        }
    }

    #[test]
    fn a_port_that_is_none_is_a_usage_error() {
        for target in ["localhost:0", "localhost:65536", "localhost:echo", "localhost:"] {
            assert_eq!(resolve(target, false).unwrap_err().exit, Exit::Usage, "{target}");
        }
    }
}
