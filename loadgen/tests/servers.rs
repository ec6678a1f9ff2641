//! The real servers, started, watched and stopped: the whole way from a catalog name to figures and back to nothing.

use echo_contract::catalog;
use echo_contract::conformance::{Launch, Launcher as _, Signal};
use loadgen::record::Origin;
use loadgen::sampler::{Sampler, Watched};
use loadgen::subject::{Launcher, Request, Server, obtain};
use loadgen::units::ns_to_s;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

fn started(target: &str) -> Server {
    let request = Request::start(target);
    obtain(&request).unwrap()
}

/// Clients that have had `echoes` echoes of 1 KiB each.
fn clients(address: SocketAddr, count: usize, echoes: usize) -> Vec<TcpStream> {
    let open = |_| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        for _ in 0..echoes {
            stream.write_all(&[7; 1024]).unwrap();
            stream.read_exact(&mut [0; 1024]).unwrap();
        }
        stream
    };
    (0..count).map(open).collect()
}

fn within_5_s(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within 5 s: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_hundred_forked_clients_are_a_hundred_and_one_processes_with_cpu_and_memory() {
    let server = started("fork");
    assert_eq!(server.origin(), Origin::Started);
    let description = server.description();
    assert_eq!(
        (description.name.as_str(), description.model.as_deref()),
        ("fork", Some("fork"))
    );
    assert!(description.ready.is_some() && description.binary_sha256.is_some_and(|hex| hex.len() == 64));
    let sampler = Sampler::new(&server.watched());
    let before = sampler.cpu().unwrap();
    let mut probe_child_is_gone = || sampler.hold().processes == Some(1);
    within_5_s("the first echo's process ends", &mut probe_child_is_gone);
    let alone = sampler.hold();

    let clients = clients(server.address(), 100, 20);
    let after = sampler.cpu().unwrap();
    assert!(
        after.total_ns - before.total_ns > 5_000_000,
        "a hundred forks: {before:?} {after:?}"
    );
    let hold = sampler.hold();
    assert_eq!((hold.processes, hold.threads), (Some(101), Some(101)));
    assert_eq!(hold.memory_method, "PSS of 101 processes");
    // A forked child costs some pages of its own, but far less than a process from scratch.
    let per_client = (hold.memory_bytes.unwrap() - alone.memory_bytes.unwrap()) / 100;
    assert!(
        (4 << 10..1 << 20).contains(&per_client),
        "{per_client} bytes a client: {hold:?}"
    );
    assert!(
        hold.memory_kernel_bytes.unwrap() >= 100 * (16 << 10),
        "a kernel stack each: {hold:?}"
    );

    drop(clients);
    within_5_s("the children end", || sampler.hold().processes == Some(1));
    let probes = server.probes();
    let in_group = server.watched().cgroup.is_some();
    let cpu = sampler.cpu().unwrap();
    let stopped = server.stop();
    assert!(stopped.clean, "{}", stopped.text);
    let stats = stopped.stats.unwrap();
    assert_eq!(stats.accepted - probes.connections, 100);
    assert_eq!(stats.bytes_in - probes.bytes, 100 * 20 * 1024);
    let usage = stopped.usage.unwrap();
    assert!(
        usage.context_switches_voluntary >= 100,
        "children are counted: {usage:?}"
    );
    // Two clocks of the same thing: the launcher's start is only in one, scaled ticks in the other.
    let (whole, so_far) = ((usage.user + usage.system).as_secs_f64(), ns_to_s(cpu.total_ns));
    assert!(
        !in_group || (whole / so_far - 1.0).abs() < 0.5,
        "rusage {whole} s, cgroup {so_far} s"
    );
    assert!(sampler.cpu().is_none(), "the group is gone");
}

#[test]
fn above_two_hundred_processes_memory_is_a_sample_times_the_count() {
    let server = started("fork");
    let sampler = Sampler::new(&server.watched());
    let _clients = clients(server.address(), 250, 1);
    let hold = sampler.hold();
    let processes = hold.processes.unwrap();
    assert!(
        (251..=252).contains(&processes),
        "the first echo's process may live: {processes}"
    );
    assert_eq!(
        hold.memory_method,
        format!("PSS of a sample of 100 of {processes} processes")
    );
    let pids = server.watched().cgroup.map_or_else(Vec::new, |group| group.processes());
    let all: u64 = pids
        .iter()
        .filter_map(|pid| loadgen::sampler::process::pss_bytes(*pid).ok())
        .sum();
    let estimate = hold.memory_bytes.unwrap();
    assert!(
        pids.is_empty() || estimate.abs_diff(all) * 20 < all,
        "estimate {estimate}, all {all}"
    );
}

#[test]
fn threads_are_counted_and_their_time_survives_them() {
    let server = started("thread");
    let sampler = Sampler::new(&server.watched());
    let before = sampler.hold().threads.unwrap();
    let clients = clients(server.address(), 50, 20);
    let hold = sampler.hold();
    assert_eq!(hold.processes, Some(1));
    assert!(hold.threads.unwrap() >= before.max(50), "{hold:?}");
    let cpu = sampler.cpu().unwrap();
    drop(clients);
    within_5_s("the threads end", || sampler.hold().threads.unwrap() <= before);
    assert!(sampler.cpu().unwrap().total_ns >= cpu.total_ns);
    let stopped = server.stop();
    assert!(stopped.clean && stopped.stats.is_some(), "{}", stopped.text);
}

#[test]
fn a_killed_server_is_seen_dead_and_its_children_are_swept_up() {
    let server = started("fork");
    let _clients = clients(server.address(), 10, 1);
    let pids = server.watched().cgroup.map_or_else(Vec::new, |group| group.processes());
    assert!(server.is_alive());
    let pid = i32::try_from(server.pid().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
    within_5_s("its death is seen", || !server.is_alive());
    let stopped = server.stop();
    assert!(!stopped.clean && stopped.stats.is_none());
    assert!(
        stopped.text.starts_with("the server was ended by SIGKILL"),
        "{}",
        stopped.text
    );
    let is_alive = |pid: &u32| loadgen::sampler::process::state(*pid).is_some_and(|state| state != 'Z');
    assert!(!pids.iter().any(is_alive), "{}", stopped.text);
}

#[test]
fn an_attached_server_is_known_by_name_and_read_by_its_tree() {
    let server = started("fork");
    let address = server.address().to_string();
    let request = Request::attach(&address);
    let attached = obtain(&request).unwrap();
    assert_eq!(attached.pid(), server.pid());
    assert_eq!(attached.description().model.as_deref(), Some("fork"));
    let sampler = Sampler::new(&attached.watched());
    let before = sampler.cpu().unwrap();
    let _clients = clients(attached.address(), 20, 50);
    assert!(sampler.hold().processes.unwrap() >= 21);
    let by_tree = sampler.cpu().unwrap().total_ns - before.total_ns;
    assert!(by_tree > 1_000_000, "{by_tree} ns");
    assert!(attached.stop().clean);
    assert!(server.is_alive(), "an attached server is left alone");
}

#[test]
fn the_conformance_launcher_shows_children_descriptors_and_cpu_time() {
    let row = catalog::find("fork").unwrap();
    let launcher = Launcher::new(row, None, false).unwrap();
    let launch = Launch {
        nofile: Some(512),
        ..Launch::default()
    };
    let mut process = launcher.launch(&launch).unwrap();
    let address = process.ready().address.parse().unwrap();
    let before = process.descriptors().unwrap();
    let held = clients(address, 3, 1);
    assert_eq!(process.children().unwrap().len(), 3);
    assert!(process.cpu_time().unwrap() > Duration::ZERO);
    assert!(process.descriptors().unwrap() <= before + 3);
    drop(held);
    within_5_s("all children are reaped", || process.children().unwrap().is_empty());
    assert!(process.wait(Duration::ZERO).unwrap().is_none());
    process.signal(Signal::Terminate).unwrap();
    let exit = process.wait(Duration::from_secs(15)).unwrap().unwrap();
    assert_eq!((exit.code, exit.signal), (Some(0), None), "{}", exit.stderr);
    assert!(exit.stats.is_some());
}

#[test]
fn cpu_of_threads_and_children_that_ended_is_the_servers_own_though_it_is_only_attached_to() {
    for target in ["fork", "thread"] {
        let server = started(target);
        let watched = server.watched();
        let Some(group) = &watched.cgroup else {
            assert!(
                std::env::var_os("CI").is_none(),
                "this test needs a cgroup to compare with"
            );
            eprintln!("NOT RUN: no cgroup may be made here, so there is nothing exact to compare with");
            let _ = server.stop();
            return;
        };
        let by_group = Sampler::new(&watched);
        // With a stranger in its group the server is read as one that was found running: by its processes.
        let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
        for directory in group.directories() {
            fs::write(directory.join("cgroup.procs"), stranger.id().to_string()).unwrap();
        }
        let by_processes = Sampler::new(&Watched {
            cgroup: None,
            is_attached: true,
            ..watched.clone()
        });
        assert_eq!(by_processes.cpu_method(), "/proc (live processes)");
        let idle = by_processes.hold().threads;
        for _ in 0..1000 {
            drop(clients(server.address(), 1, 1));
        }
        within_5_s("the clients' threads and processes end", || {
            by_processes.hold().threads <= idle
        });
        let (exact, seen) = (by_group.cpu().unwrap(), by_processes.cpu().unwrap());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        let _ = server.stop();
        // What was reaped is told in ticks of 10 ms, once for all.
        let (exact_s, seen_s) = (ns_to_s(exact.total_ns), ns_to_s(seen.total_ns));
        assert!(
            seen_s > 0.85 * exact_s - 0.02 && seen_s < 1.1 * exact_s + 0.02,
            "{target}: {seen_s} s of {exact_s} s"
        );
        let split_ns = seen.user_ns.unwrap() + seen.system_ns.unwrap();
        assert_eq!(split_ns, seen.total_ns, "user and system time are all of it");
    }
}
