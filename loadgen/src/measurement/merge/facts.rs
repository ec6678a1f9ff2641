//! What does not add up: names, machines, settings. What all generators say stands in the merged record; what they say
//! differently is empty there and named in a note, never taken from one of them.

use super::{Part, listed, same};
use crate::record::{
    Environment, Identity, Measurement, Origin, Pacing, Placement, Plan, Start, SteadyClass, SteadyState, Stop, Target,
    Workload,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Collects what differs.
pub(super) struct Facts<'a> {
    parts: &'a [Part],
    /// `kernel (replica-1.json "6.1", replica-2.json "6.18")`
    differing: Vec<String>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(parts: &'a [Part]) -> Self {
        Self {
            parts,
            differing: Vec::new(),
        }
    }

    /// One note on all that differed; None when nothing did.
    pub(super) fn note(self) -> Option<String> {
        (!self.differing.is_empty()).then(|| {
            format!(
                "the generators' records differ, so the merged one does not say: {}",
                self.differing.join(", ")
            )
        })
    }

    /// What all say, or nothing and a name.
    fn common<T: PartialEq + Clone + Default + Serialize>(&mut self, name: &str, of: impl Fn(&Measurement) -> T) -> T {
        if let Some(value) = same(self.parts, &of) {
            return value;
        }
        let first = &self.parts[0];
        let value = of(&first.record);
        let other = self
            .parts
            .iter()
            .find(|part| of(&part.record) != value)
            .unwrap_or(first);
        let text = |part: &Part| {
            let value = serde_json::to_string(&of(&part.record)).expect("a record is plain data");
            format!("{} {value}", part.name)
        };
        self.differing
            .push(format!("{name} ({}, {})", text(first), text(other)));
        T::default()
    }

    /// The server, or all servers under one name.
    pub(super) fn target(&mut self, one_server: bool) -> Target {
        let parts = self.parts;
        let first = &parts[0].record.target;
        if parts.len() == 1 || one_server {
            return first.clone();
        }
        let started = parts.iter().all(|part| part.record.target.origin == Origin::Started);
        Target {
            name: listed(parts, " + ", |record| &record.target.name),
            model: self.common("target.model", |record| record.target.model.clone()),
            runtime: self.common("target.runtime", |record| record.target.runtime.clone()),
            runtime_version: self.common("target.runtime_version", |record| record.target.runtime_version.clone()),
            io_interface: self.common("target.io_interface", |record| record.target.io_interface.clone()),
            accept_model: self.common("target.accept_model", |record| record.target.accept_model.clone()),
            buffer_policy: self.common("target.buffer_policy", |record| record.target.buffer_policy.clone()),
            workers: parts.iter().map(|part| part.record.target.workers).sum(),
            address: listed(parts, " + ", |record| &record.target.address),
            addresses: self.common("target.addresses", |record| record.target.addresses.clone()),
            addresses_silent: self.common("target.addresses_silent", |record| {
                record.target.addresses_silent.clone()
            }),
            origin: if started { Origin::Started } else { Origin::Attached },
            // Each server has its own.
            pid: None,
            command: None,
            ready: None,
            binary_sha256: self.common("target.binary_sha256", |record| record.target.binary_sha256.clone()),
            container: same(parts, |record| record.target.container.clone()).flatten(),
        }
    }

    /// The whole load: clients, threads and source addresses of all. `target` is the name of the merged target.
    pub(super) fn plan(&mut self, target: &str) -> Plan {
        let plans = || self.parts.iter().map(|part| &part.record.plan);
        let first = &self.parts[0].record.plan;
        let addresses: BTreeSet<_> = plans().flat_map(|plan| plan.source_addresses.iter().copied()).collect();
        let workloads: Vec<&Workload> = plans().map(|plan| &plan.workload).collect();
        Plan {
            target: target.to_string(),
            start: same(self.parts, |record| record.plan.start).unwrap_or(Start::Auto),
            workload: workload(&workloads),
            threads: plans().map(|plan| plan.threads).sum(),
            // Checked to be the same in all.
            timeout_ms: first.timeout_ms,
            start_at: first.start_at.clone(),
            network: first.network,
            reach: first.reach,
            external: first.external.clone(),
            workers: first.workers,
            work_ns: first.work_ns,
            connect_timeout_ms: plans().map(|plan| plan.connect_timeout_ms).max().unwrap_or_default(),
            // Of the first generator; the others' stand in `generators`.
            seed: first.seed,
            source_addresses: addresses.into_iter().collect(),
            connect_window: plans().map(|plan| plan.connect_window).sum(),
            connect_rate_per_s: plans().map(|plan| plan.connect_rate_per_s).sum(),
            looks_for_answers: self.common("plan.looks_for_answers", |record| record.plan.looks_for_answers),
            counting: plans().any(|plan| plan.counting),
            // The strictest.
            max_errors_percent: plans()
                .map(|plan| plan.max_errors_percent)
                .fold(f64::INFINITY, f64::min),
            repeat_for_ms: self.common("plan.repeat_for_ms", |record| record.plan.repeat_for_ms),
            placement: Placement {
                shared: self.parts.iter().any(|part| part.record.plan.placement.shared),
                asked: self.common("plan.placement.asked", |record| record.plan.placement.asked.clone()),
                server_cpus: self.common("plan.placement.server_cpus", |record| {
                    record.plan.placement.server_cpus.clone()
                }),
                loadgen_cpus: self.common("plan.placement.loadgen_cpus", |record| {
                    record.plan.placement.loadgen_cpus.clone()
                }),
            },
        }
    }

    pub(super) fn identity(&mut self) -> Identity {
        let identities = || self.parts.iter().map(|part| &part.record.identity);
        let earliest = |of: fn(&Identity) -> Option<&String>| identities().filter_map(of).min().cloned();
        Identity {
            started_at: earliest(|identity| Some(&identity.started_at)).unwrap_or_default(),
            measured_from: earliest(|identity| identity.measured_from.as_ref()),
            // Each generator was typed with its own seed.
            command: same(self.parts, |record| record.identity.command.clone()).unwrap_or_default(),
            suite: None,
            loadgen_version: self.common("loadgen_version", |record| record.identity.loadgen_version.clone()),
            // A note says so where they were not the same build.
            loadgen_sha256: same(self.parts, |record| record.identity.loadgen_sha256.clone()).flatten(),
        }
    }

    /// What all machines have in common.
    pub(super) fn environment(&mut self) -> Environment {
        macro_rules! common {
            ($field:ident) => {
                self.common(concat!("environment.", stringify!($field)), |record| {
                    record.environment.$field.clone()
                })
            };
        }
        Environment {
            kernel: common!(kernel),
            architecture: common!(architecture),
            cpu_model: common!(cpu_model),
            cpus_usable: common!(cpus_usable),
            cpus_online: common!(cpus_online),
            smt_active: common!(smt_active),
            memory_total_bytes: common!(memory_total_bytes),
            governor: common!(governor),
            clocksource: common!(clocksource),
            hypervisor: common!(hypervisor),
            container: common!(container),
            network: common!(network),
            cgroup_version: common!(cgroup_version),
            nofile_soft: common!(nofile_soft),
            nofile_hard: common!(nofile_hard),
            memlock_bytes: common!(memlock_bytes),
            // It moves from second to second: the busiest.
            load_average_1min: (self.parts.iter())
                .filter_map(|part| part.record.environment.load_average_1min)
                .reduce(f64::max),
            settings: self.settings(),
        }
    }

    /// Setting by setting.
    fn settings(&mut self) -> BTreeMap<String, String> {
        let names: BTreeSet<&String> = (self.parts.iter())
            .flat_map(|part| part.record.environment.settings.keys())
            .collect();
        let of = |name: &String| {
            let value = self.common(name, |record| record.environment.settings.get(name).cloned());
            Some((name.clone(), value?))
        };
        names.into_iter().filter_map(of).collect()
    }
}

/// All shares together; the rest is checked to be the same in all.
fn workload(shares: &[&Workload]) -> Workload {
    let first = shares[0];
    Workload {
        clients: shares.iter().map(|share| share.clients).sum(),
        active_clients: (first.active_clients).map(|_| shares.iter().filter_map(|share| share.active_clients).sum()),
        pacing: match first.pacing {
            Pacing::ClosedLoop => Pacing::ClosedLoop,
            Pacing::OpenLoop(mut open) => {
                let rates = shares.iter().filter_map(|share| share.open_loop());
                open.rate_per_s = rates.map(|open| open.rate_per_s).sum();
                Pacing::OpenLoop(open)
            }
        },
        stop: match first.stop {
            Stop::TotalMessages(_) => {
                Stop::TotalMessages(shares.iter().filter_map(|share| share.messages_planned()).sum())
            }
            other => other,
        },
        ..first.clone()
    }
}

/// The least steady of what all generators saw, since they saw the same load; None where one cannot say.
pub(super) fn steady(parts: &[Part]) -> Option<SteadyState> {
    let all: Option<Vec<SteadyState>> = parts.iter().map(|part| part.record.steady).collect();
    let rank = |class: SteadyClass| match class {
        SteadyClass::Flat => 0,
        SteadyClass::WarmUp => 1,
        SteadyClass::Slowdown => 2,
        SteadyClass::None => 3,
    };
    all?.into_iter().max_by(|one, other| {
        let trends = || one.trend_percent.abs().total_cmp(&other.trend_percent.abs());
        rank(one.class).cmp(&rank(other.class)).then_with(trends)
    })
}
