//! How a server stops where it can get no further process or thread.

use crate::ServerBinary;
use echo_contract::conformance::{Launch, Process as _, Signal};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
const CLIENTS: usize = 20;

/// Clients that stream while the server, which may have no further process or thread, is told to stop: each gets an exact
/// prefix of its echo, then a FIN.
///
/// # Panics
/// When a client is reset, gets a wrong byte, or the server does not end with exit code 0.
pub fn a_stop_at_the_process_limit_resets_nobody(path: &str, arguments: &[&str]) {
    const PLENTY: u64 = 500;
    let binary = ServerBinary::new(path, arguments).with_max_processes(PLENTY);
    let mut server = binary.start(&Launch::default()).expect("there is room for a server");
    let clients: Vec<_> = (0..CLIENTS).map(|_| server.served()).collect();
    server.limit_processes(1).expect("a limit can be lowered");
    thread::scope(|scope| {
        let streams: Vec<_> = clients
            .iter()
            .map(|client| {
                scope.spawn(move || stream(client));
                scope.spawn(move || read_to_fin(client))
            })
            .collect();
        server.signal(Signal::Terminate).expect("the server runs");
        for stream in streams {
            let outcome = stream.join().expect("a client does not panic");
            outcome.unwrap_or_else(|why| panic!("{binary:?}: {why}"));
        }
    });
    drop(clients);
    let exit = server.wait(LIMIT).expect("the server can be waited for");
    let exit = exit.unwrap_or_else(|| panic!("{binary:?} did not end within {LIMIT:?}"));
    assert_eq!(exit.code, Some(0), "{binary:?}: {}", exit.stderr);
}

/// Until the reader, which has seen the FIN, ends it.
fn stream(mut client: &TcpStream) {
    while client.write_all(&[b'.'; 16 << 10]).is_ok() {}
}

fn read_to_fin(mut client: &TcpStream) -> Result<(), String> {
    let mut buffer = vec![0; 64 << 10];
    let outcome = loop {
        match client.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(bytes) if buffer[..bytes].iter().all(|&byte| byte == b'.') => {}
            Ok(_) => break Err("a wrong byte".into()),
            Err(error) => break Err(format!("expected a FIN: {error}")),
        }
    };
    let _ = client.shutdown(Shutdown::Write);
    outcome
}
