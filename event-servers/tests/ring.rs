//! Rule 8 where it can be shown: each ring server is denied its ring, and says so.

#![cfg(any(feature = "compio", feature = "glommio", feature = "io-uring", feature = "monoio"))]

use echo_contract::conformance::{Launch, Process};
use echo_contract::ready::RingFacts;
use server_testkit::ServerBinary;

/// The servers of this build, by their binaries.
const SERVERS: &[&str] = &[
    #[cfg(feature = "io-uring")]
    env!("CARGO_BIN_EXE_event-io-uring"),
    #[cfg(feature = "glommio")]
    env!("CARGO_BIN_EXE_event-glommio"),
    #[cfg(feature = "monoio")]
    env!("CARGO_BIN_EXE_event-monoio"),
    #[cfg(feature = "compio")]
    env!("CARGO_BIN_EXE_event-compio"),
];

const WORKERS: [&str; 2] = ["1", "2"];

#[test]
fn a_filter_that_denies_io_uring_is_named_and_ends_the_server_with_69() {
    for server in SERVERS {
        let binary = ServerBinary::new(server, &[]).without_io_uring();
        for workers in WORKERS {
            gives_up(&binary, workers, &["io_uring_setup", "EPERM", "seccomp"]);
        }
    }
}

#[test]
fn too_little_lockable_memory_is_named_with_what_is_needed_and_found() {
    for server in SERVERS {
        let binary = ServerBinary::new(server, &[]).with_memlock(4096);
        for workers in WORKERS {
            // glommio looks at the limit before it asks the kernel.
            let who_denies = if server.ends_with("glommio") {
                "glommio"
            } else {
                "ENOMEM"
            };
            gives_up(
                &binary,
                workers,
                &["memlock", who_denies, "this server needs", "is 4096 bytes"],
            );
        }
    }
}

#[test]
fn the_kernels_default_of_lockable_memory_is_enough() {
    const DEFAULT_BYTES: u64 = 8 << 20;
    for server in SERVERS {
        let binary = ServerBinary::new(server, &["--workers", "4"]).with_memlock(DEFAULT_BYTES);
        let running = binary.start(&Launch::default()).unwrap();
        assert_eq!(running.ready().workers, 4);
    }
}

#[test]
fn ready_tells_of_the_ring() {
    for server in SERVERS {
        let running = ServerBinary::new(server, &[]).start(&Launch::default()).unwrap();
        let Some(RingFacts {
            driver,
            entries,
            completions,
        }) = &running.ready().ring
        else {
            panic!("{server} tells nothing of its ring");
        };
        assert!(
            !driver.is_empty() && *entries >= 128 && completions >= entries,
            "{server}"
        );
    }
}

fn gives_up(binary: &ServerBinary, workers: &str, reasons: &[&str]) {
    let exit = binary.run(&["--port", "0", "--workers", workers]).unwrap();
    assert_eq!(exit.code, Some(69), "{binary:?}: {}", exit.stderr);
    assert!(exit.stats.is_none(), "it never served");
    for reason in reasons {
        assert!(
            exit.stderr.contains(reason),
            "{binary:?}: no {reason} in {}",
            exit.stderr
        );
    }
    assert_eq!(exit.stderr.lines().count(), 1, "one paragraph: {}", exit.stderr);
}
