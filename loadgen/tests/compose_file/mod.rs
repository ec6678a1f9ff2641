//! What a row of the catalog wants of `docker-compose.yml`, and what the file has: each difference is a sentence that names
//! the service. It needs no container engine.

use echo_contract::catalog::{Capacity, TARGETS, Target};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

/// The three servers of the original project: what runs when no profile is named.
pub(crate) const ORIGINAL: [&str; 3] = ["fork", "thread", "event-tokio"];

/// The one service that is no target.
const LOADGEN: &str = "loadgen";

#[derive(Deserialize)]
pub(crate) struct ComposeFile {
    services: BTreeMap<String, Service>,
}

/// What a row of the catalog decides, and what all rows share.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Service {
    image: String,
    build: Build,
    profiles: Vec<String>,
    ports: Vec<String>,
    command: Vec<String>,
    healthcheck: Healthcheck,
    user: String,
    read_only: bool,
    cap_drop: Vec<String>,
    cap_add: Vec<String>,
    security_opt: Vec<String>,
    pids_limit: u32,
    mem_limit: String,
    cpuset: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Build {
    target: String,
    args: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Healthcheck {
    test: Vec<String>,
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

impl ComposeFile {
    pub(crate) fn parse(text: &str) -> Self {
        serde_saphyr::from_str(text).unwrap()
    }

    /// What the service of this row lacks.
    pub(crate) fn lacks(&self, target: &Target) -> Vec<String> {
        let name = target.name;
        let Some(service) = self.services.get(name) else {
            return vec![format!("{name}: docker-compose.yml has no service of that name")];
        };
        let mut compared = Compared {
            service: name,
            differences: Vec::new(),
        };
        compared.run(service, target);
        compared.permissions(service, target, self.services.get("event-tokio"));
        compared.differences
    }

    /// What is wrong with the services as a whole: one that is no target, or two rings with one user.
    pub(crate) fn lacks_as_a_whole(&self) -> Vec<String> {
        let is_target = |name: &str| TARGETS.iter().any(|row| row.name == name);
        let mut faults: Vec<String> = self
            .services
            .keys()
            .filter(|name| *name != LOADGEN && !is_target(name))
            .map(|name| format!("{name}: docker-compose.yml has this service, the catalog no such target"))
            .collect();
        let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
        for target in TARGETS.iter().filter(|row| row.io_interface.needs_ring()) {
            let Some(service) = self.services.get(target.name) else {
                continue;
            };
            if let Some(owner) = owners.insert(&service.user, target.name) {
                faults.push(format!(
                    "{}: its user {:?} is {owner}'s too, so both share one limit of locked memory; its port would be free",
                    target.name, service.user
                ));
            }
        }
        match self.services.get(LOADGEN) {
            Some(loadgen) if loadgen.profiles == [LOADGEN] => {}
            _ => faults.push(format!(
                "{LOADGEN}: docker-compose.yml has no such service in the one profile {LOADGEN}"
            )),
        }
        faults
    }
}

/// The differences found so far of one service.
struct Compared<'a> {
    service: &'a str,
    differences: Vec<String>,
}

impl Compared<'_> {
    fn run(&mut self, service: &Service, target: &Target) {
        let port = target.port;
        self.same("ports", &service.ports, &vec![format!("127.0.0.1:{port}:{port}")]);
        self.same("image", &service.image, &format!("echo-{}", target.binary));
        self.same("build target", service.build.target.as_str(), "server");
        let binary = service.build.args.get("BINARY").map_or("", String::as_str);
        self.same("BINARY", binary, target.binary);
        self.same("profiles", &sorted(&service.profiles), &profiles(target));
        let strategy = strategy(target);
        self.same("--strategy", &after(&service.command, "--strategy"), &strategy);
        let checked = after(&service.healthcheck.test, "--strategy");
        self.same(
            "health check's --strategy, which leads to its port",
            &checked,
            &strategy,
        );
        if !service.command.is_empty() {
            self.same("--bind", &after(&service.command, "--bind"), &Some("0.0.0.0"));
        }
        let has_workers = after(&service.command, "--workers").is_some();
        let is_pool = target.capacity == Capacity::OnePerWorker;
        self.same(
            "--workers, which a pool needs and no other has,",
            &has_workers,
            &is_pool,
        );
    }

    /// All contestants get the same box, and only rings another seccomp profile.
    fn permissions(&mut self, service: &Service, target: &Target, model: Option<&Service>) {
        self.same("read_only", &service.read_only, &true);
        self.same("cap_drop", &service.cap_drop, &vec!["ALL".to_string()]);
        self.same("cap_add", &service.cap_add, &Vec::new());
        if service.user.is_empty() || service.user.starts_with('0') {
            let (name, user) = (self.service, &service.user);
            let text = format!("{name}: its user in docker-compose.yml is {user:?}, it must not be root");
            self.differences.push(text);
        }
        let limits = |service: &Service| (service.pids_limit, service.mem_limit.clone(), service.cpuset.clone());
        if let Some(model) = model {
            self.same("pids_limit, mem_limit and cpuset", &limits(service), &limits(model));
        }
        let mut options = vec!["no-new-privileges:true"];
        if target.io_interface.needs_ring() {
            options.push("seccomp=./docker/seccomp-ring.json");
        }
        self.same("security_opt", &sorted(&service.security_opt), &options);
    }

    fn same<T: Debug + PartialEq + ?Sized>(&mut self, what: &str, found: &T, wanted: &T) {
        if found != wanted {
            let name = self.service;
            let text = format!("{name}: its {what} in docker-compose.yml: {found:?}, the catalog wants {wanted:?}");
            self.differences.push(text);
        }
    }
}

fn profiles(target: &Target) -> Vec<&str> {
    let mut profiles = vec![target.name, target.model.as_str(), "all"];
    profiles.extend(target.io_interface.needs_ring().then_some("ring"));
    profiles.extend(ORIGINAL.contains(&target.name).then_some("original"));
    profiles.sort_unstable();
    profiles.dedup();
    profiles
}

fn sorted(words: &[String]) -> Vec<&str> {
    let mut words: Vec<_> = words.iter().map(String::as_str).collect();
    words.sort_unstable();
    words
}

/// The value after `flag` in a command.
fn after<'a>(command: &'a [String], flag: &str) -> Option<&'a str> {
    let place = command.iter().position(|word| word == flag)?;
    command.get(place + 1).map(String::as_str)
}

/// The strategy that makes a binary this target, where it is not what the binary does by itself.
fn strategy(target: &Target) -> Option<&'static str> {
    let first_of_binary = TARGETS.iter().find(|row| row.binary == target.binary);
    if first_of_binary == Some(target) {
        return None;
    }
    let place = target.arguments.iter().position(|word| *word == "--strategy")?;
    target.arguments.get(place + 1).copied()
}
