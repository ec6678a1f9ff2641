//! What only a server made of threads can get wrong: threads that stay, threads that cannot be had.

use echo_contract::conformance::Launch;
use server_testkit::{ServerBinary, not_tested, ping};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn each_client_has_one_thread_that_ends_with_it() {
    let server = binary().start(&Launch::default()).unwrap();
    assert_eq!(server.threads().unwrap(), 1);
    let clients: Vec<_> = (0..20).map(|_| server.served()).collect();
    assert_eq!(server.threads().unwrap(), 1 + clients.len());
    drop(clients);
    server.await_condition("one thread is left", |server| server.threads().unwrap() == 1);
}

#[test]
fn a_client_that_gets_no_thread_gets_a_fin_and_the_server_lives() {
    let mut server = binary().with_max_processes(4).start(&Launch::default()).unwrap();
    let (mut kept, mut refused) = (Vec::new(), 0);
    for _ in 0..20 {
        match server.try_served() {
            Some(client) => kept.push(client),
            None => refused += 1,
        }
    }
    assert!(refused >= 16, "{refused} of 20 refused with room for at most 4 threads");
    for client in &mut kept {
        assert!(ping(client));
    }
    if kept.is_empty() {
        not_tested("that a client is served again: this user's own processes fill the limit, root's do not");
    } else {
        drop(kept);
        server.await_condition("a client is served again", |server| server.try_served().is_some());
    }
    let exit = server.stop(LIMIT);
    assert_eq!(exit.code, Some(0));
    assert!(exit.stats.unwrap().refused >= refused);
    assert!(exit.stderr.contains("a client was refused"), "{}", exit.stderr);
}

fn binary() -> ServerBinary {
    ServerBinary::new(env!("CARGO_BIN_EXE_thread-server"), &[])
}
