//! What holds for every strategy of a binary of processes or threads: one list of tests for both packages.

use crate::{
    ServerBinary, a_stop_at_the_process_limit_resets_nobody, after_a_failure_the_first_signal_is_the_first,
    of_two_that_start_at_once_on_one_port_one_serves, payloads_come_back_however_they_are_cut,
    where_no_thread_can_be_had_it_serves_or_says_so,
};
use echo_contract::catalog::{TARGETS, Target};
use std::path::Path;

/// Makes a test of each assertion below, for the binary at this path.
#[macro_export]
macro_rules! tests_of_every_strategy {
    ($path:expr) => {
        #[test]
        fn every_strategy_keeps_the_echo_contract() {
            $crate::every_target_of_a_binary_keeps_the_echo_contract($path);
        }

        #[test]
        fn payloads_come_back_from_every_strategy_however_they_are_cut() {
            $crate::strategies::give_payloads_back($path);
        }

        #[test]
        fn of_two_servers_that_start_at_once_on_one_port_one_serves() {
            $crate::strategies::have_a_port_to_themselves($path);
        }

        #[test]
        fn where_no_thread_and_no_process_can_be_had_every_strategy_serves_or_says_so() {
            $crate::strategies::serve_or_say_so($path);
        }

        #[test]
        fn a_stop_at_the_process_limit_resets_no_client() {
            $crate::strategies::stop_without_a_reset($path);
        }

        #[test]
        fn after_a_failure_the_first_signal_drains_the_server() {
            $crate::strategies::drain_after_a_failure($path);
        }
    };
}

/// The rows of the catalog that are this binary.
pub(crate) fn targets_of(path: &str) -> impl Iterator<Item = &'static Target> {
    TARGETS
        .iter()
        .filter(move |target| Path::new(path).ends_with(target.binary))
}

/// One client after the other.
///
/// # Panics
/// As [`payloads_come_back_however_they_are_cut`].
pub fn give_payloads_back(path: &str) {
    for target in targets_of(path) {
        payloads_come_back_however_they_are_cut(&ServerBinary::new(path, target.arguments));
    }
}

/// # Panics
/// As [`of_two_that_start_at_once_on_one_port_one_serves`].
pub fn have_a_port_to_themselves(path: &str) {
    for target in targets_of(path) {
        of_two_that_start_at_once_on_one_port_one_serves(&ServerBinary::new(path, target.arguments));
    }
}

/// # Panics
/// As [`where_no_thread_can_be_had_it_serves_or_says_so`].
pub fn serve_or_say_so(path: &str) {
    /// For the server itself and one client or one worker.
    const ENOUGH: u64 = 2;
    for target in targets_of(path) {
        where_no_thread_can_be_had_it_serves_or_says_so(path, target.arguments, ENOUGH);
    }
}

/// # Panics
/// As [`a_stop_at_the_process_limit_resets_nobody`].
pub fn stop_without_a_reset(path: &str) {
    // One client may take all that a listener of a worker's own hands out.
    for target in targets_of(path).filter(|target| !target.may_starve) {
        let arguments = [target.arguments, &["--workers", "20"]].concat();
        a_stop_at_the_process_limit_resets_nobody(path, &arguments);
    }
}

/// Of the servers that accept in their first process; a pool's forked worker takes a shut listener for its parent's stop.
///
/// # Panics
/// As [`after_a_failure_the_first_signal_is_the_first`], and when there is no such target.
pub fn drain_after_a_failure(path: &str) {
    let accepts_itself = |target: &&Target| ["fork", "thread", "thread-pool"].contains(&target.name);
    let mut tried = 0;
    for target in targets_of(path).filter(accepts_itself) {
        // Of a pool's two workers one serves the client, and the other accepts.
        let arguments = [target.arguments, &["--workers", "2"]].concat();
        after_a_failure_the_first_signal_is_the_first(&ServerBinary::new(path, &arguments));
        tried += 1;
    }
    assert!(tried > 0, "no target of {path} accepts in its first process");
}
