//! The compose file offers every row of the catalog, and nothing else: names, profiles, ports, arguments, permissions.
//! It needs no container engine.

use echo_contract::catalog::{Capacity, TARGETS, Target, find};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The three servers of the original project: what runs when no profile is named.
const ORIGINAL: [&str; 3] = ["fork", "thread", "event-tokio"];

#[derive(Deserialize)]
struct ComposeFile {
    services: BTreeMap<String, Service>,
}

/// What a row of the catalog decides, and what all rows share.
#[derive(Deserialize)]
struct Service {
    image: String,
    build: Build,
    profiles: Vec<String>,
    #[serde(default)]
    ports: Vec<String>,
    #[serde(default)]
    command: Vec<String>,
    healthcheck: Option<Healthcheck>,
    user: String,
    read_only: bool,
    cap_drop: Vec<String>,
    #[serde(default)]
    cap_add: Vec<String>,
    security_opt: Vec<String>,
    pids_limit: u32,
    mem_limit: String,
    cpuset: String,
}

#[derive(Deserialize)]
struct Build {
    target: String,
    #[serde(default)]
    args: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Healthcheck {
    test: Vec<String>,
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn services() -> BTreeMap<String, Service> {
    let text = fs::read_to_string(repository().join("docker-compose.yml")).unwrap();
    let file: ComposeFile = serde_saphyr::from_str(&text).unwrap();
    file.services
}

fn is_ring(target: &Target) -> bool {
    target.io_interface.contains("io_uring")
}

/// The value after `flag` in a command.
fn after<'a>(command: &'a [String], flag: &str) -> Option<&'a str> {
    let place = command.iter().position(|word| word == flag)?;
    command.get(place + 1).map(String::as_str)
}

/// The strategy that makes a binary this target, where it is not what the binary does by itself.
fn strategy(target: &Target) -> Option<&'static str> {
    let first_of_binary = TARGETS.iter().find(|row| row.binary == target.binary)?;
    if first_of_binary == target {
        return None;
    }
    let place = target.arguments.iter().position(|word| *word == "--strategy")?;
    target.arguments.get(place + 1).copied()
}

#[test]
fn every_target_is_a_service_and_every_service_a_target_or_loadgen() {
    let services = services();
    let mut offered: Vec<&str> = services.keys().map(String::as_str).collect();
    let mut wanted: Vec<&str> = TARGETS.iter().map(|row| row.name).chain(["loadgen"]).collect();
    offered.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(offered, wanted);
}

#[test]
fn a_service_has_the_profiles_of_its_row() {
    let services = services();
    for target in TARGETS {
        let mut wanted = vec![target.name, target.model.as_str(), "all"];
        wanted.extend(is_ring(target).then_some("ring"));
        wanted.extend(ORIGINAL.contains(&target.name).then_some("original"));
        wanted.sort_unstable();
        wanted.dedup();
        let mut found: Vec<&str> = services[target.name].profiles.iter().map(String::as_str).collect();
        found.sort_unstable();
        assert_eq!(found, wanted, "{}", target.name);
    }
    assert_eq!(services["loadgen"].profiles, ["loadgen"]);
}

#[test]
fn a_service_runs_its_row_and_is_published_on_this_machine_only() {
    let services = services();
    for target in TARGETS {
        let (name, service) = (target.name, &services[target.name]);
        assert_eq!(service.ports, [format!("127.0.0.1:{0}:{0}", target.port)], "{name}");
        assert_eq!(service.image, format!("echo-{}", target.binary), "{name}");
        assert_eq!(service.build.target, "server", "{name}");
        assert_eq!(
            service.build.args.get("BINARY").map(String::as_str),
            Some(target.binary),
            "{name}"
        );
        assert_eq!(after(&service.command, "--strategy"), strategy(target), "{name}");
        let checked = service
            .healthcheck
            .as_ref()
            .and_then(|check| after(&check.test, "--strategy"));
        assert_eq!(
            checked,
            strategy(target),
            "{name}: the health check asks at the row's own port"
        );
        if !service.command.is_empty() {
            assert_eq!(after(&service.command, "--bind"), Some("0.0.0.0"), "{name}");
        }
        let is_pool = target.capacity == Capacity::OnePerWorker;
        assert_eq!(
            after(&service.command, "--workers").is_some(),
            is_pool,
            "{name}: a pool needs workers"
        );
    }
}

#[test]
fn all_contestants_get_the_same_box_and_only_rings_another_profile() {
    let services = services();
    let model = &services["event-tokio"];
    for target in TARGETS {
        let (name, service) = (target.name, &services[target.name]);
        assert!(service.read_only, "{name}");
        assert_eq!(service.cap_drop, ["ALL"], "{name}");
        assert!(service.cap_add.is_empty(), "{name}");
        assert!(!service.user.starts_with('0'), "{name} runs as {}", service.user);
        assert_eq!(
            (service.pids_limit, &service.mem_limit, &service.cpuset),
            (model.pids_limit, &model.mem_limit, &model.cpuset),
            "{name}"
        );
        let mut wanted = vec!["no-new-privileges:true"];
        wanted.extend(is_ring(target).then_some("seccomp=./docker/seccomp-ring.json"));
        assert_eq!(service.security_opt, wanted, "{name}");
    }
    // Locked memory is counted for a user id, whatever container it is in.
    let mut users: Vec<&str> = TARGETS
        .iter()
        .filter(|row| is_ring(row))
        .map(|row| services[row.name].user.as_str())
        .collect();
    let rings = users.len();
    users.sort_unstable();
    users.dedup();
    assert_eq!(
        users.len(),
        rings,
        "two ring services share a user id, and so one limit of locked memory"
    );
}

#[test]
fn without_a_profile_named_the_originals_run() {
    let text = fs::read_to_string(repository().join(".env")).unwrap();
    assert!(text.lines().any(|line| line == "COMPOSE_PROFILES=original"), "{text}");
    assert!(ORIGINAL.iter().all(|name| find(name).is_some()));
}
