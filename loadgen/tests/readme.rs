//! Every command of the README is run, as typed. What would take minutes or call this test again is named here.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The commands of all `sh` blocks, without comments.
fn commands() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    readme
        .split("```sh\n")
        .skip(1)
        .flat_map(|block| block.split("```").next().unwrap().lines())
        .map(|line| line.split('#').next().unwrap().trim().to_string())
        .filter(|line| !line.is_empty())
        .collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

#[test]
fn every_command_of_the_readme_runs_as_typed() {
    let commands = commands();
    assert!(commands.len() >= 10, "{commands:?}");
    let results = tempfile::tempdir().unwrap();
    for command in commands {
        let mut typed = match command.as_str() {
            // This test is part of it.
            "cargo test" => continue,
            // Measures for minutes; `.ci/run` runs one round of it. Here: the alias and the plan.
            "cargo compare" => {
                let mut cargo = Command::new(env!("CARGO"));
                cargo.args(["run", "--package", "loadgen", "--", "compare", "--dry-run"]);
                let alias = std::fs::read_to_string(root().join(".cargo/config.toml")).unwrap();
                assert!(
                    alias.contains(r#"compare = "run --release --package loadgen -- compare""#),
                    "{alias}"
                );
                cargo
            }
            // The shell of the next line; the binary under test stands in for target/release.
            r#"export PATH="$PWD/target/release:$PATH""# => continue,
            line => {
                let mut words = line.split_whitespace();
                assert_eq!(words.next(), Some("loadgen"), "`{line}` is not known to this test");
                let mut loadgen = Command::new(env!("CARGO_BIN_EXE_loadgen"));
                loadgen.args(words);
                // A curve takes a minute and makes a folder: here shorter points, elsewhere.
                if line.starts_with("loadgen sweep") {
                    loadgen.args(["--duration", "300ms", "--warmup", "0s", "--repeats", "1", "--results"]);
                    loadgen.arg(results.path());
                }
                loadgen
            }
        };
        let mut child = typed
            .current_dir(root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command}: {error}"));
        // `connect` wants a line; the others read nothing, and may be gone already.
        let _ = child.stdin.take().unwrap().write_all(b"hello\n");
        let ended = child.wait_with_output().unwrap();
        let stdout = String::from_utf8_lossy(&ended.stdout);
        assert!(
            ended.status.success(),
            "{command}: {}\n{stdout}",
            String::from_utf8_lossy(&ended.stderr)
        );
        assert!(!stdout.is_empty(), "{command} printed nothing");
        if command.starts_with("loadgen connect") {
            assert!(stdout.starts_with("hello"), "{stdout}");
        }
    }
}

#[test]
fn the_readme_stays_short() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() <= 150, "{} lines", readme.lines().count());
}

#[test]
fn every_file_that_the_documents_link_to_exists() {
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "METHODOLOGY.md",
        "CONTRIBUTING.md",
        "docker/README.md",
        "event-servers/README.md",
        "results/README.md",
    ] {
        let path = root().join(document);
        let text = std::fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let file = link.split('#').next().unwrap();
            if !file.starts_with("http") && !file.is_empty() {
                assert!(path.parent().unwrap().join(file).exists(), "{document} links to {link}");
            }
        }
    }
}
