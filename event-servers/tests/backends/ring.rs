//! Rule 8 where it can be shown: each ring server is denied its ring, and says so.

use super::{Server, Test, WORKERS};
use echo_contract::conformance::{Launch, Process};
use echo_contract::ready::RingFacts;
use server_testkit::ServerBinary;

pub(crate) const TESTS: &[Test] = &[
    (
        "exits_with_69_and_names_the_filter_that_denies_io_uring",
        names_a_filter,
    ),
    ("exits_with_69_and_names_too_little_lockable_memory", names_memlock),
    (
        "needs_no_more_lockable_memory_than_the_kernels_default",
        runs_by_default,
    ),
    ("tells_of_its_ring", tells_of_its_ring),
];

fn names_a_filter(server: &Server) {
    let binary = server.as_it_is().without_io_uring();
    gives_up(&binary, &["io_uring_setup", "EPERM", "seccomp"]);
}

fn names_memlock(server: &Server) {
    let binary = server.as_it_is().with_memlock(4096);
    // glommio looks at the limit before it asks the kernel.
    let who_denies = match server.target.runtime {
        "glommio" => "glommio",
        _ => "ENOMEM",
    };
    gives_up(&binary, &["memlock", who_denies, "this server needs", "is 4096 bytes"]);
}

fn runs_by_default(server: &Server) {
    const DEFAULT_BYTES: u64 = 8 << 20;
    let binary = server.with_workers(4).with_memlock(DEFAULT_BYTES);
    let running = binary.start(&Launch::default()).unwrap();
    assert_eq!(running.ready().workers, 4);
}

fn tells_of_its_ring(server: &Server) {
    let running = server.as_it_is().start(&Launch::default()).unwrap();
    let facts = running.ready().ring.as_ref().expect("READY tells of the ring");
    let RingFacts {
        driver,
        entries,
        completions,
    } = facts;
    assert!(
        !driver.is_empty() && *entries >= 128 && completions >= entries,
        "{facts:?}"
    );
}

impl Server {
    fn as_it_is(&self) -> ServerBinary {
        ServerBinary::new(&self.path, self.target.arguments)
    }
}

fn gives_up(binary: &ServerBinary, reasons: &[&str]) {
    for workers in WORKERS.map(|workers| workers.to_string()) {
        let exit = binary.run(&["--port", "0", "--workers", &workers]).unwrap();
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
}
