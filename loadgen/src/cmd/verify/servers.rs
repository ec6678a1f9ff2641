//! Servers that are not started for each check: one of the user's own, or whoever is at an address.

use crate::cmd::arguments::VerifyArgs;
use crate::cmd::leftovers;
use crate::cmd::resolve::servers::target;
use crate::failure::Failure;
use crate::record::Reach;
use crate::subject;
use echo_contract::catalog::{ExpectedFailure, Frequency};
use echo_contract::conformance::{self, Profile};

/// Enough that a check can have many clients at once.
pub(super) const WORKERS_OF_A_POOL: u32 = 64;

/// A server that serves all checks.
pub(super) struct Served {
    pub(super) name: String,
    pub(super) server: subject::Server,
    pub(super) profile: Profile,
    pub(super) expected_failures: &'static [ExpectedFailure],
}

/// Starts the user's own server of that name, or finds whoever is at the address.
///
/// # Errors
/// Where there is neither, or it does not echo.
pub(super) fn attached(args: &VerifyArgs) -> Result<Served, Failure> {
    let (name, external) = target(&args.servers, Some(&args.target))?;
    let reach = Reach {
        public: args.reach.allow_public,
        ..Reach::default()
    };
    if external.is_none() {
        // A name that means nothing is told before anything else is done.
        subject::resolve(&name, reach, &[])?;
    }
    leftovers::remove(|| 0);
    if let Some(external) = external.as_ref().filter(|_| !args.no_build) {
        subject::prepare_external(external)?;
    }
    let server = subject::obtain(&subject::Request {
        external: external.as_ref(),
        connect_timeout: args.reach.connect_timeout,
        reach,
        ..subject::Request::attach(&name)
    })?;
    // One of ours, also in a container: a pool is asked for no more than it has workers.
    let workers = args.workers.or(server.description().workers).unwrap_or(1);
    let profile = server
        .row()
        .map_or(Profile::unbounded(), |row| Profile::of(row, workers as usize));
    let expected_failures = expected_of(&server);
    Ok(Served {
        name,
        server,
        profile,
        expected_failures,
    })
}

/// What a server that is attached to is expected to fail. Behind the proxy of a container's published port, connections of clients
/// that are gone live on for seconds; what the catalog says of that may befall any check.
fn expected_of(server: &subject::Server) -> &'static [ExpectedFailure] {
    let Some(row) = server.row() else {
        return &[];
    };
    let (Some(why), Some(_)) = (row.fails_behind_a_proxy, &server.description().container) else {
        return row.expected_failures;
    };
    let is_named = |check: &str| row.expected_failures.iter().any(|failure| failure.check == check);
    let others = conformance::checks().filter(|(_, check)| !is_named(check));
    let others = others.map(|(_, check)| ExpectedFailure {
        check,
        frequency: Frequency::AtTimes,
        why,
    });
    // As long-lived as the catalog, and made once in a process.
    row.expected_failures
        .iter()
        .copied()
        .chain(others)
        .collect::<Vec<_>>()
        .leak()
}
