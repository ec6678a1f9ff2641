//! The compose file offers every row of the catalog, and nothing else: names, profiles, ports, arguments, permissions.
//! It needs no container engine.

mod compose_file;

use compose_file::{ComposeFile, ORIGINAL, repository};
use echo_contract::catalog::{TARGETS, find};
use std::fs;

#[test]
fn every_target_is_a_service_as_its_row_wants_it_and_every_service_a_target_or_loadgen() {
    assert_eq!(faults(&text()).join("\n"), "");
}

#[test]
fn each_difference_is_told_in_a_sentence_that_names_the_service() {
    let mio = |from: &str, to: &str| within("event-mio", from, to);
    let monoio = |from: &str, to: &str| within("event-monoio", from, to);
    let pool = |from: &str, to: &str| within("thread-pool", from, to);
    for (broken, sentence) in [
        (
            mio("event-mio:", "event-moi:"),
            "event-mio: docker-compose.yml has no service of that name\n\
             event-moi: docker-compose.yml has this service, the catalog no such target",
        ),
        (
            monoio("8009:8009\"\n    image", "8008:8008\"\n    image"),
            "event-monoio: its user \"8008:8008\" is event-io-uring's too, so both share one limit of locked memory; its port would be free",
        ),
        (
            mio("8011:8011", "8012:8012"),
            "event-mio: its ports in docker-compose.yml: [\"127.0.0.1:8012:8012\"], the catalog wants [\"127.0.0.1:8011:8011\"]",
        ),
        (
            mio("127.0.0.1:", ""),
            "event-mio: its ports in docker-compose.yml: [\"8011:8011\"], the catalog wants [\"127.0.0.1:8011:8011\"]",
        ),
        (
            mio("image: echo-event-mio", "image: echo-mio"),
            "event-mio: its image in docker-compose.yml: \"echo-mio\", the catalog wants \"echo-event-mio\"",
        ),
        (
            mio("BINARY: event-mio", "BINARY: event-may"),
            "event-mio: its BINARY in docker-compose.yml: \"event-may\", the catalog wants \"event-mio\"",
        ),
        (
            mio("<<: *build, args", "target: builder, args"),
            "event-mio: its build target in docker-compose.yml: \"builder\", the catalog wants \"server\"",
        ),
        (
            mio("event, all", "event"),
            "event-mio: its profiles in docker-compose.yml: [\"event\", \"event-mio\"], the catalog wants [\"all\", \"event\", \"event-mio\"]",
        ),
        (
            monoio("event, ring, all", "event, all"),
            "event-monoio: its profiles in docker-compose.yml: [\"all\", \"event\", \"event-monoio\"], the catalog wants \
             [\"all\", \"event\", \"event-monoio\", \"ring\"]",
        ),
        (
            monoio("*ring", "*box"),
            "event-monoio: its security_opt in docker-compose.yml: [\"no-new-privileges:true\"], the catalog wants \
             [\"no-new-privileges:true\", \"seccomp=./docker/seccomp-ring.json\"]",
        ),
        (
            mio("*box", "*ring"),
            "event-mio: its security_opt in docker-compose.yml: [\"no-new-privileges:true\", \
             \"seccomp=./docker/seccomp-ring.json\"], the catalog wants [\"no-new-privileges:true\"]",
        ),
        (
            pool("strategy, pool, --workers", "strategy, per-connection, --workers"),
            "thread-pool: its --strategy in docker-compose.yml: Some(\"per-connection\"), the catalog wants Some(\"pool\")",
        ),
        (
            pool(", --strategy, pool] }", "] }"),
            "thread-pool: its health check's --strategy, which leads to its port in docker-compose.yml: None, the catalog wants Some(\"pool\")",
        ),
        (
            pool("0.0.0.0", "127.0.0.1"),
            "thread-pool: its --bind in docker-compose.yml: Some(\"127.0.0.1\"), the catalog wants Some(\"0.0.0.0\")",
        ),
        (
            pool(", --workers, \"${POOL_WORKERS:-100}\"", ""),
            "thread-pool: its --workers, which a pool needs and no other has, in docker-compose.yml: false, the catalog wants true",
        ),
        (
            mio("*box", "*box\n    user: \"0:0\""),
            "event-mio: its user in docker-compose.yml is \"0:0\", it must not be root",
        ),
        (
            mio("*box", "*box\n    read_only: false"),
            "event-mio: its read_only in docker-compose.yml: false, the catalog wants true",
        ),
        (
            mio("*box", "*box\n    cap_drop: [NET_RAW]"),
            "event-mio: its cap_drop in docker-compose.yml: [\"NET_RAW\"], the catalog wants [\"ALL\"]",
        ),
        (
            mio("*box", "*box\n    cap_add: [SYS_NICE]"),
            "event-mio: its cap_add in docker-compose.yml: [\"SYS_NICE\"], the catalog wants []",
        ),
        (
            mio("*box", "*box\n    mem_limit: 4g"),
            "event-mio: its pids_limit, mem_limit and cpuset in docker-compose.yml: (4200, \"4g\", \"${SERVER_CPUS:-0}\"), the catalog \
             wants (4200, \"2g\", \"${SERVER_CPUS:-0}\")",
        ),
        (
            within("loadgen", "profiles: [loadgen]", "profiles: [all]"),
            "loadgen: docker-compose.yml has no such service in the one profile loadgen",
        ),
    ] {
        assert_eq!(faults(&broken).join("\n"), sentence);
    }
}

#[test]
fn without_a_profile_named_the_originals_run() {
    let text = fs::read_to_string(repository(".env")).unwrap();
    assert!(text.lines().any(|line| line == "COMPOSE_PROFILES=original"), "{text}");
    assert!(ORIGINAL.iter().all(|name| find(name).is_some()));
}

fn text() -> String {
    fs::read_to_string(repository("docker-compose.yml")).unwrap()
}

fn faults(text: &str) -> Vec<String> {
    let file = ComposeFile::parse(text);
    let of_rows = TARGETS.iter().flat_map(|target| file.lacks(target));
    of_rows.chain(file.lacks_as_a_whole()).collect()
}

/// The real file, with the first `from` inside this service's lines replaced.
fn within(service: &str, from: &str, to: &str) -> String {
    let text = text();
    let start = text.find(&format!("\n  {service}:\n")).unwrap();
    let place = start
        + text[start..]
            .find(from)
            .unwrap_or_else(|| panic!("no {from} in {service}"));
    format!("{}{to}{}", &text[..place], &text[place + from.len()..])
}
