//! Obtaining servers: attaching to what listens, starting the real ones, stopping them, and what both cost.

use loadgen::failure::{Exit, Failure};
use loadgen::record::{AddressChoice, Measurement, Origin, Reach, Start};
use loadgen::sampler::Sampler;
use loadgen::subject::{Request, Server, obtain};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn request(target: &str, start: Start) -> Request<'_> {
    Request {
        start,
        connect_timeout: Duration::from_secs(2),
        ..Request::start(target)
    }
}

fn refusal(result: Result<Server, Failure>) -> Failure {
    match result {
        Ok(server) => panic!("{:?} was obtained", server.description()),
        Err(failure) => failure,
    }
}

/// An echo server in this process, a thread per client, for as long as the test runs.
fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || io::copy(&mut &stream, &mut &stream));
        }
    });
    address
}

/// Clients that have had one echo each.
fn clients(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let open = |_| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(b"hello").unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
        stream
    };
    (0..count).map(open).collect()
}

/// Waits for something that must come within five seconds.
fn within_5_s(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within 5 s: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn an_address_is_attached_to_with_the_process_behind_it() {
    let address = echo_server();
    let server = obtain(&request(&address.to_string(), Start::Auto)).unwrap();
    assert_eq!((server.address(), server.origin()), (address, Origin::Attached));
    assert_eq!(server.pid(), Some(std::process::id()));
    assert_eq!((server.probes().connections, server.probes().bytes), (1, 16));
    let description = server.description();
    assert!(description.command.is_some_and(|words| words[0].contains("target")));
    assert!(description.binary_sha256.is_some_and(|hex| hex.len() == 64));
    assert_eq!((description.model, description.ready), (None, None));
    assert!(server.is_alive());
    let stopped = server.stop();
    assert!(stopped.clean && stopped.stats.is_none() && stopped.usage.is_none());
    clients(address, 1); // it is left running
}

#[test]
fn localhost_finds_a_server_that_listens_on_one_protocol_only() {
    let port = echo_server().port();
    let server = obtain(&request(&format!("localhost:{port}"), Start::Never)).unwrap();
    assert_eq!(server.address(), SocketAddr::from(([127, 0, 0, 1], port)));
}

/// Echo servers on both loopback addresses under one port, and how many clients each has had; none without IPv6.
fn echo_servers_on_both() -> Option<(u16, [Arc<AtomicUsize>; 2])> {
    let serve = |listener: TcpListener| {
        let clients = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&clients);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counter.fetch_add(1, Ordering::Relaxed);
                thread::spawn(move || io::copy(&mut &stream, &mut &stream));
            }
        });
        clients
    };
    for _ in 0..100 {
        let six = TcpListener::bind("[::1]:0").ok()?;
        let port = six.local_addr().unwrap().port();
        // Somebody may have that port of the other address.
        if let Ok(four) = TcpListener::bind(("127.0.0.1", port)) {
            return Some((port, [serve(six), serve(four)]));
        }
    }
    panic!("no port is free on both");
}

#[test]
fn the_clients_of_a_name_with_two_addresses_are_dealt_out_to_both() {
    let Some((port, had)) = echo_servers_on_both() else {
        return server_testkit::not_tested("a name with two addresses: this machine has no IPv6");
    };
    let folder = tempfile::tempdir().unwrap();
    let run = |more: &[&str]| {
        let file = folder.path().join("record.json");
        let target = format!("localhost:{port}");
        let line = [
            "--target",
            &target,
            "-c",
            "4",
            "-m",
            "5",
            "--output",
            file.to_str().unwrap(),
        ];
        let ran = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args([&line[..], more].concat())
            .output()
            .unwrap();
        assert!(ran.status.success(), "{ran:?}");
        let record: Measurement = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!((record.counts.ok, record.counts.errors()), (20, 0));
        let clients = [0, 1].map(|place: usize| had[place].swap(0, Ordering::Relaxed));
        (
            record.target,
            clients,
            String::from_utf8_lossy(&ran.stdout).into_owned(),
        )
    };
    // Each has two clients, and one that asks whether it echoes.
    let (target, clients, said) = run(&["--resolve", "all"]);
    assert_eq!(clients, [3, 3]);
    assert_eq!(target.addresses, [format!("[::1]:{port}"), format!("127.0.0.1:{port}")]);
    assert!(said.contains("clients dealt out in turn"), "{said}");

    let (target, clients, said) = run(&[]);
    assert_eq!(
        (clients, target.addresses.len()),
        ([5, 0], 0),
        "of localhost the first is enough"
    );
    assert!(!said.contains("in turn"), "{said}");

    let (target, clients, _) = run(&["--source-addresses", "127.0.0.2-127.0.0.9"]);
    assert_eq!(clients, [0, 5], "they have no other family");
    assert_eq!(target.address, format!("127.0.0.1:{port}"));
}

#[test]
fn an_address_of_a_name_that_does_not_answer_is_left_out_and_named() {
    let port = echo_server().port();
    let target = format!("localhost:{port}");
    let request = Request {
        reach: Reach {
            addresses: AddressChoice::All,
            ..Reach::default()
        },
        ..request(&target, Start::Auto)
    };
    let server = obtain(&request).unwrap();
    assert_eq!(server.addresses(), [SocketAddr::from(([127, 0, 0, 1], port))]);
    assert_eq!(server.description().addresses_silent, [format!("[::1]:{port}")]);
}

#[test]
fn an_attached_server_that_shares_its_cgroup_is_read_from_proc() {
    let address = echo_server();
    let server = obtain(&request(&address.to_string(), Start::Auto)).unwrap();
    let sampler = Sampler::new(&server.watched());
    assert_eq!(sampler.cpu_method(), "/proc (live processes)");
    let before = sampler.cpu().unwrap();
    let hold = sampler.hold();
    assert!(hold.memory_bytes.is_some_and(|bytes| bytes > 100_000), "{hold:?}");
    assert!(hold.memory_kernel_bytes.is_some_and(|bytes| bytes > 0), "{hold:?}");
    assert!(hold.threads.is_some_and(|threads| threads >= 2), "{hold:?}");
    assert!(hold.context_switches.is_some(), "{hold:?}");
    // The server is this process, and a child of another test that ends takes its time along until it is reaped.
    let deadline = Instant::now() + Duration::from_secs(20);
    while sampler.cpu().unwrap().total_ns < before.total_ns {
        assert!(Instant::now() < deadline, "its CPU time went back");
    }
    assert!(sampler.own_cpu_s() > 0.0);
}

#[test]
fn nothing_that_listens_is_told_after_the_connect_timeout() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let limit = Duration::from_millis(200);
    let target = free.to_string();
    let request = Request {
        connect_timeout: limit,
        ..request(&target, Start::Auto)
    };
    let begin = Instant::now();
    let failure = refusal(obtain(&request));
    assert!(begin.elapsed() >= limit);
    assert_eq!(failure.exit, Exit::Unreachable);
    let start = format!("nothing listens on {free} (ECONNREFUSED): ");
    assert!(failure.text.starts_with(&start), "{failure}");
}

#[test]
fn a_target_that_is_not_up_is_waited_for_once() {
    // In a container two waits follow each other, for the name and for the echo: they share the limit.
    let limit = Duration::from_secs(3);
    let request = Request {
        connect_timeout: limit,
        ..request("event-may", Start::Never)
    };
    let begin = Instant::now();
    assert_eq!(refusal(obtain(&request)).exit, Exit::Unreachable);
    let waited = begin.elapsed();
    assert!(waited >= limit && waited < limit * 2, "{waited:?}");
}

#[test]
fn a_server_that_comes_up_late_is_waited_for() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let late = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        let listener = TcpListener::bind(free).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let _ = io::copy(&mut &stream, &mut &stream);
    });
    obtain(&request(&free.to_string(), Start::Auto)).unwrap();
    late.join().unwrap();
}

#[test]
fn a_port_held_by_something_else_is_named_with_its_process() {
    // Whatever else runs on this machine: one of the catalog's ports is free.
    let (row, _listener) = echo_contract::catalog::TARGETS
        .iter()
        .find_map(|row| Some((row, TcpListener::bind(("127.0.0.1", row.port)).ok()?)))
        .expect("a port of the catalog is free");
    let own_name = std::env::current_exe().unwrap();
    let expected = format!(
        "127.0.0.1:{} is held by {} (pid {}), not by {}: use --start always",
        row.port,
        own_name.file_name().unwrap().display(),
        std::process::id(),
        row.name
    );
    for start in [Start::Auto, Start::Never] {
        let failure = refusal(obtain(&request(row.name, start)));
        assert_eq!(
            (failure.exit, failure.text.as_str()),
            (Exit::Unreachable, expected.as_str())
        );
    }
}

#[test]
fn a_public_address_is_refused_before_any_packet() {
    let failure = refusal(obtain(&request("8.8.8.8:7", Start::Auto)));
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.text.starts_with("8.8.8.8:7 is a public address"), "{failure}");
}

#[test]
fn a_launched_process_ends_with_the_one_that_launched_it() {
    // The shell stands in for loadgen; it writes the launched process's id and waits.
    let script = r#""$0" launch-server --parent $$ -- /bin/sh -c 'echo $$; exec sleep 60' & wait"#;
    let mut parent = Command::new("/bin/sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_loadgen")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    io::BufRead::read_line(&mut io::BufReader::new(parent.stdout.take().unwrap()), &mut line).unwrap();
    let pid: u32 = line.trim().parse().unwrap();
    let watch = loadgen::sampler::process::Watch::new(pid).unwrap();
    assert!(watch.is_alive());
    parent.kill().unwrap(); // SIGKILL: nothing can be cleaned up
    parent.wait().unwrap();
    within_5_s("the launched process ends", || !watch.is_alive());
}
