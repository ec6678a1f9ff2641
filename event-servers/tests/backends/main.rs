//! Every event server of this build, with one worker and with two: the list is the catalog's, so no backend can be left out.
//!
//! `TARGET=event-tokio cargo test -p event-servers` makes one target's tests only, and fails when there is no such target.
//! A build with default features must have every row; one with fewer features tests its own and names the others.

mod ring;
mod selection;
mod threads;

use echo_contract::catalog::{TARGETS, Target};
use libtest_mimic::{Arguments, Trial};
use selection::Selection;
use server_testkit::{
    ServerBinary, a_stop_at_the_process_limit_resets_nobody, after_a_failure_the_first_signal_is_the_first,
    keeps_the_echo_contract, of_two_that_start_at_once_on_one_port_one_serves, payloads_come_back_however_they_are_cut,
    where_no_thread_can_be_had_it_serves_or_says_so,
};
use std::process::ExitCode;
use std::{env, thread};

const WORKERS: [u32; 2] = [1, 2];

/// A row of the catalog and the binary that this build has for it.
#[derive(Clone, Debug)]
struct Server {
    target: &'static Target,
    path: String,
}

/// Its name, and what it asserts of a server.
type Test = (&'static str, fn(&Server));

const TESTS: &[Test] = &[
    ("keeps_the_echo_contract", keeps_the_contract),
    ("gives_payloads_back_however_they_are_cut", gives_payloads_back),
    ("has_the_threads_of_its_row", threads::are_those_of_the_row),
    ("stops_at_the_process_limit_without_a_reset", stops_without_a_reset),
    ("drains_on_the_first_signal_after_a_failure", drains_after_a_failure),
    ("has_a_port_to_itself", has_a_port_to_itself),
    ("serves_or_says_so_where_no_thread_can_be_had", serves_or_says_so),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let rows = TARGETS.iter().filter(|row| row.package == env!("CARGO_PKG_NAME"));
    // Cargo says where each binary is that this build has.
    let path_of = |row: &Target| env::var(format!("CARGO_BIN_EXE_{}", row.binary)).ok();
    let wanted = env::var("TARGET").ok();
    match selection::select(rows, wanted.as_deref(), cfg!(feature = "default"), path_of) {
        Ok(Selection { servers, not_built }) => {
            if !not_built.is_empty() {
                eprintln!("not in this build, so not tested: {}", not_built.join(", "));
            }
            let trials = servers.iter().flat_map(trials).chain(selection::trials());
            libtest_mimic::run(&arguments, trials.collect()).exit_code()
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn trials(server: &Server) -> impl Iterator<Item = Trial> {
    let of_rings = if server.target.io_interface.needs_ring() {
        ring::TESTS
    } else {
        &[]
    };
    TESTS.iter().chain(of_rings).map(|(name, test)| {
        let server = server.clone();
        Trial::test(format!("{}::{name}", server.target.name), move || {
            test(&server);
            Ok(())
        })
    })
}

impl Server {
    fn with_workers(&self, workers: u32) -> ServerBinary {
        let workers = workers.to_string();
        ServerBinary::new(&self.path, &[self.target.arguments, &["--workers", &workers]].concat())
    }
}

/// Both at once: the checks mostly wait.
fn keeps_the_contract(server: &Server) {
    thread::scope(|scope| {
        for workers in WORKERS {
            scope.spawn(move || keeps_the_echo_contract(&server.path, server.target, workers));
        }
    });
}

fn gives_payloads_back(server: &Server) {
    for workers in WORKERS {
        payloads_come_back_however_they_are_cut(&server.with_workers(workers));
    }
}

fn has_a_port_to_itself(server: &Server) {
    for workers in WORKERS {
        of_two_that_start_at_once_on_one_port_one_serves(&server.with_workers(workers));
    }
}

fn stops_without_a_reset(server: &Server) {
    a_stop_at_the_process_limit_resets_nobody(&server.path, server.target.arguments);
}

fn drains_after_a_failure(server: &Server) {
    for workers in WORKERS {
        after_a_failure_the_first_signal_is_the_first(&server.with_workers(workers));
    }
}

fn serves_or_says_so(server: &Server) {
    /// For four workers, those of a blocking pool, the main thread, a timer.
    const ENOUGH: u64 = 10;
    for workers in ["1", "4"] {
        let arguments = [server.target.arguments, &["--workers", workers]].concat();
        where_no_thread_can_be_had_it_serves_or_says_so(&server.path, &arguments, ENOUGH);
    }
}
