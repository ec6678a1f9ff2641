//! Private networks by the built program, as root and as an ordinary user.

use loadgen::environment::network;
use loadgen::record::NetworkKind;
use loadgen::sampler::{network as sampler_network, socket};
use loadgen::subject::{self, Request};
use nix::unistd::geteuid;
use server_testkit::not_tested;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

/// Nobody: not root, and no user of this machine.
const NOBODY: u32 = 65534;

fn try_as_caller() -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.arg("try-private-network").output().unwrap()
}

/// Either it was made, or one sentence says which step was refused; nothing in between.
fn is_made_or_refused_by_name(output: &Output) {
    let (made, refused) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    if output.status.success() {
        assert!(made.starts_with("private network"), "{made}");
    } else {
        assert_eq!(refused.lines().count(), 1, "{refused}");
        assert!(refused.contains("namespace"), "{refused}");
    }
}

#[test]
fn whoever_runs_this_gets_a_private_network_or_the_reason() {
    is_made_or_refused_by_name(&try_as_caller());
}

#[test]
fn an_ordinary_user_gets_one_by_a_user_namespace_where_the_kernel_permits_it() {
    if !geteuid().is_root() {
        return is_made_or_refused_by_name(&try_as_caller());
    }
    // The path to the test's binary may be closed to others.
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let copy = folder.path().join("loadgen");
    std::fs::copy(env!("CARGO_BIN_EXE_loadgen"), &copy).unwrap();
    std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let tried = Command::new(&copy)
        .arg("try-private-network")
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    is_made_or_refused_by_name(&tried);
    let permits = |file: &str| {
        std::fs::read_to_string(file).is_ok_and(|text| text.trim().parse::<u64>().is_ok_and(|number| number > 0))
    };
    // What the kernel says of itself; a security module may still refuse, and then it is named above.
    if permits("/proc/sys/user/max_user_namespaces") && permits("/proc/sys/user/max_net_namespaces") {
        let text = String::from_utf8_lossy(&tried.stderr);
        assert!(
            tried.status.success() || text.contains("Permission") || text.contains("not permitted"),
            "{text}"
        );
    }
}

#[test]
fn a_server_that_is_started_from_a_private_network_is_in_it_with_its_group_and_its_whole_life() {
    if !network::may_enter() {
        // An ordinary user's test harness has several threads already, so no user namespace can be had here.
        return not_tested("a server in a private network: this user may enter none");
    }
    let trial = thread::spawn(|| {
        network::enter_private().unwrap();
        assert_eq!(network::of_thread().kind, NetworkKind::Private);
        let server = subject::obtain(&Request {
            connect_timeout: Duration::from_secs(10),
            ..Request::start("thread")
        })
        .unwrap();
        let address = server.address();
        assert_eq!(
            socket::listeners(address).map(|inodes| inodes.len()),
            Ok(1),
            "it listens here"
        );
        let has_group = server.watched().cgroup.is_some();
        let stopped = server.stop();
        assert!(stopped.clean, "{}", stopped.text);
        (address, has_group)
    });
    let (address, has_group) = trial.join().unwrap();
    assert_eq!(socket::listeners(address), Ok(Vec::new()), "nothing listens outside");
    assert_eq!(
        has_group,
        loadgen::sampler::Cgroup::create().is_ok(),
        "groups are made inside as outside"
    );
}

#[test]
fn a_private_network_is_refused_for_what_loadgen_does_not_start() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for words in [&["--target", &address][..], &["--target", "thread", "--start", "never"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        let output = command
            .args(words)
            .args(["--network", "private", "-c", "1", "-d", "1s"])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {told}");
        assert!(
            told.contains("--network private is for servers that loadgen starts") && told.contains("--start always"),
            "{words:?}: {told}"
        );
    }
}

/// Rules that track connections, in a network namespace of this test's own: what is read there is what the kernel counts.
#[test]
fn connections_are_counted_where_rules_track_them_and_nowhere_else() {
    if !network::may_enter() {
        return is_made_or_refused_by_name(&try_as_caller());
    }
    let counted = thread::spawn(|| {
        network::enter_private().unwrap();
        let before = sampler_network::tracking();
        let rules = ["iptables-legacy", "iptables"].map(|tool| {
            let rule = "-A OUTPUT -m conntrack --ctstate NEW -j ACCEPT";
            let output = Command::new(tool).args(rule.split(' ')).output();
            output.is_ok_and(|output| output.status.success())
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        for _ in 0..50 {
            let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            drop((client, listener.accept().unwrap()));
        }
        (before, rules.contains(&true), sampler_network::tracking())
    });
    let (before, has_rules, after) = counted.join().unwrap();
    assert_eq!(before, None, "a fresh network tracks nothing");
    if has_rules {
        let table = after.expect("rules track connections");
        assert!(
            (50..1000).contains(&table.count) && table.room() == table.max - table.count,
            "{table:?}"
        );
    } else {
        eprintln!("no tool here can make a rule that tracks connections");
        assert_eq!(after, None);
    }
}
