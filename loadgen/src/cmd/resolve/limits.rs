//! What this machine allows: descriptors and source ports.

use crate::failure::Failure;
use crate::record::{Machine, Workload};

/// Descriptors that loadgen needs beside its clients' sockets.
pub(super) const DESCRIPTORS_BESIDE_CLIENTS: u64 = 64;

pub(super) fn check_descriptors(workload: &Workload, machine: &Machine) -> Result<(), Failure> {
    let need = u64::from(workload.clients) + DESCRIPTORS_BESIDE_CLIENTS;
    let hard = machine.nofile_hard;
    if need <= hard {
        return Ok(());
    }
    let most = hard.saturating_sub(DESCRIPTORS_BESIDE_CLIENTS);
    Err(Failure::usage(format!(
        "--clients {} needs {need} descriptors ({DESCRIPTORS_BESIDE_CLIENTS} beside the clients), and this process may \
         have {hard} (hard limit). Raise it as root before the start with `ulimit -Hn {need} && ulimit -n {need}`, or \
         use at most --clients {most}",
        workload.clients
    )))
}

pub(super) fn check_ports(workload: &Workload, sources: usize, machine: &Machine) -> Result<(), Failure> {
    let ports = machine.ports_per_source * sources.max(1) as u64;
    if u64::from(workload.clients) <= ports {
        return Ok(());
    }
    let addresses = u64::from(workload.clients).div_ceil(machine.ports_per_source);
    Err(Failure::usage(format!(
        "--clients {} needs as many source ports, and {} source address(es) have {ports} (net.ipv4.ip_local_port_range). \
         Give at least {addresses} with --source-addresses, e.g. --source-addresses 127.0.0.2-127.0.0.{}",
        workload.clients,
        sources.max(1),
        1 + addresses
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::resolve::tests::machine;
    use crate::suite::preset;

    #[test]
    fn more_clients_than_ports_need_source_addresses() {
        let machine = Machine {
            nofile_hard: 100_000,
            ..machine(&[&[0], &[1]])
        };
        let many = preset::unnamed(60_000);
        assert!(check_ports(&many, 3, &machine).is_ok());
        let refused = check_ports(&many, 0, &machine).unwrap_err().text;
        assert!(
            refused.contains("at least 3") && refused.contains("127.0.0.2-127.0.0.4"),
            "{refused}"
        );
    }
}
