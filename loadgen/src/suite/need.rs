//! What a workload needs of this machine, found out before anything is started: a level that cannot be had is left out and told,
//! and does not fail after minutes. Pure.

use super::matrix::Suite;
use crate::record::{Machine, NetworkKind, Plan};
use crate::text::count;
use serde::{Deserialize, Serialize};

/// A workload that a suite would have, and does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    pub workload: String,
    /// What it needs and what there is, and how to have it: one sentence.
    pub why: String,
}

/// Takes out of the suite what this machine cannot have, whichever target.
pub fn leave_out(suite: &mut Suite, machine: &Machine, network: NetworkKind) {
    let plans: Vec<Plan> = suite.pairs_of_all().iter().map(|pair| suite.plan(pair, 1)).collect();
    let lacking = |name: &str| {
        let plan = plans.iter().find(|plan| plan.workload.name == name)?;
        descriptors(plan, machine).or_else(|| ports(plan, machine, network))
    };
    let mut left_out = Vec::new();
    suite.workloads.retain(|workload| {
        let why = lacking(&workload.name);
        left_out.extend(why.iter().map(|why| LeftOut {
            workload: workload.name.clone(),
            why: why.clone(),
        }));
        why.is_none()
    });
    suite.left_out = left_out;
}

/// loadgen and the server are a process each, with a limit each; the server takes one for each client, as loadgen does.
fn descriptors(plan: &Plan, machine: &Machine) -> Option<String> {
    let (need, hard) = (plan.descriptors(), machine.nofile_hard);
    (need > hard).then(|| {
        format!(
            "{} clients need {} descriptors in loadgen and as many in a server of one process, and a process may have {} here (hard \
             limit): raise it as root before the start with `ulimit -Hn {need} && ulimit -n {need}`",
            count(plan.workload.clients.into()),
            count(need),
            count(hard)
        )
    })
}

/// In a network of its own a trial has nearly all ports.
fn ports(plan: &Plan, machine: &Machine, network: NetworkKind) -> Option<String> {
    const ALL: u64 = 65_535 - 1024;
    let of_source = match network {
        NetworkKind::Private => ALL,
        NetworkKind::Host => machine.ports_per_source,
    };
    let ports = of_source * plan.source_addresses.len().max(1) as u64;
    let clients = u64::from(plan.workload.clients);
    (clients > ports).then(|| {
        let last = 1 + clients.div_ceil(of_source.max(1));
        format!(
            "{} clients need as many source ports, and there are {} (net.ipv4.ip_local_port_range): give --source-addresses \
             127.0.0.2-127.0.0.{last}",
            count(clients),
            count(ports)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::sample::suite;
    use crate::suite::suites::find;

    fn machine(nofile_hard: u64) -> Machine {
        Machine {
            cores: vec![vec![0], vec![1]],
            nofile_hard,
            ports_per_source: 28_232,
        }
    }

    fn left_out(nofile_hard: u64, network: NetworkKind) -> (Vec<String>, Vec<LeftOut>) {
        let mut suite = Suite {
            workloads: find("clients").unwrap().workloads(),
            ..suite()
        };
        suite.workloads[3].clients = 30_000;
        leave_out(&mut suite, &machine(nofile_hard), network);
        let names = suite.workloads.iter().map(|workload| workload.name.clone());
        (names.collect(), suite.left_out)
    }

    #[test]
    fn a_level_that_needs_more_descriptors_than_there_are_is_left_out_and_says_why() {
        let (left, out) = left_out(4096, NetworkKind::Private);
        assert_eq!(left, ["clients-1", "clients-10", "clients-100"]);
        let whys: Vec<&str> = out.iter().map(|out| out.why.as_str()).collect();
        assert!(
            whys[1].contains("10,000 clients need 10,064 descriptors") && whys[1].contains("4,096 here"),
            "{whys:?}"
        );
    }

    #[test]
    fn ten_thousand_clients_fit_into_twenty_thousand_descriptors_for_each_process() {
        assert_eq!(left_out(40_000, NetworkKind::Private).1, []);
        let (left, out) = left_out(20_000, NetworkKind::Private);
        assert!(left.contains(&"clients-10000".to_string()) && out.len() == 1);
    }

    #[test]
    fn on_the_hosts_network_ports_are_counted_too() {
        let (_, out) = left_out(40_000, NetworkKind::Host);
        assert!(out[0].why.contains("--source-addresses 127.0.0.2-127.0.0.3"), "{out:?}");
    }
}
