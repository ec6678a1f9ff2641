//! Which CPUs each side runs on, and on how many threads.

use crate::cmd::arguments::Pin;
use crate::failure::Failure;
use crate::record::{Machine, Placement};

/// Divides the CPUs between both sides.
///
/// # Errors
/// When a named CPU is not there.
pub fn placement(pin: &Pin, server_workers: u32, machine: &Machine) -> Result<Placement, Failure> {
    let usable: Vec<usize> = machine.cores.iter().flatten().copied().collect();
    let placement = |server_cpus: Vec<usize>, loadgen_cpus: Vec<usize>| {
        let shared = server_cpus.is_empty() || server_cpus.iter().any(|cpu| loadgen_cpus.contains(cpu));
        Placement {
            asked: pin.to_string(),
            server_cpus,
            loadgen_cpus,
            shared,
        }
    };
    match pin {
        Pin::Off => Ok(placement(vec![], vec![])),
        Pin::Cpus { server, client } => {
            if let Some(cpu) = server.iter().chain(client).find(|cpu| !usable.contains(cpu)) {
                return Err(Failure::usage(format!(
                    "--pin {pin}: CPU {cpu} is not one that this process may use ({})",
                    list(&usable)
                )));
            }
            Ok(placement(server.clone(), client.clone()))
        }
        Pin::Auto if usable.len() < 2 => Ok(placement(vec![], vec![])),
        Pin::Auto => {
            // Whole cores for each side: hardware threads of one core slow each other down. Only a machine of one
            // core has to split it.
            let workers = server_workers.max(1) as usize;
            if machine.cores.len() < 2 {
                return Ok(placement(vec![usable[0]], usable[1..].to_vec()));
            }
            let server_cores = workers.min(machine.cores.len() / 2).max(1);
            let (server, client) = machine.cores.split_at(server_cores);
            let first_threads = |cores: &[Vec<usize>]| cores.iter().filter_map(|core| core.first().copied()).collect();
            Ok(placement(first_threads(server), first_threads(client)))
        }
    }
}

/// Whether each thread of loadgen has a CPU that the server does not have, so that looking for answers takes nothing from it.
pub(super) fn has_own_cpus(placement: &Placement, threads: u32) -> bool {
    !placement.shared && threads as usize <= placement.loadgen_cpus.len()
}

pub(super) fn threads(asked: Option<u64>, placement: &Placement, machine: &Machine) -> Result<u32, Failure> {
    let usable = machine.cores.iter().flatten().count();
    let threads = match asked {
        Some(threads) if threads > 1024 => {
            return Err(Failure::usage(format!(
                "--threads {threads} is more than 1024; this process may use {usable} CPUs"
            )));
        }
        Some(threads) => threads,
        None if placement.loadgen_cpus.is_empty() => usable.saturating_sub(1).max(1) as u64,
        None => placement.loadgen_cpus.len() as u64,
    };
    Ok(u32::try_from(threads).unwrap_or(u32::MAX))
}

fn list(cpus: &[usize]) -> String {
    cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::resolve::tests::machine;

    #[test]
    fn hardware_threads_of_one_core_never_serve_both_sides() {
        let place = |cores: &[&[usize]], workers| {
            let placement = placement(&Pin::Auto, workers, &machine(cores)).unwrap();
            (placement.server_cpus, placement.loadgen_cpus, placement.shared)
        };
        assert_eq!(
            place(&[&[0, 4], &[1, 5], &[2, 6], &[3, 7]], 1),
            (vec![0], vec![1, 2, 3], false)
        );
        assert_eq!(
            place(&[&[0, 4], &[1, 5], &[2, 6], &[3, 7]], 2),
            (vec![0, 1], vec![2, 3], false)
        );
        assert_eq!(place(&[&[0, 1]], 1), (vec![0], vec![1], false));
        assert_eq!(place(&[&[0]], 1), (vec![], vec![], true));
    }
}
