//! `compare --suite NAME|FILE.toml`: what a suite is made of, and how long it may take.

use super::{CompareArgs, budget, dimension, label, precision};
use crate::cmd::arguments::count;
use crate::cmd::resolve::file::WorkloadToml;
use crate::failure::Failure;
use crate::record::Workload;
use crate::suite::load::Load;
use crate::suite::{preset, suites};
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;
use toml::Value;

/// A suite of loadgen's own or of a file, with what it says of flags that were not typed.
pub(super) struct Chosen {
    pub(super) name: String,
    pub(super) workloads: Vec<Workload>,
    /// Workloads under which system calls are counted.
    pub(super) counting: Vec<Workload>,
    /// Whether one target runs twice in each block.
    pub(super) has_control: bool,
    limits: Limits,
    targets: Option<Vec<String>>,
    workers: Vec<u32>,
    work: Vec<u64>,
}

#[derive(Default)]
struct Limits {
    rounds: Option<u32>,
    budget: Option<Duration>,
    precision: Option<f64>,
}

impl Chosen {
    /// The command line with what the suite says where nothing was typed.
    pub(super) fn over(&self, args: &CompareArgs) -> CompareArgs {
        let mut args = args.clone();
        let is_limited = args.rounds.is_some() || args.budget.is_some() || args.precision.is_some();
        args.targets = args.targets.or(self.targets.as_ref().map(|names| names.join(",")));
        args.started_with.workers.clone_from(&self.workers);
        args.started_with.work.clone_from(&self.work);
        // Who types a limit means to have no other but the time.
        if !is_limited {
            args.rounds = self.limits.rounds;
            args.precision = self.limits.precision;
        }
        args.budget = args.budget.or(self.limits.budget);
        args
    }

    /// The most workers that a server is to have.
    pub(super) fn most_workers(&self) -> u32 {
        self.workers.iter().copied().max().unwrap_or(1)
    }
}

/// The suite that was asked for by name or file; none where none was.
///
/// # Errors
/// Usage: a name that is none, or a file with the place and the word that is wrong in it.
pub(super) fn chosen_suite(args: &CompareArgs) -> Result<Option<Chosen>, Failure> {
    let Some(asked) = &args.suite else { return Ok(None) };
    if let Some(named) = suites::find(asked) {
        return Ok(Some(of_named(named)));
    }
    if !Path::new(asked).is_file() {
        return Err(Failure::usage(format!(
            "--suite {asked} is neither a suite ({}) nor a file that exists",
            suites::names().join(", ")
        )));
    }
    from_file(asked).map(Some)
}

fn of_named(named: &suites::Named) -> Chosen {
    Chosen {
        name: named.name.to_string(),
        workloads: named.workloads(),
        counting: named.counting(),
        has_control: named.has_control(),
        limits: Limits {
            rounds: Some(named.rounds),
            budget: Some(named.budget()),
            precision: None,
        },
        targets: None,
        workers: Vec::new(),
        work: Vec::new(),
    }
}

/// A suite of the user's own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SuiteToml {
    name: String,
    targets: Option<Vec<String>>,
    #[serde(default)]
    workloads: Vec<Entry>,
    /// Each workload at so many clients.
    clients: Option<Vec<Value>>,
    /// Open loops at these shares of what each target reaches saturated, in percent.
    load: Option<Vec<u32>>,
    #[serde(default)]
    workers: Vec<u32>,
    #[serde(default)]
    work: Vec<String>,
    rounds: Option<u32>,
    budget: Option<String>,
    precision: Option<String>,
}

/// A workload by its name, or what it is.
#[derive(Debug)]
enum Entry {
    Named(String),
    Table(Box<WorkloadToml>),
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = Entry;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(
                    "the name of a workload, or a table like { name = \"mine\", clients = 50, duration = \"1s\" }",
                )
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Entry, E> {
                Ok(Entry::Named(name.to_string()))
            }

            // Read as a table of the file, so that an error knows its line.
            fn visit_map<M: serde::de::MapAccess<'de>>(self, map: M) -> Result<Entry, M::Error> {
                let table = WorkloadToml::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(Entry::Table(Box::new(table)))
            }
        }
        from.deserialize_any(Either)
    }
}

fn from_file(path: &str) -> Result<Chosen, Failure> {
    let wrong = |why: String| Failure::usage(format!("--suite {path}: {why}"));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let file: SuiteToml = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    chosen(file, Path::new(path)).map_err(wrong)
}

fn chosen(file: SuiteToml, path: &Path) -> Result<Chosen, String> {
    let name = label(&file.name).map_err(|why| format!("name: {why}"))?;
    if suites::names().contains(&name.as_str()) {
        return Err(format!(
            "name: `{name}` is a suite of loadgen's own: give yours another name"
        ));
    }
    let in_key = |key: &'static str| move |why: String| format!("{key}: {why}");
    let limits = Limits {
        rounds: file.rounds.map(rounds).transpose()?,
        budget: (file.budget.as_deref().map(budget).transpose()).map_err(in_key("budget"))?,
        precision: (file.precision.as_deref().map(precision).transpose()).map_err(in_key("precision"))?,
    };
    let mut workloads = workloads(file.workloads, path)?;
    if let Some(numbers) = file.clients {
        workloads = at_clients(&workloads, &numbers)?;
    }
    if let Some(shares) = &file.load {
        workloads.extend(loads(shares)?);
    }
    let work: Result<Vec<u64>, String> = file.work.iter().map(|text| dimension::work_ns(text)).collect();
    check_names(&workloads)?;
    Ok(Chosen {
        name,
        workloads,
        counting: preset::counting(),
        has_control: true,
        limits,
        targets: file.targets,
        workers: file.workers,
        work: work.map_err(in_key("work"))?,
    })
}

fn rounds(number: u32) -> Result<u32, String> {
    match (1..=super::MOST_ROUNDS).contains(&number) {
        true => Ok(number),
        false => Err(format!("rounds: {number} is not between 1 and {}", super::MOST_ROUNDS)),
    }
}

fn workloads(entries: Vec<Entry>, path: &Path) -> Result<Vec<Workload>, String> {
    let of_entry = |entry: Entry| match entry {
        Entry::Named(name) => preset::find(&name).map(preset::Preset::workload).ok_or_else(|| {
            let known: Vec<&str> = preset::PRESETS.iter().map(|preset| preset.name).collect();
            format!(
                "workloads: `{name}` is none: known are {}, or give a table",
                known.join(", ")
            )
        }),
        Entry::Table(mut table) => {
            let name = table
                .name
                .take()
                .ok_or("workloads: a table needs a name, as in { name = \"mine\", clients = 50 }")?;
            let in_workload = |why: String| format!("workload `{name}`: {why}");
            table.into_workload(path, name.clone()).map_err(in_workload)
        }
    };
    entries.into_iter().map(of_entry).collect()
}

/// Every workload at each number of clients, under a name of its own.
fn at_clients(workloads: &[Workload], numbers: &[Value]) -> Result<Vec<Workload>, String> {
    let number = |value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let clients = count(&text).ok().and_then(|clients| u32::try_from(clients).ok());
        let clients = clients.filter(|clients| (1..=1_000_000).contains(clients));
        clients.ok_or_else(|| format!("clients: {value} is not a number between 1 and 1,000,000"))
    };
    let numbers: Vec<u32> = numbers.iter().map(number).collect::<Result<_, _>>()?;
    let at = |workload: &Workload| -> Vec<Workload> {
        let at = |clients: &u32| Workload {
            name: format!("{}-{clients}", workload.name),
            clients: *clients,
            ..workload.clone()
        };
        numbers.iter().map(at).collect()
    };
    Ok(workloads.iter().flat_map(at).collect())
}

fn loads(shares: &[u32]) -> Result<Vec<Workload>, String> {
    match shares.iter().find(|share| !(1..=200).contains(*share)) {
        Some(share) => Err(format!(
            "load: {share} is not between 1 and 200 % of what a target reaches saturated"
        )),
        None => Ok(Load::workloads(shares)),
    }
}

fn check_names(workloads: &[Workload]) -> Result<(), String> {
    if workloads.is_empty() {
        return Err("it has no workloads: give `workloads`, or `load`".into());
    }
    let is_twice = |place: usize| {
        let mut before = workloads[..place].iter();
        before.any(|workload| workload.name == workloads[place].name)
    };
    match (0..workloads.len()).find(|place| is_twice(*place)) {
        Some(place) => Err(format!(
            "two workloads are named `{}`: give each a name of its own",
            workloads[place].name
        )),
        None => Ok(()),
    }
}
