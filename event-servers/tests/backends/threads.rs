//! What READY and the catalog promise of threads holds.

use super::{Server, WORKERS};
use echo_contract::conformance::{Launch, Process, Signal};
use server_testkit::ServerBinary;
use std::io::Read;

pub(crate) fn are_those_of_the_row(server: &Server) {
    let promised = server.target.threads.expect("the row says how many threads it has");
    let found = WORKERS.map(|workers| while_serving(&server.with_workers(workers)));
    assert_eq!(found, promised, "{}, with {WORKERS:?} workers", server.target.name);
}

/// With twenty clients, and again while a stop waits for them: a stop needs no further thread.
fn while_serving(binary: &ServerBinary) -> usize {
    let server = binary.start(&Launch::default()).unwrap();
    let clients: Vec<_> = (0..20).map(|_| server.served()).collect();
    assert!(server.children().unwrap().is_empty());
    let threads = server.threads().unwrap();
    server.signal(Signal::Terminate).unwrap();
    for mut client in &clients {
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "a FIN");
    }
    assert!(server.threads().unwrap() <= threads, "a stop starts no thread");
    drop(clients);
    threads
}
