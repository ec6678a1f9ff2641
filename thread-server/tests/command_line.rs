//! The flags and errors that all servers have from the kit, tried on the plainest of them.

use echo_contract::conformance::{Exit, Launch, Process, Signal};
use server_testkit::{RunningServer, ServerBinary};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_mistake_in_a_flag_ends_with_code_2_and_names_flag_and_value() {
    for (flag, value) in [
        ("--buffer-size", "16 cups"),
        ("--strategy", "magic"),
        ("--port", "70000"),
        ("--work", "9"),
    ] {
        let exit = run(&[flag, value]);
        assert_eq!(exit.code, Some(2), "{flag} {value}");
        assert!(
            exit.stderr.contains(flag) && exit.stderr.contains(value),
            "{}",
            exit.stderr
        );
        assert_eq!(exit.stats, None);
    }
}

#[test]
fn a_port_in_use_is_one_paragraph_with_the_way_out() {
    let server = start(&[]);
    let port = server.address().port().to_string();
    let exit = run(&["--port", &port]);
    assert_eq!((exit.code, exit.stats), (Some(1), None));
    assert_eq!(exit.stderr.lines().count(), 1, "{}", exit.stderr);
    for expected in ["thread: ", &port, "in use", "--port 0"] {
        assert!(exit.stderr.contains(expected), "no {expected} in {}", exit.stderr);
    }
}

#[test]
fn a_cpu_that_does_not_exist_is_named() {
    let exit = run(&["--port", "0", "--cpus", "1023"]);
    assert_eq!(exit.code, Some(1));
    assert!(exit.stderr.contains("--cpus 1023"), "{}", exit.stderr);
}

#[test]
fn the_process_runs_on_the_cpus_it_was_given() {
    let server = start(&["--cpus", "0"]);
    assert_eq!(server.ready().cpus.as_deref(), Some("0"));
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
}

#[test]
fn a_healthcheck_is_0_for_an_echo_and_1_for_silence() {
    let mut server = start(&[]);
    let port = server.address().port().to_string();
    let check = || run(&["--healthcheck", "--port", &port]);
    assert_eq!(check().code, Some(0));
    let exit = server.stop(LIMIT);
    assert_eq!(exit.stats.unwrap().accepted, 1);
    let exit = check();
    assert_eq!(exit.code, Some(1));
    assert!(exit.stderr.contains(&format!("127.0.0.1:{port}")), "{}", exit.stderr);
}

#[test]
fn the_descriptor_limit_is_raised_and_told() {
    let launch = Launch {
        nofile: Some(100),
        ..Launch::default()
    };
    assert_eq!(binary().start(&launch).unwrap().ready().nofile, 100);
}

#[test]
fn a_client_that_is_owed_bytes_is_not_idle() {
    const MESSAGE: usize = 4 << 20;
    let server = start(&["--idle-timeout", "200ms"]);
    let mut client = server.connect();
    let mut writer = client.try_clone().unwrap();
    // More than the kernel's buffers hold, so the server has to wait for the reader.
    let sender = std::thread::spawn(move || {
        for _ in 0..4 {
            writer.write_all(&vec![7; MESSAGE]).unwrap();
        }
    });
    // Each of them is idle for the limit, one after the other, and all that time the first is owed and sends nothing more.
    for _ in 0..4 {
        assert_eq!(server.connect().read(&mut [0]).unwrap(), 0, "an idle client gets a FIN");
    }
    let mut echo = vec![0; 4 * MESSAGE];
    client.read_exact(&mut echo).unwrap();
    assert!(echo.iter().all(|&byte| byte == 7));
    sender.join().unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "idle now, so a FIN");
}

#[test]
fn a_stop_without_descriptors_to_spare_resets_nobody() {
    let launch = Launch {
        nofile: Some(32),
        ..Launch::default()
    };
    let mut server = binary().start(&launch).unwrap();
    let mut clients: Vec<_> = (0..20).map(|_| server.served()).collect();
    let waiting: Vec<_> = (0..20).map(|_| server.connect()).collect(); // they take the last descriptors
    server.await_condition("all descriptors are in use", |server| {
        server.descriptors().unwrap() >= 32 // more, if the test itself inherited one
    });
    let writers: Vec<_> = clients
        .iter()
        .map(|client| {
            let mut writer = client.try_clone().unwrap();
            std::thread::spawn(move || while writer.write_all(&[1; 4096]).is_ok() {})
        })
        .collect();
    server.signal(Signal::Terminate).unwrap();
    for client in &mut clients {
        let mut echo = Vec::new();
        client.read_to_end(&mut echo).expect("a FIN, not a reset");
        assert!(echo.iter().all(|&byte| byte == 1));
        client.shutdown(std::net::Shutdown::Both).unwrap();
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    drop((clients, waiting));
    let exit = server.wait(LIMIT).unwrap().expect("the server ends");
    let stats = exit.stats.unwrap();
    assert_eq!((exit.code, stats.bytes_unsent), (Some(0), 0));
    assert_eq!(stats.accepted, stats.closed);
}

#[test]
fn an_idle_server_stops_at_once() {
    let mut server = start(&[]);
    let start = Instant::now();
    assert_eq!(server.stop(LIMIT).code, Some(0));
    assert!(start.elapsed() < Duration::from_secs(5));
}

fn binary() -> ServerBinary {
    ServerBinary::new(env!("CARGO_BIN_EXE_thread-server"), &[])
}

fn start(arguments: &[&str]) -> RunningServer {
    let arguments = arguments.iter().map(ToString::to_string).collect();
    binary()
        .start(&Launch {
            arguments,
            ..Launch::default()
        })
        .unwrap()
}

fn run(arguments: &[&str]) -> Exit {
    binary().run(arguments).unwrap()
}
