//! What every strategy of threads must do: the echo contract, any cut of a payload, starts and stops where the system has nothing to give.

server_testkit::tests_of_every_strategy!(env!("CARGO_BIN_EXE_thread-server"));
