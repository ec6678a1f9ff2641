//! How every strategy starts, or says why it does not, and stops where it gets no further process or thread.

use echo_contract::catalog::TARGETS;
use server_testkit::{
    ServerBinary, a_stop_at_the_process_limit_resets_nobody, of_two_that_start_at_once_on_one_port_one_serves,
    where_no_thread_can_be_had_it_serves_or_says_so,
};

const PATH: &str = env!("CARGO_BIN_EXE_fork-server");

/// For the server itself and one client or one worker.
const ENOUGH: u64 = 2;

#[test]
fn of_two_servers_that_start_at_once_on_one_port_one_serves() {
    for target in TARGETS.iter().filter(|target| target.binary == "fork-server") {
        of_two_that_start_at_once_on_one_port_one_serves(&ServerBinary::new(PATH, target.arguments));
    }
}

#[test]
fn where_no_process_can_be_had_every_strategy_serves_or_says_so() {
    for target in TARGETS.iter().filter(|target| target.binary == "fork-server") {
        where_no_thread_can_be_had_it_serves_or_says_so(PATH, target.arguments, ENOUGH);
    }
}

#[test]
fn a_stop_at_the_process_limit_resets_no_client() {
    for target in TARGETS.iter().filter(|target| target.binary == "fork-server") {
        // One client may take all that a listener of a worker's own hands out.
        if !target.may_starve {
            let arguments = [target.arguments, &["--workers", "20"]].concat();
            a_stop_at_the_process_limit_resets_nobody(PATH, &arguments);
        }
    }
}
