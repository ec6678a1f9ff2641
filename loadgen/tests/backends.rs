//! A backend is complete: every line that a row of the catalog needs elsewhere is there. Whoever adds one is told all that is
//! still missing at once, a sentence each; CONTRIBUTING.md has the order.

mod compose_file;

use compose_file::{ComposeFile, repository};
use echo_contract::catalog::{IoInterface, TARGETS, Target, find};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;

const PACKAGE: &str = "event-servers";
/// Its tests are the catalog's rows, so a row that is built is a row that is tested.
const TESTS_OF_ALL_ROWS: &str = "backends";

#[test]
fn every_row_of_the_catalog_has_all_its_lines() {
    let rows: Vec<_> = TARGETS.iter().collect();
    let files = Files::of_the_repository();
    let mut missing = files.lack(&rows);
    missing.extend(files.binaries_without_a_row(&rows));
    missing.extend(files.compose().lacks_as_a_whole());
    assert!(missing.is_empty(), "\n{}\n", missing.join("\n"));
}

#[test]
fn a_row_without_anything_else_is_told_each_line_that_is_missing() {
    let files = Files::of_the_repository();
    assert_eq!(
        files.lack(&[&new_row()]),
        [
            "event-new: its row in echo-contract/src/catalog.rs has no `threads`, which its tests compare with /proc",
            "event-new: [features] of event-servers/Cargo.toml has no `new`",
            "event-new: `default` of event-servers/Cargo.toml has no \"new\"",
            "event-new: event-servers/Cargo.toml has no [[bin]] of that name",
            "event-new: the table of event-servers/README.md has no row `event-new`",
            "event-new: docker-compose.yml has no service of that name",
        ]
    );
}

#[test]
fn each_line_that_is_taken_away_is_missed() {
    let mio = find("event-mio").unwrap();
    let multi = find("event-tokio-multi").unwrap();
    let compio = find("event-compio").unwrap();
    let changed = |path: &'static str, from: &str, to: &str| Files::of_the_repository().with(path, from, to);
    for (files, row, sentence) in [
        (
            changed(Files::MANIFEST, "\nmio = [", "\nmoi = ["),
            mio,
            "event-mio: [features] of event-servers/Cargo.toml has no `mio`",
        ),
        (
            changed(Files::MANIFEST, "\"mio\", ", ""),
            mio,
            "event-mio: `default` of event-servers/Cargo.toml has no \"mio\"",
        ),
        (
            changed(Files::MANIFEST, "required-features = [\"mio\"]", ""),
            mio,
            "event-mio: required-features of its [[bin]] are [], not [\"mio\"]",
        ),
        (
            changed(
                Files::MANIFEST,
                "required-features = [\"mio\"]",
                "required-features = [\"may\"]",
            ),
            mio,
            "event-mio: required-features of its [[bin]] are [\"may\"], not [\"mio\"]",
        ),
        (
            changed(Files::MANIFEST, "name = \"event-mio\"", "name = \"event-moi\""),
            mio,
            "event-mio: event-servers/Cargo.toml has no [[bin]] of that name",
        ),
        (
            changed(Files::MANIFEST, "harness = false", "harness = true"),
            mio,
            "event-servers/Cargo.toml has no [[test]] `backends` with harness = false, which tests every row",
        ),
        (
            changed(Files::README, "\n| `event-mio`", "\n| `event-moi`"),
            mio,
            "event-mio: the table of event-servers/README.md has no row `event-mio`",
        ),
        (
            changed(Files::README, "(target `event-tokio-multi`)", ""),
            multi,
            "event-tokio-multi: the table of event-servers/README.md has no row `event-tokio-multi`",
        ),
        (
            changed(Files::README, "| active; released November 2026 |", "| |"),
            mio,
            "event-mio: a cell of its row in event-servers/README.md is empty",
        ),
        (
            changed(Files::COMPOSE, "\n  event-mio:", "\n  event-moi:"),
            mio,
            "event-mio: docker-compose.yml has no service of that name",
        ),
        (
            changed(
                Files::COMPOSE,
                "  event-compio:\n    <<: *ring",
                "  event-compio:\n    <<: *box",
            ),
            compio,
            "event-compio: its security_opt in docker-compose.yml: [\"no-new-privileges:true\"], the catalog wants \
             [\"no-new-privileges:true\", \"seccomp=./docker/seccomp-ring.json\"]",
        ),
    ] {
        assert_eq!(files.lack(&[row]), [sentence]);
    }
}

#[test]
fn a_binary_without_a_row_is_named() {
    let rows: Vec<_> = TARGETS.iter().filter(|row| row.name != "event-mio").collect();
    let files = Files::of_the_repository();
    assert_eq!(
        files.binaries_without_a_row(&rows),
        ["event-mio: event-servers/Cargo.toml has this [[bin]], echo-contract/src/catalog.rs no row"]
    );
}

/// A row as its author types it first.
fn new_row() -> Target {
    Target {
        name: "event-new",
        runtime: "new",
        io_interface: IoInterface::IoUring,
        binary: "event-new",
        port: 8999,
        threads: None,
        ..*find("event-compio").unwrap()
    }
}

/// The texts in which a backend has a line of its own, by their paths.
struct Files(BTreeMap<&'static str, String>);

#[derive(Deserialize)]
struct Manifest {
    features: BTreeMap<String, Vec<String>>,
    bin: Vec<Binary>,
    test: Vec<Test>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Binary {
    name: String,
    #[serde(default)]
    required_features: Vec<String>,
}

#[derive(Deserialize)]
struct Test {
    name: String,
    harness: bool,
}

impl Files {
    const MANIFEST: &'static str = "event-servers/Cargo.toml";
    const README: &'static str = "event-servers/README.md";
    const COMPOSE: &'static str = "docker-compose.yml";

    fn of_the_repository() -> Self {
        let read = |path| (path, fs::read_to_string(repository(path)).unwrap());
        Self([Self::MANIFEST, Self::README, Self::COMPOSE].map(read).into())
    }

    fn with(mut self, path: &str, from: &str, to: &str) -> Self {
        let text = self.0.get_mut(path).unwrap();
        assert!(text.contains(from), "{path} has no {from}");
        *text = text.replacen(from, to, 1);
        self
    }

    fn manifest(&self) -> Manifest {
        toml::from_str(&self.0[Self::MANIFEST]).unwrap()
    }

    fn compose(&self) -> ComposeFile {
        ComposeFile::parse(&self.0[Self::COMPOSE])
    }

    /// What these rows lack, in the order in which it is best added.
    fn lack(&self, rows: &[&Target]) -> Vec<String> {
        let (manifest, compose) = (self.manifest(), self.compose());
        let mut missing = Vec::new();
        for row in rows {
            if row.package == PACKAGE {
                missing.extend(lack_of_the_row(row));
                missing.extend(manifest.lacks(row));
                missing.extend(lack_of_the_readme(&self.0[Self::README], row));
            }
            missing.extend(compose.lacks(row));
        }
        let is_harness = |test: &Test| test.name == TESTS_OF_ALL_ROWS && !test.harness;
        if !manifest.test.iter().any(is_harness) {
            missing.push(format!(
                "{} has no [[test]] `{TESTS_OF_ALL_ROWS}` with harness = false, which tests every row",
                Self::MANIFEST
            ));
        }
        missing
    }

    fn binaries_without_a_row(&self, rows: &[&Target]) -> Vec<String> {
        let has_row = |binary: &&Binary| rows.iter().any(|row| row.binary == binary.name);
        let manifest = self.manifest();
        let without = manifest.bin.iter().filter(|binary| !has_row(binary));
        without
            .map(|binary| {
                let (name, path) = (&binary.name, Self::MANIFEST);
                format!("{name}: {path} has this [[bin]], echo-contract/src/catalog.rs no row")
            })
            .collect()
    }
}

fn lack_of_the_row(row: &Target) -> Option<String> {
    let name = row.name;
    row.threads.is_none().then(|| {
        format!("{name}: its row in echo-contract/src/catalog.rs has no `threads`, which its tests compare with /proc")
    })
}

impl Manifest {
    fn lacks(&self, row: &Target) -> Vec<String> {
        let (name, path) = (row.name, Files::MANIFEST);
        let feature = row.binary.strip_prefix("event-").unwrap_or(row.binary);
        let mut missing = Vec::new();
        if !self.features.contains_key(feature) {
            missing.push(format!("{name}: [features] of {path} has no `{feature}`"));
        }
        if !self.features["default"].iter().any(|word| word == feature) {
            missing.push(format!("{name}: `default` of {path} has no {feature:?}"));
        }
        match self.bin.iter().find(|binary| binary.name == row.binary) {
            None => missing.push(format!("{name}: {path} has no [[bin]] of that name")),
            Some(binary) if binary.required_features != [feature] => missing.push(format!(
                "{name}: required-features of its [[bin]] are {:?}, not [{feature:?}]",
                binary.required_features
            )),
            Some(_) => {}
        }
        missing
    }
}

/// The table of the rows is the first one. A variant of a binary stands in it as `(target NAME)`.
fn lack_of_the_readme(readme: &str, row: &Target) -> Option<String> {
    let (name, path) = (row.name, Files::README);
    let is_its = |line: &&str| {
        let first = line.split('|').nth(1).unwrap_or_default().trim();
        line.starts_with('|') && (first == format!("`{name}`") || first.contains(&format!("(target `{name}`)")))
    };
    let (rows, _) = readme.split_once("\n## ").unwrap_or((readme, ""));
    let Some(line) = rows.lines().find(is_its) else {
        return Some(format!("{name}: the table of {path} has no row `{name}`"));
    };
    let has_empty_cell = line.trim_matches('|').split('|').any(|cell| cell.trim().is_empty());
    has_empty_cell.then(|| format!("{name}: a cell of its row in {path} is empty"))
}
