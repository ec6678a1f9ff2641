//! Whatever a payload is cut into, it comes back: from every strategy, one client after the other.

use echo_contract::catalog::TARGETS;
use server_testkit::{ServerBinary, payloads_come_back_however_they_are_cut};

#[test]
fn payloads_come_back_from_every_strategy_however_they_are_cut() {
    let path = env!("CARGO_BIN_EXE_fork-server");
    for target in TARGETS.iter().filter(|target| target.binary == "fork-server") {
        payloads_come_back_however_they_are_cut(&ServerBinary::new(path, target.arguments));
    }
}
