//! How a server starts, or says why it does not: beside another on the same port, and where the system gives it no thread
//! and no process.

use crate::ServerBinary;
use echo_contract::conformance::Launch;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// Starts two servers on one port at the same moment, again and again: each time exactly one serves, and the other says in
/// one line that the port is in use.
///
/// # Panics
/// When both serve, or neither, or the other says something else.
pub fn of_two_that_start_at_once_on_one_port_one_serves(binary: &ServerBinary) {
    const ROUNDS: usize = 20;
    for _ in 0..ROUNDS {
        let port = free_port();
        let start = || binary.start_on(port, &Launch::default());
        let (one, other) = thread::scope(|scope| {
            let other = scope.spawn(start);
            (start(), other.join().expect("a start does not panic"))
        });
        let (server, refused) = match (one, other) {
            (Ok(server), Err(refused)) | (Err(refused), Ok(server)) => (server, refused.to_string()),
            (Ok(_), Ok(_)) => panic!("{binary:?}: both serve on port {port}"),
            (Err(one), Err(other)) => panic!("{binary:?}: neither serves on port {port}: {one}; {other}"),
        };
        assert!(refused.contains("in use"), "{binary:?}: {refused}");
        assert_eq!(refused.lines().count(), 1, "{binary:?}: {refused}");
        assert!(server.try_served().is_some(), "{binary:?}");
    }
}

/// Starts a server that may have ever more processes and threads, from one on, up to `enough`. Each time it is READY, with
/// no more workers than it has, and answers a client with an echo or a FIN and a stop with exit code 0; or it says one line
/// and exits with 1. With `enough` it serves.
///
/// # Panics
/// When it does anything else.
pub fn where_no_thread_can_be_had_it_serves_or_says_so(path: &str, arguments: &[&str], enough: u64) {
    for most in 1..=enough {
        let binary = ServerBinary::new(path, arguments).with_max_processes(most);
        match binary.start(&Launch::default()) {
            Ok(mut server) => {
                let is_served = server.try_served().is_some();
                assert!(is_served || most < enough, "{binary:?}: a client was refused");
                let exit = server.stop(LIMIT);
                assert_eq!(exit.code, Some(0), "{binary:?}: {}", exit.stderr);
            }
            Err(refused) => {
                let text = refused.to_string();
                assert!(most < enough, "{text}");
                assert!(text.contains("exit code 1"), "{binary:?}: {text}");
                assert_eq!(text.lines().count(), 1, "{binary:?}: {text}");
            }
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound listener").port()
}
