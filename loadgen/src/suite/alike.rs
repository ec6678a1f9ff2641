//! Whether two comparisons may be held against each other: same kind of network, same CPUs, same workloads. Pure.

use super::matrix::Suite;
use super::results::network_of;
use crate::measurement::store::Stored;
use crate::record::{At, Environment, Measurement, NetworkKind, Placement};
use crate::text::workload as workload_line;
use std::collections::BTreeMap;

/// One of the two.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// As it was typed.
    pub name: &'a str,
    pub suite: &'a Suite,
    pub stored: &'a [Stored],
}

impl<'a> Side<'a> {
    fn trials(&self) -> impl Iterator<Item = &'a Measurement> + use<'a> {
        self.stored.iter().map(|stored| &stored.measurement)
    }

    /// Where it was measured: as its first trial that began tells.
    #[must_use]
    pub fn environment(&self) -> Option<&'a Environment> {
        let mut environments = self.trials().map(|trial| &trial.environment);
        environments.find(|environment| environment.kernel.is_some())
    }

    fn network(&self) -> Option<NetworkKind> {
        self.trials().find_map(network_of)
    }

    /// The SHA-256 of each target's binary, in hex. None for a target whose binary changed midway, and for servers that are not of
    /// the catalog: there it is the interpreter's as often as the server's.
    #[must_use]
    pub fn binaries(&self) -> BTreeMap<&'a str, Option<&'a str>> {
        let mut found: BTreeMap<&str, Option<&str>> = BTreeMap::new();
        for trial in self.trials() {
            let Some(hash) = trial.target.binary_sha256.as_deref() else {
                continue;
            };
            let hash = Some(hash).filter(|_| trial.plan.external.is_none());
            let known = found.entry(trial.plan.target.as_str()).or_insert(hash);
            *known = known.filter(|known| Some(*known) == hash);
        }
        found
    }

    /// Names of the workloads that the other one lacks.
    fn workloads_beside(&self, other: &Side<'_>) -> Vec<&'a str> {
        let names = self.suite.workloads.iter().map(|workload| workload.name.as_str());
        names.filter(|name| !has_workload(other.suite, name)).collect()
    }
}

/// Refuses what would show a difference that is no server's.
///
/// # Errors
/// One paragraph that names the network, the placement or the workload, and both folders.
pub fn check(one: &Side<'_>, other: &Side<'_>) -> Result<(), String> {
    let refused = |what: &str, ones: &str, others: &str| {
        format!(
            "{} and {} may not be compared: {what} is {ones} in the first and {others} in the second. Measure both the same way",
            one.name, other.name
        )
    };
    if let (Some(ones), Some(others)) = (one.network(), other.network())
        && ones != others
    {
        return Err(refused("the network", network_name(ones), network_name(others)));
    }
    let (ones, others) = (&one.suite.base, &other.suite.base);
    let (placed, placed_other) = (placement(&ones.placement), placement(&others.placement));
    if placed != placed_other {
        return Err(refused("the placement", &placed, &placed_other));
    }
    if ones.threads != others.threads {
        return Err(refused(
            "the number of loadgen's threads",
            &ones.threads.to_string(),
            &others.threads.to_string(),
        ));
    }
    if (ones.workers, ones.work_ns) != (others.workers, others.work_ns) {
        return Err(refused(
            "what servers were started with",
            &flags(one.suite),
            &flags(other.suite),
        ));
    }
    for workload in &one.suite.workloads {
        let same = other.suite.workloads.iter().find(|known| known.name == workload.name);
        if let Some(same) = same.filter(|same| *same != workload) {
            let what = format!("the workload `{}`", workload.name);
            return Err(refused(&what, &workload_line(workload), &workload_line(same)));
        }
    }
    if one
        .suite
        .workloads
        .iter()
        .all(|workload| !has_workload(other.suite, &workload.name))
    {
        let names = |side: &Side<'_>| {
            side.suite
                .workloads
                .iter()
                .map(|workload| workload.name.clone())
                .collect::<Vec<_>>()
        };
        return Err(refused(
            "what was measured",
            &names(one).join(", "),
            &names(other).join(", "),
        ));
    }
    Ok(())
}

/// Refuses comparisons of two machines whose servers' costs say nothing about each other's. Another kernel may be what is compared.
///
/// # Errors
/// One paragraph that names what is different, and both folders.
pub fn check_machine(one: &Side<'_>, other: &Side<'_>) -> Result<(), String> {
    let differences = match (one.environment(), other.environment()) {
        (Some(ones), Some(others)) => machine_differences(ones, others),
        _ => Vec::new(),
    };
    let of_machine = |what: &str| ["architecture", "CPU", "number of CPUs"].contains(&what);
    match differences.iter().find(|(what, ..)| of_machine(what)) {
        None => Ok(()),
        Some((what, ones, others)) => Err(format!(
            "{} and {} may not be compared: the {what} is {ones} in the first and {others} in the second. Measure both on one machine",
            one.name, other.name
        )),
    }
}

/// What the reader should know of two that may be compared, one sentence each.
#[must_use]
pub fn remarks(one: &Side<'_>, other: &Side<'_>) -> Vec<String> {
    let mut told = Vec::new();
    for (side, rest) in [(one, other), (other, one)] {
        let only = side.workloads_beside(rest);
        if !only.is_empty() {
            told.push(format!("only in {}: {}", side.name, only.join(", ")));
        }
    }
    if let (Some(there), Some(here)) = (one.environment(), other.environment()) {
        let machine = machine_differences(there, here).into_iter();
        told.extend(
            machine.map(|(what, there, here)| {
                format!("the {what} is {there} in {} and {here} in {}", one.name, other.name)
            }),
        );
    }
    told
}

/// What two machines differ in: the name of the fact, there, here. What either does not tell is taken as the same.
#[must_use]
pub fn machine_differences(there: &Environment, here: &Environment) -> Vec<(&'static str, String, String)> {
    let number = |count: Option<u32>| count.map(|count| count.to_string());
    let facts = [
        ("architecture", there.architecture.clone(), here.architecture.clone()),
        ("CPU", there.cpu_model.clone(), here.cpu_model.clone()),
        ("number of CPUs", number(there.cpus_usable), number(here.cpus_usable)),
        ("kernel", there.kernel.clone(), here.kernel.clone()),
        ("hypervisor", there.hypervisor.clone(), here.hypervisor.clone()),
        ("container", there.container.clone(), here.container.clone()),
    ];
    let known = facts
        .into_iter()
        .filter_map(|(name, there, here)| Some((name, there?, here?)));
    known.filter(|(_, there, here)| there != here).collect()
}

/// `--workers 2 --work 10us`, as far as it was asked for.
fn flags(suite: &Suite) -> String {
    let workers = suite.base.workers.map(|workers| format!("--workers {workers}"));
    let work = suite.base.work_ns.map(|work_ns| format!("--{}", At::WorkNs(work_ns)));
    let flags: Vec<String> = workers.into_iter().chain(work).collect();
    match flags.is_empty() {
        true => "their own settings".to_string(),
        false => flags.join(" "),
    }
}

fn has_workload(suite: &Suite, name: &str) -> bool {
    suite.workloads.iter().any(|workload| workload.name == name)
}

fn network_name(kind: NetworkKind) -> &'static str {
    match kind {
        NetworkKind::Private => "a private one for each trial",
        NetworkKind::Host => "the host's",
    }
}

/// `server on CPU 0, loadgen on CPU 1`.
fn placement(placement: &Placement) -> String {
    let cpus = |cpus: &[usize]| match cpus {
        [] => "any CPU".to_string(),
        [one] => format!("CPU {one}"),
        several => {
            let list: Vec<String> = several.iter().map(ToString::to_string).collect();
            format!("CPUs {}", list.join(", "))
        }
    };
    let shared = if placement.shared { ", shared" } else { "" };
    format!(
        "server on {}, loadgen on {}{shared}",
        cpus(&placement.server_cpus),
        cpus(&placement.loadgen_cpus)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{NetworkPlace, Plan};
    use crate::suite::sample::suite;

    fn trial(target: &str, hash: &str, network: NetworkKind) -> Stored {
        let mut measurement = Measurement {
            plan: Plan {
                target: target.into(),
                ..Plan::default()
            },
            ..Measurement::default()
        };
        measurement.target.binary_sha256 = Some(hash.into());
        measurement.environment.network = Some(NetworkPlace {
            kind: network,
            note: None,
        });
        Stored {
            file: String::new(),
            measurement,
        }
    }

    fn refused(change: impl Fn(&mut Suite), network: NetworkKind) -> String {
        let (there, mut here) = (suite(), suite());
        change(&mut here);
        let stored = [trial("fork", "00", NetworkKind::Private)];
        let other = [trial("fork", "00", network)];
        let side = |name, suite, stored| Side { name, suite, stored };
        check(&side("A", &there, &stored), &side("B", &here, &other))
            .err()
            .unwrap_or_default()
    }

    #[test]
    fn other_networks_placements_and_workloads_are_refused_by_name() {
        let same = NetworkKind::Private;
        assert_eq!(refused(|_| {}, same), "");
        let told = refused(|_| {}, NetworkKind::Host);
        assert!(
            told.contains("the network is a private one for each trial in the first and the host's"),
            "{told}"
        );
        let told = refused(|suite| suite.base.placement.server_cpus = vec![0, 2], same);
        assert!(
            told.contains("server on CPU 0, loadgen on CPU 1 in the first and server on CPUs 0, 2"),
            "{told}"
        );
        let told = refused(|suite| suite.base.threads = 2, same);
        assert!(
            told.contains("loadgen's threads is 1 in the first and 2 in the second"),
            "{told}"
        );
        let told = refused(|suite| suite.workloads[1].clients = 50, same);
        assert!(
            told.contains("the workload `steady` is ") && told.contains("50 clients"),
            "{told}"
        );
        let told = refused(
            |suite| suite.workloads = crate::suite::matrix::workloads("churn").unwrap(),
            same,
        );
        assert!(
            told.contains("what was measured is light, steady in the first and churn"),
            "{told}"
        );
    }

    #[test]
    fn a_binary_that_changed_midway_is_no_binary() {
        let plan = suite();
        let private = NetworkKind::Private;
        let mut stored = vec![
            trial("fork", "00", private),
            trial("fork", "00", private),
            trial("thread", "11", private),
        ];
        stored.push(trial("thread", "12", private));
        let mut python = trial("mine", "33", private);
        python.measurement.plan.external = Some(crate::record::External::default());
        stored.push(python);
        let side = Side {
            name: "A",
            suite: &plan,
            stored: &stored,
        };
        let found: Vec<_> = side.binaries().into_iter().collect();
        assert_eq!(found, [("fork", Some("00")), ("mine", None), ("thread", None)]);
    }
}
