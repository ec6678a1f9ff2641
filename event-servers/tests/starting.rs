//! How every event server of this build starts, or says why it does not.

use echo_contract::catalog::TARGETS;
use server_testkit::{
    ServerBinary, of_two_that_start_at_once_on_one_port_one_serves, where_no_thread_can_be_had_it_serves_or_says_so,
};

/// For four workers, those of a blocking pool, the main thread, a timer.
const ENOUGH: u64 = 10;

#[test]
fn of_two_servers_that_start_at_once_on_one_port_one_serves() {
    for (path, arguments) in servers("2") {
        of_two_that_start_at_once_on_one_port_one_serves(&ServerBinary::new(&path, &arguments));
    }
}

#[test]
fn where_no_thread_can_be_had_it_serves_or_says_so_with_one_worker_and_with_four() {
    for workers in ["1", "4"] {
        for (path, arguments) in servers(workers) {
            where_no_thread_can_be_had_it_serves_or_says_so(&path, &arguments, ENOUGH);
        }
    }
}

/// Binary and arguments of each target of this build.
fn servers(workers: &str) -> Vec<(String, Vec<&str>)> {
    let events = TARGETS.iter().filter(|target| target.package == "event-servers");
    // Cargo tells where each binary is that this build has.
    let built = events.filter_map(|target| {
        let path = std::env::var(format!("CARGO_BIN_EXE_{}", target.binary)).ok()?;
        Some((path, [target.arguments, &["--workers", workers]].concat()))
    });
    let servers: Vec<_> = built.collect();
    assert!(
        !servers.is_empty(),
        "this build has no event server, or cargo does not tell where"
    );
    servers
}
