//! Whether a comparison can be gone on with here: on the machine, the CPUs and the kind of network that it was begun on.

use super::Here;
use crate::failure::Failure;
use crate::measurement::store::Stored;
use crate::record::{NetworkChoice, NetworkKind, Start};
use crate::suite::alike::machine_differences;
use crate::suite::matrix::Suite;
use crate::suite::results::{check_one_network, network_of};
use std::path::Path;

/// Refuses what would put figures of two places into one table.
///
/// # Errors
/// Usage, naming what is different.
pub(super) fn check(folder: &Path, suite: &Suite, records: &[Stored], here: &Here) -> Result<(), Failure> {
    check_one_network(records)?;
    let mut measured = records.iter().map(|stored| &stored.measurement);
    let Some(first) = measured.find(|trial| network_of(trial).is_some()) else {
        return Ok(()); // Nothing was measured yet.
    };
    let differences = machine_differences(&first.environment, &here.environment);
    if let Some((name, there, here)) = differences.first() {
        let what = format!("the {name} there is {there}, here it is {here}");
        return Err(elsewhere(folder, &what));
    }
    check_cpus_and_network(folder, suite, network_of(first), here)
}

/// Refuses CPUs that cannot be had here, and another kind of network than the trials of before had.
///
/// # Errors
/// Usage, naming which.
pub(in crate::cmd) fn check_cpus_and_network(
    folder: &Path,
    suite: &Suite,
    before: Option<NetworkKind>,
    here: &Here,
) -> Result<(), Failure> {
    let refused = |what: String| elsewhere(folder, &what);
    let placement = &suite.base.placement;
    let usable = |cpu: &&usize| here.cpus.contains(cpu);
    let mut asked = placement.server_cpus.iter().chain(&placement.loadgen_cpus);
    if let Some(cpu) = asked.find(|cpu| !usable(cpu)) {
        return Err(refused(format!(
            "its trials used CPU {cpu}, which loadgen may not use here"
        )));
    }
    match (before, network(suite, here)) {
        (Some(NetworkKind::Private), NetworkKind::Host) => Err(refused(format!(
            "its trials had private networks, and here they would be on the host's: {}",
            here.no_private_network.as_deref().unwrap_or("so it was asked for")
        ))),
        (Some(NetworkKind::Host), NetworkKind::Private) => Err(refused(
            "its trials were on the host's network, and here each would have a private one (--network host asks for the host's)"
                .to_string(),
        )),
        _ => Ok(()),
    }
}

fn elsewhere(folder: &Path, what: &str) -> Failure {
    Failure::usage(format!(
        "{} was measured elsewhere: {what}. Figures of two places may not share a table: compare anew",
        folder.display()
    ))
}

/// Where the trials of this comparison would run now.
pub(super) fn network(suite: &Suite, here: &Here) -> NetworkKind {
    let is_private = match suite.base.network {
        NetworkChoice::Host => false,
        NetworkChoice::Private => true,
        NetworkChoice::Auto => suite.base.start == Start::Always && here.no_private_network.is_none(),
    };
    if is_private {
        NetworkKind::Private
    } else {
        NetworkKind::Host
    }
}
