//! Servers in containers: found by their published port or their service name, described by the engine.
//!
//! The engine is asked through its own command, `docker`, and only when a port is answered by something that is not seen as
//! a process here. What it does not tell stays null, with the reason. It never starts a container, and ends one only that a command of the
//! user has started for a trial and left behind.

use super::attach::{self, Listener};
use crate::failure::Failure;
use crate::interrupt;
use crate::record;
use crate::sampler::cgroup;
use crate::sampler::socket::Owner;
use echo_contract::catalog::Target;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Longest wait for a service of the same network.
const SERVICE_LIMIT: Duration = Duration::from_secs(2);
/// Longest wait for the engine to end a container.
const LONGEST_END: Duration = Duration::from_secs(2);
/// What an image says of the one binary in it.
const TITLE: &str = "org.opencontainers.image.title";

/// A server's container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Container {
    pub(super) id: String,
    /// First process, as this machine numbers it.
    pub(super) pid: u32,
    /// The binary and what was typed after it.
    pub(super) command: Vec<String>,
    pub(super) record: record::Container,
}

impl Container {
    /// Which row of the catalog runs in it.
    pub(super) fn row(&self) -> Option<&'static Target> {
        attach::row_of(&Owner {
            pid: self.pid,
            name: self.command.first()?.clone(),
            executable: None,
            command: self.command.clone(),
        })
    }

    /// `container echo_fork_1 (echo-fork-server)`.
    pub(super) fn describe(&self) -> String {
        let name = self.record.name.as_deref().unwrap_or(&self.id);
        let image = self.record.image.as_deref().unwrap_or("unknown image");
        format!("container {name} ({image})")
    }
}

/// The container that publishes a port of this machine; none when no container does.
///
/// # Errors
/// Why the engine does not tell: not installed, not permitted.
pub(super) fn publishing(port: u16) -> Result<Option<Container>, String> {
    let filter = format!("publish={port}");
    let ids = docker(&["ps", "--no-trunc", "--quiet", "--filter", &filter])?;
    ids.lines().next().map(with_id).transpose()
}

/// The container whose server answers at an address of this machine: it listens there itself, on the host's network, or it
/// publishes the port; none when no container does.
///
/// # Errors
/// As [`publishing`].
pub(super) fn answering(address: SocketAddr) -> Result<Option<Container>, String> {
    let own = cgroup::container_id(std::process::id());
    let listens = match attach::listener(address) {
        Listener::Known(owner) => cgroup::container_id(owner.pid).filter(|id| Some(id) != own.as_ref()),
        Listener::None | Listener::Several(_) | Listener::Unknown(_) => None,
    };
    match listens {
        Some(id) => with_id(&id).map(Some),
        None => publishing(address.port()),
    }
}

/// Ends a container that a command of the user has started for a trial, if it has outlived that command; whether it had.
///
/// # Errors
/// Why it runs on.
pub(super) fn end(id: &str) -> Result<bool, String> {
    // What is not known any more has ended and was removed.
    match unless_it_hangs(&["inspect", "--format", "{{.State.Running}}", id]) {
        Ok(state) if state.trim() == "true" => unless_it_hangs(&["kill", id]).map(|_| true),
        Ok(_) | Err(_) => Ok(false),
    }
}

/// The container of this id.
///
/// # Errors
/// As [`publishing`].
pub(super) fn with_id(id: &str) -> Result<Container, String> {
    let engine_version = docker(&["version", "--format", "{{.Server.Version}}"])?;
    parse(&docker(&["inspect", "--type", "container", id])?, engine_version.trim())
}

/// The address of the service that is named like the target, for a loadgen that runs in a container itself: engines
/// resolve the names of services that are up, and of no others.
pub(super) fn service(row: &Target) -> Option<SocketAddr> {
    if !crate::environment::is_container() {
        return None;
    }
    let mut found = (row.name, row.port).to_socket_addrs().ok()?;
    found.find(|address| is_answered(*address))
}

/// What the record says of a server in a container that only its network shows.
pub(super) fn seen_by_name(row: &Target) -> record::Container {
    record::Container {
        name: Some(row.name.to_owned()),
        ..record::Container::default()
    }
}

/// Whether something takes connections there, seen as a process or not.
pub(super) fn is_answered(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, SERVICE_LIMIT).is_ok()
}

/// What `docker` prints, or why it does not, as one phrase.
fn docker(arguments: &[&str]) -> Result<String, String> {
    let mut command = command(arguments);
    // An engine that hangs does not answer its own command either.
    let ran = interrupt::unless_asked(move || command.output());
    printed(arguments, ran.ok_or_else(|| Failure::interrupted().text)?)
}

/// The same, also when the user wants to stop: what was started has to be ended then too.
fn unless_it_hangs(arguments: &[&str]) -> Result<String, String> {
    let mut command = command(arguments);
    let (tell, told) = mpsc::channel();
    // It is left behind when nobody waits for it any more.
    thread::spawn(move || tell.send(command.output()));
    let ran = told.recv_timeout(LONGEST_END);
    printed(
        arguments,
        ran.map_err(|_| format!("docker {} does not answer", arguments[0]))?,
    )
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(arguments).stdin(Stdio::null());
    command
}

fn printed(arguments: &[&str], ran: io::Result<Output>) -> Result<String, String> {
    let output = ran.map_err(|error| format!("docker {} cannot be run: {error}", arguments[0]))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let first = text.lines().next().unwrap_or("no reason given");
        return Err(format!("docker {}: {first}", arguments[0]));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The fields of `docker inspect` that matter here.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    name: String,
    path: String,
    args: Vec<String>,
    state: State,
    config: Config,
    host_config: HostConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    pid: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    image: String,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    network_mode: String,
}

fn parse(json: &str, engine_version: &str) -> Result<Container, String> {
    let wrong = |error: String| format!("docker inspect: {error}");
    let found: Vec<Inspected> = serde_json::from_str(json).map_err(|error| wrong(error.to_string()))?;
    let found = found.into_iter().next().ok_or_else(|| wrong("nothing".into()))?;
    let labels = found.config.labels.unwrap_or_default();
    // Our images start `/server`, a link to the binary that the title names.
    let binary = labels.get(TITLE).cloned().unwrap_or(found.path);
    let mode = found.host_config.network_mode;
    Ok(Container {
        id: found.id,
        pid: found.state.pid,
        command: std::iter::once(binary).chain(found.args).collect(),
        record: record::Container {
            name: Some(found.name.trim_start_matches('/').to_owned()),
            image: Some(found.config.image),
            engine: Some("docker".to_owned()),
            engine_version: Some(engine_version.to_owned()),
            // Compose gives each project a network of its own, which is a bridge.
            network_mode: Some(match mode.as_str() {
                "host" | "none" => mode,
                "default" | "bridge" => "bridge".to_owned(),
                other => format!("bridge ({other})"),
            }),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields that are read, as docker 20.10.24 prints them for a service of the compose file.
    const INSPECTED: &str = r#"[{
        "Id": "8f2c", "Name": "/echo_fork-prefork_1", "Path": "/server",
        "Args": ["--bind", "0.0.0.0", "--strategy", "prefork", "--workers", "100"],
        "State": {"Status": "running", "Pid": 4711},
        "Config": {"Image": "echo-fork-server", "Labels": {"org.opencontainers.image.title": "fork-server"}},
        "HostConfig": {"NetworkMode": "echo_default"}
    }]"#;

    #[test]
    fn a_container_is_the_row_that_its_image_and_its_arguments_name() {
        let found = parse(INSPECTED, "20.10.24").unwrap();
        assert_eq!(found.row().map(|row| row.name), Some("fork-prefork"));
        assert_eq!((found.pid, found.id.as_str()), (4711, "8f2c"));
        assert_eq!(found.describe(), "container echo_fork-prefork_1 (echo-fork-server)");
        assert_eq!(found.record.network_mode.as_deref(), Some("bridge (echo_default)"));
        assert_eq!(found.record.engine_version.as_deref(), Some("20.10.24"));
    }

    #[test]
    fn a_foreign_container_is_no_row() {
        let foreign = INSPECTED.replace("org.opencontainers.image.title", "other");
        assert_eq!(parse(&foreign, "1").unwrap().row(), None);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        assert!(parse("[]", "1").unwrap_err().contains("docker inspect"));
        assert!(parse("no json", "1").unwrap_err().contains("docker inspect"));
    }
}
