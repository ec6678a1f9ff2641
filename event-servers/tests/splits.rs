//! Whatever a payload is cut into, it comes back: from every event server of this build, with one worker and with two.

use echo_contract::catalog::TARGETS;
use server_testkit::{ServerBinary, payloads_come_back_however_they_are_cut};

#[test]
fn payloads_come_back_from_every_event_server_however_they_are_cut() {
    let mut servers = 0;
    for target in TARGETS.iter().filter(|target| target.package == "event-servers") {
        // Cargo tells where each binary is that this build has.
        let Ok(path) = std::env::var(format!("CARGO_BIN_EXE_{}", target.binary)) else {
            continue;
        };
        for workers in ["1", "2"] {
            let arguments = [target.arguments, &["--workers", workers]].concat();
            payloads_come_back_however_they_are_cut(&ServerBinary::new(&path, &arguments));
            servers += 1;
        }
    }
    assert!(
        servers > 0,
        "this build has no event server, or cargo does not tell where"
    );
}
