//! The echo contract, rule by rule, on the real binary.

#[test]
fn every_strategy_of_threads_keeps_the_echo_contract() {
    server_testkit::every_target_of_a_binary_keeps_the_echo_contract(env!("CARGO_BIN_EXE_thread-server"));
}
