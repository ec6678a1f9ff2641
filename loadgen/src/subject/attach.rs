//! Who listens already, and whether it is the target.

use crate::sampler::socket::{self, Owner};
use echo_contract::catalog::{TARGETS, Target};
use std::net::SocketAddr;

/// Who takes connections to an address.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Listener {
    None,
    Known(Owner),
    /// Several servers share the port (SO_REUSEPORT); the kernel deals clients out among them.
    Several(Vec<Owner>),
    /// Something may, but its process cannot be seen; why.
    Unknown(String),
}

/// Finds the process behind an address.
pub(super) fn listener(address: SocketAddr) -> Listener {
    if !socket::is_of_this_machine(address.ip()) {
        return Listener::Unknown(format!("{} is not an address of this machine", address.ip()));
    }
    match socket::listeners(address) {
        Err(reason) => Listener::Unknown(reason),
        Ok(inodes) if inodes.is_empty() => Listener::None,
        Ok(inodes) => match socket::owners(&inodes) {
            Err(reason) => Listener::Unknown(reason),
            Ok(mut owners) if owners.len() == 1 => Listener::Known(owners.remove(0)),
            Ok(owners) => Listener::Several(owners),
        },
    }
}

/// Proves that whoever takes connections to `address` is the server whose first process is `pid`, and nobody beside it:
/// with SO_REUSEPORT a server left over from before would answer some of the clients unseen.
///
/// # Errors
/// Who does.
pub(super) fn prove_sole_owner(address: SocketAddr, pid: u32) -> Result<(), String> {
    match listener(address) {
        Listener::Known(owner) if owner.pid == pid => Ok(()),
        Listener::Known(owner) => Err(format!(
            "{address} is held by {} (pid {}), not by it (pid {pid})",
            owner.name, owner.pid
        )),
        Listener::Several(owners) => Err(shared_by(address, &owners)),
        Listener::None => Err(format!("nothing listens on {address}, which its READY names")),
        Listener::Unknown(reason) => Err(format!("it cannot be told who listens on {address}: {reason}")),
    }
}

/// `127.0.0.1:8018 is shared by fork-server (pid 7) and x (pid 9): ...`.
pub(super) fn shared_by(address: SocketAddr, owners: &[Owner]) -> String {
    let names: Vec<String> = owners
        .iter()
        .map(|owner| format!("{} (pid {})", owner.name, owner.pid))
        .collect();
    format!(
        "{address} is shared by {} (SO_REUSEPORT), and each gets some of the clients: stop all but one",
        names.join(" and ")
    )
}

/// The row of the catalog that a process runs, by its executable's file name and its arguments.
pub(super) fn row_of(owner: &Owner) -> Option<&'static Target> {
    let rows = || TARGETS.iter().filter(|row| row.binary == owner.name);
    let is_typed = |flag: &str| {
        let joined = format!("{flag}=");
        owner
            .command
            .iter()
            .any(|word| word == flag || word.starts_with(&joined))
    };
    let is_default = || rows().all(|row| row.arguments.iter().step_by(2).all(|flag| !is_typed(flag)));
    // Of several rows with one binary the one whose arguments are all there; without any of them, the binary's default.
    rows()
        .filter(|row| has_arguments(&owner.command, row.arguments))
        .max_by_key(|row| row.arguments.len())
        .or_else(|| rows().next().filter(|_| is_default()))
}

/// What was typed after `--workers`; a server that was told nothing has those of its row.
pub(super) fn workers_of(row: &Target, command: &[String]) -> u32 {
    let after = |word: &[String]| (word[0] == "--workers").then(|| word[1].clone());
    let typed = command.windows(2).find_map(after);
    let joined = || {
        command
            .iter()
            .find_map(|word| Some(word.strip_prefix("--workers=")?.to_owned()))
    };
    typed
        .or_else(joined)
        .and_then(|number| number.parse().ok())
        .unwrap_or(row.workers)
}

/// Whether all of a row's `--flag value` pairs were typed, as two words or as `--flag=value`.
fn has_arguments(command: &[String], arguments: &[&str]) -> bool {
    arguments.chunks(2).all(|pair| {
        let joined = pair.join("=");
        command.contains(&joined) || command.windows(pair.len()).any(|words| words == pair)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, command: &str) -> Option<&'static str> {
        let owner = Owner {
            pid: 1,
            name: name.into(),
            executable: None,
            command: command.split(' ').map(str::to_owned).collect(),
        };
        row_of(&owner).map(|row| row.name)
    }

    #[test]
    fn a_server_is_known_by_its_binary_and_its_strategy() {
        assert_eq!(
            row("fork-server", "./fork-server --strategy per-connection"),
            Some("fork")
        );
        assert_eq!(
            row("fork-server", "./fork-server --strategy=per-connection --port 9"),
            Some("fork")
        );
        assert_eq!(
            row("fork-server", "./fork-server"),
            Some("fork"),
            "the default strategy"
        );
        assert_eq!(row("fork-server", "./fork-server --strategy unheard-of"), None);
        assert_eq!(row("event-tokio", "event-tokio --port 1"), Some("event-tokio"));
        assert_eq!(row("nginx", "nginx: master"), None);
    }

    #[test]
    fn the_workers_of_a_running_server_are_those_that_were_typed() {
        let workers = |text: &str| {
            let command: Vec<_> = text.split(' ').map(str::to_owned).collect();
            workers_of(&TARGETS[0], &command)
        };
        assert_eq!(workers("thread-server --strategy pool --workers 7 --port 1"), 7);
        assert_eq!(workers("thread-server --workers=8"), 8);
        assert_eq!(workers("thread-server"), 1);
    }

    #[test]
    fn arguments_must_all_be_there() {
        let command = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
        assert!(has_arguments(&command("x --a 1 --b 2"), &["--b", "2", "--a", "1"]));
        assert!(!has_arguments(&command("x --a 1"), &["--a", "2"]));
        assert!(!has_arguments(&command("x --a 1"), &["--a", "1", "--b", "2"]));
        assert!(has_arguments(&command("x"), &[]));
    }
}
