//! What READY and the catalog promise of threads holds.

use echo_contract::conformance::{Launch, Process, Signal};
use server_testkit::ServerBinary;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// One line for each server: its feature, a name for its test, its binary, and the threads it has with one worker and
/// with two, as the README's table says.
macro_rules! has_threads {
    ($feature:literal, $server:ident, $binary:literal, $arguments:expr, $with_one:literal, $with_two:literal) => {
        #[cfg(feature = $feature)]
        #[test]
        fn $server() {
            for (workers, threads) in [("1", $with_one), ("2", $with_two)] {
                let path = env!(concat!("CARGO_BIN_EXE_", $binary));
                assert_eq!(
                    threads_while_serving(path, $arguments, workers),
                    threads,
                    "{workers}"
                );
            }
        }
    };
}

has_threads!("async-std", event_async_std, "event-async-std", &[], 3, 4);
has_threads!("compio", event_compio, "event-compio", &[], 1, 3);
has_threads!("epoll", event_epoll, "event-epoll", &[], 1, 2);
has_threads!("glommio", event_glommio, "event-glommio", &[], 2, 5);
has_threads!("io-uring", event_io_uring, "event-io-uring", &[], 1, 3);
has_threads!("may", event_may, "event-may", &[], 3, 4);
has_threads!("mio", event_mio, "event-mio", &[], 1, 3);
has_threads!("monoio", event_monoio, "event-monoio", &[], 1, 3);
has_threads!("poll", event_poll, "event-poll", &[], 1, 2);
has_threads!("smol", event_smol, "event-smol", &[], 2, 3);
has_threads!("tokio", event_tokio, "event-tokio", &[], 1, 3);
has_threads!(
    "tokio",
    event_tokio_multi,
    "event-tokio",
    &["--strategy", "multi-thread"],
    2,
    3
);
has_threads!(
    "tokio",
    event_tokio_percore,
    "event-tokio",
    &["--strategy", "per-core"],
    1,
    3
);

/// With twenty clients, and again while a stop waits for them: a stop needs no further thread.
fn threads_while_serving(path: &str, arguments: &[&str], workers: &str) -> usize {
    let arguments = [arguments, &["--workers", workers]].concat();
    let server = ServerBinary::new(path, &arguments).start(&Launch::default()).unwrap();
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let mut client = TcpStream::connect(server.address()).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            client.write_all(b"hello").unwrap();
            client.read_exact(&mut [0; 5]).unwrap();
            client
        })
        .collect();
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
