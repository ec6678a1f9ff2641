//! What only a server made of processes can get wrong: zombies, orphans, lost slots, forks that fail.

use echo_contract::conformance::{Launch, Process, Signal};
use nix::sys::signal::{self, kill};
use nix::unistd::Pid;
use server_testkit::{RunningServer, ServerBinary, not_tested, ping};
use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn each_client_has_one_process_and_the_parent_one_thread() {
    let server = start(&[]);
    let clients: Vec<_> = (0..20).map(|_| server.served()).collect();
    assert_eq!(server.children().unwrap().len(), clients.len());
    assert_eq!(server.threads().unwrap(), 1);
    drop(clients);
    await_no_children(&server);
}

#[test]
fn zombies_never_pile_up_under_short_connections() {
    let server = start(&[]);
    let mut most_zombies = 0;
    for _ in 0..300 {
        drop(server.served());
        let children = server.children().unwrap();
        most_zombies = most_zombies.max(children.iter().filter(|(_, state)| *state == 'Z').count());
    }
    assert!(most_zombies <= 3, "{most_zombies} zombies at once");
    await_no_children(&server);
}

#[test]
fn a_killed_child_gives_its_slot_back() {
    let mut server = start(&["--max-connections", "1"]);
    let mut client = server.served();
    let children = server.children().unwrap();
    kill(pid(children[0].0), signal::Signal::SIGKILL).unwrap();
    let _ = client.read(&mut [0]);
    await_no_children(&server);
    // The parent may still be about to reap when the process table is already clean.
    server.await_condition("a client is served again", |server| server.try_served().is_some());
    await_no_children(&server);
    let stats = server.stop(LIMIT).stats.unwrap();
    assert_eq!(stats.accepted, stats.closed);
}

#[test]
fn children_end_with_a_killed_parent() {
    let mut server = start(&[]);
    let clients: Vec<_> = (0..5).map(|_| server.served()).collect();
    let children: Vec<_> = server
        .children()
        .unwrap()
        .into_iter()
        .map(|(child, _)| pid(child))
        .collect();
    server.signal(Signal::Kill).unwrap();
    assert_eq!(server.wait(LIMIT).unwrap().unwrap().signal, Some(9));
    server.await_condition("all children are gone", |_| {
        children.iter().all(|&child| !is_running(child))
    });
    drop(clients);
}

#[test]
fn a_signal_to_the_whole_group_is_one_stop_for_each_child() {
    let mut server = start(&[]);
    let mut clients: Vec<_> = (0..5).map(|_| server.served()).collect();
    // What Ctrl-C does, the worst way round: the children first, then the parent, which forwards its own.
    for (child, _) in server.children().unwrap() {
        kill(pid(child), signal::Signal::SIGINT).unwrap();
    }
    server.signal(Signal::Interrupt).unwrap();
    for client in &mut clients {
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "a FIN, not a reset");
    }
    drop(clients);
    let exit = server.wait(LIMIT).unwrap().expect("the server ends");
    assert_eq!(exit.code, Some(0));
    let stats = exit.stats.unwrap();
    assert_eq!((stats.accepted, stats.closed, stats.bytes_unsent), (5, 5, 0));
}

#[test]
fn a_client_that_gets_no_process_gets_a_fin_and_the_server_lives() {
    let binary = ServerBinary::new(env!("CARGO_BIN_EXE_fork-server"), &[]).with_max_processes(4);
    let mut server = binary.start(&Launch::default()).unwrap();
    let (mut kept, mut refused) = (Vec::new(), 0);
    for _ in 0..20 {
        match server.try_served() {
            Some(client) => kept.push(client),
            None => refused += 1,
        }
    }
    assert!(
        refused >= 16,
        "{refused} of 20 refused with room for at most 4 processes"
    );
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

#[test]
fn workers_that_died_while_none_could_be_forked_come_back_when_there_is_room() {
    const PLENTY: u64 = 100;
    let arguments = ["--strategy", "prefork", "--workers", "4"];
    let binary = ServerBinary::new(env!("CARGO_BIN_EXE_fork-server"), &arguments).with_max_processes(PLENTY);
    let mut server = binary.start(&Launch::default()).unwrap();
    server.limit_processes(0).unwrap();
    for (worker, _) in server.children().unwrap() {
        kill(pid(worker), signal::Signal::SIGKILL).unwrap();
    }
    await_no_children(&server);
    // Longer than any pause that a pool of processes makes for those that end as soon as they have begun.
    thread::sleep(Duration::from_millis(1500));
    server.limit_processes(PLENTY).unwrap();
    let room = Instant::now();
    server.await_condition("four workers", |server| server.children().unwrap().len() == 4);
    let took = room.elapsed();
    drop(server.served());
    let exit = server.stop(LIMIT);
    // 50 ms on an idle machine.
    assert!(took < Duration::from_secs(1), "after {took:?}");
    assert!(exit.stderr.contains("4 of 4 workers are missing"), "{}", exit.stderr);
    assert!(exit.stderr.lines().count() <= 5, "about one a second: {}", exit.stderr);
}

#[test]
fn a_slow_reader_costs_a_process_no_more_than_an_idle_client() {
    const OWED_BYTES: usize = 16 << 20;
    const BUFFER_KIB: u64 = 16;
    let server = start(&[]);
    let mut client = server.served();
    let child = server.children().unwrap()[0].0;
    let idle_kib = private_kib(child);
    client.set_nonblocking(true).unwrap();
    let (mut owed, mut until) = (0, Instant::now() + Duration::from_secs(1));
    while owed < OWED_BYTES && Instant::now() < until {
        if let Ok(bytes) = client.write(&[7; 64 << 10]) {
            (owed, until) = (owed + bytes, Instant::now() + Duration::from_secs(1));
        }
    }
    let owing_kib = private_kib(child);
    assert!(owed > 64 << 10, "the kernel's buffers took {owed} bytes");
    assert!(
        owing_kib <= idle_kib + BUFFER_KIB,
        "{idle_kib} KiB of its own before, {owing_kib} KiB while it owes"
    );
}

/// Memory that a process shares with nobody.
fn private_kib(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let private = rollup.lines().filter(|line| line.starts_with("Private_"));
    let kib = private.map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap());
    kib.sum()
}

fn start(arguments: &[&str]) -> RunningServer {
    let arguments = arguments.iter().map(ToString::to_string).collect();
    let launch = Launch {
        arguments,
        ..Launch::default()
    };
    ServerBinary::new(env!("CARGO_BIN_EXE_fork-server"), &[])
        .start(&launch)
        .unwrap()
}

fn await_no_children(server: &RunningServer) {
    server.await_condition("no children", |server| server.children().unwrap().is_empty());
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).unwrap())
}

/// An orphan may wait for its new parent to reap it; a zombie runs no more.
fn is_running(child: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{child}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('Z')))
}
